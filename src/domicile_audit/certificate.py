"""Checks 18 to 21: the certificate is the last word, and says nothing better than the statements before it."""

from collections import Counter, defaultdict

from domicile_audit.case import Case, Part, Statement, require
from domicile_audit.statements import VERDICTS

MAY_HOLD_RESIDUE = ("blocked-until", "held", "present")
MAY_BE_LEFT_OUT = ("key-destroyed", "unknown")  # where residue was found, by a sweep after that
IN_USE = ("live-rows", "objects", "derived-table")  # kinds of copies whose key nobody destroys
KEY_STORY = ["key to be destroyed", "key destroyed", "key came back"]  # the third one must not be told
BACK, AGAIN = "came back", "erased again"  # findings: of rows
VOIDS = (BACK, AGAIN, "objects came back")  # what was searched before one of these tells nothing
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
    copies, stated = case.statements[-1]["copies"], case.statements[-1]["verdict"]
    judged = Counter(copy["id"] for copy in copies)
    for copy in case.plan["copies"]:
        require(judged[copy["id"]] == 1, f"the certificate does not judge the planned {copy['id']} exactly once")
    require(len(judged) == len(case.plan["copies"]), "the certificate judges a copy that is not planned")
    for copy in copies:
        id_, until = copy["id"], copy["until"]
        dated = (until is not None) == (copy["verdict"] == "blocked-until")
        require(dated, f"copy {id_}: a date belongs to blocked-until and only to it")
        require(until is None or until > case.statements[-1]["issued_at"], f"copy {id_}: {until} is over")
    _check_swept(case, copies)
    _check_keys(case, copies)
    worst = max((copy["verdict"] for copy in copies), key=VERDICTS.index)
    require(stated == worst, f"the certificate says {stated}, its worst copy is {worst}")
    _check_left(case)


def _check_swept(case: Case, copies: list[Part]) -> None:
    """Check 19 goes on: what a verdict says of a copy is what was found when it was last looked at."""
    sweep, looks, last = valid_sweep(case), last_looks(case), case.of("sweep/v1")[-1:]
    has_read = sweep is not None and any(read["bytes"] for read in sweep["copies"])
    hits = {read["id"]: read["hits"] for read in sweep["copies"]} if sweep else {}
    kinds = {copy["id"]: copy["kind"] for copy in case.plan["copies"]}
    erased_of = {part["dataset"] for part in case.slices.values() if any(part["erase"].values())} - case.object_stores
    for copy in copies:
        where, verdict = f"copy {copy['id']} is called {copy['verdict']}", copy["verdict"]
        look, residue = looks.get(copy["id"], (None, 0))
        known = look in last or kinds[copy["id"]] in IN_USE
        may = MAY_HOLD_RESIDUE if known else (*MAY_HOLD_RESIDUE, *MAY_BE_LEFT_OUT)
        require(residue == 0 or verdict in may, f"{where}, and holds residue")
        if verdict == "erased-verified":
            require(sweep and sweep is look, f"{where}, but was not swept after the last erasure")
            require(sweep and sweep["tokens"]["searched"], f"{where} by a sweep that searched for nothing")
            require(has_read, f"{where} by a sweep that read nothing")
            require(not hits.get(copy["id"]), f"{where} by a sweep that found something in it")
            asked = sweep is not None and sweep["rows"]["datasets"] >= len(erased_of)
            require(asked, f"{where} by a sweep that asked of fewer datasets than were erased")


def _check_keys(case: Case, copies: list[Part]) -> None:
    """Check 19 goes on: after the last erasure of rows the same key was announced, then gone, and didn't come back.

    And after the last look at the copy, if residue was found then: it could be read.
    """
    erasures = [one.index for one in case.of("erasure/v1") if one["dataset"] not in case.object_stores]
    read = {id_: look.index for id_, (look, residue) in last_looks(case).items() if residue}
    told = defaultdict[str, list[tuple[str, str]]](list)
    for finding in case.of("finding/v1"):
        since = max(erasures[-1], read.get(finding["where"], 0)) if erasures else case.size
        if finding["kind"] in KEY_STORY and finding.index > since:
            told[finding["where"]].append((finding["kind"], finding["text"]))
    kinds = {copy["id"]: copy["kind"] for copy in case.plan["copies"]}
    last_word = {finding["where"]: finding["kind"] for finding in case.of("finding/v1") if finding["kind"] in KEY_STORY}
    for copy in copies:
        story, keys = [kind for kind, _ in told[copy["id"]]], {key for _, key in told[copy["id"]]}
        back = last_word.get(copy["id"]) == KEY_STORY[2]
        openable = not back or copy["verdict"] in (*MAY_HOLD_RESIDUE, "unknown")
        require(openable, f"copy {copy['id']} is called {copy['verdict']}, and its key came back")
        if copy["verdict"] == "key-destroyed":
            backed = story == KEY_STORY[:2] and len(keys) == 1 and kinds[copy["id"]] not in IN_USE
            require(backed, f"copy {copy['id']}: the log doesn't tell of its key's destruction after the last erasure")


