"""Runs that are begun twice, given up, taken over, or stand on something that isn't theirs (P1, P2, P4, P5)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.errors import BadFile, DomicileError, Refused, Unreachable, Waiting, WorldChanged
from domicile.evidence.keys import Signer, load_signer, save_signer
from domicile.model import Digest
from domicile.proof import Measure
from domicile.run import Run, Stage
from domicile.run.at_once import AtOnce
from domicile.run.clearing import Clearing
from domicile.stores.postgres import source
from domicile.transfer import transfer
from tests.attack.conftest import World, Worlds
from tests.attack.programme import PERSON, Programme, make

SCHEMA: Final = """
CREATE TABLE person (id serial PRIMARY KEY, market text NOT NULL, email text);
INSERT INTO person SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'person-' || i || '@example.org'
    FROM generate_series(1, 20) AS i;
CREATE TABLE note (id serial PRIMARY KEY, person_id int NOT NULL REFERENCES person, body text);
INSERT INTO note (person_id, body) SELECT 1 + i % 20, 'note number ' || i FROM generate_series(1, 40) AS i;
"""
RULES: Final = (
    PERSON
    + """
datasets:
  app.public.person: {rows: move}
  app.public.note: {rows: move, path: person_id}
"""
)
Stop = Callable[[str], None]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Stop:
    """End the process at the beginning of a step of the run."""

    def stop(step: str) -> None:
        def end(*_: object) -> None:
            raise Killed

        monkeypatch.setattr(Run if hasattr(Run, step) else AtOnce, step, end)

    return stop


@pytest.mark.parametrize("cutover", ["", "cutover: {pause: never}\n"])
def test_p2_a_run_in_which_nothing_leaves_is_refused_before_anybody_signs_and_can_be_given_up(
    world: Worlds, cutover: str
) -> None:
    made = world(SCHEMA + "UPDATE person SET market = 'SG';", RULES + cutover)
    made.programme.plan()
    told = made.programme.command("apply", "--close")
    assert (13, True) == (told.returncode, "no row and no object is to leave" in told.stdout + told.stderr)
    assert "Traceback" not in told.stderr
    assert 0 == made.programme.command("abandon", "--yes").returncode
    assert 40 == len(_rows(made))


def _rows(made: World) -> list[tuple[object, ...]]:
    return made.at_source("SELECT id FROM note ORDER BY id")


# -- a schema of our name that isn't ours ----------------------------------------------------------------------------


def test_p1_a_schema_of_our_name_that_is_not_ours_is_never_dropped(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.plan()
    made.at_source("CREATE SCHEMA domicile; CREATE TABLE domicile.houses AS SELECT 'dear to somebody' AS body")
    for step in (made.programme.plan, made.programme.apply, lambda: _abandon(made.programme)):
        with pytest.raises((WorldChanged, Refused)):
            step()
    assert [("dear to somebody",)] == made.at_source("SELECT body FROM domicile.houses")


def test_p4_a_table_in_a_schema_of_our_name_hides_from_no_plan(world: Worlds) -> None:
    """The catalogue leaves our staging out; so there must be nothing else in it."""
    made = world(SCHEMA + "CREATE SCHEMA domicile; CREATE TABLE domicile.side AS SELECT * FROM person", RULES)
    with pytest.raises(WorldChanged, match="schema domicile"):
        made.programme.plan()


def _abandon(programme: Programme) -> None:
    with programme.opened() as run:
        run.abandon()


def test_a_run_of_ours_is_given_up_and_begun_anew(
    world: Worlds, stop_at: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(SCHEMA, RULES)
    made.programme.plan()
    stop_at("_freeze")
    with pytest.raises(Killed):
        made.programme.apply()
    monkeypatch.undo()
    _abandon(made.programme)
    assert [(None,)] == made.at_source("SELECT to_regnamespace('domicile')")
    made.programme.finish()


# -- one plan, one fence ---------------------------------------------------------------------------------------------


def test_p4_under_a_standing_fence_no_other_plan_is_made(
    world: Worlds, stop_at: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fence knows the movers of its plan; another plan's would stay behind under a certificate."""
    made = world(SCHEMA, RULES)
    made.programme.plan()
    stop_at("_freeze")
    with pytest.raises(Killed):
        made.programme.apply()
    monkeypatch.undo()
    with pytest.raises(Refused, match="abandon"):
        made.programme.plan()
    made.programme.clear_again()


