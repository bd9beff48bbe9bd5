"""The golden bundles: made again byte for byte, the good ones accepted, each bad one refused for its own reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.evidence.tlog.cosignature import cosigner_of
from domicile_audit.case import Case, Refused
from domicile_audit.checklist import CHECKS, audit
from domicile_audit.trust.asking import Asked
from domicile_audit.trust.claims import examine
from domicile_audit.trust.policy import Policy, read_policy
from tests.vectors import make
from tests.vectors.registry import DEFECTS
from tests.vectors.rotations import MONITOR_2, THREE
from tests.vectors.scenario import ENGINE, MONITOR, OPERATOR, SLICES, at

VECTORS = Path(make.__file__).parent
GOOD = sorted(path.stem for path in (VECTORS / "good").glob("*.zip"))
STORIES = sorted(name for name, defect in DEFECTS.items() if defect.check >= 10)
# One lie may be seen from two sides; the checks that would also refuse it, were the named one not there.
ALSO = {
    "rows-left-and-another-store-present": {20},
    "plan-slice-goes-elsewhere": {11, 12, 15, 16, 20},
    "plan-with-a-copy-twice": {15, 16, 17, 19},
    "plan-with-a-slice-twice": {11, 13, 15, 16, 19, 20, 23},
    "plan-without-copies": {16, 17, 19},
    "sweep-of-a-copy-twice": {19},
    "rows-erased-again-before-they-were-back": {19},
    "plan-erases-more-than-there-is": {19},
    "plan-threshold-too-high": {14, 24},
    "approval-missing": {24},
    "approval-duplicated": {24},
    "approval-by-one-person-twice": {24},
    "approval-after-the-clearance": {24},
    "plan-with-an-approver-name-twice": {14},
    "objects-of-a-store-named-like-a-table": {19},
    "equality-unfenced": {16, 20},
    "equality-with-a-differing-digest": {20},
    "equality-with-differing-rows": {15, 20},
    "equality-with-a-slice-twice": {15, 16},
    "clearance-of-nothing": {16},
    "erasure-of-more-than-planned": {19, 20},
    "erasure-of-an-unplanned-slice": {19, 20},
    "erasure-twice": {19, 20},
    "sweep-with-more-residue-than-hits": {19},
    "freeze-of-a-slice-elsewhere": {12, 15, 16, 20},
    "freeze-with-a-slice-twice": {13, 15, 16, 19, 20, 23},
    "freeze-erases-more-than-there-is": {19},
    "clearance-after-a-cohort-went-back": {19, 20},
    "clearance-before-the-last-cohort-is-frozen": {19},
    "cohort-after-the-clearance": {19, 20},
    "freeze-after-the-clearance": {20},
    "receipts-and-then-the-cohort-went-back": {19, 20, 23},
    "objects-of-a-table": {15},
    "objects-that-differ-at-home": {16, 20},
    "objects-never-compared": {16, 20},
    "objects-erased-beyond-the-plan": {20},
    "objects-of-a-store-that-has-none": {15, 19},
    "erasure-announced-but-called-done": {20},
    "transfer-after-the-equality": {16},
    "differences-between-intent-and-outcome": {20},
    "differences-before-the-approvals": {20},
    "differences-after-the-clearance": {20},
    "residue-before-an-erasure-of-nothing": {19},
    "fence-after-the-equality": {16},
    "clearance-of-an-equality-before-the-last-freeze": {16},
}
# These leave nothing for the later checks to read.
NOTHING_LEFT = {
    "plan-not-first",
    "plan-twice",
    "certificate-missing",
    "certificate-not-last",
    "equality-without-a-slice",
    "plan-stated-after-the-fact",
    "erasure-after-the-certificate",
    "log-rolled-back-behind-its-certificate",
}


def bundle(kind: str, name: str) -> bytes:
    return (VECTORS / kind / f"{name}.zip").read_bytes()


def test_the_golden_files_are_what_the_script_makes() -> None:
    made = make.all_files()
    found = {path: path.read_bytes() for suffix in make.SUFFIXES for path in VECTORS.rglob(f"*.{suffix}")}
    assert sorted(made) == sorted(found)
    assert [path.name for path in made if made[path] != found[path]] == []


@pytest.mark.parametrize(
    ("name", "verdict", "all_erased"),
    [
        ("all-erased", "erased-verified", True),
        ("detached-predicate", "erased-verified", True),
        ("backup-blocked", "blocked-until", False),
        ("key-destroyed", "key-destroyed", False),
        ("key-destroyed-and-more-found", "key-destroyed", False),
        ("copy-held-with-residue", "held", False),
        ("rows-found-and-said", "present", False),
        ("copy-unknown", "unknown", False),
        ("nothing-erased-yet", "present", False),
        ("cleared-and-nothing-erased-yet", "present", False),
        ("receipts-destroyed-after-the-sweep", "erased-verified", True),
        ("live-run", "erased-verified", True),
        ("live-run-on-its-way", "present", False),
        ("objects-one-locked", "blocked-until", False),
        ("objects-lock-is-over", "erased-verified", True),
        ("cosigned", "erased-verified", True),
        ("receipts", "erased-verified", True),
        ("receipts-in-parts", "erased-verified", True),
        ("receipts-in-cohorts", "erased-verified", True),
        ("keys-rotated", "erased-verified", True),
        ("approver-key-stolen", "erased-verified", True),
        ("log-key-lost", "erased-verified", True),
        ("compared-again", "erased-verified", True),
        ("residue-left-out-and-unknown", "unknown", False),
        ("key-destroyed-since-it-was-read", "key-destroyed", False),
        ("key-destroyed-and-not-read-since", "key-destroyed", False),
        ("key-destroyed-and-rows-back-and-searched-since", "key-destroyed", False),
        ("rows-back-and-then-its-key-destroyed", "key-destroyed", False),
        ("key-destroyed-before-a-lock-was-over", "key-destroyed", False),
        ("receipts-and-a-slice-that-stays", "erased-verified", True),
        ("receipts-and-cleared-anew", "erased-verified", True),
        ("came-back-and-went-again", "erased-verified", True),
        ("rows-left-and-said-by-their-table", "present", False),
        ("one-approval-is-enough", "erased-verified", True),
        ("handed-on-by-who-saw-little", "erased-verified", True),
        ("objects-back-and-unknown", "unknown", False),
        ("objects-back-and-searched-since", "erased-verified", True),
        ("dataset-that-stays", "erased-verified", True),
        ("fence-stated-twice", "erased-verified", True),
        ("keys-came-back", "unknown", False),
        ("key-came-back-and-is-held", "held", False),
        ("enough-others-approved", "erased-verified", True),
        ("enough-others-approved-what-is-erased", "erased-verified", True),
        ("given-up-and-enough-others-approved", "erased-verified", True),
        ("cleared-anew-after-a-key-was-lost", "erased-verified", True),
    ],
)
def test_p11_a_good_bundle_is_accepted_and_says_loudly_what_is_left(
    name: str, verdict: str, *, all_erased: bool
) -> None:
    report = audit(bundle("good", name))
    assert (True, verdict, len(CHECKS)) == (report.accepted, report.verdict, len(report.checks))
    assert all_erased == ("NOT EVERYTHING IS PROVEN ERASED" not in report.headline)
    assert any("taken from the bundle itself" in line for line in report.not_proven)


@pytest.mark.parametrize("name", GOOD)
def test_every_good_bundle_is_accepted(name: str) -> None:
    assert audit(bundle("good", name)).reason is None


def test_p11_rows_that_the_source_keeps_are_said_and_so_is_that_nothing_was_erased() -> None:
    """A verdict is about copies that were emptied; rows that a rule keeps are not in it."""
    kept = sum(rows - delete - blank for _, _, rows, delete, blank in SLICES.values())
    assert kept
    said = f"that home alone holds what went there: {kept} rows are kept at the source too, as planned"
    nothing = "that anything was erased: no erasure is in the log"
    assert {said} == {said, nothing} & set(audit(bundle("good", "all-erased")).not_proven)
    assert {nothing} == {said, nothing} & set(audit(bundle("good", "nothing-erased-yet")).not_proven)


def test_p11_of_objects_it_is_said_that_none_was_restored_and_no_fence_stood() -> None:
    report = audit(bundle("good", "objects-one-locked"))
    assert {"that objects of media can be restored at home: none was"} <= set(report.not_proven)
    assert {"that nobody wrote to media meanwhile: the fence is one of the database"} <= set(report.not_proven)
    assert "199 rows and versions of objects were stated equal at source and home under a fence" in report.proven
    assert not [line for line in audit(bundle("good", "all-erased")).not_proven if "media" in line]


def test_p6_cohorts_and_their_waits_are_told_over_people_and_called_the_engines_word() -> None:
    """Written down by hand: 388 ms for 48 people, 412 for 2, 980 for 7, 2104 for 2; 9 of the 59 came back."""
    report = audit(bundle("good", "live-run"))
    told = [
        "4 cohorts of 59 people were stated as gone home, 2 of 9 people as gone back: 50 people are at home",
        "on the way home, half of them waited at most 388 ms, 99 of 100 at most 2104 ms, all at most 2104 ms",
        "the last freeze lists 3 slices",
    ]
    assert told == [line for line in report.proven if line in told]
    assert "how long people waited: the waits are those of the engine's clock" in report.not_proven
    at_once = audit(bundle("good", "all-erased"))
    assert not [line for line in (*at_once.proven, *at_once.not_proven) if "cohort" in line or "waited" in line]


def test_p11_what_was_called_equal_before_a_cohort_went_back_is_not_counted() -> None:
    report = audit(bundle("good", "live-run-on-its-way"))
    assert "0 rows were stated equal at source and home under a fence" in report.proven


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_p9_a_bad_bundle_is_refused_for_its_own_reason(name: str) -> None:
    report = audit(bundle("bad", name))
    assert not report.accepted
    assert DEFECTS[name].check == report.checks[-1].number, report.reason
    assert DEFECTS[name].reason in (report.reason or "")


def refusing(name: str) -> set[int]:
    """All the checks that refuse a bundle, each asked although another has refused."""
    found = set()
    case = Case(data=bundle("bad", name), policy=None)
    for number, (_, _, check) in enumerate(CHECKS, start=1):
        try:
            check(case)
        except Refused:
            found.add(number)
        except KeyError:  # a check may rely on those above it
            assert found
    return found


@pytest.mark.parametrize("name", sorted(set(STORIES) - NOTHING_LEFT))
def test_p9_only_the_named_check_refuses_what_a_cheat_signed(name: str) -> None:
    assert {DEFECTS[name].check} | ALSO.get(name, set()) == refusing(name)


def test_p9_every_check_of_the_story_refuses_something_that_no_other_does() -> None:
    alone = {DEFECTS[name].check for name in STORIES if name not in ALSO.keys() | NOTHING_LEFT}
    assert set(range(10, len(CHECKS) + 1)) == alone


def test_every_check_has_a_bundle_that_it_refuses() -> None:
    assert set(range(1, len(CHECKS) + 1)) == {defect.check for defect in DEFECTS.values()}


def test_the_seven_refusals_that_anyone_would_try_have_seven_reasons() -> None:
    names = [
        "plan-file-altered",
        "statement-left-out",
        "statements-swapped",
        "checkpoint-of-another-log",
        "certificate-better-than-its-verdicts",
        "approval-missing",
        "erasure-before-the-clearance",
    ]
    assert len(names) == len({audit(bundle("bad", name)).reason for name in names})


def test_the_right_policy_accepts_and_then_the_keys_are_no_longer_open() -> None:
    report = audit(bundle("good", "all-erased"), read_policy((VECTORS / "policies" / "right.txt").read_bytes()))
    assert report.accepted
    assert not any("taken from the bundle itself" in line for line in report.not_proven)


@pytest.mark.parametrize(
    ("policy", "check", "reason"),
    [
        ("another-log", 2, "not in the trust policy"),
        ("another-approver", 14, "1 trusted approvals, the policy wants 2"),
        ("three-approvals", 14, "2 trusted approvals, the policy wants 3"),
        ("stranger-must", 14, "without the approval of stranger.example"),
    ],
)
def test_p2_a_policy_that_does_not_trust_the_keys_refuses(policy: str, check: int, reason: str) -> None:
    trusted = read_policy((VECTORS / "policies" / f"{policy}.txt").read_bytes())
    report = audit(bundle("good", "all-erased"), trusted)
    assert (False, check) == (report.accepted, report.checks[-1].number)
    assert reason in (report.reason or "")


@pytest.mark.parametrize("name", ["all-erased", "keys-rotated"])
def test_p2_whose_approval_must_be_there_is_there_also_with_the_key_that_took_over(name: str) -> None:
    report = audit(bundle("good", name), trusted("monitor-must"))
    assert report.accepted, report.reason


GIVEN_UP = "given-up-and-enough-others-approved"
LOST_SINCE = ("enough-others-approved", "enough-others-approved-what-is-erased", GIVEN_UP)
ANEW = "cleared-anew-after-a-key-was-lost"


def of_three(*, wanted: int, knows_counsel: bool = True, must: str = "nobody") -> Policy:
    """Trust in those approvers; nothing may be erased without the one whose key's name begins so."""
    rule = p.ApprovalRule(threshold=2, of=THREE.of if knows_counsel else THREE.of[:2])
    lines = trust_policy(ENGINE.verifier, rule).replace("approvals 2\n", f"approvals {wanted}\n").splitlines()
    return read_policy("".join(f"{x} must\n" if x.startswith(f"approver {must}") else f"{x}\n" for x in lines).encode())


