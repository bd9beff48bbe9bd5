"""What the pages name is there: decisions, rooms, rights, commands."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import typer.main

from domicile.cli import program

ROOT = Path(__file__).resolve().parents[2]
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
PARTS = ["**Context.**", "**Decision.**", "**Consequences.**", "**Rejected.**"]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    index = page("docs/adr/README.md")
    assert [f"{number:04}" for number in range(1, len(DECISIONS) + 1)] == [path.name[:4] for path in DECISIONS]
    assert [path.name for path in DECISIONS] == re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", index)


def test_each_decision_says_what_was_rejected() -> None:
    for path in DECISIONS:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {path.name[:4]}: ")
        assert PARTS == [part for part in re.findall(r"^\*\*\w+\.\*\*", text, flags=re.MULTILINE) if part in PARTS]


def test_each_room_of_the_contract_is_on_the_page() -> None:
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter")
    rooms = {room for part in contract.values() for room in re.findall(r"\w+", part.get("layers", ""))}
    assert {"run", "ledger", "standbys"} <= rooms
    told = set(re.findall(r"`(\w+)`", page("docs/architecture.md").split("## The rooms")[1].split("## The values")[0]))
    assert rooms - {"watch"} - told == set()  # `watch` has its place and no code yet


def test_each_right_that_the_code_asks_for_is_on_the_page() -> None:
    tree = ast.parse(page("src/domicile/stores/postgres/horizon/rights.py"))
    names = {
        keyword.value.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Right"
        for keyword in call.keywords
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant)
    }
    told = set(re.findall(r"^\| ([a-z]+ [\w ]+?) \|", page("docs/privileges.md"), re.MULTILINE))
    assert len(names) > 5
    assert names - {"superuser", "checkpoint"} - told == set()


def test_each_command_that_a_page_shows_exists() -> None:
    group = typer.main.get_command(program())
    commands = set(getattr(group, "commands", {}))
    for name in ("README.md", "docs/architecture.md", "docs/privileges.md", "docs/domicile-yaml.md", "docs/claims.md"):
        shown = set(re.findall(r"`domicile ([a-z-]+)", page(name)))
        assert shown - commands == set(), name
    assert {"init", "plan", "apply", "approve"} <= set(re.findall(r"`domicile ([a-z-]+)", page("README.md")))
