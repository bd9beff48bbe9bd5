"""The ways from a row to its subject.

Up: an edge leads from the row to the subject (`rental` → `customer`), also over other rows of the subject
(`payment` → `rental` → `customer`) and over polymorphic pairs. Down: a private parent is a subject's when the subject's
rows refer to it (`customer` → `address`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from domicile.catalogue import Catalogue, Table, TableName
from domicile.catalogue.samples import FieldName, Samples, ValueList
from domicile.map.edges import Link, pairs
from domicile.map.kinds import Kind
from domicile.map.people import OTHER_PEOPLE_WORDS, is_other_people
from domicile.map.vocabulary import Weight
from domicile.map.words import listed, words
from domicile.reading import INTEGERS, PATTERN_SIGN, WHOLE_TEXT, is_reading

# Of a shared lookup only few different values are referred to; of a private parent nearly every row has its own.
PRIVATE_PARENT_SHARE = 0.5
PART_HOPS = 1_000  # more than any way has hops
_CONTENT_PARENT = listed("blob upload file attachment document image photo media recording scan")
_PRIVATE_PARENT = listed("address profile contact identity detail preference wallet account location person")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One step of a way: up over a link, or down to the rows whose link points here."""

    link: Link
    down: bool = False

    @property
    def when(self) -> str | None:
        """The condition of a polymorphic pair's hop."""
        return self.link.when


