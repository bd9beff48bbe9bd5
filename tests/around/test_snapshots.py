"""A real restic repository, called as the run calls it: what is old, what goes, what is held, what is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from domicile.errors import HostFault, NotPermitted, StoreFault
from domicile.stores.around import Boundary, Custody
from domicile.stores.around.restic import Snapshots
from domicile.stores.around.restic.contents import SnapshotFiles
from domicile.stores.around.restic.listing import Machine as Rule
from domicile.stores.around.restic.tool import Busy, Tool
from domicile.stores.postgres.copies import Outcome, Treatment
from domicile.stores.postgres.files import ServerFile
from domicile.stores.postgres.programs import server_user
from tests.around.restic import HOST, PASSWORD, PLANTED, Machine

ENGINE: Final = Custody(by_engine=True)
OWN: Final = Rule(hosts=(HOST,))


class Killed(BaseException):
    """Stands for the end of the process."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What was announced, in order; `then` is called after each."""

    said: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    then: Callable[[], None] = lambda: None

    def __call__(self, copy: str, names: Sequence[str]) -> None:
        self.said.append((copy, tuple(names)))
        self.then()

    @property
    def going(self) -> set[str]:
        return {copy for copy, names in self.said if names}

    @property
    def gone(self) -> set[str]:
        return {copy for copy, names in self.said if not names}


def store(
    at: Machine, *, custody: Custody = ENGINE, planned: Sequence[str] = (), password: str = PASSWORD,
    rule: Rule = OWN, user: str | None = None,
) -> Snapshots:  # fmt: skip
    return Snapshots(
        "backups", Tool(store="backups", repository=at.repository, password=password, user=user), machine=rule,
        system=7, custody=custody, scratch=at.scratch, now=lambda: datetime.now(UTC), planned=planned,
    )  # fmt: skip


def boundary(at: Machine) -> Boundary:
    """All that stands is older."""
    now = datetime.now(UTC)
    return Boundary(
        erased_at=now, segment="000000010000000000000001", treated_at=now, noted={"backups": store(at).note()}
    )


def planned(at: Machine) -> list[str]:
    return [copy.id for copy in store(at).inventory()]


def by_copy(outcomes: Sequence[Outcome]) -> dict[str, Treatment]:
    return {item.copy: item.treatment for item in outcomes}


def erase(at: Machine) -> str:
    """What the erasure and the next nightly backup do; the name of the younger snapshot."""
    (at.data / "old.sql").unlink()
    (at.data / "new.sql").write_bytes(b"what stays")
    return at.back_up()


def shown(files: SnapshotFiles) -> tuple[dict[str, bytes], dict[str, str]]:
    """Every file that a search sees, read at the moment when it is shown; and every gap."""
    found, gaps = {}, {}
    for entry in files.walk():
        if isinstance(entry, ServerFile):
            found[entry.path] = (entry.size and files.read(entry.path, 0, entry.size)) or b""
        else:
            gaps[entry.path] = entry.why
    return found, gaps


def holding(at: Machine, value: bytes = PLANTED) -> bool:
    """Whether restic itself still gives the value back from any snapshot, or a pack holds a byte without one."""
    dumps = (at.restic("dump", name, "/", "--no-lock").stdout for name in at.snapshots())
    return (
        any(value in dump for dump in dumps)
        or b"total prune:           0 blobs" not in at.restic("prune", "--max-unused=0", "--dry-run").stdout
    )


def test_p3_old_snapshots_are_forgotten_and_pruned_to_the_last_byte(at: Machine) -> None:
    for number in range(20):  # of packs of 16 MiB, a few bytes are unused then, which restic would tolerate
        (at.data / f"stays-{number}").write_bytes(os.urandom(2_000_000))
        (at.data / f"old-{number}").write_bytes(PLANTED + os.urandom(250))
    first, second = at.back_up(), at.back_up("--tag=nightly")
    (at.data / "stays.sql").write_bytes(os.urandom(4096))
    third = at.back_up()
    copies, edge = planned(at), boundary(at)
    assert {f"snapshot:{name[:8]}" for name in (first, second, third)} | {"packs", "other-files"} == set(copies)
    for path in at.data.glob("old-*"):
        path.unlink()
    young = erase(at)
    assert holding(at)
    told = Told()
    outcomes = store(at, planned=copies).treat(edge, announce=told)
    assert [young] == at.snapshots()
    assert not holding(at)
    assert b"" != at.restic("check", "--read-data").stdout
    gone = {f"snapshot:{name[:8]}" for name in (first, second, third)} | {"packs"}
    assert {**dict.fromkeys(gone, Treatment.DONE), "other-files": Treatment.OBSERVED} == by_copy(outcomes)
    assert gone == told.going == told.gone
    assert all(names for _, names in told.said[: len(gone)])  # all is announced before anything goes (P7)
    again = Told()
    store(at, planned=copies).treat(edge, announce=again)
    assert [] == again.said  # a second run does nothing


