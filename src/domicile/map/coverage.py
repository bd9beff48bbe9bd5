"""What a file reaches: datasets, columns and edges, and keys of people where nobody mapped them (docs/explain.md).

Pure: file, catalogue and what a sampled search found → a table, and lines to add with their evidence. A key that is
distinctive (uuid, long text, e-mail) needs few hits. A whole number hits by chance: it needs a name that says whose key
it is, and a hit rate far above the share of its own range that are keys, unless the name says nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from domicile.catalogue import Catalogue, Column, Table, TableName
from domicile.catalogue.clues import Clue, Place, Target, TokenKind
from domicile.config import Config, dataset_id, split_dataset_id
from domicile.config.conditions import split_when
from domicile.config.rules import DatasetRule, Disposition
from domicile.map.edges import PERSON_ROLES, is_own_key
from domicile.map.table import class_of, spell_path
from domicile.map.words import words
from domicile.model import Scope

HITS_MIN: Final = 3
SHARE_MIN: Final = 0.02
NUMBER_HITS_MIN: Final = 5
NUMBER_SHARE_MIN: Final = 0.9
ABOVE_CHANCE: Final = 3
ID_WORDS: Final = frozenset({"id", "ids", "uuid", "guid", "key", "ref", "no", "pk"})
PERSON_WORDS: Final = frozenset(
    {"user", "customer", "member", "account", "person", "owner", "author", "actor", "client", "creator", "patient",
     "buyer", "seller", "sender", "recipient", "subscriber", "uid"}
) | PERSON_ROLES  # fmt: skip


class EdgeKind(StrEnum):
    """Who says that an edge is there."""

    DECLARED = "declared"
    VIRTUAL = "virtual"
    READING = "reading"


class Hint(StrEnum):
    """What the name of a place says of the key in it."""

    NONE = "none"
    WEAK = "weak"
    STRONG = "strong"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveredEdge:
    """One edge of a dataset, and whether a path follows it."""

    spelled: str
    parent: str
    kind: EdgeKind
    followed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What the file says of one table: paths, columns and edges; `why` it is not reached, where it isn't."""

    dataset: str
    rows: Disposition | None
    rows_estimate: int
    paths: tuple[str, ...]
    why: str | None
    columns: int
    unclassed: tuple[str, ...]
    mapped: tuple[str, ...]
    edges: tuple[CoveredEdge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """An edge or path that a search found, the lines to add, and what speaks for it. No value of a row."""

    dataset: str
    lines: str
    to: str
    hits: int
    sampled: int
    chance: float | None
    hint: Hint
    note: str


def cover(config: Config, catalogue: Catalogue) -> tuple[Covered, ...]:
    """Say of every table what the file reaches of it."""
    return tuple(_covered(config, catalogue, table) for table in catalogue.tables)


def _covered(config: Config, catalogue: Catalogue, table: Table) -> Covered:
    name = dataset_id(config.source, table.name)
    rule = config.datasets.get(name)
    edges = tuple(_edges(config, catalogue, table, rule))
    paths = tuple(spell_path(way.path) for way in rule.paths) if rule else ()
    if any(kind.dataset == name for kind in config.kinds):
        paths = ("the person's own row",)
    return Covered(
        dataset=name, rows=rule.rows if rule else None, rows_estimate=table.rows_estimate, paths=paths,
        why=None if paths else _why(rule, edges), columns=len(table.columns),
        unclassed=tuple(column.name for column in table.columns if class_of(rule, column.name) is None),
        mapped=tuple(sorted(mapped_places(config, catalogue, table))), edges=edges,
    )  # fmt: skip


def _why(rule: DatasetRule | None, edges: tuple[CoveredEdge, ...]) -> str:
    if rule is None:
        return "the file does not know it"
    if rule.rows is Disposition.NONE:
        return f"none: {rule.reason}"
    if rule.of:
        return f"derived from {', '.join(rule.of)}: emptied"
    parents = ", ".join(dict.fromkeys(str(split_dataset_id(edge.parent)[1]) for edge in edges))
    return f"no path; edges to {parents}" if parents else "no path, no edge"


def _edges(config: Config, catalogue: Catalogue, table: Table, rule: DatasetRule | None) -> Iterator[CoveredEdge]:
    followed = {via for way in (rule.paths if rule else ()) for via in (",".join(way.path[0].via),)}
    keys = [key for key in catalogue.foreign_keys if key.child == table.name]
    declared = {(",".join(key.columns), dataset_id(config.source, key.parent)): None for key in keys}
    for spelled, parent in declared:
        yield CoveredEdge(spelled=spelled, parent=parent, kind=EdgeKind.DECLARED, followed=spelled in followed)
    for spelled, edge in rule.edge_rules() if rule else ():
        if edge.to and (spelled, edge.to) not in declared:
            columns = split_when(spelled)[0]
            plain = all(table.column(name) for name in columns.split(","))
            yield CoveredEdge(
                spelled=spelled, parent=edge.to, kind=EdgeKind.VIRTUAL if plain else EdgeKind.READING,
                followed=columns in followed,
            )  # fmt: skip


def mapped_places(config: Config, catalogue: Catalogue, table: Table) -> frozenset[str]:
    """The places of a table that a key, an edge or a path already uses, as the file spells them."""
    name = dataset_id(config.source, table.name)
    rule = config.datasets.get(name)
    places = {column for key in catalogue.foreign_keys if key.child == table.name for column in key.columns}
    for spelled in (split_when(text)[0] for text in (rule.edges if rule else ())):
        places |= {spelled, *spelled.split(",")}
    for way in rule.paths if rule else ():
        places |= set(way.path[0].via) if not way.path[0].from_ else set()
    for dataset in config.datasets.values():
        for way in dataset.paths:
            places |= {via for hop in way.path if hop.from_ == name for via in hop.via}
    return frozenset(places)


# -- the search --------------------------------------------------------------------------------------------------


def targets_of(config: Config, catalogue: Catalogue, scope: Scope | None) -> tuple[Target, ...]:
    """Whose keys are sought: people's unique keys and e-mail addresses, and keys of rows that paths lead through."""
    found: dict[tuple[TableName, str], Target] = {}
    for kind in config.kinds:
        table = catalogue.table(split_dataset_id(kind.dataset)[1])
        if table is None:
            continue
        others = [key[0] for key in table.unique_keys if len(key) == 1]
        addresses = [column.name for column in table.columns if "email" in "".join(words(column.name))]
        for name in dict.fromkeys([kind.key, *others, *addresses]):
            found.update(_target(table, name, person=True, is_key=table.key == (name,)))
    for dataset in scope.datasets if scope else ():
        for path in dataset.paths:
            for step in path.steps[:-1]:
                table = catalogue.table(step.table)
                if table is not None and len(table.key) == 1 and (table.name, table.key[0]) not in found:
                    found.update(_target(table, table.key[0], person=False, is_key=True))
    return tuple(found.values())


def key_target(table: Table) -> tuple[Target, ...]:
    """The key of a table that is no person's, where it is one column of a kind that can be sought."""
    if len(table.key) != 1:
        return ()
    return tuple(target for _, target in _target(table, table.key[0], person=False, is_key=True))


def _target(table: Table, name: str, *, person: bool, is_key: bool) -> Iterator[tuple[tuple[TableName, str], Target]]:
    column = table.column(name)
    kind = _kind(column) if column else None
    if column is not None and kind is not None and (is_key or kind is not TokenKind.TEXT or person):
        yield (
            (table.name, name),
            Target(table=table.name, column=name, type=column.base, kind=kind, person=person, is_key=is_key),
        )


def _kind(column: Column) -> TokenKind | None:
    if "email" in "".join(words(column.name)) and column.category == "S":
        return TokenKind.EMAIL
    if column.base in ("smallint", "integer", "bigint"):
        return TokenKind.INTEGER
    if column.base == "uuid":
        return TokenKind.UUID
    return TokenKind.TEXT if column.category == "S" else None


def columns_to_search(config: Config, catalogue: Catalogue) -> Mapping[Table, Sequence[Column]]:
    """The columns that hold, as a whole, nothing that the file knows, and no number of the row's own.

    What is read out of a column may not be all of it, so such a one is searched again.
    """
    return {
        table: [
            column for column in table.columns
            if column.name not in mapped_places(config, catalogue, table) and not _numbers_the_row(table, column)
        ]
        for table in catalogue.tables
    }  # fmt: skip


def _numbers_the_row(table: Table, column: Column) -> bool:
    """`actor_id` of `actor`: a whole number that is in any key that counts as far."""
    return (column.name,) == table.primary_key and is_own_key(table, column) and column.category == "N"


def wanted(config: Config, catalogue: Catalogue) -> Wanted:
    """What a search looks up, by the file."""
    people = {kind.dataset for kind in config.kinds}
    return Wanted(
        mapped={table.name: mapped_places(config, catalogue, table) for table in catalogue.tables},
        reached=frozenset(
            split_dataset_id(name)[1] for name, rule in config.datasets.items() if rule.paths or name in people
        ),
        nouns=frozenset(words(table.name.name)[-1] for table in catalogue.tables if words(table.name.name)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which values are looked up in which keys.

    Not where the file already knows; numbers only where a name hints, and hints at no other table; addresses only of
    tables without another way.
    """

    mapped: Mapping[TableName, frozenset[str]]
    reached: frozenset[TableName]
    nouns: frozenset[str]

    def __call__(self, place: Place, target: Target) -> bool:
        """Whether the values of the place are worth a look into the target."""
        if place.spelled in self.mapped.get(place.table, frozenset()):
            return False
        if (place.table, place.spelled) == (target.table, target.column):
            return False
        if target.kind is TokenKind.EMAIL and place.table in self.reached:
            return False
        if target.kind is not TokenKind.INTEGER:
            return True
        noun = _noun(_named(place))
        another = noun in self.nouns and noun != words(target.table.name)[-1]
        return hint(place, target) is not Hint.NONE and not another


def hint(place: Place, target: Target) -> Hint:
    """What the names on the way to the value say of whose key it is."""
    named = _named(place)
    sought = {words(target.table.name)[-1]} | (PERSON_WORDS if target.person else frozenset())
    bare = _noun(named)
    if bare in sought:
        return Hint.STRONG
    return Hint.WEAK if sought & set(named) else Hint.NONE


def _noun(named: Sequence[str]) -> str | None:
    """What the last word is that doesn't only say that a key follows: `user` of `created_user_id`."""
    return next((word for word in reversed(named) if word not in ID_WORDS), None)


def _named(place: Place) -> list[str]:
    """The words on the way to a value: of the text before it, else of the last step, or the last two."""
    column, _, pattern = place.spelled.partition(" ~ ")
    steps = [step for step in column.replace("[]", "").split("->") if step]
    named = list(words(pattern.split("(")[0])) if pattern.split("(")[0].strip("^") else list(words(steps[-1]))
    if not [word for word in named if word not in ID_WORDS] and len(steps) > 1:
        named = [*words(steps[-2]), *named]
    return named


def propose(config: Config, clues: Sequence[Clue]) -> tuple[Proposed, ...]:
    """The edges and paths to add."""
    return tuple(_proposed(config, clue) for clue in best_of(clues))


def best_of(clues: Sequence[Clue]) -> tuple[Clue, ...]:
    """Choose for each place the best of what speaks for it enough; in the order of the places."""
    best: dict[tuple[TableName, str], Clue] = {}
    for clue in clues:
        place = (clue.place.table, clue.place.spelled)
        if _speaks(clue) and (place not in best or _rank(clue) > _rank(best[place])):
            best[place] = clue
    return tuple(best[place] for place in sorted(best))


def _speaks(clue: Clue) -> bool:
    if clue.target.kind is TokenKind.INTEGER:
        return _number_speaks(clue)
    return clue.hits >= HITS_MIN and clue.share >= SHARE_MIN


def _number_speaks(clue: Clue) -> bool:
    if clue.hits < NUMBER_HITS_MIN or clue.share < NUMBER_SHARE_MIN:
        return False
    said = hint(clue.place, clue.target)
    if said is Hint.STRONG:
        return True
    return said is Hint.WEAK and clue.share >= ABOVE_CHANCE * (1.0 if clue.chance is None else clue.chance)


def _rank(clue: Clue) -> tuple[bool, float, bool, int]:
    own = words(clue.target.table.name)[-1] in words(clue.place.spelled)
    return own, clue.share, clue.target.person, clue.hits


def _proposed(config: Config, clue: Clue) -> Proposed:
    dataset, to = (dataset_id(config.source, name) for name in (clue.place.table, clue.target.table))
    spelled = json.dumps(clue.place.spelled, ensure_ascii=False)
    key = "" if clue.target.is_key else f", key: {clue.target.column}"
    if clue.place.note:
        lines = f"# {dataset}.{clue.place.column} holds keys of {to}: {clue.place.note}"
    elif clue.target.kind is TokenKind.EMAIL:
        lines = f"datasets:\n  {dataset}:\n    path: [{{via: {spelled}, to: {to}{key}, fold: true}}]"
    else:
        lines = f"datasets:\n  {dataset}:\n    edges: {{{spelled}: {{to: {to}{key}}}}}"
    return Proposed(
        dataset=dataset, lines=lines, to=to, hits=clue.hits, sampled=clue.sampled, chance=clue.chance,
        hint=hint(clue.place, clue.target), note=clue.place.note,
    )  # fmt: skip