@pytest.mark.parametrize("name", [*LOST_SINCE, ANEW])
@pytest.mark.parametrize("must", ["nobody", "operator.example+"])
def test_p2_enough_others_who_stand_are_enough_for_a_policy_too(name: str, must: str) -> None:
    report = audit(bundle("good", name), of_three(wanted=2, must=must))
    assert report.accepted, report.reason


def test_p2_who_approved_anew_with_the_key_that_took_over_is_there_for_a_policy() -> None:
    report = audit(bundle("good", ANEW), of_three(wanted=2, must="monitor.example+"))
    assert report.accepted, report.reason


def test_p2_the_last_clearance_counts_for_a_policy_before_anything_is_erased() -> None:
    stranger = read_policy((VECTORS / "policies" / "another-approver.txt").read_bytes())
    assert audit(bundle("good", "nothing-erased-yet"), stranger).accepted
    report = audit(bundle("good", "cleared-and-nothing-erased-yet"), stranger)
    assert 14 == report.checks[-1].number
    assert "has 1 trusted approvals, the policy wants 2" in (report.reason or "")


def test_p2_a_clearance_that_counts_for_nothing_needs_no_approver_whom_a_policy_trusts() -> None:
    """The policy names monitor's new key; the lost one's approval is not trusted, and nothing rests on it."""
    lines = trust_policy(ENGINE.verifier, THREE).replace(MONITOR.verifier.vkey, MONITOR_2.verifier.vkey)
    report = audit(bundle("good", ANEW), read_policy(lines.encode()))
    assert report.accepted, report.reason


