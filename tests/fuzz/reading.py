"""What is done with an input: each reader as it is used, and what has to hold of whatever it accepts."""

from __future__ import annotations

import re
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from domicile.errors import DomicileError
from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.evidence.codec import decode, encode, load_json
from domicile.evidence.ledger import Ledger
from domicile.evidence.publiclog.fsck import check_log
from domicile.evidence.publiclog.monitor import Looked, State, look, read_state
from domicile.evidence.publiclog.place import Folder
from domicile.evidence.publiclog.story import approvals_of
from domicile.evidence.statement import PAYLOAD_TYPE, Sealed, parse_envelope, read_unverified, sign_envelope
from domicile.evidence.tlog.cosignature import cosigned, cosigner_of
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import is_consistent, root_from_inclusion
from domicile.evidence.tlog.note import parse_note, sign_note
from domicile.evidence.tlog.policy import format_policy, only_policy_lines, parse_policy
from domicile.evidence.tlog.proof import check_proof, format_proof, parse_proof
from domicile.evidence.tlog.witness import Seen, format_request, identify, parse_request, require_growth
from domicile_audit.__main__ import as_json, as_text
from domicile_audit.checklist import audit
from domicile_audit.papers import receipt as persons
from domicile_audit.papers.paper import check
from domicile_audit.papers.proof import Shown
from domicile_audit.papers.proof import as_json as proof_json
from domicile_audit.papers.proof import as_text as proof_text
from domicile_audit.papers.proof import check as prove
from domicile_audit.report import Report
from domicile_audit.spot.opening import read_opening
from domicile_audit.spot.sample import read_sample
from domicile_audit.trust.asking import Asked
from domicile_audit.trust.claims import examine
from domicile_audit.trust.policy import read_policy
from tests.fuzz import bundles, corpus
from tests.vectors import scenario as s
from tests.vectors import witnessed

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TRUST = trust_policy(s.ENGINE.verifier, s.plan().approvals)
WATCHED = only_policy_lines(TRUST.encode())
MORE = "fresh 30\nrequire sweep/v1\ntolerate blocked-until pg_wal\ntolerate held\n"
PATHS = re.compile(
    r"checkpoint|tile/[0-9a-z]{1,9}/(x?[0-9]{3}/){0,3}[0-9]{3}(\.p/[0-9]{1,3})?"
    r"|\.\./log\.pending|\.\./detached/[0-9a-f]{64}\.json"
)
"""Files that a log or a ledger reads."""


def audit_any(data: bytes) -> None:
    """Whatever it is, it gets a report that can be printed; and one accepted by a first checker says what of."""
    report = audit(data)
    if report.accepted != all(check.passed for check in report.checks):
        raise AssertionError("the report contradicts itself")
    _print(report)


def _print(report: Report) -> None:
    if report.accepted != (report.reason is None):
        raise AssertionError("the report contradicts itself")
    as_text(report).encode()
    as_json(report).encode()


def audit_of_a_stranger(data: bytes) -> None:
    """Whoever has no key can't make another bundle that is accepted."""
    audit_any(data)
    if audit(data).accepted and data not in corpus.accepted_bundles():
        raise AssertionError("accepted, although nobody signed this")


@cache
def asked() -> tuple[Asked, ...]:
    """Auditors who ask for all that can be asked for, and one of them for witnesses, too."""
    return tuple(
        Asked(read_policy((text + MORE).encode()), NOW) for text in (TRUST, witnessed.policies()["two-of-three"])
    )


def examine_any(data: bytes) -> None:
    for one in asked():
        _print(examine(data, one))


def open_receipt(data: bytes) -> None:
    """A receipt has no part that a stranger could change: whatever is accepted says the same as before."""
    answer = check(data)
    persons.as_text(answer).encode(errors="replace")
    persons.as_json(answer).encode(errors="replace")
    if answer.accepted:
        whole = check(corpus.person()).paper
        said = [(one.person, one.receipts, one.certificate) for one in (answer.paper, whole)]
        if said[0] != said[1]:
            raise AssertionError("a receipt was accepted that says something else")


def decode_all(data: bytes) -> None:
    for kind in p.KINDS.values():
        try:
            found = decode(data, kind)
        except DomicileError:
            continue
        if encode(found) != data:
            raise AssertionError(f"{kind.KIND}: another spelling was read")


def unseal(data: bytes) -> None:
    read_unverified(Sealed(envelope=data, detached=None))


def unseal_detached(data: bytes) -> None:
    """Under a statement that names it, whatever it is."""
    envelope, old = corpus.detached()
    was, now = (b'"bytes":%d,"sha256":"%b"' % (len(one), corpus.name(one).encode()) for one in (old, data))
    payload = parse_envelope(envelope).payload.replace(was, now)
    sealed = Sealed(envelope=sign_envelope(payload, payload_type=PAYLOAD_TYPE, signer=s.ENGINE), detached=data)
    if encode(read_unverified(sealed)) != data:
        raise AssertionError("a predicate beside the log was read in another spelling")


def open_proof(data: bytes) -> None:
    proof = parse_proof(data)
    if format_proof(proof) != data:
        raise AssertionError("a proof was read in another spelling")
    entry = list(corpus.played().values())[5].envelope
    check_proof(proof, entry=entry, verifier=s.ENGINE.verifier)


def prove_entry(data: bytes) -> None:
    """Whatever the checker accepts is what the log's key signed, at the place where the entry is."""
    entry = list(corpus.played().values())[5].envelope
    _show(Shown(data=data, beside=entry, grows=False, policy=read_policy(TRUST.encode())), 5)
    _show(Shown(data=data, beside=entry, grows=False, policy=None), None)


