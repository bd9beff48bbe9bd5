"""The main job on databases that nobody here wrote: the draft, two keys, and the rows are those counted by hand.

The figures are those of tests/data/ANSWERS.md, spelt out here.
"""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest
from playwright.sync_api import Browser

from tests.independent.bundles import go_checks, page_says
from tests.main.conftest import MAJORS, Moves
from tests.main.programme import ask, value
from tests.main.questions import CONSTRAINTS, OBJECTS, anti_join, orphans, rows

# What goes home of the rows that leave, and which subjects.
GONE = {
    ("pagila", "Canada"): {"customer": 5, "rental": 137, "payment": 137},
    ("pagila", "Germany"): {"customer": 7, "rental": 196, "payment": 196},
    ("chinook", "Canada"): {"customer": 8, "invoice": 56, "invoice_line": 304},
    ("chinook", "Germany"): {"customer": 4, "invoice": 28, "invoice_line": 152},
    ("northwind", "Canada"): {"customers": 3, "orders": 30, "order_details": 75},
    ("northwind", "Germany"): {"customers": 11, "orders": 122, "order_details": 328},
}
PEOPLE = {
    ("pagila", "Canada"): {189, 410, 436, 463, 476},
    ("pagila", "Germany"): {114, 195, 196, 201, 227, 251, 448},
    ("chinook", "Canada"): {3, 14, 15, 29, 30, 31, 32, 33},
    ("chinook", "Germany"): {2, 36, 37, 38},
    ("northwind", "Canada"): {"BOTTM", "LAUGB", "MEREP"},
}
SUMS = {
    ("pagila", "Canada"): ("SELECT sum(amount) FROM payment", Decimal("593.63")),
    ("pagila", "Germany"): ("SELECT sum(amount) FROM payment", Decimal("831.04")),
    ("chinook", "Canada"): ("SELECT sum(total) FROM invoice", Decimal("303.96")),
    ("chinook", "Germany"): ("SELECT sum(total) FROM invoice", Decimal("156.48")),
    ("northwind", "Canada"): (
        "SELECT round(sum(unit_price * quantity * (1 - discount))::numeric, 2) FROM order_details", Decimal("50196.29"),
    ),
    ("northwind", "Germany"): (
        "SELECT round(sum(unit_price * quantity * (1 - discount))::numeric, 2) FROM order_details",
        Decimal("230284.63"),
    ),
}  # fmt: skip
PARTITIONS = {"Canada": [4, 16, 30, 19, 25, 22, 21], "Germany": [4, 31, 30, 36, 27, 32, 36]}
ADDRESSES = {"Canada": {193, 415, 441, 468, 481}, "Germany": None}
COPIES_THAT_NOBODY_CAN_SEE = {"app/server-log", "app/dumps-and-backups", "app/free-blocks"}

every = pytest.mark.parametrize(("sample", "country"), MAJORS)


def asked(sample: str, country: str) -> tuple[str, str]:
    return sample.removesuffix("_identity"), country


@every
def test_the_rows_at_home_are_those_counted_by_hand(moved: Moves, sample: str, country: str) -> None:
    home = moved(sample, country).home
    table = "customers" if sample == "northwind" else "customer"
    at_home = rows(home)
    assert GONE[asked(sample, country)] == {name: at_home[name] for name in GONE[asked(sample, country)]}
    query, total = SUMS[asked(sample, country)]
    assert total == value(home, query)
    if people := PEOPLE.get(asked(sample, country)):
        assert people == {key for (key,) in ask(home, f"SELECT {table[:8]}_id FROM {table}")}
    assert {country} == _countries(home, sample)


@every
def test_the_rows_left_are_all_others(moved: Moves, sample: str, country: str) -> None:
    result = moved(sample, country)
    gone = GONE[asked(sample, country)]
    before = rows(result.original)
    assert {name: count - gone.get(name, 0) for name, count in before.items()} == rows(result.source)
    assert country not in _countries(result.source, sample)


@every
def test_what_stays_is_as_it_was(moved: Moves, sample: str, country: str) -> None:
    """Every row left at the source is bit for bit the original's: nothing was nulled, cascaded or touched."""
    result = moved(sample, country)
    for name in rows(result.original):
        query = f"SELECT t::text FROM {name} AS t"
        assert set() == set(ask(result.source, query)) - set(ask(result.original, query)), name


@every
def test_nothing_is_lost_between_the_two_sides(moved: Moves, sample: str, country: str) -> None:
    result = moved(sample, country)
    for name in rows(result.original):
        query = f"SELECT t::text FROM {name} AS t"
        both = set(ask(result.source, query)) | set(ask(result.home, query))
        assert set() == set(ask(result.original, query)) - both, name


@pytest.mark.parametrize("country", ["Canada", "Germany"])
def test_pagilas_payments_lie_in_their_partitions(moved: Moves, country: str) -> None:
    home = moved("pagila", country).home
    counted = [value(home, f"SELECT count(*) FROM ONLY payment_p2022_0{month}") for month in range(1, 8)]
    assert PARTITIONS[country] == counted


