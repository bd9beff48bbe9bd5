"""Whose each dataset is: its ways to the subject and, from these, its disposition.

A row is a subject's when an edge leads from it to the subject (`rental` → `customer`), also over other rows of the
subject (`payment` → `rental` → `customer`). A private parent is a subject's when its rows refer to it (`customer` →
`address`): the way back down. Everything else is reference data (`public`) or about somebody else (`none`).
Doubt goes to the safe side: a row that leads to a subject moves.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domicile.catalogue import Catalogue, RelationKind, Table, TableName
from domicile.config import Disposition, HomeRows, Shared
from domicile.map.edges import Link, pairs
from domicile.map.kinds import Confidence, Kind
from domicile.map.people import OTHER_PEOPLE_WORDS, SUBJECT_WORDS, holds_people, is_other_people
from domicile.map.vocabulary import Weight
from domicile.map.words import listed, words
from domicile.samples import FieldName, Samples

WAYS_SHOWN_MAX = 6
# Of a shared lookup only few different values are referred to; of a private parent nearly every row has its own.
PRIVATE_PARENT_SHARE = 0.5
_CONTENT = listed(
    """
    video post article comment review photo story blog page album playlist listing product
    """
)
_PRIVATE_PARENT = listed(
    """
    address profile contact identity detail preference wallet account location person
    """
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One step of a way: up over a link, or down to the rows whose link points here; `when` for polymorphic pairs."""

    link: Link
    down: bool = False
    when: str | None = None


