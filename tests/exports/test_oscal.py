"""OSCAL assessment results: valid by NIST's schema, whole, the same every time, and never better than the log."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from markdown_it import MarkdownIt

from domicile.errors import EvidenceFault, Refused
from domicile.evidence import predicates as p
from domicile.evidence.ledger import Ledger
from domicile.exports.evidence import ALWAYS, Evidence, read_evidence
from domicile.exports.oscal import assessment_results
from domicile.exports.packs import choose
from domicile.proof import Verdict
from tests.exports import made
from tests.vectors import scenario as s
from tests.vectors.make import good_scripts
from tests.vectors.scenario import Script

PACKS = choose([])
HOSTILE = '=HYPERLINK("x") [a](javascript:x) <script>alert(1)</script> `b` *c* _d_ &amp; {{ insert: e }} \\ ![f](g) # h'
SCRIPTS = {
    **good_scripts(),
    "unfinished": made.unfinished(),
    "doubtful": made.doubtful(),
    "hostile": made.judged(Verdict.UNKNOWN, why=HOSTILE),
    "bare": s.good().set("plan", locations={}, not_proven=(), deadline=None).set("certificate", not_proven=()),
    "blanks": made.judged(Verdict.UNKNOWN, why=" "),
    "plan only": Script(s.good().lines[:1]),
}  # fmt: skip


def written(evidence: Evidence) -> Any:
    return json.loads(assessment_results(evidence, PACKS))["assessment-results"]


def result_of(script: Script, folder: Path, *, unfinished: bool = False) -> Any:
    return written(made.evidence_of(script, folder, unfinished=unfinished))["results"][0]


def states(result: Any) -> dict[str, tuple[str, str]]:
    """State and reason of each target."""
    found = {one["target"]["target-id"]: one["target"]["status"] for one in result["findings"]}
    assert len(found) == len(result["findings"])
    return {name: (status["state"], status["reason"]) for name, status in found.items()}


def values(item: Any) -> dict[str, str]:
    return {one["name"]: one["value"] for one in item.get("props", [])}


# -- the schema ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_document_is_valid_by_nists_schema(name: str, nist: Any, tmp_path: Path) -> None:
    document = json.loads(assessment_results(made.evidence_of(SCRIPTS[name], tmp_path / "log", unfinished=True), PACKS))
    assert [] == [f"{list(fault.absolute_path)}: {fault.message}" for fault in nist.iter_errors(document)]
    assert "1.2.3" == document["assessment-results"]["metadata"]["oscal-version"]


def test_the_schema_refuses_what_is_wrong(nist: Any, tmp_path: Path) -> None:
    """The validator is none that accepts everything: each of these is one change."""
    good = json.loads(assessment_results(made.evidence_of(s.good(), tmp_path / "log"), PACKS))

    def bent(change: Any) -> int:
        document = copy.deepcopy(good)
        change(document["assessment-results"])
        return len(list(nist.iter_errors(document)))

    status = good["assessment-results"]["results"][0]["findings"][0]["target"]["status"]
    assert {"state": "satisfied", "reason": "pass"} == status
    assert 0 == bent(lambda _: None)
    assert bent(lambda d: d.pop("import-ap"))
    assert bent(lambda d: d.update(uuid="not one"))
    assert bent(lambda d: d["results"][0].update(start="2026-11-22"))
    assert bent(lambda d: d["results"][0]["findings"][0]["target"]["status"].update(state="complies"))
    assert bent(lambda d: d["results"][0]["findings"][0]["target"].update({"target-id": "1 is no token"}))
    assert bent(lambda d: d["metadata"]["props"][0].update(value=" blank before"))
    assert bent(lambda d: d["results"][0].update(observations=[]))


# -- whole and the same --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["all-erased", "live-run", "unfinished", "objects-one-locked"])
def test_every_reference_leads_somewhere_and_every_uuid_is_one(name: str, tmp_path: Path) -> None:
    document = written(made.evidence_of(SCRIPTS[name], tmp_path / "log", unfinished=True))
    result = document["results"][0]
    uuids = list(_of(document, "uuid"))
    assert len(set(uuids)) == len(uuids)
    assert {5} == {UUID(one).version for one in uuids}
    assert set(_of(document, "observation-uuid")) <= {one["uuid"] for one in result["observations"]}
    items = {one["uuid"] for one in result["local-definitions"]["inventory-items"]}
    assert items == set(_of(document, "subject-uuid"))
    resources = {one["uuid"] for one in document["back-matter"]["resources"]}
    assert {one[1:] for one in _of(document, "href") if one.startswith("#")} <= resources
    defined = {part["id"] for one in document["local-definitions"]["objectives-and-methods"] for part in one["parts"]}
    assert defined == set(states(result)) == set(_of(result["reviewed-controls"], "objective-id"))
    controls = {one["control-id"] for one in document["local-definitions"]["objectives-and-methods"]}
    assert controls == set(_of(result["reviewed-controls"], "control-id"))


def _of(node: Any, key: str) -> Iterator[str]:
    for name, value in node.items() if isinstance(node, dict) else enumerate(node):
        if name == key:
            yield value
        elif isinstance(value, dict | list):
            yield from _of(value, key)


def test_the_same_log_gives_the_same_bytes_and_another_log_other_names(tmp_path: Path) -> None:
    first, again = (assessment_results(made.evidence_of(s.good(), tmp_path / name), PACKS) for name in "ab")
    assert first == again
    other = written(made.evidence_of(s.good().set("sweep", swept_at=s.at(51)), tmp_path / "c"))
    assert set() == set(_of(json.loads(first), "uuid")) & set(_of(other, "uuid"))


def test_other_packs_make_another_document_of_the_same_run(tmp_path: Path) -> None:
    evidence = made.evidence_of(s.good(), tmp_path / "log")
    whole, part = (json.loads(assessment_results(evidence, choose(names))) for names in ([], ["gdpr"]))
    assert whole["assessment-results"]["uuid"] != part["assessment-results"]["uuid"]
    assert set(states(part["assessment-results"]["results"][0])) < set(
        states(whole["assessment-results"]["results"][0])
    )


def test_the_statements_come_back_from_the_document(tmp_path: Path) -> None:
    """Round trip: what the log holds is what the properties say, taken from the predicates by hand."""
    result = result_of(s.key_destroyed(), tmp_path / "log")
    played = s.key_destroyed().play()
    entries = [values(one) for one in result["assessment-log"]["entries"]]
    assert [hashlib.sha256(one.envelope).hexdigest() for one in played.values()] == [one["sha256"] for one in entries]
    assert ["plan/v1", "certificate/v1"] == [entries[0]["kind"], entries[-1]["kind"]]
    copies = {values(one)["copy"]: values(one) for one in result["observations"] if one.get("subjects")}
    keyed = {name: "key-destroyed" if name == s.KEYED else "erased-verified" for name in s.COPIES}
    assert keyed == {name: one["verdict"] for name, one in copies.items()}
    assert {("1000000", "0", "0")} == {(one["bytes"], one["hits"], one["residue"]) for one in copies.values()}
    stated = [values(one) for one in result["observations"] if values(one).get("where") == s.KEYED]
    assert ["key to be destroyed", "key destroyed"] == [one["kind"] for one in stated]
    items = {values(one)["copy"]: values(one) for one in result["local-definitions"]["inventory-items"]}
    assert {("app", "sg", "SG", "Origin Ltd")} == {
        (one["store"], one["location"], one["country"], one["operator"]) for one in items.values()
    }


def test_a_copy_that_was_not_searched_says_so(tmp_path: Path) -> None:
    def bend(said: p.Predicate) -> p.Predicate:
        assert isinstance(said, p.SweepPredicate)
        return replace(said, copies=tuple(one for one in said.copies if one.id != made.BENT))

    result = result_of(made.judged(Verdict.UNKNOWN).bent("sweep", bend), tmp_path / "log")
    seen = {values(one)["copy"]: one for one in result["observations"] if one.get("subjects")}
    assert ("no", ["EXAMINE"], False) == (
        values(seen[made.BENT])["searched"],
        seen[made.BENT]["methods"],
        "bytes" in values(seen[made.BENT]),
    )
    other = seen["app/live"]
    assert ("yes", ["TEST"], "1000000") == (values(other)["searched"], other["methods"], values(other)["bytes"])


def test_times_are_those_of_the_log(tmp_path: Path) -> None:
    document = written(made.evidence_of(s.good(), tmp_path / "log"))
    result = document["results"][0]
    assert "2026-11-22T11:00:00Z" == document["metadata"]["last-modified"] == result["end"]
    assert "2026-11-22T10:00:00Z" == result["start"]
    entries = result["assessment-log"]["entries"]
    told = {values(one)["kind"]: (one["start"][11:16], values(one)["time-of-its-own"]) for one in entries}
    assert told["transfer/v1"] == ("10:00", "no")
    assert told["approval/v1"] == ("10:20", "yes")
    assert told["erasure/v1"] == ("10:30", "no")
    assert told["sweep/v1"] == ("10:50", "yes")
    assert {"no"} == {values(one)["time-of-its-own"] for one in entries if "order is known" in one.get("remarks", "")}


def test_an_approvers_clock_dates_nothing_else(tmp_path: Path) -> None:
    script = s.good().bent("approval monitor", lambda made_: replace(made_, approved_at=made.UNTIL))  # type: ignore[call-arg]
    found = p.FindingPredicate(plan=s.PLAN, kind="made", where="here", count=1, text="told after the approval")
    result = result_of(script.after("approval monitor", s.Line("found", lambda _: found)), tmp_path / "log")
    assert "2026-11-22T11:00:00Z" == result["end"]
    assert 1 == sum(one["start"].startswith("2027") for one in result["assessment-log"]["entries"])


# -- never better than the log -------------------------------------------------------------------------------------


REASONS = {
    Verdict.KEY_DESTROYED: "other",
    Verdict.ERASED_UNVERIFIED: "other",
    Verdict.UNKNOWN: "other",
    Verdict.BLOCKED_UNTIL: "fail",
    Verdict.HELD: "fail",
    Verdict.PRESENT: "fail",
}


@pytest.mark.parametrize("verdict", Verdict)
def test_p11_each_verdict_but_the_best_is_not_satisfied(verdict: Verdict, tmp_path: Path) -> None:
    found = states(result_of(made.judged(verdict), tmp_path / "log"))
    good = ("satisfied", "pass")
    wanted = good if verdict is Verdict.ERASED_VERIFIED else ("not-satisfied", REASONS[verdict])
    place = list(s.COPIES).index(made.BENT) + 1
    assert wanted == found["domicile_p3.verdict"] == found[f"domicile_p3.copy-{place:04}"]
    assert wanted == found["gdpr_art-17-1.support"] == found["nist-sp-800-88r2_sec-4.5.1.support"]
    others = {name: one for name, one in found.items() if name.startswith("domicile_p3.copy-")}
    assert 3 == sum(one == good for name, one in others.items() if name != f"domicile_p3.copy-{place:04}")
    assert good == found["us-28-cfr-202_s-202.1101-b-5.support"]


def test_p11_a_run_that_lists_no_copy_is_not_satisfied_as_a_whole(tmp_path: Path) -> None:
    found = states(result_of(made.without_copies(), tmp_path / "log"))
    assert ("not-satisfied", "other") == found["domicile_p3.verdict"]


def test_p11_a_date_and_a_reason_go_with_the_verdict(tmp_path: Path) -> None:
    result = result_of(made.judged(Verdict.BLOCKED_UNTIL, why="object lock"), tmp_path / "log")
    mine = next(one for one in result["findings"] if values(one).get("copy") == made.BENT)
    assert "2027-03-01T00:00:00Z" == values(mine)["until"]
    assert "object lock" in mine["description"]


@pytest.mark.parametrize("name", ["all-erased", "copy-unknown", "unfinished"])
def test_p11_everything_that_is_not_proven_is_an_observation(name: str, tmp_path: Path) -> None:
    more = "a line that only the certificate has"
    script = SCRIPTS[name]
    if name != "unfinished":
        script = script.bent("certificate", lambda made_: replace(made_, not_proven=(*s.plan().not_proven, more)))  # type: ignore[call-arg]
    result = result_of(script, tmp_path / "log", unfinished=True)
    told = [values(one)["not-proven"] for one in result["observations"] if "not-proven" in values(one)]
    wanted = [*s.plan().not_proven, *([more] if name != "unfinished" else []), *ALWAYS]
    assert sorted(wanted) == sorted(told)


def test_p11_what_a_clause_does_not_show_stands_with_its_finding(tmp_path: Path) -> None:
    result = result_of(s.good(), tmp_path / "log")
    remarks = {one["target"]["target-id"]: one.get("remarks", "") for one in result["findings"]}
    for read in PACKS:
        for clause in read.pack.clauses:
            mine = remarks[f"{read.pack.id}_{clause.id}.support"]
            assert [] == [text for text in clause.not_shown if _rendered(text) not in _rendered(mine)]
            assert "never complies" in mine


def test_p11_a_run_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no certificate yet"):
        made.evidence_of(made.unfinished(), tmp_path / "log")


@pytest.mark.parametrize("name", ["unfinished", "plan only", "doubtful"])
def test_p11_nothing_is_satisfied_before_a_certificate_or_by_one_that_is_not_believed(
    name: str, tmp_path: Path
) -> None:
    document = written(made.evidence_of(SCRIPTS[name], tmp_path / "log", unfinished=True))
    result = document["results"][0]
    assert {"not-satisfied"} == {state for state, _ in states(result).values()}
    finished = name == "doubtful"
    assert finished == ("end" in result) == (not document["metadata"]["title"].startswith("UNFINISHED"))
    why = "leaves out 1 line" if finished else "not finished"
    assert [] == [one["title"] for one in result["findings"] if why not in one["description"]]


def test_p11_a_statement_after_the_certificate_spoils_it(tmp_path: Path) -> None:
    script = s.key_destroyed().after("certificate", s.Line("back", lambda _: s.key_told(p.KeyPhase.CAME_BACK)))
    result = result_of(script, tmp_path / "log")
    assert {"not-satisfied"} == {state for state, _ in states(result).values()}
    assert "came after the certificate" in result["description"]


def test_an_altered_log_is_not_exported(tmp_path: Path) -> None:
    made.ledger_of(s.good(), tmp_path / "log")
    entries = next((tmp_path / "log" / "log" / "tile" / "entries").rglob("*.p")) / "18"
    data = entries.read_bytes()
    entries.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    with pytest.raises(EvidenceFault):
        read_evidence(Ledger.open(tmp_path / "log", s.ENGINE.verifier), audit=made.ACCEPTED)


# -- texts of the log become no markup -----------------------------------------------------------------------------


def _rendered(text: str) -> str:
    """What a reader of Markdown sees, by another program."""
    html = str(MarkdownIt("commonmark").renderInline(text))
    assert "<" not in html
    return html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")


def test_a_hostile_text_is_text_wherever_markdown_is_read(tmp_path: Path) -> None:
    result = result_of(made.judged(Verdict.UNKNOWN, why=HOSTILE), tmp_path / "log")
    seen = next(one for one in result["observations"] if values(one).get("copy") == made.BENT)
    assert HOSTILE == values(seen)["why"]
    found = next(one for one in result["findings"] if values(one).get("copy") == made.BENT)
    for text in (seen["description"], found["description"]):
        assert f"unknown: {HOSTILE}" == _rendered(text)
