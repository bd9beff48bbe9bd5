"""Proposal → the text of `domicile.yaml`: readable, commented, and the same bytes for the same proposal.

Written by hand instead of dumped: comments stand beside what they explain. `scalar` spells every name and value so
that a YAML 1.2 reader returns exactly it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from domicile.catalogue import TableName
from domicile.config import dataset_id
from domicile.config.rules import Disposition, FieldClass, HomeRows
from domicile.map.apart import EdgeProposal
from domicile.map.countries import is_former
from domicile.map.draft import DatasetProposal, Place, Proposal
from domicile.map.fields import FieldProposal, Literal
from domicile.map.markets import MarketWay
from domicile.map.spelling import block, said, scalar
from domicile.map.ways import Hop, Way

SEVERAL = "a subject may have several of these rows: say which one counts, or what holds where they disagree"
UNKNOWN_COUNTRY = "ZZ"  # ISO 3166-1: free for users; here: not yet said
RUNNERS_UP_MAX = 4
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def write(proposal: Proposal) -> str:
    """Spell the proposal."""
    lines = (
        *_head(proposal),
        "version: 1",
        f"programme: {{name: {scalar(proposal.frame.programme)}}}  # deadline: 2027-01-31",
        "",
        *_policy(proposal),
        "",
        *_locations(proposal),
        "",
        *_stores(proposal),
        "",
        *_subject(proposal),
        "",
        "datasets:"
        if proposal.datasets or any(view.materialised for view in proposal.catalogue.views)
        else "datasets: {}",
        *(line for dataset in proposal.datasets for line in _dataset(proposal, dataset)),
        *_views(proposal),
    )
    return "\n".join(line.rstrip() for line in lines) + "\n"


def remark(text: str) -> str:
    """Make one comment line of a text whose names may hold anything."""
    return "".join(sign if sign.isprintable() and sign != "\ufeff" else "?" for sign in text)


# ------------------------------------------------------------------------------------------------ head and frame


def _head(proposal: Proposal) -> Iterator[str]:
    catalogue = proposal.catalogue
    yield f"# Draft made by `domicile init` from database {remark(catalogue.database)}: {len(catalogue.tables)} tables."
    yield "# Finish it: every `# unsure:` below is a guess for you to keep or change; see docs/init.md."
    if proposal.doubts:
        yield "#"
        yield f"# To decide ({len(proposal.doubts)}):"
        yield from (f"#  - {remark(doubt)}" for doubt in proposal.doubts)
    if proposal.notes:
        yield "#"
        yield "# Not seen:"
        yield from (f"#  - {remark(note)}" for note in proposal.notes)
    if proposal.bound.notes:
        yield "#"
        yield "# Not taken over:"
        yield from (f"#  - {remark(note)}" for note in proposal.bound.notes)


def _policy(proposal: Proposal) -> Iterator[str]:
    yield "policy:"
    if proposal.frame.markets:
        yield "  homes:  # market: location"
        yield from (f"    {scalar(name)}: {scalar(home)}" for name, home in proposal.frame.markets.items())
    else:
        yield "  # unsure: name the markets that move, and the location of each one's home"
        yield "  homes: {}  # CA: ca"
    yield "  unknown_market: in-scope  # a subject without a market stops the plan; or name a market, or `stay`"
    yield "  approvals: {erase: {threshold: 2, of: [operator, monitor]}}"


def _locations(proposal: Proposal) -> Iterator[str]:
    frame = proposal.frame
    yield "locations:"
    for name in (frame.location, *dict.fromkeys(frame.markets.values())):
        place = frame.places.get(name, Place())
        country = place.country or _country_of(proposal, name)
        operator = scalar(place.operator or "unknown")
        doubt = "" if place.country and place.operator else "  # unsure: who runs it, and where"
        yield f"  {scalar(name)}: {{country: {scalar(country)}, operator: {operator}}}{doubt}"


def _country_of(proposal: Proposal, location: str) -> str:
    """A home that serves one country's market is guessed to stand there; marked as unsure where it is written."""
    served = [market for market, home in proposal.frame.markets.items() if home == location]
    likely = [market for market in (*served, location.upper()) if re.fullmatch(r"[A-Z]{2}", market)]
    return location.upper() if location.upper() in likely else (likely or [UNKNOWN_COUNTRY])[0]


