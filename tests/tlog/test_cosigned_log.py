"""A log that others cosign: appended, then cosigned, then published; failed at every write, sync and rename (P5)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest

from domicile.errors import EvidenceFault, HostFault
from domicile.evidence.keys import Signer
from domicile.evidence.tlog.checkpoint import open_checkpoint
from domicile.evidence.tlog.cosignature import cosign, cosigned, cosigner_of
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.note import NoteSignature, parse_note
from domicile.evidence.tlog.proof import check_proof, parse_proof
from tests.tlog.test_merkle import mth, numbered

SIGNER = Signer(name="log.example/one", seed=bytes(range(32)))
WITNESS = Signer(name="w.example", seed=bytes(range(1, 33)))
NEW = [b"new %d" % number for number in range(7)]


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it happens."""


def cosignatures(log: Log) -> list[NoteSignature]:
    return [cosign(parse_note(log.head_bytes).text, WITNESS, time=1_700_000_000)]


def begun(folder: Path, size: int, *, shared: bool = True) -> Log:
    log = Log.create(folder, SIGNER, cosigned=shared)
    log.append(numbered(size))
    if shared:
        log.publish(cosignatures(log))
    return log


def published(folder: Path) -> int:
    """The size that a reader sees; all of it is there."""
    return Log.open(folder, SIGNER.verifier).size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_nothing_is_published_before_it_is_cosigned(folder: Path) -> None:
    log = Log.create(folder, SIGNER, cosigned=True)
    assert not (folder / "checkpoint").exists()
    assert Log.exists(folder)
    log.append([b"a", b"b"])
    assert (2, 0, False) == (log.size, log.published_size, log.is_published)
    assert not (folder / "checkpoint").exists()
    with pytest.raises(EvidenceFault, match="is missing"):
        Log.open(folder, SIGNER.verifier)
    for what in (log.files, lambda: log.receipt(1)):
        with pytest.raises(EvidenceFault, match="not published yet"):
            what()
    log.publish(cosignatures(log))
    assert (2, True, 2) == (log.published_size, log.is_published, published(folder))
    log.append([b"c"])
    assert (3, 2, 2) == (log.size, log.published_size, published(folder))
    assert 2 == check_proof(parse_proof(log.receipt(1)), entry=b"b", verifier=SIGNER.verifier).size
    with pytest.raises(EvidenceFault, match="not published yet"):
        log.receipt(2)


def test_a_published_head_bears_the_cosignatures_and_is_read_like_any_other(folder: Path) -> None:
    log = begun(folder, 5)
    note = parse_note((folder / "checkpoint").read_bytes())
    assert {cosigner_of(WITNESS): 1_700_000_000} == cosigned(note, [cosigner_of(WITNESS)])
    assert SIGNER.name == note.signatures[0].name
    assert mth(numbered(5)) == open_checkpoint(log.checkpoint_bytes, SIGNER.verifier).root
    again = Log.open(folder, SIGNER, cosigned=True)
    assert (log.head_bytes, log.checkpoint_bytes) == (again.head_bytes, again.checkpoint_bytes)
    assert log.files() == again.files() == Log.open(folder, SIGNER.verifier).files()


def test_a_head_that_a_witness_may_have_seen_is_never_signed_otherwise(folder: Path) -> None:
    """Killed between append and publish the log is opened at the head that witnesses were asked about."""
    log = begun(folder, 3)
    log.append(NEW)
    again = Log.open(folder, SIGNER, cosigned=True)
    assert (10, 3, log.head_bytes) == (again.size, again.published_size, again.head_bytes)
    again.publish(cosignatures(again))
    assert 10 == published(folder)


def test_what_was_not_cosigned_is_still_there_when_nobody_has_to_any_more(folder: Path) -> None:
    begun(folder, 3).append(NEW)
    alone = Log.open(folder, SIGNER)
    assert (10, False) == (alone.size, alone.is_published)
    alone.append([b"one more"])
    assert (11, True, 11) == (alone.size, alone.is_published, published(folder))
    shared = Log.open(folder, SIGNER, cosigned=True)
    assert 11 == shared.size
    shared.append([b"and one"])
    shared.publish(cosignatures(shared))
    assert 12 == published(folder)


def test_an_altered_pending_head_is_refused(folder: Path) -> None:
    begun(folder, 3).append(NEW)
    pending = folder.with_name("log.pending")
    whole = pending.read_bytes()
    for place in range(0, len(whole), 7):
        pending.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(EvidenceFault):
            Log.open(folder, SIGNER, cosigned=True)
    pending.write_bytes(whole)
    (folder / "tile/entries/000.p/10").unlink()
    with pytest.raises(EvidenceFault, match="is missing"):
        Log.open(folder, SIGNER, cosigned=True)


def test_a_published_head_that_is_not_the_beginning_of_the_pending_one_is_refused(folder: Path) -> None:
    begun(folder, 3).append(NEW)
    other = begun(folder.parent / "other", 2)
    other.append([b"2, but another"])
    other.publish(cosignatures(other))
    (folder / "checkpoint").write_bytes(other.checkpoint_bytes)
    with pytest.raises(EvidenceFault, match="not those of its checkpoint"):
        Log.open(folder, SIGNER, cosigned=True)


