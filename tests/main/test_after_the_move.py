"""Both databases work afterwards: views, functions, triggers, new rows; and home holds nobody's data but its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.main.conftest import MAJORS, Moves
from tests.main.programme import ask, value
from tests.main.questions import column_values, drawn, dump, fits

every = pytest.mark.parametrize(("sample", "country"), MAJORS)
pagilas = pytest.mark.parametrize("country", ["Canada", "Germany"])
VIEWS = ("actor_info", "film_list", "nicer_but_slower_film_list", "sales_by_store", "staff_list")
A_CUSTOMER = {
    "pagila": "INSERT INTO customer (store_id, first_name, last_name, address_id)"
    " SELECT store_id, 'NEW', 'PERSON', address_id FROM customer ORDER BY customer_id LIMIT 1"
    " RETURNING customer_id",
    "chinook_identity": "INSERT INTO customer (first_name, last_name, email)"
    " VALUES ('New', 'Person', 'new@example.invalid') RETURNING customer_id",
}  # fmt: skip


@contextmanager
def undone(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A session whose work is taken back: the moved databases are shared by all tests."""
    with psycopg.connect(dsn) as connection:
        yield connection
        connection.rollback()


@pagilas
def test_pagilas_views_answer_on_both_sides(moved: Moves, country: str) -> None:
    result = moved("pagila", country)
    listed = "SELECT id, name, address, phone, city, country FROM customer_list ORDER BY id"
    before = ask(result.original, listed)
    assert [row for row in before if row[5] == country] == ask(result.home, listed)
    assert [row for row in before if row[5] != country] == ask(result.source, listed)
    for view in VIEWS:
        assert value(result.original, f"SELECT count(*) FROM {view}") == value(
            result.source, f"SELECT count(*) FROM {view}"
        )
    assert 200 == value(result.home, "SELECT count(*) FROM actor_info")
    by_hand = (
        "SELECT sum(p.amount) FROM payment p JOIN rental USING (rental_id) JOIN inventory USING (inventory_id)"
        " JOIN film_category USING (film_id)"
    )
    for side in (result.home, result.source):
        assert value(side, by_hand) == value(side, "SELECT sum(total_sales) FROM sales_by_film_category")


@pagilas
def test_pagilas_functions_answer_on_both_sides(moved: Moves, country: str) -> None:
    result = moved("pagila", country)
    held = "SELECT inventory_id, inventory_held_by_customer(inventory_id) FROM inventory ORDER BY 1 LIMIT 500"
    by_hand = (
        "SELECT i.inventory_id, (SELECT customer_id FROM rental r WHERE r.inventory_id = i.inventory_id"
        " AND return_date IS NULL) FROM inventory i ORDER BY 1 LIMIT 500"
    )
    in_stock = "SELECT count(*) FROM film f, store s, LATERAL film_in_stock(f.film_id, s.store_id) AS i"
    free = (
        "SELECT count(*) FROM inventory i WHERE NOT EXISTS"
        " (SELECT FROM rental r WHERE r.inventory_id = i.inventory_id AND return_date IS NULL)"
        " AND store_id IN (SELECT store_id FROM store)"
    )
    for side in (result.home, result.source):
        assert ask(side, by_hand) == ask(side, held)
        narrowed = " WHERE f.film_id <= 40 AND s.store_id <= 3"
        assert value(side, free + " AND film_id <= 40 AND store_id <= 3") == value(side, in_stock + narrowed)
        assert [] == ask(side, "SELECT * FROM rewards_report(1, 1.00)")  # nobody paid three months ago


@pagilas
def test_pagilas_broken_function_is_as_broken_as_before(moved: Moves, country: str) -> None:
    """get_customer_balance calls a function IF, which no PostgreSQL has; the move neither mends nor hides it."""
    result = moved("pagila", country)
    said = []
    for dsn in (result.original, result.source, result.home):
        with pytest.raises(psycopg.errors.UndefinedFunction) as caught:
            ask(dsn, "SELECT get_customer_balance(1, '2022-08-01')")
        said.append(caught.value.diag.message_primary)
    assert ["function if(boolean, interval, integer) does not exist"] * 3 == said


@pagilas
def test_pagilas_triggers_fire_on_both_sides(moved: Moves, country: str) -> None:
    result = moved("pagila", country)
    for side in (result.home, result.source):
        with undone(side) as connection:
            changed = connection.execute(
                "UPDATE customer SET active = 0 WHERE customer_id = (SELECT min(customer_id) FROM customer)"
                " RETURNING last_update = now()"
            ).fetchone()
        assert (True,) == changed


@pytest.mark.parametrize(("sample", "country"), [key for key in MAJORS if key[0] in A_CUSTOMER])
def test_a_new_customer_gets_an_id_that_the_other_side_will_not_give(moved: Moves, sample: str, country: str) -> None:
    result = moved(sample, country)
    given = []
    for side in (result.source, result.home):
        with undone(side) as connection:
            first, second = (connection.execute(A_CUSTOMER[sample].encode()).fetchone() for _ in range(2))
        assert first is not None
        assert second is not None
        assert 1 == second[0] - first[0]
        given.append(first[0])
    known = column_values(result.original, "SELECT customer_id FROM customer")
    assert max(known) < given[0] < given[0] + 1_000_000 < given[1]


