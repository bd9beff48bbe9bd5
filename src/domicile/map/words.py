"""What a name is made of: `billingAddress2`, `BILLING_ADDRESS_2` and `billing address 2` are the same words."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PARTS = re.compile(r"[^\W\d_]+|[0-9]+")
# Plurals whose singular is not "cut the s".
_IRREGULAR = {"people": "person", "persons": "person", "children": "child", "addresses": "address", "men": "man",
              "women": "woman", "statuses": "status", "staff": "staff", "media": "media", "data": "data",
              "series": "series", "movies": "movie", "cookies": "cookie"}  # fmt: skip
_KEPT = ("ss", "us", "is", "news")


@lru_cache(maxsize=65_536)
def words(name: str) -> tuple[str, ...]:
    """Split a name into lower-case words, singular, without accents."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign))
    return tuple(singular(part.lower()) for part in _PARTS.findall(_HUMP.sub(" ", plain)))


@lru_cache(maxsize=65_536)
def spelt(name: str) -> str:
    """Return the words between underscores, `_billing_address_2_`, for patterns that match whole words."""
    return "_" + "_".join(words(name)) + "_"


def singular(word: str) -> str:
    """Return the singular of an English noun, or the word as it is."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or word.endswith(_KEPT) or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses", "zes")):
        return word[:-2]
    return word[:-1]


def listed(text: str) -> frozenset[str]:
    """Return the blank-separated words of a list."""
    return frozenset(text.split())
