"""Catalogue rows → nouns, purely: partitions fold into their root, keys on single partitions into one edge."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from domicile.catalogue import (
    PLAIN,
    Catalogue,
    Column,
    Comparison,
    ForeignKey,
    OnDelete,
    RelationKind,
    Rule,
    Sequence,
    Table,
    TableName,
    Trigger,
    View,
)

KINDS = {"r": RelationKind.TABLE, "p": RelationKind.PARTITIONED, "f": RelationKind.FOREIGN}
# From mild to harsh: of keys on single partitions that differ, the harshest speaks for the edge.
ON_DELETE = {
    "a": OnDelete.NO_ACTION,
    "r": OnDelete.RESTRICT,
    "d": OnDelete.SET_DEFAULT,
    "n": OnDelete.SET_NULL,
    "c": OnDelete.CASCADE,
}
EVENTS = ((4, "INSERT"), (8, "DELETE"), (16, "UPDATE"), (32, "TRUNCATE"))  # pg_trigger.tgtype
RULE_EVENTS = {"1": "SELECT", "2": "UPDATE", "3": "INSERT", "4": "DELETE"}
IDENTITY = {"a": "always", "d": "by default"}
NAMES_IN_NOTE_MAX = 20
Noun = TypeVar("Noun")
Row: TypeAlias = Any  # a named tuple whose fields are the query's columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The answers of the queries, one list each, named after their files."""

    database: Row
    tables: list[Row]
    members: list[Row]
    inheritance: list[Row]
    types: list[Row]
    columns: list[Row]
    keys: list[Row]
    foreign_keys: list[Row]
    triggers: list[Row]
    rules: list[Row]
    views: list[Row]
    sequences: list[Row]


def fold(rows: Rows, *, system_id: str) -> Catalogue:
    """Join the rows into one catalogue; the order of everything in it depends on names only."""
    names = {row.oid: TableName(schema=row.schema, name=row.name) for row in rows.tables}
    tables = tuple(_tables(rows, names))
    return Catalogue(
        version=rows.database.version,
        database=rows.database.database,
        system_id=system_id,
        encoding=rows.database.encoding,
        tables=tables,
        foreign_keys=tuple(_foreign_keys(rows, names)),
        views=tuple(_view(row, names) for row in rows.views),
        sequences=tuple(_sequence(row, names) for row in rows.sequences),
        extensions=tuple(rows.database.extensions),
        publications=tuple(rows.database.publications),
        subscriptions=tuple(rows.database.subscriptions),
        slots=tuple(rows.database.slots),
        event_triggers=tuple(rows.database.event_triggers),
        large_objects=rows.database.large_objects,
        notes=tuple(_notes(rows, names, system_id)),
    )


# ------------------------------------------------------------------------------------------------ tables


def _tables(rows: Rows, names: dict[int, TableName]) -> Iterator[Table]:
    columns = _by_table(rows.columns)
    keys = _by_table(rows.keys)
    triggers = _by_table(rows.triggers)
    rules = _by_table(rows.rules)
    types = {row.oid: row for row in rows.types}
    above, below = _inheritance(rows, names)
    for row in rows.tables:
        fields = tuple(_column(column, types[column.typid]) for column in columns[row.oid])
        kinds = {column.name: (column, types[column.typid].equality) for column in columns[row.oid]}
        primary, unique = _keys([key for key in keys[row.oid] if _tells_no_more(key, kinds)], fields)
        yield Table(
            name=names[row.oid],
            kind=KINDS[row.kind],
            columns=fields,
            primary_key=primary,
            unique_keys=unique,
            leaves=_leaves(row),
            partition_key=tuple(row.partition_key or ()),
            inherits=above[row.oid],
            children=below[row.oid],
            rows_estimate=row.row_estimate,
            bytes=row.bytes,
            unlogged=row.unlogged,
            row_security=row.row_security,
            triggers=_once(_trigger(trigger) for trigger in triggers[row.oid]),
            rules=_once(_rule(rule) for rule in rules[row.oid]),
            comment=row.comment,
        )


