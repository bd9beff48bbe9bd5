"""The directory over a whole run: who is asked for is told where they live, before, under the fence and afterwards."""

from __future__ import annotations

import re

import pytest

from tests.main.conftest import Begin
from tests.main.programme import Programme, value

STATES = "SELECT string_agg(DISTINCT state, ' ') FROM domicile_directory.place"
MOVERS = "SELECT count(*) FROM customer WHERE country = 'Canada'"


@pytest.fixture
def begun(programme: Begin) -> Programme:
    """Chinook, CA → ca, with a directory."""
    begun = programme("chinook", {"CA": "ca"})
    begun.edit("\nlocations:\n", "\ndirectory: {purpose: requests are led to where people live}\nlocations:\n")
    return begun


def _open_the_key(begun: Programme) -> None:
    """Class the key of people public."""
    text = begun.file.read_text(encoding="utf-8")
    key = re.compile(r"^(\s+customer_id:).*$", re.MULTILINE)
    start = text.index("app.public.customer:")
    begun.file.write_text(text[:start] + key.sub(r"\1 public", text[start:], count=1), encoding="utf-8")


def test_a_private_key_is_kept_in_no_directory(begun: Programme) -> None:
    assert "customer_id is private; class it public" in begun.cli("plan", code=1).text
    assert value(begun.source, "SELECT to_regnamespace('domicile_directory')") is None


def test_it_stays_when_the_rows_have_gone_and_says_so(begun: Programme) -> None:
    _open_the_key(begun)
    people = value(begun.source, MOVERS)
    begun.move()
    assert ("fenced", people) == (
        value(begun.source, STATES),
        begun.cli("directory", "counts", "--json").json()[0]["people"],
    )
    begun.finish()
    assert ("home", 0) == (value(begun.source, STATES), value(begun.source, MOVERS))
    home = begun.homes["ca"]
    assert ("home", people) == (value(home, STATES), value(home, "SELECT count(*) FROM domicile_directory.place"))
    assert value(begun.source, "SELECT to_regnamespace('domicile')") is None
    assert "directory" in str(begun.verdicts())
    begun.cli("report")
    assert "keeps the key of everybody who moves" in (begun.made / "report.html").read_text(encoding="utf-8")
    begun.cli("apply", "--yes")  # a second run does nothing
    assert "home" == value(begun.source, STATES)


def test_given_up_nobody_is_left_in_it(begun: Programme) -> None:
    _open_the_key(begun)
    begun.cli("plan")
    begun.cli("apply", "--until", "transfer")
    assert "fenced" == value(begun.source, STATES)
    begun.cli("abandon", "--yes")
    assert value(begun.source, STATES) is None
