"""Checks 18 to 21: the certificate is the last word, and says nothing better than the statements before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from domicile_audit.case import Case, Statement, require
from domicile_audit.shape import read_time
from domicile_audit.statements import VERDICTS

MAY_HOLD_RESIDUE = ("blocked-until", "held", "present")
KEY_STORY = ("key to be destroyed", "key destroyed")
KEY_CAME_BACK = "key came back"


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
    certificate = case.statements[-1].predicate
    judged = Counter(copy["id"] for copy in certificate["copies"])
    planned = [copy["id"] for copy in case.plan["copies"]]
    for id_ in planned:
        require(judged[id_] == 1, f"the certificate does not judge the copy {id_} of the plan exactly once")
    require(judged.total() == len(planned), "the certificate judges a copy that is not planned")
    swept = last_sweep(case)
    for copy in certificate["copies"]:
        _check_copy(copy, swept)
        if copy["verdict"] == "key-destroyed":
            _check_key(case, copy["id"])
    worst = max((copy["verdict"] for copy in certificate["copies"]), key=VERDICTS.index)
    require(
        certificate["verdict"] == worst, f"the certificate says {certificate['verdict']}, its worst copy is {worst}"
    )
    if worst != "present":
        _check_nothing_left(case, swept)
    _check_objects(case)


def check_counts(case: Case) -> None:
    """Check 20 (P11): moved, deleted, blanked and kept rows are those of the statements; nothing unproven is hidden."""
    certificate = case.statements[-1].predicate
    require(certificate["counts"] == count_rows(case), "the certificate's counts are not those of the statements")
    for line in case.plan["not_proven"]:
        require(line in certificate["not_proven"], f"the certificate leaves out what the plan calls not proven: {line}")


def check_times(case: Case) -> None:
    """Check 21: the engine's clock did not run backwards along the log (its times are claims, not proofs)."""
    clocks = {
        "plan/v1": "made_at",
        "cohort/v1": "fenced_at",
        "freeze/v1": "frozen_at",
        "cutover/v1": "fenced_at",
        "sweep/v1": "swept_at",
        "certificate/v1": "issued_at",
    }
    latest = read_time(case.plan["made_at"])
    for statement in case.statements:
        if statement.kind == "clearance/v1":
            now = read_time(statement.predicate["restore"]["done_at"])
        elif statement.kind in clocks:
            now = read_time(statement.predicate[clocks[statement.kind]])
        else:
            continue
        require(latest <= now, f"statement {statement.index} ({statement.kind}) is dated before one it follows")
        latest = now


def last_sweep(case: Case) -> Statement | None:
    """The last sweep, if no erasure (and no cohort or freeze) came after it."""
    sweeps = case.of("sweep/v1")
    erasures = case.of("erasure/v1")
    if not sweeps or sweeps[-1].index < max(erasures[-1].index if erasures else 0, case.since):
        return None
    return sweeps[-1]


def count_rows(case: Case) -> dict[str, dict[str, dict[str, int]]]:
    """Rows by dataset and home: moved (equal under the fence), deleted, blanked, and kept (the rest)."""
    equal = {
        part["id"]: part["rows"]
        for statement in case.of("equality/v1")
        for part in statement.predicate["slices"]
        if statement.index > case.since and statement.predicate["fenced"] and part["source"] == part["home"]
    }
    gone = erased(case)
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for planned in case.slices.values():
        homes = counts.setdefault(planned["dataset"], {})
        row = homes.setdefault(planned["home"], {"moved": 0, "deleted": 0, "blanked": 0, "kept": 0})
        moved = equal.get(planned["id"], 0)
        deleted, blanked = gone.get(planned["id"], (0, 0))
        row["moved"] += moved
        row["deleted"] += deleted
        row["blanked"] += blanked
        row["kept"] += moved - deleted - blanked
    return counts


def erased(case: Case) -> dict[str, tuple[int, int]]:
    """Rows deleted and blanked, by slice, from the outcomes."""
    return {
        part["id"]: (part["deleted"], part["blanked"])
        for statement in case.of("erasure/v1")
        for part in statement.predicate["slices"]
        if statement.index > case.since and statement.predicate["phase"] == "outcome"
    }


def _check_copy(copy: Mapping[str, Any], sweep: Statement | None) -> None:
    id_, verdict = copy["id"], copy["verdict"]
    dated = copy["until"] is not None
    require(dated == (verdict == "blocked-until"), f"copy {id_}: a date belongs to blocked-until and only to it")
    found = {entry["id"]: entry for entry in sweep.predicate["copies"]}.get(id_) if sweep else None
    if found is not None and found["residue"]:
        require(verdict in MAY_HOLD_RESIDUE, f"copy {id_} holds residue, but is called {verdict}")
    if verdict == "erased-verified":
        require(found is not None, f"copy {id_} is called erased-verified, but was not swept after the last erasure")
        searched = sweep is not None and sweep.predicate["tokens"]["searched"] > 0
        require(searched, f"copy {id_} is called erased-verified by a sweep that searched for nothing")


def _check_key(case: Case, id_: str) -> None:
    """Check 19 goes on: after the last erasure of rows the same key was announced, then gone, and didn't come back."""
    erasures = [one for one in case.of("erasure/v1") if one.predicate["dataset"] not in case.object_stores]
    told = [
        finding.predicate
        for finding in case.of("finding/v1")
        if finding.predicate["where"] == id_ and finding.predicate["kind"] in (*KEY_STORY, KEY_CAME_BACK)
        and bool(erasures) and finding.index > erasures[-1].index
    ]  # fmt: skip
    require(
        tuple(one["kind"] for one in told) == KEY_STORY and told[0]["text"] == told[1]["text"],
        f"copy {id_} is called key-destroyed, but the log doesn't tell of its key's destruction after the last erasure",
    )


def _check_nothing_left(case: Case, sweep: Statement | None) -> None:
    frozen = not case.live or case.statements[case.since].kind == "freeze/v1"
    require(frozen, "people went in cohorts and nothing was frozen after it, but no copy is called present")
    gone = erased(case)
    for planned in case.slices.values():
        if planned["dataset"] in case.object_stores:
            continue
        wanted = (planned["erase"]["delete"], planned["erase"]["blank"])
        whole = gone.get(planned["id"], (0, 0)) == wanted
        require(whole, f"slice {planned['id']} is not erased as planned, but no copy is called present")
    rows = sweep.predicate["rows"]["hits"] if sweep else 0
    require(rows == 0, f"the sweep found {rows} rows by query, but no copy is called present")


def _check_objects(case: Case) -> None:
    """Check 19 goes on: objects that are not erased as planned show in some copy of their store."""
    gone = erased(case)
    verdicts = {copy["id"]: copy["verdict"] for copy in case.statements[-1].predicate["copies"]}
    for planned in case.slices.values():
        store = planned["dataset"]
        if store in case.object_stores and gone.get(planned["id"], (0, 0))[0] != planned["erase"]["delete"]:
            mine = [verdicts[copy["id"]] for copy in case.plan["copies"] if copy["store"] == store]
            told = any(verdict in MAY_HOLD_RESIDUE for verdict in mine)
            require(told, f"slice {planned['id']} is not erased as planned, but no copy of {store} is called held")
