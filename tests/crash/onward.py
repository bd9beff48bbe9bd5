"""The live move as a scenario: people go home cohort by cohort, one cohort comes back and goes again, while all write.

The platform writes whenever the engine tells an event, and between a failure and the call after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg

from domicile import config
from domicile.cohorts import Rule
from domicile.host import Host
from domicile.journal import Journal
from domicile.model import Home
from domicile.moving import Moving
from domicile.plan.resolve import resolve
from domicile.record import Record
from domicile.stores.postgres import staging
from domicile.stores.postgres.feed.followed import followed
from domicile.stores.postgres.feed.triggers import TriggerFeed
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live.standing import Standing
from domicile.stores.postgres.session import Session
from domicile.stores.postgres.source import PostgresSource
from domicile.workspace import Workspace
from tests.attack.programme import make
from tests.crash.effects import Tracer
from tests.crash.ground import SOURCE, Ground, Place
from tests.crash.scenario import Step
from tests.crash.writers import HOMES, Platform, assert_kept, assert_one_authority
from tests.live.platform import RULES, SCHEMA

KEY: Final = b"k" * 32
RULE: Final = Rule(grow=(0.2, 0.5), wait_s_max=20)
SLICE_ROWS_MAX: Final = 40
SETTLE_STEPS_MAX: Final = 50
SEED: Final = 7


@contextmanager
def _under_way(place: Place, tracer: Tracer) -> Iterator[tuple[Moving, Standing]]:
    """The engine's objects, with all that a run does before it goes on: guards, feed, copy."""
    vars(staging)["SLICE_ROWS_MAX"] = SLICE_ROWS_MAX
    platform = Platform(place.direct, place.folder, seed=SEED)

    def hear(_: object) -> None:
        if not tracer.is_quiet:
            with tracer.quiet():
                platform.write(1)

    host, workspace = Host(), Workspace(place.folder / "domicile.yaml")
    with ExitStack() as stack:
        stack.enter_context(workspace.locked())
        parsed, _ = config.read(place.folder / "domicile.yaml")
        source = stack.enter_context(closing(PostgresSource(place.engine[SOURCE], key=KEY, name="app")))
        homes = {
            Home(home): stack.enter_context(closing(PostgresHome(place.engine[home], key=KEY, name=f"app-{home}")))
            for home in HOMES
        }
        scope = resolve(parsed, source.catalogue())
        journal = stack.enter_context(closing(Journal(workspace.journal)))
        record = Record(workspace, workspace.signer("test", host), journal, host=host, listener=hear)
        moving = stack.enter_context(closing(Moving(record=record, source=source, homes=homes, rule=RULE, host=host)))
        session = stack.enter_context(closing(Session(place.engine[SOURCE], store="app")))
        standing = moving.begin(scope, TriggerFeed(session, followed(scope), host=host))
        stack.callback(standing.close)
        moving.bring(standing, source.draft(scope))
        yield moving, standing


def _begin(place: Place, tracer: Tracer) -> None:
    with _under_way(place, tracer):
        return


def _go(place: Place, tracer: Tracer) -> None:
    with _under_way(place, tracer) as (moving, standing):
        moving.everybody(standing)


def _return(place: Place, tracer: Tracer) -> None:
    with _under_way(place, tracer) as (moving, standing):
        moving.roll_back(standing, 1)


def _again(place: Place, tracer: Tracer) -> None:
    """Everybody once more; then nobody writes any more, and both ways run dry."""
    with _under_way(place, tracer) as (moving, standing):
        moving.everybody(standing)
        follower = moving.follower(standing)
        with tracer.quiet():
            for _ in range(SETTLE_STEPS_MAX):
                if not moving.step(follower).keys:
                    return
    raise RuntimeError("the two ways never run dry")


def _write(acts: int) -> Callable[[Place], None]:
    def write(place: Place) -> None:
        Platform(place.direct, place.folder, seed=SEED).write(acts)

    return write


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """The engine as a library: begin, bring, everybody, one cohort back, everybody again."""

    name: str = "live"
    homes: tuple[str, ...] = HOMES
    steps: tuple[Step, ...] = (
        Step(name="begin", act=_begin, then=_write(5)),
        Step(name="go", act=_go, then=_write(5)),
        Step(name="back", act=_return, then=_write(5)),
        Step(name="again", act=_again),
    )

    def make(self, ground: Ground) -> None:
        """The live tests' tables."""
        place = ground.place
        with psycopg.connect(place.direct[SOURCE]) as connection:
            connection.execute(SCHEMA.encode())
        homes = {home.upper(): place.engine[home] for home in HOMES}
        make(place.folder, RULES, source=place.engine[SOURCE], homes=homes)

    def check_meanwhile(self, ground: Ground, start: None, *, dice: int) -> None:  # noqa: ARG002 - as the protocol has it
        """Nobody has two places to write at; then people go on writing."""
        place = ground.place
        assert_one_authority(place.direct)
        Platform(place.direct, place.folder, seed=dice).write(6)
        assert_one_authority(place.direct)

    def check_end(self, ground: Ground, start: None) -> None:  # noqa: ARG002 - as the protocol has it
        """Everybody is at home, and everything that was promised is with them."""
        place = ground.place
        assert_one_authority(place.direct)
        platform = Platform(place.direct, place.folder, seed=SEED)
        assert_kept(place.direct, platform.promises.all())
        with closing(psycopg.connect(place.direct[SOURCE])) as line:
            states = line.execute("SELECT DISTINCT state FROM domicile_directory.place").fetchall()
        assert [("home",)] == states

    def facts(self, ground: Ground) -> dict[str, str]:  # noqa: ARG002 - as the protocol has it
        """None: what people write depends on when they can."""
        return {}
