"""Tables as CSV: what RFC 4180 asks, what a spreadsheet must not do, and every number of the statements."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile.exports.evidence import ALWAYS, Evidence
from domicile.exports.packs import built_in, choose
from domicile.exports.tables import guarded, tables, unguarded
from domicile.proof import Verdict
from tests.exports import made
from tests.vectors import live
from tests.vectors import scenario as s
from tests.vectors.scenario import Script

FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    " =1",
    "＝1",
    "＋1",
    "－1",
    "＠x",
    '=HYPERLINK("http://x","y")',
    "'=1",
    " '",
)
SIGNS = " \t\r\n\v\u00a0\u3000\ufeff=+-@＝＋－＠'a,\";"
NAMES = {"run", "copies", "slices", "statements", "kinds", "counts", "cohorts", "clauses", "not-proven"}
Rows = list[dict[str, str]]


def read(data: bytes) -> Rows:
    """The rows of a table, read strictly by Python's own reader."""
    lines = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    assert {len(lines[0])} == {len(line) for line in lines}
    return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]


def made_of(script: Script, folder: Path, *, unfinished: bool = False) -> dict[str, Rows]:
    evidence: Evidence = made.evidence_of(script, folder, unfinished=unfinished)
    return {name.removesuffix(".csv"): read(data) for name, data in tables(evidence, choose([])).items()}


# -- what a spreadsheet must not do --------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.text(st.sampled_from(SIGNS), max_size=8) | st.text(max_size=8))
def test_any_text_comes_back_and_begins_no_formula(text: str) -> None:
    safe = guarded(text)
    assert text == unguarded(safe)
    assert not safe.strip().strip("\ufeff").strip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    assert not safe.startswith(("\t", "\r", "\n"))


@pytest.mark.parametrize("why", FORMULAS)
def test_a_text_of_the_log_that_would_be_a_formula_is_guarded(why: str, tmp_path: Path) -> None:
    rows = made_of(made.judged(Verdict.UNKNOWN, why=why), tmp_path / "log")["copies"]
    assert f"'{why}" == next(row["why"] for row in rows if row["copy"] == made.BENT)


@pytest.mark.parametrize("why", ["a=1", "1-1", "x@y", "searched, nothing found"])
def test_a_text_that_is_none_is_left_alone(why: str, tmp_path: Path) -> None:
    rows = made_of(made.judged(Verdict.UNKNOWN, why=why), tmp_path / "log")["copies"]
    assert why == next(row["why"] for row in rows if row["copy"] == made.BENT)