def _by_table(rows: list[Row]) -> defaultdict[int, list[Row]]:
    grouped: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.relid].append(row)
    return grouped


def _leaves(row: Row) -> tuple[TableName, ...]:
    pairs = zip(row.leaf_schemas or (), row.leaf_names or (), strict=True)
    return tuple(TableName(schema=schema, name=name) for schema, name in pairs)


def _inheritance(
    rows: Rows, names: dict[int, TableName]
) -> tuple[defaultdict[int, tuple[TableName, ...]], defaultdict[int, tuple[TableName, ...]]]:
    above: defaultdict[int, tuple[TableName, ...]] = defaultdict(tuple)
    below: defaultdict[int, tuple[TableName, ...]] = defaultdict(tuple)
    for row in rows.inheritance:
        above[row.child] += (names[row.parent],)
        below[row.parent] = tuple(sorted((*below[row.parent], names[row.child])))
    return above, below


def _column(row: Row, kind: Row) -> Column:
    typmod = row.typmod if row.typmod != -1 else kind.typmod
    return Column(
        name=row.name,
        position=row.position,
        type=row.type,
        base=kind.base,
        category=kind.category,
        not_null=row.not_null or kind.not_null,
        binary=kind.portable,
        generated=row.generated,
        identity=IDENTITY.get(row.identity),
        default=row.default,
        collatable=row.collatable,
        length_max=_length_max(kind.base, typmod),
        labels=tuple(kind.labels or ()),
        equality=_equality(kind),
        collation=(row.collation_schema, row.collation_name) if row.collatable else None,
    )


def _equality(kind: Row) -> Comparison | None:
    if kind.equality is None:
        return None
    operator = (kind.operator_schema, kind.operator_name)
    if kind.operand_any or (kind.built_in and operator == PLAIN.operator):
        return Comparison(operator=operator)
    operand = (kind.operand_schema, kind.operand_name)
    return Comparison(operator=operator, left=operand, right=operand)


def _tells_no_more(key: Row, kinds: dict[str, tuple[Row, int | None]]) -> bool:
    """Whether the columns' own equality tells apart all rows that the index does.

    So every plain key does; an index over another operator class or another collation than its column's may not.
    """
    for name, operator, collation in zip(key.columns, key.equalities, key.collations, strict=False):
        column, equality = kinds[name]
        if operator != equality or not (column.bytewise or collation == column.collation):
            return False
    return True


def _length_max(base: str, typmod: int) -> int | None:
    """Return the bound of a bounded character or bit type (pg_attribute.atttypmod; the header of four counts in)."""
    if typmod < 0:
        return None
    if base in ("character varying", "character"):
        return typmod - 4
    return typmod if base in ("bit", "bit varying") else None


