"""Checks 18, 20 and 21: the certificate is the last word, its numbers are those of the log, and time went forward."""

from collections import Counter

from domicile_audit.case import Case, require

CLOCKS = ("made_at", "fenced_at", "frozen_at", "done_at", "counted_at", "swept_at", "issued_at")  # the engine's


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
    """Check 21: the engine's clock did not run backwards along the log (its times are claims, not proofs)."""
    latest = case.plan["made_at"]
    for statement in case.statements:
        said = statement["restore"] if statement.kind == "clearance/v1" else statement.predicate
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
