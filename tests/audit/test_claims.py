"""The answer claim by claim, and the lines of a policy that ask for more than keys; each with its rejecting twin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from domicile_audit.__main__ import main
from domicile_audit.case import Case
from domicile_audit.checklist import judge
from domicile_audit.report import Report
from domicile_audit.spot.draw import draw
from domicile_audit.spot.sample import compared, read_sample
from domicile_audit.trust.asking import Asked
from domicile_audit.trust.claims import PROMISES, with_claims
from domicile_audit.trust.policy import read_policy
from tests.vectors import make

SEED = "a seed"
VECTORS = Path(make.__file__).parent
RIGHT = (VECTORS / "policies" / "right.txt").read_text()


Answer = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Answer:
    """Exit code and JSON of the program for a golden bundle; `lines` are added to the right policy (None: none)."""

    def ask(name: str, lines: str | None, *words: str, kind: str = "good") -> tuple[int, dict[str, Any]]:
        given = [str(VECTORS / kind / f"{name}.zip"), "--json", *words]
        if lines is not None:
            (tmp_path / "policy.txt").write_text(RIGHT + lines)
            given += ["--trust", str(tmp_path / "policy.txt")]
        code = main(given)
        return code, json.loads(capsys.readouterr().out)

    return ask


def results(found: dict[str, Any]) -> dict[str, str]:
    return {claim["name"]: claim["result"] for claim in found["claims"]}


def test_p11_each_promise_has_a_result(answer: Answer) -> None:
    """Written down by hand: what a log can't show is not shown, however good the bundle is."""
    code, found = answer("all-erased", "fresh 30\n", "--at", "2026-12-01")
    assert 0 == code
    assert [f"P{number}" for number in range(1, 12)] == list(results(found)) == list(PROMISES)
    assert {"P5", "P6", "P8"} == {name for name, result in results(found).items() if result == "not shown"}
    assert {"accepted", "not shown"} == set(results(found).values())
    assert "190 rows in 3 slices" in found["claims"][0]["why"]
    assert [None] * 11 == [claim["bound"] for claim in found["claims"]]


def test_p11_without_a_policy_nothing_that_rests_on_keys_is_shown(answer: Answer) -> None:
    code, found = answer("all-erased", None)
    assert (3, "not shown", "not shown") == (code, results(found)["P2"], results(found)["P9"])
    assert ("accepted", "not shown") == (results(found)["P1"], results(found)["P10"])


def test_p11_where_nothing_was_erased_nothing_is_claimed_of_it(answer: Answer) -> None:
    code, found = answer("nothing-erased-yet", "")
    unshown = {name for name, result in results(found).items() if result == "not shown"}
    assert (0, {"P1", "P2", "P3", "P5", "P6", "P7", "P8", "P10"}) == (code, unshown)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("equality-with-a-differing-digest", {"P1"}),
        ("approval-missing", {"P2"}),
        ("erasure-not-announced", {"P2", "P7"}),
        ("tile-altered", {"P9"}),
        ("certificate-not-last", {"P10"}),
        ("certificate-with-other-counts", {"P11"}),
    ],
)
def test_p9_a_refused_bundle_refuses_what_the_failed_check_serves_and_shows_nothing_else(
    answer: Answer, name: str, refused: set[str]
) -> None:
    code, found = answer(name, None, kind="bad")
    assert 1 == code
    assert refused == {claim for claim, result in results(found).items() if result == "refused"}
    assert {"refused", "not shown"} == set(results(found).values())


