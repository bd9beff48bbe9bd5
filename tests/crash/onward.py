"""The live move as a scenario: people go home cohort by cohort, one cohort comes back and goes again, while all write.

The platform writes whenever the engine tells an event, and between a failure and the call after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg

from domicile import config
from domicile.evidence.predicates import CertificatePredicate, CohortPredicate
from domicile.host import Host
from domicile.run import Run, Stage
from domicile.stores.postgres import staging
from tests.attack.programme import Programme, make
from tests.crash.effects import Tracer
from tests.crash.ground import SOURCE, Ground, Place
from tests.crash.scenario import Step
from tests.crash.writers import HOMES, MOVERS, Platform, assert_erased, assert_kept, assert_one_authority
from tests.live.platform import RULES, SCHEMA

CUTOVER: Final = "cutover: {pause: never, grow: [0.2, 0.5], wait_s_max: 20}\n"
EMAILS: Final = "UPDATE person SET email = 'person' || id || '@example.test'"
"""Values that a sweep can look for."""
SLICE_ROWS_MAX: Final = 40
SEED: Final = 7
WRITES_BETWEEN: Final = 5


def programme(place: Place) -> Programme:
    """The programme in the world's folder."""
    homes = {f"HOME_{home.upper()}": place.engine[home] for home in HOMES}
    return Programme(folder=place.folder, environment={"APP_DSN": place.engine[SOURCE], **homes})


@contextmanager
def _opened(place: Place, tracer: Tracer) -> Iterator[Run]:
    """The run, as a command opens it; people write at each event that it tells."""
    vars(staging)["SLICE_ROWS_MAX"] = SLICE_ROWS_MAX
    platform, mine = Platform(place.direct, place.folder, seed=SEED), programme(place)

    def hear(_: object) -> None:
        with tracer.quiet():
            platform.write(1)

    parsed, data = config.read(place.folder / "domicile.yaml")
    host = Host(environment=mine.environment)
    with Run.opened(mine.workspace, parsed, data, host=host, listener=hear) as run:
        yield run


def _plan(place: Place, tracer: Tracer) -> None:
    with _opened(place, tracer) as run:
        run.plan()


def _begin(place: Place, tracer: Tracer) -> None:
    with _opened(place, tracer) as run:
        run.apply(until=Stage.TRANSFER)


def _go(place: Place, tracer: Tracer) -> None:
    with _opened(place, tracer) as run:
        run.apply(until=Stage.CUTOVER)


def _return(place: Place, tracer: Tracer) -> None:
    """Bring the first cohort back, unless a call that was killed had done it."""
    with _opened(place, tracer) as run:
        live, scope = run.moving()
        live.find(scope)
        if 1 in {cohort.number for cohort in live.at_home()}:
            live.roll_back(scope, 1)


def _close(place: Place, tracer: Tracer) -> None:
    with _opened(place, tracer) as run:
        run.apply(close=True)


def _erase(place: Place, tracer: Tracer) -> None:
    with _opened(place, tracer) as run:
        run.apply(yes=True, until=Stage.ERASE)


def _certify(place: Place, tracer: Tracer) -> None:
    with _opened(place, tracer) as run:
        run.apply(yes=True)


def _write(place: Place) -> None:
    Platform(place.direct, place.folder, seed=SEED).write(WRITES_BETWEEN)


def _approve(place: Place) -> None:
    programme(place).approve()
    _write(place)


STEPS: Final[tuple[tuple[str, Callable[[Place, Tracer], None], str, Callable[[Place], None]], ...]] = (
    ("plan", _plan, "", _write),
    ("begin", _begin, "", _write),
    ("go", _go, "", _write),
    ("back", _return, "", _write),
    ("close", _close, "Waiting", _approve),
    ("erase", _erase, "", _write),
    ("certify", _certify, "", _write),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Onward:
    """Copy, everybody home, one cohort back, everybody home and closed, erased, certified."""

    name: str = "live"
    homes: tuple[str, ...] = HOMES
    steps: tuple[Step, ...] = tuple(Step(name=name, act=act, ends=ends, then=then) for name, act, ends, then in STEPS)

    def make(self, ground: Ground) -> None:
        """The live tests' tables."""
        place = ground.place
        with psycopg.connect(place.direct[SOURCE]) as connection:
            connection.execute(SCHEMA.encode())
            connection.execute(EMAILS.encode())
        homes = {home.upper(): place.engine[home] for home in HOMES}
        make(place.folder, RULES + CUTOVER, source=place.engine[SOURCE], homes=homes)

    def check_meanwhile(self, ground: Ground, start: None, *, dice: int) -> None:  # noqa: ARG002 - the protocol's
        """Nobody has two places to write at; then people go on writing."""
        place = ground.place
        assert_one_authority(place.direct)
        Platform(place.direct, place.folder, seed=dice).write(WRITES_BETWEEN)
        assert_one_authority(place.direct)

    def check_end(self, ground: Ground, start: None) -> None:  # noqa: ARG002 - the protocol's
        """Everybody is at home with all that was promised, the source holds nothing of theirs, and the log says so."""
        place = ground.place
        assert_one_authority(place.direct)
        assert_kept(place.direct, Platform(place.direct, place.folder, seed=SEED).promises.all())
        assert_erased(place.direct)
        mine = programme(place)
        _assert_stated(mine)
        audited = mine.audit()
        assert audited.returncode == 0, audited.stdout + audited.stderr

    def facts(self, ground: Ground) -> dict[str, str]:
        """Copy → verdict, as the certificate tells."""
        with programme(ground.place).opened() as run:
            found = run.last(CertificatePredicate)
            if found is None or not isinstance(found.predicate, CertificatePredicate):
                return {}
            return {one.id: one.verdict.value for one in found.predicate.copies}


def _assert_stated(mine: Programme) -> None:
    """Who went home and who came back, by the log, is everybody; what must be said once is said once."""
    with mine.opened() as run:
        stated = [recorded.predicate for recorded in run.ledger.statements()]
    kinds = [predicate.KIND for predicate in stated]
    assert 1 == kinds.count("clearance/v1") == kinds.count("certificate/v1") == kinds.count("plan/v1")
    cohorts = [predicate for predicate in stated if isinstance(predicate, CohortPredicate)]
    gone = sum(sum(one.subjects.values()) * (1 if one.way == "home" else -1) for one in cohorts)
    assert len(MOVERS) == gone, f"by the log {gone} people are at home"
    with closing(psycopg.connect(mine.environment["APP_DSN"])) as line:
        states = line.execute("SELECT state, count(*) FROM domicile_directory.place GROUP BY 1").fetchall()
    assert [("home", len(MOVERS))] == states
