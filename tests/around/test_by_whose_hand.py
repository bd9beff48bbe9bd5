"""Whose hand took away what lay around the server: what is called ours has to be told of by the log."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domicile.errors import NotPermitted, Waiting
from domicile.evidence.ledger import Recorded
from domicile.run import stating
from domicile.stores.around import Boundary, Custody
from domicile.stores.around.archive import Archive
from domicile.stores.around.folder import Folder
from domicile.stores.postgres.copies import Treatment
from tests.around.conftest import Surround

COPY = "dumps/dump:nightly.dump"


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("", False),
        ("1, gone", True),
        ("1", True),  # the run was broken off between the removal and its outcome
        ("1, 0", False),  # it couldn't be removed
        ("1, 0, gone", True),
        ("1, gone, 2, 0", False),
    ],
)
def test_p11_a_copy_went_by_our_hand_if_the_log_says_so(said: str, ours: bool) -> None:
    log = [
        Recorded(
            index=index,
            sha256="",
            keyid="",
            predicate=stating.removal_statement("plan", COPY, things, done=word == "gone"),
        )
        for index, word in enumerate(filter(None, said.split(", ")))
        for things in [0 if word == "gone" else int(word)]
    ]
    assert ((COPY,) if ours else ()) == stating.removed(log)


def test_p11_a_dump_that_we_could_not_remove_went_by_somebody_elses_hand(surrounded: Surround, tmp_path: Path) -> None:
    made = surrounded(wal=None)
    path = made.dump("nightly.dump", "--format=c")
    os.link(path, tmp_path / "second-name.dump")
    made.world.programme.clear()
    with pytest.raises(Waiting, match="another hard link"):
        made.world.programme.apply(yes=True)
    path.unlink()
    made.world.programme.apply(yes=True)
    assert "erased-unverified" == made.told()[COPY]
    assert 0 == made.world.programme.audit().returncode


def test_p11_what_was_refused_in_the_middle_went_by_somebody_elses_hand(
    surrounded: Surround, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = surrounded(wal=None)
    path = made.dump("nightly.dump", "--format=c")
    made.world.programme.clear()
    path.rename(made.dumps / "renamed since.dump")

    def refuse(*_: object) -> None:
        raise NotPermitted("refused")

    with monkeypatch.context() as patched:
        patched.setattr(Folder, "remove", refuse)
        with pytest.raises(NotPermitted, match="refused"):
            made.world.programme.apply(yes=True)
    (made.dumps / "renamed since.dump").unlink()
    made.world.programme.apply(yes=True)
    told = made.told()
    assert "erased-unverified" == told[COPY]  # never announced: it was renamed before
    assert "erased-unverified" == told["dumps/other-files"]
    assert 0 == made.world.programme.audit().returncode


def test_p11_an_archive_without_old_segments_is_not_said_to_be_emptied_by_us(tmp_path: Path) -> None:
    archive = Archive("wal", tmp_path, system=1, custody=Custody(by_engine=True))
    edge = Boundary(erased_at=datetime(2026, 1, 1, tzinfo=UTC), segment="000000010000000000000009")
    outcome, _ = archive.treat(edge, announce=lambda *_: None)
    assert Treatment.GONE is outcome.treatment