LINES = [  # bundle, lines, time; the claim that speaks, its result, and words of its reason
    ("all-erased", "fresh 1", "2026-11-23T10:59:00Z", "P10", "accepted", "at most 1 days old"),
    ("all-erased", "fresh 1", "2026-11-23T11:01:00Z", "P10", "refused", "older than 1 days"),
    ("all-erased", "fresh 1", "2026-11-22T10:56:00Z", "P10", "accepted", ""),
    ("all-erased", "fresh 1", "2026-11-22T10:54:00Z", "P10", "refused", "which is after 2026-11-22 10:54 UTC"),
    ("all-erased", "fresh 1", "2026-11-23T12:59:00+02:00", "P10", "accepted", ""),
    ("live-run", "require cohort/v1 4", "now", "require cohort/v1 4", "accepted", "in the log"),
    ("all-erased", "require cohort/v1", "now", "require cohort/v1 1", "refused", "0 in the log"),
    ("all-erased", "require erasure/v1 900", "now", "require erasure/v1 900", "refused", "in the log"),
    ("all-erased", "tolerate none", "now", "P3", "accepted", "searched after the last erasure"),
    ("backup-blocked", "", "now", "P3", "not shown", "app/encrypted-files is blocked-until"),
    ("backup-blocked", "tolerate none", "now", "P3", "refused", "that app/encrypted-files is blocked-until"),
    ("backup-blocked", "tolerate blocked-until", "now", "P3", "accepted", "tolerates: app/encrypted-files"),
    ("backup-blocked", "tolerate blocked-until encrypted-files", "now", "P3", "accepted", ""),
    ("backup-blocked", "tolerate blocked-until live-rows", "now", "P3", "refused", "app/encrypted-files"),
    ("backup-blocked", "tolerate held\ntolerate unknown wal", "now", "P3", "refused", "app/encrypted-files"),
    ("copy-unknown", "tolerate unknown", "now", "P3", "accepted", ""),
    ("all-erased", "sampled 5", "now", "sampled 5", "refused", "no spot check was given"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "lines", "at", "claim", "result", "why"), LINES)
def test_p10_a_line_of_the_policy_is_met_or_refuses(
    answer: Answer, name: str, lines: str, at: str, claim: str, result: str, why: str
) -> None:
    code, found = answer(name, lines + "\n", *(() if at == "now" else ("--at", at)))
    (told,) = [one for one in found["claims"] if one["name"] == claim]
    assert (result, result == "refused") == (told["result"], code == 1)
    assert why in told["why"]
    assert (result != "refused", None) == (found["accepted"], found["refused_at"])
    if result == "refused":
        assert found["headline"] == f"REFUSED by what you asked: {claim}: {told['why']}"


