"""Checks 18 to 21: the certificate is the last word, and says nothing better than the statements before it."""

from collections import Counter, defaultdict

from domicile_audit.case import Case, Part, Statement, require
from domicile_audit.says import AGAIN, ANNOUNCED, BACK, DESTROYED, OBJECTS_BACK, RETURNED, VERDICTS

# Verdicts: that something is left, or may be; that don't say that it is gone; that nobody reads it.
SAY_WHAT_IS_LEFT = ("blocked-until", "held", "present")
NOT_GONE, NOT_READ = ("unknown", *SAY_WHAT_IS_LEFT), ("unknown", "key-destroyed")
LIVE, OBJECTS, IN_USE = "live-rows", "objects", ("live-rows", "objects", "derived-table")  # kinds of copies
CLOCKS = ("made_at", "fenced_at", "frozen_at", "done_at", "counted_at", "swept_at", "issued_at")  # the engine's


def check_certificate(case: Case) -> None:
    """Check 18 (P10): the last statement is one, and the file of that name is the same bytes."""
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
    called = defaultdict[str, list[str]](list)
    for id_, copy in certificate.copies.items():
        called[copy["verdict"]].append(id_)
    _check_each(case, certificate)
    _check_searched(case, called["erased-verified"])
    worst = max(called, key=VERDICTS.index)
    require(stated == worst, f"the certificate says {stated}, its worst copy is {worst}")
    _check_left(case)
    for id_ in called["erased-unverified"]:
        require(case.outcomes, f"copy {id_} is called erased-unverified, and nothing was erased")


def _check_each(case: Case, certificate: Statement) -> None:
    """Check 19 goes on, copy by copy: its date, what was found in it, what came back to it, its key."""
    looks = [(sweep, one) for sweep in case.of("sweep/v1") for one in _looked_at(sweep)]
    last_look = {one["id"]: (sweep, one["residue"]) for sweep, one in looks}
    keys, back = _findings(case, ANNOUNCED, DESTROYED, RETURNED), _findings(case, OBJECTS_BACK)
    of_rows = [one for one in case.of("erasure/v1") if one["dataset"] not in case.object_stores or one["emptied"]]
    rows_gone = of_rows if any(one["phase"] == "outcome" for one in of_rows) else []
    for id_, copy in certificate.copies.items():
        verdict, planned = copy["verdict"], case.plan.copies[id_]
        where, in_use = f"copy {id_} is called {verdict}", planned["kind"] in IN_USE
        _check_date(where, verdict, copy["until"], certificate["issued_at"])
        look, residue = last_look.get(id_, (case.plan, 0))  # the plan: it was never read
        if residue:
            _check_residue(where, verdict, left_out=look is not looks[-1][0] and not in_use)
        if planned["kind"] == OBJECTS and back[planned["store"]]:
            searched = back[planned["store"]][-1].index < look.index
            require(searched or verdict in NOT_GONE, f"{where}, and objects came back since it was searched")
        if any(finding["kind"] == RETURNED for finding in keys[id_]):
            require(verdict in NOT_GONE or _is_destroyed(keys[id_][-2:]), f"{where}, and its key came back")
        if verdict == "key-destroyed":
            require(rows_gone and not in_use, f"{where}, and it is in use, or no rows were erased")
            readable = max(rows_gone[-1].index, look.index if residue else 0)  # until then it could be read
            gone = _is_destroyed([finding for finding in keys[id_] if finding.index > readable])
            require(gone, f"{where}, and the log doesn't tell of its key's destruction since")


def _check_date(where: str, verdict: str, until: str | None, issued_at: str) -> None:
    """Check 19 goes on: what is blocked has a date to come, and nothing else has a date."""
    require((until is not None) == (verdict == "blocked-until"), f"{where}: a date belongs to blocked-until alone")
    require(until is None or until > issued_at, f"{where}: {until} is over")


def _check_residue(where: str, verdict: str, *, left_out: bool) -> None:
    """Check 19 goes on: what was found when a copy was read last is still there.

    Of a copy that later sweeps left out nobody may know, or nobody be able to read it any more.
    """
    told = verdict in SAY_WHAT_IS_LEFT or (left_out and verdict in NOT_READ)
    require(told, f"{where}, and holds residue")


