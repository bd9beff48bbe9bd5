"""Statements of a made-up run of a short-video service, for the report: whole, cut off, or bent."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from domicile.cutover.cohorts import LagPoint
from domicile.evidence import predicates as p
from domicile.model import Finding
from domicile.portal.report import Extras, LockTime, StageTime
from domicile.proof import Verdict

START = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)
HOMES = {"us": 2_310, "ca": 260, "au": 214}
# dataset: rows for each subject, what becomes of them at the source
DATASETS = {
    "app.public.users": (1, "blank"),
    "app.public.devices": (2, "delete"),
    "app.public.sessions": (5, "delete"),
    "app.public.videos": (3, "blank"),
    "app.public.drafts": (1, "delete"),
    "app.public.likes": (21, "delete"),
    "app.public.follows": (9, "delete"),
    "app.public.comments": (6, "delete"),
    "app.public.direct_messages": (8, "delete"),
    "app.public.watch_events": (40, "delete"),
    "app.public.notifications": (7, "delete"),
    "app.public.payouts": (1, "delete"),
    "app.public.hashtags": (1, "keep"),
}
OF_SERVER = {
    "wal": "wal_recycle off, switch and checkpoint until no older segment is left",
    "statistics": "ANALYZE, then VACUUM FULL of pg_statistic and pg_statistic_ext_data",
    "large-objects": "VACUUM FULL pg_largeobject",
    "statement-texts": "pg_stat_statements_reset()",
    "temp-files": "none: searched; they end with their session",
    "orphaned-files": "none: searched; relation files that pg_class doesn't know",
    "staging": "dropped with schema domicile; searched",
    "server-log": "delete or redact where it is kept",
    "archive": "expire the archive by its own tool",
    "standbys": "treat and sweep each standby as a server of its own",
    "dumps-and-backups": "expire each by its own tool",
    "free-blocks": "encryption from the first day; overwriting the device",
}
UNSEEN = ("server-log", "standbys", "dumps-and-backups", "free-blocks")
APPROVERS = ("operator", "monitor", "ministry")


def digest(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()


PLAN, EQUALITY, CLEARANCE = digest("plan"), digest("equality"), digest("clearance")


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def slices() -> tuple[p.PlannedSlice, ...]:
    return tuple(
        p.PlannedSlice(
            id=f"{dataset}/{home}/whole/0", dataset=dataset, home=home, rows=people * each,
            erase=p.EraseCounts(
                delete=people * each if fate == "delete" else 0, blank=people * each if fate == "blank" else 0
            ),
        )
        for dataset, (each, fate) in DATASETS.items()
        for home, people in HOMES.items()
    )  # fmt: skip


def copies() -> tuple[p.PlannedCopy, ...]:
    tables = [
        p.PlannedCopy(id=f"{kind}:{name}", store="app", location="sg", kind=kind, dataset=name, method=method)
        for name in DATASETS
        for kind, method in (
            ("live-rows", "delete or blank the rows of the closure"),
            ("heap", "VACUUM FULL of each table and partition"),
            ("toast", "VACUUM FULL of each table and partition"),
            ("index", "VACUUM FULL of each table and partition (it builds the indexes anew)"),
        )
    ]
    server = [
        p.PlannedCopy(id=kind, store="app", location="sg", kind=kind, dataset=None, method=method)
        for kind, method in OF_SERVER.items()
    ]
    return (*tables, *server)


def plan() -> p.PlanPredicate:
    return p.PlanPredicate(
        plan=PLAN,
        programme="homecoming",
        engine="0.1.0",
        config_sha256=digest("domicile.yaml"),
        made_at=at(0),
        deadline=date(2026, 12, 1),
        homes={"US": "us", "CA": "ca", "AU": "au", "NZ": "au"},
        locations={
            "sg": p.Place(country="SG", operator="Origin Ltd"),
            "us": p.Place(country="US", operator="Home Inc"),
            "ca": p.Place(country="CA", operator="Home (Canada) Ltd"),
            "au": p.Place(country="AU", operator="Home Australasia Pty Ltd"),
        },
        approvals=p.ApprovalRule(
            threshold=2, of=tuple(p.ApproverKey(name=name, vkey=f"{name}+00000000+AAAA") for name in APPROVERS)
        ),
        slices=slices(),
        copies=copies(),
        not_proven=(
            "what lies below the file interface (free blocks of the file system, disks taken away) is not looked at",
            "copies made by people or programs that no store lists are not known",
        ),
    )


def transfers() -> list[p.Predicate]:
    return [
        p.TransferPredicate(
            plan=PLAN, home=one.home, dataset=one.dataset,
            slices=(p.MovedSlice(id=one.id, rows=one.rows, bytes=one.rows * 117, digest=digest(one.id)),),
        )
        for one in slices()
    ]  # fmt: skip


def cutover() -> p.CutoverPredicate:
    return p.CutoverPredicate(
        plan=PLAN, position="0/5D2A1F38", fenced_at=at(1), subjects=dict(HOMES), fence="row trigger, always on"
    )


def equality(*, fenced: bool = True, wrong: Sequence[str] = ()) -> p.EqualityPredicate:
    pairs = tuple(
        p.ComparedSlice(
            id=one.id, rows=one.rows, source=digest(one.id), home=digest("other" if one.id in wrong else one.id)
        )
        for one in slices()
    )
    return p.EqualityPredicate(
        plan=PLAN, position="0/5D2B0000", fenced=fenced, slices=pairs, differences=len(wrong), strays=0
    )


def approval(name: str, *, of: str = EQUALITY) -> p.ApprovalPredicate:
    return p.ApprovalPredicate(
        plan=PLAN,
        approver=name,
        role=name,
        scope=p.Scope.ERASE,
        equality=of,
        approved_at=at(12),
        stands=1,
        root=digest("what was seen"),
    )


def clearance() -> p.ClearancePredicate:
    homes = {
        home: p.RestoredHome(
            slices=tuple(
                p.RestoredSlice(id=one.id, rows=one.rows, digest=digest(one.id)) for one in slices() if one.home == home
            )
        )
        for home in HOMES
    }
    return p.ClearancePredicate(
        plan=PLAN, equality=EQUALITY, approvals=(digest("operator"), digest("monitor")),
        restore=p.RestoreReport(done_at=at(14), method="pg_dump into a scratch database", homes=homes),
        slices=tuple(one.id for one in slices()),
    )  # fmt: skip


def erasures(phase: p.Phase) -> list[p.Predicate]:
    return [
        p.ErasurePredicate(
            plan=PLAN, phase=phase, clearance=CLEARANCE, dataset=one.dataset, home=one.home,
            slices=(
                p.ErasedSlice(id=one.id, deleted=one.erase.delete, blanked=one.erase.blank, digest=digest(one.id)),
            ),
            collateral=0, emptied=(),
        )
        for one in slices()
        if one.erase.delete or one.erase.blank
    ]  # fmt: skip


def sweep(*, residue: str = "") -> p.SweepPredicate:
    return p.SweepPredicate(
        plan=PLAN, swept_at=at(20),
        tokens=p.SweptTokens(searched=11_136, not_searchable=19, canaries=48),
        copies=tuple(
            p.SweptCopy(
                id=one.id, method="bytes", bytes=2_400_000, hits=int(one.id == residue), residue=int(one.id == residue)
            )
            for one in copies()
            if one.kind not in UNSEEN
        ),
        rows=p.SweptRows(datasets=len(DATASETS), hits=0),
    )  # fmt: skip


def judged(verdicts: dict[str, Verdict]) -> tuple[p.JudgedCopy, ...]:
    def one(copy: p.PlannedCopy) -> p.JudgedCopy:
        verdict = verdicts.get(copy.id, Verdict.ERASED_VERIFIED)
        why = "searched, nothing found" if verdict is Verdict.ERASED_VERIFIED else f"as the test wants it: {verdict}"
        return p.JudgedCopy(
            id=copy.id, verdict=verdict, why=why, until=at(60) if verdict is Verdict.BLOCKED_UNTIL else None
        )

    return tuple(one(copy) for copy in copies())


def certificate(verdict: Verdict, verdicts: dict[str, Verdict]) -> p.CertificatePredicate:
    counts: dict[str, dict[str, p.Counts]] = {}
    for one in slices():
        counts.setdefault(one.dataset, {})[one.home] = p.Counts(
            moved=one.rows, deleted=one.erase.delete, blanked=one.erase.blank,
            kept=one.rows - one.erase.delete - one.erase.blank,
        )  # fmt: skip
    return p.CertificatePredicate(
        plan=PLAN, verdict=verdict, copies=judged(verdicts), counts=counts,
        not_proven=plan().not_proven,
        issued_at=at(21),
    )  # fmt: skip


def until_erased() -> list[p.Predicate]:
    """Everything up to the last erasure."""
    return [
        plan(), cutover(), *transfers(), equality(), approval("operator"), approval("monitor"), clearance(),
        *erasures(p.Phase.INTENT), *erasures(p.Phase.OUTCOME),
    ]  # fmt: skip


def finished(verdict: Verdict, verdicts: dict[str, Verdict], *, residue: str = "") -> list[p.Predicate]:
    """A whole run with these verdicts on its copies; all others are erased and verified."""
    return [*until_erased(), sweep(residue=residue), certificate(verdict, verdicts)]


def perfect() -> list[p.Predicate]:
    """A run in which every copy was searched: nothing unseen is listed."""
    seen = {copy.id for copy in copies() if copy.kind not in UNSEEN}
    run = finished(Verdict.ERASED_VERIFIED, {})
    first, last = run[0], run[-1]
    assert isinstance(first, p.PlanPredicate)
    assert isinstance(last, p.CertificatePredicate)
    run[0] = dataclasses.replace(first, copies=tuple(copy for copy in first.copies if copy.id in seen))
    run[-1] = dataclasses.replace(last, copies=tuple(copy for copy in last.copies if copy.id in seen))
    return run


def usual() -> list[p.Predicate]:
    """What a real first run comes to: some copies can't be seen from the server."""
    return finished(Verdict.UNKNOWN, dict.fromkeys(UNSEEN, Verdict.UNKNOWN))


