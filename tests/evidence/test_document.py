"""docs/evidence.md says what the code does: every type, field, verdict and check is in it."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from domicile.evidence import predicates as p
from domicile_audit.checklist import CHECKS
from domicile_audit.says import VERDICTS

TEXT = (Path(__file__).parents[2] / "docs" / "evidence.md").read_text(encoding="utf-8")


def test_every_type_stands_there_with_all_its_fields() -> None:
    for kind, predicate in p.KINDS.items():
        [row] = [line for line in TEXT.splitlines() if line.startswith(f"| `{kind}`")]
        assert [f.name for f in fields(predicate) if f.name != "plan" and f"`{f.name}`" not in row] == [], kind


def test_the_verdicts_stand_there_in_their_order() -> None:
    part = TEXT[TEXT.index("### Verdicts") : TEXT.index("## Bundle")]
    assert list(VERDICTS) == re.findall(r"^\| `([a-z-]+)` \|", part, re.MULTILINE)


def test_every_check_stands_there_with_its_number() -> None:
    part = TEXT[TEXT.index("## The checks") : TEXT.index("## Trust policy")]
    assert [str(n) for n in range(1, len(CHECKS) + 1)] == re.findall(r"^\| (\d+) \|", part, re.MULTILINE)
