"""The trust policy: whose keys the auditor believes. Lines of C2SP tlog-policy, and some of ours.

    log VKEY              the log's key; at least one line
    approver VKEY         a key whose approvals count
    approvals K           how many of them an erasure needs at least
    quorum none           no witness has to cosign (this version reads no other quorum)
    fresh, require, tolerate, sampled: see demands.py

Empty lines and lines that begin with # are skipped. A policy that names no log is refused: an empty policy
would accept everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from domicile_audit.demands import WORDS, Demands, read_demands
from domicile_audit.keys import Key, read_vkey

POLICY_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Policy:
    """The keys that are believed, as vkeys, how many approvals are wanted, and what else is asked for."""

    logs: tuple[str, ...]
    approvers: tuple[str, ...]
    threshold: int
    demands: Demands = field(default_factory=Demands)


def read_policy(data: bytes) -> Policy:
    """Read a policy; ValueError names the line."""
    if len(data) > POLICY_BYTES_MAX:
        raise ValueError(f"longer than {POLICY_BYTES_MAX} bytes")
    logs: list[Key] = []
    approvers: list[Key] = []
    counts: list[int] = []
    quorums = 0
    asked: list[tuple[int, list[str]]] = []
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
            case ["quorum", "none"]:
                quorums += 1
            case [first, *_] as demand if first in WORDS:
                asked.append((number, demand))
            case _:
                raise ValueError(f"line {number}: not a line this version reads")
    _require_whole(logs, approvers, counts, quorums)
    return Policy(tuple(k.vkey for k in logs), tuple(k.vkey for k in approvers), counts[0], read_demands(asked))


def _require_whole(logs: list[Key], approvers: list[Key], counts: list[int], quorums: int) -> None:
    if not logs:
        raise ValueError("no log line: a policy that trusts nobody accepts nothing")
    if quorums != 1:
        raise ValueError("exactly one line `quorum none` is needed (tlog-policy, Defining the quorum)")
    if len({key.public for key in logs + approvers}) != len(logs) + len(approvers):
        raise ValueError("a key stands there twice (tlog-policy: duplicates are not allowed)")
    if len(counts) != 1 or not 1 <= counts[0] <= len(approvers):
        raise ValueError("exactly one line `approvals K` is needed, with K from 1 to the number of approvers")


def _key(vkey: str, number: int) -> Key:
    try:
        return read_vkey(vkey)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from error
