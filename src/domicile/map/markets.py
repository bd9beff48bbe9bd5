"""Where a subject lives: the field that tells the market, the way to it, and what its values mean.

Forward hops only (a subject has one market); the shortest way to a field that is about countries wins, and values that
are recognised as countries count for it. Birth countries and shipping addresses count against.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domicile.catalogue import Catalogue, Column, Table, TableName
from domicile.map.countries import country_code, is_country_code
from domicile.map.edges import Link
from domicile.map.people import is_other_people
from domicile.map.words import listed, words
from domicile.samples import Samples, ValueList

HOPS_MAX = 5
WAYS_MAX = 2_000
_FIELD_POINTS = {"residence": 110, "residency": 110, "jurisdiction": 110, "market": 105, "country": 100,
                 "nationality": 40, "region": 25, "territory": 20}  # fmt: skip
_ELSEWHERE = listed("birth born ship shipping billing origin passport destination citizenship phone")
RECOGNISED_SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketWay:
    """A proposal for `subject.market`: hops, the field, its values' meaning, and what was not recognised."""

    hops: tuple[Link, ...]
    table: TableName
    field: str
    score: int
    values: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]
    codes: bool
    whole: bool


def market_ways(
    catalogue: Catalogue, subject: TableName, edges: tuple[Link, ...], samples: Samples
) -> tuple[MarketWay, ...]:
    """Rank the ways from a subject to its market, best first."""
    tables = {table.name: table for table in catalogue.tables}
    up: defaultdict[TableName, list[Link]] = defaultdict(list)
    for edge in edges:
        if edge.child != edge.parent:
            up[edge.child].append(edge)
    found = [
        way
        for hops, table in _reach(subject, tables, up)
        for column in table.columns
        if (way := _way(hops, table, column, samples)) is not None
    ]
    return tuple(sorted(found, key=lambda way: (-way.score, len(way.hops), way.table, way.field)))


def _reach(
    subject: TableName, tables: Mapping[TableName, Table], up: Mapping[TableName, list[Link]]
) -> Iterator[tuple[tuple[Link, ...], Table]]:
    """Walk all simple ways upwards from the subject, shortest first, in a bounded number."""
    waiting: list[tuple[Link, ...]] = [()]
    for hops in waiting:
        here = hops[-1].parent if hops else subject
        yield hops, tables[here]
        seen = {subject, *(hop.parent for hop in hops)}
        if len(hops) < HOPS_MAX and len(waiting) < WAYS_MAX:
            waiting.extend((*hops, link) for link in up.get(here, ()) if link.parent not in seen)


def _way(hops: tuple[Link, ...], table: Table, column: Column, samples: Samples) -> MarketWay | None:
    if column.category not in "SE":
        return None
    points = _points(table, column)
    if not points:
        return None
    listed = samples.lists.get((table.name, column.name), ValueList())
    meanings = [(value, country_code(value)) for value in listed.values]
    known = tuple((value, code) for value, code in meanings if code is not None)
    share = len(known) / len(meanings) if meanings else None
    if share is not None:
        points += 20 if share >= RECOGNISED_SHARE else -60 if share < 0.3 and points < 105 else 0
    points -= 10 * len(hops) + 40 * sum(is_other_people(hop.parent) for hop in hops)
    if points <= 0:
        return None
    return MarketWay(
        hops=hops, table=table.name, field=column.name, score=points, values=known,
        unknown=tuple(value for value, code in meanings if code is None),
        codes=bool(meanings) and all(is_country_code(value) for value, _ in meanings), whole=listed.whole,
    )  # fmt: skip


def _points(table: Table, column: Column) -> int:
    name = words(column.name)
    if _ELSEWHERE.intersection(name):
        return 0
    own = max((_FIELD_POINTS.get(word, 0) for word in name), default=0)
    if own:
        return own
    noun = max((_FIELD_POINTS.get(word, 0) for word in words(table.name.name)), default=0)
    says = {"name": 5, "iso": 6, "code": 4, "alpha": 3}
    best = max((says.get(word, 0) for word in name), default=0)
    return noun - 10 + best if noun and best else 0
