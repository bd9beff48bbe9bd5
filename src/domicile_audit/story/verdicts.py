"""Check 19: each copy has one verdict, with what it needs behind it, and what is left shows in the verdicts.

Good news needs backing, bad news doesn't: NEEDS says of each verdict what the log has to tell of its copy. The other
way round, all that the log tells as left (`_left`) has to show in a copy that says so.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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


def valid_sweep(case: Case) -> Statement | None:
    """The last sweep, if something was erased before it, and nothing was erased, or came back, after it."""
    for statement in reversed(case.of("sweep/v1", "erasure/v1", "finding/v1")):
        if statement.kind == "sweep/v1":
            return statement if case.outcomes else None
        if statement.kind == "erasure/v1" or statement["kind"] in (BACK, AGAIN, OBJECTS_BACK):
            return None
    return None


@dataclass
class Copy:
    """A copy of the plan, its verdict, and what the log tells of it. Places are those in the log; 0: nowhere."""

    case: Case
    id: str
    planned: Part
    verdict: str
    until: str | None
    look: int = 0  # the last sweep that tells something of this copy (`_tell_sweeps`)
    residue: int = 0  # what that sweep found in it of people who moved
    found: int = 0  # the last sweep that found something of them in it
    left_out: bool = False  # whether a later sweep than `look` tells something of other copies
    sweep: Statement | None = None  # the very last sweep, if that is valid and has this copy
    objects_back: int = 0  # where objects last came back to it
    key: list[Statement] = field(default_factory=list)  # what was found about its key
    returned: Collection[str] = ()  # which keys came back, of whatever copy
    rows_erased: int = 0  # the last erasure of rows, announced or done, if any was done
    rows_back: int = 0  # where rows last came back, or were erased again

    def __str__(self) -> str:
        return f"copy {self.id} is called {self.verdict}"


def _copies(case: Case) -> Sequence[Copy]:
    """All copies, with what sweeps and findings tell of them."""
    judged = case.statements[-1].copies.items()
    copies = {id_: Copy(case, id_, case.plan.copies[id_], said["verdict"], said["until"]) for id_, said in judged}
    _tell_sweeps(case, copies)
    _tell_findings(case, copies)
    return list(copies.values())


def _tell_sweeps(case: Case, copies: Mapping[str, Copy]) -> None:
    """A sweep that searched for something, and read something, tells of all its copies; any of those with residue."""
    for sweep in case.of("sweep/v1"):
        for id_, one in sweep.copies.items():
            if sweep.is_search or one["residue"]:
                copies[id_].look, copies[id_].residue = sweep.index, one["residue"]
            if one["residue"]:
                copies[id_].found = sweep.index
    last, valid = max(copy.look for copy in copies.values()), valid_sweep(case)
    for copy in copies.values():
        copy.left_out = copy.look < last
        copy.sweep = valid if valid and copy.id in valid.copies else None


def _tell_findings(case: Case, copies: Mapping[str, Copy]) -> None:
    """A finding about a key is of a copy, one about objects of a store (check 17), one about rows of any copy."""
    objects: dict[str, int] = {}
    rows, returned = 0, set[str]()
    for finding in case.of("finding/v1"):
        kind, where = finding["kind"], finding["where"]
        if kind in (ANNOUNCED, DESTROYED, RETURNED):
            copies[where].key.append(finding)
            returned.update({finding["text"]} if kind == RETURNED else ())
        elif kind == OBJECTS_BACK:
            objects[where] = finding.index
        elif kind in (BACK, AGAIN):
            rows = finding.index
    erased = _last_of_rows(case)
    for copy in copies.values():
        copy.returned, copy.rows_back, copy.rows_erased = returned, rows, erased
        copy.objects_back = objects.get(copy.planned["store"], 0) if copy.planned["kind"] == "objects" else 0


def _last_of_rows(case: Case) -> int:
    """The place of the last erasure of rows, announced or done; 0: none was done."""
    rows = [one for one in case.of("erasure/v1") if one["dataset"] not in case.object_stores or one["emptied"]]
    return rows[-1].index if any(one["phase"] == "outcome" for one in rows) else 0


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
    """No objects came back to it since it was last read, and its key never came back."""
    require(copy.objects_back <= copy.look, f"{copy}, and objects came back since it was searched")
    require(all(finding["kind"] != RETURNED for finding in copy.key), f"{copy}, and its key came back")


def _searched(copy: Copy) -> None:
    """The last sweep searched it and found nothing, asked for rows of all that lose some, and nothing went after it."""
    sweep, but = copy.sweep, f"{copy}, but"
    if sweep is None:
        raise Refused(f"{but} was not swept after the last erasure")
    require(sweep.copies[copy.id]["hits"] == 0, f"{but} {sweep} found something in it")
    require(sweep.is_search, f"{but} {sweep} searched for nothing, or read nothing")
    enough = sweep["rows"]["datasets"] >= len(copy.case.losing)
    require(enough, f"{but} {sweep} asked of fewer datasets than were erased")


def _unreadable(copy: Copy) -> None:
    """Its key was announced, destroyed, and came back nowhere, and all that it may hold of who moved is under that key.

    That is what was written before rows were last erased, or before something was found in it. What was written while
    rows were back may be under the next key; then it has to be searched.
    """
    encrypted = copy.planned["kind"] == "encrypted-files"
    require(encrypted and copy.rows_erased, f"{copy}, and it has no key of its own, or no rows were erased")
    readable = max(copy.rows_erased, copy.found)
    told = [(finding["kind"], finding["text"]) for finding in copy.key if finding.index > readable]
    which = told[0][1] if told else ""  # the text says which key
    destroyed = told == [(ANNOUNCED, which), (DESTROYED, which)]
    require(destroyed, f"{copy}, and the log doesn't tell of its key's destruction since")
    require(which not in copy.returned, f"{copy}, and that key came back elsewhere")
    looked = copy.rows_back < max(copy.look, copy.key[-1].index)
    require(looked, f"{copy}, and rows came back since it was searched")


NEEDS: dict[str, Sequence[Need]] = {  # what each verdict needs, the best first
    "erased-verified": (_nothing_back, _clean, _searched),
    "key-destroyed": (_nothing_back, _unreadable),
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
    if found := _found_by_query(case):
        yield f"sweeps found {found} rows by query", None
    for dataset in _still_back(case):
        yield f"rows of {dataset} came back", dataset
    for id_, part in case.slices.items():
        planned = (part["erase"]["delete"], part["erase"]["blank"])
        if case.gone.get(id_, (0, 0)) != planned:
            yield f"slice {id_} is not erased as planned", part["dataset"]


def _found_by_query(case: Case) -> int:
    """Rows of theirs that queries found; they stand until a sweep asks of as many datasets as any before it."""
    found = asked = 0
    for sweep in case.of("sweep/v1"):
        rows = sweep["rows"]
        found = rows["hits"] + (found if rows["datasets"] < asked else 0)
        asked = max(asked, rows["datasets"])
    return found


def _still_back(case: Case) -> Iterable[str]:
    """Datasets whose rows came back, and were not erased again since (check 16: those rows, or none was left)."""
    last = {one["where"]: one["kind"] for one in case.of("finding/v1") if one["kind"] in (BACK, AGAIN)}
    return [dataset for dataset, kind in last.items() if kind == BACK]


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
