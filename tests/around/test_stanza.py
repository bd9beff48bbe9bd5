"""What pgBackRest says of a stanza is read strictly, and scratch folders of killed runs go, those in use stay."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domicile.config import load
from domicile.errors import BadFile, HostFault
from domicile.stores.around.pgbackrest.stanza import (
    Backup,
    baselines,
    is_before,
    is_later_timeline,
    old_backups,
    parse,
    parse_listing,
)
from domicile.stores.around.scratch import PREFIX, Scratch, clear_leftovers
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES

EDGE = "0000000200000000000000A0"


def backup(
    label: str, first: str | None, *, needs: tuple[str, ...] = (), damaged: bool = False, whole_at: int | None = None
) -> Backup:
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    return Backup(
        label=label, kind="full" if label.endswith("F") else "incr", cluster=1, first=first, began_at=moment,
        ended_at=moment, bytes=1, needs=needs, damaged=damaged, whole_at=whole_at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("segment", "before", "later"),
    [
        ("00000002000000000000009F", True, False),
        (EDGE, False, False),
        ("0000000200000001000000A0", False, False),
        ("0000000100000009000000FF", True, False),
        ("000000030000000000000001", False, True),
    ],
)
def test_the_place_in_the_wal_says_what_is_old(segment: str, *, before: bool, later: bool) -> None:
    assert before is is_before(segment, EDGE)
    assert later is is_later_timeline(segment, EDGE)


def test_old_is_what_began_before_stands_on_such_or_does_not_say() -> None:
    full, young = "20200101-000000F", "20200102-000000F"
    listed = (
        backup(full, "000000020000000000000001"),
        backup(f"{full}_20200103-000000I", "0000000200000000000000B0", needs=(full,)),
        backup(young, EDGE),
        backup(f"{young}_20200104-000000D", "0000000200000000000000B1", needs=(young,)),
        backup("20200105-000000F", None),
    )
    assert [listed[0], listed[1], listed[4]] == list(old_backups(listed, EDGE))
    assert [listed[2]] == list(baselines(listed, EDGE))
    assert () == baselines((backup(young, EDGE, damaged=True), backup(young, "000000030000000000000001")), EDGE)


def test_only_an_answer_of_info_is_read() -> None:
    good = [{
        "name": "app", "backup": [], "db": [{"id": 1, "repo-key": 1, "system-id": 7, "version": "15"}],
        "repo": [{"key": 1, "cipher": "none", "status": {"code": 0, "message": "ok"}}],
        "status": {"code": 0, "lock": {"backup": {"held": True}}, "message": "ok"}, "archive": [], "cipher": "none",
    }]  # fmt: skip
    (stanza,) = parse(json.dumps(good).encode())
    assert stanza.is_now_of(7)
    assert stanza.is_locked
    assert not stanza.is_now_of(8)
    for bad in (b"", b"[", b"{}", b'[{"name": "app"}]', b"\xff\xfe", json.dumps([{**good[0], "db": "x"}]).encode()):
        with pytest.raises(ValueError, match="no answer of pgBackRest's info"):
            parse(bad)
    with pytest.raises(ValueError, match="no answer of pgBackRest's repo-ls"):
        parse_listing(b"[]", folder="backup/app")


def test_what_the_repository_links_to_elsewhere_is_no_file_of_it() -> None:
    answer = {
        ".": {"type": "path"}, "latest": {"type": "link", "destination": "20200101-000000F"},
        "20200101-000000F/pg_data/pg_tblspc/9": {"type": "link", "destination": "../../pg_tblspc/9"},
        "out": {"type": "link", "destination": "/elsewhere"}, "pipe": {"type": "special"},
        "file": {"type": "file", "size": 3, "time": 1},
    }  # fmt: skip
    found = parse_listing(json.dumps(answer).encode(), folder="backup/app")
    assert [("backup/app/file", ""), ("backup/app/out", "a symbolic link to elsewhere"),
            ("backup/app/pipe", "no plain file")] == [(one.path, one.strange) for one in found]  # fmt: skip


def test_p5_what_a_killed_run_restored_goes_and_what_is_in_use_stays(tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}left"
    (left / "20200101-000000F" / "data").mkdir(parents=True)
    (left / "20200101-000000F" / "data" / "base").write_bytes(b"somebody")
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    in_use = Scratch(tmp_path, owner=None)
    (in_use.folder("20200101-000000F") / "file").write_bytes(b"x")
    assert 0o700 == in_use.path.stat().st_mode & 0o777
    assert 1 == clear_leftovers(tmp_path, owner=None)
    assert not left.exists()
    assert target.exists()
    assert in_use.path.exists()
    in_use.close()
    assert not in_use.path.exists()
    with pytest.raises(HostFault, match="name another `scratch`"):
        Scratch(tmp_path / "missing", owner=None)


KILLED = """
import subprocess, sys
from pathlib import Path
from domicile.stores.around.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]), owner=None)
child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, pass_fds=(scratch.lock,))
print(child.pid, flush=True)
child.wait()
"""


def test_p5_a_restore_that_outlives_its_engine_keeps_the_folder_in_use(tmp_path: Path) -> None:
    engine = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert engine.stdout
    child = int(engine.stdout.readline())
    engine.kill()
    engine.wait()
    engine.stdout.close()
    assert 0 == clear_leftovers(tmp_path, owner=None)
    assert 1 == len(list(tmp_path.iterdir()))
    os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not clear_leftovers(tmp_path, owner=None) and time.monotonic() < deadline:
        continue  # until the system has closed the child's files
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "{kind: pgbackrest, location: ca, of: app-us, stanza: app}",
            "neither app, which data leaves, nor a home of it",
        ),
        ("{kind: pgbackrest, location: here, of: app, stanza: app, config: conf}", "is not absolute"),
        ("{kind: pgbackrest, location: here, of: app, stanza: app, scratch: tmp}", "is not absolute"),
        ("{kind: pgbackrest, location: here, of: app, stanza: --repo=2}", ":16: stores.backups.stanza"),
        ("{kind: pgbackrest, location: here, of: app}", ":16: stores.backups.stanza: Field required"),
        ("{kind: pgbackrest, location: here, of: app, stanza: app, path: /b}", "stores.backups.path"),
    ],
)
def test_p4_a_repository_that_can_be_none_is_refused_by_the_file(tmp_path: Path, line: str, said: str) -> None:
    programme = make(tmp_path, f"  backups: {line}\n{RULES}", source="", homes={"CA": ""})
    with pytest.raises(BadFile) as refused:
        load((programme.folder / "domicile.yaml").read_bytes())
    assert said in str(refused.value)


def test_two_stores_are_never_the_same_stanza(tmp_path: Path) -> None:
    line = "{kind: pgbackrest, location: here, of: app, stanza: app}\n"
    programme = make(tmp_path, f"  one: {line}  two: {line}{RULES}", source="", homes={"CA": ""})
    with pytest.raises(BadFile, match="app is one already"):
        load((programme.folder / "domicile.yaml").read_bytes())
