"""P1: what two people of one home had together, and one of them deleted on the way, stops no close."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from domicile.errors import NotEqual, Waiting
from domicile.run.live import cohort_of
from domicile.stores.postgres.live import closing
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import World, moving_world

pytestmark = pytest.mark.timeout(120)
AT_HOME, LEAVING = 1, 6  # both of the US
LETTERS: Final = "INSERT INTO letter SELECT i, 1, 6, 'first' FROM generate_series(7, 11) AS i"


def _deleted_on_the_way(world: World) -> None:
    """The one lives at home; the other deletes all but one of their letters at the source, and goes home."""
    world.at("source", LETTERS)
    world.live.cut_over(world.scope, cohort_of(f"key:{AT_HOME}"))
    world.at("source", "DELETE FROM letter WHERE id > 7")
    world.live.moving.step(world.live.moving.follower(world.standing))
    world.live.cut_over(world.scope, cohort_of(f"key:{LEAVING}"))


def test_p1_letters_that_one_deleted_on_the_way_are_there_for_the_other_and_the_close_is_equal(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closing, "KEYS_MAX", 2)
    with moving_world(pg18, tmp_path, "kept_at_home") as world:
        _deleted_on_the_way(world)
        assert 5 == len(world.at("us", "SELECT id FROM letter"))
        with pytest.raises(Waiting):
            world.run.apply(close=True)
        letters = "SELECT id, sender, recipient, body FROM letter ORDER BY id"
        assert world.at("source", letters) == world.at("us", letters)
        assert 5 == len(world.at("us", letters))
        world.programme.approve_in(world.run)
        world.run.apply(close=True, yes=True)
        assert 5 == len(world.at("us", letters))
        assert [] == world.at("source", letters)
    assert 0 == world.programme.audit().returncode


def test_p1_a_row_of_one_person_that_nothing_sends_there_still_stops_the_close(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    with moving_world(pg18, tmp_path, "kept_at_home_not") as world:
        _deleted_on_the_way(world)
        world.at(
            "us",
            'ALTER TABLE "Note" DISABLE TRIGGER zzzz_domicile_log; INSERT INTO "Note" VALUES (77, 1, \'past the log\');'
            'ALTER TABLE "Note" ENABLE ALWAYS TRIGGER zzzz_domicile_log',
        )  # fmt: skip
        with pytest.raises(NotEqual, match="Note at us: 1"):
            world.run.apply(close=True)
