"""Packs: ours are true to the documents, an operator's own is read strictly, and a fault is named by line and key."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from domicile.errors import BadFile
from domicile.exports.packs import CLAUSES_MAX, MAY_SUPPORT, PACKS_MAX, built_in, choose, parse_pack
from domicile.proof import Verdict
from tests.servers import ROOT

GOOD = """\
pack: 1
id: ours
title: Our rule
version: "1"
text: Our rule of 2026
read: 2026-11-30
source: https://example.org/rule
clauses:
  - id: sec-1
    reference: Sec. 1
    says: What leaves is erased.
    supported_by:
      statements: [erasure/v1, transfer/v1 or cohort/v1]
      verdicts: [erased-verified]
      checks: [16]
    not_shown: [everything else]
"""


def read(text: str) -> str:
    """The fault of a pack."""
    with pytest.raises(BadFile) as fault:
        parse_pack(text.encode(), origin="ours.yaml")
    return str(fault.value)


# -- ours ----------------------------------------------------------------------------------------------------------


def test_the_packs_of_the_package_are_read_and_on_the_page() -> None:
    names = [one.pack.id for one in built_in()]
    assert ["gdpr", "nist-sp-800-88r2", "us-28-cfr-202"] == names
    page = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    assert [] == [name for name in names if f"`{name}`" not in page]
    for one in built_in():
        assert [] == [clause.reference for clause in one.pack.clauses if clause.reference not in page], one.pack.id


def test_no_pack_of_ours_says_that_anything_is_complied_with() -> None:
    for path in (ROOT / "src" / "domicile" / "packs").iterdir():
        text = path.read_text(encoding="utf-8").replace("never complies", "")
        assert not re.search(r"\bcompl(y|ies|iant|iance)\b", text, re.IGNORECASE), path.name


def test_the_checks_that_packs_name_are_those_of_the_checker() -> None:
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    known = {int(number) for number in re.findall(r"^\| (\d+) \| ", page, re.MULTILINE)}
    assert {1, 16, 20} <= known
    named = {check for one in built_in() for clause in one.pack.clauses for check in clause.supported_by.checks}
    assert set() == named - known


def test_only_a_search_or_a_destroyed_key_supports() -> None:
    assert (Verdict.ERASED_VERIFIED, Verdict.KEY_DESTROYED) == MAY_SUPPORT


def test_packs_lie_in_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    found = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("domicile/packs/")}
    assert {f"domicile/packs/{one.pack.id}.yaml" for one in built_in()} == found


# -- an operator's own ---------------------------------------------------------------------------------------------


def test_a_pack_of_ones_own_is_read(tmp_path: Path) -> None:
    (tmp_path / "ours.yaml").write_text(GOOD)
    ours, gdpr = choose([str(tmp_path / "ours.yaml"), "gdpr"])
    assert ("ours", "gdpr") == (ours.pack.id, gdpr.pack.id)
    assert (16,) == ours.pack.clauses[0].supported_by.checks
    assert [] == [one for one in built_in() if one.sha256 == ours.sha256]


FAULTS = {
    "an unknown key": ("version:", "versoin:", r"ours.yaml:\d+: versoin: no such key here; see docs/exports.md"),
    "an unknown condition": ("checks: [16]", "check: [16]", r"ours.yaml:15: clauses.0.supported_by.check: no such key"),
    "a missing key": ("    reference: Sec. 1\n", "", r"clauses.0.reference: Field required"),
    "nothing that is not shown": ("[everything else]", "[]", r"ours.yaml:16: clauses.0.not_shown: .*at least 1"),
    "an unknown statement": ("erasure/v1,", "erasure/v2,", r"statements.0: no kind of statement that supports"),
    "a finding": ("erasure/v1,", "finding/v1,", r"statements.0: no kind of statement that supports a clause; one of "),
    "half of an or": ("or cohort/v1", "or", r"statements.1: no kind of statement"),
    "no statements": ("[erasure/v1, transfer/v1 or cohort/v1]", "[]", r"statements: .*at least 1"),
    "a verdict that is none": ("[erased-verified]", "[done]", r"ours.yaml:14: clauses.0.supported_by.verdicts.0: "),
    "a verdict of what is there": (
        "[erased-verified]", "[erased-verified, present]", r"verdicts.1: a copy that is present supports nothing"
    ),
    "a verdict of what nobody knows": ("[erased-verified]", "[unknown]", r"a copy that is unknown supports nothing"),
    "a check that is no number": ("[16]", "[true]", r"checks.0: "),
    "a check that can't be": ("[16]", "[0]", r"checks.0: "),
    "another format": ("pack: 1", "pack: 2", r"ours.yaml:1: pack: "),
    "a name that is no token": ("id: ours", "id: 1 rule", r"ours.yaml:2: id: "),
    "no web address": ("https://example.org/rule", "file:///etc/passwd", r"ours.yaml:7: source: "),
    "a day that is none": ("2026-11-30", "soon", r"ours.yaml:6: read: "),
    "two lines in one": ("What leaves is erased.", '"What leaves\\nis erased."', r"says: .*one line of printable text"),
    "a text too long": ("What leaves is erased.", "x" * 501, r"says: .*500"),
    "an empty text": ("What leaves is erased.", '" "', r"says: .*at least 1"),
    "no mapping": (GOOD, "- pack", r"ours.yaml holds no mapping; see docs/exports.md"),
    "no YAML": ("pack: 1", "pack: [", r"ours.yaml is not YAML"),
    "a key twice": ("id: ours", "id: ours\nid: theirs", r"ours.yaml is not YAML"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_pack_is_named_by_line_and_key(name: str) -> None:
    before, after, said = FAULTS[name]
    assert before in GOOD
    parse_pack(GOOD.encode(), origin="ours.yaml")
    assert re.search(said, read(GOOD.replace(before, after, 1)))


def test_the_same_clause_twice_is_refused() -> None:
    again = GOOD[GOOD.index("  - id: sec-1") :]
    assert "clauses of the same id: sec-1" in read(GOOD + again)
    parse_pack((GOOD + again.replace("sec-1", "sec-2")).encode(), origin="ours.yaml")


def test_there_is_a_limit_to_clauses_and_packs() -> None:
    again = GOOD[GOOD.index("  - id: sec-1") :]
    more = "".join(again.replace("sec-1", f"sec-1-{number}") for number in range(CLAUSES_MAX))
    assert "clauses" in read(GOOD + more)
    with pytest.raises(BadFile, match="at most 20 are read"):
        choose(["gdpr"] * (PACKS_MAX + 1))


def test_a_pack_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(
        BadFile, match=r"can't be read .*; name a file, or one of gdpr, nist-sp-800-88r2, us-28-cfr-202"
    ):
        choose([str(tmp_path / "gdrp")])


def test_no_two_packs_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD.replace("id: ours", "id: gdpr", 1))
    with pytest.raises(BadFile, match="gdpr is named twice"):
        choose([str(tmp_path / "mine.yaml"), "gdpr"])