@pytest.mark.parametrize(
    ("name", "policy", "reason"),
    [
        *((name, of_three(wanted=2, must="monitor.example+"), "is without the approval of mon") for name in LOST_SINCE),
        (GIVEN_UP, of_three(wanted=3), "has 2 trusted approvals, the policy wants 3"),
        (GIVEN_UP, of_three(wanted=2, knows_counsel=False), "has 1 trusted approvals, the policy wants 2"),
    ],
)  # fmt: skip
def test_p2_where_too_few_others_stand_for_a_policy_a_lost_key_approved_nothing(
    name: str, policy: Policy, reason: str
) -> None:
    report = audit(bundle("good", name), policy)
    assert (False, 24) == (report.accepted, report.checks[-1].number)
    assert f"without what a lost key signed, {reason}" in (report.reason or "")


def test_p9_one_statement_that_stands_there_twice_is_one() -> None:
    policy = read_policy(RIGHT.encode() + b"require cutover/v1 2\n")
    report = examine(bundle("good", "fence-stated-twice"), Asked(policy, at(70)))
    assert (False, "require cutover/v1 2: 1 in the log") == (report.accepted, report.reason)
    assert audit(bundle("good", "fence-stated-twice"), policy).accepted


def trusted(name: str) -> Policy:
    return read_policy((VECTORS / "policies" / f"{name}.txt").read_bytes())


