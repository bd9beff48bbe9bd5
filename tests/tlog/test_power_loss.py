"""The log when the power goes: what was appended or published is there, and the tree is whole (P5, P7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from domicile.evidence.tlog.log import Log
from tests.powerloss import Disk, Remains
from tests.tlog.test_cosigned_log import NEW, SIGNER, begun, cosignatures
from tests.tlog.test_merkle import mth, numbered


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "disk").mkdir()
    return Disk(tmp_path / "disk")


def whole(left: Remains, place: Path, entries: list[bytes], *, shared: bool) -> Log:
    """What a power cut left is opened, holds all that was promised, and nothing that is not of the tree."""
    appended, published = left.promised
    folder = left.lay(place) / "log"
    log = Log.open(folder, SIGNER, size_min=appended, cosigned=shared)
    assert entries[: log.size] == list(log.entries()), left.moment
    assert mth(entries[: log.size]) == log.root
    if published is not None:
        assert published <= Log.open(folder, SIGNER.verifier).size, left.moment
    return log


@pytest.mark.crash
@pytest.mark.parametrize(("shared", "start"), [(True, 3), (True, 252), (False, 3), (False, 252)])
def test_p5_power_lost_at_any_moment_of_an_append_takes_nothing_that_was_promised(
    disk: Disk, tmp_path: Path, shared: bool, start: int
) -> None:
    log = begun(disk.root / "log", start, shared=shared)
    entries = [*numbered(start), *NEW, b"one more"]
    with disk.watched():
        disk.promise((start, start))
        for batch in (NEW, [b"one more"]):
            log.append(batch)
            disk.promise((log.size, log.size if not shared else log.published_size))
            if shared:
                log.publish(cosignatures(log))
                disk.promise((log.size, log.size))
    sizes = set()
    for number, left in enumerate(disk.remains):
        again = whole(left, tmp_path / str(number), entries, shared=shared)
        sizes.add((again.size, again.published_size))
        again.append([b"another"])
    assert {(start, start), (start + 7, start + 7), (start + 8, start + 8)} <= sizes
    assert shared == ((start + 7, start) in sizes)


@pytest.mark.crash
@pytest.mark.parametrize("shared", [True, False])
def test_p5_a_log_that_was_begun_just_before_the_power_went_is_there(disk: Disk, tmp_path: Path, shared: bool) -> None:
    with disk.watched():
        log = Log.create(disk.root / "evidence" / "log", SIGNER, cosigned=shared)
        disk.promise(0)
        log.append(NEW)
        disk.promise(7)
    for number, left in enumerate(one for one in disk.remains if one.promised is not None):
        folder = left.lay(tmp_path / str(number)) / "evidence" / "log"
        again = Log.open(folder, SIGNER, size_min=left.promised, cosigned=shared)
        assert NEW[: again.size] == list(again.entries())


@pytest.mark.crash
@pytest.mark.parametrize("shared", [True, False])
def test_p7_what_is_found_after_a_kill_is_there_after_the_power_went_as_well(tmp_path: Path, shared: bool) -> None:
    """Who opens the log again builds on what stands in it: so that has to be on the disk, not only in memory."""
    entries = [*NEW, b"another"]
    finished = False
    for at in range(200):
        (tmp_path / f"{at}").mkdir()
        disk = Disk(tmp_path / f"{at}")
        log = begun(disk.root / "log", 0, shared=shared)
        with disk.watched():
            with disk.killed_after(at):
                log.append(NEW)
                if shared:
                    log.publish(cosignatures(log))
            again = Log.open(disk.root / "log", SIGNER, cosigned=shared)
            disk.promise((again.size, again.published_size))
            size = again.size
            again.append([b"another"])
            disk.promise((again.size, None))
        after = [*entries[:size], b"another"]
        for number, left in enumerate(one for one in disk.remains if one.promised is not None):
            whole(left, tmp_path / f"{at}-{number}", after, shared=shared)
        finished = not disk.was_killed
        if finished:
            break
    assert at > 12
    assert finished
