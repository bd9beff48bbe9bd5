"""A log that may go on: what has to hold of it as far as it goes, for a monitor that follows it, or a spot check.

Of the checklist these are 8 to 17 and 21 to 24. 18 to 20 are of a certificate: a log that goes on may have none yet, or
one that is not its last word any more. Then 19 and 20 are held against the log as it was when that stood at its end.

A log as it is served has no bundle around it. Its keys are those of the plan, and those that its own `key/v1` name: no
more than claims, as `keys/` of a bundle are; checks 2, 14 and 24 say whether they hold. The plan's digest is the one
that the plan names, and 5 to 7 are for whoever read the checkpoint and the entries.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domicile_audit.case import Case, Part, Refused
from domicile_audit.checklist import CHECKS
from domicile_audit.log.container import check_keys
from domicile_audit.log.envelopes import DETACHED, PREFIX
from domicile_audit.log.keys import read_base64
from domicile_audit.log.shape import misfit, read_json
from domicile_audit.log.tree import levels_of
from domicile_audit.says import SHAPES
from domicile_audit.story.certificate import check_certificate, check_counts
from domicile_audit.story.verdicts import check_verdicts
from domicile_audit.trust.policy import Policy

KEYS, ENTRIES = 2, 8  # the numbers of the checks
OF_A_CERTIFICATE = (check_certificate, check_verdicts, check_counts)
EARLIER_MAX = 64  # certificates at the place of each of which the log is judged
NAMING = {"plan/v1", "key/v1"}  # the statements that name keys


@dataclass(frozen=True, slots=True)
class Fault:
    """The first check that a log fails: its number, what it is, and why."""

    number: int
    title: str
    reason: str


def judge_so_far(case: Case, first: int, *, since: int = 0) -> Fault | None:
    """The first check from number `first` on that does not hold of a log that may go on; None where all do.

    Certificates among the first `since` statements were judged before; of the others the newest EARLIER_MAX are.
    """
    for number, (title, _, check) in enumerate(CHECKS[first - 1 :], start=first):
        try:
            if check not in OF_A_CERTIFICATE:
                check(case)
            elif check is not check_certificate:
                for one in [one for one in case.of("certificate/v1") if one.index >= since][-EARLIER_MAX:]:
                    check(_upto(case, one.index + 1))
        except Refused as refusal:
            return Fault(number, title, str(refusal))
    return None


def _upto(case: Case, size: int) -> Case:
    """The story as it was when it had so many statements, for a check of nothing but statements."""
    return Case(data=b"", policy=case.policy, size=size, statements=case.statements[:size], by_sha256=case.by_sha256)


def judge_log(
    entries: list[bytes], detached: Mapping[str, bytes], log: str, policy: Policy | None, *, since: int = 0
) -> Fault | None:
    """The first check that this log fails, and why; None where none does.

    `detached` are the predicates beside it by their SHA-256, `log` is the vkey that began it; of a policy it takes the
    keys, and how many approvals are wanted. The first `since` statements were judged before, certificates among them.
    """
    try:
        return _judge(entries, detached, log, policy, since) if entries else None
    except Exception as error:  # noqa: BLE001  (as in __main__.py: what can't be checked is not accepted)
        return Fault(0, "the program itself", f"the checker failed ({type(error).__name__}); please report the log")


def _judge(
    entries: list[bytes], detached: Mapping[str, bytes], log: str, policy: Policy | None, since: int
) -> Fault | None:
    case = Case(data=b"", policy=policy, size=len(entries), entries=entries, levels=levels_of(entries))
    case.files = {f"detached/{name}.json": data for name, data in detached.items()}
    case.files |= {name: f"{key}\n".encode(errors="replace") for name, key in _keys(case, log)}
    try:
        check_keys(case)
    except Refused as refusal:
        return Fault(KEYS, "keys", str(refusal))
    return judge_so_far(case, first=ENTRIES, since=since)


def _keys(case: Case, log: str) -> Iterator[tuple[str, str]]:
    """The files that keys/ of a bundle of this log would hold: name and vkey, none of them believed."""
    (*before, now), *chains = _chains(case, log)
    yield from ((f"keys/log-before-{turn}.vkey", key) for turn, key in enumerate(before, start=1))
    yield "keys/log.vkey", now
    for number, (first, *later) in enumerate(chains, start=1):
        yield f"keys/approver-{number}.vkey", first
        yield from ((f"keys/approver-{number}-after-{turn}.vkey", key) for turn, key in enumerate(later, start=1))


def _chains(case: Case, log: str) -> list[list[str]]:
    """The log's keys, then those of each approver of the plan, in the order in which the log names them."""
    names: list[str | None] = [None]
    chains = [[log]]
    for kind, said in _named(case):
        if kind == "plan/v1" and len(chains) == 1:
            names += [one["name"] for one in said["approvals"]["of"]]
            chains += [[one["vkey"]] for one in said["approvals"]["of"]]
        if kind == "key/v1" and said["new"] is not None and said["approver"] in names:
            chain = chains[names.index(said["approver"])]
            chain += [said["new"]] if said["new"] not in chain else []
    return chains


def _named(case: Case) -> Iterator[tuple[str, Part]]:
    """Kind and predicate of the statements that name keys; what is none is for check 8, 9 or 10 to refuse."""
    for entry in case.entries:
        try:
            payload = read_base64(json.loads(entry)["payload"])
            if not any(f'"{PREFIX}{kind}"'.encode() in payload for kind in NAMING):
                continue
            body = read_json(payload, "a statement")
            kind, said = body["predicateType"].removeprefix(PREFIX), body["predicate"]
            if misfit(said, DETACHED) is None:
                said = read_json(case.files[f"detached/{said['detached']['sha256']}.json"], "a predicate")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if kind in NAMING and misfit(said, SHAPES[kind]) is None:
            yield kind, said