def test_no_cell_of_any_table_begins_a_formula(tmp_path: Path) -> None:
    script = made.judged(Verdict.UNKNOWN, why="=cmd|' /C calc'!A0").set("cutover", position="+1", fence="@x")
    found = made_of(script.set("plan", not_proven=("-not proven",), programme="=evil"), tmp_path / "log")
    cells = [cell for rows in found.values() for row in rows for cell in row.values()]
    assert [] == [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t", "\r"}]
    assert {"'=evil", "'-not proven", "'=cmd|' /C calc'!A0"} <= set(cells)


# -- RFC 4180 ------------------------------------------------------------------------------------------------------


def test_lines_end_as_the_rfc_says_and_quotes_are_doubled(tmp_path: Path) -> None:
    evidence = made.evidence_of(made.judged(Verdict.UNKNOWN, why='a "b", c'), tmp_path / "log")
    found = tables(evidence, choose([]))
    assert {f"{name}.csv" for name in NAMES} == set(found)
    for data in found.values():
        assert data.endswith(b"\r\n")
        assert data.count(b"\n") == data.count(b"\r\n")
    assert b'"a ""b"", c"' in found["copies.csv"]
    again = tables(made.evidence_of(made.judged(Verdict.UNKNOWN, why='a "b", c'), tmp_path / "again"), choose([]))
    assert found == again


# -- round trip against the statements -----------------------------------------------------------------------------


def test_slices_have_the_rows_and_digests_of_the_statements(tmp_path: Path) -> None:
    rows = {row["slice"]: row for row in made_of(s.good(), tmp_path / "log")["slices"]}
    assert list(s.SLICES) == list(rows)
    for name, (dataset, home, count, delete, blank) in s.SLICES.items():
        row, same = rows[name], s.digest(name)
        assert (dataset, home) == (row["dataset"], row["home"])
        numbers = ("planned_rows", "to_delete", "to_blank", "copied_rows", "copied_bytes", "compared_rows")
        assert [count, delete, blank, count, count * 100, count] == [int(row[one]) for one in numbers]
        assert [count, delete, blank] == [int(row[one]) for one in ("restored_rows", "deleted", "blanked")]
        digests = ("source_digest", "home_digest", "restored_digest", "erased_digest")
        assert {same} == {row[one] for one in digests}
        assert (s.digest(f"stream {name}"), "yes") == (row["copied_digest"], row["equal"])


def test_copies_statements_and_counts_are_those_of_the_log(tmp_path: Path) -> None:
    found = made_of(made.judged(Verdict.BLOCKED_UNTIL, why="object lock"), tmp_path / "log")
    verdicts = {row["copy"]: (row["verdict"], row["satisfied"], row["reason"], row["until"]) for row in found["copies"]}
    good = ("erased-verified", "yes", "pass", "")
    bent = ("blocked-until", "no", "fail", "2027-03-01T00:00:00Z")
    assert {name: bent if name == made.BENT else good for name in s.COPIES} == verdicts
    assert {("SG", "Origin Ltd", "1000000", "0")} == {
        (row["country"], row["operator"], row["bytes"], row["residue"]) for row in found["copies"]
    }
    played = made.judged(Verdict.BLOCKED_UNTIL, why="object lock").play()
    assert [one.sha256 for one in played.values()] == [row["sha256"] for row in found["statements"]]
    assert [str(number) for number in range(len(played))] == [row["statement"] for row in found["statements"]]
    counts = {(row["dataset"], row["home"]): row for row in found["counts"]}
    ca = counts["app.public.messages", "ca"]
    assert ["30", "28", "0", "2", "yes"] == [ca[one] for one in ("moved", "deleted", "blanked", "kept", "certified")]
    assert 190 == sum(int(row["moved"]) for row in counts.values())


def test_cohorts_have_a_line_for_each_home_and_way(tmp_path: Path) -> None:
    found = made_of(live.live(), tmp_path / "log")
    first = [row for row in found["cohorts"] if row["cohort"] == "1"]
    assert {("home", "us", "1", "412"), ("home", "ca", "1", "412")} <= {
        (row["way"], row["home"], row["people"], row["wait_ms"]) for row in first
    }
    assert {"home", "source"} == {row["way"] for row in found["cohorts"]}
    assert {""} == {row["copied_rows"] for row in found["slices"]}  # no transfer is asked of a move by cohorts


def test_what_a_freeze_voided_is_in_no_slice(tmp_path: Path) -> None:
    rows = {row["slice"]: row for row in made_of(live.live(), tmp_path / "log")["slices"]}
    assert live.FIRST_ID not in rows
    assert {"yes"} == {row["equal"] for row in rows.values()}


COMPARED = ("compared_rows", "source_digest", "home_digest", "equal")
GONE = ("deleted", "blanked", "erased_digest")


@pytest.mark.parametrize(
    ("script", "columns"),
    [
        (live.not_frozen(), COMPARED),
        (Script(s.good().lines[: s.good().place("cutover")]), COMPARED),
        (s.good().without(*[name for name in s.good().names() if name.startswith("outcome")], "certificate"), GONE),
    ],
    ids=["voided", "without a fence", "announced only"],
)
def test_p11_what_does_not_count_is_in_no_slice(script: Script, columns: tuple[str, ...], tmp_path: Path) -> None:
    rows = made_of(script, tmp_path / "log", unfinished=True)["slices"]
    assert rows
    assert {""} == {row[one] for row in rows for one in columns}


def test_clauses_and_what_is_not_proven_are_all_there(tmp_path: Path) -> None:
    found = made_of(made.judged(Verdict.UNKNOWN), tmp_path / "log")
    clauses = {(row["pack"], row["clause"]): row for row in found["clauses"] if row["clause"]}
    assert sum(len(one.pack.clauses) for one in built_in()) == len(clauses)
    assert ("not-satisfied", "other") == tuple(clauses["gdpr", "art-17-1"][one] for one in ("state", "reason"))
    assert "1 of 4 copies: unknown" == clauses["gdpr", "art-17-1"]["because"]
    left = [row for row in found["clauses"] if row["state"] == "not covered"]
    assert sum(len(one.pack.not_covered) for one in built_in()) == len(left)
    assert [*s.plan().not_proven, *ALWAYS] == [row["not_proven"] for row in found["not-proven"]]


# -- never better than the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unfinished", "doubtful"])
def test_p11_tables_of_a_run_that_is_not_finished_or_not_believed_say_so(name: str, tmp_path: Path) -> None:
    script = {"unfinished": made.unfinished(), "doubtful": made.doubtful()}[name]
    found = made_of(script, tmp_path / "log", unfinished=True)
    assert {"no"} == {row["satisfied"] for row in found["copies"]}
    assert {"not-satisfied"} == {row["state"] for row in found["clauses"] if row["clause"]}
    assert {"no"} == {row["certified"] for row in found["counts"]}
    run = {row["what"]: row["value"] for row in found["run"]}
    assert ("yes" if name == "doubtful" else "no") == run["finished"]
    assert run["against every finding"]
    if name == "unfinished":
        assert {"not judged yet"} == {row["verdict"] for row in found["copies"]}


def test_p11_counts_that_the_certificate_bends_are_not_taken_from_it(tmp_path: Path) -> None:
    bent = {
        dataset: {home: replace(counts, moved=999) for home, counts in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    rows = made_of(s.good().set("certificate", counts=bent), tmp_path / "log")["counts"]
    assert {("120", "no"), ("30", "no"), ("40", "no")} == {(row["moved"], row["certified"]) for row in rows}
