"""What lies around the server: archived WAL and dumps go after the erasure, or are waited for, or are told of."""

from __future__ import annotations

import gzip
import os
import secrets
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import zstandard
from psycopg import sql

from domicile.errors import NotPermitted, StoreFault, Waiting
from domicile.evidence.predicates import FindingPredicate
from domicile.horizon import Horizon, Treated
from domicile.horizon.surroundings import Surroundings
from domicile.host import Host
from domicile.run import Run, Stage
from domicile.stores.around import dumps as dumps_module
from domicile.stores.postgres.programs import find_client
from tests.around.conftest import MOVER, STAYER, Surround, Surrounded, holding
from tests.servers import Databases


def _findings(made: Surrounded, kind: str) -> list[FindingPredicate]:
    with made.world.programme.opened() as run:
        statements = [recorded.predicate for recorded in run.ledger.statements()]
    return [one for one in statements if isinstance(one, FindingPredicate) and one.kind == kind]


def _base_backup(made: Surrounded, name: str) -> None:
    program = find_client("pg_basebackup", at_least_major=18)
    target = made.dumps / name
    subprocess.run(
        [program, f"--dbname={made.world.source}", f"--pgdata={target}", "--checkpoint=fast", "--no-sync"],
        check=True, capture_output=True,
    )  # fmt: skip


def test_p3_old_wal_dumps_and_base_backups_go_and_a_new_dump_stands(surrounded: Surround, database: Databases) -> None:
    made = surrounded()
    made.archiving.settle()
    for name, form in (("custom.dump", "c"), ("packed.tar", "t"), ("folder", "d")):
        made.dump(name, f"--format={form}", "--compress=0")
    _base_backup(made, "base")
    foreign = database(made.archiving.server)
    made.dump("foreign.dump", "--format=c", database=foreign)
    assert holding(made.archiving.folder, MOVER)
    assert {"custom.dump", "packed.tar"} <= set(holding(made.dumps, MOVER))
    made.world.programme.clear()
    assert {"custom.dump", "packed.tar"} <= set(holding(made.dumps, MOVER))  # P2: nothing goes before the erasure
    made.world.programme.apply(yes=True)

    assert [] == holding(made.archiving.folder, MOVER)
    assert [] == holding(made.dumps, MOVER)
    (baseline,) = made.dumps.glob("domicile-after-erasure-*.dump")
    assert {"foreign.dump", baseline.name} == {path.name for path in made.dumps.iterdir()}  # P1: others' stay
    listed = subprocess.run(
        [find_client("pg_restore", at_least_major=18), "--file=-", baseline], capture_output=True, check=True
    )
    assert STAYER in listed.stdout
    assert MOVER not in listed.stdout
    gone = {"dumps/dump:custom.dump", "dumps/dump:packed.tar", "dumps/dump:folder", "dumps/base-backup:base"}
    told = made.told()
    rest = ("wal/archived-wal", "wal/other-files", "dumps/other-files", "dumps/dump:foreign.dump")
    assert dict.fromkeys((*gone, *rest), "erased-verified") == told
    announced = {finding.where for finding in _findings(made, "to be removed")}
    assert gone | {"wal/archived-wal"} == announced == {finding.where for finding in _findings(made, "removed")}
    assert 0 == made.world.programme.audit().returncode


def test_p3_what_nobody_can_call_the_sources_is_left_and_certified_as_present(surrounded: Surround) -> None:
    made = surrounded(wal=None)
    plain = made.dump("of-nobody.sql", "--format=p")
    (made.dumps / "letter.txt").write_bytes(b"dear " + MOVER)
    made.world.programme.clear()
    with pytest.raises(Waiting, match="don't say of which database or moment they are"):
        made.world.programme.apply(yes=True)
    assert 0 == made.world.programme.command("certify").returncode
    assert plain.exists()
    told = made.told()
    assert "present" == told["dumps/dump:of-nobody.sql"]
    assert "present" == told["dumps/other-files"]
    assert [] == list(made.dumps.glob("domicile-after-erasure-*"))  # none had to be replaced


