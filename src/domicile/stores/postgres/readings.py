"""References read out of a column, in SQL: what `Reading` says, as sets of texts and conditions on keys.

`stores/memory/readings.py` is the same by rows. JSON kept as text is parsed by a function of the staging schema that
answers null for a text that is no JSON, so that one bad row stops nothing; such rows are counted as a finding.
"""

from __future__ import annotations

import json
from dataclasses import replace

from psycopg import sql

from domicile.config.conditions import qualify_condition
from domicile.model import EACH, Edge, Holds, KeyKind, Reading
from domicile.stores.postgres.comparing import compare, compare_each

AS_JSON = "as_json"
FOUND = "domicile_reference"
WHOLE_NUMBER = r"^-?[0-9]{1,18}(\.0+)?$"
HEX = "^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$"


def json_function(schema: str) -> sql.Composable:
    """CREATE FUNCTION of the parser that answers null."""
    return sql.SQL(
        "CREATE FUNCTION {}(given text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS"
        " 'BEGIN RETURN given::pg_catalog.jsonb; EXCEPTION WHEN data_exception OR program_limit_exceeded"
        " THEN RETURN NULL; END'"
    ).format(sql.Identifier(schema, AS_JSON))


def references(reading: Reading, row: str, *, schema: str) -> sql.Composable:
    """SELECT of the texts (one column) that row `row` holds."""
    value = sql.Identifier(row, reading.column)
    leaves = _leaves(reading, value, schema)
    if reading.pattern is None:
        return leaves
    return sql.SQL(
        "SELECT f.x[1] FROM ({}) AS l(x) CROSS JOIN LATERAL pg_catalog.regexp_matches(l.x, {}, 'g') AS f(x)"
        " WHERE f.x[1] IS NOT NULL"
    ).format(leaves, sql.Literal(reading.pattern))


def _leaves(reading: Reading, value: sql.Composable, schema: str) -> sql.Composable:
    if reading.holds is Holds.TEXT:
        return sql.SQL("SELECT {}::text").format(value)
    if reading.holds is Holds.ARRAY:
        return sql.SQL("SELECT u.x::text FROM pg_catalog.unnest({}) AS u(x) WHERE u.x IS NOT NULL").format(value)
    return sql.SQL(
        "SELECT j.x #>> '{{}}' FROM pg_catalog.jsonb_path_query({}, {}) AS j(x)"
        " WHERE pg_catalog.jsonb_typeof(j.x) IN ('string', 'number')"
    ).format(_parsed(reading, value, schema), sql.Literal(_json_path(reading.steps)))


def _parsed(reading: Reading, value: sql.Composable, schema: str) -> sql.Composable:
    if reading.holds is Holds.JSONB:
        return value
    return sql.SQL("{}({}::text)").format(sql.Identifier(schema, AS_JSON), value)


def _json_path(steps: tuple[str, ...]) -> str:
    """The steps as an SQL/JSON path in lax mode (SQL:2016; PostgreSQL 12 and later); an array at its end is opened."""
    spelled = ["[*]" if step == EACH else f".{json.dumps(step, ensure_ascii=False)}" for step in steps]
    return f"${''.join(spelled)}[*]"


def is_key(reading: Reading, key: sql.Composable, text: sql.Composable) -> sql.Composable:
    """A condition that the text names the key; a text that can't be such a key names nothing."""
    if reading.kind is KeyKind.OTHER:
        return sql.SQL("{}::text = {}").format(key, text)
    return compare(reading.comparison, key, as_key(reading.kind, text))


def as_key(kind: KeyKind, text: sql.Composable) -> sql.Composable:
    """The text as a key, or null."""
    if kind is KeyKind.INTEGER:
        return sql.SQL("CASE WHEN {t} ~ {p} THEN pg_catalog.trunc({t}::numeric)::bigint END").format(
            t=text, p=sql.Literal(WHOLE_NUMBER)
        )
    if kind is KeyKind.UUID:
        return sql.SQL("CASE WHEN {t} ~ {p} THEN {t}::uuid END").format(t=text, p=sql.Literal(HEX))
    return text


def opened(edge: Edge, child: str, *, schema: str) -> sql.Composable:
    """What follows the FROM item `child`, so that each reference inside its column stands in a row of its own."""
    if edge.reading is None:
        return sql.SQL("")
    return sql.SQL(" CROSS JOIN LATERAL ({}) AS {}(x)").format(
        references(edge.reading, child, schema=schema), sql.Identifier(_opened(child))
    )


def refers(edge: Edge, child: str, parent: str) -> sql.Composable:
    """A condition that row `child` (opened, when references are read out of it) refers to row `parent`."""
    if edge.when is not None:
        return sql.SQL("({} AND {})").format(holds(edge, child), refers(replace(edge, when=None), child, parent))
    if edge.reading is not None:
        text = sql.Identifier(_opened(child), "x")
        return is_key(edge.reading, sql.Identifier(parent, edge.parent_columns[0]), text)
    referring = [sql.Identifier(child, name) for name in edge.columns]
    return compare_each(edge.comparisons, [sql.Identifier(parent, name) for name in edge.parent_columns], referring)


def holds(edge: Edge, child: str) -> sql.Composable:
    """A condition that row `child` is one of which the edge speaks; null counts as no."""
    if edge.when is None:
        return sql.SQL("true")
    return sql.SQL(qualify_condition(edge.when, child))  # parsed and rebuilt, never pasted


def _opened(child: str) -> str:
    return f"{child}_reads"


def unreadable(reading: Reading, row: str, *, schema: str) -> sql.Composable:
    """A condition that the column of `row` holds text that is no JSON where JSON is read."""
    value = sql.Identifier(row, reading.column)
    if reading.holds is not Holds.JSON:
        return sql.SQL("false")
    return sql.SQL("({} IS NOT NULL AND {} IS NULL)").format(value, _parsed(reading, value, schema))
