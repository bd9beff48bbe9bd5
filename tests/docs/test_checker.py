"""The page for who reads the checker: its lines are counted, and it names every lie for the check that refuses it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import domicile_audit
from domicile_audit.checklist import CHECKS
from tests.audit.test_program import AT_HOME, GONE, LOG, PEOPLE_AND_KEYS, STORY, lines_of_code
from tests.vectors.registry import DEFECTS

PAGE = Path(__file__).parents[2] / "docs" / "checker.md"
LIES = "## What each check refuses\n"
ROW = re.compile(r"^\| (\*\*[\w ]+\*\*|`[\w/.]+`) \| (\*\*)?([0-9]+)(\*\*)? \|", re.MULTILINE)
PARTS = {
    "**what was erased is at home**": AT_HOME,
    "**what is called gone is gone**": GONE,
    "**people and keys**": PEOPLE_AND_KEYS,
    "**the story**": STORY,
    "**the log**": LOG,
}


def lines_of(name: str) -> int:
    """The lines of code of a file, or of all files of a room."""
    folder = Path(domicile_audit.__file__).parent
    names = PARTS.get(name, (name.strip("`"),))
    return sum(lines_of_code(folder / one) for one in names)


def refused() -> str:
    """Each check with the names of the bundles that it refuses."""
    parts = []
    for number, (title, clause, _) in enumerate(CHECKS, start=1):
        names = sorted(name for name, defect in DEFECTS.items() if defect.check == number)
        text = f"**{number} {title}** ({clause}): {', '.join(f'`{name}`' for name in names)}."
        parts.append(textwrap.fill(text, 118, break_on_hyphens=False, break_long_words=False))
    return "\n\n".join(parts)


def refilled(text: str) -> str:
    """The page with its figures and names as they are now; what introduces the names stays."""
    text = ROW.sub(lambda row: f"| {row[1]} | {row[2] or ''}{lines_of(row[1])}{row[2] or ''} |", text)
    head, _, rest = text.partition(LIES)
    introduction = rest.partition("\n**1 ")[0].strip("\n")
    return f"{head}{LIES}\n{introduction}\n\n{refused()}\n"


def test_the_page_counts_the_lines_and_names_the_lies_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert refilled(text) == text, "python -m tests.docs.refill"
    wanted: list[str] = []
    for part, names in PARTS.items():
        files = [f"`{name}`" for name in names]
        wanted += [part] if set(files) <= set(wanted) else [*files, part]
    assert wanted == [row[1] for row in ROW.finditer(text)]
