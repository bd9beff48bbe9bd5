"""Check 23: every key signed while it was in force, and changed hands by the rules of docs/keys.md.

A chain is the keys of one holder, in the order in which the log changed them: chain 0 of the log, chain N of the plan's
approver N. `keys/` holds them: `log-before-N.vkey` and at last `log.vkey`; `approver-N.vkey`, then
`approver-N-after-M.vkey`. Check 8 takes signatures of all of them; here each is held against its place in the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import groupby

from domicile_audit.case import Case, Statement, require
from domicile_audit.keys import Key, read_vkey
from domicile_audit.tree import merkle_root

LOG = 0


def read_chains(case: Case, read: Callable[[Case, str], Key]) -> None:
    """Check 2 goes on: all keys of the log and of each approver, well spelled and none twice."""
    case.chains = [[*_read_on(case, read, "keys/log-before-{}.vkey", []), case.engine]]
    for number, key in enumerate(case.approver_keys.values(), start=1):
        case.chains.append(_read_on(case, read, f"keys/approver-{number}-after-{{}}.vkey", [key]))
    count = sum(len(chain) for chain in case.chains)
    publics = {key.public for chain in case.chains for key in chain}
    require(len(publics) == count == len(signers(case)), "one key has two roles, or stands in keys/ twice")


def signers(case: Case) -> dict[str, Key]:
    """Every key that may have signed in this log, by keyid."""
    return {key.keyid: key for chain in case.chains for key in chain}


def holder(case: Case, keyid: str) -> int:
    """The number of the chain that a key is in."""
    return next(number for number, chain in enumerate(case.chains) if keyid in {key.keyid for key in chain})


def trusted(case: Case, keyids: set[str]) -> int:
    """How many people these keys are of, of whom the trust policy names one key at least."""
    named = set(case.policy.approvers) if case.policy is not None else set()
    holders = {holder(case, keyid) for keyid in keyids}
    return sum(any(key.vkey in named for key in case.chains[number]) for number in holders)


def check_keys(case: Case) -> None:
    """Check 23 (P2): whoever signed had that key then, and nothing rests on what was signed with a lost one."""
    turns = [0] * len(case.chains)  # which key of each chain is in force
    votes: list[list[Statement]] = []
    void: set[int] = set()
    for said, same in groupby(case.statements, key=_change):
        group = list(same)
        for one in group:
            number = holder(case, one.keyid)
            in_force = case.chains[number][turns[number] : turns[number] + 1]
            require(one.keyid in {key.keyid for key in in_force}, f"{_name(one)}: {one.keyid} was not in force there")
        if said is None:
            continue
        number = _check_change(case, group, turns)
        by_others = holder(case, group[0].keyid) != number
        votes += [group] if by_others else []
        turns[number] += 1
        if group[0].predicate["what"] == "revoked":
            behind = range(group[0].predicate["stands"], group[0].index)
            void |= {index for index in behind if holder(case, case.statements[index].keyid) == number != LOG}
    for chain, turn in zip(case.chains, turns, strict=True):
        require(turn >= len(chain) - 1, f"no statement hands over to {chain[-1].keyid}, which is in keys/")
    for needed in (*votes, *(_approvals(case, clearance) for clearance in case.of("clearance/v1"))):
        lost = [one for one in needed if one.index in void]
        require(not lost, f"{_name((lost or needed)[0])} is needed, and its key was lost by then")


def say_keys(case: Case) -> list[str]:
    """What the log tells of keys that changed hands, for the answer."""
    lines = []
    for statement in case.of("key/v1"):
        said = statement.predicate
        new = f"to {read_vkey(said['new']).keyid}" if said["new"] is not None else "to nobody"
        whose = "the log" if said["approver"] is None else said["approver"]
        what = f"the key {read_vkey(said['key']).keyid} of {whose} was {said['what']} {new}"
        lines.append(f"{what}, signed by {statement.keyid} (statement {statement.index}: {said['why']})")
    return lines


def _change(statement: Statement) -> str | None:
    """What a statement says of a key, as text: those that say the same one after another are votes for one change."""
    return repr(sorted(statement.predicate.items())) if statement.kind == "key/v1" else None


def _check_change(case: Case, group: list[Statement], turns: list[int]) -> int:
    """The number of the chain whose key changes: about the key in force and this log, with authority."""
    first, said = group[0], group[0].predicate
    names = [None, *(approver["name"] for approver in case.plan["approvals"]["of"])]
    require(said["approver"] in names, f"{_name(first)} is about nobody whom the plan names")
    number = names.index(said["approver"])
    chain, turn = case.chains[number], turns[number]
    require([key.vkey for key in chain[turn : turn + 1]] == [said["key"]], f"{_name(first)}: that key was not in force")
    following = [key.vkey for key in chain[turn + 1 : turn + 2]]
    same = following == ([] if said["new"] is None else [said["new"]])
    require(same, f"{_name(first)}: the next key in keys/ is another than it names")
    own_place = said["stands"] == first.index if number == LOG else 0 < said["stands"] <= first.index
    require(own_place, f"{_name(first)} speaks of another place in the log")
    leaves = [hashlib.sha256(b"\x00" + entry).digest() for entry in case.entries[: said["stands"]]]
    require(merkle_root(leaves).hex() == said["root"], f"{_name(first)} speaks of another log")
    _check_authority(case, group, number)
    return number


def _check_authority(case: Case, group: list[Statement], number: int) -> None:
    """Signed by the key itself, or by as many others as an erasure needs; the latter only if it is lost.

    Whoever holds a lost key may say that it is lost, but not which is the next: that might be the thief's.
    """
    said, where = group[0].predicate, _name(group[0])
    people = {holder(case, one.keyid) for one in group}
    if people == {number}:
        may = said["new"] is not None if said["what"] == "rotated" else said["new"] is None and number != LOG
        require(may and len(group) == 1, f"{where}: its own key may rotate, or be given up, and no more")
        return
    others = LOG not in people and number not in people and said["what"] == "revoked"
    require(others and (said["new"] is not None or number != LOG), f"{where} is signed by the wrong ones")
    wanted = case.plan["approvals"]["threshold"]
    require(len(people) == len(group) == wanted, f"{where} is signed by {len(people)} approvers, {wanted} are needed")
    if case.policy is not None:
        known = trusted(case, {one.keyid for one in group})
        require(known >= case.policy.threshold, f"{where} is signed by {known} trusted approvers only")


def _approvals(case: Case, clearance: Statement) -> list[Statement]:
    named = clearance.predicate["approvals"]
    return [case.statements[case.places[sha256]] for sha256 in named if sha256 in case.places]


def _read_on(case: Case, read: Callable[[Case, str], Key], name: str, keys: list[Key]) -> list[Key]:
    """The keys of these file names, numbered from 1 as far as there are such files, behind those given."""
    found = [*keys]
    while (path := name.format(len(found) - len(keys) + 1)) in case.files:
        found.append(read(case, path))
    return found


def _name(statement: Statement) -> str:
    return f"statement {statement.index} ({statement.kind})"
