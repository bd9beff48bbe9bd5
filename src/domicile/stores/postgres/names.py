"""How a scope is spelt in SQL: staging tables, key expressions, row expressions.

One builder serves the closure, the guard of the fence, the copy and the erasure, so that they cannot disagree.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

from psycopg import sql

from domicile.catalogue import TableName
from domicile.model import Blank, DatasetId, DatasetScope, Form, Outside
from domicile.stores.postgres.comparing import compare_each

STAGING = "domicile"
DIRECTORY = "domicile_directory"
ROW_HASH = "row_hash"


def tag(dataset: DatasetId) -> str:
    """A short stable name for the dataset's staging tables."""
    return hashlib.sha256(dataset.encode()).hexdigest()[:16]


def run_id(key: bytes) -> str:
    """What tells the run of this digest key from another, and nothing else."""
    return hashlib.sha256(b"domicile run\x00" + key).hexdigest()


def staged(kind: str, dataset: DatasetId, schema: str = STAGING) -> sql.Identifier:
    """Name the staging table of that kind (`m` manifest, `w` work, `o` owners)."""
    return sql.Identifier(schema, f"{kind}_{tag(dataset)}")


def relation(name: TableName) -> sql.Identifier:
    """Name a relation."""
    return sql.Identifier(name.schema, name.name)


def source_of(dataset: DatasetScope) -> sql.Composable:
    """The FROM item of exactly this dataset's rows: a partition tree whole, an inheritance parent without children."""
    only = sql.SQL("") if dataset.partitioned else sql.SQL("ONLY ")
    return only + relation(dataset.table)


def column(alias: str, name: str) -> sql.Composable:
    """A qualified column."""
    return sql.Identifier(alias, name)


def columns(names: tuple[str, ...]) -> sql.Composable:
    """A list of bare columns."""
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


def column_names(dataset: DatasetScope) -> tuple[str, ...]:
    """The columns that travel: all but the generated ones."""
    return tuple(item.name for item in dataset.columns)


def key_names(dataset: DatasetScope) -> tuple[str, ...]:
    """The manifest's key columns, numbered, as a key may be called like one of the manifest's own columns.

    The row's key in its order, or the hash of the whole row where there is none.
    """
    return tuple(f"key_{number}" for number, _ in enumerate(dataset.key, start=1)) or (ROW_HASH,)


def key_expressions(dataset: DatasetScope, alias: str) -> tuple[sql.Composable, ...]:
    """The manifest's key of the row `alias`, in the order of `key_names`."""
    if dataset.key:
        return tuple(column(alias, name) for name in dataset.key)
    return (sql.SQL("sha256(convert_to(ROW({})::text, 'UTF8'))").format(_all(dataset, alias)),)


def key_select(dataset: DatasetScope, alias: str) -> sql.Composable:
    """The key expressions with their names."""
    pairs = zip(key_expressions(dataset, alias), key_names(dataset), strict=True)
    return sql.SQL(", ").join(sql.SQL("{} AS {}").format(item, sql.Identifier(name)) for item, name in pairs)


def key_match(dataset: DatasetScope, row: str, line: str) -> sql.Composable:
    """The condition that manifest line `line` names row `row`."""
    lines = [column(line, name) for name in key_names(dataset)]
    return compare_each(dataset.key_comparisons, key_expressions(dataset, row), lines)


def _all(dataset: DatasetScope, alias: str) -> sql.Composable:
    return sql.SQL(", ").join(column(alias, name) for name in column_names(dataset))


def compared(dataset: DatasetScope, form: Form) -> DatasetScope:
    """The dataset as its slices of that form are read: with the columns that may be compared while home lives."""
    if form not in {Form.PRIVATE, Form.SHARED}:
        return dataset
    private = {blank.column for blank in dataset.blanks} if form is Form.PRIVATE else set()
    return replace(
        dataset, columns=tuple(item for item in dataset.columns if item.name in dataset.key or item.name in private)
    )


def row_expressions(dataset: DatasetScope, alias: str, *, blanked: bool, schema: str = STAGING) -> sql.Composable:
    """The travelling columns of row `alias`, private ones replaced by their stand-ins when `blanked`."""
    blanks = {blank.column: blank for blank in dataset.blanks} if blanked else {}
    types = {item.name: item.type for item in dataset.columns}
    return sql.SQL(", ").join(
        stand_in(dataset, blanks[name], types[name], alias, schema) if name in blanks else column(alias, name)
        for name in column_names(dataset)
    )


def stand_in(dataset: DatasetScope, blank: Blank, type_name: str, alias: str, schema: str = STAGING) -> sql.Composable:
    """The stand-in of one private column.

    A token is sha256 over a secret, the column and the row's key, so that it is the same on every side and unique per
    row, and tells nothing without the secret.
    """
    kind = sql.SQL(type_name)  # format_type() text from the catalogue
    if blank.outside is Outside.NULL:
        return sql.SQL("NULL::{}").format(kind)
    if blank.outside is Outside.LITERAL:
        return sql.SQL("{}::{}").format(sql.Literal(blank.literal), kind)
    digits, suffix = _token_parts(dataset, blank)
    return sql.SQL(
        "('x' || left(encode(sha256(convert_to((SELECT secret FROM {token}) || {place} || ROW({key})::text, 'UTF8')),"
        " 'hex'), {digits}) || {suffix})::{kind}"
    ).format(
        token=sql.Identifier(schema, "token"),
        place=sql.Literal(f"/{dataset.id}/{blank.column}/"),
        key=sql.SQL(", ").join(key_expressions(dataset, alias)),
        digits=sql.Literal(digits),
        suffix=sql.Literal(suffix),
        kind=kind,
    )


def _token_parts(dataset: DatasetScope, blank: Blank) -> tuple[int, str]:
    """How many hex digits a token of the column has, and what follows them."""
    length = next((item.length_max for item in dataset.columns if item.name == blank.column), None)
    suffix = blank.literal or ""
    digits = min(32, (length or 1000) - len(suffix) - 1)
    return (digits, suffix) if digits >= 1 else (max((length or 1) - 1, 0), "")


def is_stand_in(dataset: DatasetScope, blank: Blank, type_name: str, alias: str) -> sql.Composable:
    """The condition that the column of row `alias` holds a stand-in.

    Of tokens any will do: only the source knows its secret, and whoever receives a publication makes their own.
    """
    value = column(alias, blank.column)
    if blank.outside is Outside.TOKEN:
        digits, suffix = _token_parts(dataset, blank)
        shape = f"^x[0-9a-f]{{{digits}}}{re.escape(suffix)}$"
        return sql.SQL("{}::text ~ {}").format(value, sql.Literal(shape))
    return sql.SQL("{}::text = ({})::text").format(value, stand_in(dataset, blank, type_name, alias))


def lines_match(dataset: DatasetScope, one: str, other: str) -> sql.Composable:
    """The condition that two lines of the manifest, or of the work tables, name the same row."""
    names = key_names(dataset)
    return compare_each(
        dataset.key_comparisons, [column(one, name) for name in names], [column(other, name) for name in names]
    )


def movers_of(kind: DatasetId, schema: str = STAGING) -> sql.Identifier:
    """Name the table of movers of one kind of people: key, home."""
    return staged("s", kind, schema)


def elsewhere_of(kind: DatasetId, schema: str = STAGING) -> sql.Identifier:
    """Name the table of people of one kind who live at the home of another programme: key."""
    return staged("e", kind, schema)
