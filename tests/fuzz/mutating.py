"""Bends bytes and JSON in ways that readers are known to trip over. One `Random` decides all, so a seed repeats it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from random import Random
from typing import Any

from domicile.evidence.codec import Json

NUMBERS = (0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**64, 10**30, True, False)
TEXTS = (
    "", " ", "\x00", "\x1b[2J", "\n", "\u202e", "\ufeff", "\ud800", "é", "e\u0301", "\U0001f600", "\uffff",
    "../../etc/passwd",
    "__proto__", "constructor", "a" * 4_096, "a" * 4_097, "0" * 64, "2026-02-30T00:00:00Z", "0999-01-01T00:00:00Z",
    "home", "NaN",
)  # fmt: skip
BYTES = (
    b"",
    b"\x00",
    b"\xff" * 8,
    b"\n\n",
    b"PK\x03\x04",
    b"PK\x05\x06",
    "— ".encode(),
    b"[" * 5_000,
    b'{"a":' * 999,
    b"1" * 5_000,
)
DEEP_MAX = 2_000


def bend_bytes(data: bytes, chance: Random) -> bytes:
    """The bytes with one to four places altered."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_BYTE_WAYS)(data, chance)
    return data


def _flip(data: bytes, chance: Random) -> bytes:
    if not data:
        return data
    place = chance.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]


def _set(data: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice(BYTES) + data[place + chance.randrange(9) :]


def _cut(data: bytes, chance: Random) -> bytes:
    one, two = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    return data[:one] + data[two:]


def _double(data: bytes, chance: Random) -> bytes:
    one, two = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    return data[:two] + data[one : min(two, one + 4_096)] + data[two:]


def _end(data: bytes, chance: Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


_BYTE_WAYS: tuple[Callable[[bytes, Random], bytes], ...] = (_flip, _flip, _flip, _set, _cut, _double, _end)


def bend_json(value: Json, chance: Random) -> Json:
    """A copy with one place altered: another value, a key more or less, an item twice, two items swapped."""
    holder: Json = {"top": copy.deepcopy(value)}
    places = list(_places(holder))
    # Every kind of place gets its turn: long lists of slices would else hide the few words that decide.
    parent, key = chance.choice(places) if chance.random() < 0.5 else _shallow(places, chance)
    _alter(parent, key, holder, chance)
    assert isinstance(holder, dict)
    return holder.get("top")


def _places(value: Json) -> Any:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def _shallow(places: list[Any], chance: Random) -> Any:
    names = sorted({str(key) for _, key in places})
    name = chance.choice(names)
    return chance.choice([place for place in places if str(place[1]) == name])


def _alter(parent: Any, key: Any, whole: Json, chance: Random) -> None:
    old = parent[key]
    match chance.randrange(8):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.insert(chance.randrange(len(parent) + 1), copy.deepcopy(old))
        case 2 if isinstance(parent, list):
            other = chance.randrange(len(parent))
            parent[key], parent[other] = parent[other], parent[key]
        case 3 if isinstance(parent, dict):
            parent[chance.choice(TEXTS)] = copy.deepcopy(old)
        case 4:
            parent[key] = copy.deepcopy(chance.choice([inner[place] for inner, place in _places(whole)]))
        case 5:
            parent[key] = chance.choice((None, [], {}, [old], {"detached": old}, *NUMBERS, *TEXTS))
        case _:
            parent[key] = _near(old, chance)


def _near(old: Json, chance: Random) -> Json:
    """A value of the same kind."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return chance.choice((old + 1, max(0, old - 1), 0, *NUMBERS))
    if isinstance(old, str):
        return chance.choice((old + "x", old[:-1], old.upper(), old.replace("0", "1"), *TEXTS))
    return chance.choice(([], {}, None))
