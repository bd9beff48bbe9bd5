"""The words of the answer: what an accepted bundle proves, and what it does not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from domicile_audit.case import Case, Statement
from domicile_audit.log.cosignature import say_time
from domicile_audit.log.keys import read_vkey
from domicile_audit.story.certificate import count_rows
from domicile_audit.story.verdicts import valid_sweep
from domicile_audit.trust.approvers import is_trusted
from domicile_audit.trust.policy import Policy

BEST = "erased-verified"
KEYS_KNOWN, KEYS_OF_BUNDLE = "policy", "bundle"
NOBODYS = "HOLDS TOGETHER, signed by NOBODY WHOM YOU NAMED (keys from the bundle itself; give --trust POLICY)"


@dataclass(frozen=True, slots=True)
class Passed:
    """One check that was made: its number, what it is, the clause, and whether it passed."""

    number: int
    title: str
    clause: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: a promise, or a line of the policy; accepted, not shown or refused, why, and the bound of a sample."""

    name: str
    words: str
    result: str
    why: str
    bound: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer. `verdict` is the certificate's, and None when the bundle is refused.

    Accepted with keys from the bundle is no more than that it holds together: nobody whom the auditor knows signed it.
    """

    accepted: bool
    checks: tuple[Passed, ...]
    keys_from: str
    reason: str | None = None
    verdict: str | None = None
    proven: tuple[str, ...] = ()
    not_proven: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    @property
    def refused_at(self) -> int | None:
        """The check that failed; None where all hold, and the policy or a spot check refuses."""
        return next((check.number for check in self.checks if not check.passed), None)

    @property
    def headline(self) -> str:
        """The line that nobody may overlook."""
        if not self.accepted:
            where = "by what you asked" if self.refused_at is None else f"at check {self.refused_at}"
            return f"REFUSED {where}: {self.reason}"
        begin = "ACCEPTED: the evidence holds" if self.keys_from == KEYS_KNOWN else NOBODYS
        if self.verdict == BEST:
            return f"{begin}, and says that every listed copy is erased and was searched"
        return f"{begin}, but NOT EVERYTHING IS PROVEN ERASED: the verdict is {self.verdict}"


def refuse(policy: Policy | None, checks: Sequence[Passed], reason: str) -> Report:
    """The answer that the last of these checks gives."""
    return Report(accepted=False, checks=tuple(checks), keys_from=_keys_from(policy), reason=reason)


def accept(case: Case, checks: Sequence[Passed]) -> Report:
    """The answer after all checks have passed."""
    return Report(
        accepted=True,
        checks=tuple(checks),
        keys_from=_keys_from(case.policy),
        verdict=case.statements[-1]["verdict"],
        proven=say_proven(case),
        not_proven=say_not_proven(case),
    )


def say_proven(case: Case) -> tuple[str, ...]:
    """What follows from the checks alone, if the keys are those of whom they name."""
    plan, certificate, totals, what = case.plan, case.statements[-1], _totals(case), _what(case)
    seen = sorted(case.cosigned.items(), key=lambda item: item[1])
    lines = [
        f"{case.engine.keyid} signed {case.size} statements in this order and no others in this log",
        *(f"witness {name} cosigned that at {say_time(time)}: it saw the log only grow" for name, time in seen),
        f"programme {plan['programme']}: the plan {plan['plan'][:16]}… was stated first",
        f"it lists {len(plan['slices'])} slices and {len(plan['copies'])} copies",
        *_in_time(plan["deadline"], certificate["issued_at"]),
        *_changes(case),
        *_cohorts(case),
        *(f"the last freeze lists {len(case.slices)} slices" for _ in case.of("freeze/v1")[-1:]),
        f"it asks for {plan['approvals']['threshold']} of {len(plan['approvals']['of'])} approvals",
        f"{totals['moved']} {what} were stated equal at source and home under a fence",
    ]
    but = f", but for those of objects ({_stores(case)})" if case.object_stores else ""
    for clearance in case.of("clearance/v1"):
        lines.append(f"the erasure of {len(clearance['slices'])} slices was approved by {_approvers(case, clearance)}")
        lines.append(f"before it, those slices were stated as read back from restored backups of home{but}")
    if case.of("erasure/v1"):
        rows = f"{totals['deleted']} {what} deleted, {totals['blanked']} blanked, {totals['kept']} kept"
        lines.append(f"{rows}: announced, cleared, and within the plan")
    lines += _receipts(case)
    sweep = valid_sweep(case)
    if sweep is not None:
        values = f"{sweep['tokens']['searched']} values and {sweep['tokens']['canaries']} canaries"
        lines.append(f"after that, {len(sweep['copies'])} copies were searched for {values}")
    end = f"the certificate of {certificate['issued_at']} says {certificate['verdict']}, no better than the above"
    return (*lines, end)


def say_not_proven(case: Case) -> tuple[str, ...]:
    """What no check can establish, and what the programme itself calls open."""
    certificate, kept, sweep = case.statements[-1], _totals(case)["kept"], valid_sweep(case)
    lines = []
    if not case.of("erasure/v1"):
        lines.append("that anything was erased: no erasure is in the log")
    elif kept:
        what = f"{kept} {_what(case)} are kept at the source too, as planned"
        lines.append(f"that home alone holds what went there: {what}")
    for copy in certificate["copies"]:
        if copy["verdict"] != BEST:
            until = f" {copy['until']}" if copy["until"] else ""
            lines.append(f"copy {copy['id']} is {copy['verdict']}{until}: {copy['why']}")
    lines += certificate["not_proven"]
    lines += [
        f"finding, {one['kind']}: {one['text']} ({one['where']}: {one['count']})" for one in case.of("finding/v1")
    ]
    lines += _not_searched(case) if sweep is not None else []
    if case.of("cohort/v1"):
        lines.append("how long people waited: the waits are those of the engine's clock")
    if case.object_stores:
        lines.append(f"that objects of {_stores(case)} can be restored at home: none was")
        lines.append(f"that nobody wrote to {_stores(case)} meanwhile: the fence is one of the database")
    if any(change["what"] == "revoked" for change in case.of("key/v1")):
        lines.append("that a lost key was not used before the place from which it is called lost")
    if case.policy is None:
        lines.append("who holds the keys: they were taken from the bundle itself (give --trust POLICY)")
    lines += [
        "that the signers told the truth about their stores: this program saw no store",
        "that the inventory is complete: a copy that nobody listed has no verdict",
        f"that no other version of this log was shown to others: {_unwitnessed(case)}",
        "the times: they are those of the signers' clocks",
        "that plan.json says the same as the plan statement, which names its digest",
    ]
    return tuple(dict.fromkeys(lines))


def _in_time(deadline: str | None, issued: str) -> list[str]:
    """Whether the date that the plan fixed was kept, by the engine's clock."""
    if deadline is None:
        return []
    kept = issued[: len(deadline)] <= deadline
    return [f"it fixes the date {deadline}, and the certificate is {'in time' if kept else 'LATER THAN THAT'}"]


