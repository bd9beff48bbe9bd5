"""Bytes to model and back: canonical JSON of frozen dataclasses, strict and bounded.

One value has one spelling: UTF-8, keys sorted, no white space, no floats, no unknown, missing or doubled
keys, times as `2026-11-22T10:00:00Z`. Whatever is wrong comes out as `BadFile` with the place, never with the
value (P8).
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

from domicile.errors import BadFile

JSON_BYTES_MAX: Final = 64 * 1024 * 1024
TEXT_CHARS_MAX: Final = 4_096
ITEMS_MAX: Final = 1_000_000
COUNT_MAX: Final = 2**53 - 1  # what every JSON reader holds exactly
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """A constraint on a text, for `Annotated`: the whole of it matches, else it is not `what`."""

    pattern: str
    what: str


Hex = Annotated[str, Matches(pattern="[0-9a-f]{64}", what="64 lower-case hex digits")]


def encode(value: object) -> bytes:
    """Write a dataclass as canonical JSON; `BadFile` if it could not be read back."""
    return dump_json(to_json(value))


def decode(data: bytes, kind: type[T]) -> T:
    """Read a dataclass of this kind from canonical JSON; `BadFile` for anything else."""
    return from_json(load_json(data), kind)


def to_json(value: object) -> Json:
    """Turn a dataclass into JSON values. Times are cut to whole seconds."""
    written = _write(value)
    _read(written, type(value), type(value).__name__)
    return written


def from_json(value: Json, kind: type[T]) -> T:
    """Turn JSON values into a dataclass of this kind."""
    found: T = _read(value, kind, kind.__name__)
    return found


def dump_json(value: Json) -> bytes:
    """Write JSON in the one spelling."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def load_json(data: bytes, *, bytes_max: int = JSON_BYTES_MAX) -> Json:
    """Read JSON that is in the one spelling."""
    if len(data) > bytes_max:
        raise BadFile(f"JSON: longer than {bytes_max} bytes; give the file that Domicile wrote")
    try:
        value: Json = json.loads(data.decode(), parse_float=_refuse, parse_constant=_refuse)
        same = dump_json(value) == data
    except (ValueError, RecursionError) as error:
        raise BadFile("JSON: can't be read; give the file that Domicile wrote, unchanged") from error
    if not same:
        raise BadFile("JSON: not in its one spelling (sorted keys, no spaces); give the file unchanged")
    return value


def format_time(when: datetime) -> str:
    """Write an aware time in UTC, cut to whole seconds."""
    if when.tzinfo is None:
        raise BadFile("time: has no zone; give an aware time")
    return when.astimezone(UTC).strftime(_TIME)


def parse_time(text: str) -> datetime:
    """Read a time in its one spelling."""
    try:
        when = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError as error:
        raise BadFile("time: not of the form 2026-11-22T10:00:00Z; correct it") from error
    if format_time(when) != text:
        raise BadFile("time: not of the form 2026-11-22T10:00:00Z; correct it")
    return when


def _refuse(_: str) -> Json:
    raise ValueError("a number that is no integer")


def _write(value: object) -> Json:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _write(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_write(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: _write(getattr(value, name)) for name in _fields(type(value))}
    raise BadFile(f"{type(value).__name__}: has no JSON form; hand in a value of the model")


def _read(value: Json, kind: Any, where: str) -> Any:  # noqa: ANN401  (a type form, and a value of it)
    """Read one value; each kind of type form has one reader."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _read_annotated(value, kind, where)
    if origin in (Union, types.UnionType):
        inner = [form for form in get_args(kind) if form is not type(None)]
        return None if value is None else _read(value, inner[0], where)
    if origin is tuple:
        return _read_tuple(value, get_args(kind)[0], where)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(value, get_args(kind)[1], where)
    if dataclasses.is_dataclass(kind):
        return _read_record(value, kind, where)
    return _read_leaf(value, kind, where)


def _read_annotated(value: Json, kind: Any, where: str) -> Any:  # noqa: ANN401  (a type form, and a value of it)
    base, *rules = get_args(kind)
    found = _read(value, base, where)
    for rule in rules:
        if isinstance(rule, Matches) and not re.fullmatch(rule.pattern, found):
            raise BadFile(f"{where}: expected {rule.what}; correct it")
    return found


def _read_tuple(value: Json, kind: Any, where: str) -> tuple[Any, ...]:  # noqa: ANN401  (a type form)
    if not isinstance(value, list) or len(value) > ITEMS_MAX:
        raise BadFile(f"{where}: expected a list of at most {ITEMS_MAX} items; correct it")
    return tuple(_read(item, kind, f"{where}[{place}]") for place, item in enumerate(value))


def _read_mapping(value: Json, kind: Any, where: str) -> dict[str, Any]:  # noqa: ANN401  (a type form)
    if not isinstance(value, dict) or len(value) > ITEMS_MAX:
        raise BadFile(f"{where}: expected an object of at most {ITEMS_MAX} keys; correct it")
    return {_text(key, f"{where} key"): _read(item, kind, f"{where}.*") for key, item in value.items()}


def _read_record(value: Json, kind: Any, where: str) -> Any:  # noqa: ANN401  (a type form, and a value of it)
    fields = _fields(kind)
    if not isinstance(value, dict) or value.keys() != fields.keys():
        raise BadFile(f"{where}: expected an object with exactly the keys {', '.join(fields)}; correct it")
    return kind(**{name: _read(value[name], form, f"{where}.{name}") for name, form in fields.items()})


def _read_leaf(value: Json, kind: Any, where: str) -> Any:  # noqa: ANN401  (a type form, and a value of it)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is int and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= COUNT_MAX:
        return value
    if isinstance(kind, type) and kind not in (bool, int) and isinstance(value, str):
        return _read_text(_text(value, where), kind, where)
    raise BadFile(f"{where}: expected {_NAMES.get(kind, 'a text')}; correct it")


def _read_text(value: str, kind: type, where: str) -> object:
    readers: dict[type, Callable[[str], object]] = {datetime: parse_time, date: _parse_date, str: str}
    try:
        if kind in readers or issubclass(kind, StrEnum):
            return readers.get(kind, kind)(value)
    except (ValueError, BadFile) as error:
        raise BadFile(f"{where}: expected {_NAMES.get(kind, kind.__name__)}; correct it") from error
    raise RuntimeError(f"{where}: no reader for {kind}")


def _text(value: str, where: str) -> str:
    if len(value) > TEXT_CHARS_MAX or not value.isprintable():
        raise BadFile(f"{where}: expected a printable text of at most {TEXT_CHARS_MAX} characters; correct it")
    return value


def _parse_date(text: str) -> date:
    found = date.fromisoformat(text)
    if found.isoformat() != text:
        raise ValueError("another spelling")
    return found


@cache
def _fields(kind: type) -> dict[str, Any]:
    """The fields of a dataclass, by name, with their type forms."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


_NAMES: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: f"a whole number from 0 to {COUNT_MAX}",
    datetime: "a time such as 2026-11-22T10:00:00Z",
    date: "a day such as 2026-11-22",
}
