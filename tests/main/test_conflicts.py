"""Pagila's payments that hang on a rental of another country's customer, two homes at once, people without a market.

Rental 4591 is of customer 182, in the United States; five customers of five other countries have paid for it.
"""

from __future__ import annotations

import re

import pytest

from domicile.stores.postgres.server import EmbeddedServer
from tests.databases import sample_template
from tests.main.conftest import Begin
from tests.main.programme import Programme, ask, run, value
from tests.main.questions import CONSTRAINTS, orphans, rows

FOREIGN_RENTAL = 4591
# country, market → the payment of theirs that hangs on that rental, customers, rentals, payments, sum of amount
PAYERS = {
    ("Japan", "JP"): 29163,
    ("Taiwan", "TW"): 17206,
    ("United Kingdom", "GB"): 19518,
    ("India", "IN"): 25162,
    ("China", "CN"): 31834,
}
OF_COUNTRY = (
    " WHERE customer_id IN (SELECT customer_id FROM customer JOIN address USING (address_id)"
    " JOIN city USING (city_id) JOIN country USING (country_id) WHERE country = '{country}')"
)


def erased(programme: Programme) -> None:
    """The flow up to the erasure; horizon and sweep are looked at elsewhere."""
    programme.move()
    programme.approve()
    programme.cli("apply", "--until", "erase", "--yes")


def of_country(dsn: str, table: str, country: str) -> set[str]:
    found = ask(dsn, f"SELECT t::text FROM {table} AS t" + OF_COUNTRY.format(country=country))
    return {text for (text,) in found}


def everything(dsn: str, table: str) -> set[str]:
    return {text for (text,) in ask(dsn, f"SELECT t::text FROM {table} AS t")}


def both_sides_hold(programme: Programme, original: str) -> None:
    """Nothing is lost on either side, every edge has its parent, every constraint is checked."""
    for name in rows(original):
        kept = everything(programme.source, name)
        for home in programme.homes.values():
            kept |= everything(home, name)
        assert set() == everything(original, name) - kept, name
    for side in (programme.source, *programme.homes.values()):
        assert {} == orphans(side, "pagila")
        assert ask(original, CONSTRAINTS) == ask(side, CONSTRAINTS)


@pytest.fixture
def original(pg18: EmbeddedServer) -> str:
    """Pagila as it was loaded; look, don't write."""
    return pg18.dsn(sample_template(pg18, "pagila"))


@pytest.mark.parametrize(("country", "market"), [("Taiwan", "TW"), ("China", "CN")])
def test_a_payment_for_somebody_elses_rental_goes_home_with_who_paid(
    programme: Begin, original: str, country: str, market: str
) -> None:
    begun = programme("pagila", {market: "home"})
    said = begun.cli("plan").text
    assert re.search(
        r"shared 1 rows? leads? to subjects who live apart in app\.public\.payment;"
        r" rule: datasets\.app\.public\.payment\.subjects\.shared: first",
        said,
    )
    erased(begun)
    home = begun.homes["home"]
    for table in ("customer", "rental", "payment"):
        assert of_country(original, table, country) <= everything(home, table)
        assert set() == of_country(original, table, country) & everything(begun.source, table)
    payment = PAYERS[country, market]
    assert [(payment,)] == ask(home, f"SELECT payment_id FROM payment WHERE rental_id = {FOREIGN_RENTAL}")
    # The American's rental stands at home as a skeleton, and stays whole where he lives.
    assert everything(original, "rental") - of_country(original, "rental", country) == everything(
        begun.source, "rental"
    )
    skeleton = (
        "SELECT c.email, c.first_name, c.active FROM rental JOIN customer c USING (customer_id) WHERE rental_id ="
    )
    ((mail, name, active),) = ask(home, f"{skeleton} {FOREIGN_RENTAL}")
    assert (None, None) == (mail, active)
    assert name != value(original, "SELECT first_name FROM customer WHERE customer_id = 182")
    both_sides_hold(begun, original)


