"""The draft of `domicile.yaml`: every proposal joined, as a value; pure.

A person finishes it. What is unsure is marked in its place and listed on top; what nobody but a person can say is left
out as a comment, so that `plan` refuses and names it (P4). No sampled value gets in but the market's own names (P8).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from domicile.catalogue import Catalogue, Table, TableName
from domicile.catalogue.samples import FieldName, Questions, Samples
from domicile.config import dataset_id
from domicile.config.rules import DatasetRule
from domicile.map.apart import EdgeProposal, edge_proposals, skeletons
from domicile.map.countries import is_former
from domicile.map.edges import SHARE_SUGGESTS, Link, links, questions
from domicile.map.fields import FieldProposal, Setting, field_proposals, structures
from domicile.map.imports.bind import NOTHING, Bound
from domicile.map.imports.interchange import Said
from domicile.map.imports.saying import renamed
from domicile.map.kinds import PLAIN, Kind, kind_of
from domicile.map.markets import MarketWay, market_ways
from domicile.map.owners import Ownership, ownerships
from domicile.map.people import CLOSE_SHARE, Candidate, candidates, chosen, most_referred
from domicile.map.ways import World, targets_of_pairs

PEOPLE_ASKED_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A location as far as it is known when the draft is made; None becomes a question in the draft."""

    country: str | None = None
    operator: str | None = None
    dsn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the draft can't see in the database: names, markets and places."""

    store: str = "app"
    programme: str = "homecoming"
    location: str = "source"
    subject: TableName | None = None
    markets: Mapping[str, str] = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetProposal:
    """All that is proposed for one dataset."""

    id: str
    table: Table
    owner: Ownership
    fields: tuple[FieldProposal, ...]
    edges: tuple[EdgeProposal, ...]
    unenforced: bool
    rule: DatasetRule | None = None  # as an export of ours had it; then it is written, not the proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The whole map before it is written down."""

    frame: Frame
    catalogue: Catalogue
    people: tuple[Candidate, ...]
    markets: tuple[MarketWay, ...]
    datasets: tuple[DatasetProposal, ...]
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    twins: frozenset[tuple[TableName, tuple[str, ...]]]  # columns that two foreign keys share
    bound: Bound = NOTHING
    said: Said | None = None


def propose(catalogue: Catalogue, samples: Samples, *, frame: Frame, bound: Bound = NOTHING) -> Proposal:
    """Judge a database: who it is about, where they live, whose each row is, what each field holds."""
    kinds = _kinds(catalogue, samples, bound)
    people = candidates(bound.widened(catalogue), kinds, bound.called)
    if frame.subject is not None:
        people = chosen(catalogue, frame.subject, people)
    subject = people[0].table if people else None
    edges = links(catalogue, samples, people=frozenset({subject} if subject else ()), told=bound.links)
    world = World(
        catalogue=catalogue, samples=samples, kinds=kinds, links=edges, subject=subject, told=bound.hops
    )  # fmt: skip
    owners = ownerships(world)
    pairs = targets_of_pairs(world)
    rules = edge_proposals((*edges, *pairs), owners, samples)
    judged = Judged(
        world=world,
        owners=owners,
        rules=rules,
        blanked=skeletons(rules),
        kept=structures(catalogue, (*edges, *pairs)),
        up=replace(world, links=(*edges, *pairs)).up(),
    )
    said = renamed(bound.said, frame.store) if bound.said else None
    rules_said = said.datasets if said else {}
    datasets = tuple(
        replace(made, rule=rules_said.get(made.id))
        for made in (_dataset(judged, table, store=frame.store) for table in catalogue.tables)
    )
    ways = market_ways(catalogue, subject, edges, samples) if subject else ()
    return Proposal(
        frame=frame, catalogue=catalogue, people=people, markets=ways, datasets=datasets,
        notes=(*catalogue.notes, *samples.notes), doubts=tuple(_doubts(frame, people, ways, datasets, bound)),
        twins=_twins(catalogue), bound=bound, said=said,
    )  # fmt: skip


def _twins(catalogue: Catalogue) -> frozenset[tuple[TableName, tuple[str, ...]]]:
    counted = Counter((key.child, key.columns) for key in catalogue.foreign_keys)
    return frozenset(pair for pair, count in counted.items() if count > 1)


def questions_of(catalogue: Catalogue, *, subject: TableName | None = None, bound: Bound = NOTHING) -> Questions:
    """Say what to read of the rows before a draft; names, types, importers, and the subject if it was named."""
    seen = bound.widened(catalogue)
    ranked = candidates(seen, _kinds(catalogue, Samples(), bound), bound.called)
    people = [candidate.table for candidate in ranked[:PEOPLE_ASKED_MAX]]
    people += [*most_referred(seen, most=PEOPLE_ASKED_MAX), *((subject,) if subject else ())]
    return questions(seen, people=frozenset(people), told=bound.links)


