"""Checks 18 to 21: the certificate is the last word, and says nothing better than the statements before it."""

from collections import Counter, defaultdict

from domicile_audit.case import Case, Statement, require
from domicile_audit.says import VERDICTS

# Verdicts that say that something is left, or may be; and those that say that nobody has read the copy, or can read it.
SAY_WHAT_IS_LEFT, SAY_THAT_NOBODY_READ_IT = ("blocked-until", "held", "present"), ("unknown", "key-destroyed")
LIVE, IN_USE = "live-rows", ("live-rows", "objects", "derived-table")  # kinds of copies; what is in use keeps its key
ANNOUNCED, GONE, RETURNED = "key to be destroyed", "key destroyed", "key came back"  # findings: of a copy's key
BACK, AGAIN = "came back", "erased again"  # findings: of a dataset's rows
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
    """Check 19 goes on, copy by copy: its date, the residue that was found in it, its key.

    Residue is still there until the copy is read again without it, and the verdict says so; a copy that the last sweep
    left out may instead be called unknown, or lost to whoever has no key. What is in use is neither.
    """
    sweeps, keys = case.of("sweep/v1"), defaultdict[str, list[Statement]](list)
    looks = {one["id"]: (sweep, one["residue"]) for sweep in sweeps for one in sweep["copies"]}  # the last of each
    for finding in case.of("finding/v1"):
        if finding["kind"] in (ANNOUNCED, GONE, RETURNED):
            keys[finding["where"]].append(finding)
    of_rows = [one for one in case.of("erasure/v1") if one["dataset"] not in case.object_stores or one["emptied"]]
    for id_, copy in certificate.copies.items():
        verdict, until, in_use = copy["verdict"], copy["until"], case.plan.copies[id_]["kind"] in IN_USE
        where, (look, residue) = f"copy {id_} is called {verdict}", looks.get(id_, (case.plan, 0))
        dated = (until is not None) == (verdict == "blocked-until")
        require(dated, f"{where}: a date belongs to blocked-until and only to it")
        require(until is None or until > certificate["issued_at"], f"{where}: {until} is over")
        unread = verdict in SAY_THAT_NOBODY_READ_IT and look not in sweeps[-1:] and not in_use
        require(not residue or unread or verdict in SAY_WHAT_IS_LEFT, f"{where}, and holds residue")
        back = [finding["kind"] for finding in keys[id_]][-1:] == [RETURNED]
        require(not back or verdict in ("unknown", *SAY_WHAT_IS_LEFT), f"{where}, and its key came back")
        if verdict == "key-destroyed":
            since = max(of_rows[-1].index, look.index if residue else 0) if of_rows else case.size
            gone = not in_use and _is_destroyed([finding for finding in keys[id_] if finding.index > since])
            require(gone, f"{where}, and the log doesn't tell of its key's destruction since")


def _is_destroyed(key: list[Statement]) -> bool:
    """Whether these findings of a key are two: it was to be destroyed, and that very key was."""
    return [finding["kind"] for finding in key] == [ANNOUNCED, GONE] and key[0]["text"] == key[1]["text"]


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
    """Check 19 goes on: rows that are left show in live rows of their store called present, objects in a copy held.

    Rows found by query, and people who went after the last freeze, are of no one store.
    """
    judged, but = case.statements[-1].copies, "but no copy of live rows is called present"
    left = [(case.plan.copies[id_], copy["verdict"]) for id_, copy in judged.items()]
    present = {copy["store"] for copy, verdict in left if (copy["kind"], verdict) == (LIVE, "present")}
    holding = {copy["store"] for copy, verdict in left if verdict in SAY_WHAT_IS_LEFT}
    frozen = not case.live or case.last_step.kind == "freeze/v1"
    require(present or frozen, f"people went in cohorts and nothing was frozen after it, {but}")
    found = _found_by_query(case)
    require(present or found == 0, f"sweeps found {found} rows by query, {but}")
    for dataset in _came_back(case):
        require(dataset.partition(".")[0] in present, f"rows of {dataset} came back, {but}")
    gone = erased(case)
    for id_, planned in case.slices.items():
        if gone.get(id_, (0, 0)) != (planned["erase"]["delete"], planned["erase"]["blank"]):
            store, is_rows, _ = planned["dataset"].partition(".")
            where = f"slice {id_} is not erased as planned"
            require(not is_rows or store in present, f"{where}, {but}")
            require(is_rows or store in holding, f"{where}, but no copy of {store} is called held")


def _found_by_query(case: Case) -> int:
    """Rows of theirs that queries found at the source, until a sweep asks of as many datasets and finds fewer."""
    found = most = 0
    for sweep in case.of("sweep/v1"):
        asked, hits = sweep["rows"]["datasets"], sweep["rows"]["hits"]
        found, most = (hits if asked >= most else found + hits), max(most, asked)
    return found


def _came_back(case: Case) -> dict[str, int]:
    """Of each dataset the rows that came back and were not erased again, told of all of them or of none left."""
    back: dict[str, int] = {}
    for finding in case.of("finding/v1"):
        dataset, count = finding["where"], finding["count"]
        if finding["kind"] == BACK:
            back[dataset] = count
        elif finding["kind"] == AGAIN and count in (0, back.get(dataset)):
            back.pop(dataset, None)
    return back


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
