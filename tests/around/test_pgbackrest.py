"""A pgBackRest repository around the source: expired by the tool after the erasure, restored, and searched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from domicile.errors import Waiting
from domicile.evidence.predicates import FindingPredicate, SweepPredicate
from domicile.horizon import surroundings
from domicile.horizon.surroundings import Surroundings
from domicile.proof import Verdict
from domicile.run import Run
from domicile.stores.postgres.server import EmbeddedServer
from domicile.sweep import Tokens
from tests.around.conftest import MOVER, STAYER
from tests.around.repository import STANZA, Backed, Keep, Kept, backed_server, line_of
from tests.attack.conftest import World, run
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.servers import Databases


@pytest.fixture(scope="module")
def backed() -> Iterator[Backed]:
    """One server and repository for all tests here."""
    with backed_server() as made:
        yield made


@pytest.fixture
def keep(backed: Backed, pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Keep:
    """Make a world whose source is backed up; `rule` is added to the store's line."""

    def of(rule: str = "removed_by: engine") -> Kept:
        source, home = database(backed.server), database(pg18)
        run(source, SCHEMA)
        programme = make(tmp_path / "programme", line_of(backed.at, rule) + RULES, source=source, homes={"CA": home})
        return Kept(world=World(source=source, home=home, programme=programme), backed=backed)

    return of


def _findings(made: Kept, kind: str) -> set[str]:
    with made.world.programme.opened() as run:
        statements = [recorded.predicate for recorded in run.ledger.statements()]
    return {one.where for one in statements if isinstance(one, FindingPredicate) and one.kind == kind}


def test_p3_old_backups_and_wal_are_expired_and_the_new_backup_is_restored_and_clean(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is killed when the new backup stands and the expiry is about to begin, too (P5)."""
    monkeypatch.setattr(surroundings, "ARCHIVER_POLLS_MAX", 1_000_000)  # what isn't there would be waited for for ever
    made = keep()
    full = made.at.back_up("full")
    made.world.at_source("UPDATE person SET email = email || '.old'; CHECKPOINT")
    increment = made.at.back_up("incr")
    assert made.at.holding(MOVER)
    shown = made.world.programme.command("plan").stdout
    assert full in shown
    assert increment in shown
    made.world.programme.clear_again()
    assert {full, increment} <= {one.label for one in made.at.backups()}  # P2: nothing goes before the erasure
    removing = Run._removing

    def state_and_end(run: Run, copy: str, things: int, done: bool) -> None:
        removing(run, copy, things, done)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_removing", state_and_end)
        with pytest.raises(KeyboardInterrupt):
            made.world.programme.apply(yes=True)
    assert {full, increment} <= {one.label for one in made.at.backups()}
    made.world.programme.apply(yes=True)

    (baseline,) = made.at.backups()
    assert baseline.label not in {full, increment}
    assert [] == made.at.holding(MOVER)
    assert made.at.holding(STAYER)
    gone = {f"backups/base-backup:{full}", f"backups/base-backup:{increment}", "backups/archived-wal"}
    told = made.told()
    assert {"erased-verified"} == set(told.values()), made.reasons()
    assert {f"base-backup:{full}", f"base-backup:{increment}", "archived-wal", "other-files"} <= set(told)
    assert f"base-backup:{baseline.label}" not in told  # of all else, as it came after the plan
    assert gone <= _findings(made, "to be removed")
    assert _findings(made, "removed") == _findings(made, "to be removed")
    with made.world.programme.opened() as opened:
        (swept,) = (one.predicate for one in opened.ledger.statements() if isinstance(one.predicate, SweepPredicate))
    (others,) = (copy for copy in swept.copies if copy.id == "backups/other-files")
    assert f"{baseline.label} restored by pgBackRest 2." in others.method
    assert baseline.bytes <= others.bytes
    assert [] == list(made.at.scratch.iterdir())
    assert 0 == made.world.programme.audit().returncode


def test_p3_a_backup_that_comes_back_after_the_treatment_is_found(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody copies an old backup back while the run is at its end."""
    made = keep()
    full = made.at.back_up("full")
    folder, kept = made.at.repository / "backup" / STANZA / full, made.at.folder / "kept"
    shutil.copytree(folder, kept)
    made.world.programme.clear()
    original = Surroundings.treat

    def treat_and_bring_back(*given: object, **named: object) -> object:
        outcomes = original(*given, **named)  # type: ignore[arg-type]
        made.at.put_back(kept, folder)
        return outcomes

    with monkeypatch.context() as patched:
        patched.setattr(Surroundings, "treat", treat_and_bring_back)
        made.world.programme.apply(yes=True)
    verdict, why = made.reasons()[f"base-backup:{full}"]
    assert "present" == verdict
    assert "email" in why
    assert [] == list(made.at.scratch.iterdir())
    assert 0 == made.world.programme.audit().returncode


def test_p11_a_repository_that_can_no_longer_be_read_is_waited_for_and_unknown(keep: Keep) -> None:
    made = keep()
    made.at.back_up("incr")
    made.world.programme.plan()
    away = made.at.folder / "away"
    made.at.repository.rename(away)
    try:
        with made.world.programme.opened() as opened:
            around = Surroundings(
                opened.source, opened.config, host=opened.host, listener=lambda _: None, keys=opened.destroying
            )
            planned = [copy.id for copy in opened.load_plan()[0].copies]
            treated = around.treat(
                around.boundary(opened.host.now(), ()), removing=lambda *_: None, planned=planned, yes=True
            )
            with pytest.raises(Waiting, match=r"holds no stanza app, or isn't there.*`unknown`"):
                around.refuse_waiting(treated)
            (seen,) = around.search(Tokens.merged([]), treated, planned, removed=())
    finally:
        away.rename(made.at.repository)
    assert {copy for copy in planned if copy.startswith("backups/")} == {one.copy for one in seen.verdicts}
    assert {Verdict.UNKNOWN} == {one.verdict for one in seen.verdicts}
    assert all("to do: see that the stanza can be read" in one.why for one in seen.verdicts)


def test_the_run_waits_for_the_operator_who_expires_by_hand(keep: Keep) -> None:
    made = keep("removed_by: operator")
    full = made.at.back_up("full")
    shown = " ".join(made.world.programme.command("plan").stdout.split())
    assert "the operator removes backups of before the end of the server's treatment, and `apply` waits" in shown
    assert full in shown
    made.world.programme.clear_again()
    first = made.at.backups()[0].label
    with pytest.raises(Waiting, match=f"backup --type=full`, then `pgbackrest .* expire --set={first}`") as waiting:
        made.world.programme.apply(yes=True)
    assert str(made.at.config) in str(waiting.value)
    assert full in {one.label for one in made.at.backups()}
    made.at.back_up("full")
    for one in made.at.backups()[:-1]:
        made.at.tool(f"--set={one.label}", "--repo1-retention-archive=1", "expire")
    made.world.programme.apply(yes=True)
    told = made.told()
    assert "erased-unverified" == told[f"base-backup:{full}"]
    assert "erased-unverified" == told["archived-wal"]
    assert "erased-verified" == told["other-files"], made.reasons()
    assert [] == made.at.holding(MOVER)
    assert 0 == made.world.programme.audit().returncode


def test_p4_a_stanza_that_is_not_there_stops_the_plan(keep: Keep) -> None:
    made = keep()
    file = made.world.programme.folder / "domicile.yaml"
    file.write_text(file.read_text().replace("stanza: app", "stanza: other"))
    refused = made.world.programme.command("plan")
    assert 42 == refused.returncode
    assert "holds no stanza other" in " ".join(refused.stderr.split())
