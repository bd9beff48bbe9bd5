"""P1: of what people of two homes have together, each has at the source what they had at home, once they are back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, LiteralString

import pytest

from domicile.model import Home
from domicile.run.live import cohort_of
from domicile.stores.postgres.live import follower
from domicile.stores.postgres.live.follower import Follower, Stepped
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import RULES, SCHEMA, World, homes_of, moving_in, moving_world

pytestmark = pytest.mark.timeout(120)
IN_US, IN_CA = 1, 2  # the one goes to the US, the other to Canada
LETTER: Final = "INSERT INTO letter VALUES (7, 1, 2, 'first')"
READ: Final = "SELECT body FROM letter WHERE id = 7"
EDIT: Final = "UPDATE letter SET body = 'second' WHERE id = 7"
DELETE: Final = "DELETE FROM letter WHERE id = 7"
Act = Callable[[World], None]


def _at(place: str, query: LiteralString) -> Act:
    """The platform writes there, and the engine makes a step."""

    def act(world: World) -> None:
        world.at(place, query)
        world.live.moving.step(_follower(world))

    return act


def _follower(world: World) -> Follower:
    return world.live.moving.follower(world.standing)


def _home(person: int) -> Act:
    return lambda world: (world.live.cut_over(world.scope, cohort_of(f"key:{person}")), None)[1]


def _back(number: int) -> Act:
    return lambda world: (world.live.roll_back(world.scope, number), None)[1]


FIRST, SECOND, GONE = [("first",)], [("second",)], list[tuple[str]]()
HISTORIES: Final = {
    "what they changed": ((_home(IN_US), _home(IN_CA), _at("us", EDIT), _back(1)), SECOND),
    "not what the other changed": ((_home(IN_US), _home(IN_CA), _at("us", EDIT), _back(2)), FIRST),
    "what the other deleted": ((_home(IN_US), _home(IN_CA), _at("us", DELETE), _back(2)), FIRST),
    "what the other deleted before they went home": (
        (_home(IN_US), _at("source", DELETE), _home(IN_CA), _back(1)), FIRST,
    ),
    "not what they deleted": ((_home(IN_US), _home(IN_CA), _at("us", DELETE), _back(1)), GONE),
    "not what they deleted before the other went home": (
        (_home(IN_US), _at("us", DELETE), _home(IN_CA), _back(1)), GONE,
    ),
    "not what they deleted and the other changed": (
        (_home(IN_US), _home(IN_CA), _at("us", DELETE), _at("ca", EDIT), _back(1)), GONE,
    ),
    "what is there for who lives there": ((_home(IN_US), _at("us", EDIT), _back(1)), FIRST),
}  # fmt: skip


@pytest.mark.parametrize("history", HISTORIES)
def test_p1_who_is_brought_back_has_what_they_had_of_a_letter_to_another_home(
    pg18: EmbeddedServer, tmp_path: Path, history: str
) -> None:
    acts, expected = HISTORIES[history]
    with moving_world(pg18, tmp_path, f"brought_back_{list(HISTORIES).index(history)}") as world:
        world.at("source", LETTER)
        world.live.moving.step(_follower(world))
        for act in acts:
            act(world)
        assert expected == world.at("source", READ)


def test_p1_it_comes_back_a_few_rows_at_a_time(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "KEYS_MAX", 2)
    with moving_world(pg18, tmp_path, "brought_back_few") as world:
        world.at("source", "INSERT INTO letter SELECT i, 1, 2, 'first' FROM generate_series(7, 11) AS i")
        world.live.moving.step(_follower(world))
        for person in (IN_US, IN_CA):
            _home(person)(world)
        world.at("us", "UPDATE letter SET body = 'second' WHERE id <> 9; DELETE FROM letter WHERE id = 9")
        _back(1)(world)
        there = [(7, "second"), (8, "second"), (10, "second"), (11, "second")]
        assert there == world.at("source", "SELECT id, body FROM letter ORDER BY id")


def test_p1_what_changes_under_way_comes_back_too(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody changes their letter after all that is shared was brought back, before home's fence."""
    with moving_world(pg18, tmp_path, "brought_back_late") as world:
        world.at("source", LETTER)
        for person in (IN_US, IN_CA):
            _home(person)(world)
        shared = Follower.return_shared

        def returning(follower: Follower, home: Home, cohort: int) -> int:
            keys = shared(follower, home, cohort)
            world.at("us", EDIT)
            return keys

        monkeypatch.setattr(Follower, "return_shared", returning)
        _back(1)(world)
        assert SECOND == world.at("source", READ)


@pytest.mark.parametrize(("place", "other"), [("us", "ca"), ("ca", "us")])
def test_p1_what_one_deleted_is_there_for_the_other_of_the_same_cohort(
    pg18: EmbeddedServer, tmp_path: Path, place: str, other: str
) -> None:
    with moving_world(pg18, tmp_path, f"brought_back_both_{place}") as world:
        world.at("source", LETTER)
        world.live.cut_over(world.scope, cohort_of(f"key:{IN_US},{IN_CA}"))
        _at(place, DELETE)(world)
        assert FIRST == world.at(other, READ)
        _back(1)(world)
        assert FIRST == world.at("source", READ)


