"""What a field holds, told from its name, its type and sampled values. Hints for a person, never a verdict.

A *kind* weighs how much a field tells of a person: `person` (names), `strong` (finds or describes one by itself),
`place` (an address), `weak` (only beside others), `free` (anything may stand in it), `opaque` (can't be read).
Categories are keys of the fideslang taxonomy, version 3.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from domicile.catalogue import Column
from domicile.catalogue.samples import FieldSample
from domicile.map.vocabulary import ENTRIES, Weight
from domicile.map.words import spelt


class Confidence(StrEnum):
    """How sure a proposal is."""

    SURE = "sure"
    LIKELY = "likely"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a field holds: a word for people, its fideslang category, its weight, and how sure that is."""

    name: str
    category: str | None
    weight: Weight
    confidence: Confidence = Confidence.LIKELY
    why: str = ""


PLAIN = Kind(name="plain", category=None, weight=Weight.PLAIN)


def kind_of(column: Column, sample: FieldSample | None) -> Kind:
    """Tell a field's kind: a telling name speaks first, then values, then other names, then the type."""
    seen = _by_values(column, sample)
    named = _by_name(column)
    if named is not None and named.weight is Weight.STRONG:
        return named
    if seen is not None and seen.confidence is not Confidence.UNSURE:
        return seen
    if named is not None and named.weight not in (Weight.FREE, Weight.TECHNICAL):
        return named
    return seen or named or _by_type(column) or PLAIN


# ------------------------------------------------------------------------------------------------ by name

_FLAGS = re.compile(r"_(verified|confirmed|count|enabled|is|has|opt|optin|consent|sent|status|type|flag)_|_id_$")


def _by_name(column: Column) -> Kind | None:
    name = spelt(column.name)
    textual = is_textual(column)
    for entry in ENTRIES:
        if (entry.text_only and not textual) or not entry.pattern.search(name):
            continue
        kind = Kind(name=entry.kind, category=entry.category, weight=entry.weight)
        if entry.weight is Weight.TECHNICAL or not _is_flag(name, column, kind):
            return kind
    return None


def _is_flag(name: str, column: Column, kind: Kind) -> bool:
    """A switch or a date *about* a field (email_verified, phone_confirmed_at) is not the field."""
    if column.category == "B":
        return True
    about = column.category == "D" and kind.name != "birth date"
    return about or (
        bool(_FLAGS.search(name)) and kind.name not in ("device", "cookie", "national number", "IP address")
    )


def is_textual(column: Column) -> bool:
    """Whether a field can hold words: strings, json, network addresses, geometry, arrays and types of the user."""
    return column.category in "SUAIGC" or column.base in ("bytea", "json", "jsonb", "xml", "uuid")


# ------------------------------------------------------------------------------------------------ by values

SHARE_TELLING = 0.6
VALUES_TELLING_MIN = 3
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_EMAIL_ONLY = re.compile(rf"\s*{_EMAIL.pattern}\s*")
_PHONE_ONLY = re.compile(r"\s*(\+|00|\()?[0-9][0-9 ().\-/]{6,22}(x[0-9]{1,6})?\s*")
_PHONE_MARK = re.compile(r"^\s*(\+|00|\()|[0-9][ ().\-/]+[0-9]")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"[0-9]{13,19}")


def _by_values(column: Column, sample: FieldSample | None) -> Kind | None:
    """Look at sampled values; None when they tell nothing."""
    if sample is None or not sample.values or not is_textual(column):
        return None
    if column.base in ("json", "jsonb"):
        return _by_keys(sample.values)
    counted = Counter(sample.values)
    for holds, name, category in _TESTS:
        share = sum(times for value, times in counted.items() if holds(value)) / len(sample.values)
        if share >= SHARE_TELLING and len(sample.values) >= VALUES_TELLING_MIN:
            return Kind(name=name, category=category, weight=Weight.STRONG, why=f"sampled values are {name} values")
    if any(_EMAIL.search(value) for value in counted):
        return Kind(
            name="free text", category="user.content.private", weight=Weight.STRONG, why="sampled values hold e-mails",
            confidence=Confidence.UNSURE,
        )  # fmt: skip
    return None


def _by_keys(values: Iterable[str]) -> Kind | None:
    """Judge json by the names of its keys; what is cut short or no object tells nothing."""
    names = {name for value in values for name in _keys(value)}
    hits = sorted({kind for name in names if (kind := _of_key(name))})
    if not hits:
        return None
    return Kind(
        name="free form", category="user.content.private", weight=Weight.STRONG, confidence=Confidence.UNSURE,
        why=f"its keys look like {', '.join(hits[:4])}",
    )  # fmt: skip


def _of_key(name: str) -> str | None:
    text = spelt(name)
    if _FLAGS.search(text):
        return None
    telling = (Weight.STRONG, Weight.PERSON, Weight.PLACE)
    return next((entry.kind for entry in ENTRIES if entry.weight in telling and entry.pattern.search(text)), None)


def _keys(value: str) -> list[str]:
    try:
        node = json.loads(value)
    except (ValueError, RecursionError):
        return re.findall(r'"([^"\\]{1,40})"\s*:', value)
    return [str(key) for key in node] if isinstance(node, dict) else []


def _is_ip(value: str) -> bool:
    if value.count(".") < 3 and value.count(":") < 2:
        return False
    try:
        ipaddress.ip_interface(value.strip())
    except ValueError:
        return False
    return True


def _is_phone(value: str) -> bool:
    """A number written as people write phone numbers: bare digits could be any key."""
    return bool(_PHONE_ONLY.fullmatch(value) and _PHONE_MARK.search(value)) and not _is_dated(value)


def _is_dated(value: str) -> bool:
    return bool(re.match(r"\s*\d{4}[-/.]\d{1,2}[-/.]\d{1,2}", value))


def _is_iban(value: str) -> bool:
    """ISO 13616: move the first four signs to the end, letters to numbers, the rest by 97 is 1."""
    text = value.replace(" ", "").upper()
    if not _IBAN.fullmatch(text):
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def _is_card(value: str) -> bool:
    """ISO/IEC 7812: 13 to 19 digits with a Luhn check digit."""
    text = re.sub(r"[ -]", "", value)
    if not _CARD.fullmatch(text):
        return False
    digits = [int(sign) for sign in reversed(text)]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


_TESTS: tuple[tuple[Callable[[str], object], str, str], ...] = (
    (_EMAIL_ONLY.fullmatch, "e-mail", "user.contact.email"),
    (_is_ip, "IP address", "user.device.ip_address"),
    (_is_iban, "bank account", "user.financial.bank_account"),
    (_is_card, "payment card", "user.financial.credit_card"),
    (_is_phone, "phone number", "user.contact.phone_number"),
)


# ------------------------------------------------------------------------------------------------ by type


def _by_type(column: Column) -> Kind | None:
    if column.base in ("inet", "cidr"):
        return Kind(name="IP address", category="user.device.ip_address", weight=Weight.STRONG)
    if column.base in ("macaddr", "macaddr8"):
        return Kind(name="device", category="user.device.device_id", weight=Weight.STRONG)
    if column.base in ("json", "jsonb", "xml", "bytea") or (column.category in "CU" and column.base not in _KNOWN):
        return Kind(name="opaque", category=None, weight=Weight.OPAQUE, why=f"{column.base} can hold anything")
    return None


_KNOWN = ("uuid", "tsvector", "bit", "bit varying", "macaddr", "macaddr8")