def worst() -> list[p.Predicate]:
    """Residue was found, a slot holds WAL, and an archive has a date."""
    verdicts = dict.fromkeys(UNSEEN, Verdict.UNKNOWN) | {
        "server-log": Verdict.PRESENT,
        "orphaned-files": Verdict.PRESENT,
        "wal": Verdict.HELD,
        "archive": Verdict.BLOCKED_UNTIL,
        "statement-texts": Verdict.ERASED_UNVERIFIED,
    }
    return finished(Verdict.PRESENT, verdicts, residue="orphaned-files")


def cohort(number: int, way: p.Went, subjects: dict[str, int], *, second: int, wait_ms: int) -> p.CohortPredicate:
    return p.CohortPredicate(
        plan=PLAN, number=number, way=way, subjects=subjects, position=f"0/5D2{number:05d}", fenced_at=at(second / 60),
        wait_ms=wait_ms, awaited_ms=wait_ms // 5, rows=7 * sum(subjects.values()),
    )  # fmt: skip


COHORTS = (
    cohort(1, p.Went.HOME, {"us": 4, "ca": 2, "au": 2}, second=2, wait_ms=112),
    cohort(2, p.Went.HOME, {"us": 306, "ca": 58, "au": 12}, second=5, wait_ms=431),
    cohort(2, p.Went.SOURCE, {"us": 306, "ca": 58, "au": 12}, second=9, wait_ms=618),
    cohort(3, p.Went.HOME, {"us": 900, "ca": 100, "au": 100}, second=15, wait_ms=702),
    cohort(4, p.Went.HOME, {"us": 1_100, "ca": 100, "au": 100}, second=22, wait_ms=1_904),
    cohort(5, p.Went.HOME, {"us": 306, "ca": 58, "au": 12}, second=31, wait_ms=388),
)


