"""Checks 18 to 21: the certificate is the last word, and says nothing better than the statements before it."""

from collections import Counter, defaultdict

from domicile_audit.case import STEPS, Case, Part, Statement, require
from domicile_audit.statements import VERDICTS

MAY_HOLD_RESIDUE = ("blocked-until", "held", "present")
KEY_STORY = ["key to be destroyed", "key destroyed", "key came back"]  # the third one must not be told
CLOCKS = ("made_at", "fenced_at", "frozen_at", "done_at", "counted_at", "swept_at", "issued_at")  # the engine's


def check_certificate(case: Case) -> None:
    """Check 18 (P10): there is one, it is the last statement, and the file of that name is the same bytes."""
    require(case.of("certificate/v1"), "no certificate: the run is not finished")
    last = case.statements[-1]
    require(last.kind == "certificate/v1", "the certificate is not the last statement; it may no longer hold")
    require("certificate.dsse.json" in case.files, "certificate.dsse.json is missing")
    require(case.files["certificate.dsse.json"] == case.entries[-1], "certificate.dsse.json is not that of the log")


def check_verdicts(case: Case) -> None:
    """Check 19 (P3, P7, P11): each planned copy has one verdict that the log backs, and the worst is the whole's."""
    copies, whole = case.statements[-1]["copies"], case.statements[-1]["verdict"]
    judged = Counter(copy["id"] for copy in copies)
    for copy in case.plan["copies"]:
        require(judged[copy["id"]] == 1, f"the certificate does not judge the planned {copy['id']} exactly once")
    require(len(judged) == len(case.plan["copies"]), "the certificate judges a copy that is not planned")
    for copy in copies:
        dated = (copy["until"] is not None) == (copy["verdict"] == "blocked-until")
        require(dated, f"copy {copy['id']}: a date belongs to blocked-until and only to it")
    _check_swept(case, copies)
    _check_keys(case, copies)
    worst = max((copy["verdict"] for copy in copies), key=VERDICTS.index)
    require(whole == worst, f"the certificate says {whole}, its worst copy is {worst}")
    _check_left(case)


def _check_swept(case: Case, copies: list[Part]) -> None:
    """Check 19 goes on: what a verdict says of a copy is what the last sweep found in it."""
    sweep = last_sweep(case)
    residue = {copy["id"]: copy["residue"] for copy in sweep["copies"]} if sweep else {}
    for copy in copies:
        where = f"copy {copy['id']} is called {copy['verdict']}"
        require(residue.get(copy["id"], 0) == 0 or copy["verdict"] in MAY_HOLD_RESIDUE, f"{where}, and holds residue")
        if copy["verdict"] == "erased-verified":
            require(copy["id"] in residue, f"{where}, but was not swept after the last erasure")
            require(sweep and sweep["tokens"]["searched"], f"{where} by a sweep that searched for nothing")


def _check_keys(case: Case, copies: list[Part]) -> None:
    """Check 19 goes on: after the last erasure of rows the same key was announced, then gone, and didn't come back."""
    erasures = [one.index for one in case.of("erasure/v1") if one["dataset"] not in case.object_stores]
    told = defaultdict[str, list[tuple[str, str]]](list)
    for finding in case.of("finding/v1"):
        if finding["kind"] in KEY_STORY and erasures and finding.index > erasures[-1]:
            told[finding["where"]].append((finding["kind"], finding["text"]))
    for copy in copies:
        story, keys = [kind for kind, _ in told[copy["id"]]], {key for _, key in told[copy["id"]]}
        if copy["verdict"] == "key-destroyed":
            backed = story == KEY_STORY[:2] and len(keys) == 1
            require(backed, f"copy {copy['id']}: the log doesn't tell of its key's destruction after the last erasure")


def _check_left(case: Case) -> None:
    """Check 19 goes on: rows that are left show in a copy called present, objects in a copy of their store."""
    sweep, verdicts = last_sweep(case), {copy["id"]: copy["verdict"] for copy in case.statements[-1]["copies"]}
    present, but = "present" in verdicts.values(), "but no copy is called present"
    frozen = not case.live or case.last_step.kind == "freeze/v1"
    require(present or frozen, f"people went in cohorts and nothing was frozen after it, {but}")
    hits = sweep["rows"]["hits"] if sweep else 0
    require(present or hits == 0, f"the sweep found {hits} rows by query, {but}")
    holding = {copy["store"] for copy in case.plan["copies"] if verdicts[copy["id"]] in MAY_HOLD_RESIDUE}
    gone = erased(case)
    for id_, planned in case.slices.items():
        store, where = planned["dataset"], f"slice {id_} is not erased as planned"
        whole = gone.get(id_, (0, 0)) == (planned["erase"]["delete"], planned["erase"]["blank"])
        if store in case.object_stores:
            require(whole or store in holding, f"{where}, but no copy of {store} is called held")
        else:
            require(whole or present, f"{where}, {but}")


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


def last_sweep(case: Case) -> Statement | None:
    """The last sweep, if no erasure (and no cohort or freeze) came after it."""
    sweep = next(reversed(case.of("sweep/v1")), None)
    later = case.of("erasure/v1", *STEPS)
    return sweep if sweep and (not later or sweep.index > later[-1].index) else None


def count_rows(case: Case) -> dict[str, dict[str, Counter[str]]]:
    """Rows by dataset and home: moved (equal under the fence), deleted, blanked, and kept (the rest)."""
    fenced = [one for one in case.of("equality/v1") if one["fenced"] and one.index > case.last_step.index]
    equal = {part["id"]: part["rows"] for one in fenced for part in one["slices"] if part["source"] == part["home"]}
    gone = erased(case)
    counts: dict[str, dict[str, Counter[str]]] = {}
    for id_, planned in case.slices.items():
        moved, (deleted, blanked) = equal.get(id_, 0), gone.get(id_, (0, 0))
        row = counts.setdefault(planned["dataset"], {}).setdefault(planned["home"], Counter())
        row.update(moved=moved, deleted=deleted, blanked=blanked, kept=moved - deleted - blanked)
    return counts


def erased(case: Case) -> dict[str, tuple[int, int]]:
    """Rows deleted and blanked, by slice, from the outcomes."""
    outcomes = [one for one in case.of("erasure/v1") if one["phase"] == "outcome"]
    return {part["id"]: (part["deleted"], part["blanked"]) for one in outcomes for part in one["slices"]}