Way = tuple[Hop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the proposals are made from."""

    catalogue: Catalogue
    samples: Samples
    kinds: Mapping[FieldName, Kind]
    links: tuple[Link, ...]
    subject: TableName | None
    told: tuple[Hop, ...] = ()  # by importers: polymorphic pairs, and columns that refer to several tables

    def up(self) -> dict[TableName, list[Link]]:
        """Group the links by child."""
        grouped: defaultdict[TableName, list[Link]] = defaultdict(list)
        for link in self.links:
            grouped[link.child].append(link)
        return dict(grouped)


def targets_of_pairs(world: World) -> tuple[Link, ...]:
    """The edges of polymorphic pairs: one for each kind whose table is known, by an importer or by its name."""
    tables = {table.name: table for table in world.catalogue.tables}
    pairs_ = (hop.link for hop in (*world.told, *_polymorphic(world)) if hop.when is not None)
    # A reference inside a column has no condition; a path may have one.
    return tuple(link for link in pairs_ if not any(is_reading(name, tables[link.child]) for name in link.columns))


def kinds_of_nobody(world: World, table: Table) -> int:
    """Count the kinds that a table's polymorphic pairs name and no table is called after."""
    nouns = _nouns(world)
    told = {hop.when for hop in world.told if hop.link.child == table.name}
    return sum(
        _called(nouns, value) is None and _condition(kind, value) not in told
        for kind, _ in pairs(table)
        for value in world.samples.lists.get((table.name, kind), ValueList()).values
    )


# ------------------------------------------------------------------------------------------------ ways up


def ways_up(world: World) -> dict[TableName, tuple[Way, ...]]:
    """For every dataset that leads to the subject: one way per first hop, the shortest first."""
    if world.subject is None:
        return {}
    into: defaultdict[TableName, list[Link]] = defaultdict(list)
    out: defaultdict[TableName, list[Hop]] = defaultdict(list)
    for hop in (*(Hop(link=link) for link in world.links), *world.told, *_polymorphic(world)):
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
    """Count hops to the subject, the nearest first; who may have a part in a row is as far as `PART_HOPS`."""
    distance: dict[TableName, int] = {}
    waiting = [(0, subject)]
    while waiting:
        hops, here = heappop(waiting)
        if here in distance:
            continue
        distance[here] = hops
        for link in into.get(here, ()):
            heappush(waiting, (hops + (PART_HOPS if here == subject and has_a_part(link) else 1), link.child))
    return distance


def _rank(hop: Hop, best: Mapping[TableName, Way]) -> tuple[object, ...]:
    """Order of ways: straight to the subject, certain, short, enforced, named like the owner, then by name.

    Last those who may have a part in the row (`assignee_id`), but need not.
    """
    link = hop.link
    return (
        hop.when is not None,
        not link.confirmed,
        hop.when is None and has_a_part(link) and not best[link.parent],
        bool(best[link.parent]),
        link.nullable,
        len(best[link.parent]),
        not link.declared,
        -_owner_likeness(link),
        link.columns,
        link.parent,
    )


def has_a_part(link: Link) -> bool:
    """Whether the one a row names here need not be named, and is not called its owner or maker."""
    return link.nullable and _owner_likeness(link) == 1


def _owner_likeness(link: Link) -> int:
    """`user_id` before `recipient_id`: the subject's own noun, then the roles of who made the row."""
    name = words(link.columns[-1])
    if set(name).intersection(words(link.parent.name)):
        return 4 if len(name) <= 1 + len(words(link.parent.name)) else 3
    return 2 if {"owner", "author", "sender", "creator", "payer", "follower"}.intersection(name) else 1


def _polymorphic(world: World) -> list[Hop]:
    """Pairs such as (`commentable_type`, `commentable_id`): one hop per kind whose name is a table's."""
    tables = {table.name: table for table in world.catalogue.tables}
    nouns = _nouns(world)
    hops: list[Hop] = []
    told = {(hop.link.child, hop.link.columns[0].split(PATTERN_SIGN)[0]) for hop in world.told}
    for table in world.catalogue.tables:
        for kind, reference in pairs(table):
            if (table.name, reference) in told:
                continue
            listed = world.samples.lists.get((table.name, kind))
            for value in listed.values if listed else ():
                parent = _called(nouns, value)
                spelled = _spelled(table, reference, tables[parent]) if parent else None
                if parent is None or spelled is None or parent == table.name:
                    continue
                link = Link(
                    child=table.name, columns=(spelled,), parent=parent, parent_columns=tables[parent].key,
                    declared=False, missing_on=table.leaves or (table.name,), nullable=True,
                    when=_condition(kind, value),
                )  # fmt: skip
                hops.append(Hop(link=link))
    return hops


def _nouns(world: World) -> dict[tuple[str, ...], TableName]:
    tables = {table.name: table for table in world.catalogue.tables}
    return {words(name.name): name for name in sorted(tables, reverse=True) if len(tables[name].key) == 1}


def _called(nouns: Mapping[tuple[str, ...], TableName], value: str) -> TableName | None:
    r"""Find the table of a kind: `App\Models\User` is a row of users."""
    return nouns.get(words(value.rsplit("\\", 1)[-1].rsplit(":", 1)[-1]))


def _spelled(table: Table, reference: str, parent: Table) -> str | None:
    """Spell a pair's reference so that it compares with the parent's key: text that holds numbers by its whole text."""
    mine, key = table.column(reference), parent.column(parent.key[0])
    if mine is None or key is None or mine.category == key.category:
        return reference if mine and key else None
    return reference + WHOLE_TEXT if mine.category == "S" and key.base in (*INTEGERS, "uuid") else None


def _condition(column: str, value: str) -> str:
    return f'"{column.replace(chr(34), chr(34) * 2)}" = ' + "'" + value.replace("'", "''") + "'"


# ------------------------------------------------------------------------------------------------ ways down


def ways_down(world: World, owned: Mapping[TableName, tuple[Way, ...]]) -> dict[TableName, tuple[Way, ...]]:
    """Find private parents: rows that owned rows refer to, one or few each, and that tell of a person.

    `owned` are the ways that decide the rows of each dataset.
    """
    found: defaultdict[TableName, list[Way]] = defaultdict(list)
    tables = {table.name: table for table in world.catalogue.tables}
    mine: dict[TableName, tuple[Way, ...]] = {name: _exclusive(ways) for name, ways in owned.items()}
    mine |= {world.subject: ((),)} if world.subject else {}
    for link in world.links:
        if link.child in mine and link.parent not in mine and _is_private_parent(world, tables, link):
            found[link.parent] += [(Hop(link=link, down=True), *way) for way in mine[link.child]]
    return {name: tuple(sorted(ways, key=lambda way: (len(way), way[0].link.columns))) for name, ways in found.items()}


def _exclusive(ways: tuple[Way, ...]) -> tuple[Way, ...]:
    """The ways of a row's own owner: every kind of a polymorphic pair, and the first of the others."""
    plain = [way for way in ways if way and way[0].when is None]
    return (*plain[:1], *(way for way in ways if way and way[0].when is not None))


def _is_private_parent(world: World, tables: Mapping[TableName, Table], link: Link) -> bool:
    if is_other_people(link.parent) or OTHER_PEOPLE_WORDS.intersection(words(link.columns[-1])):
        return False
    table = tables[link.parent]
    weights = Counter(world.kinds[table.name, column.name].weight for column in table.columns)
    named = bool(_PRIVATE_PARENT.intersection(words(table.name.name)))
    telling = weights[Weight.STRONG] or weights[Weight.PERSON] or weights[Weight.PLACE]
    telling = telling or bool(_CONTENT_PARENT.intersection(words(table.name.name)[-1:]))
    if not telling or (weights[Weight.ORGANISATION] and not weights[Weight.PERSON]):
        return False
    child = tables[link.child]
    if link.columns in (child.primary_key, *child.unique_keys):
        return True
    sample = world.samples.fields.get((link.child, link.columns[0]))
    if sample is None or not sample.values:
        return named
    return sample.distinct_share >= PRIVATE_PARENT_SHARE