def test_p1_no_snapshot_goes_before_a_younger_one_holds_its_paths_and_can_be_read(at: Machine) -> None:
    first = at.back_up()
    aside = at.folder / "aside"
    aside.mkdir()
    (aside / "file").write_bytes(b"x")
    copies, edge, told = planned(at), boundary(at), Told()
    at.back_up(of=aside)  # younger, but of other paths
    at.back_up(host="db-2")  # of the same paths, but of another machine
    held = store(at, planned=copies).treat(edge, announce=told)
    assert Treatment.HELD is by_copy(held)[f"snapshot:{first[:8]}"]
    (own,) = (item for item in held if item.copy == f"snapshot:{first[:8]}")
    assert "no younger snapshot that can be read from end to end holds all its paths" in own.why
    assert own.remedy
    assert f"forget {first[:8]}" in own.remedy
    young = at.back_up(of=at.folder)  # from further above
    pack = damage(at, before=set(at.packs()) - set(), of=young)
    held = store(at, planned=copies).treat(edge, announce=told)
    assert Treatment.HELD is by_copy(held)[f"snapshot:{first[:8]}"]
    assert [] == told.said
    assert first in at.snapshots()
    flip(pack)
    outcomes = store(at, planned=copies).treat(edge, announce=told)
    assert Treatment.DONE is by_copy(outcomes)[f"snapshot:{first[:8]}"]


def damage(at: Machine, *, before: set[Path], of: str) -> Path:
    """Flip a byte in the middle of the largest pack; it is one that the snapshot needs."""
    pack = max(before, key=lambda path: path.stat().st_size)
    flip(pack)
    with pytest.raises(subprocess.CalledProcessError):
        at.restic("dump", of, "/", "--no-lock")
    return pack


