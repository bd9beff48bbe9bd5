"""How the report spells numbers, times and verdicts: always with a word and a sign, never by colour alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from markupsafe import Markup

from domicile.proof import Verdict

NOTHING: Final = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictWords:
    """One verdict as people read it: a tone (a CSS class), a sign, the headline of a whole run, what it means.

    `{some}` in the headline stands for how many of the listed copies have this verdict, the worst one.
    """

    tone: str
    sign: str
    headline: str
    meaning: str


VERDICTS: Final[Mapping[Verdict, VerdictWords]] = {
    Verdict.ERASED_VERIFIED: VerdictWords(
        tone="good", sign="✓",
        headline="Every listed copy outside home is erased or was never there, and a search afterwards found nothing.",
        meaning="erased, and a search afterwards found nothing; or not there, by the server's own word",
    ),
    Verdict.KEY_DESTROYED: VerdictWords(
        tone="good", sign="◆",
        headline="Every listed copy outside home is erased or can no longer be read: its encryption key is destroyed.",
        meaning="unreadable: always was encrypted, and every copy of its key is destroyed",
    ),
    Verdict.ERASED_UNVERIFIED: VerdictWords(
        tone="open", sign="◐",
        headline="Everything listed outside home was erased, but {some} could not be searched afterwards.",
        meaning="erased, but not searched afterwards",
    ),
    Verdict.BLOCKED_UNTIL: VerdictWords(
        tone="open", sign="◷",
        headline="Not everything is erased: {some} outside home can't be, before a date that is named below.",
        meaning="cannot be erased before the date",
    ),
    Verdict.HELD: VerdictWords(
        tone="open", sign="‖",
        headline="Not everything is erased: {some} outside home are still held, by what is named below.",
        meaning="still there, because something named holds it",
    ),
    Verdict.UNKNOWN: VerdictWords(
        tone="dark", sign="?",
        headline="Not everything is known: {some} outside home could not be looked at in full, and may still hold "
        "private data.",
        meaning="could not be looked at in full, and may still hold private data",
    ),
    Verdict.PRESENT: VerdictWords(
        tone="bad", sign="✕",
        headline="Private data is still present outside home: in {some}.",
        meaning="private data is still there",
    ),
}  # fmt: skip


def count(number: int) -> str:
    """Spell a whole number with thousands separators."""
    return f"{number:,}"


def some(number: int, noun: str, plural: str | None = None) -> str:
    """Spell a number with its noun: 1 row, 2 rows."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def moment(time: datetime | None) -> str:
    """Spell a time in UTC, to the second."""
    return NOTHING if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def day(value: date | None) -> str:
    """Spell a date."""
    return NOTHING if value is None else value.isoformat()


def seconds(value: float | None) -> str:
    """Spell a duration given in seconds."""
    if value is None:
        return NOTHING
    if value < 1:
        return f"{value * 1000:,.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def latency(ms: float) -> str:
    """Spell how long an answer took: tenths of a millisecond where they tell something."""
    return f"{ms:.1f} ms" if ms < 10 else seconds(ms / 1000)


def size(number: int) -> str:
    """Spell a number of bytes in decimal units."""
    if number < 1_000:
        return some(number, "byte")
    value, unit = float(number), "kB"
    for unit in ("kB", "MB", "GB", "TB", "PB"):  # noqa: B007  (the last one tried is the one that fits)
        value /= 1_000
        if value < 1_000:
            break
    return f"{value:,.1f} {unit}"


def breakable(text: str) -> Markup:
    """Let a dotted name break behind its dots, and not in the middle of a word."""
    return Markup("<wbr>").join(re.split(r"(?<=[._/:])(?=\w)", text))


def short(text: str, chars_max: int) -> str:
    """Cut a text that would not fit; the page has it whole elsewhere."""
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
