"""The pages' words in two languages; the English is the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

LANGUAGES: Final = ("en", "fr")
HERE: Final = Path(__file__).resolve().parent
FRENCH: Final[Mapping[str, str]] = json.loads((HERE / "french.json").read_text(encoding="utf-8"))
SPANS: Final = ((86_400, "d", "j"), (3_600, "h", "h"), (60, "min", "min"))
DAYS_MAX: Final = 7


def translator(language: str) -> Callable[[str], str]:
    """Return what translates a text; one without a translation stays English."""
    if language == "fr":
        return lambda text: FRENCH.get(text, text)
    return lambda text: text


def ago(at: datetime, language: str) -> str:
    """Say how long ago, shortly; after a week, the day."""
    seconds = (datetime.now(UTC) - at).total_seconds()
    if seconds >= DAYS_MAX * 86_400:
        return f"{at:%d/%m/%Y}" if language == "fr" else f"{at.day} {at:%b %Y}"
    for size, english, french in SPANS:
        if seconds >= size:
            return f"{seconds // size:.0f} {french if language == 'fr' else english}"
    return "à l’instant" if language == "fr" else "now"