def test_p4_a_plan_put_in_place_by_hand_takes_over_no_fence(
    world: Worlds, stop_at: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world(SCHEMA, RULES)
    made.programme.plan()
    other = make(
        made.programme.folder.parent / "twin", RULES, source=made.source, homes={"CA": made.home}, unknown="CA"
    )
    other.plan()
    stop_at("_freeze")
    with pytest.raises(Killed):
        made.programme.apply()
    monkeypatch.undo()
    for name in ("domicile.yaml", ".domicile/plan.json"):
        (made.programme.folder / name).write_bytes((other.folder / name).read_bytes())
    with pytest.raises(WorldChanged):
        made.programme.apply()
    assert 40 == len(_rows(made))


def test_p5_a_plan_file_that_was_lost_on_the_way_comes_back(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.clear()
    plan = made.programme.workspace.plan
    before = plan.read_bytes()
    plan.unlink()
    made.programme.apply(yes=True)
    assert before == plan.read_bytes()
    assert 0 == made.programme.audit().returncode


# -- given up is over ------------------------------------------------------------------------------------------------


def test_p2_approvals_of_a_run_that_was_given_up_erase_nothing(world: Worlds) -> None:
    """The fence was lifted: what was compared and approved under it proves nothing of today."""
    made = world(SCHEMA, RULES)
    made.programme.clear()
    _abandon(made.programme)
    made.at_source("INSERT INTO note VALUES (1000, 2, 'written after the fence was lifted')")
    before = _rows(made)
    for _ in range(2):
        with pytest.raises(Refused, match="given up"):
            made.programme.apply(yes=True)
    with pytest.raises(Refused):
        made.programme.plan()
    assert before == _rows(made)
    assert [(None,)] == made.at_source("SELECT to_regnamespace('domicile')")


def test_p5_who_got_no_lock_for_the_fence_plans_anew(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan that a fence is to be stood for is noted before it: where none came to stand, it binds nobody."""
    made = world(SCHEMA, RULES)
    made.programme.plan()
    monkeypatch.setattr(source, "FENCE_TRIES_MAX", 1)
    with psycopg.connect(made.source) as writer:
        writer.execute("UPDATE person SET market = market")
        with pytest.raises(Unreachable):
            made.programme.apply()
    made.at_source("INSERT INTO person (id, market) VALUES (1000, 'CA')")
    made.programme.plan()
    made.programme.apply(until=Stage.TRANSFER)
    assert [(11,)] == made.at_home("SELECT count(*) FROM person WHERE market = 'CA'")


def test_p1_a_home_that_another_run_filled_is_refused(world: Worlds, tmp_path: Path) -> None:
    """Its rows and marks are of another closure: a person who stays by now would live on there, unnoticed."""
    made = world(SCHEMA, RULES)
    made.programme.clear()
    _abandon(made.programme)
    made.at_source("UPDATE person SET market = 'SG' WHERE id = 20")
    again = make(tmp_path / "again", RULES, source=made.source, homes={"CA": made.home})
    with pytest.raises(Refused, match="another run"):
        again.plan()
    made.at_home("DROP TABLE note, person; DROP SCHEMA domicile CASCADE")
    again.finish()
    assert [(9,)] == made.at_home("SELECT count(*) FROM person")


# -- who may approve -------------------------------------------------------------------------------------------------


def test_p2_one_key_under_two_names_is_one_approver(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    folder = made.programme.folder
    (folder / "monitor.key").unlink()
    save_signer(folder / "monitor.key", Signer(name="monitor", seed=load_signer(folder / "operator.key").seed))
    twice = make(folder, RULES, source=made.source, homes={"CA": made.home})
    with pytest.raises(BadFile, match="same key"):
        twice.plan()


def test_p2_the_engines_key_is_nobodys(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.workspace.make()
    seed = load_signer(made.programme.folder / "monitor.key").seed
    save_signer(made.programme.workspace.key, Signer(name="domicile/attack", seed=seed))
    with pytest.raises(BadFile, match="engine"):
        made.programme.plan()


def test_p2_keys_that_differ_approve(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.plan()
    with pytest.raises(Waiting):
        made.programme.apply(until=Stage.CLEAR)
    with pytest.raises(DomicileError):
        made.programme.apply(yes=True)
    made.programme.approve()
    made.programme.apply(until=Stage.ERASE, yes=True)
    assert 20 == len(_rows(made))


# -- on the disk -----------------------------------------------------------------------------------------------------


def test_p5_plan_and_engine_key_are_on_the_disk_by_name(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the folder's own fsync a loss of power takes a file that was written, and no apply could go on."""
    synced: list[int] = []
    sync = os.fsync

    def and_note(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        sync(handle)

    monkeypatch.setattr(os, "fsync", and_note)
    made = world(SCHEMA, RULES)
    made.programme.plan()
    folder = made.programme.workspace.folder
    for file in (made.programme.workspace.plan, made.programme.workspace.key):
        written = synced.index(file.stat().st_ino)
        assert folder.stat().st_ino in synced[written:]
    assert folder.parent.stat().st_ino in synced


# -- what is brought again once an erasure was announced --------------------------------------------------------------


def test_p1_what_is_brought_again_after_an_erasure_began_is_no_other_transfer(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice that was mended has another digest; stated behind an erasure, it would belie what that rests on."""
    made = world(SCHEMA, RULES)
    made.programme.clear()
    with monkeypatch.context() as patched:
        patched.setattr(Clearing, "_erase_group", _end)
        with pytest.raises(Killed):
            made.programme.apply(yes=True)

    def mended(*given: object, **more: object) -> tuple[Measure, ...]:
        return tuple(replace(one, digest=Digest("0" * 64)) for one in transfer(*given, **more))  # type: ignore[arg-type]

    monkeypatch.setattr("domicile.run.at_once.transfer", mended)
    made.programme.apply(yes=True)
    with made.programme.opened() as run:
        kinds = [one.predicate.KIND for one in run.ledger.statements()]
    assert kinds.index("cutover/v1") > max(place for place, kind in enumerate(kinds) if kind == "transfer/v1")
    done = made.programme.audit()
    assert 0 == done.returncode, done.stdout


def _end(*_: object) -> None:
    raise Killed