def freeze() -> p.FreezePredicate:
    return p.FreezePredicate(plan=PLAN, position="0/5D2A1F00", frozen_at=at(0.9), slices=slices())


def live_plan() -> p.PlanPredicate:
    return dataclasses.replace(plan(), slices=())


def live_until_equal() -> list[p.Predicate]:
    """People went home in cohorts, one went back and again; all is frozen, fenced and compared."""
    return [live_plan(), *COHORTS, freeze(), cutover(), equality()]


def live_usual() -> list[p.Predicate]:
    """The usual run, by cohorts."""
    rest = usual()
    return [*live_until_equal(), *rest[rest.index(equality()) + 1 :]]


def live_rolled_back() -> list[p.Predicate]:
    """After the comparison a cohort went back, and nothing is frozen anew."""
    return [
        *live_until_equal(), approval("operator"),
        cohort(1, p.Went.SOURCE, {"us": 4, "ca": 2, "au": 2}, second=700, wait_ms=97),
    ]  # fmt: skip


LAG = tuple(
    LagPoint(at_s=second, changes=40 + second % 17, behind_s=round(0.15 + 4.2 * 0.5 ** (abs(second - 140) / 20), 3))
    for second in range(1, 1_500, 2)
)


FINDINGS = (
    Finding(
        kind="shared", where="app.public.direct_messages", count=1_204,
        text="1204 rows lead to subjects who live apart",
        rule="datasets.app.public.direct_messages.subjects.shared: each",
    ),
    Finding(
        kind="apart-source", where="datasets.app.public.comments.edges.parent_id", count=87,
        text="87 rows of app.public.comments would be erased while rows of app.public.comments that stay refer to them",
        rule="datasets.app.public.comments.edges.parent_id.apart.source: skeleton",
    ),
)  # fmt: skip
CHECKPOINT = (
    "homecoming.example/log\n84\nq6h3y5Zr0m5k7mZqkW1yTz8l0v0mZqkW1yTz8l0v0mY=\n\n— homecoming.example/log AAAA\n"
)
EXTRAS = Extras(
    engine="0.1.0",
    stages=(
        StageTime(stage="freeze", seconds=0.4),
        StageTime(stage="plan", seconds=2.71),
        StageTime(stage="fence", seconds=0.31),
        StageTime(stage="transfer", seconds=9.8, rows=292_320, bytes=34_201_440),
        StageTime(stage="verify", seconds=5.2, rows=292_320, bytes=68_402_880),
        StageTime(stage="restore", seconds=12.6),
        StageTime(stage="erase", seconds=21.4),
        StageTime(stage="horizon", seconds=6.0),
        StageTime(stage="sweep", seconds=130.2),
        StageTime(stage="certify", seconds=0.02),
    ),
    fence_wait_ms=38,
    findings=FINDINGS,
    locks=(
        LockTime(copy="heap:app.public.watch_events", ms=412.5),
        LockTime(copy="heap:app.public.likes", ms=208.0),
        LockTime(copy="statistics", ms=33.1),
    ),
    checkpoint=CHECKPOINT,
    certificate=digest("certificate"),
    bundle="homecoming-bundle.zip",
    made_at=at(22),
)
