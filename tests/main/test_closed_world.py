"""P4: what nobody classed stops the plan, with the lines to add; what came since the plan stops the run."""

from __future__ import annotations

import json
import re

import pytest

from tests.main.conftest import Begin
from tests.main.programme import Programme, run, value
from tests.main.questions import rows


def test_p4_a_table_that_nobody_classed_stops_the_plan_with_the_lines_to_add(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    run(begun.source, "CREATE TABLE wish (wish_id int PRIMARY KEY, customer_id int REFERENCES customer, text text)")
    said = begun.cli("plan", code=10)
    assert re.search(r"^ *app\.public\.wish: *\{?.*rows", said.err, re.MULTILINE), said.err
    assert not (begun.made / "plan.json").exists()
    assert "app.public.wish" in json.dumps(begun.cli("map", "--json").json()["unclassed"])
    assert "app.public.wish" in begun.cli("map").text


def test_p4_the_lines_that_it_names_are_enough(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    run(begun.source, "CREATE TABLE wish (wish_id int PRIMARY KEY, customer_id int REFERENCES customer, text text)")
    begun.cli("plan", code=10)
    with begun.file.open("a", encoding="utf-8") as file:
        file.write("\n  app.public.wish: {rows: move, path: customer_id}\n")
    begun.cli("plan")


def test_p4_a_column_that_nobody_classed_stops_the_plan(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    run(begun.source, "ALTER TABLE employee ADD COLUMN shoe_size int")
    said = begun.cli("plan", code=10).text
    assert "app.public.employee" in said
    assert "shoe_size" in said


CHANGES = {
    "a new table": "CREATE TABLE wish (wish_id int PRIMARY KEY)",
    "a new column": "ALTER TABLE invoice ADD COLUMN gift_note text",
    "another type": "ALTER TABLE invoice ALTER COLUMN billing_city TYPE text",
    "a new edge": "ALTER TABLE artist ADD COLUMN fan int REFERENCES customer",
    "a new trigger": "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';"
    " CREATE TRIGGER t BEFORE INSERT ON invoice FOR EACH ROW EXECUTE FUNCTION f()",
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_p4_what_came_since_the_plan_stops_apply(programme: Begin, change: str) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    run(begun.source, change)
    before = rows(begun.source)
    assert "changed since the plan was made" in begun.cli("apply", code=11).text
    assert before == rows(begun.source)
    assert 0 == value(begun.source, "SELECT count(*) FROM pg_namespace WHERE nspname = 'domicile'")


def test_p4_what_came_between_approval_and_erasure_stops_it(waiting: Programme) -> None:
    waiting.approve()
    run(waiting.source, "CREATE TABLE wish (wish_id int PRIMARY KEY)")
    waiting.cli("apply", "--yes", code=11)
    assert 59 == value(waiting.source, "SELECT count(*) FROM customer")
    run(waiting.source, "DROP TABLE wish")
    waiting.cli("apply", "--yes", "--until", "erase")
    assert 51 == value(waiting.source, "SELECT count(*) FROM customer")


def test_p4_an_edited_file_stops_apply(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    begun.edit("unknown_market: in-scope", "unknown_market: stay")
    assert "domicile.yaml changed" in begun.cli("apply", code=11).text


def test_p4_a_plan_that_is_not_spelt_as_it_was_made_stops_apply(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    plan = begun.made / "plan.json"
    plan.write_bytes(plan.read_bytes() + b" ")
    assert "edited" in begun.cli("apply", code=30).text


def test_p4_another_plan_than_the_one_in_the_log_stops_apply(waiting: Programme) -> None:
    plan = waiting.made / "plan.json"
    whole = plan.read_text(encoding="utf-8")
    assert whole.count('"ca": 8') == 1
    plan.write_text(whole.replace('"ca": 8', '"ca": 9'), encoding="utf-8")
    waiting.cli("apply", "--yes", code=11)
    plan.write_text(whole, encoding="utf-8")
    waiting.cli("apply", "--yes", code=14)


def test_p4_rows_without_a_rule_stop_the_plan(programme: Begin) -> None:
    begun = programme("pagila", {"JP": "jp"})
    begun.edit("    shared: first  #", "    #")
    said = begun.cli("plan", code=12).text
    assert "app.public.payment" in said
    assert "shared" in said
    assert not (begun.made / "plan.json").exists()


def test_p4_edges_that_the_database_does_not_enforce_need_a_word(programme: Begin) -> None:
    begun = programme("pagila", {"CA": "ca"})
    begun.edit("    unenforced: follow  # payment_p2022_07", "    # payment_p2022_07")
    said = begun.cli("plan", code=12).text
    assert "21" in said
    assert "unenforced" in said
    assert "payment_p2022_07" in said


def test_p4_a_row_that_comes_after_the_plan_goes_home_with_its_person(programme: Begin) -> None:
    """The shape is bound to the plan, the rows are not: they are frozen under the fence."""
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    run(begun.source, "INSERT INTO invoice VALUES (9001, 3, now(), null, null, null, null, null, 1.23)")
    begun.cli("apply", code=14)
    assert 57 == value(begun.homes["ca"], "SELECT count(*) FROM invoice")
