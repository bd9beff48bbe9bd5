"""Check the documents: every link between them leads to a file, every anchor to a heading.

    python scripts/docs.py

Addresses of other machines are not asked. Prints one line per defect and ends with 1 when there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT: Final = Path(__file__).resolve().parent.parent
PLACES: Final = ("*.md", "docs/**/*.md", "examples/**/*.md", "bench/**/*.md", "changelog.d/*.md")


def main() -> int:
    """Check all pages of the project."""
    pages = sorted({page for place in PLACES for page in ROOT.glob(place)})
    defects = [defect for page in pages for defect in defects_of(page, root=ROOT)]
    print("\n".join(defects) or f"{len(pages)} pages, every link leads somewhere")
    return 1 if defects else 0


def defects_of(page: Path, *, root: Path) -> Iterator[str]:
    """Yield what is wrong with the links of one page."""
    for line, target in _links(page):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        where = f"{page.relative_to(root)}:{line}"
        goal = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not goal.is_relative_to(root):
            yield f"{where}: {target} leads out of the project"
        elif not goal.exists():
            yield f"{where}: {target} leads to no file"
        elif parts.fragment and goal.suffix == ".md" and parts.fragment not in anchors_of(goal):
            yield f"{where}: {target} names no heading of {goal.relative_to(root)}"


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that a page's headings get, spelled as forges spell them."""
    tokens = _parse(page)
    titles = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]
    found: set[str] = set()
    for title in titles:
        plain = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{plain}-{number}" if number else plain) in found:
            number += 1
        found.add(anchor)
    return found


def _links(page: Path) -> Iterator[tuple[int, str]]:
    for token in _parse(page):
        line = token.map[0] + 1 if token.map else 0
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target:
                yield line, str(target)


def _parse(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
