"""Checks 18 to 21: the certificate is the last word, and says nothing better than the statements before it."""

from collections import Counter, defaultdict

from domicile_audit.case import Case, Statement, require
from domicile_audit.says import VERDICTS

MAY_HOLD_RESIDUE = ("blocked-until", "held", "present")
MAY_BE_UNSEEN = ("key-destroyed", "unknown")  # beside these, where residue was found and a later sweep looks elsewhere
LEFT = ("live-rows", "present")  # kind and verdict of a copy that says that rows are left
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
    same = case.files.get("certificate.dsse.json") == case.entries[-1]
    require(same, "certificate.dsse.json is missing, or is not that of the log")


def check_verdicts(case: Case) -> None:
    """Check 19 (P3, P7, P11): each planned copy has one verdict that the log backs, and the worst is the whole's."""
    certificate, stated = case.statements[-1], case.statements[-1]["verdict"]
    odd = min(case.plan.copies.keys() ^ certificate.copies.keys(), default=None)
    require(odd is None, f"copy {odd} is planned and has no verdict, or has one and is not planned")
    _check_found(case, certificate)
    _check_swept(case, [id_ for id_, copy in certificate.copies.items() if copy["verdict"] == "erased-verified"])
    worst = max((copy["verdict"] for copy in certificate["copies"]), key=VERDICTS.index)
    require(stated == worst, f"the certificate says {stated}, its worst copy is {worst}")
    _check_left(case)


def _check_found(case: Case, certificate: Statement) -> None:
    """Check 19 goes on: what was found in a copy when it was last looked at is still there, or its key is gone.

    Of a copy called key-destroyed the same key was announced, then gone, and didn't come back: after the last erasure
    of rows, and after that look if residue was found then, since it could be read. What is blocked has a date to come,
    and nothing else has a date.
    """
    sweeps = case.of("sweep/v1")
    looks = {one["id"]: (sweep, one["residue"]) for sweep in sweeps for one in sweep["copies"]}  # the last of each copy
    of_rows = [one for one in case.of("erasure/v1") if one["dataset"] not in case.object_stores or one["emptied"]]
    never = case.size  # no statement stands behind this place
    told = defaultdict[str, list[Statement]](list)
    for finding in case.of("finding/v1"):
        if finding["kind"] in KEY_STORY:
            told[finding["where"]].append(finding)
    for id_, copy in certificate.copies.items():
        verdict, until = copy["verdict"], copy["until"]
        where = f"copy {id_} is called {verdict}"
        dated = (until is not None) == (verdict == "blocked-until")
        require(dated, f"{where}: a date belongs to blocked-until and only to it")
        require(until is None or until > certificate["issued_at"], f"{where}: {until} is over")
        in_use = case.plan.copies[id_]["kind"] in IN_USE
        look, residue = looks.get(id_, (case.plan, 0))
        unseen = verdict in MAY_BE_UNSEEN and look is not sweeps[-1] and not in_use if residue else True
        require(unseen or verdict in MAY_HOLD_RESIDUE, f"{where}, and holds residue")
        back = [finding["kind"] for finding in told[id_]][-1:] == KEY_STORY[2:]
        require(not back or verdict in (*MAY_HOLD_RESIDUE, "unknown"), f"{where}, and its key came back")
        if verdict == "key-destroyed":
            since = max(of_rows[-1].index, look.index if residue else 0) if of_rows else never
            story = [finding for finding in told[id_] if finding.index > since]
            backed = [finding["kind"] for finding in story] == KEY_STORY[:2] and story[0]["text"] == story[1]["text"]
            require(backed and not in_use, f"{where}, and the log doesn't tell of its key's destruction since")


def _check_swept(case: Case, best: list[str]) -> None:
    """Check 19 goes on: copies called erased-verified were searched after the last erasure, and nothing was found."""
    sweep = valid_sweep(case)
    read = {copy["id"]: copy for copy in sweep["copies"]} if sweep else {}
    for id_ in best:
        require(id_ in read, f"copy {id_} is called erased-verified, but was not swept after the last erasure")
        require(not read[id_]["hits"], f"copy {id_} is called erased-verified, but {sweep} found something in it")
    if sweep and best:
        where, parts = f"copy {best[0]} is called erased-verified by a sweep that", case.slices.values()
        require(sweep["tokens"]["searched"], f"{where} searched for nothing")
        require(any(copy["bytes"] for copy in read.values()), f"{where} read nothing")
        erased_of = {part["dataset"] for part in parts if any(part["erase"].values())} - case.object_stores
        require(sweep["rows"]["datasets"] >= len(erased_of), f"{where} asked of fewer datasets than were erased")


def _check_left(case: Case) -> None:
    """Check 19 goes on: rows that are left show in a copy of their store called present, objects in one called held.

    Rows found by query stand until a later sweep asks of as many datasets. They, and people who went after the last
    freeze, are of no one store.
    """
    judged, but = case.statements[-1].copies, "but no copy of live rows is called present"
    held = [case.plan.copies[id_] for id_, copy in judged.items() if copy["verdict"] in MAY_HOLD_RESIDUE]
    holding = {copy["store"] for copy in held}
    present = {copy["store"] for copy in held if (copy["kind"], judged[copy["id"]]["verdict"]) == LEFT}
    frozen = not case.live or case.last_step.kind == "freeze/v1"
    require(present or frozen, f"people went in cohorts and nothing was frozen after it, {but}")
    asked = found = 0
    for sweep in case.of("sweep/v1"):
        found = sweep["rows"]["hits"] + (found if sweep["rows"]["datasets"] < asked else 0)
        asked = max(asked, sweep["rows"]["datasets"])
    require(present or found == 0, f"sweeps found {found} rows by query, {but}")
    back: dict[str, int] = {}  # by dataset, the rows that came back and were not erased again, all of them or none left
    for finding in case.of("finding/v1"):
        if finding["kind"] == BACK:
            back[finding["where"]] = finding["count"]
        if finding["kind"] == AGAIN and finding["count"] in (0, back.get(finding["where"])):
            back.pop(finding["where"], None)
    for dataset in back:
        require(dataset.partition(".")[0] in present, f"rows of {dataset} came back, {but}")
    gone = erased(case)
    for id_, planned in case.slices.items():
        store, dot, _ = planned["dataset"].partition(".")
        as_planned = gone.get(id_, (0, 0)) == (planned["erase"]["delete"], planned["erase"]["blank"])
        where = f"slice {id_} is not erased as planned"
        require(as_planned or not dot or store in present, f"{where}, {but}")
        require(as_planned or dot or store in holding, f"{where}, but no copy of {store} is called held")


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
    looks = case.of("sweep/v1", "erasure/v1", "finding/v1")
    told = [one for one in looks if one.kind != "finding/v1" or one["kind"] in VOIDS]
    return told[-1] if told and told[-1].kind == "sweep/v1" and case.of("erasure/v1") else None


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
