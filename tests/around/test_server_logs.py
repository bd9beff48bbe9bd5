"""The server's own log: what it wrote before the end of the treatment goes by the hand that the file names."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from domicile import config
from domicile.errors import BadFile, Waiting
from domicile.evidence.predicates import CertificatePredicate, FindingPredicate
from domicile.host import Host
from domicile.run import Stage
from domicile.stores.postgres.server import EmbeddedServer
from tests.around.conftest import MOVER, holding
from tests.attack.conftest import World, run
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.servers import HASTY, SCRATCH, Databases, own_server

APP = "dsn: env:APP_DSN"
COPY = "app/server-log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """A server whose collector writes all statements, as text and as CSV."""

    server: EmbeddedServer
    elsewhere: Path

    @property
    def logs(self) -> Path:
        """Where the collector writes."""
        return Path(self.setting("data_directory")) / self.setting("log_directory")

    def setting(self, name: str) -> str:
        """Ask for a setting."""
        return str(run(self.server.dsn(), f"SELECT current_setting('{name}')")[0][0])

    def set(self, **settings: str) -> None:
        """Change settings, and wait until they count."""
        with psycopg.connect(self.server.dsn(), autocommit=True) as conn:
            for name, value in settings.items():
                conn.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
            conn.execute("SELECT pg_reload_conf()")
        for name, value in settings.items():
            while value != self.setting(name):
                pass

    def fresh(self) -> None:
        """Have the collector begin in a folder of its own, and wait until it did; the former ones go."""
        name = f"log-{secrets.token_hex(4)}"
        former = self.logs
        self.set(log_directory=name, log_filename="postgresql-%Y-%m-%d_%H%M%S.log")
        while not str(run(self.server.dsn(), "SELECT pg_current_logfile('csvlog')")[0][0]).startswith(f"{name}/"):
            pass
        shutil.rmtree(former)

    def say(self, dsn: str, words: str) -> None:
        """Have a statement with these words written to the log, and wait until it is there."""
        run(dsn, f"SELECT '{words}'")
        while not holding(self.logs, words.encode()):
            pass

    def old(self) -> list[str]:
        """Names of the files that hold the mover's address, by another way than ours."""
        return holding(self.logs, MOVER)


@pytest.fixture(scope="module")
def shared() -> Iterator[Logging]:
    """PostgreSQL 18 that logs everything."""
    elsewhere = Path(tempfile.mkdtemp(prefix="domicile-test-logs-", dir=SCRATCH))
    elsewhere.chmod(0o777)
    settings = {
        **HASTY, "logging_collector": "on", "log_directory": "log", "log_statement": "all", "log_destination":
        "stderr,csvlog", "log_min_duration_statement": "-1",
    }  # fmt: skip
    try:
        with own_server("logs", parameters=settings) as server:
            yield Logging(server=server, elsewhere=elsewhere)
    finally:
        shutil.rmtree(elsewhere)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A world whose source logs."""

    world: World
    logging: Logging

    def told(self) -> str:
        """The verdict of the log."""
        with self.world.programme.opened() as opened:
            statements = [recorded.predicate for recorded in opened.ledger.statements()]
        return next(str(copy.verdict.value) for copy in getattr(statements[-1], "copies", ()) if copy.id == COPY)

    def until(self) -> date | None:
        """The day of the log's verdict."""
        with self.world.programme.opened() as opened:
            statements = [recorded.predicate for recorded in opened.ledger.statements()]
        last = statements[-1]
        assert isinstance(last, CertificatePredicate)
        moment = next(copy.until for copy in last.copies if copy.id == COPY)
        return moment.date() if moment else None

    def findings(self) -> list[tuple[str, int]]:
        """What the log of the run tells of this copy."""
        with self.world.programme.opened() as opened:
            statements = [recorded.predicate for recorded in opened.ledger.statements()]
        return [(one.kind, one.count) for one in statements if isinstance(one, FindingPredicate) and one.where == COPY]


Log = Callable[..., Logged]