@pytest.mark.parametrize("until", ["search", "_sweep"])
def test_p11_what_who_stays_bore_in_the_moment_of_the_dump_of_what_is_left_is_no_residue(
    surrounded: Surround, monkeypatch: pytest.MonkeyPatch, until: str
) -> None:
    """It came after the values were read, and went again before the search, or after that had read what stays."""
    made = surrounded(wal=None)
    made.dump("old.dump", "--format=c")
    made.world.at_source("UPDATE note SET body = body || ', written on a long evening' RETURNING id")
    body, mover = made.world.at_source("SELECT body, person_id FROM note WHERE person_id % 2 = 0 LIMIT 1")[0]
    treat, search = Horizon.treat, getattr(Horizon, until)

    def treat_what_somebody_wrote(self: Horizon, **how: Any) -> Treated:
        made.world.at_source(f"INSERT INTO note (person_id, body) VALUES (1, '{body}') RETURNING id")
        return treat(self, **how)

    def search_what_somebody_removed(self: Horizon, *what: Any, **how: Any) -> Any:
        made.world.at_source(f"DELETE FROM note WHERE body = '{body}' RETURNING id")
        return search(self, *what, **how)

    made.world.programme.clear()
    monkeypatch.setattr(Horizon, "treat", treat_what_somebody_wrote)
    monkeypatch.setattr(Horizon, until, search_what_somebody_removed)
    made.world.programme.apply(yes=True)
    (baseline,) = made.dumps.glob("domicile-after-erasure-*.dump")
    listed = subprocess.run(
        [find_client("pg_restore", at_least_major=18), "--file=-", baseline], capture_output=True, check=True
    )
    assert str(body).encode() in listed.stdout
    assert not mover % 2
    assert "erased-verified" == made.told()["dumps/other-files"]


PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstandard.compress}


@pytest.mark.parametrize("packing", PACK)
def test_p3_values_in_younger_wal_are_found_also_in_packed_segments(surrounded: Surround, packing: str) -> None:
    """Somebody writes a mover's address once more after the treatment; the archive has it, packed."""
    made = surrounded(dumps=None)
    made.world.programme.clear()
    made.world.programme.apply(until=Stage.ERASE, yes=True)
    original = Surroundings.treat

    def write_and_treat(*given: object, **named: object) -> object:
        outcomes = original(*given, **named)  # type: ignore[arg-type]
        with psycopg.connect(made.archiving.server.dsn(), autocommit=True) as connection:
            words = f"{MOVER.decode()} {secrets.token_hex(4_000)}"  # few letters alone are packed as they are
            connection.execute("SELECT pg_logical_emit_message(false, 'x', %s)", [words])
        made.archiving.settle()
        for name in holding(made.archiving.folder, MOVER):
            path = made.archiving.folder / name
            path.with_name(f"{name}.{packing}").write_bytes(PACK[packing](path.read_bytes()))
            path.unlink()
        return outcomes

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Surroundings, "treat", write_and_treat)
        made.world.programme.apply()
    assert [] == holding(made.archiving.folder, MOVER)
    assert "present" == made.told()["wal/archived-wal"]


def test_the_run_waits_for_the_operator_and_calls_nothing_verified_that_others_took_away(surrounded: Surround) -> None:
    made = surrounded(wal=None, dumps="removed_by: operator")
    path = made.dump("nightly.dump", "--format=c")
    shown = " ".join(made.world.programme.command("plan").stdout.split())
    assert "the operator removes those of this database, and `apply` waits for it" in shown
    made.world.programme.clear_again()
    with pytest.raises(Waiting, match=r"dumps/dump:nightly.dump: 1 made before the erasure, still there") as waiting:
        made.world.programme.apply(yes=True)
    assert str(made.dumps) in str(waiting.value)
    with pytest.raises(Waiting):
        made.world.programme.apply(yes=True)
    assert path.exists()
    path.unlink()
    made.world.programme.apply(yes=True)
    assert "erased-unverified" == made.told()["dumps/dump:nightly.dump"]
    assert 0 == made.world.programme.audit().returncode


