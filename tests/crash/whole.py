"""The move of everybody at once, as a scenario: plan, move, approve, erase, certify."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg

from domicile.evidence.predicates import CertificatePredicate
from domicile.run import Stage
from domicile.stores.postgres import staging
from tests.attack.programme import Programme, make
from tests.crash.conftest import CrashWorld
from tests.crash.effects import Side, Tracer
from tests.crash.ground import SOURCE, Ground, Place
from tests.crash.scenario import Step
from tests.crash.world import RULES, SCHEMA, End, expected_end

HOMES: Final = ("CA", "US")
SLICE_ROWS_MAX: Final = 40
LOCK_WAIT: Final = "5s"


def programme(place: Place) -> Programme:
    """The programme in the world's folder, which reaches its stores through the proxies."""
    homes = {f"HOME_{name}": dsn for name, dsn in place.engine.items() if name != SOURCE}
    return Programme(folder=place.folder, environment={"APP_DSN": place.engine[SOURCE], **homes})


def _plan(place: Place, _: Tracer) -> None:
    programme(place).plan()


def _move(place: Place, _: Tracer) -> None:
    vars(staging)["SLICE_ROWS_MAX"] = SLICE_ROWS_MAX
    programme(place).apply()


def _erase(place: Place, _: Tracer) -> None:
    programme(place).apply(yes=True, until=Stage.ERASE)


def _certify(place: Place, _: Tracer) -> None:
    programme(place).apply(yes=True)


def _approve(place: Place) -> None:
    programme(place).approve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """Every market at once, with the command line's own engine."""

    name: str = "whole"
    homes: tuple[str, ...] = HOMES
    steps: tuple[Step, ...] = (
        Step(name="plan", act=_plan),
        Step(name="move", act=_move, ends="Waiting", then=_approve),
        Step(name="erase", act=_erase),
        Step(name="certify", act=_certify),
    )

    def make(self, ground: Ground) -> End:
        """The crash world's tables; the end by SQL written by hand."""
        place = ground.place
        with psycopg.connect(place.direct[SOURCE]) as connection:
            connection.execute(SCHEMA.encode())
        homes = {home: place.engine[home] for home in HOMES}
        make(place.folder, RULES, source=place.engine[SOURCE], homes=homes)
        return expected_end(place.direct[SOURCE])

    def check_meanwhile(self, ground: Ground, start: End, *, dice: int) -> None:
        """Nothing is lost, and somebody who stays is neither refused nor kept waiting by what a dead engine left."""
        _world(ground, start).assert_nothing_lost()
        with psycopg.connect(ground.place.direct[SOURCE]) as connection:
            connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_WAIT])
            stayers = "author_id IN (SELECT id FROM person WHERE market = 'SG')"
            changed = connection.execute(f"UPDATE post SET body = body || %s WHERE {stayers}".encode(), [str(dice)])
            assert changed.rowcount > 0
            connection.rollback()

    def check_end(self, ground: Ground, start: End) -> None:
        """The end is that of an undisturbed run; evidence and auditor say so; a second run does nothing."""
        world = _world(ground, start)
        world.assert_done()
        with world.programme.opened() as run:
            before = run.ledger.size
            certificate = run.last(CertificatePredicate)
            assert certificate is not None
            run.apply(yes=True)
            assert before == run.ledger.size
        world.assert_done()

    def facts(self, ground: Ground) -> dict[str, str]:
        """Copy → verdict, as the certificate tells."""
        with programme(ground.place).opened() as run:
            found = run.last(CertificatePredicate)
            if found is None or not isinstance(found.predicate, CertificatePredicate):
                return {}
            return {one.id: one.verdict.value for one in found.predicate.copies}


def _world(ground: Ground, start: End) -> CrashWorld:
    place = ground.place
    return CrashWorld(
        source_server=ground.servers[Side.SOURCE], home_server=ground.servers[Side.HOME],
        source=place.direct[SOURCE], homes={home: place.direct[home] for home in HOMES},
        programme=programme(place), end=start,
    )  # fmt: skip
