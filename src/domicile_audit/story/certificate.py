"""Checks 17, 18, 20 and 21: sweeps are of what is planned, the certificate is the last word, its numbers are the log's.

And time went forward.
"""

from collections import Counter

from domicile_audit.case import Case, require
from domicile_audit.says import ANNOUNCED, DESTROYED, OBJECTS_BACK, RETURNED

CLOCKS = ("made_at", "fenced_at", "frozen_at", "done_at", "counted_at", "swept_at", "issued_at")  # the engine's


def check_sweeps(case: Case) -> None:
    """Check 17 (P3): a sweep is about copies of the plan, each once; residue is part of the hits, rows of datasets.

    Findings about keys are about such a copy, too; those about objects that came back about a store of the plan.
    """
    for statement in case.of("sweep/v1"):
        for id_, copy in statement.copies.items():
            require(id_ in case.plan.copies, f"{statement} searched a copy that is not planned")
            require(copy["residue"] <= copy["hits"], f"{statement}: copy {id_} has more residue than hits")
        rows = statement["rows"]
        require(rows["datasets"] or not rows["hits"], f"{statement} found rows by query, and asked of no dataset")
    planned = dict.fromkeys((ANNOUNCED, DESTROYED, RETURNED), frozenset(case.plan.copies))
    planned[OBJECTS_BACK] = case.object_stores
    for finding in case.of("finding/v1"):
        known = finding["where"] in planned.get(finding["kind"], {finding["where"]})
        require(known, f"{finding}: {finding['where']} is not planned")


def check_certificate(case: Case) -> None:
    """Check 18 (P10): the last statement is one, and the file of that name is the same bytes."""
    require(case.of("certificate/v1"), "no certificate: the run is not finished")
    last = case.statements[-1]
    require(last.kind == "certificate/v1", "the certificate is not the last statement; it may no longer hold")
    same = case.files.get("certificate.dsse.json") == case.entries[-1]
    require(same, "certificate.dsse.json is missing, or is not that of the log")


def check_counts(case: Case) -> None:
    """Check 20 (P11): moved, deleted, blanked and kept rows are those of the statements; nothing unproven is hidden."""
    certificate = case.statements[-1]
    require(certificate["counts"] == count_rows(case), "the certificate's counts are not those of the statements")
    said = set(certificate["not_proven"])
    for line in case.plan["not_proven"]:
        require(line in said, f"the certificate leaves out what the plan calls not proven: {line}")


def check_times(case: Case) -> None:
    """Check 21: the engine's clock did not run backwards along the log (its times are claims, not proofs).

    A clearance may rest on the restore of one before it, with the time of that.
    """
    latest, restored = case.plan["made_at"], set[str]()
    for statement in case.statements:
        said = statement["restore"] if statement.kind == "clearance/v1" else statement.predicate
        if statement.kind == "clearance/v1" and said["done_at"] in restored:
            continue
        restored.update({said["done_at"]} if "done_at" in said else ())
        now = next((said[key] for key in CLOCKS if key in said), latest)
        require(latest <= now, f"{statement} is dated before one it follows")  # shape.py: texts in the order of times
        latest = now


def count_rows(case: Case) -> dict[str, dict[str, Counter[str]]]:
    """Rows by dataset and home: moved (equal when last compared under the fence), deleted, blanked, kept (the rest)."""
    last = [one for one in case.of("equality/v1") if one["fenced"] and one.index > case.last_step.index][-1:]
    equal = {part["id"]: part["rows"] for one in last for part in one["slices"] if part["source"] == part["home"]}
    counts: dict[str, dict[str, Counter[str]]] = {}
    for id_, planned in case.slices.items():
        moved = planned["rows"] if equal.get(id_) == planned["rows"] else 0
        deleted, blanked = case.gone.get(id_, (0, 0))
        row = counts.setdefault(planned["dataset"], {}).setdefault(planned["home"], Counter())
        row.update(moved=moved, deleted=deleted, blanked=blanked, kept=moved - deleted - blanked)
    return counts
