"""What a policy asks of a receipt beyond keys: each line is met, refused, or said to be not checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from domicile.evidence.bundle import trust_policy
from domicile.proof import Verdict
from domicile.run import receipting
from domicile_audit.papers.receipt import main
from domicile_audit.trust.demands import WORDS
from tests.receipts.conftest import Tell, everybody
from tests.vectors import receipts as r
from tests.vectors import scenario as s

TRUST = trust_policy(s.ENGINE.verifier, s.plan().approvals)
WHOLE_LOG = "it is about the whole log: ask it of the bundle, `domicile-audit BUNDLE --trust POLICY"
Ask = Callable[..., tuple[int, str, dict[str, Any]]]


@pytest.fixture
def ask(tell: Tell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Exit code and both answers for the receipt of a run in which all is erased, or the write-ahead log is blocked."""

    numbers = count()

    def asked(
        lines: str, *, at: str = "2026-11-22T12:00:00Z", blocked: bool = False
    ) -> tuple[int, str, dict[str, Any]]:
        script = r.at_once()
        if blocked:
            copies = tuple(
                replace(one, verdict=Verdict.BLOCKED_UNTIL, until=s.at(9_999))
                if one.id == "app/encrypted-files"
                else one
                for one in s.certificate().copies
            )
            script = script.set("certificate", copies=copies, verdict=Verdict.BLOCKED_UNTIL)
        path, trust = tmp_path / "7.tlog-proof", tmp_path / "trust.txt"
        path.write_bytes(receipting.receipt(tell(script, everybody(), name=f"run-{next(numbers)}").record, "7"))
        trust.write_text(TRUST + lines)
        words = [str(path), "--trust", str(trust), "--at", at]
        codes = [main(words), main([*words, "--json"])]
        text, _, body = capsys.readouterr().out.partition("\n{")
        answer = json.loads("{" + body)
        assert codes == [answer["exit_code"]] * 2
        assert (codes[0] == 0) == answer["accepted"] == ("person" in answer) == text.startswith("THE RECEIPT HOLDS")
        assert answer["refused_at"] is None
        return codes[0], text, answer

    return asked


LINES = [  # lines, whether a copy is blocked, when it is asked; what is said of the line, and words of why
    ("fresh 1", False, "2026-11-23T10:00:00Z", "accepted", "at most 1 days old"),
    ("fresh 1", False, "2026-11-24T12:00:00Z", "refused", "older than 1 days at 2026-11-24 12:00 UTC"),
    ("fresh 1", False, "2026-11-22T09:00:00Z", "refused", "which is after 2026-11-22 09:00 UTC"),
    ("tolerate none", False, "2026-11-22", "accepted", "4 copies were searched after the last erasure"),
    ("tolerate none", True, "2026-11-22", "refused", "does not tolerate that app/encrypted-files is blocked-until"),
    ("tolerate blocked-until", True, "2026-11-22", "accepted", "what your policy tolerates: app/encrypted-files"),
    ("tolerate held", True, "2026-11-22", "refused", "app/encrypted-files is blocked-until"),
    ("tolerate blocked-until pg_wal", False, "2026-11-22", "accepted", "4 copies"),
    ("tolerate blocked-until pg_wal", True, "2026-11-22", "not checked", "of which kind app/encrypted-files is"),
    ("tolerate held pg_wal", True, "2026-11-22", "refused", "app/encrypted-files is blocked-until"),
    ("tolerate blocked-until pg_wal\ntolerate blocked-until", True, "2026-11-22", "accepted", "app/encrypted-files"),
    ("require cohort/v1 99", False, "2026-11-22", "not checked", WHOLE_LOG),
    ("require receipts/v1", False, "2026-11-22", "not checked", WHOLE_LOG),
    ("sampled 100", False, "2026-11-22", "not checked", f"{WHOLE_LOG} --spot REPORT`"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "blocked", "at", "result", "why"), LINES)
def test_p10_a_line_of_the_policy_is_met_or_refuses_the_receipt(
    ask: Ask, lines: str, blocked: bool, at: str, result: str, why: str
) -> None:
    code, text, answer = ask(lines + "\n", at=at, blocked=blocked)
    (told,) = answer["claims"]
    assert (result, 0 if result == "accepted" else 1) == (told["result"], code)
    assert why in told["why"]
    if result != "accepted":
        assert answer["reason"] == f"{told['name']}: {told['why']}"
        assert text.startswith({"refused": "REFUSED by what you asked: ", "not checked": "NOT CHECKED"}[result])
        assert f"`{told['name']}`" in text
        assert told["name"].split(" ")[0] == lines.split(" ", maxsplit=1)[0]


def test_p11_a_policy_that_asks_for_more_than_a_receipt_shows_is_not_weakened(ask: Ask) -> None:
    """All of it at once; what is refused is said before what is not checked."""
    code, text, answer = ask("fresh 1\ntolerate none\nrequire cohort/v1 99\n", at="2027-01-01")
    assert (1, True) == (code, text.startswith("REFUSED by what you asked: `fresh 1`"))
    assert ["not checked", "refused", "accepted"] == [line["result"] for line in answer["claims"]]
    code, text, _ = ask("fresh 1\ntolerate none\nrequire cohort/v1 99\n")
    assert (1, True) == (code, "your policy asks for `require cohort/v1 99`" in text)


def test_p11_no_line_that_a_policy_may_have_is_left_out(ask: Ask) -> None:
    """`seed` alone asks for nothing of a receipt: there is no spot check in it."""
    lines = {"fresh": "fresh 9", "require": "require plan/v1", "tolerate": "tolerate none", "sampled": "sampled 9"}
    assert {*WORDS} == {*lines, "seed"}
    _, _, answer = ask("\n".join(lines.values()) + "\nseed agreed\n")
    assert {*lines} == {line["name"].split(" ")[0] for line in answer["claims"]}
    assert 0 == ask("seed agreed\n")[0]


def test_a_time_that_is_none_is_a_question_that_is_none(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        ask("fresh 1\n", at="yesterday")
    assert "--at: 'yesterday' is no time" in capsys.readouterr().err