def _check_left(case: Case) -> None:
    """Check 19 goes on: rows that are left show in a copy called present, objects in a copy of their store."""
    verdicts = {copy["id"]: copy["verdict"] for copy in case.statements[-1]["copies"]}
    rows = [copy["id"] for copy in case.plan["copies"] if copy["kind"] == "live-rows"]
    present, but = any(verdicts[id_] == "present" for id_ in rows), "but no copy of live rows is called present"
    frozen = not case.live or case.last_step.kind == "freeze/v1"
    require(present or frozen, f"people went in cohorts and nothing was frozen after it, {but}")
    hits = rows_found(case)
    require(present or hits == 0, f"the sweep found {hits} rows by query, {but}")
    back: dict[str, int] = {}  # by dataset, the rows that came back and were not erased again, all of them or none left
    for finding in case.of("finding/v1"):
        if finding["kind"] == BACK:
            back[finding["where"]] = finding["count"]
        if finding["kind"] == AGAIN and finding["count"] in (0, back.get(finding["where"])):
            back.pop(finding["where"], None)
    require(present or not back, f"rows of {min(back, default='')} came back, {but}")
    holding = {copy["store"] for copy in case.plan["copies"] if verdicts[copy["id"]] in MAY_HOLD_RESIDUE}
    gone = erased(case)
    for id_, planned in case.slices.items():
        store, where = planned["dataset"], f"slice {id_} is not erased as planned"
        as_planned = gone.get(id_, (0, 0)) == (planned["erase"]["delete"], planned["erase"]["blank"])
        if store in case.object_stores:
            require(as_planned or store in holding, f"{where}, but no copy of {store} is called held")
        else:
            require(as_planned or present, f"{where}, {but}")


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


def valid_sweep(case: Case) -> Statement | None:
    """The last sweep, if an erasure stands before it, and after it neither one nor what came back."""
    sweep, erasures = next(reversed(case.of("sweep/v1")), None), case.of("erasure/v1")
    back = [one for one in case.of("finding/v1") if one["kind"] in VOIDS]
    return sweep if sweep and erasures and all(one.index < sweep.index for one in (*erasures, *back)) else None


def last_looks(case: Case) -> dict[str, tuple[Statement, int]]:
    """By copy the last sweep that lists it, with the residue: a later one that leaves it out takes nothing back."""
    return {one["id"]: (sweep, one["residue"]) for sweep in case.of("sweep/v1") for one in sweep["copies"]}


def rows_found(case: Case) -> int:
    """Rows found by query: by the last sweep that asked of as many datasets as any before it."""
    asked = hits = 0
    for sweep in case.of("sweep/v1"):
        if sweep["rows"]["datasets"] >= asked:
            asked, hits = sweep["rows"]["datasets"], sweep["rows"]["hits"]
    return hits


def count_rows(case: Case) -> dict[str, dict[str, Counter[str]]]:
    """Rows by dataset and home: moved (equal when last compared under the fence), deleted, blanked, kept (the rest)."""
    last = [one for one in case.of("equality/v1") if one["fenced"] and one.index > case.last_step.index][-1:]
    equal = {part["id"]: part["rows"] for one in last for part in one["slices"] if part["source"] == part["home"]}
    gone = erased(case)
    counts: dict[str, dict[str, Counter[str]]] = {}
    for id_, planned in case.slices.items():
        moved = planned["rows"] if equal.get(id_) == planned["rows"] else 0
        deleted, blanked = gone.get(id_, (0, 0))
        row = counts.setdefault(planned["dataset"], {}).setdefault(planned["home"], Counter())
        row.update(moved=moved, deleted=deleted, blanked=blanked, kept=moved - deleted - blanked)
    return counts


def erased(case: Case) -> dict[str, tuple[int, int]]:
    """Rows deleted and blanked, by slice, from the outcomes."""
    outcomes = [one for one in case.of("erasure/v1") if one["phase"] == "outcome"]
    return {part["id"]: (part["deleted"], part["blanked"]) for one in outcomes for part in one["slices"]}
