"""What witnesses show: one log, where no two quorums are without a common one; and that it was there by then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domicile_audit.report import Claim, Report
from domicile_audit.trust.asking import Asked
from domicile_audit.trust.claims import examine, say_claims
from domicile_audit.trust.policy import read_policy
from tests.vectors import scenario as s
from tests.vectors import witnessed

TWO = witnessed.policies()["two-of-three"]
RIGHT = (Path(witnessed.__file__).parent / "policies" / "right.txt").read_text()
ANY = "group some any ca us press\nquorum some\n"
ALONE = "two sets of your witnesses that share none meet the quorum, so a split view needs no dishonest one"
TIME = datetime.fromtimestamp(witnessed.TIME, UTC)
MINUTES_5 = timedelta(seconds=300)


def judged(data: bytes, lines: str, at: datetime | None = None) -> Report:
    return examine(data, Asked(read_policy(lines.encode()), at or s.at(99)))


def claimed(report: Report, name: str) -> Claim:
    (found,) = (claim for claim in report.claims if claim.name == name)
    return found


def other_log(report: Report) -> str:
    (found,) = (line for line in report.not_proven if line.startswith("that no other version of this log"))
    return found.partition(": ")[2]


def test_p9_two_forks_that_honest_witnesses_cosigned_are_not_called_one_log() -> None:
    """Each witness saw one of them, once: no signature is wrong, and none was given twice."""
    for data, by in zip(witnessed.forked(), ("ca", "us"), strict=True):
        report = judged(data, witnessed.policy_of(ANY))
        assert report.accepted, report.reason
        assert any(line.startswith(f"witness {by} cosigned") for line in report.proven)
        assert (claimed(report, "P9").result, claimed(report, "P9").why) == ("not shown", ALONE)
        assert ALONE == other_log(report)
        assert ALONE in " ".join(" ".join(say_claims(report)).split())


@pytest.mark.parametrize("lines", [witnessed.policies()[name] for name in ("two-of-three", "ca-and-one-more")])
def test_p9_of_two_quorums_with_a_common_witness_only_one_fork_is_accepted(lines: str) -> None:
    assert [False, False] == [judged(data, lines).accepted for data in witnessed.forked()]
    report = judged(witnessed.good(), lines)
    assert "accepted" == claimed(report, "P9").result
    assert "a witness (ca, us) could have cosigned that as well" == other_log(report)


def test_p9_a_policy_that_asks_no_witness_says_so_as_before() -> None:
    report = judged(witnessed.good(), witnessed.policy_of("quorum none\n"))
    assert ("accepted", "no policy names its witnesses") == (claimed(report, "P9").result, other_log(report))


def fresh(issued_at: datetime, policy: str = TWO + "fresh 30\n") -> tuple[bool, str, str]:
    """The good run with a certificate of that time, asked an hour later: whether it is accepted, and P10."""
    report = judged(witnessed.dated(issued_at), policy, issued_at + timedelta(hours=1))
    claim = claimed(report, "P10")
    return report.accepted, claim.result, claim.why


@pytest.mark.parametrize(
    ("later", "accepted"), [(timedelta(0), True), (MINUTES_5, True), (MINUTES_5 + timedelta(seconds=1), False)]
)
def test_p10_a_certificate_is_not_dated_after_who_cosigned_it(later: timedelta, accepted: bool) -> None:
    """ca cosigned it a minute before us did: no witness may have been so early."""
    found, result, why = fresh(TIME + later)
    assert (accepted, "accepted" if accepted else "refused") == (found, result)
    assert accepted != (why.endswith("dated after it was cosigned by ca"))


def test_p10_a_certificate_that_is_dated_a_year_after_its_cosignatures_is_not_fresh() -> None:
    year = TIME + timedelta(days=365)
    for policy in (TWO, witnessed.policy_of("quorum none\n"), witnessed.policy_of(ANY)):
        found, result, why = fresh(year, policy + "fresh 30\n")
        assert (False, "refused") == (found, result)
        assert why.endswith("dated after it was cosigned by ca, us")


def test_p10_who_does_not_ask_or_knows_no_witness_is_not_told() -> None:
    year = TIME + timedelta(days=365)
    assert (True, "not shown") == fresh(year, TWO)[:2]
    assert (True, "accepted") == fresh(year, RIGHT + "fresh 30\n")[:2]
