"""References read out of a column's value, by rows: what `Reading` says, as a program."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final
from uuid import UUID

from domicile.errors import StoreFault
from domicile.model import EACH, Holds, KeyKind, Reading

WHOLE_NUMBER: Final = re.compile(r"^-?\d{1,18}(\.0+)?$")
HEX: Final = re.compile(r"^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$")


def references(reading: Reading, row: Mapping[str, object]) -> list[object]:
    """The keys that the row's column names, each once; a text that can't be such a key names nothing."""
    found: dict[object, None] = {}
    for text in _texts(reading, row[reading.column]):
        key = _key(reading.kind, text)
        if key is not None:
            found[key] = None
    return list(found)


def is_readable(reading: Reading, row: Mapping[str, object]) -> bool:
    """Whether the column holds what is read: of JSON kept as text, whether it is JSON (or nothing at all)."""
    value = row[reading.column]
    return reading.holds is not Holds.JSON or value is None or _parsed(str(value)) is not _NOTHING


_NOTHING: Final = object()


def _texts(reading: Reading, value: object) -> Iterator[str]:
    if value is None:
        return
    if reading.holds in (Holds.JSON, Holds.JSONB):
        value = _parsed(str(value))
    leaves = [value] if reading.holds is Holds.TEXT else _walk(value, reading.steps)
    for leaf in leaves:
        text = _spelled(leaf)
        if text is None:
            continue
        if reading.pattern is None:
            yield text
        else:
            yield from (match[1] for match in re.finditer(reading.pattern, text) if match[1] is not None)


def _parsed(text: str) -> object:
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _NOTHING


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _walk(value: object, steps: tuple[str, ...]) -> Iterator[object]:
    """Follow the steps as a JSON path in lax mode does."""
    if not steps:
        yield from value if isinstance(value, list) else [value]
        return
    step, rest = steps[0], steps[1:]
    if step == EACH:
        for item in value if isinstance(value, list) else [value]:
            yield from _walk(item, rest)
        return
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict) and step in item:
            yield from _walk(item[step], rest)


def _spelled(leaf: object) -> str | None:
    """The text of a leaf; of lists, mappings, truth values and null there is none."""
    if isinstance(leaf, bool) or leaf is _NOTHING:
        return None
    return str(leaf) if isinstance(leaf, str | int | float | Decimal | UUID) else None


def _key(kind: KeyKind, text: str) -> object:
    if kind is KeyKind.INTEGER:
        return int(Decimal(text)) if WHOLE_NUMBER.match(text) else None
    if kind is KeyKind.UUID:
        return UUID(text) if HEX.match(text) else None
    if kind is KeyKind.OTHER:
        raise StoreFault("store memory compares references read out of columns with whole numbers, uuids and texts")
    return text