@pytest.fixture
def logged(shared: Logging, pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Log:
    """Make a world on the server that logs; `rule` is its `server_log`."""

    def of(rule: str | None) -> Logged:
        shared.fresh()
        source, home = database(shared.server), database(pg18)
        run(source, SCHEMA)
        programme = make(tmp_path / "programme", RULES, source=source, homes={"CA": home})
        file = tmp_path / "programme" / "domicile.yaml"
        if rule is not None:
            file.write_text(file.read_text().replace(APP, f"{APP}, server_log: {{{rule}}}"))
        shared.say(source, MOVER.decode())
        return Logged(world=World(source=source, home=home, programme=programme), logging=shared)

    return of


def test_p3_p7_old_log_files_go_by_the_engine_and_are_told_before_and_after(logged: Log) -> None:
    made = logged("removed_by: engine")
    beside = made.logging.logs / "postgresql.log.1"
    beside.write_text("no file of the collector's")
    programme = made.world.programme
    assert 2 == len(made.logging.old())  # text and CSV
    programme.clear()
    dry = programme.command("erase")
    assert f"{COPY}: old log files go after the treatment, with --yes" in " ".join(dry.stdout.split())
    programme.apply(until=Stage.ERASE, yes=True)
    with pytest.raises(Waiting, match="`domicile apply --yes` removes them"):
        programme.apply()
    assert 2 == len(made.logging.old())
    assert [] == made.findings()
    programme.apply(yes=True)
    assert [] == made.logging.old()
    assert beside.exists()
    (before, after) = made.findings()
    assert ("to be removed", "removed") == (before[0], after[0])
    assert before[1] >= 2
    assert "erased-verified" == made.told()
    assert 0 == programme.audit().returncode
    size = len(list(made.logging.logs.iterdir()))
    programme.apply(yes=True)  # P5: a second run does nothing
    assert size == len(list(made.logging.logs.iterdir()))


def test_p11_the_operator_removes_old_files_and_nobody_says_that_they_were_not_moved(logged: Log) -> None:
    made = logged("removed_by: operator")
    programme = made.world.programme
    programme.clear()
    for _ in range(2):
        with pytest.raises(Waiting, match=f"{COPY}: .* log files from before .*, still there; to do: remove them"):
            programme.apply(yes=True)
    assert [] == made.findings()
    for name in made.logging.old():
        (made.logging.logs / name).unlink()
    programme.apply(yes=True)
    assert "erased-unverified" == made.told()
    assert 0 == programme.audit().returncode


@pytest.mark.parametrize("hand", ["engine", "operator"])
def test_p11_a_log_that_has_to_be_kept_is_blocked_until_its_day_and_goes_then(
    logged: Log, monkeypatch: pytest.MonkeyPatch, hand: str
) -> None:
    day = datetime.now(UTC).date() + timedelta(days=30)
    made = logged(f"removed_by: {hand}, keep_until: {day}")
    programme = made.world.programme
    planned = " ".join(programme.command("plan").stdout.split())
    assert f"{day}" in planned
    programme.clear_again()
    programme.apply(yes=True)  # waits for nobody: the day has not come
    assert 2 == len(made.logging.old())
    assert [] == made.findings()
    assert ("blocked-until", day) == (made.told(), made.until())
    audited = programme.audit()
    assert 0 == audited.returncode, audited.stdout + audited.stderr
    assert str(day) in audited.stdout
    programme.apply(yes=True)
    assert 2 == len(made.logging.old())
    assert "blocked-until" == made.told()

    monkeypatch.setattr(Host, "now", lambda _: datetime.now(UTC) + timedelta(days=31))
    programme.apply()
    assert 2 == len(made.logging.old())  # nothing goes without --yes
    if hand == "operator":
        with pytest.raises(Waiting, match=f"{COPY}: .* still there; to do: remove them"):
            programme.apply(yes=True)
        for name in made.logging.old():  # and no others: the log is not rotated again meanwhile
            (made.logging.logs / name).unlink()
    programme.apply(yes=True)
    assert [] == made.logging.old()
    assert {"engine": "erased-verified", "operator": "erased-unverified"}[hand] == made.told()
    assert 0 == programme.audit().returncode


def test_p1_what_is_a_link_or_has_two_names_or_lies_elsewhere_is_left(logged: Log) -> None:
    made = logged("removed_by: engine")
    programme, logs = made.world.programme, made.logging.logs
    programme.clear()
    programme.apply(until=Stage.ERASE, yes=True)
    second = made.logging.elsewhere / "second-name"
    second.hardlink_to(logs / made.logging.old()[0])
    with pytest.raises(Waiting, match=r"1 of \d+ log files .* could not be removed: another hard link"):
        programme.apply(yes=True)
    assert 1 == len(made.logging.old())
    assert ("to be removed", 0) == made.findings()[-1]
    second.unlink()
    programme.apply(yes=True)
    assert [] == made.logging.old()
    assert "erased-verified" == made.told()


def test_p3_a_file_that_the_server_goes_on_in_is_searched_and_stays(logged: Log) -> None:
    """A name without a time: the server has no other file to begin, and its old lines are found."""
    made = logged("removed_by: engine")
    made.logging.set(log_filename="always.log")
    while not (made.logging.logs / "always.csv").exists():
        pass
    for name in made.logging.old():
        (made.logging.logs / name).unlink()
    made.logging.say(made.world.source, MOVER.decode())
    programme = made.world.programme
    programme.clear()
    programme.apply(yes=True)
    assert {"always.csv", "always.log"} == set(made.logging.old())
    assert "present" == made.told()


def test_p11_what_the_engine_cannot_or_must_not_remove_is_said_by_the_plan(logged: Log) -> None:
    made = logged("removed_by: engine")
    outside = made.logging.elsewhere / secrets.token_hex(4)
    outside.mkdir()
    outside.chmod(0o777)
    made.logging.set(log_directory=str(outside))
    shown = " ".join(made.world.programme.command("plan").stdout.split())
    assert "their folder lies outside of the data directory" in shown
    made.logging.fresh()
    file = made.world.programme.folder / "domicile.yaml"
    file.write_text(file.read_text().replace(APP, f"{APP}, files: sql"))
    shown = " ".join(made.world.programme.command("plan").stdout.split())
    assert "the engine can't remove log files: their folder isn't reached from here" in shown


def test_a_home_has_no_server_log_to_be_removed(logged: Log) -> None:
    made = logged(None)
    text = (made.world.programme.folder / "domicile.yaml").read_text()
    with pytest.raises(BadFile, match=r"stores\.app-ca\.server_log: only of what data leaves"):
        config.load(text.replace("home_of: app}", "home_of: app, server_log: {removed_by: engine}}").encode())
