"""A folder as a store: no link leads out of it, nothing half is seen, and what is no plain file is counted."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domicile.errors import HostFault, NotPermitted, StoreFault, WorldChanged
from domicile.stores.objects import NULL_VERSION, GapKind, Removal, Traits
from domicile.stores.objects.files import FOLDERS_DEEP_MAX, FileObjects
from domicile.stores.objects.folders import PARTS_FOLDER, translated
from domicile.stores.objects.parts import PART_BYTES
from tests.stores.objects.benches import Broken, blocks_of, put, read

TEXT = st.text(st.characters(), max_size=12) | st.text("ab./\\\0 é\udc80", max_size=8)


def _store(root: Path) -> FileObjects:
    return FileObjects(root, name="exports")


@settings(max_examples=60, deadline=None)
@given(key=TEXT)
@example(key="..")
@example(key="a/../../b")
@example(key="/etc/passwd")
@example(key="a\0b")
@example(key=PARTS_FOLDER + "/a")
@example(key="a/" + PARTS_FOLDER)
@example(key="\udcff")
@example(key="a//b")
@example(key="a" * 255)
@example(key="a" * 256)
def test_a_key_is_kept_as_it_is_spelt_or_refused_and_nothing_is_written(key: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "outer" / "root"
        root.mkdir(parents=True)
        store = _store(root)
        try:
            put(store, key, b"x")
        except StoreFault:
            assert [] == [path for path in Path(folder).rglob("*") if path.is_file()]
            assert () == store.history(key)
            assert store.head(key, NULL_VERSION) is None
            assert store.remove(key, NULL_VERSION) is Removal.WAS_GONE
        else:
            assert [key] == [version.key for version in store.versions()]
            assert b"x" == (root / key).read_bytes() == read(store, key, NULL_VERSION)
            assert store.remove(key, NULL_VERSION) is Removal.REMOVED
            assert [root] == list((Path(folder) / "outer").rglob("*"))


@settings(max_examples=60, deadline=None)
@given(names=st.lists(st.binary(min_size=1, max_size=6).filter(lambda name: not set(name) & {0, 47}), max_size=5))
@example(names=[b"\xff", b"ok", b"\xc3\xa9", b"\n", b" "])
def test_each_file_of_whatever_name_is_listed_or_counted(names: list[bytes]) -> None:
    wanted = {name for name in names if name not in {b".", b".."}}
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(name)  # noqa: PTH118 - bytes
        store = _store(Path(folder))
        listed = [version.key for version in store.versions()]
        gaps = {gap.kind: gap.count for gap in store.gaps()}
        for key in listed:
            assert key.encode() == read(store, key, NULL_VERSION)
        assert wanted >= {key.encode() for key in listed}
        assert len(wanted) == len(listed) + gaps.get(GapKind.NAME, 0)


def test_no_link_is_followed_to_read_write_or_remove(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"not ours")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "dangling").symlink_to(outside / "new")
    store = _store(root)
    assert [] == list(store.versions())
    for key in ("folder/secret", "file", "dangling"):
        assert () == store.history(key)
        with pytest.raises(WorldChanged):
            read(store, key, NULL_VERSION)
        assert store.remove(key, NULL_VERSION) is Removal.WAS_GONE
    with pytest.raises(StoreFault):
        put(store, "folder/new", b"x")
    assert [(GapKind.SYMLINK, 3)] == [(gap.kind, gap.count) for gap in store.gaps()]
    put(store, "file", b"ours")  # the name is replaced, not what it pointed at
    assert {"secret": b"not ours"} == {path.name: path.read_bytes() for path in outside.iterdir()}
    assert b"ours" == read(store, "file", NULL_VERSION)


def test_a_link_in_the_place_of_our_own_part_is_not_written_through(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / PARTS_FOLDER).mkdir(parents=True)
    outside.write_bytes(b"not ours")
    (root / PARTS_FOLDER / "a").symlink_to(outside)
    os.link(outside, root / PARTS_FOLDER / "b")
    for key in ("a", "b"):
        with pytest.raises(StoreFault):
            put(_store(root), key, b"x")
    assert b"not ours" == outside.read_bytes()


def test_links_special_files_and_second_names_are_counted(tmp_path: Path) -> None:
    (tmp_path / "twice").write_bytes(b"x")
    os.link(tmp_path / "twice", tmp_path / "second name")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("twice")
    deep = tmp_path.joinpath(*["d"] * (FOLDERS_DEEP_MAX + 1))
    deep.mkdir(parents=True)
    (deep / "lost").write_bytes(b"x")
    store = _store(tmp_path)
    assert ["second name", "twice"] == sorted(version.key for version in store.versions())
    gaps = {gap.kind: (gap.count, bool(gap.remedy)) for gap in store.gaps()}
    assert {
        GapKind.SYMLINK: (1, True),
        GapKind.SPECIAL_FILE: (1, True),
        GapKind.HARD_LINK: (2, True),
        GapKind.DEPTH: (1, True),
    } == gaps
    with pytest.raises(WorldChanged):
        read(store, "pipe", NULL_VERSION)


def test_a_file_as_deep_as_may_be_is_reached(tmp_path: Path) -> None:
    store, key = _store(tmp_path), "d/" * FOLDERS_DEEP_MAX + "end"
    put(store, key, b"x")
    assert [key] == [version.key for version in store.versions()]
    with pytest.raises(StoreFault):
        put(store, "d/" + key, b"x")


def test_a_file_is_there_as_a_whole_or_as_it_was(tmp_path: Path) -> None:
    store = _store(tmp_path)
    put(store, "k", b"old")
    data = bytes(2 * PART_BYTES)
    with pytest.raises(Broken):
        store.put("k", blocks_of(data, break_at=PART_BYTES), Traits(), size=len(data))
    assert b"old" == read(store, "k", NULL_VERSION)
    assert [("k", 3)] == [(version.key, version.size) for version in store.versions()]
    assert [("k", (PART_BYTES,))] == [(upload.key, upload.parts) for upload in store.uploads()]
    put(store, "k", b"new")
    assert (["k"], []) == ([path.name for path in tmp_path.iterdir()], list(store.uploads()))
    assert stat.S_IRUSR | stat.S_IWUSR == stat.S_IMODE((tmp_path / "k").stat().st_mode)


def test_folders_that_a_removal_empties_go_too(tmp_path: Path) -> None:
    store = _store(tmp_path)
    for key in ("anna/2026/a", "anna/2026/b", "bert/c"):
        put(store, key, b"x")
    store.remove("anna/2026/a", NULL_VERSION)
    assert (tmp_path / "anna" / "2026").is_dir()
    store.remove("anna/2026/b", NULL_VERSION)
    assert ["bert"] == [path.name for path in tmp_path.iterdir()]


def test_a_file_and_a_folder_of_one_name_cannot_both_be(tmp_path: Path) -> None:
    store = _store(tmp_path)
    put(store, "a", b"x")
    put(store, "b/c", b"x")
    for key in ("a/b", "b"):
        with pytest.raises(StoreFault, match="needs a folder"):
            put(store, key, b"y")
    assert ["a", "b/c"] == sorted(version.key for version in store.versions())


@pytest.mark.parametrize(
    ("number", "ours"),
    [(errno.EACCES, NotPermitted), (errno.EROFS, NotPermitted), (errno.ENOSPC, HostFault), (errno.EIO, StoreFault)],
)
def test_errors_of_the_system_come_out_as_ours_without_names(number: int, ours: type[Exception]) -> None:
    fault = translated(OSError(number, "text", "anna@example.org"), "exports")
    assert type(fault) is ours
    assert "anna" not in str(fault)
