"""What is erased of objects is what was compared, logged and approved, and nothing that came in its place."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from domicile.approving import approve
from domicile.errors import NoClearance, Waiting
from domicile.events import silent
from domicile.evidence.predicates import ClearancePredicate, ErasurePredicate, Phase
from domicile.objects.book import Standing
from domicile.objects.moving import compare_ends, erasable_of, pairs_of
from domicile.stores.objects import Versioning
from domicile.stores.postgres.source import PostgresSource
from tests.attack.programme import allow_one, call_lost
from tests.objects.benches import contents, filled
from tests.objects.conftest import Folders, Made, keys


def test_p1_p2_a_later_comparison_changes_nothing_of_what_may_be_erased(tmp_path: Path) -> None:
    move = filled(tmp_path, versioning=Versioning.OFF)
    move.at_home.versioning = Versioning.OFF
    ends = move.ends()
    (pair,) = move.bring(ends)
    assert ((pair.slice.id, pair.home.digest),) == erasable_of(ends)
    for bucket in (move.at_source, move.at_home):
        move.put("videos/of-4", b"other", bucket=bucket)
    compare_ends(ends, pinned=True, listener=silent)
    assert pair.home.digest != pairs_of(ends)[0].home.digest
    assert ((pair.slice.id, pair.home.digest),) == erasable_of(ends)
    move.erase(ends)
    assert [b"other"] == contents(move.at_source)["videos/of-4"]
    assert {Standing.GONE: 2, Standing.HELD: 1} == ends.book.standings("media")


def test_p1_p2_what_came_after_the_approval_is_held_though_both_ends_have_it(folders: Made) -> None:
    made = folders()
    made.programme.plan()
    made.programme.clear_again()
    other = made.put("u/4/letter.txt", b"in its place, person-4@example.org")
    assert 0 != made.programme.command("verify").returncode
    (made.home / "u/4/letter.txt").write_bytes(other.read_bytes())
    assert 0 == made.programme.command("verify").returncode
    with pytest.raises(Waiting, match="1 objects"):
        made.programme.apply(yes=True)
    assert b"in its place, person-4@example.org" == other.read_bytes()


def test_p2_a_book_that_is_not_what_was_cleared_erases_nothing_and_is_approved_anew(folders: Made) -> None:
    made = folders()
    made.programme.plan()
    made.programme.clear_again()
    before = keys(made.media)
    with sqlite3.connect(made.programme.workspace.folder / "objects.db") as book:
        book.execute("UPDATE object SET digests = ? WHERE leaves", (json.dumps(["0" * 64]),))
    book.close()
    with pytest.raises(NoClearance, match="is not what was cleared"):
        made.programme.apply(yes=True)
    assert before == keys(made.media)
    made.programme.clear_again()
    made.programme.apply(yes=True)
    assert "erased-verified" == made.told()["objects"]
    assert 0 == made.programme.audit().returncode


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("approvers", [("operator", "monitor"), ("monitor",)])
def test_p2_p7_objects_that_are_told_gone_are_not_announced_anew_once_a_key_is_called_lost(
    folders: Made, monkeypatch: pytest.MonkeyPatch, approvers: tuple[str, ...]
) -> None:
    """All was told, and not yet noted as done. The other's approval is enough; else a new clearance is told.

    Either way nothing more is said of what is gone.
    """
    made = folders()
    allow_one(made.programme)
    made.programme.plan()
    with pytest.raises(Waiting):
        made.programme.apply()
    _approve(made, *approvers)
    with monkeypatch.context() as patched:
        patched.setattr(PostgresSource, "remaining", _kill)
        with pytest.raises(Killed):
            made.programme.apply(yes=True)
    before = [one for one in made.statements() if isinstance(one, ErasurePredicate)]
    assert ["media", "media"] == [one.dataset for one in before][-2:]
    assert [Phase.INTENT, Phase.OUTCOME] == [one.phase for one in before][-2:]
    call_lost(made.programme, "monitor")
    if "operator" not in approvers:
        _approve(made, "operator")
    made.programme.apply(yes=True)
    assert before == [one for one in made.statements() if isinstance(one, ErasurePredicate)]
    assert 3 - len(approvers) == sum(isinstance(one, ClearancePredicate) for one in made.statements())
    audited = made.programme.audit()
    if "operator" in approvers:
        assert 0 == audited.returncode, audited.stdout
    else:
        assert "without what a lost key signed, has 0 approvals" in audited.stdout


def _kill(_: PostgresSource) -> int:
    raise Killed


def _approve(made: Folders, *names: str) -> None:
    with made.programme.opened() as opened:
        for name in names:
            approve(opened, made.programme.folder / f"{name}.key", name)
