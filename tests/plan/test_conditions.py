"""`when:` is parsed and rebuilt; nothing but a comparison on the row's own columns passes."""

from __future__ import annotations

import pytest

from domicile.config.conditions import parse_condition, qualify_condition
from domicile.errors import BadFile

COLUMNS = frozenset({"kind", "target_id", "payload", "Odd Name"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind = 'Video'", """("d"."kind" = 'Video')"""),
        ("kind IN ('a', 'b') AND target_id > 3", """("d"."kind" IN ('a', 'b') AND "d"."target_id" > 3)"""),
        ("kind IS NOT NULL", """("d"."kind" IS NOT NULL)"""),
        ("\"Odd Name\" LIKE 'x%'", """("d"."Odd Name" LIKE 'x%')"""),
        ("kind = 'O''Brien'", """("d"."kind" = 'O''Brien')"""),
    ],
)
def test_a_comparison_is_qualified(text: str, expected: str) -> None:
    parse_condition(text, columns=COLUMNS, where="here")
    assert expected == qualify_condition(text, "d")


@pytest.mark.parametrize(
    "text",
    [
        "kind = 'a'; DROP TABLE person",
        "kind = (SELECT 'a')",
        "pg_sleep(1) IS NULL",
        "nothing = 1",
        "other.kind = 'a'",
        "kind = 'a' --",
        "kind =",
        "",
        "kind = 'a'" + " OR kind = 'a'" * 500,
        "(" * 3000,
        "kind = current_user",
        "EXISTS (SELECT 1)",
        "kind = CASE WHEN true THEN 'a' END",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    if text.endswith("--"):
        parse_condition(text, columns=COLUMNS, where="here")
        assert "--" not in qualify_condition(text, "d")
        return
    with pytest.raises(BadFile, match="here"):
        parse_condition(text, columns=COLUMNS, where="here")