def test_p1_what_somebody_deleted_is_not_back_because_another_home_changed_its_own(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    with moving_world(pg18, tmp_path, "brought_back_deleted") as world:
        world.at("source", LETTER)
        for act in (_home(IN_US), _at("source", DELETE), _at("us", EDIT)):
            act(world)
        assert GONE == world.at("source", READ)
        assert SECOND == world.at("us", READ)


def test_p1_what_one_deletes_with_all_that_hangs_on_it_goes_with_it(pg18: EmbeddedServer, tmp_path: Path) -> None:
    """Whose a payment is says the wallet, which goes as well."""
    with moving_world(pg18, tmp_path, "brought_back_parts") as world:
        world.at("source", "INSERT INTO payment VALUES (1, 1, 1)")
        _home(IN_US)(world)
        world.at("us", "DELETE FROM payment")
        _at("us", "DELETE FROM wallet WHERE id = 1")(world)
        assert [] == world.at("source", "SELECT number FROM payment UNION ALL SELECT id FROM wallet WHERE id = 1")


RECEIPTS: Final = """
CREATE TABLE receipt (id int PRIMARY KEY, payer bigint REFERENCES person, shop bigint REFERENCES person,
    body text NOT NULL);
CREATE TABLE remark (id int PRIMARY KEY, person_id bigint REFERENCES person, receipt_id int REFERENCES receipt);
INSERT INTO receipt VALUES (1, 1, 2, 'first'), (2, 6, 7, 'first'), (3, 6, 7, 'first'), (4, 6, 7, 'first'),
    (5, 1, 2, 'first');
INSERT INTO remark VALUES (1, 2, 1), (2, 7, 2), (5, 2, 5);
"""
RECEIPT_RULES: Final = """
  app.public.receipt:
    rows: move
    fields: {body: {class: private, outside: ""}}
    subjects: {by: [payer, shop], shared: first}
  app.public.remark: {rows: move, path: person_id, edges: {receipt_id: {apart: skeleton}}}
directory:"""


def test_p1_who_has_no_part_in_a_row_that_names_them_brings_nothing_of_it_back(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `shared: first` a receipt is its payer's alone; at the shop's home is its skeleton, for who refers to it."""
    rules = RULES.replace("\ndirectory:", RECEIPT_RULES)
    with (
        homes_of(pg18, "brought_back_first") as dsns,
        moving_in(dsns, tmp_path, rules=rules, schema=SCHEMA + RECEIPTS) as world,
    ):
        for cohort in ("key:1,2", "key:6", "key:7"):
            world.live.cut_over(world.scope, cohort_of(cohort))
        assert [(1, ""), (2, ""), (5, "")] == world.at("ca", "SELECT id, body FROM receipt ORDER BY id")
        _at("us", "UPDATE receipt SET body = 'second'")(world)
        world.at("ca", "DELETE FROM remark WHERE id = 2")
        _at("ca", "DELETE FROM receipt WHERE id = 2")(world)  # nobody there refers to it any more
        shared = Follower.return_shared

        def returning(follower: Follower, home: Home, cohort: int) -> int:
            keys = shared(follower, home, cohort)
            world.at("us", "DELETE FROM receipt WHERE id = 5")  # no skeleton comes in its place
            return keys

        monkeypatch.setattr(Follower, "return_shared", returning)
        for number in (1, 3):  # two together, and a shop alone
            _back(number)(world)
        assert [(i, "second") for i in (1, 2, 3, 4)] == world.at("source", "SELECT id, body FROM receipt ORDER BY id")
        _at("us", "DELETE FROM receipt WHERE id = 4")(world)
        assert [] == world.at("source", "SELECT id FROM receipt WHERE id = 4")


def test_p1_who_is_brought_back_has_a_letter_that_who_stays_has_not(pg18: EmbeddedServer, tmp_path: Path) -> None:
    """It was written at home, and the delivery to who stays is still on its way: or they have deleted theirs."""
    with moving_world(pg18, tmp_path, "brought_back_stayer") as world:
        for act in (_home(IN_US), _at("us", "INSERT INTO letter VALUES (7, 1, 3, 'first')"), _back(1)):
            act(world)
        assert FIRST == world.at("source", READ)


def test_p1_a_letter_that_one_deleted_goes_home_with_the_other(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two people of one home one lives there, and deletes it after the other's cohort was compared."""
    with moving_world(pg18, tmp_path, "deleted_by_one") as world:
        world.at("source", "INSERT INTO letter VALUES (7, 1, 6, 'first')")
        _home(IN_US)(world)
        step = Follower.step

        def stepping(follower: Follower, *, cohort: int | None = None, repair: bool = False) -> Stepped:
            done = step(follower, cohort=cohort, repair=repair)
            if cohort is not None:
                world.at("us", DELETE)
            return done

        monkeypatch.setattr(Follower, "step", stepping)
        _home(6)(world)
        assert FIRST == world.at("us", READ) == world.at("source", READ)
