"""JSON in one spelling, and shapes that it must fit: nothing unknown, nothing missing, everything bounded.

A shape is a dict (exactly these keys), a list with one item (a list of such items), a `Map` (any keys), or a leaf: what
says of a single value whether it fits.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domicile_audit.case import Refused, require

JSON_BYTES_MAX = 64 * 1024 * 1024  # what a writer may write; values take up to 30 times as much memory
ITEMS_MAX = 1_000_000
COUNT_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Map:
    """An object with any keys whose values have the inner shape."""

    inner: Any


@dataclass(frozen=True, slots=True)
class Maybe:
    """Null, or what the leaf wants."""

    leaf: Callable[[object], bool]

    def __call__(self, value: object) -> bool:
        """Say whether the value fits."""
        return value is None or self.leaf(value)


@dataclass(frozen=True, slots=True)
class Text:
    """A printable text (so no control characters reach a terminal) that fully matches a pattern."""

    pattern: str = ".*"
    chars_max: int = 4_096

    def __call__(self, value: object) -> bool:
        """Say whether the value fits."""
        bounded = isinstance(value, str) and len(value) <= self.chars_max and value.isprintable()
        return bounded and bool(re.fullmatch(self.pattern, str(value)))


@dataclass(frozen=True, slots=True)
class Moment:
    """A time in UTC, or a day, in just this spelling; the order of such texts is that of the times."""

    form: str

    def __call__(self, value: object) -> bool:
        """Say whether the value fits."""
        try:
            return datetime.strptime(str(value), self.form).strftime(self.form) == value  # noqa: DTZ007  (Z is in it)
        except ValueError:
            return False


def COUNT(value: object) -> bool:  # noqa: N802  (a shape)
    """A whole number from 0 on."""
    return type(value) is int and 0 <= value <= COUNT_MAX


def FLAG(value: object) -> bool:  # noqa: N802  (a shape)
    """True or false."""
    return isinstance(value, bool)


TEXT, HEX = Text(), Text(pattern="[0-9a-f]{64}")
TIME, DAY = Moment("%Y-%m-%dT%H:%M:%SZ"), Moment("%Y-%m-%d")


def read_json(data: bytes, where: str) -> Any:  # noqa: ANN401  (JSON is anything until it fits a shape)
    """Read JSON; refuse unless sorted keys, no spaces and no floats give back the same bytes."""
    require(len(data) <= JSON_BYTES_MAX, f"{where} is longer than {JSON_BYTES_MAX} bytes")
    try:
        value = json.loads(data.decode(), parse_float=int, parse_constant=int)  # int reads no 0.5, no 1e3, no NaN
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(f"{where} is not JSON of whole numbers and texts") from error
    require(again == data, f"{where} is JSON, but not in its one spelling")
    return value


def misfit(value: Any, shape: Any, where: str = "") -> str | None:  # noqa: ANN401  (any JSON, any shape)
    """The place that does not fit the shape, or None."""
    if callable(shape):
        return None if shape(value) else where
    kind = list if isinstance(shape, list) else dict
    fits = isinstance(value, kind) and len(value) <= ITEMS_MAX
    if not fits or (isinstance(shape, dict) and value.keys() != shape.keys()):
        return where or "the top"
    wrong = (misfit(*part) for part in _parts(value, shape, where))
    return next((place for place in wrong if place is not None), None)


def _parts(value: Any, shape: Any, where: str) -> Iterator[tuple[Any, Any, str]]:  # noqa: ANN401  (as above)
    """What is inside a value, each with the shape that it must fit and its place."""
    if isinstance(shape, list):
        yield from ((item, shape[0], f"{where}[{place}]") for place, item in enumerate(value))
    elif isinstance(shape, Map):
        yield from ((key, TEXT, f"{where}.*") for key in value)
        yield from ((item, shape.inner, f"{where}.*") for item in value.values())
    else:
        yield from ((value[key], inner, f"{where}.{key}") for key, inner in shape.items())