def _stores(proposal: Proposal) -> Iterator[str]:
    frame = proposal.frame
    yield "stores:  # secrets only by reference: env:NAME or file:PATH"
    yield _store(frame.store, frame.location, frame.places.get(frame.location, Place()).dsn, home_of=None)
    yield "    # files: sql  # let `sweep` read the server's files by SQL even where they are on this machine"
    for home in dict.fromkeys(frame.markets.values()):
        dsn = frame.places.get(home, Place()).dsn
        yield _store(f"{frame.store}-{home}", home, dsn, home_of=frame.store)


def _store(name: str, location: str, dsn: str | None, *, home_of: str | None) -> str:
    variable = re.sub(r"[^A-Z0-9]+", "_", name.upper()) + "_DSN"
    more = f", home_of: {scalar(home_of)}" if home_of else ""
    reference = scalar(dsn or f"env:{variable}")
    return f"  {scalar(name)}: {{kind: postgresql, location: {scalar(location)}, dsn: {reference}{more}}}"


# ------------------------------------------------------------------------------------------------ subject


def _subject(proposal: Proposal) -> Iterator[str]:
    if proposal.said is not None and proposal.said.subject is not None:
        yield from block({"subject": said(proposal.said.subject)}, 0)
        if proposal.said.other_subjects:
            yield from block({"other_subjects": [said(rule) for rule in proposal.said.other_subjects]}, 0)
        return
    if not proposal.people:
        yield "# unsure: no table looks like people; name one: `domicile init --subject SCHEMA.TABLE`"
        yield f"# subject: {{dataset: {proposal.frame.store}.public.users, key: id, market: {{field: country}}}}"
        return
    best, *others = proposal.people
    yield "subject:"
    yield f"  # {remark(best.why)}"
    for other in others[:RUNNERS_UP_MAX]:
        yield f"  # also like people: {remark(str(other.table))} ({remark(other.why)})"
    if others and proposal.frame.subject is None:
        yield "  # for another subject make another draft: `domicile init --subject SCHEMA.TABLE …`"
    if any("subject.dataset" in doubt for doubt in proposal.doubts):
        yield "  # unsure: the second one is close"
    yield f"  dataset: {scalar(dataset_id(proposal.frame.store, best.table))}"
    yield f"  key: {scalar(best.key)}"
    yield from _market(proposal)


def _market(proposal: Proposal) -> Iterator[str]:
    if not proposal.markets:
        yield "  # unsure: nothing at, above or right below the subject tells a country; name field and path:"
        yield "  # market: {field: country}  # or {path: [{from: app.public.address, via: user_id}], field: country}"
        return
    best, *others = proposal.markets
    yield "  market:"
    for other in others[:RUNNERS_UP_MAX]:
        way = ".".join([("<" if hop.down else "") + hop.link.key for hop in other.hops] + [other.field])
        yield f"    # also about countries: {remark(way)} (of {remark(str(other.table))})"
    if best.hops:
        yield f"    path: {_hops(proposal, best.hops)}"
    yield f"    field: {scalar(best.field)}"
    if best.several:
        yield f"    # unsure: {SEVERAL}"
        if best.first is not None:
            yield f"    # when: {scalar(best.first)}  # only rows where this holds"
        yield "    # conflict: stay  # or a market of policy.homes; without it the plan refuses where rows disagree"
    yield from _values(best)


