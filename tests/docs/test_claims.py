"""Every *yes* of the claims table leads to a test that is there; a cell says yes, sometimes or no, and nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "claims.md"
YES = re.compile(r'^\[yes\]\((\.\./tests/[\w/]+\.py) "(test_\w+)"\)$')


def tables(text: str) -> Iterator[list[list[str]]]:
    """The cells of each table, its head first."""
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line.startswith("| ")]
        if lines:
            yield [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def answers(text: str) -> Iterator[tuple[str, str]]:
    """Every answer of every failure: all cells but the first and the note."""
    for head, *rows in tables(text):
        for row in rows:
            assert len(head) >= len(row) >= len(head) - 1, row
            yield from ((row[0], cell) for cell in row[1 : len(head) - 1])


def defects(text: str) -> Iterator[str]:
    for failure, answer in answers(text):
        found = YES.match(answer)
        if found is None:
            if answer not in ("sometimes", "no"):
                yield f"{failure}: {answer!r} is neither a linked yes, nor sometimes, nor no"
        elif found[2] not in names_in((PAGE.parent / found[1]).resolve()):
            yield f"{failure}: {found[1]} holds no {found[2]}"


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module(body=[], type_ignores=[])
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_yes_leads_to_a_test() -> None:
    assert list(defects(PAGE.read_text(encoding="utf-8"))) == []


def test_every_section_has_its_table_and_every_bad_bundle_named_is_there() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(list(tables(text))) == text.count("\n## ")
    named = {
        name
        for line in text.split("## Evidence")[1].splitlines()
        for name in re.findall(r"`([a-z]+(?:-[a-z]+)+)`", line)
    }
    bundles = {path.stem for path in (ROOT / "tests" / "vectors" / "bad").glob("*.zip")}
    assert named - bundles == {"domicile-audit"}


@pytest.mark.parametrize(
    ("cell", "defect"),
    [
        ("yes", "neither a linked yes"),
        ("maybe", "neither a linked yes"),
        ('[yes](../tests/docs/test_claims.py "test_that_is_not_there")', "holds no test_that_is_not_there"),
        ('[yes](../tests/docs/nowhere.py "test_every_yes_leads_to_a_test")', "holds no test_every_yes"),
    ],
)
def test_a_yes_without_its_test_is_seen(cell: str, defect: str) -> None:
    assert [defect in line for line in defects(f"| failure | check | note |\n|---|---|---|\n| x | {cell} | n |\n")] == [
        True
    ]


def test_a_yes_with_its_test_is_accepted() -> None:
    cell = '[yes](../tests/docs/test_claims.py "test_a_yes_with_its_test_is_accepted")'
    assert list(defects(f"| failure | check | note |\n|---|---|---|\n| x | {cell} | n |\n")) == []