def prove_growth(data: bytes) -> None:
    """The same, of the half of a log."""
    tree = corpus.small_tree()
    old = tree.size // 2
    text = f"{s.ENGINE.name}\n{old}\n{b64encode(tree.root(old)).decode()}\n"
    policy, signed = read_policy(TRUST.encode()), sign_note(text, [s.ENGINE])
    _show(Shown(data=data, beside=signed, grows=True, policy=policy), old)
    _show(Shown(data=data, beside=text.encode(), grows=True, policy=None), None)


def _show(shown: Shown, index: int | None) -> None:
    answer = prove(shown)
    proof_text(answer).encode(errors="replace")
    proof_json(answer).encode(errors="replace")
    if answer.accepted and index is not None and (shown.index, shown.head.root) != (index, corpus.small_tree().root()):
        raise AssertionError("a proof was accepted of another place, or under another head")


def climb(data: bytes) -> None:
    """Numbers and hashes of a proof as an attacker likes them."""
    numbers = [int.from_bytes(data[place : place + 8], "big", signed=True) for place in (0, 8)]
    path = [data[place : place + 32] for place in range(16, len(data), 32)]
    is_consistent(old=numbers[0], old_root=data[:32], new=numbers[1], new_root=data[-32:], path=path)
    root_from_inclusion(data[:32], index=numbers[0], size=numbers[1], path=path)


def answer_request(data: bytes) -> None:
    """What a witness does with a request before it signs."""
    request = parse_request(data)
    if format_request(request) != data:
        raise AssertionError("a request was read in another spelling")
    head = identify(request, {s.ENGINE.name: [s.ENGINE.verifier]})
    size = corpus.small_tree().size // 2
    require_growth(request, head, Seen(size=size, root=corpus.small_tree().root(size)))


def count_cosignatures(data: bytes) -> None:
    """The quorum as a log counts it before it publishes."""
    cosigners = [cosigner_of(key) for key in witnessed.WITNESSES.values()]
    found = cosigned(parse_note(data), cosigners)
    if any(not 0 <= time < 2**63 for time in found.values()):
        raise AssertionError("cosigned at no time")


def read_and_write_policy(data: bytes) -> None:
    """Read, and written again, it is the same policy."""
    policy = parse_policy(only_policy_lines(data))
    if parse_policy(format_policy(policy)) != policy:
        raise AssertionError("a policy was written otherwise than it was read")


def open_log(data: bytes) -> None:
    """By somebody who has its public key, and by its owner."""
    with folder_of(data) as folder:
        Log.open(folder, s.ENGINE.verifier)
        Log.open(folder, s.ENGINE)


def open_ledger(data: bytes) -> None:
    """The log with the predicates beside it."""
    with folder_of(data) as folder:
        ledger = Ledger.open(folder.parent, s.ENGINE.verifier)
        list(ledger.statements())
        ledger.detached()


def check_log_whole(data: bytes) -> None:
    """`domicile log fsck`: each fault is told where it is."""
    with folder_of(data) as folder:
        checked = check_log(Folder(folder), parse_policy(WATCHED))
        if not checked.faults and checked.head is None:
            raise AssertionError("a log without a head was found whole")


def follow_log(data: bytes) -> None:
    """Seen for the first time, by a monitor who knows approvers; what it takes for whole it goes on from."""
    with folder_of(data) as folder:
        looked = _follow(folder, None)
        if looked.state is None:
            return
        again = _follow(folder, read_state(encode(looked.state)))
        if again.alarms or again.state != looked.state:
            raise AssertionError("the same log, looked at twice, is another")


def follow_from_state(data: bytes) -> None:
    """A monitor's own file, altered, before the log that it is of and before others."""
    state = read_state(data)
    for log in corpus.followed():
        with folder_of(log) as folder:
            _follow(folder, state)


def _follow(folder: Path, state: State | None) -> Looked:
    trust = approvals_of(TRUST.encode(), origin="trust.txt")
    looked = look(Folder(folder), parse_policy(WATCHED), state, against={}, now=NOW, approvals=trust)
    if (looked.state is None) != bool(looked.alarms):
        raise AssertionError("an alarm rang, and the monitor goes on")
    if not all(one.text.isprintable() for one in looked.alarms if one.kind == "story"):
        raise AssertionError("an alarm steers a terminal")
    return looked


@contextmanager
def folder_of(data: bytes) -> Iterator[Path]:
    """A log's folder from JSON of path and hex. Paths that no log has are left out: nothing is written elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _files_of(data).items():
            path = Path(folder) / "log" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                path.write_bytes(text)
        (Path(folder) / "log").mkdir(exist_ok=True)
        yield Path(folder) / "log"


def _files_of(data: bytes) -> dict[str, bytes]:
    try:
        told = load_json(data)
        files = {str(name): bytes.fromhex(str(text)) for name, text in told.items()}  # type: ignore[union-attr]
    except (DomicileError, ValueError, AttributeError):
        return {}
    files = {name: text for name, text in files.items() if PATHS.fullmatch(name)}
    above = {str(parent) for name in files for parent in Path(name).parents}
    return {name: text for name, text in files.items() if name not in above}


def open_audit_key(data: bytes) -> None:
    read_opening(data)


def report_of_a_spot_check(data: bytes) -> None:
    """Read, and held against the bundle that it is of."""
    policy = read_policy((TRUST + MORE + "sampled 5\n").encode())
    sample = read_sample(data + b"\n")
    _print(examine(bundles.good_bundles()[0], Asked(policy, NOW, sample)))
