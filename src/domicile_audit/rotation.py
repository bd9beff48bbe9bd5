"""Check 24: every key signed while it was in force, and changed hands by the rules of docs/keys.md.

A chain is the keys of one holder, in the order in which the log changed them: chain 0 of the log, chain N of the plan's
approver N. `keys/` holds them: `log-before-N.vkey` and at last `log.vkey`; `approver-N.vkey`, then
`approver-N-after-M.vkey`. Check 8 takes signatures of all of them; here each is held against its place in the log.
"""

import hashlib
from collections.abc import Callable, Iterable
from itertools import groupby

from domicile_audit.case import Case, Statement, require
from domicile_audit.keys import Key, read_vkey

LOG = 0


def read_chains(case: Case, read: Callable[[Case, str], Key]) -> None:
    """Check 2 goes on: the keys that the log's and the approvers' keys took over from, or that took over from them."""
    chains = [[*_numbered(case, read, "keys/log-before-{}.vkey"), case.engine]]
    for number, key in enumerate(case.approver_keys.values(), start=1):
        chains.append([key, *_numbered(case, read, f"keys/approver-{number}-after-{{}}.vkey")])
    case.chains = chains
    case.holders = {key.keyid: number for number, chain in enumerate(chains) for key in chain}


def people(case: Case) -> dict[str | None, int]:
    """The number of each approver's chain by name; of the log's by None."""
    names = [None, *(approver["name"] for approver in case.plan["approvals"]["of"])]
    return {name: number for number, name in enumerate(names)}


def trusted(case: Case, statements: Iterable[Statement]) -> int:
    """How many people signed these with a key that the auditor's policy names, or with one that took over from it.

    Not with one that a named key took over from: whoever has any key can hand it on to a named one, whose holder is not
    asked.
    """
    named = set(case.policy.approvers) if case.policy is not None else set()
    signed = set()
    for statement in statements:
        number = case.holders[statement.keyid]
        upto = [key.keyid for key in case.chains[number]].index(statement.keyid)
        if any(key.vkey in named for key in case.chains[number][: upto + 1]):
            signed.add(number)
    return len(signed)


def check_keys(case: Case) -> None:
    """Check 24 (P2): whoever signed had that key then, and nothing rests on what was signed with a lost one."""
    turns = [0] * len(case.chains)  # which key of each chain is in force
    lost: dict[int, list[range]] = {}  # by approver: from where to where a key was used that was lost by then
    needed: list[Statement] = []
    roots = _roots(case.leaves, {statement["stands"] for statement in case.of("key/v1")})
    for change, same in groupby(case.statements, key=_change):
        group = list(same)
        for statement in group:
            _require_in_force(case, statement, turns)
        if change is None:
            continue
        number = _check_change(case, group, turns, roots)
        if case.holders[group[0].keyid] != number:
            needed += group
        if group[0]["what"] == "revoked":
            lost.setdefault(number, []).append(range(group[0]["stands"], group[0].index))
        turns[number] += 1
    for chain, turn in zip(case.chains, turns, strict=True):
        require(turn >= len(chain) - 1, f"no statement hands over to {chain[-1].keyid}, which is in keys/")
    for clearance in case.of("clearance/v1"):
        needed += [case.by_sha256[sha256] for sha256 in clearance["approvals"] if sha256 in case.by_sha256]  # check 14
    for statement in needed:
        void = any(statement.index in span for span in lost.get(case.holders[statement.keyid], ()))
        require(not void, f"{statement} is needed, and its key was lost by then")


def _require_in_force(case: Case, statement: Statement, turns: list[int]) -> None:
    number = case.holders[statement.keyid]
    in_force = case.chains[number][turns[number] : turns[number] + 1]  # none, if it was given up
    same = [key.keyid for key in in_force] == [statement.keyid]
    require(same, f"{statement}: {statement.keyid} was not in force there")


