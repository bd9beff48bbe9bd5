"""The words of the answer: what an accepted bundle proves, and what it does not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from domicile_audit.case import Case
from domicile_audit.certificate import count_rows, last_sweep
from domicile_audit.cohorts import say_cohorts
from domicile_audit.cosignature import say_time

BEST = "erased-verified"


@dataclass(frozen=True, slots=True)
class Passed:
    """One check that was made: its number, what it is, the clause, and whether it passed."""

    number: int
    title: str
    clause: str
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer. `verdict` is the certificate's, and None when the bundle is refused."""

    accepted: bool
    checks: tuple[Passed, ...]
    reason: str | None
    verdict: str | None
    keys_from: str
    proven: tuple[str, ...] = ()
    not_proven: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The line that nobody may overlook."""
        if not self.accepted:
            return f"REFUSED at check {self.checks[-1].number}: {self.reason}"
        if self.verdict == BEST:
            return "ACCEPTED: the evidence holds, and says that every listed copy is erased and was searched"
        return f"ACCEPTED: the evidence holds, but NOT EVERYTHING IS PROVEN ERASED: the verdict is {self.verdict}"


def say_proven(case: Case) -> tuple[str, ...]:
    """What follows from the checks alone, if the keys are those of whom they name."""
    plan, certificate = case.plan, case.statements[-1].predicate
    totals = _totals(case)
    seen = sorted(case.cosigned.items(), key=lambda item: item[1])
    lines = [
        f"{case.engine.keyid} signed {case.size} statements in this order and no others in this log",
        *(f"witness {name} cosigned that at {say_time(time)}: it saw the log only grow" for name, time in seen),
        f"programme {plan['programme']}: the plan {plan['plan'][:16]}… was stated first",
        f"it lists {len(plan['slices'])} slices and {len(plan['copies'])} copies",
        *say_cohorts(case),
        *(f"the last freeze lists {len(case.slices)} slices" for _ in case.of("freeze/v1")[-1:]),
        f"it asks for {plan['approvals']['threshold']} of {len(plan['approvals']['of'])} approvals",
        f"{totals['moved']} {_what(case)} were stated equal at source and home under a fence",
    ]
    for clearance in case.of("clearance/v1"):
        names = sorted(
            a.predicate["approver"] for a in case.of("approval/v1") if a.sha256 in clearance.predicate["approvals"]
        )
        lines.append(f"the erasure of {len(clearance.predicate['slices'])} slices was approved by {', '.join(names)}")
        but = f", but for those of objects ({', '.join(sorted(case.object_stores))})" if case.object_stores else ""
        lines.append(f"before it, those slices were stated as read back from restored backups of home{but}")
    if case.of("erasure/v1"):
        lines.append(
            f"{totals['deleted']} {_what(case)} deleted, {totals['blanked']} blanked, {totals['kept']} kept: "
            "announced, cleared, and within the plan"
        )
    sweep = last_sweep(case)
    if sweep is not None:
        tokens = sweep.predicate["tokens"]
        lines.append(
            f"after that, {len(sweep.predicate['copies'])} copies were searched for {tokens['searched']} values "
            f"and {tokens['canaries']} canaries"
        )
    lines.append(
        f"the certificate of {certificate['issued_at']} says {certificate['verdict']}, no better than the above"
    )
    return tuple(lines)


def _unwitnessed(case: Case) -> str:
    """Why two people may have been shown two logs."""
    if case.policy is not None and case.policy.quorum.name != "none":
        return f"witnesses {', '.join(case.cosigned)} could have agreed on it with the log's key"
    return "no policy names its witnesses" if case.cosignatures else "no witness has cosigned it"


def _totals(case: Case) -> Counter[str]:
    totals = Counter[str]()
    for homes in count_rows(case).values():
        for row in homes.values():
            totals.update(row)
    return totals


def _what(case: Case) -> str:
    """What is counted: rows, and versions of objects where there are such slices."""
    return "rows and versions of objects" if case.object_stores else "rows"


def say_not_proven(case: Case) -> tuple[str, ...]:
    """What no check can establish, and what the programme itself calls open."""
    certificate = case.statements[-1].predicate
    kept = _totals(case)["kept"]
    lines = []
    if not case.of("erasure/v1"):
        lines.append("that anything was erased: no erasure is in the log")
    elif kept:
        lines.append(
            f"that home alone holds what went there: {kept} {_what(case)} are kept at the source too, as planned"
        )
    for copy in certificate["copies"]:
        if copy["verdict"] != BEST:
            until = f" {copy['until']}" if copy["until"] else ""
            lines.append(f"copy {copy['id']} is {copy['verdict']}{until}: {copy['why']}")
    lines += [line for line in certificate["not_proven"] if line not in lines]
    lines += [
        f"finding: {f.predicate['text']} ({f.predicate['where']}: {f.predicate['count']})"
        for f in case.of("finding/v1")
    ]
    sweep = last_sweep(case)
    if sweep is not None and sweep.predicate["tokens"]["not_searchable"]:
        lines.append(f"{sweep.predicate['tokens']['not_searchable']} values were not searchable")
    if case.of("cohort/v1"):
        lines.append("how long people waited: the waits are those of the engine's clock")
    if case.object_stores:
        names = ", ".join(sorted(case.object_stores))
        lines.append(f"that objects of {names} can be restored at home: none was")
        lines.append(f"that nobody wrote to {names} meanwhile: the fence is one of the database")
    if case.policy is None:
        lines.append("who holds the keys: they were taken from the bundle itself (give --trust POLICY)")
    lines += [
        "that the signers told the truth about their stores: this program saw no store",
        "that the inventory is complete: a copy that nobody listed has no verdict",
        f"that no other version of this log was shown to others: {_unwitnessed(case)}",
        "the times: they are those of the signers' clocks",
        "that plan.json says the same as the plan statement, which names its digest",
    ]
    return tuple(lines)
