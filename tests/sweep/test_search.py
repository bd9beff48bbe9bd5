"""Counting: across block borders, by place and class, and without a value in any result (P8)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.errors import NotPermitted
from domicile.stores.postgres.files import Layout, ServerFile, Unread
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