Way = tuple[Hop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """The proposal for one dataset's rows, with its reason and what it is unsure of."""

    table: TableName
    rows: Disposition | None
    reason: str
    ways: tuple[Way, ...] = ()
    more_ways: tuple[Way, ...] = ()
    shared: Shared | None = None
    ownerless: bool = False
    home: HomeRows | None = None
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the proposals are made from."""

    catalogue: Catalogue
    samples: Samples
    kinds: Mapping[FieldName, Kind]
    links: tuple[Link, ...]
    subject: TableName | None


def ownerships(world: World) -> dict[TableName, Ownership]:
    """Propose ways and disposition of every dataset."""
    owned = _forward(world)
    reverse = _reverse(world, owned)
    found: dict[TableName, Ownership] = {}
    for table in world.catalogue.tables:
        if table.name == world.subject:
            found[table.name] = Ownership(table=table.name, rows=Disposition.MOVE, reason="the data subjects")
        elif table.name in owned:
            found[table.name] = _owned(world, table, owned[table.name])
        elif table.name in reverse:
            found[table.name] = _parent(world, table, reverse[table.name])
    moving = frozenset(found)
    others = _others(world, moving)
    for table in world.catalogue.tables:
        if table.name not in found:
            found[table.name] = _unowned(world, table, moving, others)
    return found


# ------------------------------------------------------------------------------------------------ ways up


def _forward(world: World) -> dict[TableName, tuple[Way, ...]]:
    """For every dataset that leads to the subject: one way per first hop, the shortest first."""
    if world.subject is None:
        return {}
    into: defaultdict[TableName, list[Link]] = defaultdict(list)
    out: defaultdict[TableName, list[Hop]] = defaultdict(list)
    for hop in (*(Hop(link=link) for link in world.links), *_polymorphic(world)):
        link = hop.link
        # who merely touched a row does not own it
        if link.child not in (link.parent, world.subject) and not link.bookkeeping:
            into[link.parent].append(link)
            out[link.child].append(hop)
    distance = _distances(world.subject, into)
    best: dict[TableName, Way] = {world.subject: ()}
    for table in sorted(distance, key=lambda name: (distance[name], name)):
        hops = [hop for hop in out[table] if hop.link.parent in best]
        if table != world.subject and hops:
            first = min(hops, key=lambda hop: _rank(hop, best))
            best[table] = (first, *best[first.link.parent])
    return {
        table: tuple(
            (hop, *best[hop.link.parent])
            for hop in sorted((h for h in out[table] if h.link.parent in best), key=lambda hop: _rank(hop, best))
            if all(step.link.child != table for step in best[hop.link.parent])
        )
        for table in best
        if table != world.subject
    }


def _distances(subject: TableName, into: Mapping[TableName, list[Link]]) -> dict[TableName, int]:
    """Count hops to the subject, breadth first."""
    distance = {subject: 0}
    waiting = deque([subject])
    while waiting:
        here = waiting.popleft()
        for link in into.get(here, ()):
            if link.child not in distance:
                distance[link.child] = distance[here] + 1
                waiting.append(link.child)
    return distance


def _rank(hop: Hop, best: Mapping[TableName, Way]) -> tuple[object, ...]:
    """Order of ways: straight to the subject, certain, short, enforced, named like the owner, then by name."""
    link = hop.link
    return (
        hop.when is not None,
        not link.confirmed,
        bool(best[link.parent]),
        link.nullable,
        len(best[link.parent]),
        not link.declared,
        -_owner_likeness(link),
        link.columns,
        link.parent,
    )


def _owner_likeness(link: Link) -> int:
    """`user_id` before `recipient_id`: the subject's own noun, then the roles of who made the row."""
    name = words(link.columns[-1])
    if set(name).intersection(words(link.parent.name)):
        return 3
    return 2 if {"owner", "author", "sender", "creator", "payer", "follower"}.intersection(name) else 1


def _polymorphic(world: World) -> list[Hop]:
    """Pairs such as (`commentable_type`, `commentable_id`): one hop per kind whose name is a table's."""
    tables = {table.name: table for table in world.catalogue.tables}
    nouns = {words(name.name): name for name in sorted(tables, reverse=True) if len(tables[name].key) == 1}
    hops: list[Hop] = []
    for table in world.catalogue.tables:
        for kind, reference in pairs(table):
            listed = world.samples.lists.get((table.name, kind))
            for value in listed.values if listed else ():
                parent = nouns.get(words(value.rsplit("\\", 1)[-1].rsplit(":", 1)[-1]))
                if parent is None or parent == table.name:
                    continue
                link = Link(
                    child=table.name, columns=(reference,), parent=parent, parent_columns=tables[parent].key,
                    declared=False, missing_on=table.leaves or (table.name,), nullable=True,
                )  # fmt: skip
                hops.append(Hop(link=link, when=_condition(kind, value)))
    return hops


def _condition(column: str, value: str) -> str:
    return f'"{column.replace(chr(34), chr(34) * 2)}" = ' + "'" + value.replace("'", "''") + "'"


# ------------------------------------------------------------------------------------------------ ways down


def _reverse(world: World, owned: Mapping[TableName, tuple[Way, ...]]) -> dict[TableName, tuple[Way, ...]]:
    """Find private parents: rows that owned rows refer to, one or few each, and that tell of a person."""
    found: defaultdict[TableName, list[Way]] = defaultdict(list)
    tables = {table.name: table for table in world.catalogue.tables}
    mine = {**{name: ways[0] for name, ways in owned.items()}, **({world.subject: ()} if world.subject else {})}
    for link in world.links:
        if link.child in mine and link.parent not in mine and _is_private_parent(world, tables, link):
            found[link.parent].append((Hop(link=link, down=True), *mine[link.child]))
    return {name: tuple(sorted(ways, key=lambda way: (len(way), way[0].link.columns))) for name, ways in found.items()}


def _is_private_parent(world: World, tables: Mapping[TableName, Table], link: Link) -> bool:
    if is_other_people(link.parent) or OTHER_PEOPLE_WORDS.intersection(words(link.columns[-1])):
        return False
    table = tables[link.parent]
    weights = Counter(world.kinds[table.name, column.name].weight for column in table.columns)
    named = bool(_PRIVATE_PARENT.intersection(words(table.name.name)))
    telling = weights[Weight.STRONG] or weights[Weight.PERSON] or weights[Weight.PLACE]
    if not telling or (weights[Weight.ORGANISATION] and not weights[Weight.PERSON]):
        return False
    child = tables[link.child]
    if link.columns in (child.primary_key, *child.unique_keys):
        return True
    sample = world.samples.fields.get((link.child, link.columns[0]))
    if sample is None or not sample.values:
        return named
    return sample.distinct_share >= PRIVATE_PARENT_SHARE


# ------------------------------------------------------------------------------------------------ dispositions


def _owned(world: World, table: Table, ways: tuple[Way, ...]) -> Ownership:
    direct = tuple(way for way in ways if len(way) == 1 and way[0].when is None and way[0].link.confirmed)
    by, shared = ways, Shared.FIRST
    if len(direct) > 1:
        by, shared = direct, Shared.EACH
    elif direct and direct[0][0].link.nullable:
        # a row that names nobody is nobody's: not the one's whose row it hangs on
        by = direct
    return Ownership(
        table=table.name, rows=Disposition.MOVE, reason="leads to the subject", ways=by[:WAYS_SHOWN_MAX],
        more_ways=tuple(way for way in ways if way not in by[:WAYS_SHOWN_MAX]),
        shared=shared if len(by) > 1 else None, unsure=tuple(_doubts(world, table, by)),
    )  # fmt: skip


def _doubts(world: World, table: Table, by: tuple[Way, ...]) -> Iterator[str]:
    first = by[0][0]
    if len(by) > 1 and all(len(way) == 1 for way in by):
        yield "rows of several people: `each` one's home gets them; `first` or `any` if they are one's"
    if first.when is not None:
        yield "reached over a polymorphic pair: check that every kind of it is listed"
    if _CONTENT.intersection(words(table.name.name)[-1:]):
        yield "is this published content? It moves with its author; `rows: split` or `public` keeps it visible"
    sample = world.samples.fields.get((table.name, first.link.columns[0]))
    if len(by) == 1 and first.link.nullable and sample is not None and sample.nulls:
        some = f"{sample.nulls} of {sample.rows} sampled rows have no {first.link.key}"
        yield f"{some}: add `ownerless: stay` if they stay"
    yield from (_guessed(hop.link) for hop in by[0][:1] if not hop.link.declared and hop.when is None)


def _guessed(link: Link) -> str:
    told = f"{link.key} → {link.parent.name} is no declared key: told from its name"
    if link.found is None:
        return f"{told} alone"
    return f"{told} and {link.found.found} of {link.found.asked} sampled values"


def _parent(world: World, table: Table, ways: tuple[Way, ...]) -> Ownership:
    people = holds_people(table, world.kinds)
    return Ownership(
        table=table.name, rows=Disposition.MOVE, reason="private rows that subjects' rows refer to",
        ways=ways[:WAYS_SHOWN_MAX], more_ways=ways[WAYS_SHOWN_MAX:], shared=Shared.EACH, ownerless=True,
        unsure=("holds people: are they the subjects themselves?",) if people else (),
    )  # fmt: skip


def _others(world: World, moving: frozenset[TableName]) -> frozenset[TableName]:
    """Tables about people or organisations who are not subjects, and tables that are but links of theirs."""
    about = {
        table.name
        for table in world.catalogue.tables
        if table.name not in moving and (_tells(world, table) or (is_other_people(table.name) and not _is_plain(table)))
    }
    tables = {table.name: table for table in world.catalogue.tables}
    for link in world.links:
        if (
            link.child not in moving
            and link.parent in about
            and set(link.columns) <= set(tables[link.child].primary_key)
        ):
            about.add(link.child)
    return frozenset(about)


def _tells(world: World, table: Table) -> bool:
    kinds = [world.kinds[table.name, column.name] for column in table.columns]
    if any(kind.weight is Weight.STRONG and kind.confidence is not Confidence.UNSURE for kind in kinds):
        return True
    return holds_people(table, world.kinds)


def _is_plain(table: Table) -> bool:
    return len(table.columns) <= 2


def _unowned(world: World, table: Table, moving: frozenset[TableName], others: frozenset[TableName]) -> Ownership:
    if table.kind is RelationKind.FOREIGN:
        return Ownership(
            table=table.name, rows=None, reason="a foreign table: its rows lie in another store",
            unsure=("map the store that holds its rows, then `rows: none` with that reason",),
        )  # fmt: skip
    if table.name in others:
        return _about_others(world, table)
    into = [link for link in world.links if link.child == table.name and link.parent in moving]
    private = sorted({link.parent.name for link in into if not link.bookkeeping})
    if private:
        return Ownership(
            table=table.name, rows=Disposition.NONE, home=HomeRows.NEEDED,
            reason=f"no data of subjects; refers to {', '.join(private)} rows of its own",
        )  # fmt: skip
    if _is_isolated(world, table) and _is_suspicious(world, table):
        return Ownership(
            table=table.name, rows=None, reason="nothing leads from it to a subject, yet it may hold their data",
            unsure=("no way to a subject is visible: name a `path`, or say `public` or `none` with a reason",),
        )  # fmt: skip
    unsure = tuple(f"{link.key} says who touched a row: is the row theirs? Then `rows: move`" for link in into)
    reason = "reference data: nothing in it leads to a subject"
    return Ownership(table=table.name, rows=Disposition.PUBLIC, reason=reason, unsure=unsure)


def _about_others(world: World, table: Table) -> Ownership:
    staff = is_other_people(table.name)
    subjects = bool(SUBJECT_WORDS.keys() & set(words(table.name.name)))
    if staff:
        return Ownership(
            table=table.name, rows=Disposition.NONE, home=HomeRows.NEEDED,
            reason="people or organisations who are not data subjects of this programme",
        )  # fmt: skip
    doubt = "holds data of people who may be subjects, but nothing leads to the subject: name a `path`, or keep `none`"
    referred = any(table.name in (link.parent, link.child) for link in world.links)
    if (subjects or not referred) and world.subject is not None:
        return Ownership(
            table=table.name, rows=None, reason="personal data without a way to the subject", unsure=(doubt,)
        )
    return Ownership(
        table=table.name, rows=Disposition.NONE, home=HomeRows.NEEDED,
        reason="people or organisations who are not data subjects of this programme", unsure=(doubt,),
    )  # fmt: skip


def _is_isolated(world: World, table: Table) -> bool:
    return not any(table.name in (link.child, link.parent) for link in world.links)


def _is_suspicious(world: World, table: Table) -> bool:
    weights = {world.kinds[table.name, column.name].weight for column in table.columns}
    return bool(weights & {Weight.STRONG, Weight.PERSON, Weight.PLACE, Weight.FREE, Weight.OPAQUE}) or any(
        {"user", "customer", "account", "member", "session", "log", "audit", "event", "history"}.intersection(
            words(name)
        )
        for name in (table.name.name, *(column.name for column in table.columns))
    )
