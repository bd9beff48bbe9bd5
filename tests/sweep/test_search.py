"""Counting: across block borders, by place and class, and without a value in any result (P8)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import NotPermitted
from domicile.stores.postgres.files import Layout, LocalFiles, ServerFile, Unread
from domicile.stores.postgres.pages import Geometry
from domicile.sweep import SearchResult, TokenClass, Tokens
from domicile.sweep.scan import Scan
from domicile.sweep.search import BUCKET_BYTES, Spot, Tally, View

SPOT = Spot("heap:app.person", "base/1/2")


def searched(tokens: dict[bytes, TokenClass], blocks: list[bytes]) -> SearchResult:
    found = Tokens(tokens)
    tally = Tally(found.matcher())
    tally.stream(blocks, SPOT, view=View.RAW)
    return SearchResult(tokens=found.counts, how="test", copies=tally.result())


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 50))
def test_a_hit_is_counted_once_wherever_the_blocks_end(gaps: list[int], step: int) -> None:
    stream = b"needle-1".join(b"." * gap for gap in [*gaps, 3])
    blocks = [stream[start : start + step] for start in range(0, len(stream), step)]
    result = searched({b"needle-1": TokenClass.EMAIL, b"absent-22": TokenClass.NAME}, blocks)
    assert stream.count(b"needle-1") == result.hits
    assert len(stream) == result.bytes
    assert 1 == result.copies[0].distinct


def test_a_token_inside_another_is_found_too() -> None:
    result = searched({b"martin": TokenClass.NAME, b"martin@example.org": TokenClass.EMAIL}, [b"<martin@example.org>"])
    assert {TokenClass.NAME: 1, TokenClass.EMAIL: 1} == {f.token_class: f.count for f in result.copies[0].findings}


def test_offsets_are_rounded_to_buckets() -> None:
    result = searched({b"needle-1": TokenClass.EMAIL}, [b"." * (BUCKET_BYTES + 7), b"needle-1 needle-1"])
    assert [(BUCKET_BYTES, 2)] == [(finding.offset, finding.count) for finding in result.copies[0].findings]


def test_places_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("domicile.sweep.search.PLACES_MAX", 3)
    tally = Tally(Tokens({b"needle-1": TokenClass.EMAIL}).matcher())
    for number in range(10):
        tally.search(b"needle-1", Spot("c", f"file{number}"), offset=0, view=View.RAW)
    (search,) = tally.result()
    assert 10 == search.hits == sum(finding.count for finding in search.findings)
    assert 4 == len(search.findings)


def test_p8_no_value_in_any_result() -> None:
    result = searched({b"ada@example.org": TokenClass.EMAIL}, [b"mail ada@example.org"])
    assert 1 == result.hits
    assert "ada" not in repr(result)
    assert "ada" not in repr(Tally(Tokens({b"ada@example.org": TokenClass.EMAIL}).matcher()))


class Refusing:
    """Files that are listed and can't be read."""

    how = "test"

    def walk(self) -> Iterator[ServerFile | Unread]:
        yield ServerFile(path="left/ada@example.org.csv", size=10)
        yield Unread(path="left/ada@example.org", why="PermissionError")

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        raise NotPermitted(f"{path} from {offset} to {offset + length} can't be read; run as a user who may")


def test_p8_no_value_in_what_is_told_of_a_file_that_cannot_be_read() -> None:
    tally = Tally(Tokens({b"ada@example.org": TokenClass.EMAIL}).matcher())
    Scan(Refusing(), Layout(geometry=Geometry(), database=1, log_folder="", by_path={}), tally).all()
    (search,) = tally.result()
    assert (2, 2) == (search.hits, len(search.gaps))
    assert "ada" not in repr(search)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 2)), max_size=12), st.integers(1, 5))
def test_what_is_counted_in_parts_is_what_is_counted_at_once(works: list[tuple[int, int, int]], size: int) -> None:
    """Hits, tokens, gaps and bytes; and places, of which there are more than are told, but not in one part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("domicile.sweep.search.PLACES_MAX", 4)
        tokens = Tokens({b"needle-1": TokenClass.EMAIL, b"needle-2": TokenClass.NAME})
        once, parts = Tally(tokens.matcher()), Tally(tokens.matcher())
        for begin in range(0, len(works), size):
            part = parts.part()
            for tally in (once, part):
                for copy, file, hits in works[begin : begin + size]:
                    spot = Spot(f"copy {copy}", f"file {begin + file}")
                    tally.stream([b"needle-1 needle-2"[: 8 * hits + 1] * 2], spot, view=View.RAW)
                    tally.add(spot.copy, files=1, unpacked=file)
                    if not hits:
                        tally.gap(spot.copy, spot.path, "unseen")
            parts.take(part)
        assert once.result() == parts.result()


class Beside(LocalFiles):
    """Files of this machine that are read only when another one is being read at the same time."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.two = threading.Barrier(2, timeout=60)

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        if not offset and path.startswith("large"):
            self.two.wait()
        return super().read(path, offset, length)


def _so_many(threads: int, *, most: int) -> int:
    return min(threads, most)


def test_p3_files_that_are_searched_side_by_side_are_found_as_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = Layout(geometry=Geometry(), database=1, log_folder="", by_path={})
    noise = bytes(range(256)) * 20_000
    for number in range(2):
        (tmp_path / f"large{number}").write_bytes(noise + b"needle-1" + noise[: 1000 * number])
    for number in range(20):
        (tmp_path / f"small{number:02}").write_bytes(b"needle-2 " * number + b"x" * 300)
    results = []
    for threads in (1, 2):
        monkeypatch.setattr("domicile.sweep.scan.processors", partial(_so_many, threads))
        tally = Tally(Tokens({b"needle-1": TokenClass.EMAIL, b"needle-2": TokenClass.NAME}).matcher())
        files = LocalFiles(tmp_path) if threads == 1 else Beside(tmp_path)
        assert 22 == Scan(files, layout, tally).all()
        results.append(tally.result())
    assert results[0] == results[1]
    assert 2 + sum(range(20)) == sum(search.hits for search in results[0])


class Passing:
    """Files that are there only until the next one is asked for, as those of a backup that was restored to be seen."""

    how = "test"

    def __init__(self, contents: dict[str, bytes]) -> None:
        self._contents = contents
        self._now = ""

    def walk(self) -> Iterator[ServerFile | Unread]:
        for path, data in self._contents.items():
            self._now = path
            yield ServerFile(path=path, size=len(data))
        self._now = ""

    def read(self, path: str, offset: int, length: int) -> bytes | None:
        return self._contents[path][offset : offset + length] if path == self._now else None


def test_p3_what_was_restored_to_be_seen_is_searched_while_it_is_there() -> None:
    files = Passing({f"backup/{number}": b"needle-1 %d" % number for number in range(5)})
    layout = Layout(geometry=Geometry(), database=1, log_folder="", by_path={})
    tally = Tally(Tokens({b"needle-1": TokenClass.EMAIL}).matcher())
    assert 5 == Scan(files, layout, tally).all()
    assert 5 == sum(search.hits for search in tally.result())
