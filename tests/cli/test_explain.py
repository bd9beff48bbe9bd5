"""`domicile explain` on a real server: before the plan and in a run, by key and by digest, and what it never says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.main.programme import Programme


def told(programme: Programme, *words: str) -> Any:
    return programme.cli("explain", *words, "--json").json()


def test_a_row_is_explained_before_the_plan_and_during_the_run(waiting: Programme) -> None:
    frozen = told(waiting, "customer", "3")
    assert (True, True, True, True) == tuple(frozen[name] for name in ("in_scope", "frozen", "present", "agrees"))
    assert "delete" == frozen["source"]["fate"]
    assert {"part": "ca", "form": "whole", "fate": "delete"} in frozen["lines"]
    assert not told(waiting, "customer", "1")["in_scope"]


def test_a_digest_of_the_plan_leads_to_the_row_and_names_it_to_nobody(waiting: Programme) -> None:
    plan = json.loads((waiting.made / "plan.json").read_text(encoding="utf-8"))
    keyed = [found for found in plan["findings"] if found["keys"]]
    assert keyed
    for found in keyed:
        assert all(len(key) == 16 and not set(key) - set("0123456789abcdef") for key in found["keys"])
        row = told(waiting, found["dataset"], "--digest", found["keys"][0])
        assert (found["keys"][0], found["dataset"]) == (row["digest"], row["dataset"])


def test_p8_keys_are_shown_only_when_asked_for(waiting: Programme) -> None:
    assert "key" not in told(waiting, "customer", "3")
    assert ["3"] == told(waiting, "customer", "3", "--show-keys")["key"]
    digest = told(waiting, "customer", "3")["digest"]
    assert "3" == told(waiting, "customer", "--digest", digest, "--show-keys")["key"][0]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("custmer", "3"), 2, "did you mean"),
        (("customer", "id=3"), 2, "customer_id"),
        (("customer", "1,2"), 2, "customer_id"),
        (("customer",), 2, "either a key"),
        (("customer", "--digest", "zz"), 2, "16 hexadecimal digits"),
        (("customer", "--digest", "0" * 16), 1, "none of its first"),
        (("customer", "4711"), 1, "holds no row of that key"),
        (("customer", "not-a-number"), 1, "holds no row of that key"),
    ],
)
def test_what_names_no_row_is_told_clearly(waiting: Programme, words: tuple[str, ...], code: int, says: str) -> None:
    answer = waiting.cli("explain", *words, code=code)
    assert says in " ".join(answer.text.replace("│", " ").split())
    assert "4711" not in answer.text
    assert "not-a-number" not in answer.text
