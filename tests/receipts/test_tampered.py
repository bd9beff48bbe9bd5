"""Every field of a receipt changed, one by one: refused, and for the right reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.evidence.codec import dump_json, load_json
from domicile.evidence.keys import Verifier
from domicile.evidence.receipts.leaf import Rows
from domicile.evidence.statement import parse_envelope, sign_envelope
from domicile.evidence.tlog.proof import format_proof, parse_proof
from domicile.run import receipting
from domicile_audit.papers.paper import check
from domicile_audit.trust.policy import Policy, read_policy
from tests.receipts.conftest import Tell, Told, by_cohorts, everybody
from tests.vectors import receipts as r
from tests.vectors import scenario as s

TRUST: Final = read_policy(trust_policy(s.ENGINE.verifier, s.plan().approvals).encode())
LARGE: Final = tuple(f"{number} {'x' * 400}" for number in range(100))
"""So much that the certificate is detached."""
Extra = dict[str, Any]


@pytest.fixture
def good(tell: Tell) -> bytes:
    return receipting.receipt(tell(r.at_once(), everybody()).record, "7")


def bent(data: bytes, change: Callable[[Extra], object]) -> bytes:
    """The same receipt with its extra data changed, in its one spelling."""
    proof = parse_proof(data)
    extra = json.loads(proof.extra or b"")
    change(extra)
    return format_proof(replace(proof, extra=dump_json(extra)))


def refused(data: bytes, policy: Policy | None = TRUST) -> tuple[int, str]:
    answer = check(data, policy)
    assert not answer.accepted
    return answer.check, answer.reason


def put(*path: str | int, value: object) -> Callable[[Extra], None]:
    """Set one field."""

    def change(extra: Extra) -> None:
        place: Any = extra
        for step in path[:-1]:
            place = place[step]
        assert place[path[-1]] != value
        place[path[-1]] = value

    return change


def resealed(name: str, **fields: object) -> Callable[[Extra], None]:
    """Change what a statement says, and leave its signature as it was."""

    def change(extra: Extra) -> None:
        envelope = json.loads(base64.b64decode(extra[name]["envelope"]))
        payload: Any = load_json(base64.b64decode(envelope["payload"]))
        payload["predicate"] |= fields
        envelope["payload"] = base64.b64encode(dump_json(payload)).decode()
        extra[name]["envelope"] = base64.b64encode(dump_json(envelope)).decode()

    return change


def swapped(extra: Extra) -> None:
    """Give each of the two statements for the other."""
    for name, other in (("receipts", "certificate"),):
        extra[name]["envelope"], extra[other]["envelope"] = extra[other]["envelope"], extra[name]["envelope"]


COMMITTED: Final = (8, "not what was committed to")
SHAPE: Final = (1, "has not the shape of a receipt")
ROWS: Final = ("person", "rows", "app.public.messages")
OTHER_LOG: Final = Verifier(name=s.ENGINE.verifier.name, public=s.STRANGER.verifier.public)
CHANGES: Final[dict[str, tuple[Callable[[Extra], object], tuple[int, str]]]] = {
    "format": (put("format", value="urn:domicile:receipt/v2"), SHAPE),
    "log is no key": (put("log", value="nobody+00000000+AAAA"), (2, "the log's key is")),
    "log of another": (put("log", value=s.STRANGER.verifier.vkey), (3, "one of another log")),
    "person's key": (put("person", "key", value="8"), COMMITTED),
    "person's kind": (put("person", "kind", value="app.public.shops"), COMMITTED),
    "person's home": (put("person", "home", value="ca"), COMMITTED),
    "rows moved": (put(*ROWS, "moved", value=3), COMMITTED),
    "rows deleted": (put(*ROWS, "deleted", value=2), COMMITTED),
    "rows blanked": (put(*ROWS, "blanked", value=1), COMMITTED),
    "a dataset less": (lambda extra: extra["person"]["rows"].pop("app.public.messages"), COMMITTED),
    "a dataset more": (put("person", "rows", value={}), COMMITTED),
    "rows below nothing": (put(*ROWS, "moved", value=-1), SHAPE),
    "a person of more fields": (lambda extra: extra["person"].update(name="x"), SHAPE),
    "no person": (put("person", value=None), SHAPE),
    "nonce": (put("nonce", value="00" * 32), COMMITTED),
    "nonce too short": (put("nonce", value="00" * 31), SHAPE),
    "place of the leaf": (lambda extra: extra["leaf"].update(index=extra["leaf"]["index"] ^ 1), COMMITTED),
    "place beyond the tree": (put("leaf", "index", value=50), COMMITTED),
    "path of the leaf": (put("leaf", "path", 0, value="00" * 32), COMMITTED),
    "path too short": (lambda extra: extra["leaf"]["path"].pop(), COMMITTED),
    "path too long": (lambda extra: extra["leaf"]["path"].append("00" * 32), COMMITTED),
    "root that was stated": (resealed("receipts", root="00" * 32), (5, "signature of homecoming")),
    "homes that were stated": (resealed("receipts", homes={}), (5, "signature of homecoming")),
    "day that was stated": (resealed("receipts", home_since="2020-01-01T00:00:00Z"), (5, "signature of homecoming")),
    "receipts detached": (put("receipts", "detached", value="AAAA"), (5, "another predicate")),
    "receipts not base64": (put("receipts", "envelope", value="A"), (5, "is not base64")),
    "verdict": (resealed("certificate", verdict="held"), (6, "signature of homecoming")),
    "verdicts": (resealed("certificate", copies=[]), (6, "signature of homecoming")),
    "day of the certificate": (resealed("certificate", issued_at="2030-01-01T00:00:00Z"), (6, "signature of homec")),
    "place of the certificate": (put("certificate", "index", value=3), (6, "is not in the log")),
    "path of the certificate": (put("certificate", "path", 0, value="00" * 32), (6, "is not in the log")),
    "certificate detached": (put("certificate", "detached", value="AAAA"), (6, "another predicate")),
    "statements swapped": (swapped, (5, "has not the shape of its type")),
    "a field more": (lambda extra: extra.update(note="x"), SHAPE),
    "a field less": (lambda extra: extra.pop("nonce"), SHAPE),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_p9_a_receipt_with_one_field_changed_is_refused_for_its_own_reason(name: str, good: bytes) -> None:
    change, (number, reason) = CHANGES[name]
    found = refused(bent(good, change))
    assert number == found[0], found
    assert reason in found[1]


def test_p9_every_field_of_the_extra_data_is_among_those_that_were_changed(good: bytes) -> None:
    changed = set()
    for change, _ in CHANGES.values():
        before = json.loads(parse_proof(good).extra or b"")
        after = json.loads(parse_proof(good).extra or b"")
        change(after)
        changed |= {name for name in before if before[name] != after.get(name)}
    assert json.loads(parse_proof(good).extra or b"").keys() == changed


def test_p9_one_flipped_byte_is_refused_wherever_it_is(good: bytes) -> None:
    assert check(good, TRUST).accepted
    for place in range(0, len(good), 13):
        refused(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    for cut in (0, 1, 22, len(good) // 2, len(good) - 1):
        refused(good[:cut])
    refused(good + b"\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"index": 3}, (5, "is not in the log")),
        ({"index": 10**9}, (5, "is not in the log")),
        ({"path": ()}, (5, "is not in the log")),
        ({"path": (bytes(32),) * 64}, (1, "no proper index and path")),
        ({"extra": None}, (1, "a proof, and no receipt")),
        ({"checkpoint": b"homecoming.example/log\n1\n\n"}, (3, "not a note")),
    ],
)
def test_p9_the_proof_itself_changed_is_refused(change: dict[str, Any], reason: tuple[int, str], good: bytes) -> None:
    found = refused(format_proof(replace(parse_proof(good), **change)))
    assert (reason[0], True) == (found[0], reason[1] in found[1]), found


def test_p9_a_receipt_of_another_log_is_refused(tell: Tell, good: bytes) -> None:
    """The same words under a key of the same name: by a policy at once, and by its own key where it names the right."""
    other = receipting.receipt(tell(r.at_once(), everybody(), name="other").record, "7")
    forged = bent(good, lambda extra: extra.update(log=OTHER_LOG.vkey))
    assert (3, True) == ((found := refused(forged))[0], "one of another log" in found[1])
    stranger = read_policy(trust_policy(OTHER_LOG, s.plan().approvals).encode())
    assert (4, True) == ((found := refused(other, stranger))[0], "does not trust" in found[1])
    assert 3 == refused(forged, None)[0]
    mixed = replace(parse_proof(good), checkpoint=parse_proof(other).checkpoint)
    assert (5, True) == ((found := refused(format_proof(mixed)))[0], "is not in the log" in found[1])
    head = bent(good, lambda extra: extra.update(json.loads(parse_proof(other).extra or b"")["leaf"] and {
        "leaf": json.loads(parse_proof(other).extra or b"")["leaf"]
    }))  # fmt: skip
    assert 8 == refused(head)[0]


def test_p9_one_persons_nonce_opens_nobody_elses_leaf(tell: Tell) -> None:
    told = tell(r.at_once(), everybody())
    mine, theirs = (receipting.receipt(told.record, key) for key in ("7", "8"))
    extra = json.loads(parse_proof(theirs).extra or b"")
    for names in (("person",), ("nonce",), ("leaf",), ("person", "nonce"), ("nonce", "leaf"), ("person", "leaf")):
        found = refused(bent(mine, lambda own, names=names: own.update({name: extra[name] for name in names})))  # type: ignore[misc]
        assert (8, True) == (found[0], "not what was committed to" in found[1])
    assert check(
        bent(mine, lambda own: own.update({name: extra[name] for name in ("person", "nonce", "leaf")}))
    ).accepted


def test_p10_a_certificate_that_is_not_the_last_word_is_refused(tell: Tell) -> None:
    """A cheat writes a receipt of a certificate after which something was found."""
    told = tell(r.at_once(), everybody())
    good = receipting.receipt(told.record, "7")
    place = told.record.ledger.size - 1
    told.record.state(p.FindingPredicate(plan=s.PLAN, kind="came back", where="app", count=1, text="x"))
    log = told.record.ledger.log

    def newer(extra: Extra) -> None:
        extra["certificate"]["path"] = [node.hex() for node in log.inclusion_proof(place).path]

    index = parse_proof(good).index
    proof = replace(log.inclusion_proof(index), extra=parse_proof(bent(good, newer)).extra)
    assert (6, True) == ((found := refused(format_proof(proof)))[0], "not the last word" in found[1])


def test_p9_what_a_cheat_with_the_key_signs_has_to_make_sense(tell: Tell) -> None:
    """Whoever holds the engine's key commits to what they like; more than all people together is refused."""
    people = everybody()
    people[0][6] = replace(people[0][6], rows={"app.public.messages": Rows(moved=500, deleted=500, blanked=0)})
    people[0][7] = replace(people[0][7], rows={"app.public.messages": Rows(moved=1, deleted=2, blanked=0)})
    people[0][8] = replace(people[0][8], home="sg")
    told = tell(r.at_once(), people)
    for key, reason in (
        ("7", "more erased rows than the certificate"), ("8", "more rows are erased than went home"),
        ("9", "a place that the statement does not name"),
    ):  # fmt: skip
        found = refused(receipting.receipt(told.record, key))
        assert (9, True) == (found[0], reason in found[1])
    assert check(receipting.receipt(told.record, "10"), TRUST).accepted