@pytest.mark.parametrize("policy", ["right", "two-of-three", "ca-and-one-more"])
def test_p9_a_checkpoint_with_the_policys_quorum_is_accepted_and_says_who_cosigned(policy: str) -> None:
    report = audit(bundle("good", "cosigned"), trusted(policy))
    assert report.accepted, report.reason
    told = [line for line in report.proven if line.startswith("witness ")]
    at = "2026-11-22T11:01:00Z", "2026-11-22T11:02:00Z"
    seen = [
        f"witness {name} cosigned that at {time}: it saw the log only grow"
        for name, time in zip(("ca", "us"), at, strict=True)
    ]
    assert ([] if policy == "right" else seen) == told
    other = next(line for line in report.not_proven if "no other version of this log" in line)
    assert (
        "no policy names its witnesses" if policy == "right" else "a witness (ca, us) could have cosigned that as well"
    ) in other


@pytest.mark.parametrize(("policy", "by"), [("all-three", "ca, us"), ("one-witness", "ca, us")])
def test_p9_a_checkpoint_without_the_policys_quorum_is_refused(policy: str, by: str) -> None:
    report = audit(bundle("good", "cosigned"), trusted(policy))
    assert (False, 5) == (report.accepted, report.checks[-1].number)
    assert f"is cosigned by {by}, the policy wants" in (report.reason or "")


