"""What is read is bounded and has one spelling: each limit at its edge, each shape with what just misses it."""

from __future__ import annotations

import base64
import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from domicile_audit.case import Refused
from domicile_audit.checklist import audit
from domicile_audit.log import container, envelopes, shape, tree
from domicile_audit.log.keys import KEY_CHARS_MAX, read_vkey
from domicile_audit.log.shape import COUNT, DAY, FLAG, HEX, TEXT, TIME, maybe, misfit, read_json, text
from domicile_audit.log.tree import _split_entries, _tiles, merkle_root
from domicile_audit.spot.opening import read_opening
from domicile_audit.spot.sample import read_sample
from domicile_audit.trust.policy import POLICY_BYTES_MAX, read_policy
from tests.vectors import make
from tests.vectors import scenario as s

GOOD = (Path(make.__file__).parent / "good" / "all-erased.zip").read_bytes()
FILES = 10
LONGEST = 21_233  # bytes of a file
DETACHED = 45_523


@pytest.mark.parametrize(
    ("fits", "value"),
    [
        (TEXT, ["", "x" * 4_096, "é – ✓"]),
        (text("home|source"), ["home", "source"]),
        (HEX, ["0a" * 32]),
        (COUNT, [0, 2**53 - 1]),
        (FLAG, [True, False]),
        (TIME, ["2026-11-22T10:00:00Z", "2024-02-29T23:59:59Z"]),
        (DAY, ["2026-11-22"]),
        (maybe(DAY), [None, "2026-11-22"]),
        ([COUNT], [[], [1, 2]]),
        ({"*": COUNT}, [{}, {"us": 1}]),
        ({"a": COUNT}, [{"a": 1}]),
    ],
)
def test_what_fits(fits: Any, value: list[Any]) -> None:
    assert [None] * len(value) == [misfit({"here": one}, {"here": fits}) for one in value]


@pytest.mark.parametrize(
    ("fits", "value"),
    [
        (TEXT, [None, 7, ["x"], {}, "x" * 4_097, "two\nlines", "\x1b[2J", "\u202e"]),
        (text("home|source"), ["home ", "HOME", "homesource", ""]),
        (HEX, ["0a" * 31, "0A" * 32, "0a" * 32 + "\n", "0a" * 33]),
        (COUNT, [-1, 2**53, True, 1.0, "1", None]),
        (FLAG, [0, 1, "true", None]),
        (
            TIME,
            [
                "2026-02-30T10:00:00Z",
                "2026-11-22T10:00:00+00:00",
                "2026-1-22T10:00:00Z",
                "2026-11-22T10:00:60Z",
                "0999-11-22T10:00:00Z",
                7,
            ],
        ),
        (DAY, ["2026-02-30", "2026-1-22", "20261122", "0999-11-22", "2026-11-22T10:00:00Z", None]),
        (maybe(DAY), ["", False]),
        ([COUNT], [None, {}, "12", [1, "2"]]),
        ({"*": COUNT}, [None, [], {"us": -1}, {"two\nlines": 1}, {"x" * 4_097: 1}]),
        ({"a": COUNT}, [None, [], {}, {"a": 1, "b": 1}, {"b": 1}, {"a": -1}]),
    ],
)
def test_p9_what_just_misses_a_shape_is_named_by_its_place(fits: Any, value: list[Any]) -> None:
    for one in value:
        place = misfit({"here": one}, {"here": fits})
        assert place is not None, one
        assert place.startswith(".here")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a":1}\n',
        b' {"a":1}',
        b'{"a": 1}',
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\ud800"}',
        b"NaN",
        b"Infinity",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"9" * 10_000,
    ],
)
def test_p9_json_in_another_spelling_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        read_json(data, "this")


@pytest.mark.parametrize("read", [read_opening, read_sample])
@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"objects":' * 100_000, b'{"a":' * 9_999 + b"0" + b"}" * 9_999])
def test_p9_what_is_nested_too_deeply_is_refused_by_its_reader(read: Callable[[bytes], object], data: bytes) -> None:
    """Not by whoever calls it: RecursionError is no ValueError, and a caller that forgets it shows a stack trace."""
    with pytest.raises(ValueError, match=r"nested too deeply|is not JSON"):
        read(data + b"\n")


@pytest.mark.parametrize(
    ("module", "name", "limit", "check"),
    [
        (container, "BUNDLE_BYTES_MAX", len(GOOD), 1),
        (container, "FILE_BYTES_MAX", LONGEST, 1),
        (container, "FILES_MAX", FILES, 1),
        (shape, "JSON_BYTES_MAX", 2_579, 8),
        (shape, "ITEMS_MAX", 12, 9),
        (tree, "NOTE_BYTES_MAX", 192, 5),
        (tree, "SIZE_MAX", 18, 5),
    ],
)
def test_p9_each_limit_holds_at_its_edge(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, limit: int, check: int
) -> None:
    """The bundle is just as large as allowed; then the limit is one less."""
    monkeypatch.setattr(module, name, limit)
    assert audit(GOOD).reason is None
    monkeypatch.setattr(module, name, limit - 1)
    assert check == audit(GOOD).checks[-1].number


def test_p9_a_policy_is_read_up_to_its_limit() -> None:
    policy = (Path(make.__file__).parent / "policies" / "right.txt").read_bytes()
    longest = policy + b"#" * (POLICY_BYTES_MAX - len(policy) - 1) + b"\n"
    assert read_policy(policy) == read_policy(longest)
    with pytest.raises(Refused):
        read_policy(longest + b"\n")


def test_p9_a_long_predicate_that_many_statements_name_counts_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = (Path(make.__file__).parent / "good" / "detached-predicate.zip").read_bytes()
    monkeypatch.setattr(envelopes, "DETACHED_BYTES_MAX", DETACHED)
    assert audit(bundle).accepted
    monkeypatch.setattr(envelopes, "DETACHED_BYTES_MAX", DETACHED - 1)
    assert "too many statements name detached predicates" in (audit(bundle).reason or "")


def key_line(name: str) -> str:
    raw = b"\x01" + s.ENGINE.verifier.public
    key_id = hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(raw).decode()}"


def test_p9_a_key_is_read_up_to_its_limit() -> None:
    longest = key_line("n" * 4_042)
    assert KEY_CHARS_MAX == len(longest)
    assert longest == read_vkey(longest).vkey
    with pytest.raises(Refused, match=r"NAME\+ID\+KEY"):
        read_vkey(key_line("n" * 4_043))


def test_p9_a_tile_of_empty_entries_does_not_fill_the_memory() -> None:
    """Two bytes of a tile are one entry, so that a tile of 512 MiB would make many gigabytes of them."""
    tile = bytes(2_000_000)
    tracemalloc.start()
    with pytest.raises(Refused, match="does not hold 3 entries"):
        _split_entries(tile, 3, "the tile")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize(
    ("count", "last"),
    [(1, "000.p/1"), (255, "000.p/255"), (256, "000"), (257, "001.p/1"), (1_002 * 256, "x001/001")],
)
def test_p9_a_row_of_tiles_ends_as_tlog_tiles_says(count: int, last: str) -> None:
    tiles = _tiles("0", count)
    assert (f"log/tile/0/{last}", count) == (tiles[-1][0], sum(width for _, width in tiles))


def test_a_tree_of_one_entry_is_its_hash() -> None:
    assert b"x" * 32 == merkle_root([b"x" * 32])
