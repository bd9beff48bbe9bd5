"""Questions that are put to both sides of a move, in SQL written without Domicile."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any, Final

from psycopg import sql

from domicile.stores.postgres.programs import find_client
from tests.main.programme import ask

# Each line finds rows without a parent; the last two are edges of Pagila that no constraint holds.
ORPHANS: Final = {
    "pagila": (
        "SELECT count(*) FROM rental r LEFT JOIN customer c USING (customer_id) WHERE c.customer_id IS NULL",
        "SELECT count(*) FROM rental r LEFT JOIN inventory i USING (inventory_id) WHERE i.inventory_id IS NULL",
        "SELECT count(*) FROM rental r LEFT JOIN staff s USING (staff_id) WHERE s.staff_id IS NULL",
        "SELECT count(*) FROM customer c LEFT JOIN address a USING (address_id) WHERE a.address_id IS NULL",
        "SELECT count(*) FROM customer c LEFT JOIN store s USING (store_id) WHERE s.store_id IS NULL",
        "SELECT count(*) FROM address a LEFT JOIN city c USING (city_id) WHERE c.city_id IS NULL",
        "SELECT count(*) FROM city c LEFT JOIN country o USING (country_id) WHERE o.country_id IS NULL",
        "SELECT count(*) FROM staff s LEFT JOIN address a USING (address_id) WHERE a.address_id IS NULL",
        "SELECT count(*) FROM staff s LEFT JOIN store o USING (store_id) WHERE o.store_id IS NULL",
        "SELECT count(*) FROM store s LEFT JOIN address a USING (address_id) WHERE a.address_id IS NULL",
        "SELECT count(*) FROM inventory i LEFT JOIN film f USING (film_id) WHERE f.film_id IS NULL",
        "SELECT count(*) FROM payment p LEFT JOIN customer c USING (customer_id) WHERE c.customer_id IS NULL",
        "SELECT count(*) FROM payment p LEFT JOIN staff s USING (staff_id) WHERE s.staff_id IS NULL",
        "SELECT count(*) FROM payment p LEFT JOIN rental r USING (rental_id) WHERE r.rental_id IS NULL",
        "SELECT count(*) FROM store o LEFT JOIN staff s ON s.staff_id = o.manager_staff_id WHERE s.staff_id IS NULL",
    ),
    "chinook": (
        "SELECT count(*) FROM invoice i LEFT JOIN customer c USING (customer_id) WHERE c.customer_id IS NULL",
        "SELECT count(*) FROM invoice_line l LEFT JOIN invoice i USING (invoice_id) WHERE i.invoice_id IS NULL",
        "SELECT count(*) FROM invoice_line l LEFT JOIN track t USING (track_id) WHERE t.track_id IS NULL",
        "SELECT count(*) FROM customer c LEFT JOIN employee e ON e.employee_id = c.support_rep_id"
        " WHERE c.support_rep_id IS NOT NULL AND e.employee_id IS NULL",
        "SELECT count(*) FROM employee e LEFT JOIN employee b ON b.employee_id = e.reports_to"
        " WHERE e.reports_to IS NOT NULL AND b.employee_id IS NULL",
        "SELECT count(*) FROM track t LEFT JOIN album a USING (album_id)"
        " WHERE t.album_id IS NOT NULL AND a.album_id IS NULL",
        "SELECT count(*) FROM album a LEFT JOIN artist r USING (artist_id) WHERE r.artist_id IS NULL",
        "SELECT count(*) FROM playlist_track p LEFT JOIN track t USING (track_id) WHERE t.track_id IS NULL",
    ),
    "northwind": (
        "SELECT count(*) FROM orders o LEFT JOIN customers c USING (customer_id)"
        " WHERE o.customer_id IS NOT NULL AND c.customer_id IS NULL",
        "SELECT count(*) FROM orders o LEFT JOIN employees e USING (employee_id)"
        " WHERE o.employee_id IS NOT NULL AND e.employee_id IS NULL",
        "SELECT count(*) FROM orders o LEFT JOIN shippers s ON s.shipper_id = o.ship_via"
        " WHERE o.ship_via IS NOT NULL AND s.shipper_id IS NULL",
        "SELECT count(*) FROM order_details d LEFT JOIN orders o USING (order_id) WHERE o.order_id IS NULL",
        "SELECT count(*) FROM order_details d LEFT JOIN products p USING (product_id) WHERE p.product_id IS NULL",
        "SELECT count(*) FROM products p LEFT JOIN suppliers s USING (supplier_id)"
        " WHERE p.supplier_id IS NOT NULL AND s.supplier_id IS NULL",
        "SELECT count(*) FROM employees e LEFT JOIN employees b ON b.employee_id = e.reports_to"
        " WHERE e.reports_to IS NOT NULL AND b.employee_id IS NULL",
        "SELECT count(*) FROM employee_territories t LEFT JOIN employees e USING (employee_id)"
        " WHERE e.employee_id IS NULL",
    ),
}  # fmt: skip

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
    """The hand-written anti-joins that find anything."""
    counts = {query: ask(dsn, query)[0][0] for query in ORPHANS[sample.removesuffix("_identity")]}
    return {query: count for query, count in counts.items() if count}


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
