"""The pages' words in two languages; the English is the key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

LANGUAGES: Final = ("en", "fr")
HERE: Final = Path(__file__).resolve().parent
FRENCH: Final[Mapping[str, str]] = json.loads((HERE / "french.json").read_text(encoding="utf-8"))


def translator(language: str) -> Callable[[str], str]:
    """Return what translates a text; one without a translation stays English."""
    if language == "fr":
        return lambda text: FRENCH.get(text, text)
    return lambda text: text
