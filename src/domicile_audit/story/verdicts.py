"""Check 19: each copy has one verdict, with what it needs behind it, and what is left shows in the verdicts.

Good news needs backing, bad news doesn't: NEEDS says of each verdict what the log has to tell of its copy. The other
way round, all that the log tells as left (`_left`) has to show in a copy that says so.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from domicile_audit.case import Case, Part, Refused, Statement, require
from domicile_audit.says import AGAIN, ANNOUNCED, BACK, DESTROYED, OBJECTS_BACK, RETURNED, VERDICTS

SAY_WHAT_IS_LEFT = ("blocked-until", "held", "present")
IN_USE = ("live-rows", "objects", "derived-table")  # kinds of copies that the service itself reads


def check_verdicts(case: Case) -> None:
    """Check 19 (P3, P7, P11): each planned copy has one verdict that the log backs, and the worst is the whole's."""
    certificate, stated = case.statements[-1], case.statements[-1]["verdict"]
    odd = min(case.plan.copies.keys() ^ certificate.copies.keys(), default=None)
    require(odd is None, f"copy {odd} is planned and has no verdict, or has one and is not planned")
    copies = _copies(case)
    for copy in copies:
        dated = copy.verdict == "blocked-until"
        require((copy.until is not None) == dated, f"{copy}: a date belongs to blocked-until alone")
        for need in NEEDS[copy.verdict]:
            need(copy)
    worst = max((copy.verdict for copy in copies), key=VERDICTS.index)
    require(stated == worst, f"the certificate says {stated}, its worst copy is {worst}")
    _require_told(case, copies)


@dataclass
class Copy:
    """A copy of the plan, its verdict, and what the log tells of it; places are those of statements in the log."""

    case: Case
    id: str
    planned: Part
    verdict: str
    until: str | None
    look: int = 0  # the last sweep that tells something of it; 0: none does
    residue: int = 0  # what that sweep found of people who moved
    left_out: bool = False  # whether a later sweep tells something of others
    objects_back: int = 0  # when objects last came back to it
    rows_erased: int = 0  # the last erasure of rows, announced or done; 0: none was done
    key: list[Statement] = field(default_factory=list)  # what was found about its key
    sweep: Statement | None = None  # the last sweep, where that is valid and has this copy

    def __str__(self) -> str:
        return f"copy {self.id} is called {self.verdict}"


def _copies(case: Case) -> Sequence[Copy]:
    """All copies, with what sweeps, findings and erasures tell of them."""
    judged = case.statements[-1].copies.items()
    copies = {id_: Copy(case, id_, case.plan.copies[id_], said["verdict"], said["until"]) for id_, said in judged}
    for sweep in case.of("sweep/v1"):
        for one in sweep["copies"]:
            if one["id"] in copies and (sweep.is_search or one["residue"]):  # no search tells what it found, no more
                copies[one["id"]].look, copies[one["id"]].residue = sweep.index, one["residue"]
    back: dict[str, int] = {}  # by store
    for finding in case.of("finding/v1"):
        kind, where = finding["kind"], finding["where"]
        if kind in (ANNOUNCED, DESTROYED, RETURNED) and where in copies:
            copies[where].key.append(finding)
        elif kind == OBJECTS_BACK:
            back[where] = finding.index
    rows = [one for one in case.of("erasure/v1") if one["dataset"] not in case.object_stores or one["emptied"]]
    rows_erased = rows[-1].index if any(one["phase"] == "outcome" for one in rows) else 0
    last_look, last_sweep = max(copy.look for copy in copies.values()), valid_sweep(case)
    for copy in copies.values():
        copy.sweep = last_sweep if last_sweep and copy.id in last_sweep.copies else None
        copy.rows_erased, copy.left_out = rows_erased, copy.look < last_look
        copy.objects_back = back.get(copy.planned["store"], 0) if copy.planned["kind"] == "objects" else 0
    return list(copies.values())


def valid_sweep(case: Case) -> Statement | None:
    """The last sweep, if an erasure stands before it, and after it neither one nor what came back."""
    told = [
        one
        for one in case.of("sweep/v1", "erasure/v1", "finding/v1")
        if one.kind != "finding/v1" or one["kind"] in (BACK, AGAIN, OBJECTS_BACK)
    ]
    return told[-1] if told and told[-1].kind == "sweep/v1" and case.outcomes else None


Need = Callable[[Copy], None]


def _to_come(copy: Copy) -> None:
    """Its date was still to come."""
    require((copy.until or "") > copy.case.statements[-1]["issued_at"], f"{copy}: {copy.until} is over")


def _erased(copy: Copy) -> None:
    """Something was erased."""
    require(copy.case.outcomes, f"{copy}, and nothing was erased")


def _clean(copy: Copy) -> None:
    """When it was last read, there was no residue in it."""
    require(not copy.residue, f"{copy}, and holds residue")


