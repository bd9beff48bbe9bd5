"""P1: what a step brought is read back; what is not there as it was brought stops the move."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from domicile.errors import NotEqual
from domicile.stores.postgres.live import outgoing
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import World, moving_world

pytestmark = pytest.mark.timeout(120)
ELSEWISE = """
    CREATE FUNCTION otherwise() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.body := 'mine'; RETURN new; END $$;
    CREATE TRIGGER otherwise BEFORE INSERT OR UPDATE ON "Note" FOR EACH ROW EXECUTE FUNCTION otherwise();
    ALTER TABLE "Note" ENABLE ALWAYS TRIGGER otherwise;
"""


def _step_refuses(world: World) -> None:
    with psycopg.connect(world.dsns["source"]) as platform:
        platform.execute("""UPDATE "Note" SET body = 'changed' WHERE person_id = 1""")  # of a mover to the US
    with pytest.raises(NotEqual, match=r"app\.public\.Note: us did not hold what was just brought"):
        world.live.moving.step(world.live.moving.follower(world.standing))


def test_p1_a_row_that_home_keeps_otherwise_is_seen(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "otherwise") as world:
        with psycopg.connect(world.dsns["us"]) as home:
            home.execute(ELSEWISE)
        _step_refuses(world)


def test_p1_a_row_that_does_not_arrive_is_seen(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is expected is summed up at the source, not from what arrived."""
    with moving_world(pg18, tmp_path, "unsent") as world:
        monkeypatch.setattr(outgoing, "send", lambda *_: None)
        _step_refuses(world)
