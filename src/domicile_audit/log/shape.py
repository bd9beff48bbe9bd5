"""JSON in one spelling, and shapes that it must fit: nothing unknown, nothing missing, everything bounded.

A shape is written as in docs/formats.md: a dict (exactly these keys), `{"*": X}` (any keys, whose values are X), a list
with one item (a list of such items), or a leaf: what says of a single value whether it fits.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from domicile_audit.case import Refused, require

JSON_BYTES_MAX = 64 * 1024 * 1024  # what a writer may write; values take up to 30 times as much memory
ITEMS_MAX = 1_000_000
COUNT_MAX = 2**53 - 1

Leaf = Callable[[object], bool]


def text(pattern: str = ".*", chars_max: int = 4_096) -> Leaf:
    """A printable text (so no control characters reach a terminal) that fully matches a pattern."""

    def fits(value: object) -> bool:
        bounded = isinstance(value, str) and len(value) <= chars_max and value.isprintable()
        return bounded and bool(re.fullmatch(pattern, str(value)))

    return fits


def moment(form: str) -> Leaf:
    """A time in UTC, or a day, in just this spelling; the order of such texts is that of the times."""

    def fits(value: object) -> bool:
        try:
            again = datetime.strptime(str(value), form).strftime(form)  # noqa: DTZ007  (Z is in it)
        except ValueError:
            return False
        return again == value and again >= "1000"  # some systems write the year 999 as 0999

    return fits


def maybe(leaf: Leaf) -> Leaf:
    """Null, or what the leaf wants."""
    return lambda value: value is None or leaf(value)


def COUNT(value: object) -> bool:  # noqa: N802  (a shape)
    """A whole number from 0 on."""
    return type(value) is int and 0 <= value <= COUNT_MAX


def FLAG(value: object) -> bool:  # noqa: N802  (a shape)
    """True or false."""
    return isinstance(value, bool)


TEXT, HEX = text(), text("[0-9a-f]{64}")
TIME, DAY = moment("%Y-%m-%dT%H:%M:%SZ"), moment("%Y-%m-%d")


def read_json(data: bytes, where: str) -> Any:  # noqa: ANN401  (JSON is anything until it fits a shape)
    """Read JSON; refuse unless sorted keys, no spaces and no floats give back the same bytes."""
    require(len(data) <= JSON_BYTES_MAX, f"{where} is longer than {JSON_BYTES_MAX} bytes")
    try:
        value = json.loads(data.decode(), parse_float=int, parse_constant=int)  # int reads no 0.5, no 1e3, no NaN
        again = write_json(value).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(f"{where} is not JSON of whole numbers and texts, or is nested too deeply") from error
    require(again == data, f"{where} is JSON, but not in its one spelling")
    return value


def write_json(value: object) -> str:
    """Write JSON in its one spelling."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def misfit(value: Any, shape: Any, where: str = "") -> str | None:  # noqa: ANN401  (any JSON, any shape)
    """The first place that does not fit the shape, or None."""
    if callable(shape):
        return None if shape(value) else where
    if not isinstance(value, type(shape)) or len(value) > ITEMS_MAX:
        return where or "the top"
    if isinstance(shape, list):
        parts = ((item, shape[0], f"{where}[{place}]") for place, item in enumerate(value))
    elif "*" in shape and all(map(TEXT, value)):
        parts = ((item, shape["*"], f"{where}.*") for item in value.values())
    elif value.keys() == shape.keys():
        parts = ((value[key], inner, f"{where}.{key}") for key, inner in shape.items())
    else:
        return where or "the top"
    wrong = (misfit(*part) for part in parts)
    return next((place for place in wrong if place is not None), None)
