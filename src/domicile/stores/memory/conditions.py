"""`when` of a hop, judged on one row: comparisons of a column with a literal, joined by `and`.

A part of what `plan` allows, enough for every conformance test; the rest is refused here, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from domicile.errors import StoreFault

COMPARISON = re.compile(
    r"""^\s*(?:"(?P<quoted>[^"]+)"|(?P<plain>[a-z_][a-z0-9_]*))\s*
        (?:(?P<sign>=|<>)\s*(?:'(?P<text>(?:[^']|'')*)'|(?P<number>-?\d+))|(?P<null>is\s+(?P<no>not\s+)?null))\s*$""",
    re.VERBOSE | re.IGNORECASE,
)


def holds(condition: str, row: Mapping[str, object]) -> bool:
    """Whether the condition is true of the row; what compares with null isn't."""
    return all(_compare(part, row) for part in re.split(r"\s+and\s+", condition, flags=re.IGNORECASE))


def _compare(part: str, row: Mapping[str, object]) -> bool:
    match = COMPARISON.match(part)
    if match is None:
        raise StoreFault("store memory judges `when` only as: column = 'text', <> 7, is [not] null, joined by and")
    value = row[match["quoted"] or match["plain"]]
    if match["null"]:
        return (value is None) is not bool(match["no"])
    if value is None:
        return False
    wanted = int(match["number"]) if match["number"] else match["text"].replace("''", "'")
    return (value == wanted) is (match["sign"] == "=")