@pytest.mark.parametrize("country", ["Canada", "Germany"])
def test_pagilas_shared_addresses_are_whole_on_both_sides(moved: Moves, country: str) -> None:
    result = moved("pagila", country)
    query = (
        "SELECT a::text FROM address AS a JOIN city USING (city_id) JOIN country USING (country_id)"
        f" WHERE country = '{country}' AND address_id IN (SELECT address_id FROM "
    )
    whole = set(ask(result.original, query + "customer)"))
    assert {"Canada": 5, "Germany": 7}[country] == len(whole)
    assert whole == set(ask(result.home, query + "customer)"))
    assert set() == whole - set(ask(result.source, query + "staff)"))
    assert 603 == value(result.source, "SELECT count(*) FROM address")


def test_pagila_after_canada_keeps_what_was_counted(moved: Moves) -> None:
    left = rows(moved("pagila", "Canada").source)
    assert {"customer": 594, "rental": 15907, "payment": 15912, "address": 603} == {
        name: left[name] for name in ("customer", "rental", "payment", "address")
    }


@every
def test_the_schema_at_home_is_the_sources_and_every_constraint_is_checked(
    moved: Moves, sample: str, country: str
) -> None:
    result = moved(sample, country)
    assert ask(result.source, CONSTRAINTS) == ask(result.home, CONSTRAINTS)
    assert ask(result.source, OBJECTS) == ask(result.home, OBJECTS)
    assert [] == [line for line in ask(result.home, CONSTRAINTS) if not line[3]]
    assert {} == orphans(result.home, sample)
    assert {} == orphans(result.source, sample)


def test_the_anti_joins_do_find_a_row_without_parent(moved: Moves) -> None:
    """The rejecting twin: the same questions on a database that lost a customer behind its constraints' back."""
    with psycopg.connect(moved("pagila", "Canada").original) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM customer WHERE customer_id = 189")
        query = anti_join("rental", "customer_id", "customer", "customer_id")
        found = connection.execute(query.encode()).fetchone()
        connection.rollback()
    assert found is not None
    assert 0 < found[0]


@every
def test_p3_the_sweep_finds_nothing(moved: Moves, sample: str, country: str) -> None:
    verdicts = moved(sample, country).programme.verdicts()
    assert set() == {copy for copy, verdict in verdicts.items() if verdict == "present"}
    others = {copy: verdict for copy, verdict in verdicts.items() if verdict != "erased-verified"}
    assert dict.fromkeys(COPIES_THAT_NOBODY_CAN_SEE, "unknown") == others


@every
def test_p3_no_file_of_the_sources_server_holds_a_movers_mail(moved: Moves, sample: str, country: str) -> None:
    """A search of our own, not the engine's: the data directory, byte by byte."""
    result = moved(sample, country)
    if sample == "northwind":
        secrets = ask(result.home, "SELECT address FROM customers WHERE length(address) > 8")
    else:
        secrets = ask(result.home, "SELECT email FROM customer")
    needles = [text.encode() for (text,) in secrets]
    assert needles
    found = []
    for path in moved.sources[sample, country].data_directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found += [path.name for needle in needles if needle in data]
    assert [] == found


@every
def test_the_auditor_accepts(moved: Moves, sample: str, country: str) -> None:
    programme = moved(sample, country).programme
    (programme.folder / "trust.txt").write_text(programme.cli("log", "policy").out, encoding="utf-8")
    said = programme.audit("--trust", "trust.txt").out
    assert "ACCEPTED" in said
    private = sum(GONE[asked(sample, country)].values())
    assert f"{private} rows deleted, 0 blanked" in said


@every
def test_p9_go_and_the_report_itself_check_the_bundle(
    moved: Moves, browser: Browser, sample: str, country: str
) -> None:
    made = moved(sample, country).programme.made
    assert go_checks(made / "bundle.zip") > 5
    assert page_says(browser, made / "report.html").startswith("✓ Accepted: all 24 checks")


def test_the_auditor_refuses_a_flipped_byte(moved: Moves) -> None:
    programme = moved("northwind", "Canada").programme
    whole = (programme.made / "bundle.zip").read_bytes()
    bent = bytearray(whole)
    bent[len(bent) // 3] ^= 4
    try:
        (programme.made / "bundle.zip").write_bytes(bytes(bent))
        assert "REFUSED" in programme.audit(code=1).out.upper()
    finally:
        (programme.made / "bundle.zip").write_bytes(whole)


def _countries(dsn: str, sample: str) -> set[str]:
    if sample == "pagila":
        query = (
            "SELECT DISTINCT country FROM customer JOIN address USING (address_id) JOIN city USING (city_id)"
            " JOIN country USING (country_id)"
        )
    else:
        query = f"SELECT DISTINCT country FROM {'customers' if sample == 'northwind' else 'customer'}"
    return {found for (found,) in ask(dsn, query)}
