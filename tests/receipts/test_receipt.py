"""A person's receipt from a real log: what it says to them, to a lawyer's program, and of others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from domicile.errors import Refused, Waiting
from domicile.evidence.bundle import make_bundle, trust_policy
from domicile.evidence.tlog.proof import check_proof, parse_proof
from domicile.proof import Verdict
from domicile.run import receipting
from domicile_audit.checklist import audit
from domicile_audit.papers.paper import Answer, check
from domicile_audit.papers.receipt import as_json, as_text, main
from domicile_audit.trust.policy import read_policy
from tests.receipts.conftest import Tell, Told, by_cohorts, everybody
from tests.vectors import receipts as r
from tests.vectors import scenario as s

POLICY = read_policy(trust_policy(s.ENGINE.verifier, s.plan().approvals).encode())


@pytest.fixture
def told(tell: Tell) -> Told:
    return tell(r.at_once(), everybody())


def answer(data: bytes) -> Answer:
    return check(data, POLICY)


def test_p9_a_receipt_is_accepted_and_says_what_went_home(told: Told) -> None:
    found = answer(receipting.receipt(told.record, "7"))
    assert (True, "") == (found.accepted, found.reason)
    said = json.loads(as_json(found))
    assert {"home": "us", "key": "7", "kind": r.KIND, "rows": {
        "app.public.messages": {"blanked": 0, "deleted": 1, "moved": 2},
        r.KIND: {"blanked": 1, "deleted": 0, "moved": 1},
    }} == said["person"]  # fmt: skip
    assert ("2026-11-22T10:10:00Z", "erased-verified") == (said["home_since"], said["verdict"])
    assert {"country": "US", "operator": "Home Inc", "subjects": 40} == said["home"]
    assert len(s.COPIES) == len(said["copies"])


def test_a_person_reads_it_without_a_lawyer(told: Told) -> None:
    text = as_text(answer(receipting.receipt(told.record, "7")))
    assert text.startswith("THE RECEIPT HOLDS: your data went home, and every listed copy outside is erased")
    for line in (
        "Whose data       7 in app.public.users", "Lives now in     US, with Home Inc (us)",
        "app.public.messages          2          1          0          1", "keep it to yourself",
        "  ✓ 4 erased, and searched afterwards: nothing found",
    ):  # fmt: skip
        assert line in text
    assert max(map(len, text.split("\n"))) <= 100


def test_p11_what_is_left_is_said_first(tell: Tell) -> None:
    copies = tuple(
        replace(copy, verdict=verdict, why=f"why {verdict}", until=s.at(9_999) if verdict == "blocked-until" else None)
        for copy, verdict in zip(
            s.certificate().copies,
            (Verdict.PRESENT, Verdict.BLOCKED_UNTIL, Verdict.UNKNOWN, Verdict.ERASED_VERIFIED), strict=True,
        )
    )  # fmt: skip
    told = tell(r.at_once().set("certificate", copies=copies, verdict=Verdict.PRESENT), everybody())
    text = as_text(answer(receipting.receipt(told.record, "7")))
    assert text.startswith("THE RECEIPT HOLDS, but NOT EVERYTHING IS PROVEN ERASED: 3 copies")
    assert "THAT MAY NOT BE DONE YET" in text
    places = [text.index(words) for words in ("1 STILL THERE\n", "1 NOT KNOWN", "1 STILL THERE: not", "1 erased")]
    assert places == sorted(places)
    assert "app/encrypted-files until 2026-11-29 08:39:00 UTC: why blocked-until" in text


def test_p8_of_others_a_receipt_holds_nothing_but_hashes(told: Told) -> None:
    data = receipting.receipt(told.record, "7")
    extra = json.loads(parse_proof(data).extra or b"")
    assert {"format", "log", "person", "nonce", "leaf", "receipts", "certificate"} == extra.keys()
    assert 6 == len(extra["leaf"]["path"])


def test_p9_a_receipt_is_a_tlog_proof_of_the_statement(told: Told) -> None:
    proof = parse_proof(receipting.receipt(told.record, "7"))
    entry = told.record.ledger.sealed(proof.index).envelope
    assert told.record.ledger.size == check_proof(proof, entry=entry, verifier=s.ENGINE.verifier).size
    assert "receipts/v1" == told.record.ledger.statement(proof.index).predicate.KIND


def test_p9_of_a_move_by_cohorts_each_has_one_of_their_own_cohort(tell: Tell) -> None:
    told = tell(r.in_cohorts(), by_cohorts())
    for key, cohort, since in (("7", 3, "10:04"), ("40", 3, "10:04"), ("49", 4, "10:09"), ("50", 4, "10:09")):
        found = answer(receipting.receipt(told.record, key))
        assert (True, cohort) == (found.accepted, found.paper.receipts["cohort"])
        assert f"Since            2026-11-22 {since}:00 UTC" in as_text(found)
    bundle = make_bundle(told.record.ledger, plan_file=s.PLAN_FILE, signer=s.ENGINE)
    assert audit(bundle).accepted


def test_p10_while_no_certificate_stands_there_is_no_receipt(tell: Tell) -> None:
    told = tell(r.at_once().without("certificate"), everybody())
    with pytest.raises(Waiting, match="no certificate stands"):
        receipting.receipt(told.record, "7")


def test_nobody_elses_key_has_a_receipt(told: Told) -> None:
    with pytest.raises(Refused, match="nobody of it went home, or its nonce was destroyed"):
        receipting.receipt(told.record, "51")


def test_the_program_ends_with_its_codes(told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, trust = tmp_path / "7.tlog-proof", tmp_path / "trust.txt"
    path.write_bytes(receipting.receipt(told.record, "7"))
    trust.write_text(trust_policy(s.ENGINE.verifier, s.plan().approvals))
    assert 0 == main([str(path), "--trust", str(trust)])
    assert "taken from the receipt itself" not in capsys.readouterr().out
    assert 3 == main([str(path)])
    said = capsys.readouterr().out
    assert said.startswith("THE RECEIPT HOLDS TOGETHER, signed by NOBODY WHOM YOU NAMED")
    assert "taken from the receipt itself" in said
    assert 3 == main([str(path), "--json"])
    alone = json.loads(capsys.readouterr().out)
    assert (True, "receipt", 3) == (alone["accepted"], alone["keys_from"], alone["exit_code"])
    path.write_bytes(path.read_bytes()[:-9])
    assert 1 == main([str(path), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (False, 3, 1) == (found["accepted"], found["refused_at"], found["exit_code"])
    assert 2 == main([str(tmp_path / "none"), "--json"])
    assert 2 == json.loads(capsys.readouterr().out)["exit_code"]
