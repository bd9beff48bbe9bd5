"""Check 24: every key signed while it was in force, and changed hands by the rules of docs/keys.md.

A chain is the keys of one holder, in the order in which the log changed them: chain 0 of the log, chain N of the plan's
approver N. `keys/` holds them: `log-before-N.vkey` and at last `log.vkey`; `approver-N.vkey`, then
`approver-N-after-M.vkey`. Check 8 takes signatures of all of them; here each is held against its place in the log.
"""

from collections.abc import Container, Iterable
from itertools import dropwhile, groupby

from domicile_audit.case import LOG, Case, Statement, require
from domicile_audit.keys import Key, read_vkey
from domicile_audit.tree import root_of_first


def chain_numbers(case: Case) -> dict[str | None, int]:
    """The number of each approver's chain by name; of the log's by None."""
    names = [None, *(approver["name"] for approver in case.plan["approvals"]["of"])]
    return {name: number for number, name in enumerate(names)}


def require_trusted(case: Case, statements: Iterable[Statement], what: str) -> None:
    """Refuse unless as many holders signed these as the auditor's policy wants, with keys that it trusts."""
    if case.policy is None:
        return
    named, wanted = case.policy.approvers, case.policy.threshold
    signed = {case.holders[statement.keyid] for statement in statements if is_trusted(case, statement, named)}
    require(len(signed) >= wanted, f"{what} has {len(signed)} trusted approvals, the policy wants {wanted}")


def is_trusted(case: Case, statement: Statement, named: Container[str]) -> bool:
    """Whether one of the named keys signed this, or one behind it in its chain.

    From a named one the chain leads on by its signature or by trusted votes. What stands before it counts for nothing:
    anybody can begin a chain with a key of their own, and hand it on to somebody else's.
    """
    trusted = dropwhile(lambda key: key.vkey not in named, case.chains[case.holders[statement.keyid]])
    return statement.keyid in {key.keyid for key in trusted}


def check_keys(case: Case) -> None:
    """Check 24 (P2): whoever signed had that key then, and nothing rests on what was signed with a lost one."""
    ahead = [list(chain) for chain in case.chains]  # the key of each chain that is in force, and those that follow
    lost: dict[int, list[range]] = {}  # by approver: from where to where a key was used that was lost by then
    needed: list[Statement] = []
    for change, same in groupby(case.statements, key=_change):
        group = list(same)
        for statement in group:
            in_force = [key.keyid for key in ahead[case.holders[statement.keyid]][:1]]  # none, if it was given up
            require(in_force == [statement.keyid], f"{statement}: {statement.keyid} was not in force there")
        if change is None:
            continue
        number = _check_change(case, group, ahead)
        if case.holders[group[0].keyid] != number:
            needed += group
        if group[0]["what"] == "revoked":
            lost.setdefault(number, []).append(range(group[0]["stands"], group[0].index))
        del ahead[number][0]
    for keys in ahead:
        require(len(keys) <= 1, f"no statement hands over to {[key.keyid for key in keys[1:]]}, which are in keys/")
    for clearance in case.of("clearance/v1"):
        needed += [case.by_sha256[sha256] for sha256 in clearance["approvals"] if sha256 in case.by_sha256]  # check 14
    for statement in needed:
        void = any(statement.index in span for span in lost.get(case.holders[statement.keyid], ()))
        require(not void, f"{statement} is needed, and its key was lost by then")


def _change(statement: Statement) -> str | None:
    """What is said of a key, as text: statements in a row that say the same are votes for one change."""
    return repr(sorted(statement.predicate.items())) if statement.kind == "key/v1" else None


def _check_change(case: Case, group: list[Statement], ahead: list[list[Key]]) -> int:
    """The number of the chain whose key changes: the key in force, the next one, in this log, with authority."""
    first, numbers = group[0], chain_numbers(case)
    require(first["approver"] in numbers, f"{first} is about nobody whom the plan names")
    number = numbers[first["approver"]]
    now, following = ahead[number][:1], ahead[number][1:2]
    require([key.vkey for key in now] == [first["key"]], f"{first}: that key was not in force")
    named = [] if first["new"] is None else [first["new"]]
    require([key.vkey for key in following] == named, f"{first}: the next key in keys/ is another than it names")
    require(number != LOG or len({key.name for key in (*now, *following)}) == 1, f"{first}: a log keeps its name")
    own = 1 <= first["stands"] <= first.index and (number != LOG or first["stands"] == first.index)
    require(own, f"{first} speaks of another place in the log")
    require(root_of_first(first["stands"], case.levels) == first["root"], f"{first} speaks of another log")
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
    require(len(signed) == len(group) == wanted, f"{first} is signed by {len(signed)} approvers, {wanted} are needed")
    require_trusted(case, group, str(first))


def say_keys(case: Case) -> list[str]:
    """What the log tells of keys that changed hands, for the answer."""
    lines = []
    for change in case.of("key/v1"):
        whose = "the log" if change["approver"] is None else change["approver"]
        new = "nobody" if change["new"] is None else read_vkey(change["new"]).keyid
        what = f"the key {read_vkey(change['key']).keyid} of {whose} was {change['what']} to {new}"
        lines.append(f"{what}, signed by {change.keyid} ({change}: {change['why']})")
    return lines
