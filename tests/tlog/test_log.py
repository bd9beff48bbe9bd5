"""The log: killed anywhere it has the old or the new state (P5), and one altered byte is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domicile.errors import EvidenceFault, HostFault
from domicile.evidence.keys import Signer
from domicile.evidence.publiclog.place import Folder
from domicile.evidence.tlog.checkpoint import open_checkpoint
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import is_consistent
from domicile.evidence.tlog.proof import Proof, check_proof, format_proof, parse_proof
from tests.tlog.test_merkle import mth, numbered

SIGNER = Signer(name="log.example/one", seed=bytes(range(32)))
OTHER = Signer(name="log.example/two", seed=bytes(32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


def filled(folder: Path, *batches: int) -> Log:
    log = Log.create(folder, SIGNER)
    for size in batches:
        log.append(numbered(log.size + size)[log.size :])
    return log


@pytest.mark.parametrize("batches", [(1,), (5, 3), (255, 1), (256,), (250, 10), (256, 256, 1), (300, 1, 1, 210)])
def test_a_log_is_read_back_with_the_root_of_the_definition(folder: Path, batches: tuple[int, ...]) -> None:
    written = filled(folder, *batches)
    log = Log.open(folder, SIGNER.verifier)
    entries = numbered(sum(batches))
    assert mth(entries) == log.root == written.root == open_checkpoint(log.checkpoint_bytes, SIGNER.verifier).root
    assert entries == list(log.entries()) == list(written.entries())
    assert log.files() == written.files()
    assert log.files() == {path: (folder / path).read_bytes() for path in log.files()}


def test_appending_returns_the_places_and_finds_by_digest(folder: Path) -> None:
    log = Log.create(folder, SIGNER)
    assert [0, 1] == log.append([b"a", b"b"])
    assert [2, 3] == log.append([b"c", b"a"])
    assert [] == log.append([])
    digest = hashlib.sha256(b"c").hexdigest()
    for found in (log, Log.open(folder, SIGNER)):
        assert (2, None, b"c") == (found.find(digest), found.find("0" * 64), found.entry(2))
        assert found.find(hashlib.sha256(b"a").hexdigest()) == 0
        for index in (-1, 4):
            with pytest.raises(EvidenceFault):
                found.entry(index)


def test_every_checkpoint_is_consistent_with_the_ones_before(folder: Path) -> None:
    log = Log.create(folder, SIGNER)
    heads = [open_checkpoint(log.checkpoint_bytes, SIGNER.verifier)]
    for size in (1, 5, 249, 1, 30):
        log.append(numbered(log.size + size)[log.size :])
        heads.append(open_checkpoint(log.checkpoint_bytes, SIGNER.verifier))
    for old in heads:
        path = log.consistency_proof(old.size)
        assert is_consistent(old=old.size, old_root=old.root, new=log.size, new_root=log.root, path=path)


def test_a_receipt_is_checked_offline_and_holds_for_its_entry_only(folder: Path) -> None:
    log = filled(folder, 300)
    for index in (0, 255, 256, 299):
        receipt = parse_proof(log.receipt(index))
        head = check_proof(receipt, entry=str(index).encode(), verifier=SIGNER.verifier)
        assert (300, log.root) == (head.size, head.root)
        with pytest.raises(EvidenceFault, match="not in the log"):
            check_proof(receipt, entry=b"another", verifier=SIGNER.verifier)
        with pytest.raises(EvidenceFault, match="not signed by"):
            check_proof(receipt, entry=str(index).encode(), verifier=OTHER.verifier)


def test_a_flipped_byte_of_a_receipt_gives_only_our_error(folder: Path) -> None:
    receipt = filled(folder, 9).receipt(4)
    for place in range(len(receipt)):
        bent = receipt[:place] + bytes([receipt[place] ^ 4]) + receipt[place + 1 :]
        with pytest.raises(EvidenceFault):
            check_proof(parse_proof(bent), entry=b"4", verifier=SIGNER.verifier)


def test_a_receipt_has_the_form_of_the_specification(folder: Path) -> None:
    log = filled(folder, 2)
    lines = log.receipt(1).decode().split("\n")
    assert ["c2sp.org/tlog-proof@v1", "index 1", "", "log.example/one", "2"] == [*lines[:2], *lines[3:6]]
    extra = Proof(index=0, path=(), checkpoint=log.checkpoint_bytes, extra=b"more")
    assert parse_proof(format_proof(extra)) == extra
    assert b"\nextra bW9yZQ==\nindex 0\n\n" in format_proof(extra)


# ----------------------------------------------------------------------------------------- tampering
def every_file(folder: Path) -> list[Path]:
    log = Log.open(folder, SIGNER)
    return [folder / path for path in log.files()]


def test_one_altered_byte_in_any_file_is_refused(folder: Path) -> None:
    filled(folder, 40)
    for path in every_file(folder):
        whole = path.read_bytes()
        for place in range(0, len(whole), 1 + len(whole) // 60):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(EvidenceFault):
                Log.open(folder, SIGNER)
        path.write_bytes(whole)
    assert Log.open(folder, SIGNER).size == 40


def test_a_missing_or_cut_file_is_refused(folder: Path) -> None:
    filled(folder, 300)
    for path in every_file(folder):
        whole = path.read_bytes()
        for change in (
            path.unlink,
            lambda p=path, w=whole: p.write_bytes(w[:-1]),
            lambda p=path, w=whole: p.write_bytes(w + b"\0"),
        ):
            change()
            with pytest.raises(EvidenceFault):
                Log.open(folder, SIGNER)
            path.write_bytes(whole)
    assert Log.open(folder, SIGNER).size == 300


def test_a_log_put_back_from_an_old_copy_is_refused_by_what_the_journal_remembers(folder: Path) -> None:
    log = filled(folder, 5)
    old = log.checkpoint_bytes
    log.append([b"6"])
    (folder / "checkpoint").write_bytes(old)
    assert Log.open(folder, SIGNER).size == 5
    with pytest.raises(EvidenceFault, match="the journal knows 6"):
        Log.open(folder, SIGNER, size_min=6)


def test_an_entry_altered_after_opening_is_not_handed_out(folder: Path) -> None:
    log = filled(folder, 300)
    path = folder / "tile/entries/000"
    path.write_bytes(path.read_bytes().replace(b"\x00\x0277", b"\x00\x0278"))
    with pytest.raises(EvidenceFault, match="was altered"):
        log.entry(77)
    assert log.entry(78) == b"78"


def test_another_key_opens_nothing_and_a_reader_appends_nothing(folder: Path) -> None:
    filled(folder, 1)
    with pytest.raises(EvidenceFault):
        Log.open(folder, OTHER)
    with pytest.raises(EvidenceFault, match="reading only"):
        Log.open(folder, SIGNER.verifier).append([b"x"])
    with pytest.raises(EvidenceFault, match="one already"):
        Log.create(folder, SIGNER)
    with pytest.raises(EvidenceFault, match="is missing"):
        Log.open(folder.parent / "none", SIGNER)


def test_two_writers_do_not_fork_the_log(folder: Path) -> None:
    one = filled(folder, 1)
    two = Log.open(folder, SIGNER)
    one.append([b"one"])
    with pytest.raises(EvidenceFault, match="grew or changed"):
        two.append([b"two"])
    assert [b"0", b"one"] == list(Log.open(folder, SIGNER).entries())


def test_an_entry_over_the_limit_changes_nothing(folder: Path) -> None:
    log = filled(folder, 1)
    before = log.files()
    with pytest.raises(EvidenceFault, match="longer than 65535"):
        log.append([b"fine", bytes(65_536)])
    assert before == log.files() == Log.open(folder, SIGNER).files()
    log.append([bytes(65_535)])


# ----------------------------------------------------------------------------------------- crashes
class Killed(BaseException):
    """Stands for SIGKILL: nothing after it happens."""


def crashing(monkeypatch: pytest.MonkeyPatch, after: int, fault: Callable[[], BaseException]) -> list[str]:
    """Let `after` effects on the disk happen and fault at the next; the list tells what happened."""
    done: list[str] = []

    def wrap(name: str, effect: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if len(done) >= after:
                raise fault()
            done.append(name)
            return effect(*args, **kwargs)

        return step

    monkeypatch.setattr("domicile.evidence.tlog.log.os.fsync", wrap("fsync", os.fsync))
    monkeypatch.setattr("domicile.evidence.tlog.log.shutil.rmtree", wrap("rmtree", shutil.rmtree))
    for name in ("mkdir", "replace"):
        monkeypatch.setattr(Path, name, wrap(name, getattr(Path, name)))
    return done


@pytest.mark.crash
@pytest.mark.parametrize("start", [3, 250, 255])
def test_p5_killed_at_any_effect_of_an_append_the_log_is_old_or_new(
    folder: Path, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(folder, start)
    new = [f"new {n}".encode() for n in range(7)]
    seen = set()
    finished = False
    for after in range(200):
        trial = folder.parent / f"trial{after}"
        shutil.copytree(folder, trial)
        log = Log.open(trial, SIGNER)
        with monkeypatch.context() as patch:
            crashing(patch, after, Killed)
            try:
                log.append(new)
                finished = True
            except Killed:
                finished = False
        again = Log.open(trial, SIGNER)
        assert again.size in (start, start + 7)
        assert list(again.entries()) == [*numbered(start), *new][: again.size]
        seen.add(again.size)
        again.append([b"another, not the one that was cut off"])
        assert Log.open(trial, SIGNER).size == again.size
        if finished:
            break
    assert finished
    assert seen == {start, start + 7}


@pytest.mark.crash
def test_p5_a_full_disk_leaves_the_old_log_in_memory_and_on_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(folder, 3)
    for after in range(4):
        with monkeypatch.context() as patch:
            crashing(patch, after, lambda: OSError(28, "No space left on device"))
            with pytest.raises(HostFault, match="No space left"):
                log.append([b"x"])
        assert (3, 3) == (log.size, Log.open(folder, SIGNER).size)
    assert [3] == log.append([b"x"])


@pytest.mark.crash
def test_p5_kill_9_while_appending_leaves_a_log_that_opens_and_continues(folder: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from domicile.evidence.keys import Signer
        from domicile.evidence.tlog.log import Log
        signer = Signer(name="log.example/one", seed=bytes(range(32)))
        folder = Path(sys.argv[1])
        log = Log.open(folder, signer) if (folder / "checkpoint").exists() else Log.create(folder, signer)
        print("up", flush=True)
        while log.size < 100_000:
            log.append([str(n).encode() for n in range(log.size, log.size + 3)])
            print(log.size, flush=True)
    """)
    said = 0
    for rounds in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert child.stdout is not None
        for _ in range(2 + 11 * rounds):
            line = child.stdout.readline().strip()
            said = int(line) if line.isdecimal() else said
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        child.stdout.close()
        child.wait()
        said = max([said, *(int(word) for word in rest if word.isdecimal())])
        log = Log.open(folder, SIGNER, size_min=said)
        assert numbered(log.size) == list(log.entries())
        assert log.size - said in (0, 3)


def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(folder: Path) -> None:
    """Whoever may write the folder would stop every command of the engine, and every monitor, without a word."""
    log = filled(folder, 300)
    for name in ("checkpoint", "tile/entries/000", "tile/entries/001.p/44", "tile/0/000"):
        (folder / name).rename(folder / "aside")
        os.mkfifo(folder / name)
        with pytest.raises(HostFault, match="is no file"):
            Log.open(folder, SIGNER)
        with pytest.raises(HostFault, match="is no file"):
            Folder(folder).read(name, bytes_max=1_000_000)
        (folder / name).unlink()
        (folder / "aside").rename(folder / name)
    os.mkfifo(folder.with_name("log.pending"))
    with pytest.raises(HostFault, match="is no file"):
        Log.open(folder, SIGNER)
    assert log.root == Log.open(folder, SIGNER.verifier).root