def _not_searched(case: Case) -> list[str]:
    """Values that the last sweep could not look for, or that it looked for no more."""
    counts = [one["tokens"] for one in case.of("sweep/v1")]
    last, most = counts[-1], max(one["searched"] for one in counts)
    fewer = (
        f"that all was looked for again: the last search was for {last['searched']} values, an earlier one for {most}"
    )
    lines = [f"{last['not_searchable']} values were not searchable"] if last["not_searchable"] else []
    return [*lines, fewer] if last["searched"] < most else lines


def _approvers(case: Case, clearance: Statement) -> str:
    """Who approved, each with the key that signed; with a policy, those apart whose keys it doesn't know."""
    approvals = case.approvals(clearance)
    known = [one for one in approvals if case.policy is None or is_trusted(case, one, case.policy.approvers)]
    by, others = (
        ", ".join(sorted(f"{one['approver']} ({one.keyid})" for one in some))
        for some in (known, [one for one in approvals if one not in known])
    )
    return f"{by}; by keys that your policy doesn't know, under names that the plan gives: {others}" if others else by


def _unwitnessed(case: Case) -> str:
    """Why two people may have been shown two logs."""
    if case.policy is not None and case.policy.quorum.name != "none":
        return case.policy.quorum.split or f"a witness ({', '.join(case.cosigned)}) could have cosigned that as well"
    return "no policy names its witnesses" if case.cosignatures else "no witness has cosigned it"


def _keys_from(policy: Policy | None) -> str:
    return KEYS_OF_BUNDLE if policy is None else KEYS_KNOWN


def _totals(case: Case) -> Counter[str]:
    totals = Counter[str]()
    for homes in count_rows(case).values():
        for row in homes.values():
            totals.update(row)
    return totals


def _what(case: Case) -> str:
    return "rows and versions of objects" if case.object_stores else "rows"


def _stores(case: Case) -> str:
    return ", ".join(sorted(case.object_stores))


def _cohorts(case: Case) -> list[str]:
    """How many went home and back, and how long they waited: half at most p50, 99 of 100 at most p99."""
    cohorts = case.of("cohort/v1")
    gone = sorted((one["wait_ms"], sum(one["subjects"].values())) for one in cohorts if one["way"] == "home")
    people = sum(count for _, count in gone)
    back = sum(sum(one["subjects"].values()) for one in cohorts) - people
    if not people:
        return []
    p50, p99, longest = (_wait(gone, share * people) for share in (50, 99, 100))
    home = f"{len(gone)} cohorts of {people} people were stated as gone home"
    again = f"{len(cohorts) - len(gone)} of {back} people as gone back: {people - back} people are at home"
    waits = f"half of them waited at most {p50} ms, 99 of 100 at most {p99} ms, all at most {longest} ms"
    return [f"{home}, {again}", f"on the way home, {waits}"]


def _wait(gone: list[tuple[int, int]], place: int) -> int:
    """The wait of the person at this place, in hundredths of a person, of those who waited least."""
    passed = accumulate(people for _, people in gone)
    return next(wait for (wait, _), people in zip(gone, passed, strict=True) if 100 * people >= place)


def _changes(case: Case) -> list[str]:
    """What the log tells of keys that changed hands."""
    lines = []
    for change in case.of("key/v1"):
        whose = "the log" if change["approver"] is None else change["approver"]
        new = "nobody" if change["new"] is None else read_vkey(change["new"]).keyid
        what = f"the key {read_vkey(change['key']).keyid} of {whose} was {change['what']} to {new}"
        lines.append(f"{what}, signed by {change.keyid} ({change}: {change['why']})")
    return lines


def _receipts(case: Case) -> list[str]:
    """How many people have a receipt, and of how many it can't be shown any more."""
    people = sum(place["subjects"] for one in case.of("receipts/v1") for place in one["homes"].values())
    gone = sum(finding["count"] for finding in case.of("finding/v1") if finding["kind"] == "receipts destroyed")
    told = f"; the nonces of {gone} were stated as destroyed" if gone else ""
    line = f"the log holds commitments for receipts of {people} people, and nothing that tells who they are{told}"
    return [line] if people else []