def _clean_or_left_out(copy: Copy) -> None:
    """As before; or the service doesn't use it, and later sweeps left it out: nobody may know by now."""
    left_out = copy.left_out and copy.planned["kind"] not in IN_USE
    require(left_out or not copy.residue, f"{copy}, and holds residue")


def _nothing_back(copy: Copy) -> None:
    """No objects came back to it since it was last read; nor did its key, or it was destroyed once more."""
    require(copy.objects_back <= copy.look, f"{copy}, and objects came back since it was searched")
    back = any(finding["kind"] == RETURNED for finding in copy.key)
    require(not back or _is_destroyed(copy.key), f"{copy}, and its key came back")


def _searched(copy: Copy) -> None:
    """It was searched after the last erasure, nothing was found, and rows were asked for wherever some were erased."""
    sweep, but = copy.sweep, f"{copy}, but"
    if sweep is None:
        raise Refused(f"{but} was not swept after the last erasure")
    require(sweep.copies[copy.id]["hits"] == 0, f"{but} {sweep} found something in it")
    require(sweep.is_search, f"{but} {sweep} searched for nothing, or read nothing")
    require(
        sweep["rows"]["datasets"] >= len(copy.case.losing), f"{but} {sweep} asked of fewer datasets than were erased"
    )


def _unreadable(copy: Copy) -> None:
    """Its key was destroyed after rows were last erased, and after residue was read; and the service doesn't use it."""
    free = copy.planned["kind"] not in IN_USE
    require(free and copy.rows_erased, f"{copy}, and it is in use, or no rows were erased")
    readable = max(copy.rows_erased, copy.look if copy.residue else 0)
    since = [finding for finding in copy.key if finding.index > readable]
    require(_is_destroyed(since), f"{copy}, and the log doesn't tell of its key's destruction since")


def _is_destroyed(findings: list[Statement]) -> bool:
    """Whether the last two say of a key that it is to be destroyed, and that it was; their text says which key."""
    last = findings[-2:]
    return [finding["kind"] for finding in last] == [ANNOUNCED, DESTROYED] and last[0]["text"] == last[1]["text"]


NEEDS: dict[str, Sequence[Need]] = {  # what each verdict needs, the best first
    "erased-verified": (_nothing_back, _clean, _searched),
    "key-destroyed": (_unreadable,),
    "erased-unverified": (_nothing_back, _clean, _erased),
    "blocked-until": (_to_come,),
    "held": (),
    "unknown": (_clean_or_left_out,),
    "present": (),
}


def _left(case: Case) -> Iterator[tuple[str, str | None]]:
    """What the log tells as left at the source, and of which dataset it is; None: of no one dataset."""
    if case.last_step.kind == "cohort/v1":
        yield "people went in cohorts and nothing was frozen after it", None
    found = asked = 0  # rows found by query; they stand until a sweep asks of as many datasets as any before it
    for sweep in case.of("sweep/v1"):
        rows = sweep["rows"]
        found = rows["hits"] + (found if rows["datasets"] < asked else 0)
        asked = max(asked, rows["datasets"])
    if found:
        yield f"sweeps found {found} rows by query", None
    back: dict[str, int] = {}  # by dataset the rows that came back and were not erased again
    for finding in case.of("finding/v1"):
        dataset, count = finding["where"], finding["count"]
        if finding["kind"] == BACK:
            back[dataset] = count
        elif finding["kind"] == AGAIN and count in (0, back.get(dataset)):  # 0: a look found none left
            back.pop(dataset, None)
    for dataset in back:
        yield f"rows of {dataset} came back", dataset
    for id_, part in case.slices.items():
        planned = (part["erase"]["delete"], part["erase"]["blank"])
        if case.gone.get(id_, (0, 0)) != planned:
            yield f"slice {id_} is not erased as planned", part["dataset"]


def _require_told(case: Case, copies: Sequence[Copy]) -> None:
    """Rows that are left show in live rows of theirs called present, objects in a copy of their store that says so."""
    telling = [copy for copy in copies if copy.verdict in SAY_WHAT_IS_LEFT]
    stores = {copy.planned["store"] for copy in telling}
    present = [copy.planned for copy in telling if copy.verdict == "present" and copy.planned["kind"] == "live-rows"]
    rows = {(planned["store"], planned["dataset"]) for planned in present}
    for what, dataset in _left(case):
        if dataset is None:
            require(rows, f"{what}, but no copy of live rows is called present")
        elif dataset in case.object_stores:
            require(dataset in stores, f"{what}, but no copy of {dataset} says so")
        else:
            store = dataset.partition(".")[0]  # a copy of no one dataset is of all of them
            require(rows & {(store, dataset), (store, None)}, f"{what}, but no copy of {dataset} says so")