def _is_destroyed(key: list[Statement]) -> bool:
    """Whether these findings are two: that a key is to be destroyed, and was; their text says which."""
    return [finding["kind"] for finding in key] == [ANNOUNCED, DESTROYED] and key[0]["text"] == key[1]["text"]


def is_search(sweep: Statement) -> bool:
    """Whether this sweep searched for something, and read something."""
    return sweep["tokens"]["searched"] > 0 and any(copy["bytes"] for copy in sweep["copies"])


def _looked_at(sweep: Statement) -> list[Part]:
    """The copies of which this sweep tells something: all, if it is a search; else those with residue."""
    searched = is_search(sweep)
    return [one for one in sweep["copies"] if searched or one["residue"]]


def _findings(case: Case, *kinds: str) -> defaultdict[str, list[Statement]]:
    """The findings of these kinds by what they are of, in the order of the log."""
    told = defaultdict[str, list[Statement]](list)
    for finding in case.of("finding/v1"):
        if finding["kind"] in kinds:
            told[finding["where"]].append(finding)
    return told


def _check_searched(case: Case, best: list[str]) -> None:
    """Check 19 goes on: copies called erased-verified were searched after the last erasure, and nothing was found."""
    sweep = valid_sweep(case)
    hits = {copy["id"]: copy["hits"] for copy in sweep["copies"]} if sweep else {}
    for id_ in best:
        where = f"copy {id_} is called erased-verified, but"
        require(id_ in hits, f"{where} was not swept after the last erasure")
        require(hits[id_] == 0, f"{where} {sweep} found something in it")
    if sweep and best:
        where, parts = f"copy {best[0]} is called erased-verified by a sweep that", case.slices.values()
        require(is_search(sweep), f"{where} searched for nothing, or read nothing")
        erased_of = {part["dataset"] for part in parts if any(part["erase"].values())} - case.object_stores
        require(sweep["rows"]["datasets"] >= len(erased_of), f"{where} asked of fewer datasets than were erased")


def _check_left(case: Case) -> None:
    """Check 19 goes on: rows that are left show in live rows of their dataset called present, objects in a copy held.

    Rows found by query, and people who went after the last freeze, are of no one dataset.
    """
    but, left = "but no copy of live rows is called present", case.statements[-1]["copies"]
    holding = {case.plan.copies[one["id"]]["store"] for one in left if one["verdict"] in SAY_WHAT_IS_LEFT}
    present = [case.plan.copies[one["id"]] for one in left if one["verdict"] == "present"]
    rows = {(copy["store"], copy["dataset"]) for copy in present if copy["kind"] == LIVE}
    require(
        rows or case.last_step.kind != "cohort/v1", f"people went in cohorts and nothing was frozen after it, {but}"
    )
    found = _found_by_query(case)
    require(rows or found == 0, f"sweeps found {found} rows by query, {but}")
    stays = {dataset: f"rows of {dataset} came back" for dataset in _came_back(case)}
    gone = erased(case)
    for id_, part in case.slices.items():
        if gone.get(id_, (0, 0)) != (part["erase"]["delete"], part["erase"]["blank"]):
            stays[part["dataset"]] = f"slice {id_} is not erased as planned"
    for dataset, what in stays.items():
        store = dataset.partition(".")[0]
        of_rows = rows & {(store, dataset), (store, None)}  # a copy of no one dataset is of all of them
        told = store in holding if dataset in case.object_stores else of_rows
        require(told, f"{what}, but no copy of {dataset} says so")


def _found_by_query(case: Case) -> int:
    """Rows of theirs that queries found at the source, until a sweep asks of as many datasets and finds fewer.

    Of 3 datasets 50 are found, then of 2 none: 50. Then of 3 datasets one: 1.
    """
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
    told = [one for one in looks if one.kind != "finding/v1" or one["kind"] in (BACK, AGAIN, OBJECTS_BACK)]
    return told[-1] if told and told[-1].kind == "sweep/v1" and case.outcomes else None


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
    return {part["id"]: (part["deleted"], part["blanked"]) for one in case.outcomes for part in one["slices"]}
