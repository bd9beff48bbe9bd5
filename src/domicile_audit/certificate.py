"""Checks 18 to 21: the certificate is the last word, and says nothing better than the statements before it."""

from collections import Counter, defaultdict

from domicile_audit.case import Case, Part, Statement, require
from domicile_audit.statements import COUNTS, VERDICTS

MAY_HOLD_RESIDUE = ("blocked-until", "held", "present")
KEY_STORY = ("key to be destroyed", "key destroyed")
KEY_CAME_BACK = "key came back"
CLOCKS = (
    "made_at",
    "fenced_at",
    "frozen_at",
    "done_at",
    "counted_at",
    "swept_at",
    "issued_at",
)  # by the engine's clock


def check_certificate(case: Case) -> None:
    """Check 18 (P10): there is one, it is the last statement, and the file of that name is the same bytes."""
    require(bool(case.of("certificate/v1")), "no certificate: the run is not finished")
    last = case.statements[-1]
    require(last.kind == "certificate/v1", "the certificate is not the last statement; it may no longer hold")
    require("certificate.dsse.json" in case.files, "certificate.dsse.json is missing")
    same = case.files["certificate.dsse.json"] == case.entries[-1]
    require(same, "certificate.dsse.json is not the certificate of the log")


def check_verdicts(case: Case) -> None:
    """Check 19 (P3, P7, P11): each planned copy has one verdict that the log backs, and the worst is the whole's."""
    certificate, planned = case.statements[-1], case.plan["copies"]
    judged = Counter(copy["id"] for copy in certificate["copies"])
    for id_ in [copy["id"] for copy in planned]:
        require(judged[id_] == 1, f"the certificate does not judge the copy {id_} of the plan exactly once")
    require(len(judged) == len(planned), "the certificate judges a copy that is not planned")
    sweep = last_sweep(case)
    found = {copy["id"]: copy for copy in sweep["copies"]} if sweep else {}
    for copy in certificate["copies"]:
        _check_copy(copy, found.get(copy["id"]), sweep["tokens"]["searched"] if sweep else 0)
    _check_keys(case)
    worst = max((copy["verdict"] for copy in certificate["copies"]), key=VERDICTS.index)
    same = certificate["verdict"] == worst
    require(same, f"the certificate says {certificate['verdict']}, its worst copy is {worst}")
    _check_left(case, sweep)


def _check_copy(copy: Part, found: Part | None, searched: int) -> None:
    """Check 19 goes on: what a verdict says of one copy is what the last sweep found in it."""
    id_, verdict = copy["id"], copy["verdict"]
    dated = copy["until"] is not None
    require(dated == (verdict == "blocked-until"), f"copy {id_}: a date belongs to blocked-until and only to it")
    clean = found is None or found["residue"] == 0 or verdict in MAY_HOLD_RESIDUE
    require(clean, f"copy {id_} holds residue, but is called {verdict}")
    if verdict == "erased-verified":
        require(found is not None, f"copy {id_} is called erased-verified, but was not swept after the last erasure")
        require(searched > 0, f"copy {id_} is called erased-verified by a sweep that searched for nothing")


def _check_keys(case: Case) -> None:
    """Check 19 goes on: after the last erasure of rows the same key was announced, then gone, and didn't come back."""
    erasures = [one.index for one in case.of("erasure/v1") if one["dataset"] not in case.object_stores]
    told = defaultdict[str, list[tuple[str, str]]](list)
    for finding in case.of("finding/v1"):
        if finding["kind"] in (*KEY_STORY, KEY_CAME_BACK) and erasures and finding.index > erasures[-1]:
            told[finding["where"]].append((finding["kind"], finding["text"]))
    for id_ in [copy["id"] for copy in case.statements[-1]["copies"] if copy["verdict"] == "key-destroyed"]:
        in_order = tuple(kind for kind, _ in told[id_]) == KEY_STORY
        of_one_key = len({text for _, text in told[id_]}) == 1
        but = "but the log doesn't tell of its key's destruction after the last erasure"
        require(in_order and of_one_key, f"copy {id_} is called key-destroyed, {but}")


def _check_left(case: Case, sweep: Statement | None) -> None:
    """Check 19 goes on: rows that are left show in a copy called present, objects in a copy of their store."""
    certificate, but = case.statements[-1], "but no copy is called present"
    present = certificate["verdict"] == "present"
    frozen = not case.live or case.statements[case.since].kind == "freeze/v1"
    require(present or frozen, f"people went in cohorts and nothing was frozen after it, {but}")
    hits = sweep["rows"]["hits"] if sweep else 0
    require(present or hits == 0, f"the sweep found {hits} rows by query, {but}")
    verdicts = {copy["id"]: copy["verdict"] for copy in certificate["copies"]}
    holding = {copy["store"] for copy in case.plan["copies"] if verdicts[copy["id"]] in MAY_HOLD_RESIDUE}
    gone = erased(case)
    for id_, planned in case.slices.items():
        store = planned["dataset"]
        whole = gone.get(id_, (0, 0)) == (planned["erase"]["delete"], planned["erase"]["blank"])
        if store in case.object_stores:
            told = whole or store in holding
            require(told, f"slice {id_} is not erased as planned, but no copy of {store} is called held")
        else:
            require(whole or present, f"slice {id_} is not erased as planned, {but}")


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
    since = max([case.since, *(erasure.index for erasure in case.of("erasure/v1"))])
    return sweep if sweep and sweep.index > since else None


def count_rows(case: Case) -> dict[str, dict[str, dict[str, int]]]:
    """Rows by dataset and home: moved (equal under the fence), deleted, blanked, and kept (the rest)."""
    equal = {
        part["id"]: part["rows"]
        for statement in case.of("equality/v1")
        for part in statement["slices"]
        if statement.index > case.since and statement["fenced"] and part["source"] == part["home"]
    }
    gone = erased(case)
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for id_, planned in case.slices.items():
        row = counts.setdefault(planned["dataset"], {}).setdefault(planned["home"], dict.fromkeys(COUNTS, 0))
        moved, (deleted, blanked) = equal.get(id_, 0), gone.get(id_, (0, 0))
        for name, rows in zip(COUNTS, (moved, deleted, blanked, moved - deleted - blanked), strict=True):
            row[name] += rows
    return counts


def erased(case: Case) -> dict[str, tuple[int, int]]:
    """Rows deleted and blanked, by slice, from the outcomes."""
    return {
        part["id"]: (part["deleted"], part["blanked"])
        for statement in case.of("erasure/v1")
        for part in statement["slices"]
        if statement["phase"] == "outcome"
    }
