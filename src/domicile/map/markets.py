"""Where a subject lives: the field that tells the market, the way to it, and what its values mean.

The shortest way to a field that is about countries wins, and values that are recognised as countries count for it. A
way may begin with the rows that refer to the subject: a profile (one at most, says a unique key), else an address book,
of which a subject may have several. Birth countries and shipping addresses count against.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domicile.catalogue import Catalogue, Column, Table, TableName
from domicile.catalogue.samples import Samples, ValueList
from domicile.map.countries import country_code, is_country_code
from domicile.map.edges import Link
from domicile.map.people import is_other_people
from domicile.map.ways import Hop
from domicile.map.words import listed, words

HOPS_MAX = 5
WAYS_MAX = 2_000
_FIELD_POINTS = {"residence": 110, "residency": 110, "jurisdiction": 110, "market": 105, "country": 100, "nation": 100,
                 "nationality": 40, "region": 25, "territory": 20}  # fmt: skip
_ELSEWHERE = listed("birth born ship shipping billing origin passport destination citizenship phone")
RECOGNISED_SHARE = 0.8
_ABOUT_A_PERSON = listed(
    """
    address profile contact detail residence residency registration kyc identity preference setting info information
    account person billing
    """
)
_SEVERAL_POINTS = 30  # several rows may disagree
_ELSEWHERE_POINTS = 60
_CONTENT_POINTS = 60  # a field of another name whose values are all names of countries
_CONTENT_VALUES_MIN = 3
_UNLIKE_POINTS = 25  # orders tell where something goes, not where somebody lives
_KINDS = listed("kind type purpose usage label role")
_FIRST_AMONG_SEVERAL = listed("default primary main current home principal preferred active")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketWay:
    """A proposal for `subject.market`: hops, the field, its values' meaning, and what was not recognised.

    `several` when a subject may reach several rows; `first` is a condition there that may tell the one that counts.
    """

    hops: tuple[Hop, ...]
    table: TableName
    field: str
    score: int
    values: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]
    codes: bool
    whole: bool
    several: bool = False
    first: str | None = None


def market_ways(
    catalogue: Catalogue, subject: TableName, edges: tuple[Link, ...], samples: Samples
) -> tuple[MarketWay, ...]:
    """Rank the ways from a subject to its market, best first."""
    tables = {table.name: table for table in catalogue.tables}
    around: defaultdict[TableName, list[Hop]] = defaultdict(list)
    for edge in edges:
        if edge.child != edge.parent:
            around[edge.child].append(Hop(link=edge))
            if edge.parent == subject and not edge.bookkeeping:
                around[subject].append(Hop(link=edge, down=True))
    found = [
        way
        for hops, table in _reach(subject, tables, around)
        for column in table.columns
        if (way := _way(hops, table, column, samples, tables=tables)) is not None
    ]
    return tuple(sorted(found, key=lambda way: (-way.score, len(way.hops), way.table, way.field)))


def _reach(
    subject: TableName, tables: Mapping[TableName, Table], around: Mapping[TableName, list[Hop]]
) -> Iterator[tuple[tuple[Hop, ...], Table]]:
    """Walk all simple ways from the subject, shortest first, in a bounded number; only a first hop goes down."""
    waiting: list[tuple[Hop, ...]] = [()]
    for hops in waiting:
        here = _end(hops[-1]) if hops else subject
        yield hops, tables[here]
        seen = {subject, *map(_end, hops)}
        if len(hops) < HOPS_MAX and len(waiting) < WAYS_MAX:
            waiting.extend((*hops, hop) for hop in around.get(here, ()) if _end(hop) not in seen)


def _end(hop: Hop) -> TableName:
    return hop.link.child if hop.down else hop.link.parent


def _below(hops: tuple[Hop, ...], tables: Mapping[TableName, Table]) -> tuple[Table | None, bool]:
    """The table that a first hop goes down to, and whether a subject may have several rows there."""
    if not hops or not hops[0].down:
        return None, False
    table = tables[hops[0].link.child]
    keys = (table.primary_key, *table.unique_keys)
    return table, not any(key and set(key) <= set(hops[0].link.columns) for key in keys)


def _first_among(table: Table) -> str | None:
    """Propose a condition that may tell the row that counts: a flag, or a kind whose value a person fills in."""
    flags = [column.name for column in table.columns if column.category == "B"]
    flag = next((name for name in flags if _FIRST_AMONG_SEVERAL.intersection(words(name))), None)
    kinds = [column.name for column in table.columns if column.category in "SE"]
    kind = next((name for name in kinds if _KINDS.intersection(words(name))), None)
    return _spelt(flag) if flag else f"{_spelt(kind)} = '?'" if kind else None


def _spelt(column: str) -> str:
    """Spell a column as a condition does."""
    return column if re.fullmatch(r"[a-z_][a-z0-9_]*", column) else '"' + column.replace('"', '""') + '"'


def _way(
    hops: tuple[Hop, ...], table: Table, column: Column, samples: Samples, *, tables: Mapping[TableName, Table]
) -> MarketWay | None:
    if column.category not in "SE":
        return None
    listed = samples.lists.get((table.name, column.name)) or _sampled(samples, table, column)
    points = _points(table, column) or _by_content(column, listed)
    if not points:
        return None
    meanings = [(value, country_code(value)) for value in listed.values]
    known = tuple((value, code) for value, code in meanings if code is not None)
    share = len(known) / len(meanings) if meanings else None
    if share is not None:
        points += 20 if share >= RECOGNISED_SHARE else -60 if share < 0.3 and points < 105 else 0
    points -= 10 * len(hops) + 40 * sum(is_other_people(_end(hop)) for hop in hops)
    points -= _ELSEWHERE_POINTS * sum(any(_ELSEWHERE.intersection(words(c)) for c in hop.link.columns) for hop in hops)
    below, several = _below(hops, tables)
    if below is not None:
        points -= _SEVERAL_POINTS if several else 0
        points -= 0 if _ABOUT_A_PERSON.intersection(words(below.name.name)) else _UNLIKE_POINTS
    if points <= 0:
        return None
    return MarketWay(
        hops=hops, table=table.name, field=column.name, score=points, values=known,
        unknown=tuple(value for value, code in meanings if code is None),
        codes=bool(meanings) and all(is_country_code(value) for value, _ in meanings), whole=listed.whole,
        several=several, first=_first_among(below) if below is not None and several else None,
    )  # fmt: skip


def _sampled(samples: Samples, table: Table, column: Column) -> ValueList:
    sample = samples.fields.get((table.name, column.name))
    return ValueList(values=tuple(sorted(set(sample.values))) if sample else (), whole=False)


def _by_content(column: Column, listed: ValueList) -> int:
    """Names of countries, written out: two letters may be a language, a state or anything."""
    names = [value for value in listed.values if len(value) > 3]
    known = sum(country_code(value) is not None for value in names)
    telling = known >= _CONTENT_VALUES_MIN and known >= RECOGNISED_SHARE * len(listed.values)
    return _CONTENT_POINTS if telling and not _ELSEWHERE.intersection(words(column.name)) else 0


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