def test_a_rental_that_others_paid_for_leaves_a_skeleton(programme: Begin, original: str) -> None:
    country = "United States"
    begun = programme("pagila", {"US": "us"})
    erased(begun)
    home = begun.homes["us"]
    for table in ("customer", "rental", "payment"):
        assert of_country(original, table, country) == of_country(home, table, country)
    assert [(36,)] == ask(home, "SELECT count(*) FROM customer")
    # Five payments by people who stay still find rental and customer, and nothing private of either.
    stayed = f"SELECT payment_id FROM payment WHERE rental_id = {FOREIGN_RENTAL} ORDER BY 1"
    assert sorted((payment,) for payment in PAYERS.values()) == ask(begun.source, stayed)
    ((mail, name, returned),) = ask(
        begun.source,
        "SELECT c.email, c.first_name, r.return_date FROM rental r JOIN customer c USING (customer_id)"
        f" WHERE rental_id = {FOREIGN_RENTAL}",
    )
    assert (None, None) == (mail, returned)
    assert name != value(original, "SELECT first_name FROM customer WHERE customer_id = 182")
    assert set() == of_country(original, "payment", country) & everything(begun.source, "payment")
    known = "SELECT email FROM customer" + OF_COUNTRY.format(country=country) + " AND email IS NOT NULL"
    assert (36, 0) == (len(ask(original, known)), len(ask(begun.source, known)))
    both_sides_hold(begun, original)


def test_two_markets_go_to_two_homes_at_once(programme: Begin, original: str) -> None:
    begun = programme("pagila", {"JP": "jp", "US": "us", "CA": "us"})
    erased(begun)
    for table in ("customer", "rental", "payment"):
        japan = of_country(original, table, "Japan")
        america = of_country(original, table, "United States") | of_country(original, table, "Canada")
        assert japan <= everything(begun.homes["jp"], table)
        assert america <= everything(begun.homes["us"], table)
        assert set() == america & everything(begun.homes["jp"], table)
        assert set() == japan & everything(begun.homes["us"], table)
        assert set() == (japan | america) & everything(begun.source, table)
    assert 31 == value(begun.homes["jp"], "SELECT count(*) FROM customer WHERE email IS NOT NULL")
    assert 36 + 5 == value(begun.homes["us"], "SELECT count(*) FROM customer WHERE email IS NOT NULL")
    both_sides_hold(begun, original)


def test_two_homes_and_the_source_never_give_the_same_id(programme: Begin) -> None:
    begun = programme("chinook_identity", {"CA": "ca", "DE": "de"})
    begun.move()
    new = "INSERT INTO artist (name) SELECT 'x' FROM generate_series(1, 50) RETURNING artist_id"
    given = [{key for (key,) in ask(side, new)} for side in (begun.source, *begun.homes.values())]
    assert 150 == len(set().union(*given))


def test_people_without_a_market_stop_the_plan_until_the_file_says_what_they_are(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    run(begun.source, "UPDATE customer SET country = NULL WHERE customer_id IN (3, 59)")
    said = begun.cli("plan", code=12).text
    assert "2" in said
    assert "unknown_market" in said
    begun.edit("unknown_market: in-scope", "unknown_market: stay")
    erased(begun)
    assert {(14,), (15,), (29,), (30,), (31,), (32,), (33,)} == set(
        ask(begun.homes["ca"], "SELECT customer_id FROM customer")
    )
    assert 52 == value(begun.source, "SELECT count(*) FROM customer")


def test_people_without_a_market_go_to_the_market_that_the_file_names(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    run(begun.source, "UPDATE customer SET country = NULL WHERE customer_id IN (3, 59)")
    begun.edit("unknown_market: in-scope", "unknown_market: CA")
    erased(begun)
    assert 9 == value(begun.homes["ca"], "SELECT count(*) FROM customer")
    assert 50 == value(begun.source, "SELECT count(*) FROM customer")


def test_people_of_a_country_that_the_file_does_not_map_stay(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    run(begun.source, "UPDATE customer SET country = 'Atlantis' WHERE customer_id = 59")
    erased(begun)
    assert 8 == value(begun.homes["ca"], "SELECT count(*) FROM customer")
    assert 1 == value(begun.source, "SELECT count(*) FROM customer WHERE country = 'Atlantis'")