def _values(way: MarketWay) -> Iterator[str]:
    if way.codes:
        yield "    # the values are ISO 3166-1 alpha-2 codes: each names its market"
    elif way.values:
        yield "    values:"
        yield from (f"      {scalar(value)}: {scalar(code)}{_former(code)}" for value, code in way.values)
    elif not way.unknown:
        yield "    # unsure: no row to look at; without `values`, each value names its market"
    if way.unknown:
        yield "    # unsure: not recognised; add each one's market under `values`:"
        yield from (f"    #   {remark(scalar(value))}: ?" for value in way.unknown)


def _former(code: str) -> str:
    return "  # unsure: a country that is no more" if is_former(code) else ""


# ------------------------------------------------------------------------------------------------ datasets


def _dataset(proposal: Proposal, dataset: DatasetProposal) -> Iterator[str]:
    owner = dataset.owner
    yield ""
    if dataset.rule is not None:
        yield from block({dataset.id: said(dataset.rule)}, 1)
        return
    for doubt in owner.unsure:
        yield f"  # unsure: {remark(doubt)}"
    if owner.rows is None:
        yield f"  # {remark(owner.reason)}"
        yield f"  # {remark(scalar(dataset.id))}: {{rows: ?}}  # move | split | public | none"
        return
    yield f"  {scalar(dataset.id)}:"
    yield f"    rows: {owner.rows}{'' if owner.rows is Disposition.NONE else '  # ' + remark(owner.reason)}"
    if owner.rows is Disposition.NONE:
        yield f"    reason: {scalar(owner.reason)}"
    if owner.home is not None:
        yield f"    home: {owner.home}" + ("  # only what home rows refer to" if owner.home is HomeRows.NEEDED else "")
    yield from _ways(proposal, dataset)
    if dataset.unenforced:
        yield f"    unenforced: follow{_loose(dataset)}"
    if dataset.fields:
        yield "    fields:"
        yield from (f"      {line}" for item in dataset.fields for line in _field(item))
    yield from _edges(proposal, dataset)


def _views(proposal: Proposal) -> Iterator[str]:
    """Materialised views: refreshed at the source after the erasure, and at home."""
    rules = proposal.said.datasets if proposal.said else {}
    for view in proposal.catalogue.views:
        name = dataset_id(proposal.frame.store, view.name)
        if view.materialised and name not in rules:
            yield ""
            yield f"  # computed from {remark(', '.join(map(str, view.reads)) or 'no table')}"
            yield f"  {scalar(name)}: {{rows: derived}}"
        elif view.materialised:
            yield from ("", *block({name: said(rules[name])}, 1))


def _ways(proposal: Proposal, dataset: DatasetProposal) -> Iterator[str]:
    owner = dataset.owner
    for hop in dict.fromkeys(hop.link.told for way in owner.ways for hop in way if hop.link.told and not hop.down):
        yield f"    # from {remark(hop)}"
    for way in owner.more_ways:
        yield f"    # also leads to a subject: {remark(_hops(proposal, way))}"
    if len(owner.ways) == 1:
        yield f"    path: {_hops(proposal, owner.ways[0])}"
        if owner.shared:
            yield f"    shared: {owner.shared}  # a row of several subjects goes to each one's home"
    elif owner.ways:
        yield "    subjects:"
        yield "      by:"
        yield from (f"        - {_hops(proposal, way)}" for way in owner.ways)
        yield f"      shared: {owner.shared}  # {_SHARED[str(owner.shared)]}"
    if owner.ownerless:
        yield "    ownerless: stay  # rows that no subject's row refers to"


_SHARED = {
    "first": "where the ways lead to different people, the first one that leads to anybody decides",
    "each": "where the ways lead to different people, each one's home gets the row",
}


def _hops(proposal: Proposal, way: Way) -> str:
    texts = [_hop(proposal, hop) for hop in way]
    if len(texts) == 1 and _NAME.fullmatch(texts[0]):
        return texts[0]
    return f"[{', '.join(texts)}]"


