"""The log over HTTP: what C2SP tlog-tiles asks, and nothing else."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.evidence.publiclog.place import Web, read_entries
from domicile.evidence.publiclog.serve import application, is_within, tile_of
from domicile.evidence.tlog.checkpoint import parse_checkpoint
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.tile import Tile, decode_entries, tiles_of
from tests.cosigning.town import LOG, grown, listening
from tests.powerloss import Disk, Remains

YEAR = "public, max-age=31536000, immutable"
BYTES = "application/octet-stream"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    with listening(application(folder)) as url:
        yield url


def get(url: str, path: str, *, gzipped: bool = False, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """The answer to exactly this path; urllib would tidy it up."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, path, headers={"accept-encoding": "gzip" if gzipped else "identity"})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published log of 300 entries, and ten more that are not published."""
    folder = tmp_path_factory.mktemp("served") / "log"
    log = grown(folder, 300)
    log.publish()
    log.append([b"secret until it is cosigned"] * 10)
    (folder / "notes.txt").write_text("not of the log")
    (folder.parent / "detached").mkdir()
    (folder.parent / "detached" / f"{'0' * 64}.json").write_bytes(b"{}")
    (folder.parent / "engine.key").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with served(folder) as url:
        yield url


def test_the_checkpoint_is_text_that_nobody_keeps(url: str, folder: Path) -> None:
    status, headers, body = get(url, "/checkpoint")
    assert (200, (folder / "checkpoint").read_bytes()) == (status, body)
    assert ("text/plain; charset=utf-8", "no-cache") == (headers["content-type"], headers["cache-control"])
    assert 200 == get(url, "/checkpoint", method="HEAD")[0]


def test_every_tile_of_the_published_size_is_served_for_ever(url: str, folder: Path) -> None:
    tiles = tiles_of(300)
    assert {"tile/entries/000", "tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"} <= {t.path for t in tiles}
    for tile in tiles:
        status, headers, body = get(url, f"/{tile.path}")
        assert (200, (folder / tile.path).read_bytes()) == (status, body)
        assert (BYTES, YEAR) == (headers["content-type"], headers["cache-control"])


def test_entries_are_packed_for_who_can_unpack_them(url: str, folder: Path) -> None:
    _, headers, body = get(url, "/tile/entries/000", gzipped=True)
    whole = (folder / "tile/entries/000").read_bytes()
    assert ("gzip", "accept-encoding", whole) == (headers["content-encoding"], headers["vary"], gzip.decompress(body))
    assert len(body) < len(whole)
    assert "content-encoding" not in get(url, "/tile/0/000", gzipped=True)[1]


def test_what_is_not_published_is_not_served(url: str, folder: Path) -> None:
    assert (folder / "tile/entries/001.p/54").exists()
    for path in ("tile/entries/001.p/54", "tile/0/001.p/54", "tile/entries/001", "tile/1/000.p/2"):
        assert 404 == get(url, f"/{path}")[0]


@pytest.mark.parametrize(
    "path",
    ["/", "/tile", "/tile/", "/tile/0/", "/notes.txt", "/tile/entries/000/", "/tile/0/0", "/tile/00/000",
     "/tile/64/000", "/tile/0/x000/000", "/tile/0/001.p/044", "/tile/0/001.p/0", "/tile/0/001.p/256", "/tile/0/001.p",
     "/tile/0/-01",
     "//checkpoint", "/./checkpoint", "/tile/../checkpoint", "/../engine.key", "/tile/entries/../../../engine.key",
     "/%2e%2e/engine.key", "/checkpoint.tmp", "/detached", "/detached/../engine.key", "/detached/x.json",
     "/tile/0/%D9%A0%D9%A0%D9%A0"],
)  # fmt: skip
def test_anything_else_is_not_found_and_nothing_is_listed(url: str, path: str) -> None:
    status, _, body = get(url, path)
    assert (404, b"not found\n") == (status, body)


def test_nothing_is_taken(url: str) -> None:
    assert {405} == {get(url, "/checkpoint", method=method)[0] for method in ("POST", "PUT", "DELETE")}


def test_a_predicate_that_an_entry_left_outside_is_served(url: str) -> None:
    assert (200, b"{}") == (found := get(url, f"/detached/{'0' * 64}.json"))[::2]
    assert found[1]["cache-control"] == YEAR
    assert 404 == get(url, f"/detached/{'1' * 64}.json")[0]


def test_a_log_that_grows_is_served_as_it_is(tmp_path: Path) -> None:
    with served(tmp_path / "log") as url:
        assert 404 == get(url, "/checkpoint")[0]
        log = Log.create(tmp_path / "log", LOG)
        assert b"\n0\n" in get(url, "/checkpoint")[2]
        log.append([b"a"])
        assert 200 == get(url, "/tile/entries/000.p/1")[0]
        log.append([b"%d" % number for number in range(300)])
        partial = Tile(level=None, index=0, width=1)
        assert 404 == get(url, f"/{partial.path}")[0]  # tlog-tiles: it may go once the full one is there
        assert (b"a",) == read_entries(Web(url), partial)
        (tmp_path / "log/checkpoint").write_bytes(b"broken")
        assert 500 == get(url, "/tile/entries/000")[0]


@given(st.integers(0, 70_000), st.integers(0, 70_000))
def test_a_tile_is_served_from_the_size_on_that_has_it(one: int, two: int) -> None:
    size, later = sorted((one, two))
    for tile in tiles_of(size)[-5:]:
        assert tile == tile_of(tile.path)
        assert is_within(tile, size)
        assert is_within(tile, later)
    for tile in tiles_of(later, since=size)[-5:]:
        assert later == size or not is_within(tile, size)


def test_a_bundle_is_read_as_the_log_wrote_it(url: str, folder: Path) -> None:
    tile = tiles_of(300)[1]
    assert decode_entries((folder / tile.path).read_bytes(), width=44) == read_entries(Web(url), tile)


@pytest.mark.crash
def test_p9_nobody_is_handed_a_checkpoint_that_a_loss_of_power_would_take_back(tmp_path: Path) -> None:
    """A log that was killed right after the rename has published nothing for sure, until somebody has read it."""
    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk")
    log = grown(disk.root / "log", 3)
    log.publish()
    for steps in range(60):
        log.append([b"%d" % steps])
        with disk.watched():
            with disk.killed_after(steps):
                log.publish()
            with served(disk.root / "log") as url:
                disk.promise(get(url, "/checkpoint")[2])
        if not disk.was_killed:
            break
        log = Log.open(disk.root / "log", LOG, cosigned=True)
        log.publish()
    assert steps > 2
    sizes = [parse_checkpoint(parse_note(data).text).size for data in (left.promised for left in told(disk))]
    for number, (left, size) in enumerate(zip(told(disk), sizes, strict=True)):
        kept = (left.lay(tmp_path / f"left-{number}") / "log/checkpoint").read_bytes()
        assert size <= parse_checkpoint(parse_note(kept).text).size, left.moment


def told(disk: Disk) -> list[Remains]:
    """What is left once somebody was handed a checkpoint."""
    return [one for one in disk.remains if one.promised]