@pytest.mark.parametrize(
    "line",
    [
        "fresh", "fresh 0", "fresh -1", "fresh 1.5", "fresh 36501", "fresh ١", "fresh 1 2", "fresh 1\nfresh 2",
        "require", "require sweep", "require sweep/v1 0", "require sweep/v1 1 1", "require Sweep/v1",
        "tolerate", "tolerate erased-verified", "tolerate gone", "tolerate held a b", "tolerate none\ntolerate held",
        "sampled", "sampled 101", "sampled 5\nsampled 5", "fresher 1",
        "seed", "seed two words", "seed a\nseed a", "seed a\nseed b", "seed a\u00a0b", "seed \u202e",
        f"seed {'a' * 1025}",
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_no_policy(line: str) -> None:
    with pytest.raises(ValueError, match=r"line|fresh|tolerate"):
        read_policy((RIGHT + line + "\n").encode())


def test_a_policy_of_before_asks_for_nothing_more(answer: Answer) -> None:
    code, found = answer("backup-blocked", "", "--at", "2099-01-01")
    assert (0, 11) == (code, len(found["claims"]))


def test_a_time_that_is_none_is_a_question_that_is_none(answer: Answer) -> None:
    for text in ("yesterday", "2026-13-01", "9999-12-31T23:59:59-23:00", ""):
        code, told = answer("all-erased", "", "--at", text)
        assert (2, {"error", "exit_code"}) == (code, set(told))
    assert 1 == answer("all-erased", "fresh 1\n", "--at", "9999-12-31T23:59:59")[0]
    assert 1 == answer("all-erased", "fresh 1\n", "--at", "0001-01-01")[0]


def test_the_answer_for_people_names_every_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert 3 == main([str(VECTORS / "good" / "all-erased.zip")])
    said = capsys.readouterr().out
    for name, words in PROMISES.items():
        assert f"{name:3}  {words}" in said
    assert "as far as the signers told the truth" in said


# -- with a spot check ---------------------------------------------------------------------------------------------


def spot_report(path: Path, *, count: int = 3, seed: str = SEED, seen: Mapping[str, str] | None = None) -> Path:
    """A report as `spot-check --json` writes it, of the golden bundle; what is seen of its first slice may be given."""
    case = Case(data=(VECTORS / "good" / "all-erased.zip").read_bytes(), policy=None)
    judge(case)
    slices = [
        {"id": one, "rows": compared(case)[one].rows, "home": "same", "source": "gone", "why": "looked at"}
        for one in draw(case.root, seed, compared(case), count)
    ]
    slices[0] |= seen or {}
    return written(path, {
        "format": "urn:domicile:spot-check/v1", "root": case.root.hex(), "seed": seed, "slices": slices, "objects": [],
        "bounds": [], "not_shown": [], "exit_code": 0,
    })  # fmt: skip


def written(path: Path, report: object) -> Path:
    """Such a report in the spelling of docs/formats.md, "JSON", and the end of its line."""
    path.write_text(json.dumps(report, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n")
    return path


def test_p11_a_spot_check_gives_the_claims_their_bound(answer: Answer, tmp_path: Path) -> None:
    code, found = answer("all-erased", "sampled 1\n", "--spot", str(spot_report(tmp_path / "all")))
    bounds = {one["name"]: one["bound"] for one in found["claims"] if one["bound"]}
    whole = "3 of 3 slices drawn, 0 wrong: at most 0 of 3 (0.0 %) are wrong, at 95 %; nobody signed that report: "
    whole += "whoever handed it over vouches for it"
    assert (0, {"P1": whole, "P3": whole}) == (code, bounds)
    two = spot_report(tmp_path / "two", count=2)
    code, found = answer("all-erased", "sampled 34\n", "--spot", str(two))
    assert (0, True) == (code, "at most 1 of 3 (33.3 %)" in found["claims"][0]["bound"])
    code, found = answer("all-erased", "sampled 33\n", "--spot", str(two))
    assert (1, True) == (code, "leaves 33.3 % open; nobody signed that report" in found["claims"][-1]["why"])


@pytest.mark.parametrize(
    ("seen", "refused"),
    [
        ({"home": "differs"}, {"P1"}),
        ({"source": "left"}, {"P3"}),
        ({"source": "differs"}, {"P3"}),
        ({"home": "changed since"}, set()),
        ({"source": "not looked at"}, set()),
    ],
)
def test_p1_p3_what_a_spot_check_found_wrong_refuses_all(
    answer: Answer, tmp_path: Path, seen: dict[str, str], refused: set[str]
) -> None:
    code, found = answer("all-erased", "", "--spot", str(spot_report(tmp_path / "spot", seen=seen)))
    assert (bool(refused), not refused) == (code == 1, found["accepted"])
    assert refused == {name for name, result in results(found).items() if result == "refused"}
    if seen.get("home") == "changed since":
        assert "1 undecided and counted as wrong: at most 1 of 3" in found["claims"][0]["bound"]


def test_a_spot_check_of_another_log_or_of_slices_that_its_seed_does_not_draw_is_refused(
    answer: Answer, tmp_path: Path
) -> None:
    path = spot_report(tmp_path / "spot", count=2)
    assert 2 == answer("backup-blocked", "", "--spot", str(path))[0]
    value = json.loads(path.read_text())
    [alone] = json.loads(spot_report(tmp_path / "one", count=1).read_text())["slices"]
    others = [one for one in value["slices"] if one["id"] != alone["id"]]
    seeds = (spot_report(tmp_path / seed, count=2, seed=seed) for seed in map(str, range(99)))
    another = next(
        one for one in (json.loads(found.read_text()) for found in seeds) if one["slices"] != value["slices"]
    )
    for change in (
        {"seed": another["seed"]}, {"slices": value["slices"][::-1]}, {"slices": value["slices"] * 2},
        {"root": "0" * 64}, {"slices": others},
    ):  # fmt: skip
        code, found = answer("all-erased", "", "--spot", str(written(path, value | change)))
        assert (2, True) == (code, "the spot check" in found["error"]), change


def test_a_spot_check_that_did_not_look_at_the_source_is_no_sample_of_it(answer: Answer, tmp_path: Path) -> None:
    path = spot_report(tmp_path / "spot", count=2)
    path.write_text(path.read_text().replace('"gone"', '"not looked at"'))
    code, found = answer("all-erased", "sampled 100\n", "--spot", str(path))
    assert (1, "sampled 100: the spot check did not look at the source") == (code, found["reason"])


def test_p1_drawn_are_the_slices_of_rows_that_a_clearance_rests_on() -> None:
    case = Case(data=(VECTORS / "good" / "objects-one-locked.zip").read_bytes(), policy=None)
    judge(case)
    assert case.object_stores
    assert set(case.slices) - set(compared(case)) == {
        id_ for id_, one in case.slices.items() if one["dataset"] in case.object_stores
    }
    before = compared(case)
    equality = case.of("equality/v1")[-1]
    slices = [{**one, "home": "0" * 64} for one in equality["slices"]]
    later = replace(equality, index=len(case.statements), predicate={**equality.predicate, "slices": slices})
    case.statements.append(later)
    case.by_kinds.clear()
    assert before == compared(case)


def test_what_is_no_report_of_a_spot_check_is_refused(tmp_path: Path) -> None:
    whole = spot_report(tmp_path / "spot").read_bytes()
    assert 3 == len(read_sample(whole).slices)
    for bad in (
        b"", b"\n", b"[]\n", b"{}\n", whole[:-1], whole[:-2] + b"\n", whole + b"\n", whole[:-1] + b"x",
        whole.replace(b'"gone"', b'"none"'), whole.replace(b'"rows"', b'"row"'), b"[" * 99_999 + b"\n",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r".+"):
            read_sample(bad)


def test_p11_a_report_of_a_spot_check_has_one_spelling(answer: Answer, tmp_path: Path) -> None:
    """Two readers of one file must not see two reports."""
    path = spot_report(tmp_path / "spot")
    whole, value = path.read_bytes(), json.loads(path.read_text())
    seed = b'"seed":"a seed"'
    for bad in (
        whole.replace(seed, b'"seed":"another",' + seed), whole.replace(seed, seed + b"," + seed),
        whole.replace(b'"home":"same",', b'"home":"differs","home":"same",', 1), whole.replace(b":", b": ", 1),
        whole.replace(b"a seed", b"\\u0061 seed"), json.dumps(value).encode() + b"\n",
        json.dumps({**value, "note": "x"}, sort_keys=True, separators=(",", ":")).encode() + b"\n",
        whole.replace(b'"objects":[],', b""), whole.replace(b'"exit_code":0', b'"exit_code":0.0'), b" " + whole,
    ):  # fmt: skip
        assert bad != whole
        path.write_bytes(bad)
        code, found = answer("all-erased", "", "--spot", str(path))
        assert (2, True) == (code, str(path) in found["error"]), bad
    path.write_bytes(whole)
    assert 0 == answer("all-erased", "", "--spot", str(path))[0]


SEEDS = [  # lines, the report's seed (None: no report); exit code, and what of `sampled` and `seed` is said
    ("seed agreed", "agreed", 0, {"seed agreed": "accepted"}),
    ("seed agreed", None, 0, {"seed agreed": "not shown"}),
    ("seed agreed", "other", 1, {"seed agreed": "refused"}),
    ("sampled 5\nseed agreed", "agreed", 0, {"sampled 5": "accepted", "seed agreed": "accepted"}),
    ("sampled 5\nseed agreed", "other", 1, {"sampled 5": "refused", "seed agreed": "refused"}),
    ("sampled 5", "other", 0, {"sampled 5": "accepted"}),
]


@pytest.mark.parametrize(("lines", "seed", "code", "said"), SEEDS)
def test_p11_a_spot_check_by_another_seed_than_was_agreed_is_refused(
    answer: Answer, tmp_path: Path, lines: str, seed: str | None, code: int, said: dict[str, str]
) -> None:
    given = [] if seed is None else ["--spot", str(spot_report(tmp_path / "spot", seed=seed))]
    found = answer("all-erased", lines + "\n", *given)
    assert code == found[0]
    assert said == {name: result for name, result in results(found[1]).items() if name not in PROMISES}
    if code:
        assert "drawn by another seed than 'agreed', by 'other'" in found[1]["reason"]


def test_the_claims_of_a_report_are_judged_by_values_alone() -> None:
    """No clock and no file: the same values give the same claims."""
    case = Case(data=(VECTORS / "good" / "all-erased.zip").read_bytes(), policy=read_policy(RIGHT.encode()))
    report = judge(case)
    asked = Asked(case.policy, datetime(2026, 12, 1, tzinfo=UTC))
    once: Report = with_claims(report, case, asked)
    assert once == with_claims(report, case, asked)