def test_p11_what_has_to_be_kept_is_blocked_until_its_day_and_goes_then(
    surrounded: Surround, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = datetime.now(UTC).date() + timedelta(days=30)
    made = surrounded(wal=f"removed_by: engine, keep_until: {day}", dumps=f"removed_by: engine, keep_until: {day}")
    made.archiving.settle()
    path = made.dump("kept.dump", "--format=c")
    shown = made.world.programme.command("plan")
    assert f"its copies have to be kept until {day}" in shown.stdout
    assert "in dumps: kept.dump" in shown.stdout
    made.world.programme.clear_again()
    made.world.programme.apply(yes=True)
    assert path.exists()
    assert {"blocked-until"} == {made.told()[name] for name in ("dumps/dump:kept.dump", "wal/archived-wal")}
    audited = made.world.programme.audit()
    assert 0 == audited.returncode
    assert str(day) in audited.stdout
    younger = made.dump("younger.dump", "--format=c")
    made.world.programme.apply(yes=True)
    assert path.exists()  # the day has not come
    assert "blocked-until" == made.told()["dumps/dump:kept.dump"]
    monkeypatch.setattr(Host, "now", lambda _: datetime.now(UTC) + timedelta(days=31))
    made.world.programme.apply()
    assert path.exists()  # nothing goes without --yes
    made.world.programme.apply(yes=True)
    assert not path.exists()
    assert younger.exists()
    assert {"erased-verified"} == {made.told()[name] for name in ("dumps/dump:kept.dump", "wal/archived-wal")}
    assert 0 == made.world.programme.audit().returncode


def test_p5_an_end_in_the_middle_of_the_removal_changes_nothing_of_the_outcome(
    surrounded: Surround, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = surrounded(wal=None)
    made.dump("custom.dump", "--format=c")
    made.world.programme.clear()
    removing = Run._removing

    def end(run: Run, copy: str, things: int, done: bool) -> None:
        if done:
            raise KeyboardInterrupt
        removing(run, copy, things, done)

    monkeypatch.setattr(Run, "_removing", end)
    with pytest.raises(KeyboardInterrupt):
        made.world.programme.apply(yes=True)
    monkeypatch.undo()
    assert not (made.dumps / "custom.dump").exists()
    made.world.programme.apply(yes=True)
    assert "erased-verified" == made.told()["dumps/dump:custom.dump"]
    assert 1 == len(list(made.dumps.glob("domicile-after-erasure-*")))


def test_p1_without_a_new_dump_no_old_one_goes(surrounded: Surround, monkeypatch: pytest.MonkeyPatch) -> None:
    made = surrounded(wal=None)
    path = made.dump("custom.dump", "--format=c")
    made.world.programme.clear()
    monkeypatch.setattr(dumps_module, "find_client", lambda *_, **__: Path("/bin/false"))
    with pytest.raises(StoreFault, match="no older one is removed"):
        made.world.programme.apply(yes=True)
    monkeypatch.undo()
    assert path.exists()
    assert [path.name] == [found.name for found in made.dumps.iterdir()]
    made.world.programme.apply(yes=True)
    assert not path.exists()


def test_p3_a_dump_with_another_name_for_its_bytes_is_held(surrounded: Surround, tmp_path: Path) -> None:
    made = surrounded(wal=None)
    os.link(made.dump("twice.dump", "--format=c"), tmp_path / "second-name.dump")
    made.world.programme.clear()
    with pytest.raises(Waiting, match="another hard link"):
        made.world.programme.apply(yes=True)
    assert 0 == made.world.programme.command("certify").returncode
    assert "present" == made.told()["dumps/dump:twice.dump"]
    assert (made.dumps / "twice.dump").exists()


def test_p1_an_archive_that_another_server_fills_is_left_alone(surrounded: Surround, tmp_path: Path) -> None:
    """The folder that the file names isn't the one that archive_command fills."""
    made = surrounded(dumps=None)
    other = tmp_path / "of-another"
    other.mkdir()
    (other / "000000010000000000000001").write_bytes(bytes(64))
    file = made.world.programme.folder / "domicile.yaml"
    file.write_text(file.read_text().replace(str(made.archiving.folder), str(other)))
    made.archiving.settle()
    made.world.programme.clear()
    with pytest.raises(Waiting, match="it isn't here: not its archive"):
        made.world.programme.apply(yes=True)
    assert ["000000010000000000000001"] == [path.name for path in other.iterdir()]


def _mounted(made: Surrounded, mount: Path) -> None:
    """Have the file name a folder through which the archive is seen."""
    mount.symlink_to(made.archiving.folder)
    file = made.world.programme.folder / "domicile.yaml"
    file.write_text(file.read_text().replace(str(made.archiving.folder), str(mount)))


@pytest.mark.parametrize("last", ["a segment", "the note of a backup"])
def test_p11_an_archive_that_is_not_mounted_is_waited_for_and_not_called_empty(
    surrounded: Surround, tmp_path: Path, last: str
) -> None:
    made, mount = surrounded(dumps=None), tmp_path / "mount"
    _mounted(made, mount)
    made.archiving.settle()
    made.world.programme.clear()
    made.world.programme.apply(until=Stage.ERASE, yes=True)
    mount.unlink()
    mount.mkdir()
    with pytest.raises(Waiting, match=r"it isn't here: .*not mounted.*mount or name the folder"):
        made.world.programme.apply(yes=True)
    if last == "the note of a backup":
        _base_backup(made, "base")
        with pytest.raises(Waiting, match=r"archived \w{24}\.\w{8}\.backup last, and it isn't here"):
            made.world.programme.apply(yes=True)
    assert 0 == made.world.programme.command("certify").returncode
    assert "present" == made.told()["wal/archived-wal"]
    mount.rmdir()
    mount.symlink_to(made.archiving.folder)
    made.world.programme.apply(yes=True)
    assert "erased-verified" == made.told()["wal/archived-wal"]


def test_p11_an_archive_is_known_by_what_the_server_archived_last_now(surrounded: Surround) -> None:
    """What it archived last at the first treatment has gone: by our hand at once, later by the archive's retention."""
    made = surrounded(dumps="removed_by: operator")
    path = made.dump("nightly.dump", "--format=c")
    made.world.programme.clear()
    for _ in range(2):
        with pytest.raises(Waiting, match=r"^dumps/dump:nightly.dump: 1 made [^(]*again\. `"):
            made.world.programme.apply(yes=True)
    made.archiving.settle()
    retained = sorted(made.archiving.folder.iterdir())
    made.archiving.settle()
    for segment in retained:
        segment.unlink()
    path.unlink()
    made.world.programme.apply(yes=True)
    assert "erased-verified" == made.told()["wal/archived-wal"]


def test_p1_a_segment_that_bears_another_clusters_number_keeps_all_of_them(surrounded: Surround) -> None:
    made = surrounded(dumps=None)
    foreign = made.archiving.folder / "000000010000000000000000"
    foreign.write_bytes(bytes(64))
    made.archiving.settle()
    try:
        made.world.programme.clear()
        before = {path.name for path in made.archiving.folder.iterdir()}
        with pytest.raises(Waiting, match="don't bear the source's number"):
            made.world.programme.apply(yes=True)
        assert before <= {path.name for path in made.archiving.folder.iterdir()}
    finally:
        foreign.unlink()
    made.world.programme.apply(yes=True)
    assert "erased-verified" == made.told()["wal/archived-wal"]


def test_a_segment_that_is_being_archived_is_waited_for_and_not_called_broken(surrounded: Surround) -> None:
    """The archiver is slow, and what it writes looks broken until it is whole."""
    made = surrounded(dumps=None)
    made.world.programme.clear()
    made.world.programme.apply(until=Stage.ERASE, yes=True)
    slow = f"head -c 20 %p > {made.archiving.folder}/%f; sleep 0.4; cp %p {made.archiving.folder}/%f"
    with psycopg.connect(made.archiving.server.dsn(), autocommit=True) as connection:
        before = connection.execute("SHOW archive_command").fetchone()
        assert before
        try:
            connection.execute(sql.SQL("ALTER SYSTEM SET archive_command = {}").format(slow))
            connection.execute("SELECT pg_reload_conf()")
            made.world.programme.apply(yes=True)
        finally:
            connection.execute(sql.SQL("ALTER SYSTEM SET archive_command = {}").format(before[0]))
            connection.execute("SELECT pg_reload_conf()")
    assert "erased-verified" == made.told()["wal/archived-wal"]


def test_p1_a_directory_with_files_from_before_and_after_is_left_to_a_person(surrounded: Surround) -> None:
    """Copying keeps dates: it may be a fresh backup."""
    made = surrounded(wal=None)
    path = made.dump("folder", "--format=d")
    made.world.programme.clear()
    made.world.programme.apply(until=Stage.ERASE, yes=True)
    (path / "toc.dat").touch()
    with pytest.raises(Waiting, match="or moment they are"):
        made.world.programme.apply(yes=True)
    assert path.exists()


def test_a_folder_that_is_not_there_stops_the_plan(surrounded: Surround) -> None:
    made = surrounded(wal=None)
    made.dumps.rmdir()
    with pytest.raises(NotPermitted, match=r"store dumps: .* can't be listed"):
        made.world.programme.plan()


def test_p11_an_archive_that_no_store_holds_is_told_by_the_plan(surrounded: Surround) -> None:
    unnamed = surrounded(wal=None, dumps=None).world.programme.command("plan")
    assert 0 == unnamed.returncode
    assert "unknown store" in unnamed.stdout
    assert "app/archive" in unnamed.stdout
