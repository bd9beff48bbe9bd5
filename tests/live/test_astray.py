"""P3: who comes into another market just before the fence does not go home to the one they left."""

from __future__ import annotations

from pathlib import Path
from typing import LiteralString

import pytest

from domicile.cutover.cohorts import Way
from domicile.run.live import cohort_of
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import World, moving_world

pytestmark = pytest.mark.timeout(120)
NOTES = 'SELECT count(*) FROM "Note" WHERE person_id = 2'


def _at_the_fence(world: World, monkeypatch: pytest.MonkeyPatch, *statements: LiteralString) -> list[str]:
    """Have the platform run these at the source right before somebody is fenced, one each time; what is left."""
    left, move = list(statements), People.move

    def moving(self: People, cohort: int, state: LiteralString) -> None:
        if state == "fenced" and left:
            world.at("source", left.pop(0))
        move(self, cohort, state)

    monkeypatch.setattr(People, "move", moving)
    return left


@pytest.mark.parametrize(("market", "home"), [("SG", None), ("US", "us")])
@pytest.mark.parametrize("feed", ["trigger", "slot"])
def test_p3_who_changes_market_just_before_the_fence_goes_where_they_belong(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, market: str, home: str | None, feed: str
) -> None:
    cutover = f"cutover: {{pause: never, grow: [0.1, 0.3], wait_s_max: 20, feed: {feed}}}\n"
    with moving_world(pg18, tmp_path, f"astray_{feed}_{market}", cutover=cutover) as world:
        assert [(1,)] == world.at("ca", NOTES)
        change: LiteralString = (
            "UPDATE person SET market = 'SG' WHERE id = 2" if market == "SG"
            else "UPDATE person SET market = 'US' WHERE id = 2"
        )  # fmt: skip
        left = _at_the_fence(world, monkeypatch, change)
        gone = world.live.cut_over(world.scope, cohort_of("key:2,7"))
        assert [] == left
        assert (Way.HOME, 1) == (gone.way, gone.people)
        (released,) = (one for one in world.live.moving.cohorts() if one.way is Way.RELEASED)
        assert "1 people came into another market just then" in released.why
        assert world.authority(2) == "source"
        assert world.authority(7) not in {None, "source"}
        assert [(0,)] == world.at("ca", NOTES)
        world.live.moving.step(world.live.moving.follower(world.standing))
        assert [(int(home is not None),)] == world.at("us", NOTES)
        assert [(1,)] == world.at("source", NOTES)
