"""Folders that a run writes to or clears, when the power goes: what was brought is there, what was removed is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from domicile.stores.around.folder import Folder
from domicile.stores.keyservices import generation_of
from domicile.stores.objects import NULL_VERSION
from domicile.stores.objects.files import FileObjects
from domicile.stores.objects.folders import PARTS_FOLDER
from tests.keys.benches import Files
from tests.powerloss import Disk
from tests.stores.objects.benches import put

pytestmark = pytest.mark.crash
KEY = "ca/2020/clip.mp4"


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "disk").mkdir()
    return Disk(tmp_path / "disk")


@pytest.mark.parametrize("alone", [True, False])
def test_p1_p3_an_object_in_a_folder_is_there_when_it_was_put_and_gone_when_it_was_removed(
    disk: Disk, tmp_path: Path, alone: bool
) -> None:
    """With its folders, where it was alone in them: their names can tell of people, too."""
    if not alone:
        others = (disk.root / KEY).parent / PARTS_FOLDER
        others.mkdir(parents=True)
        (others / "half.mp4").write_bytes(b"of another writer")
        (others.parent / "other.mp4").write_bytes(b"another")
    wholes = [b"first", b"second, and longer"]
    with disk.watched():
        store = FileObjects(disk.root, name="media")
        for data in wholes:
            put(store, KEY, data)
            disk.promise(data)
        store.remove(KEY, NULL_VERSION)
        disk.promise("removed")
    for number, left in enumerate(disk.remains):
        path = left.lay(tmp_path / f"left-{number}") / KEY
        found = path.read_bytes() if path.exists() else None
        if left.promised == "removed":
            assert (path.parents[1] if alone else path).exists() is False, left.moment
        elif left.promised is None:
            assert found in {None, wholes[0]}, left.moment
        else:
            assert found in wholes[wholes.index(left.promised) :] or (found, left.promised) == (None, wholes[1])


def test_p1_an_object_that_is_put_after_a_kill_is_there_when_the_power_goes_as_well(tmp_path: Path) -> None:
    """The folders that a killed process made are there for all to see, and maybe not on the disk."""
    finished = False
    for at in range(60):
        (tmp_path / f"{at}").mkdir()
        disk = Disk(tmp_path / f"{at}")
        with disk.watched():
            with disk.killed_after(at):
                put(FileObjects(disk.root, name="media"), KEY, b"whole")
            put(FileObjects(disk.root, name="media"), KEY, b"whole")
            disk.promise("put")
        for number, left in enumerate(one for one in disk.remains if one.promised):
            assert b"whole" == (left.lay(tmp_path / f"{at}-{number}") / KEY).read_bytes(), (at, left.moment)
        finished = not disk.was_killed
        if finished:
            break
    assert at > 8
    assert finished


def test_p3_what_was_removed_from_a_folder_of_dumps_does_not_come_back(disk: Disk, tmp_path: Path) -> None:
    (disk.root / "old").mkdir()
    for name in ("old/base.tar", "older.dump"):
        (disk.root / name).write_bytes(b"rows of people")
    with disk.watched():
        folder = Folder(store="dumps", path=disk.root)
        assert [None, None] == [folder.remove(name) for name in ("old", "older.dump")]
        folder.sync()
        disk.promise("removed")
    for number, left in enumerate(one for one in disk.remains if one.promised):
        assert [] == list(left.lay(tmp_path / f"left-{number}").iterdir()), left.moment


def test_p3_a_destroyed_key_is_overwritten_on_the_disk_and_its_name_does_not_come_back(
    disk: Disk, tmp_path: Path
) -> None:
    bench = Files(disk.root)
    public = bench.put_twice("backups-us")
    secrets = [path.read_bytes() for path in disk.root.rglob("*") if path.is_file()]
    assert 2 == len(secrets)
    with disk.watched():
        assert () == bench.service.destroy({generation_of(public)})
        disk.promise("destroyed")
    assert not any(secret in disk.ever_synced() for secret in secrets)
    for number, left in enumerate(one for one in disk.remains if one.promised):
        assert [] == [path for path in left.lay(tmp_path / f"left-{number}").rglob("*") if path.is_file()], left.moment