def _change(statement: Statement) -> str | None:
    """What is said of a key, as text: statements in a row that say the same are votes for one change."""
    return repr(sorted(statement.predicate.items())) if statement.kind == "key/v1" else None


def _check_change(case: Case, group: list[Statement], turns: list[int], roots: dict[int, bytes]) -> int:
    """The number of the chain whose key changes: the key in force, the next one, in this log, with authority."""
    first, numbers = group[0], people(case)
    require(first["approver"] in numbers, f"{first} is about nobody whom the plan names")
    number = numbers[first["approver"]]
    now, following = (case.chains[number][turn : turn + 1] for turn in (turns[number], turns[number] + 1))
    require([key.vkey for key in now] == [first["key"]], f"{first}: that key was not in force")
    named = [] if first["new"] is None else [first["new"]]
    require([key.vkey for key in following] == named, f"{first}: the next key in keys/ is another than it names")
    require(number != LOG or len({key.name for key in (*now, *following)}) == 1, f"{first}: a log keeps its name")
    own = first["stands"] == first.index if number == LOG else first["stands"] <= first.index
    require(own, f"{first} speaks of another place in the log")
    same = first["stands"] in roots and roots[first["stands"]].hex() == first["root"]
    require(same, f"{first} speaks of another log")
    _check_authority(case, group, number)
    return number


def _check_authority(case: Case, group: list[Statement], number: int) -> None:
    """Signed by the key itself, or, where it is lost, by as many others as an erasure needs.

    Whoever holds a lost key may say so, but not which is the next: that might be the thief's.
    """
    first, signed = group[0], {case.holders[statement.keyid] for statement in group}
    rotates, goes_on = first["what"] == "rotated", first["new"] is not None
    if signed == {number}:
        may = goes_on if rotates else not goes_on and number != LOG
        require(may and len(group) == 1, f"{first}: its own key may rotate, or be given up, and no more")
        return
    others = not rotates and LOG not in signed and number not in signed and (goes_on or number != LOG)
    require(others, f"{first} is signed by the wrong ones")
    wanted = case.plan["approvals"]["threshold"]
    enough = len(signed) == len(group) == wanted
    require(enough, f"{first} is signed by {len(signed)} approvers, {wanted} are needed")
    if case.policy is not None:
        known = trusted(case, group)
        require(known >= case.policy.threshold, f"{first} is signed by {known} trusted approvers only")


def _roots(leaves: list[bytes], sizes: set[int]) -> dict[int, bytes]:
    """The root of the first so many leaves, for each of these sizes that the log has (RFC 6962 section 2.1)."""
    roots: dict[int, bytes] = {}
    peaks: list[bytes] = []  # the roots of the full trees that make up the leaves so far, the largest first
    for size, leaf in enumerate(leaves if sizes else (), start=1):
        node, rest = leaf, size
        while rest % 2 == 0:
            node, rest = hashlib.sha256(b"\x01" + peaks.pop() + node).digest(), rest // 2
        peaks.append(node)
        if size in sizes:
            for peak in reversed(peaks[:-1]):
                node = hashlib.sha256(b"\x01" + peak + node).digest()
            roots[size] = node
    return roots


def _numbered(case: Case, read: Callable[[Case, str], Key], name: str) -> list[Key]:
    """The keys of these file names, numbered from 1 as far as there are such files."""
    keys: list[Key] = []
    while name.format(len(keys) + 1) in case.files:
        keys.append(read(case, name.format(len(keys) + 1)))
    return keys


def say_keys(case: Case) -> list[str]:
    """What the log tells of keys that changed hands, for the answer."""
    lines = []
    for change in case.of("key/v1"):
        whose = "the log" if change["approver"] is None else change["approver"]
        new = "nobody" if change["new"] is None else read_vkey(change["new"]).keyid
        what = f"the key {read_vkey(change['key']).keyid} of {whose} was {change['what']} to {new}"
        lines.append(f"{what}, signed by {change.keyid} ({change}: {change['why']})")
    return lines
