"""JSON in one spelling, and shapes that it must fit: nothing unknown, nothing missing, everything bounded.

A shape is a dict (exactly these keys), a list with one item (a list of such items), or one of the leaves below.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from domicile_audit.case import Refused, require

JSON_BYTES_MAX = 64 * 1024 * 1024  # what a writer may write; values take up to 30 times as much memory
ITEMS_MAX = 1_000_000
COUNT_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Text:
    """A printable text (so no control characters reach a terminal), perhaps one that fully matches a pattern."""

    pattern: str | None = None
    chars_max: int = 4_096


@dataclass(frozen=True, slots=True)
class Count:
    """A whole number from 0 on."""


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Time:
    """`2026-11-22T10:00:00Z`, nothing else."""


@dataclass(frozen=True, slots=True)
class Day:
    """`2026-11-22`."""


@dataclass(frozen=True, slots=True)
class Maybe:
    """Null or the inner shape."""

    inner: Any


@dataclass(frozen=True, slots=True)
class Map:
    """An object with any keys whose values have the inner shape."""

    inner: Any


TEXT, COUNT, FLAG, TIME, DAY = Text(), Count(), Flag(), Time(), Day()
HEX = Text(pattern="[0-9a-f]{64}")


def read_json(data: bytes, where: str) -> Any:  # noqa: ANN401  (JSON is anything until it fits a shape)
    """Read JSON; refuse unless sorted keys, no spaces and no floats give back the same bytes."""
    require(len(data) <= JSON_BYTES_MAX, f"{where} is longer than {JSON_BYTES_MAX} bytes")
    try:
        value = json.loads(data.decode(), parse_float=_no_float, parse_constant=_no_float)
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(f"{where} is not JSON of whole numbers and texts") from error
    require(again == data, f"{where} is JSON, but not in its one spelling")
    return value


def read_time(text: str) -> datetime:
    """Read a time whose shape was checked."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def misfit(value: Any, shape: Any, where: str = "") -> str | None:  # noqa: ANN401  (any JSON, any shape)
    """The place that does not fit the shape, or None."""
    if isinstance(shape, dict):
        if not isinstance(value, dict) or value.keys() != shape.keys():
            return where or "the top"
        return _first(misfit(value[key], inner, f"{where}.{key}") for key, inner in shape.items())
    if isinstance(shape, list):
        if not isinstance(value, list) or len(value) > ITEMS_MAX:
            return where
        return _first(misfit(item, shape[0], f"{where}[{place}]") for place, item in enumerate(value))
    if isinstance(shape, Map):
        if not isinstance(value, dict) or len(value) > ITEMS_MAX or not all(_is_text(key, TEXT) for key in value):
            return where
        return _first(misfit(item, shape.inner, f"{where}.*") for item in value.values())
    if isinstance(shape, Maybe):
        return None if value is None else misfit(value, shape.inner, where)
    return None if _fits_leaf(value, shape) else where


def _fits_leaf(value: Any, shape: Any) -> bool:  # noqa: ANN401  (any JSON, any leaf)
    if isinstance(shape, Flag):
        return isinstance(value, bool)
    if isinstance(shape, Count):
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX
    if isinstance(shape, Time):
        return isinstance(value, str) and _is_written(
            value, lambda text: read_time(text).strftime("%Y-%m-%dT%H:%M:%SZ")
        )
    if isinstance(shape, Day):
        return isinstance(value, str) and _is_written(value, lambda text: date.fromisoformat(text).isoformat())
    return _is_text(value, shape)


def _is_text(value: Any, shape: Text) -> bool:  # noqa: ANN401  (any JSON)
    if not isinstance(value, str) or len(value) > shape.chars_max or not value.isprintable():
        return False
    return shape.pattern is None or bool(re.fullmatch(shape.pattern, value))


def _is_written(text: str, rewrite: Any) -> bool:  # noqa: ANN401  (a function of a text)
    try:
        return bool(rewrite(text) == text)
    except ValueError:
        return False


def _first(places: Any) -> str | None:  # noqa: ANN401  (an iterable of places)
    return next((place for place in places if place is not None), None)


def _no_float(_: str) -> None:
    raise ValueError("a number that is not whole")
