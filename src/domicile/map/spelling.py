"""Values → YAML that a reader of YAML 1.2 or 1.1 returns exactly: scalars for the draft, blocks for whole rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from domicile.map.words import listed

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*(?: [A-Za-z0-9_.\-]+)*|(?:env|file):[A-Za-z0-9_./\-]+")
_RESERVED = listed("true false null yes no on off y n ~")


def scalar(value: str | float | bool | None) -> str:
    """Spell a value as a YAML scalar that fits block and flow style alike."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return '"' + "".join(_escaped(sign) for sign in value) + '"'


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return "\\" + sign
    if sign.isprintable() and sign != "\ufeff":
        return sign
    number = ord(sign)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def block(value: object, depth: int) -> Iterator[str]:
    """Spell maps and lists of plain values as YAML blocks."""
    blank = "  " * depth
    if isinstance(value, dict):
        for key, inner in value.items():
            if _holds_more(inner):
                yield f"{blank}{scalar(key)}:"
                yield from block(inner, depth + 1)
            else:
                yield f"{blank}{scalar(key)}: {_leaf(inner)}"
    elif isinstance(value, list):
        for inner in value:
            lines = list(block(inner, depth + 1)) if _holds_more(inner) else [_leaf(inner)]
            yield f"{blank}- {lines[0].lstrip(' ')}"
            yield from lines[1:]


def _holds_more(value: object) -> bool:
    return isinstance(value, (dict, list)) and bool(value)


def _leaf(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    if value is None or isinstance(value, (str, bool, int, float)):
        return scalar(value)
    raise RuntimeError(f"no YAML spelling of {type(value).__name__}")


def said(rule: BaseModel) -> dict[str, Any]:
    """Return what a person or an export wrote of a rule, and nothing that is there by default."""
    return dict(rule.model_dump(mode="json", by_alias=True, exclude_unset=True))