UNWITNESSED = {
    "stolen-key": "cosigned by no witness, the policy wants some",
    "stolen-key-with-cosignatures-of-the-true-log": "the cosignature of witness ca is wrong",
    "stolen-key-with-witnesses-of-its-own": "cosigned by no witness, the policy wants some",
    "cosigned-by-one": "cosigned by ca, the policy wants some",
    "cosigned-by-one-twice": "cosigned by ca, the policy wants some",
    "cosigned-beyond-all-time": "the cosignature of witness us is wrong",
    "cosigned-later-than-it-was": "the cosignature of witness us is wrong",
    "cosigned-by-the-log-and-an-approver": "cosigned by no witness, the policy wants some",
}


@pytest.mark.parametrize("name", UNWITNESSED)
def test_p9_a_stolen_key_of_the_engine_convinces_nobody_who_asks_for_witnesses(name: str) -> None:
    """Signed with the engine's own key from the first statement to the manifest: without witnesses it is accepted."""
    data = bundle("unwitnessed", name)
    for policy in (None, trusted("right")):
        report = audit(data, policy)
        assert report.accepted, report.reason
        assert any("no other version of this log" in line for line in report.not_proven)
    report = audit(data, trusted("two-of-three"))
    assert (False, 5) == (report.accepted, report.checks[-1].number)
    assert UNWITNESSED[name] in (report.reason or "")


def test_every_unwitnessed_bundle_has_its_reason() -> None:
    assert sorted(UNWITNESSED) == sorted(path.stem for path in (VECTORS / "unwitnessed").glob("*.zip"))


UNTRUSTED = {
    "approved-by-keys-that-hand-on-to-the-true-ones": (14, "0 trusted approvals, the policy wants 2"),
    "log-of-nobody-by-way-of-the-true-keys": (14, "0 trusted approvals, the policy wants 2"),
    "log-key-called-lost-by-keys-that-hand-on-to-the-true-ones": (24, "0 trusted approvals, the policy wants 2"),
}


@pytest.mark.parametrize("name", UNTRUSTED)
def test_p2_who_has_no_key_of_the_policy_convinces_nobody_by_naming_it(name: str) -> None:
    """A chain may end in anybody's key; what was signed before that is not signed by whom the policy names."""
    assert audit(bundle("untrusted", name)).accepted
    report = audit(bundle("untrusted", name), trusted("right"))
    assert (False, UNTRUSTED[name][0]) == (report.accepted, report.checks[-1].number)
    assert UNTRUSTED[name][1] in (report.reason or "")


def test_every_untrusted_bundle_has_its_reason() -> None:
    assert sorted(UNTRUSTED) == sorted(path.stem for path in (VECTORS / "untrusted").glob("*.zip"))


RIGHT = (VECTORS / "policies" / "right.txt").read_text()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no log line"),
        ("quorum none\n", "no log line"),
        (RIGHT.replace("quorum none\n", ""), "quorum none"),
        (RIGHT + "quorum none\n", "quorum none"),
        (RIGHT.replace("quorum none", "quorum all"), "no witness or group of a line above"),
        (RIGHT + "witness w x\n", "not of the form"),
        (RIGHT + "believe me\n", "not a line this version reads"),
        (RIGHT.removesuffix("\n"), "may be cut"),
        (RIGHT + f"witness w {cosigner_of(ENGINE).vkey}\n", "twice"),
        (RIGHT + f"witness w {cosigner_of(OPERATOR).vkey}\n", "twice"),
        (RIGHT.replace("approvals 2", "approvals 0"), "approvals K"),
        (RIGHT.replace("approvals 2", "approvals 3"), "approvals K"),
        (RIGHT.replace("approvals 2", "approvals two"), "not a line this version reads"),
        (RIGHT.replace("approvals 2\n", ""), "approvals K"),
        (RIGHT + "approvals 1\n", "approvals K"),
        (RIGHT + "#" * 262_144, "longer than 262144 bytes"),
        (RIGHT.replace("log homecoming", "log homecaming"), "do not belong together"),
        (RIGHT + next(line for line in RIGHT.split("\n") if line.startswith("approver")) + "\n", "twice"),
    ],
)
def test_a_policy_that_is_not_whole_is_no_policy(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_policy(text.encode())