def flip(pack: Path) -> None:
    data, mode = bytearray(pack.read_bytes()), pack.stat().st_mode
    data[len(data) // 3] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(data)
    pack.chmod(mode)


def test_what_is_not_of_the_machine_and_its_paths_never_goes(at: Machine) -> None:
    other, own = at.back_up(host="db-2"), at.back_up()
    edge, copies = boundary(at), planned(at)
    erase(at)
    elsewhere = store(at, planned=copies, rule=Rule(hosts=(HOST,), paths=("/srv/elsewhere",)))
    with pytest.raises(StoreFault, match=r"of 2 machines, is of db-1 and the paths of the file; check `hosts`"):
        elsewhere.refuse_foreign()
    told = Told()
    elsewhere.treat(edge, announce=told)
    assert [] == told.said
    above = store(at, planned=copies, rule=Rule(hosts=(HOST,), paths=(str(at.data / "base"),)))
    above.refuse_foreign()
    (copy,) = (one for one in above.inventory() if one.id == f"snapshot:{own[:8]}")
    assert copy.method.endswith(f"of {at.data}/base")
    outcomes = above.treat(edge, announce=told)
    assert other in at.snapshots()
    assert own not in at.snapshots()
    assert Treatment.OBSERVED is by_copy(outcomes)[f"snapshot:{other[:8]}"]


def test_a_clock_does_not_make_a_snapshot_younger(at: Machine) -> None:
    """Dated in the future, and with another tag since: it stood there when the treatment had ended."""
    first = at.back_up("--time=2999-01-01 00:00:00")
    edge, copies = boundary(at), planned(at)
    at.restic("tag", "--add=kept", first)
    (tagged,) = at.snapshots()
    assert tagged != first
    slow = at.back_up("--time=2001-01-01 00:00:00")
    assert {tagged, slow} == set(store(at, planned=copies).old(edge))
    late = at.back_up()
    assert late not in store(at, planned=copies).old(edge)
    without = Boundary(erased_at=datetime.now(UTC) - timedelta(days=1), segment="")
    assert (slow,) == store(at, planned=copies).old(without)


@pytest.mark.parametrize("step", ["announced", "forget", "prune"])
def test_p5_killed_at_any_step_the_next_run_goes_on(at: Machine, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = at.back_up()
    edge, copies = boundary(at), planned(at)
    young = erase(at)

    def end(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if step != "announced":
            original = getattr(Tool, step)

            def do_and_end(self: Tool, *given: object) -> None:
                original(self, *given)
                raise Killed

            patched.setattr(Tool, step, do_and_end)
        with pytest.raises(Killed):
            store(at, planned=copies).treat(edge, announce=Told(then=end) if step == "announced" else Told())
    assert (first in at.snapshots()) is (step == "announced")  # nothing unannounced goes (P7)
    told = Told()
    outcomes = by_copy(store(at, planned=copies).treat(edge, announce=told))
    assert [young] == at.snapshots()
    assert not holding(at)
    assert told.going == told.gone
    if step != "prune":
        assert Treatment.DONE is outcomes[f"snapshot:{first[:8]}"]
        assert f"snapshot:{first[:8]}" in told.gone


def test_p5_a_restic_that_was_killed_leaves_a_lock_and_half_a_prune(at: Machine) -> None:
    """The tool itself is killed when it has repacked and is about to remove: packs that no index names are left."""
    first = at.back_up()
    kept = at.keep("kept")
    edge, copies = boundary(at), planned(at)
    erase(at)
    at.restic("forget", first)
    with _locked(at) as lock:
        text = at.restic("cat", "lock", lock.name, "--no-lock").stdout
        stale = lock.read_bytes()
    assert b'"pid"' in text  # a process of this machine that is gone by now
    at.restic("unlock")
    at.restic("prune", "--max-unused=0")
    shutil.copytree(kept / "data", at.repository / "data", dirs_exist_ok=True)
    lock.write_bytes(stale)
    by_hand = store(at, planned=copies, custody=Custody(by_engine=False)).treat(edge, announce=Told())
    assert Treatment.HELD is by_copy(by_hand)[f"snapshot:{first[:8]}"]
    told = Told()
    outcomes = by_copy(store(at, planned=copies).treat(edge, announce=told))
    assert Treatment.DONE is outcomes[f"snapshot:{first[:8]}"]
    assert Treatment.DONE is outcomes["packs"]
    assert {f"snapshot:{first[:8]}", "packs"} == told.gone
    assert not {path.name for path in at.packs()} & {path.name for path in _packs_of(kept)}


def _packs_of(kept: Path) -> list[Path]:
    return [path for path in (kept / "data").rglob("*") if path.is_file()]


@contextmanager
def _locked(at: Machine) -> Iterator[Path]:
    """A backup that is running: it reads from a pipe that stays open. Give its lock."""
    with subprocess.Popen(
        ["restic", "--no-cache", "backup", "--stdin", f"--host={HOST}"], env=at.environment(), stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
    ) as backup:  # fmt: skip
        assert backup.stdin
        try:
            while not (locks := [one for one in (at.repository / "locks").iterdir() if len(one.name) == 64]):
                assert backup.poll() is None
            yield locks[0]
        finally:
            backup.kill()


def test_a_backup_that_runs_is_waited_for(at: Machine) -> None:
    at.back_up()
    edge, copies = boundary(at), planned(at)
    erase(at)
    told = Told()
    with _locked(at):
        held = store(at, planned=copies).treat(edge, announce=told)
        with closing(store(at, planned=copies).files()) as files, pytest.raises(Busy, match="another restic works"):
            next(files.walk())
    assert dict.fromkeys(copies, Treatment.HELD) == by_copy(held)
    assert all("another restic works on the repository" in item.why for item in held)
    assert [] == told.said
    assert [] == list(at.scratch.iterdir())
    store(at, planned=copies).treat(edge, announce=told)  # killed, it left its lock; nobody holds that any more
    assert not holding(at)


def test_the_operator_is_waited_for_and_what_has_to_be_kept_is_blocked(at: Machine) -> None:
    first = at.back_up()
    own = f"snapshot:{first[:8]}"
    edge, copies, by_hand = boundary(at), planned(at), Custody(by_engine=False)
    erase(at)
    held = store(at, planned=copies, custody=by_hand).treat(edge, announce=Told())
    assert {own: Treatment.HELD, "packs": Treatment.HELD} == {
        copy: what for copy, what in by_copy(held).items() if what is not Treatment.OBSERVED
    }
    assert f"`restic --repo={at.repository} forget {first[:8]}`" in next(i.remedy or "" for i in held if i.copy == own)
    day = date(2999, 1, 1)
    kept = Custody(by_engine=True, blocked_until=day)
    blocked = store(at, planned=copies, custody=kept).treat(edge, announce=Told())
    assert {own, "packs"} == {item.copy for item in blocked if item.treatment is Treatment.BLOCKED}
    assert {day} == {item.until for item in blocked if item.treatment is Treatment.BLOCKED}
    assert () == store(at, planned=copies, custody=kept).old(edge)
    assert first in at.snapshots()

    at.restic("forget", first)  # and not pruned: every byte is still there
    held = store(at, planned=copies, custody=by_hand).treat(edge, announce=Told())
    assert {Treatment.HELD} == {by_copy(held)[own], by_copy(held)["packs"]}
    assert "prune --max-unused 0`" in next(item.remedy or "" for item in held if item.copy == own)
    at.restic("prune", "--max-unused=0")
    outcomes = store(at, planned=copies, custody=by_hand).treat(edge, announce=Told())
    assert own not in by_copy(outcomes)  # gone, by somebody else's hand
    assert Treatment.GONE is by_copy(outcomes)["packs"]


def test_another_hard_link_or_another_repository_stops_the_treatment(at: Machine) -> None:
    at.back_up()
    edge, copies, told = boundary(at), planned(at), Told()
    erase(at)
    other = at.folder / "second-name"
    other.hardlink_to(at.packs()[0])
    held = store(at, planned=copies).treat(edge, announce=told)
    assert {"1 files of packs have another hard link, which would keep their bytes"} == {item.why for item in held}
    other.unlink()
    number = edge.noted["backups"]
    swapped = Boundary(
        erased_at=edge.erased_at, segment=edge.segment, treated_at=edge.treated_at,
        noted={"backups": ("0" * 64, *number[1:])},
    )  # fmt: skip
    held = store(at, planned=copies).treat(swapped, announce=told)
    assert {"another repository lies there than at the end of the server's treatment"} == {item.why for item in held}
    assert [] == told.said
    stray = at.repository / "data" / "half-a-pack-tmp-1"  # as a backup leaves it that was killed while it wrote
    stray.write_bytes(PLANTED)
    held = store(at, planned=copies).treat(edge, announce=told)
    assert {Treatment.HELD} == {item.treatment for item in held if item.copy != "other-files"}
    assert {f"{copy.partition(':')[0]}" for copy in told.going} == {"snapshot", "packs"}
    assert not told.gone
    assert all("remove them" in (item.remedy or "") for item in held if item.copy != "other-files")
    stray.unlink()
    store(at, planned=copies).treat(edge, announce=told)
    assert not holding(at)


def test_p8_what_cannot_be_read_is_refused_by_the_plan_and_unknown_later(
    at: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    at.back_up()
    edge, copies = boundary(at), planned(at)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)  # of somebody's shell: never taken
    wrong = store(at, planned=copies, password="hearsay")
    assert set(copies) == {copy.id for copy in wrong.inventory()}
    with pytest.raises(NotPermitted, match="the password is wrong") as refused:
        wrong.refuse_foreign()
    assert not {PASSWORD, "hearsay"} & set(str(refused.value).split())
    assert dict.fromkeys(copies, Treatment.NOT_PERMITTED) == by_copy(wrong.treat(edge, announce=Told()))
    assert PASSWORD not in repr(Tool(store="backups", repository=at.repository, password=PASSWORD))
    away = at.folder / "away"
    at.repository.rename(away)
    try:
        with pytest.raises(NotPermitted, match="there is no repository; check `repository`, and the mount"):
            store(at).inventory()
        assert dict.fromkeys(copies, Treatment.NOT_PERMITTED) == by_copy(
            store(at, planned=copies).treat(edge, announce=Told())
        )
        assert () == store(at).note()
    finally:
        away.rename(at.repository)


def test_without_the_program_or_as_another_user_nothing_begins(at: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    made = store(at)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "which", lambda _: None)
        with pytest.raises(HostFault, match="no restic on this machine"):
            made.inventory()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 54321)
        with pytest.raises(HostFault, match="belongs to another OS user"):
            made.refuse_foreign()
    nobody = Tool(store="backups", repository=at.repository, password=PASSWORD, user="no-such-user-here")
    with pytest.raises(HostFault, match="no OS user no-such-user-here"):
        nobody.snapshots()


def test_as_root_the_tool_runs_as_the_repositorys_user_and_every_file_stays_theirs(at: Machine) -> None:
    user = server_user()
    first = at.back_up()
    edge, copies = boundary(at), planned(at)
    young = erase(at)
    at.folder.chmod(0o755)
    if user:
        for path in (at.repository, *at.repository.rglob("*")):
            os.chown(path, user.uid, user.gid)
        with pytest.raises(HostFault, match="belongs to another OS user"):
            store(at, planned=copies).treat(edge, announce=Told())
    made = store(at, planned=copies, user=user.name if user else None)
    made.treat(edge, announce=Told())
    assert [young] == at.snapshots()
    owners = {path.stat().st_uid for path in at.repository.rglob("*")}
    assert {user.uid if user else os.geteuid()} == owners
    with closing(made.files()) as files:
        found, gaps = shown(files)
    assert {} == gaps
    assert b"what stays" == found[f"{young}/restored{at.data}/new.sql"]
    assert first not in at.snapshots()
