"""Check 24: every key signed while it was in force, and changed hands by the rules of docs/keys.md.

A chain is the keys of one holder, in the order in which the log changed them: chain 0 of the log, chain N of the plan's
approver N. `keys/` holds them: `log-before-N.vkey` and at last `log.vkey`; `approver-N.vkey`, then
`approver-N-after-M.vkey`. Check 8 takes signatures of all of them; here each is held against its place in the log.
"""

from collections.abc import Container, Iterable, Mapping
from itertools import dropwhile, groupby

from domicile_audit.case import LOG, Case, Statement, require
from domicile_audit.log.keys import Key
from domicile_audit.log.tree import root_of_first


def chain_numbers(case: Case) -> dict[str | None, int]:
    """The number of each approver's chain by name; of the log's by None."""
    names = [None, *(approver["name"] for approver in case.plan["approvals"]["of"])]
    return {name: number for number, name in enumerate(names)}


def require_approved(case: Case, approvals: list[Statement], what: str, *, counts: bool = True) -> None:
    """Refuse unless these are as many approvals as plan and policy want, and those that the policy must have."""
    by, wanted = len({approval["approver"] for approval in approvals}), case.plan["approvals"]["threshold"]
    require(by >= wanted, f"{what} has {by} approvals, the plan wants {wanted}")
    if case.policy is None or not counts:
        return
    require_trusted(case, approvals, what)
    for vkey in sorted(case.policy.musts):
        given = any(is_trusted(case, approval, {vkey}) for approval in approvals)
        require(given, f"{what} is without the approval of {vkey}, which the policy wants")


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
    left = [list(chain) for chain in case.chains]  # of each holder the key in force, then those that follow it
    lost: list[list[range]] = [[] for _ in case.chains]  # where what a holder signed is void
    rested_on: list[Statement] = []  # what others than the holder said for a change
    numbers = chain_numbers(case)
    for _, same in groupby(case.statements, key=_words):
        votes = list(same)
        for statement in votes:
            keys = left[case.holders[statement.keyid]]
            require(keys and keys[0].keyid == statement.keyid, f"{statement}: {statement.keyid} was not in force there")
        said = votes[0]
        if said.kind == "key/v1":
            number = _check_change(case, said, left, numbers)
            _check_authority(case, votes, number)
            if case.holders[said.keyid] != number:
                rested_on += votes
            if said["what"] == "revoked":  # a log's key is lost from that very place on: that makes nothing void
                lost[number].append(range(said["stands"], said.index))
            del left[number][0]
    unused = [key.keyid for keys in left for key in keys[1:]]
    require(not unused, f"no statement hands over to {min(unused, default='')}, which is in keys/")
    void = {one.index for one in case.statements if any(one.index in span for span in lost[case.holders[one.keyid]])}
    for statement in rested_on:
        require(statement.index not in void, f"{statement} is needed, and its key was lost by then")
    _check_standing(case, void)


def _check_standing(case: Case, void: set[int]) -> None:
    """Check 24 goes on: what was erased has enough approvals without those that a lost key signed."""
    under = {erasure["clearance"] for erasure in case.of("erasure/v1")}
    for clearance in case.of("clearance/v1"):
        if clearance.sha256 in under:
            approvals = [case.named(sha256, "approval/v1", clearance) for sha256 in clearance["approvals"]]
            standing = [approval for approval in approvals if approval.index not in void]
            require_approved(case, standing, f"{clearance}, without what a lost key signed,")


def _words(statement: Statement) -> str | int:
    """What is said of a key: statements in a row that say the same are votes for one change. Others stand alone."""
    return repr(sorted(statement.predicate.items())) if statement.kind == "key/v1" else statement.index


def _check_change(case: Case, said: Statement, left: list[list[Key]], numbers: Mapping[str | None, int]) -> int:
    """The number of the chain whose key changes: from the key in force to the next one, said in this log."""
    require(said["approver"] in numbers, f"{said} is about nobody whom the plan names")
    number = numbers[said["approver"]]
    keys = left[number]
    require(keys and keys[0].vkey == said["key"], f"{said}: that key was not in force")
    following = keys[1] if len(keys) > 1 else None
    require((following and following.vkey) == said["new"], f"{said}: the next key in keys/ is another than it names")
    kept = number != LOG or following is None or following.name == keys[0].name
    require(kept, f"{said}: a log keeps its name")
    own = 1 <= said["stands"] <= said.index and (number != LOG or said["stands"] == said.index)
    require(own, f"{said} speaks of another place in the log")
    require(root_of_first(said["stands"], case.levels) == said["root"], f"{said} speaks of another log")
    return number


# What may be said of a key, with a next one named or without. Whoever holds a lost key may say that it is lost, but not
# which is the next: that might be the thief's.
BY_ITSELF = {("rotated", True), ("revoked", False)}  # handed on, given up
BY_OTHERS = {("revoked", True), ("revoked", False)}  # lost and replaced, lost


def _check_authority(case: Case, votes: list[Statement], number: int) -> None:
    """Check 24 goes on: signed by the key itself or, where it is lost, by just as many others as an erasure needs."""
    said, signed = votes[0], {case.holders[statement.keyid] for statement in votes}
    what = (said["what"], said["new"] is not None)
    require(number != LOG or said["new"], f"{said}: a log can't go on without a key")
    if signed == {number}:
        require(what in BY_ITSELF and len(votes) == 1, f"{said}: its own key may rotate, or be given up, and no more")
        return
    require(what in BY_OTHERS and not signed & {LOG, number}, f"{said} is signed by the wrong ones")
    wanted = case.plan["approvals"]["threshold"]
    once_each = len(signed) == len(votes) == wanted
    require(
        once_each, f"{said} is said {len(votes)} times, by {len(signed)} approvers; {wanted} have to say it, once each"
    )
    require_trusted(case, votes, str(said))