def _keys(rows: list[Row], columns: tuple[Column, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    filled = {column.name for column in columns if column.not_null}
    primary = next((tuple(row.columns) for row in rows if row.is_primary), ())
    unique = [tuple(row.columns) for row in rows if not row.is_primary and filled.issuperset(row.columns)]
    return primary, tuple(dict.fromkeys(key for key in unique if key != primary))


def _trigger(row: Row) -> Trigger:
    timing = "INSTEAD OF" if row.bits & 64 else "BEFORE" if row.bits & 2 else "AFTER"
    function = TableName(schema=row.function_schema, name=row.function_name)
    return Trigger(
        name=row.name,
        events=tuple(event for bit, event in EVENTS if row.bits & bit),
        timing=timing,
        per_row=bool(row.bits & 1),
        function=str(function),
        enabled=row.enabled,
    )


def _rule(row: Row) -> Rule:
    return Rule(name=row.name, event=RULE_EVENTS[row.event], instead=row.instead, enabled=row.enabled)


def _once(nouns: Iterable[Noun]) -> tuple[Noun, ...]:
    return tuple(dict.fromkeys(nouns))


# ------------------------------------------------------------------------------------------------ edges


def _foreign_keys(rows: Rows, names: dict[int, TableName]) -> Iterator[ForeignKey]:
    roots = {row.relid: row.root for row in rows.members}
    leaves: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows.members:
        if row.leaf:
            leaves[row.root].append(row)
    grouped: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows.foreign_keys:
        if row.parent in roots and not row.temporal:
            pairs = tuple(sorted(zip(row.columns, row.parent_columns, strict=True)))
            grouped[roots[row.child], roots[row.parent], pairs].append(row)
    edges = [
        _edge(declared, leaves[child], child=names[child], parent=names[parent])
        for (child, parent, _), declared in grouped.items()
    ]
    yield from sorted(edges, key=lambda edge: (edge.child, edge.columns, edge.parent, edge.name))


def _edge(declared: list[Row], leaves: list[Row], *, child: TableName, parent: TableName) -> ForeignKey:
    first = declared[0]
    bearing = {row.child for row in declared}
    missing = [leaf for leaf in leaves if not bearing.intersection(leaf.ancestors)]
    return ForeignKey(
        name=first.name,
        child=child,
        columns=tuple(first.columns),
        parent=parent,
        parent_columns=tuple(first.parent_columns),
        on_delete=max((ON_DELETE[row.on_delete] for row in declared), key=list(ON_DELETE.values()).index),
        deferrable=all(row.deferrable for row in declared),
        validated=all(row.validated for row in declared),
        missing_on=tuple(sorted(TableName(schema=leaf.schema, name=leaf.name) for leaf in missing)),
        comparisons=tuple(_comparison(operator) for operator in first.operators),
    )


def _comparison(operator: list[Any]) -> Comparison:
    schema, sign, left_schema, left, left_any, right_schema, right, right_any = operator
    return Comparison(
        operator=(schema, sign),
        left=None if left_any else (left_schema, left),
        right=None if right_any else (right_schema, right),
    )


# ------------------------------------------------------------------------------------------------ beside the tables


def _view(row: Row, names: dict[int, TableName]) -> View:
    return View(
        name=TableName(schema=row.schema, name=row.name),
        materialised=row.materialised,
        reads=tuple(sorted(names[oid] for oid in row.reads or ())),
        bytes=row.bytes,
    )


def _sequence(row: Row, names: dict[int, TableName]) -> Sequence:
    return Sequence(
        name=TableName(schema=row.schema, name=row.name),
        last_value=row.last_value,
        increment=row.increment,
        minimum=row.minimum,
        maximum=row.maximum,
        cycles=row.cycles,
        owner=(names[row.owner], row.owner_column) if row.owner is not None else None,
        identity=row.identity,
    )


def _notes(rows: Rows, names: dict[int, TableName], system_id: str) -> Iterator[str]:
    """Say what this role cannot see, and what PostgreSQL cannot show."""
    unreadable = [names[row.oid] for row in rows.tables if not row.readable]
    if unreadable:
        yield f"the role may not read the rows of {_some(unreadable)}; grant SELECT"
    filtered = [names[row.oid] for row in rows.tables if row.row_security_active]
    if filtered:
        yield f"row security hides rows of {_some(filtered)} from this role; use a role with BYPASSRLS"
    foreign = [names[row.oid] for row in rows.tables if row.any_foreign]
    if foreign:
        yield f"the rows of {_some(foreign)} lie (in part) on another server: it needs a store of its own"
    hidden = [TableName(schema=row.schema, name=row.name) for row in rows.sequences if not row.readable]
    if hidden:
        yield f"the role may not read the sequences {_some(hidden)}; grant SELECT"
    if rows.database.extension_tables:
        tables = rows.database.extension_tables
        yield f"tables that belong to extensions are not listed: {', '.join(tables[:NAMES_IN_NOTE_MAX])}"
    temporal = sorted({row.name for row in rows.foreign_keys if row.temporal})
    if temporal:
        yield f"foreign keys over periods are not followed: {', '.join(temporal[:NAMES_IN_NOTE_MAX])}"
    if not system_id:
        yield "the role may not ask which cluster this is (pg_control_system)"


def _some(names: list[TableName]) -> str:
    shown = ", ".join(str(name) for name in sorted(names)[:NAMES_IN_NOTE_MAX])
    more = len(names) - NAMES_IN_NOTE_MAX
    return f"{shown} and {more} more" if more > 0 else shown
