"""A receipt's nonce destroyed: told before and after, nobody's name said, the log still whole; killed anywhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from domicile.errors import Refused
from domicile.evidence import predicates as p
from domicile.evidence.bundle import make_bundle
from domicile.evidence.codec import encode
from domicile.evidence.receipts.keeping import Receipts
from domicile.host import Host
from domicile.record import Record
from domicile.run import receipting
from domicile_audit.checklist import audit
from domicile_audit.papers.paper import check
from tests.receipts.conftest import Tell, Told, everybody
from tests.vectors import receipts as r
from tests.vectors import scenario as s

INTENT, OUTCOME = receipting.TO_BE_DESTROYED, receipting.DESTROYED


@pytest.fixture
def told(tell: Tell) -> Told:
    return tell(r.at_once(), everybody())


def certify_again(told: Told) -> None:
    """As a run does: the certificate is the last word again."""
    told.record.state(replace(s.certificate(), issued_at=s.at(90)))


def test_p7_p8_a_destruction_is_told_before_and_after_and_not_whose_it_was(told: Told) -> None:
    before = receipting.receipt(told.record, "8")
    assert 1 == receipting.destroy(told.record, ["7"])
    assert [INTENT, OUTCOME] == told.kinds()[-2:]
    findings = [one.predicate for one in told.record.ledger.statements()][-2:]
    for one in findings:
        assert isinstance(one, p.FindingPredicate)
        assert (1, "receipts") == (one.count, one.where)
        assert b'"7"' not in encode(one)
    assert s.certificate() == receipting.standing_certificate(tuple(told.record.ledger.statements()))
    certify_again(told)
    with pytest.raises(Refused, match="or its nonce was destroyed"):
        receipting.receipt(told.record, "7")
    after = receipting.receipt(told.record, "8")
    assert check(before).accepted
    assert check(after).accepted
    report = audit(make_bundle(told.record.ledger, plan_file=s.PLAN_FILE, signer=s.ENGINE))
    assert report.accepted, report.reason
    (line,) = (line for line in report.proven if "receipts of 50 people" in line)
    assert "the nonces of 1 were stated as destroyed" in line


def test_p8_who_was_given_a_receipt_keeps_it_and_who_was_not_gets_none(told: Told) -> None:
    """The file holds its nonce: what was handed out goes on proving what it says, to whoever has it."""
    given = receipting.receipt(told.record, "7")
    receipting.destroy(told.record, ["7"])
    assert check(given).accepted
    certify_again(told)
    with pytest.raises(Refused):
        receipting.receipt(told.record, "7")


class _Stopped(Host):
    """A clock that stands still."""

    def now(self) -> datetime:
        return s.at(100)


def test_p7_two_destructions_in_a_row_are_told_both(told: Told) -> None:
    told.record.host = _Stopped()
    for key in ("7", "8"):
        receipting.destroy(told.record, [key])
    assert [INTENT, OUTCOME, INTENT, OUTCOME] == told.kinds()[-4:]


def test_all_may_go_and_nothing_is_left_of_them(told: Told) -> None:
    assert 50 == receipting.count(told.record)
    assert 50 == receipting.destroy(told.record, None)
    assert 0 == receipting.count(told.record)
    assert not told.record.receipts.exists()
    with pytest.raises(Refused, match="no receipts are kept here"):
        receipting.destroy(told.record, None)


def test_p7_a_key_without_a_receipt_destroys_and_tells_nothing(told: Told) -> None:
    size = told.record.ledger.size
    with pytest.raises(Refused, match="no receipt for that key"):
        receipting.destroy(told.record, ["7", "nobody"])
    assert (size, 50) == (told.record.ledger.size, receipting.count(told.record))


def test_a_finding_of_another_kind_takes_the_certificate_back(told: Told) -> None:
    told.record.state(p.FindingPredicate(plan=s.PLAN, kind="came back", where="app", count=1, text="x"))
    receipting.destroy(told.record, ["7"])
    assert receipting.standing_certificate(tuple(told.record.ledger.statements())) is None


@dataclass(slots=True)
class Killed(BaseException):
    """As if the process had ended here."""


def _killed(before: bool, method: Callable[..., Any], countdown: list[int]) -> Callable[..., Any]:
    def run(*given: Any, **named: Any) -> Any:
        countdown[0] -= 1
        if countdown[0] == 0 and before:
            raise Killed
        done = method(*given, **named)
        if countdown[0] == 0 and not before:
            raise Killed
        return done

    return run


@pytest.mark.parametrize("step", range(1, 11))
def test_p5_p7_killed_anywhere_the_next_command_ends_it(step: int, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five effects, each cut off before and after: chosen, announced, overwritten, told, settled."""
    countdown = [(step + 1) // 2]
    with monkeypatch.context() as patched:
        for kind, name in (
            (Receipts, "choose"), (Record, "state"), (Receipts, "overwrite"), (Receipts, "settle"),
        ):  # fmt: skip
            patched.setattr(kind, name, _killed(step % 2 == 1, getattr(kind, name), countdown))
        with suppress(Killed):
            receipting.destroy(told.record, ["7", "8"])
        assert countdown[0] <= 0
    nonces = (told.record.receipts / "nonces").read_bytes()
    assert (OUTCOME in told.kinds()) <= (bytes(64) in nonces)  # told only once they are gone
    assert (bytes(64) in nonces) <= (INTENT in told.kinds())  # and gone only once that was announced
    if step == 1:  # nothing was chosen yet: nothing is to be finished
        receipting.finish(told.record)
        assert (50, 0) == (receipting.count(told.record), told.kinds().count(INTENT))
        receipting.destroy(told.record, ["7", "8"])
    receipting.finish(told.record)
    assert 48 == receipting.count(told.record)
    assert (1, 1) == (told.kinds().count(INTENT), told.kinds().count(OUTCOME))
    assert told.kinds().index(INTENT) < told.kinds().index(OUTCOME)
    assert bytes(64) in (told.record.receipts / "nonces").read_bytes()
    certify_again(told)
    assert check(receipting.receipt(told.record, "9")).accepted
