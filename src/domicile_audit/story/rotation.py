"""Check 24: every key signed while it was in force, and changed hands by the rules of docs/keys.md.

A chain is the keys of one holder, in the order in which the log changed them: chain 0 of the log, chain N of the plan's
approver N. `keys/` holds them: `log-before-N.vkey` and at last `log.vkey`; `approver-N.vkey`, then
`approver-N-after-M.vkey`. Check 8 takes signatures of all of them; here each is held against its place in the log.

A log without `key/v1` has one key for each holder, and no more is asked than that these signed.
"""

from collections.abc import Iterator, Sequence

from domicile_audit.case import LOG, Case, Statement, require
from domicile_audit.log.keys import Key
from domicile_audit.log.tree import root_of_first
from domicile_audit.story.erasing import require_enough

# What may be said of a key, with a next one or without, and by whom. Who holds a lost key may say that it is lost, but
# not which is the next: that might be the thief's.
ITSELF, OTHERS = "its own key", "others"
MAY_SAY = {
    ("rotated", True): (ITSELF,),  # handed on
    ("revoked", False): (ITSELF, OTHERS),  # given up, or lost
    ("revoked", True): (OTHERS,),  # lost, and replaced
}


def _turns(case: Case) -> Iterator[list[Statement]]:
    """The statements one by one, but those in a row that say the same of a key together: as votes for one change.

    Of 7 an approval, 8 and 9 the same `key/v1`, 10 another: [7], [8, 9], [10].
    """
    votes: list[Statement] = []
    for statement in case.statements:
        if votes and not (statement.kind == votes[0].kind == "key/v1" and statement.predicate == votes[0].predicate):
            yield votes
            votes = []
        votes.append(statement)
    yield votes


def check_keys(case: Case) -> None:
    """Check 24 (P2): whoever signed had that key then, and nothing rests on what was signed with a lost one."""
    left = [list(chain) for chain in case.chains]  # of each holder the key in force, then those that follow it
    lost: list[list[range]] = [[] for _ in case.chains]  # of each holder where what they signed is void
    for votes in _turns(case):
        said = votes[0]
        for statement in votes:
            in_force = [key.keyid for key in left[statement.holder][:1]]
            require(in_force == [statement.keyid], f"{statement}: {statement.keyid} was not in force there")
        if said.kind != "key/v1":
            continue
        require(said["approver"] in case.numbers, f"{said} is about nobody whom the plan names")
        number = case.numbers[said["approver"]]
        _check_next(said, number, left[number])
        _check_place(case, said, number)
        _check_signers(case, votes, number)
        left[number].pop(0)
        if said.holder != number:
            case.votes.append(votes)
        if said["what"] == "revoked" and number != LOG:  # a log's key is lost from there on: that makes nothing void
            lost[number].append(range(said["stands"], said.index))
    unused = [key.keyid for keys in left for key in keys[1:]]
    require(not unused, f"no statement hands over to {min(unused, default='')}, which is in keys/")
    case.void = {one.index for one in case.statements if any(one.index in span for span in lost[one.holder])}
    _check_void(case)


def _check_void(case: Case) -> None:
    """Check 24 goes on: no vote is void, and what was erased has enough approvals that aren't."""
    for vote in (vote for votes in case.votes for vote in votes):
        require(vote.index not in case.void, f"{vote} is needed, and its key was lost by then")
    for clearance in case.of("clearance/v1"):
        if clearance.sha256 in case.erased_under:
            standing = [approval for approval in case.approvals(clearance) if approval.index not in case.void]
            require_enough(case, standing, f"{clearance}, without what a lost key signed,")


def _check_next(said: Statement, number: int, keys: Sequence[Key]) -> None:
    """Check 24 goes on: the key in force gives way to the next of its chain; a log goes on, under its name."""
    require(keys and keys[0].vkey == said["key"], f"{said}: that key was not in force")
    following = keys[1].vkey if len(keys) > 1 else None
    require(following == said["new"], f"{said}: the next key in keys/ is another than it names")
    if number == LOG:
        require(following, f"{said}: a log can't go on without a key")
        require(keys[1].name == keys[0].name, f"{said}: a log keeps its name")


def _check_place(case: Case, said: Statement, number: int) -> None:
    """Check 24 goes on: it is said in this log, of a place before it; of the log's key, of its own place."""
    least = said.index if number == LOG else 1
    require(least <= said["stands"] <= said.index, f"{said} speaks of another place in the log")
    require(root_of_first(said["stands"], case.levels) == said["root"], f"{said} speaks of another log")


def _check_signers(case: Case, votes: Sequence[Statement], number: int) -> None:
    """Check 24 goes on: signed by the key itself or, where it is lost, by just as many others as an erasure needs."""
    said, signed = votes[0], {statement.holder for statement in votes}
    may = MAY_SAY.get((said["what"], said["new"] is not None), ())
    if signed == {number}:
        once = ITSELF in may and len(votes) == 1
        require(once, f"{said}: its own key may rotate, or be given up, and no more")
        return
    require(OTHERS in may and not signed & {LOG, number}, f"{said} is signed by the wrong ones")
    times, by, wanted = len(votes), len(signed), case.plan["approvals"]["threshold"]
    enough = times == by == wanted
    require(enough, f"{said} is said {times} times, by {by} approvers; {wanted} have to say it, once each")
