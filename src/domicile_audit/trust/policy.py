"""The trust policy: whose keys the auditor believes. Lines of C2SP tlog-policy, and some of ours.

    log VKEY              the log's key; at least one line
    before VKEY SIZE ROOT a head that a key of before signed: receipts under it count, and nothing else of that key
    approver VKEY [must]  a key whose approvals count; with `must`, nothing is erased without its holder's
    approvals K           how many of them an erasure needs at least
    witness NAME VKEY     a witness of the log            (this line and the next two: cosignature.py)
    group NAME K NAME…    so many of these, `all` or `any`
    quorum NAME           who has to have cosigned the checkpoint; `none`: nobody
    fresh, require, tolerate, sampled, seed: see demands.py

Empty lines and lines that begin with # are skipped. A policy that names no log is refused: an empty policy
would accept everybody.
"""

import re
from dataclasses import dataclass, field

from domicile_audit.case import Refused, require
from domicile_audit.log.cosignature import Quorum
from domicile_audit.log.keys import Key, read_base64, read_vkey
from domicile_audit.trust.demands import WORDS, Demands, read_demands

POLICY_BYTES_MAX = 262_144


@dataclass(frozen=True, slots=True)
class Policy:
    """The keys that are believed, as vkeys, how many approvals are wanted, which witnesses, and what else."""

    logs: frozenset[str]
    approvers: frozenset[str]
    threshold: int
    quorum: Quorum
    demands: Demands = field(default_factory=Demands)
    before: frozenset[tuple[str, int, bytes]] = frozenset()
    musts: frozenset[str] = frozenset()


def read_policy(data: bytes) -> Policy:
    """Read a policy; the reason of a refusal (or of other bytes than UTF-8, a ValueError, too) names the line."""
    require(len(data) <= POLICY_BYTES_MAX, f"longer than {POLICY_BYTES_MAX} bytes")
    keys: dict[str, list[Key]] = {"log": [], "approver": []}
    before: set[tuple[str, int, bytes]] = set()
    musts: set[str] = set()
    counts: list[int] = []
    quorum = Quorum()
    asked: list[tuple[int, list[str]]] = []
    require(not data or data.endswith(b"\n"), "its last line has no end, so it may be cut")
    for number, line in enumerate(data.decode().split("\n"), start=1):
        words = re.findall(r"[^ \t]+", line)
        if not words or words[0].startswith("#"):
            continue
        match words:
            case ["log", vkey] | ["log", vkey, _] | ["approver", vkey] | ["approver", vkey, "must"]:
                keys[words[0]].append(read_vkey(vkey, f"line {number}"))
                musts.update({vkey} if words[2:] == ["must"] and words[0] == "approver" else ())
            case ["before", vkey, size, root] if re.fullmatch("[1-9][0-9]{0,12}", size):
                hash_ = read_base64(root, f"the root of line {number}")
                require(len(hash_) == 32, f"line {number}: a root has 32 bytes")
                before.add((read_vkey(vkey, f"line {number}").vkey, int(size), hash_))
            case ["approvals", count] if re.fullmatch("[0-9]{1,3}", count):
                counts.append(int(count))
            case ["witness" | "group" | "quorum", *_]:
                quorum.read(words, f"line {number}")
            case [first, *_] if first in WORDS:
                asked.append((number, words))
            case _:
                raise Refused(f"line {number}: not a line this version reads")
    logs, approvers = keys["log"], keys["approver"]
    require(logs, "no log line: a policy that trusts nobody accepts nothing")
    require(
        quorum.name is not None, "exactly one line such as `quorum none` is needed (tlog-policy, Defining the quorum)"
    )
    earlier = [read_vkey(vkey) for vkey in {vkey for vkey, _, _ in before}]
    publics = [key.public for key in (*logs, *approvers, *earlier)] + [key.public for key in quorum.witnesses.values()]
    differ = len(set(publics)) == len(publics)
    require(differ, "a key stands there twice (tlog-policy: duplicates are not allowed)")
    counted = len(counts) == 1 and 1 <= counts[0] <= len(approvers)
    require(counted, "exactly one line `approvals K` is needed, with K from 1 to the number of approvers")
    vkeys = frozenset(key.vkey for key in logs), frozenset(key.vkey for key in approvers)
    return Policy(*vkeys, counts[0], quorum, read_demands(asked), frozenset(before), frozenset(musts))
