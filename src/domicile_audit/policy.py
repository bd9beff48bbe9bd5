"""The trust policy: whose keys the auditor believes. Lines of C2SP tlog-policy, and two of ours.

    log VKEY              the log's key; at least one line
    approver VKEY         a key whose approvals count
    approvals K           how many of them an erasure needs at least
    witness NAME VKEY     a witness of the log            (this line and the next two: cosignature.py)
    group NAME K NAME…    so many of these, `all` or `any`
    quorum NAME           who has to have cosigned the checkpoint; `none`: nobody

Empty lines and lines that begin with # are skipped. A policy that names no log is refused: an empty policy
would accept everybody.
"""

from __future__ import annotations

from dataclasses import dataclass

from domicile_audit.cosignature import Quorum
from domicile_audit.keys import Key, read_vkey

POLICY_BYTES_MAX = 262_144


@dataclass(frozen=True, slots=True)
class Policy:
    """The keys that are believed, as vkeys, how many approvals are wanted, and which witnesses."""

    logs: tuple[str, ...]
    approvers: tuple[str, ...]
    threshold: int
    quorum: Quorum


def read_policy(data: bytes) -> Policy:
    """Read a policy; ValueError names the line."""
    if len(data) > POLICY_BYTES_MAX:
        raise ValueError(f"longer than {POLICY_BYTES_MAX} bytes")
    logs: list[Key] = []
    approvers: list[Key] = []
    counts: list[int] = []
    quorum = Quorum()
    if data and not data.endswith(b"\n"):
        raise ValueError("its last line has no end, so it may be cut")
    for number, line in enumerate(data.decode().split("\n"), start=1):
        words = line.replace("\t", " ").split(" ")
        match [word for word in words if word]:
            case []:
                continue
            case [first, *_] if first.startswith("#"):
                continue
            case ["log", vkey] | ["log", vkey, _]:
                logs.append(_key(vkey, number))
            case ["approver", vkey]:
                approvers.append(_key(vkey, number))
            case ["approvals", count] if count.isascii() and count.isdecimal() and len(count) < 4:
                counts.append(int(count))
            case words:
                _read_quorum(quorum, words, number)
    _require_whole(logs, approvers, counts, quorum)
    return Policy(tuple(k.vkey for k in logs), tuple(k.vkey for k in approvers), counts[0], quorum)


def _read_quorum(quorum: Quorum, words: list[str], number: int) -> None:
    try:
        quorum.read(words)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error


def _require_whole(logs: list[Key], approvers: list[Key], counts: list[int], quorum: Quorum) -> None:
    if not logs:
        raise ValueError("no log line: a policy that trusts nobody accepts nothing")
    if quorum.name is None:
        raise ValueError("exactly one line such as `quorum none` is needed (tlog-policy, Defining the quorum)")
    publics = [key.public for key in logs + approvers] + [key.public for key in quorum.witnesses.values()]
    if len(set(publics)) != len(publics):
        raise ValueError("a key stands there twice (tlog-policy: duplicates are not allowed)")
    if len(counts) != 1 or not 1 <= counts[0] <= len(approvers):
        raise ValueError("exactly one line `approvals K` is needed, with K from 1 to the number of approvers")


def _key(vkey: str, number: int) -> Key:
    try:
        return read_vkey(vkey)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error