def test_a_log_whose_key_changes_before_witnesses_know_it_is_opened_with_the_new_one(folder: Path) -> None:
    """The published head bears the old key, the pending one the new; nothing is lost until a quorum takes it."""
    log = begun(folder, 3)
    later = Signer(name=SIGNER.name, seed=bytes(range(9, 41)))
    log.hand_over(NEW, later)
    again = Log.open(folder, later, cosigned=True)
    assert (10, 3, False) == (again.size, again.published_size, again.is_published)
    with pytest.raises(EvidenceFault):
        Log.open(folder, SIGNER, cosigned=True)
    again.publish(cosignatures(again))
    assert 10 == Log.open(folder, later.verifier).size


def test_two_writers_do_not_fork_a_cosigned_log(folder: Path) -> None:
    one = begun(folder, 1)
    two = Log.open(folder, SIGNER, cosigned=True)
    one.append([b"one"])
    for what in (lambda: two.append([b"two"]), two.publish):
        with pytest.raises(EvidenceFault, match="grew or changed"):
            what()
    one.publish(cosignatures(one))
    with pytest.raises(EvidenceFault, match="grew or changed"):
        two.append([b"two"])


def test_partial_tiles_stay_until_what_replaces_them_is_published(folder: Path) -> None:
    log = begun(folder, 250)
    log.append(numbered(260)[250:])
    assert 250 == published(folder)
    log.publish(cosignatures(log))
    assert 260 == published(folder)
    assert not (folder / "tile/0/000.p").exists()


# ----------------------------------------------------------------------------------------- numbered effects
@dataclass(slots=True)
class Effects:
    """Every write, sync, rename, folder made and removed, numbered; at number `at` it faults, a write half done."""

    at: int
    fault: Callable[[], BaseException]
    done: int = 0

    def step(self, effect: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.done += 1
        if self.done > self.at:
            raise self.fault()
        return effect(*args, **kwargs)

    def wrapped(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.step(effect, *args, **kwargs)

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        opened = Path.open

        def opening(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            found = opened(path, mode, *args, **kwargs)
            return Writing(found, self) if mode == "wb" else found

        patch.setattr(Path, "open", opening)
        patch.setattr("domicile.evidence.tlog.log.os.fsync", self.wrapped(os.fsync))
        patch.setattr("domicile.evidence.tlog.log.shutil.rmtree", self.wrapped(shutil.rmtree))
        for name in ("mkdir", "replace"):
            patch.setattr(Path, name, self.wrapped(getattr(Path, name)))


class Writing:
    """A file whose write is an effect, and may come to half of it."""

    def __init__(self, inner: Any, effects: Effects) -> None:
        self.inner = inner
        self.effects = effects

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write(self, data: bytes) -> int:
        if self.effects.done == self.effects.at:
            self.inner.write(data[: len(data) // 2])
            self.inner.flush()
        written: int = self.effects.step(self.inner.write, data)
        return written


FAULTS: dict[str, Callable[[], BaseException]] = {
    "killed": Killed,
    "no space": lambda: OSError(28, "No space left on device"),
}


@pytest.mark.crash
@pytest.mark.parametrize(
    ("shared", "start", "way"),
    [(True, 3, "killed"), (True, 252, "killed"), (True, 252, "no space"), (False, 252, "killed")],
)
def test_p5_failed_at_any_effect_the_tree_is_that_of_its_entries(
    folder: Path, shared: bool, start: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(folder, start, shared=shared)
    entries = [*numbered(start), *NEW]
    seen: set[tuple[int, int]] = set()
    finished = False
    for at in range(200):
        trial = folder.parent / f"trial{at}" / "log"
        shutil.copytree(folder, trial)
        pending = folder.with_name("log.pending")
        if pending.exists():
            shutil.copy(pending, trial.with_name("log.pending"))
        log = Log.open(trial, SIGNER, cosigned=shared)
        asked = False
        with monkeypatch.context() as patch, suppress(Killed, HostFault):
            Effects(at=at, fault=FAULTS[way]).patch(patch)
            log.append(NEW)
            asked = True  # from here on a witness may know this head
            if shared:
                log.publish(cosignatures(log))
            finished = True
        again = Log.open(trial, SIGNER, cosigned=shared)
        assert again.size in (({start + 7}) if asked else {start, start + 7})
        assert mth(entries[: again.size]) == again.root
        assert entries[: again.size] == list(again.entries())
        shown = Log.open(trial, SIGNER.verifier)
        assert shown.size in {start, again.size}
        assert mth(entries[: shown.size]) == shown.root
        if shown.size > start:
            assert asked or not shared
        seen.add((again.size, shown.size))
        _goes_on(log, again, shared=shared)
        if finished:
            break
    assert finished
    assert {(start, start), (start + 7, start + 7)} <= seen
    assert shared == ((start + 7, start) in seen)


def _goes_on(log: Log, again: Log, *, shared: bool) -> None:
    """After the failure the log that is opened again goes on; the one in memory goes on as well, or asks for that."""
    more = again.size
    with suppress(EvidenceFault):
        log.append([b"by the one in memory"])
        more = log.size
    last = Log.open(again._directory, SIGNER, cosigned=shared)
    assert more == last.size
    last.append([b"another, not the one that was cut off"])
    if shared:
        last.publish(cosignatures(last))
    assert more + 1 == last.size == published(last._directory)
