"""How OSCAL spells things: identifiers, properties, texts and times (OSCAL 1.2.3, JSON).

Identifiers are version 5 UUIDs (RFC 9562, 5.5) under the log's root, so the same log gives the same ones, and another
log others. Texts of the log stand in properties as they are; where OSCAL reads Markdown, its signs are escaped: a
reason for a verdict is text, and becomes no link and no tag in somebody's viewer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from domicile.errors import BadFile
from domicile.evidence.codec import Json, format_time

VERSION: Final = "1.2.3"
NS: Final = "urn:domicile:export:v1"
"""The namespace of our properties: another tool's property of the same name means something else."""
Item = dict[str, Json]
_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>{}&])")
_TOKEN: Final = re.compile(r"[a-z][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Names:
    """Makes the UUIDs of one log."""

    root: str

    def uuid(self, *what: str) -> str:
        """The UUID of a thing of this log, named by what it is; lengths keep two names from being one."""
        space = uuid5(uuid5(NAMESPACE_URL, NS), self.root)
        return str(uuid5(space, "".join(f"{len(part)}:{part}" for part in what)))


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID of version 5 in its one spelling."""
    return str(UUID(text)) == text and UUID(text).version == 5


def marked(text: str) -> str:
    """A text where OSCAL reads one or more lines of Markdown; never empty."""
    return _SPECIAL.sub(r"\\\1", text).strip() or "–"


def props(values: Mapping[str, object]) -> list[Json]:
    """Properties in our namespace; what is None or empty is left out, times and truths have one spelling."""
    return [
        {"name": _token(name), "ns": NS, "value": text}
        for name, value in values.items()
        if (text := plain(value).strip())
    ]


def plain(value: object) -> str:
    """A value as text: times in UTC, yes or no, nothing as the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return format_time(value)
    return str(value)


def without_empty(item: Item) -> Item:
    """The same without empty lists and missing values: OSCAL has no empty arrays."""
    return {key: value for key, value in item.items() if value not in (None, [], {})}


def _token(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise BadFile(f"{name!r} is no name of a property; use letters, digits, points and hyphens")
    return name