def _hop(proposal: Proposal, hop: Hop) -> str:
    link = hop.link
    via = scalar(link.columns[0]) if len(link.columns) == 1 else f"[{', '.join(map(scalar, link.columns))}]"
    store = proposal.frame.store
    # only a link that `edges` declares brings its key along, and not where the reference stands inside a column
    other = not link.declared and link.parent_columns != _key(proposal, link.parent)
    key = f", key: [{', '.join(map(scalar, link.parent_columns))}]" if other else ""
    key += ", fold: true" if link.fold else ""
    if hop.down:
        return f"{{from: {scalar(dataset_id(store, link.child))}, via: {via}{key}}}"
    if hop.when is not None:
        return f"{{via: {via}, to: {scalar(dataset_id(store, link.parent))}{key}, when: {scalar(hop.when)}}}"
    if not link.declared or (link.child, link.columns) in proposal.twins:
        return f"{{via: {via}, to: {scalar(dataset_id(store, link.parent))}{key}}}"
    return via if len(link.columns) == 1 else f"{{via: {via}}}"


def _loose(dataset: DatasetProposal) -> str:
    leaves = sorted({leaf for edge in dataset.edges for leaf in edge.link.missing_on} - {dataset.table.name})
    if not leaves:
        return "  # an edge is not enforced by the database"
    shown = ", ".join(leaf.name for leaf in leaves[:3]) + (" …" if len(leaves) > 3 else "")
    return f"  # {remark(shown)} lacks foreign keys: the edges hold there by value only"


def _field(item: FieldProposal) -> Iterator[str]:
    if item.cls is None:
        yield f"# unsure: {remark(item.unsure)}"
        yield f"# {remark(scalar(item.name))}: ?  # private | public"
        return
    comment = f"  # unsure: {remark(item.unsure)}" if item.unsure else f"  # {item.note}" if item.note else ""
    yield f"{scalar(item.name)}: {_rule(item.cls, item.category, item.outside)}{comment}"


def _rule(cls: FieldClass, category: str | None, outside: Literal) -> str:
    if category is None and outside is None:
        return str(cls)
    parts = [f"class: {cls}"]
    parts += [f"category: {category}"] if category else []
    parts += [f"outside: {scalar(outside)}"] if outside is not None else []
    return f"{{{', '.join(parts)}}}"


def _edges(proposal: Proposal, dataset: DatasetProposal) -> Iterator[str]:
    if dataset.edges:
        yield "    edges:"
    together: dict[str, list[EdgeProposal]] = {}
    for edge in dataset.edges:
        together.setdefault(edge.link.key, []).append(edge)
    for key, several in together.items():
        if len(several) == 1:
            yield f"      {scalar(key)}: {{{', '.join(_edge(proposal, several[0]))}}}  # {remark(_why(several[0]))}"
            continue
        yield f"      {scalar(key)}:  # refers to several tables"
        yield from (f"        - {{{', '.join(_edge(proposal, edge))}}}  # {remark(_why(edge))}" for edge in several)


def _why(edge: EdgeProposal) -> str:
    told = f"from {edge.link.told}; " if edge.link.told else ""
    return told + (f"unsure: {edge.unsure}" if edge.unsure else edge.why)


def _edge(proposal: Proposal, edge: EdgeProposal) -> Iterator[str]:
    link = edge.link
    if not link.declared or (link.child, link.columns) in proposal.twins:
        yield f"to: {scalar(dataset_id(proposal.frame.store, link.parent))}"
    if not link.declared and link.parent_columns != _key(proposal, link.parent):
        yield f"key: [{', '.join(map(scalar, link.parent_columns))}]"
    if edge.home and edge.source:
        yield f"apart: {{home: {edge.home}, source: {edge.source}}}"
    elif edge.home or edge.source:
        yield f"apart: {{{'home' if edge.home else 'source'}: {edge.home or edge.source}}}"


def _key(proposal: Proposal, table: TableName) -> tuple[str, ...]:
    found = proposal.catalogue.table(table)
    return found.key if found else ()
