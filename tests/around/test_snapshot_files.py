"""What a search sees of a restic repository: every snapshot as a restore gives it, and the repository's own files."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import Final

import pytest

from domicile.catalogue import TableName
from domicile.errors import HostFault
from domicile.stores.postgres.copies import CopyKind
from domicile.stores.postgres.files import Place, Shape, Storage, Unread
from domicile.stores.postgres.pages import Geometry
from tests.around.restic import PLANTED, Machine
from tests.around.test_snapshots import damage, erase, flip, shown, store

ODD: Final = os.fsdecode(b'odd "\xff\n\\ name.txt')


def test_p3_every_snapshot_is_restored_whole_and_nowhere_else(at: Machine) -> None:
    """With links to this machine, odd names, attributes, a second name of a file, and packs that nobody knows."""
    secret = at.folder / "of-this-machine"
    secret.write_bytes(b"never to be read")
    (at.data / ODD).write_bytes(b"x" + PLANTED)
    (at.data / "link").symlink_to(secret)
    (at.data / "empty-folder").mkdir()
    (at.data / "twin").hardlink_to(at.data / "old.sql")
    os.mkfifo(at.data / "pipe")
    os.setxattr(at.data / ODD, "user.note", PLANTED)
    first = at.back_up("--tag=a-tag")
    second = erase(at)
    stray = at.repository / "data" / "ab" / ("ab" + "0" * 62)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(PLANTED)
    (at.repository / "note.txt").write_bytes(PLANTED)
    made = store(at, planned=["snapshot:" + first[:8], "packs", "other-files"])
    with closing(made.files()) as files:
        found, gaps = shown(files)
        how = made.how(files)
    holding = {path for path, data in found.items() if PLANTED in data and not path.startswith(second)}
    top = f"{first}/restored{at.data}"
    assert {
        f"{top}/old.sql", f"{top}/{ODD}", f"{top}/{ODD}//attributes", f"repository/data/ab/{stray.name}",
        "repository/note.txt",
    } == holding  # fmt: skip
    assert b"never to be read" not in b"".join(found.values())
    assert os.fsencode(secret) == found[f"{top}/link//target"]
    assert {b""} == {found[f"{top}/{name}"] for name in ("empty-folder", "pipe", "twin")}
    assert b"a-tag" in found[f"{first}//said"]
    assert {f"repository/data/ab/{stray.name}//name"} == set(gaps)
    assert any(path.startswith("repository/keys/") for path in found)
    assert [] == list(at.scratch.iterdir())
    assert how[f"snapshot:{first[:8]}"].startswith(f"{first[:8]} restored by restic 0.")
    assert f"{second[:8]} restored by restic" in how["other-files"]


def test_files_of_the_sources_own_cluster_are_laid_out_as_the_source_says(at: Machine) -> None:
    for cluster, number in (("own", 7), ("other", 8)):
        (at.data / cluster / "global").mkdir(parents=True)
        (at.data / cluster / "global" / "pg_control").write_bytes(number.to_bytes(8, "little") + bytes(100))
    first = at.back_up()
    made = store(at, planned=["snapshot:" + first[:8], "packs", "other-files"])
    with closing(made.files()) as files:
        shown(files)
    top = f"{first}/restored{at.data}"
    toast = Place(copy="toast:public.a", kind=CopyKind.TOAST, shape=Shape.TOAST_PAGES)
    table = TableName(schema="public", name="a")
    placing = made.placing(Geometry(), {"base/5/1234": Storage(place=toast, table=table)})
    shapes = {
        "own/base/5/1234": Shape.TOAST_PAGES,  # laid out as the source says, where the cluster has its number
        "own/base/5/1234.1": Shape.TOAST_PAGES,
        "other/base/5/1234": Shape.UNKNOWN_PAGES,
        "space/PG_18_202506291/5/77": Shape.UNKNOWN_PAGES,
        "own/pg_wal/000000010000000000000001": Shape.WAL,
        "app.dump": Shape.PLAIN,
    }
    assert shapes == {path: placing.place(f"{top}/{path}").shape for path in shapes}
    assert f"snapshot:{first[:8]}" == placing.place(f"{top}/app.dump").copy
    assert "other-files" == placing.place(f"{'0' * 64}/restored/app.dump").copy
    assert "packs" == placing.place("repository/data/ab/abcd").copy
    assert "other-files" == placing.place("repository/note.txt").copy


def test_p11_one_flipped_byte_is_a_gap_of_the_snapshot_and_of_the_packs(at: Machine) -> None:
    first = at.back_up()
    pack = damage(at, before=set(at.packs()), of=first)
    with closing(store(at).files()) as files:
        found, gaps = shown(files)
    path = f"repository/data/{pack.parent.name}/{pack.name}"
    assert {f"{first}/restored", f"{path}//name"} == set(gaps)
    assert found[path] == pack.read_bytes()
    flip(pack)
    index = next((at.repository / "index").iterdir())
    index.rename(at.folder / "index")
    with closing(store(at).files()) as files:
        _, gaps = shown(files)
    assert "repository/data" in gaps  # restic's check
    assert "no index names it, so nobody can say what it holds" in gaps.values()


def test_a_snapshot_that_comes_while_we_work_is_searched_and_one_that_goes_is_no_gap(at: Machine) -> None:
    first = at.back_up()
    with closing(store(at).files()) as files:
        shown(files)
        second = at.back_up()
        at.restic("forget", first)
        found, gaps = shown(files)
    assert {} == gaps
    assert f"{second}/restored{at.data}/old.sql" in found
    with closing(store(at).files()) as files:
        walk = files.walk()
        assert f"{second}//said" == next(walk).path
        at.restic("forget", second)
        assert [] == [entry for entry in walk if isinstance(entry, Unread)]


def test_too_little_room_for_a_restore_is_said_before_it_begins(at: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    at.back_up()
    usage = shutil.disk_usage(at.scratch)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with closing(store(at).files()) as files, pytest.raises(HostFault, match="has 1000 free; make room there"):
        list(files.walk())
    assert [] == list(at.scratch.iterdir())