@every
def test_every_sequence_at_home_gives_what_its_column_holds_and_the_source_has_not(
    moved: Moves, sample: str, country: str
) -> None:
    result = moved(sample, country)
    columns = sorted(drawn(result.original))
    assert {"pagila": 13, "chinook_identity": 10}.get(sample, 0) == len(columns)
    for table, column, sequence in columns:
        with undone(result.home) as home, undone(result.source) as source:
            (ours,) = home.execute("SELECT nextval(%s)", (sequence,)).fetchone() or (0,)
            (theirs,) = source.execute("SELECT nextval(%s)", (sequence,)).fetchone() or (0,)
        assert fits(result.home, table, column, ours), f"{sequence} gives {ours}"
        assert 1_000_000 < ours - theirs, sequence


@every
def test_home_holds_no_mail_name_password_or_phone_of_anybody_else(moved: Moves, sample: str, country: str) -> None:
    """What is looked for is taken from the original; the dump is the real pg_dump's."""
    result, name = moved(sample, country), sample.removesuffix("_identity")
    secrets = set().union(*(column_values(result.original, query) for query in PRIVATE[name]))
    movers = set().union(*(column_values(result.home, query) for query in MOVERS[name]))
    others = {text for text in secrets - movers if len(text) > 5}
    assert len(others) > {"pagila": 3000, "chinook": 150, "northwind": 200}[name]
    assert [] == found(others, dump(result.home))
    assert found({max(movers, key=len)}, dump(result.home))  # the twin: it does find what is there


@every
def test_home_holds_only_skeletons_of_others(moved: Moves, sample: str, country: str) -> None:
    """Supporting people keep key and edges; their private columns are null or of a stand-in's form."""
    home = moved(sample, country).home
    stand_in = r"^x[0-9a-f]*$"
    if sample == "pagila":
        staff = ask(home, "SELECT first_name, last_name, username, email, password, picture FROM staff")
        assert 2 <= len(staff)
        assert {(None, None, None)} == {row[3:] for row in staff}
        assert all(re.match(stand_in, text) for row in staff for text in row[:3])
        movers = "SELECT address_id FROM customer"
        others = ask(home, f"SELECT address, phone, district FROM address WHERE address_id NOT IN ({movers})")
        assert others
        assert all(re.match(stand_in, text) for row in others for text in row)
    elif sample == "northwind":
        people = ask(home, "SELECT last_name, first_name, birth_date, address, home_phone, notes FROM employees")
        assert {(None,) * 4} == {row[2:] for row in people}
        assert all(re.match(stand_in, text) for row in people for text in row[:2])
    else:
        people = ask(home, "SELECT last_name, first_name, birth_date, address, phone, email FROM employee")
        assert 3 <= len(people) <= 8
        assert {(None,) * 3} == {row[2:5] for row in people}
        assert all(re.match(stand_in, text) for row in people for text in row[:2])


NAME = r"first_name || E'\t' || last_name"
PRIVATE = {
    "pagila": (
        "SELECT email FROM customer", "SELECT email FROM staff", "SELECT password FROM staff",
        "SELECT phone FROM address", "SELECT address FROM address",
        # An actor's name is public, also when a customer is called the same.
        f"SELECT {NAME} FROM customer EXCEPT SELECT {NAME} FROM actor",
        f"SELECT {NAME} FROM staff EXCEPT SELECT {NAME} FROM actor",
    ),
    "chinook": (
        "SELECT email FROM customer", "SELECT email FROM employee", "SELECT phone FROM customer",
        "SELECT phone FROM employee", "SELECT address FROM customer", "SELECT address FROM employee",
        "SELECT first_name || E'\\t' || last_name FROM customer",
        "SELECT last_name || E'\\t' || first_name FROM employee",
    ),
    "northwind": (
        "SELECT phone FROM customers", "SELECT address FROM customers", "SELECT company_name FROM customers",
        "SELECT contact_name FROM customers", "SELECT home_phone FROM employees", "SELECT address FROM employees",
        "SELECT notes FROM employees", "SELECT last_name || E'\\t' || first_name FROM employees",
    ),
}  # fmt: skip
MOVERS = {
    "pagila": (
        "SELECT email FROM customer", "SELECT first_name || E'\\t' || last_name FROM customer",
        "SELECT address FROM address JOIN customer USING (address_id)",
        "SELECT phone FROM address JOIN customer USING (address_id)",
    ),
    "chinook": (
        "SELECT email FROM customer", "SELECT phone FROM customer", "SELECT address FROM customer",
        "SELECT first_name || E'\\t' || last_name FROM customer",
    ),
    "northwind": (
        "SELECT phone FROM customers", "SELECT address FROM customers", "SELECT company_name FROM customers",
        "SELECT contact_name FROM customers",
        # Written on the orders themselves: names of people who ship for a mover, also to others.
        "SELECT ship_name FROM orders", "SELECT ship_address FROM orders",
    ),
}  # fmt: skip


def found(needles: set[str], text: str) -> list[str]:
    """Those that the text holds; values of people who are not real."""
    return sorted(needle for needle in needles if needle in text)