def _kinds(catalogue: Catalogue, samples: Samples, bound: Bound) -> dict[FieldName, Kind]:
    """What each field holds: as an importer tagged it, else as it looks, else as an importer's words for it look."""
    found: dict[FieldName, Kind] = {}
    for table in catalogue.tables:
        for column in table.columns:
            name = (table.name, column.name)
            kind = bound.kinds.get(name) or kind_of(column, samples.fields.get(name))
            if kind == PLAIN and name in bound.words:
                kind = kind_of(replace(column, name=bound.words[name]), None)
            found[name] = kind
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is known of all tables when one is written down."""

    world: World
    owners: Mapping[TableName, Ownership]
    rules: Mapping[TableName, tuple[EdgeProposal, ...]]
    blanked: frozenset[TableName]
    kept: Mapping[TableName, frozenset[str]]
    up: Mapping[TableName, list[Link]]


def _dataset(judged: Judged, table: Table, *, store: str) -> DatasetProposal:
    name, owner = table.name, judged.owners[table.name]
    setting = Setting(
        table=table, owner=owner, structure=judged.kept[name], kinds=judged.world.kinds, samples=judged.world.samples,
        may_be_skeleton=name in judged.blanked,
    )  # fmt: skip
    loose = any(not link.enforced for link in judged.up.get(name, ()))
    through = any(not hop.link.enforced for way in owner.ways for hop in way[:1])
    return DatasetProposal(
        id=dataset_id(store, name), table=table, owner=owner,
        fields=field_proposals(setting), unenforced=loose or through,
        edges=tuple(_contradicted(edge) for edge in judged.rules.get(name, ())),
    )  # fmt: skip


def _contradicted(edge: EdgeProposal) -> EdgeProposal:
    """Mark an edge that an importer told and the sampled rows know nothing of."""
    link = edge.link
    if not link.told or link.found is None or not link.found.asked or link.found.share >= SHARE_SUGGESTS:
        return edge
    doubt = f"only {link.found.found} of {link.found.asked} sampled values are in {link.parent}"
    return replace(edge, unsure="; ".join(filter(None, (doubt, edge.unsure))))


def _doubts(
    frame: Frame,
    people: tuple[Candidate, ...],
    ways: tuple[MarketWay, ...],
    datasets: tuple[DatasetProposal, ...],
    bound: Bound,
) -> list[str]:
    """List everything that a person should look at, in the order of the file."""
    found: list[str] = []
    if not frame.markets:
        found.append("policy.homes: name the markets and where each one's home is")
    found += [f"locations.{name}: {what}" for name, what in _unknown_places(frame)]
    if bound.said is None or bound.said.subject is None:
        found += _about_subject(frame, people) + _about_market(frame, people, ways)
    for dataset in (item for item in datasets if item.rule is None):
        where = f"datasets.{dataset.id}"
        found += [f"{where}: {doubt}" for doubt in dataset.owner.unsure]
        if dataset.owner.rows is not None:
            found += [f"{where}.fields.{item.name}: {item.unsure}" for item in dataset.fields if item.unsure]
            found += [f"{where}.edges.{edge.link.key}: {edge.unsure}" for edge in dataset.edges if edge.unsure]
    return found


def _unknown_places(frame: Frame) -> list[tuple[str, str]]:
    found = []
    for name in (frame.location, *dict.fromkeys(frame.markets.values())):
        place = frame.places.get(name, Place())
        missing = [word for word, value in (("country", place.country), ("operator", place.operator)) if not value]
        if missing:
            found.append((name, f"{' and '.join(missing)} are not known to the database; write them down"))
    return found


def _about_subject(frame: Frame, people: tuple[Candidate, ...]) -> list[str]:
    if not people:
        return ["subject: no table looks like people; name it with `domicile init --subject SCHEMA.TABLE`"]
    if frame.subject is None and len(people) > 1 and people[1].score >= CLOSE_SHARE * people[0].score:
        return [f"subject.dataset: {people[1].table} looks nearly as much like the subjects as {people[0].table}"]
    return []


def _about_market(frame: Frame, people: tuple[Candidate, ...], ways: tuple[MarketWay, ...]) -> list[str]:
    if not people:
        return []
    if not ways:
        return ["subject.market: nothing at, above or right below the subject tells a country; name field and path"]
    best, found = ways[0], []
    if best.several:
        found.append("subject.market: a subject may have several rows there; name a `when`, or a `conflict`")
    if best.unknown:
        found.append(f"subject.market.values: {len(best.unknown)} values are not recognised as countries")
    if any(is_former(code) for _, code in best.values):
        found.append("subject.market.values: some countries are no more; say which market their people are in")
    if not best.whole:
        found.append("subject.market.values: there are more distinct values than were listed")
    codes = {code for _, code in best.values}
    strange = [market for market in frame.markets if codes and market not in codes]
    return found + [f"policy.homes.{market}: no value of the market field means {market}" for market in strange]
