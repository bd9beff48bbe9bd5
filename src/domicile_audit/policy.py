"""The trust policy: whose keys the auditor believes. Lines of C2SP tlog-policy, and two of ours.

    log VKEY              the log's key; at least one line
    approver VKEY         a key whose approvals count
    approvals K           how many of them an erasure needs at least
    quorum none           no witness has to cosign (this version reads no other quorum)

Empty lines and lines that begin with # are skipped. A policy that names no log is refused: an empty policy
would accept everybody.
"""

import re
from dataclasses import dataclass

from domicile_audit.case import Refused, require
from domicile_audit.keys import Key, read_vkey

POLICY_BYTES_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Policy:
    """The keys that are believed, as vkeys, and how many approvals are wanted."""

    logs: tuple[str, ...]
    approvers: tuple[str, ...]
    threshold: int


def read_policy(data: bytes) -> Policy:
    """Read a policy; the reason of a refusal (or of other bytes than UTF-8, a ValueError, too) names the line."""
    require(len(data) <= POLICY_BYTES_MAX, f"longer than {POLICY_BYTES_MAX} bytes")
    keys: dict[str, list[Key]] = {"log": [], "approver": []}
    counts: list[int] = []
    quorums = 0
    for number, line in enumerate(data.decode().split("\n"), start=1):
        words = re.findall(r"[^ \t]+", line)
        if not words or words[0].startswith("#"):
            continue
        match words:
            case ["log", vkey] | ["log", vkey, _] | ["approver", vkey]:
                keys[words[0]].append(read_vkey(vkey, f"line {number}"))
            case ["approvals", count] if re.fullmatch("[0-9]{1,3}", count):
                counts.append(int(count))
            case ["quorum", "none"]:
                quorums += 1
            case _:
                raise Refused(f"line {number}: not a line this version reads")
    logs, approvers = keys["log"], keys["approver"]
    require(bool(logs), "no log line: a policy that trusts nobody accepts nothing")
    require(quorums == 1, "exactly one line `quorum none` is needed (tlog-policy, Defining the quorum)")
    differ = len({key.public for key in logs + approvers}) == len(logs + approvers)
    require(differ, "a key stands there twice (tlog-policy: duplicates are not allowed)")
    counted = len(counts) == 1 and 1 <= counts[0] <= len(approvers)
    require(counted, "exactly one line `approvals K` is needed, with K from 1 to the number of approvers")
    return Policy(tuple(key.vkey for key in logs), tuple(key.vkey for key in approvers), counts[0])