def test_p9_a_certificate_of_another_plan_is_refused(tell: Tell) -> None:
    told = tell(r.at_once().set("certificate", plan=s.digest("another plan")), everybody())
    assert (7, True) == ((found := refused(receipting.receipt(told.record, "7")))[0], "two different plans" in found[1])


def test_p9_a_detached_certificate_is_bound_as_well(tell: Tell) -> None:
    not_proven = (*s.plan().not_proven, *LARGE)
    told = tell(r.at_once().set("certificate", not_proven=not_proven), everybody())
    good = receipting.receipt(told.record, "7")
    assert check(good, TRUST).accepted
    body = json.loads(parse_proof(good).extra or b"")["certificate"]["detached"]
    other = base64.b64encode(base64.b64decode(body).replace(b"x", b"y", 1)).decode()
    for value in (None, other, base64.b64encode(b"{}").decode()):
        found = refused(bent(good, put("certificate", "detached", value=value)))
        assert 6 == found[0], found


def test_p9_a_statement_in_another_spelling_is_refused(good: bytes) -> None:
    """The payload with a space, signed by the log's key: read strictly, nothing but one spelling comes in."""
    extra = json.loads(parse_proof(good).extra or b"")
    envelope = parse_envelope(base64.b64decode(extra["receipts"]["envelope"]))
    spaced = sign_envelope(envelope.payload + b" ", payload_type=envelope.payload_type, signer=s.ENGINE)
    found = refused(bent(good, put("receipts", "envelope", value=base64.b64encode(spaced).decode())))
    assert (5, True) == (found[0], "one spelling" in found[1])


def test_p9_cohorts_are_not_mixed(tell: Tell) -> None:
    told: Told = tell(r.in_cohorts(), by_cohorts())
    third, fourth = (receipting.receipt(told.record, key) for key in ("7", "49"))
    extra = json.loads(parse_proof(fourth).extra or b"")
    found = refused(bent(third, lambda own: own.update({name: extra[name] for name in ("person", "nonce", "leaf")})))
    assert (8, True) == (found[0], "not what was committed to" in found[1])
