"""Questions that are put to both sides of a move, in SQL written without Domicile."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any, Final

from psycopg import sql

from domicile.stores.postgres.programs import find_client
from tests.main.programme import ask

# Who refers to whom: child, its column, parent, its key. The last lines of Pagila are edges that no constraint holds,
# or not on every partition.
EDGES: Final = {
    "pagila": """
        rental customer_id customer customer_id
        rental inventory_id inventory inventory_id
        rental staff_id staff staff_id
        customer address_id address address_id
        customer store_id store store_id
        address city_id city city_id
        city country_id country country_id
        staff address_id address address_id
        staff store_id store store_id
        store address_id address address_id
        inventory film_id film film_id
        inventory store_id store store_id
        film language_id language language_id
        film_actor actor_id actor actor_id
        film_category category_id category category_id
        payment customer_id customer customer_id
        payment staff_id staff staff_id
        payment rental_id rental rental_id
        store manager_staff_id staff staff_id
    """,
    "chinook": """
        invoice customer_id customer customer_id
        invoice_line invoice_id invoice invoice_id
        invoice_line track_id track track_id
        customer support_rep_id employee employee_id
        employee reports_to employee employee_id
        track album_id album album_id
        track genre_id genre genre_id
        track media_type_id media_type media_type_id
        album artist_id artist artist_id
        playlist_track track_id track track_id
        playlist_track playlist_id playlist playlist_id
    """,
    "northwind": """
        orders customer_id customers customer_id
        orders employee_id employees employee_id
        orders ship_via shippers shipper_id
        order_details order_id orders order_id
        order_details product_id products product_id
        products supplier_id suppliers supplier_id
        products category_id categories category_id
        employees reports_to employees employee_id
        employee_territories employee_id employees employee_id
        employee_territories territory_id territories territory_id
        territories region_id region region_id
    """,
}

CONSTRAINTS: Final = """
SELECT conrelid::regclass::text, conname, contype::text, convalidated, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2
"""
OBJECTS: Final = """
SELECT 'relation', relname, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'function', proname, prokind::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname FROM pg_trigger
    JOIN pg_class c ON c.oid = tgrelid WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace
ORDER BY 1, 2, 3
"""


def orphans(dsn: str, sample: str) -> dict[str, int]:
    """Edges on which rows lack their parent, and how many do."""
    edges = EDGES[sample.removesuffix("_identity")].strip().splitlines()
    counts = {edge.strip(): ask(dsn, anti_join(*edge.split()))[0][0] for edge in edges}
    return {edge: count for edge, count in counts.items() if count}


def anti_join(child: str, column: str, parent: str, key: str) -> str:
    """The query that counts rows of `child` that refer to nobody."""
    return (
        f"SELECT count(*) FROM {child} AS c LEFT JOIN {parent} AS p ON p.{key} = c.{column}"
        f" WHERE c.{column} IS NOT NULL AND p.{key} IS NULL"
    )


def rows(dsn: str) -> dict[str, int]:
    """Rows of each table, by count."""
    tables = ask(
        dsn,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition",
    )
    return {name: ask(dsn, _count(name))[0][0] for (name,) in tables}


def dump(dsn: str) -> str:
    """Every row and definition of a database, as the real pg_dump writes them."""
    program = find_client("pg_dump", at_least_major=18)
    done = subprocess.run([program, f"--dbname={dsn}"], capture_output=True, text=True, check=True)
    return done.stdout


def drawn(dsn: str) -> Iterator[tuple[str, str, str]]:
    """Each column that draws its values from a sequence: table, column, sequence."""
    yield from ask(
        dsn,
        "SELECT c.relname, a.attname, s.oid::regclass::text FROM pg_class s"
        " JOIN pg_depend d ON d.refobjid = s.oid AND d.classid = 'pg_attrdef'::regclass"
        " JOIN pg_attrdef f ON f.oid = d.objid"
        " JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum JOIN pg_class c ON c.oid = a.attrelid"
        " WHERE s.relkind = 'S' AND NOT c.relispartition AND s.relnamespace = 'public'::regnamespace"
        " UNION SELECT c.relname, a.attname, s.oid::regclass::text FROM pg_class s"
        " JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'i'"
        " JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
        " JOIN pg_class c ON c.oid = a.attrelid WHERE s.relkind = 'S'",
    )  # fmt: skip


def fits(dsn: str, table: str, column: str, number: int) -> bool:
    """Whether a number that a sequence gave fits its column."""
    query = sql.SQL("SELECT pg_typeof({}) FROM (SELECT) AS nothing LEFT JOIN {} ON true LIMIT 1")
    ((kind,),) = ask(dsn, query.format(sql.Identifier(column), sql.Identifier(table)).as_string(None))
    return number < {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}[kind]


def column_values(dsn: str, query: str) -> set[Any]:
    """The values of a query of one column, without null."""
    return {found for (found,) in ask(dsn, query) if found is not None}


def _count(table: str) -> str:
    return sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)).as_string(None)
