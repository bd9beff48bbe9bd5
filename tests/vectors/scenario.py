"""A small run from plan to certificate, with fixed keys and times, that a test can bend anywhere.

A `Script` is the list of statements in their order. Each line makes its predicate from the statements already
played, so a cheat who holds the engine's key (and bends one line) signs everything after it again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypedDict

from domicile.evidence import predicates as p
from domicile.evidence import told
from domicile.evidence.bundle import README, pack
from domicile.evidence.codec import dump_json
from domicile.evidence.keys import Signer
from domicile.evidence.statement import Sealed, seal
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.proof import Verdict

START = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
PLAN_FILE = b'{"programme":"homecoming","slices":3}\n'


def key(name: str) -> Signer:
    """A key that everybody knows: for tests only."""
    return Signer(name=name, seed=hashlib.sha256(f"test key of {name}".encode()).digest())


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


def digest(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()


ENGINE = key("homecoming.example/log")
OPERATOR = key("operator.example")
MONITOR = key("monitor.example")
STRANGER = key("stranger.example")
PLAN = hashlib.sha256(PLAN_FILE).hexdigest()

# By id: dataset, home, and the numbers of rows, of those to delete and of those to blank.
SLICES = {
    "messages/us/1": ("app.public.messages", "us", 120, 120, 0),
    "messages/ca/1": ("app.public.messages", "ca", 30, 28, 0),
    "users/us/1": ("app.public.users", "us", 40, 0, 40),
}
COPIES = {
    "app/live": ("live-rows", "delete"),
    "app/encrypted-files": ("encrypted-files", "destroy the key"),
    "app/statistics": ("statistics", "rewrite"),
    "app/derived-table:public.totals": ("derived-table", "TRUNCATE"),
}
TABLES = {"app/derived-table:public.totals": "app.public.totals"}  # which copies are of one table

KEYED = "app/encrypted-files"
KEY_PHASES = (p.KeyPhase.INTENT, p.KeyPhase.OUTCOME)


class Seen(TypedDict):
    """The place of a log that somebody saw."""

    stands: int
    root: str


Play = Mapping[str, Sealed]
Maker = Callable[[Play], p.Predicate | Sealed]


@dataclasses.dataclass(frozen=True)
class Line:
    """One statement to be: its name in the play, its maker, and whose key signs it."""

    name: str
    make: Maker
    signer: Signer = ENGINE


@dataclasses.dataclass(frozen=True)
class Script:
    """The statements in order."""

    lines: tuple[Line, ...]

    def names(self) -> list[str]:
        return [line.name for line in self.lines]

    def place(self, name: str) -> int:
        return self.names().index(name)

    def without(self, *names: str) -> Script:
        return Script(tuple(line for line in self.lines if line.name not in names))

    def before(self, name: str, *lines: Line) -> Script:
        at_ = self.place(name)
        return Script(self.lines[:at_] + lines + self.lines[at_:])

    def after(self, name: str, *lines: Line) -> Script:
        at_ = self.place(name) + 1
        return Script(self.lines[:at_] + lines + self.lines[at_:])

    def moved(self, name: str, *, before: str) -> Script:
        line = self.lines[self.place(name)]
        return self.without(name).before(before, line)

    def swapped(self, one: str, two: str) -> Script:
        lines = list(self.lines)
        a, b = self.place(one), self.place(two)
        lines[a], lines[b] = lines[b], lines[a]
        return Script(tuple(lines))

    def bent(self, name: str, bend: Callable[[p.Predicate], p.Predicate]) -> Script:
        """The same with one predicate changed."""
        old = self.lines[self.place(name)]

        def make(play: Play) -> p.Predicate:
            made = old.make(play)
            assert isinstance(made, p.Predicate)
            return bend(made)

        return self.signed(name, dataclasses.replace(old, make=make))

    def signed(self, name: str, line: Line) -> Script:
        """The same with one line replaced."""
        return Script(tuple(line if old.name == name else old for old in self.lines))

    def set(self, name: str, **values: object) -> Script:
        """The same with fields of one predicate set."""
        return self.bent(name, lambda made: dataclasses.replace(made, **values))  # type: ignore[arg-type]

    def play(self) -> dict[str, Sealed]:
        """Make and sign all statements."""
        played: dict[str, Sealed] = {}
        for line in self.lines:
            made = line.make(played)
            played[line.name] = made if isinstance(made, Sealed) else seal(made, line.signer)
        return played


def plan() -> p.PlanPredicate:
    return p.PlanPredicate(
        plan=PLAN,
        programme="homecoming",
        engine="0.1.0",
        config_sha256=digest("domicile.yaml"),
        made_at=at(0),
        deadline=date(2026, 12, 1),
        homes={"US": "us", "CA": "ca"},
        locations={
            "sg": p.Place(country="SG", operator="Origin Ltd"),
            "us": p.Place(country="US", operator="Home Inc"),
            "ca": p.Place(country="CA", operator="Home Ltd"),
        },
        approvals=p.ApprovalRule(
            threshold=2,
            of=(
                p.ApproverKey(name="operator", vkey=OPERATOR.verifier.vkey),
                p.ApproverKey(name="monitor", vkey=MONITOR.verifier.vkey),
            ),
        ),
        slices=tuple(
            p.PlannedSlice(id=id_, dataset=d, home=h, rows=r, erase=p.EraseCounts(delete=de, blank=bl))
            for id_, (d, h, r, de, bl) in SLICES.items()
        ),
        copies=tuple(
            p.PlannedCopy(id=id_, store="app", location="sg", kind=kind, dataset=TABLES.get(id_), method=method)
            for id_, (kind, method) in COPIES.items()
        ),
        not_proven=("blocks freed by the file system are not searched",),
    )


def transfer(dataset: str, home: str) -> p.TransferPredicate:
    slices = tuple(
        p.MovedSlice(id=id_, rows=r, bytes=r * 100, digest=digest(f"stream {id_}"))
        for id_, (d, h, r, _, _) in SLICES.items()
        if (d, h) == (dataset, home)
    )
    return p.TransferPredicate(plan=PLAN, home=home, dataset=dataset, slices=slices)


def cutover() -> p.CutoverPredicate:
    return p.CutoverPredicate(
        plan=PLAN, position="0/16B3748", fenced_at=at(10), subjects={"us": 40, "ca": 10}, fence="guard in the database"
    )


def equality(*, fenced: bool) -> p.EqualityPredicate:
    slices = tuple(
        p.ComparedSlice(id=id_, rows=r, source=digest(id_), home=digest(id_)) for id_, (_, _, r, _, _) in SLICES.items()
    )
    return p.EqualityPredicate(plan=PLAN, position="0/16B3800", fenced=fenced, slices=slices, differences=0, strays=0)


def seen(play: Play) -> Seen:
    """How many statements there are, and the root over them: what somebody signs who has seen them."""
    tree = Tree()
    for sealed in play.values():
        tree.append(hash_leaf(sealed.envelope))
    return {"stands": tree.size, "root": tree.root().hex()}


def approval(name: str, role: str, *, of: str = "equality") -> Maker:
    def make(play: Play) -> p.ApprovalPredicate:
        return p.ApprovalPredicate(
            plan=PLAN,
            approver=name,
            role=role,
            scope=p.Scope.ERASE,
            equality=play[of].sha256,
            approved_at=at(20),
            **seen(play),
        )

    return make


def restored(home: str) -> p.RestoredHome:
    return p.RestoredHome(
        slices=tuple(
            p.RestoredSlice(id=id_, rows=r, digest=digest(id_)) for id_, (_, h, r, _, _) in SLICES.items() if h == home
        )
    )


def clearance(
    play: Play, approvals: tuple[str, ...] = ("approval operator", "approval monitor")
) -> p.ClearancePredicate:
    return p.ClearancePredicate(
        plan=PLAN,
        equality=play["equality"].sha256,
        approvals=tuple(play[name].sha256 for name in approvals),
        restore=p.RestoreReport(
            done_at=at(30), method="pg_dump and restore", homes={"us": restored("us"), "ca": restored("ca")}
        ),
        slices=tuple(SLICES),
    )


def erasure(phase: p.Phase, dataset: str, home: str, emptied: tuple[str, ...] = ()) -> Maker:
    def make(play: Play) -> p.ErasurePredicate:
        slices = tuple(
            p.ErasedSlice(id=id_, deleted=de, blanked=bl, digest=digest(id_))
            for id_, (d, h, _, de, bl) in SLICES.items()
            if (d, h) == (dataset, home)
        )
        return p.ErasurePredicate(
            plan=PLAN,
            phase=phase,
            clearance=play["clearance"].sha256,
            dataset=dataset,
            home=home,
            slices=slices,
            collateral=0,
            emptied=emptied,
        )

    return make


def sweep() -> p.SweepPredicate:
    return p.SweepPredicate(
        plan=PLAN,
        swept_at=at(50),
        tokens=p.SweptTokens(searched=200, not_searchable=0, canaries=12),
        copies=tuple(p.SweptCopy(id=id_, method="bytes", bytes=1_000_000, hits=0, residue=0) for id_ in COPIES),
        rows=p.SweptRows(datasets=2, hits=0),
    )


def certificate() -> p.CertificatePredicate:
    return p.CertificatePredicate(
        plan=PLAN,
        verdict=Verdict.ERASED_VERIFIED,
        copies=tuple(
            p.JudgedCopy(id=id_, verdict=Verdict.ERASED_VERIFIED, why="searched, nothing found", until=None)
            for id_ in COPIES
        ),
        counts={
            "app.public.messages": {
                "us": p.Counts(moved=120, deleted=120, blanked=0, kept=0),
                "ca": p.Counts(moved=30, deleted=28, blanked=0, kept=2),
            },
            "app.public.users": {"us": p.Counts(moved=40, deleted=0, blanked=40, kept=0)},
        },
        not_proven=plan().not_proven,
        issued_at=at(60),
    )


def good() -> Script:
    """The run as it should be."""
    pairs = list(dict.fromkeys((d, h) for d, h, *_ in SLICES.values()))
    lines = [Line("plan", lambda _: plan())]
    lines += [Line(f"transfer {d} {h}", lambda _, d=d, h=h: transfer(d, h)) for d, h in pairs]  # type: ignore[misc]
    lines += [
        Line("early equality", lambda _: equality(fenced=False)),
        Line("cutover", lambda _: cutover()),
        Line("equality", lambda _: equality(fenced=True)),
        Line("approval operator", approval("operator", "operator"), OPERATOR),
        Line("approval monitor", approval("monitor", "monitor"), MONITOR),
        Line("clearance", clearance),
    ]
    for dataset, home in pairs:
        emptied = ("app/derived-table:public.totals",) if (dataset, home) == pairs[0] else ()
        lines += [
            Line(f"{x} {dataset} {home}", erasure(x, dataset, home, emptied)) for x in (p.Phase.INTENT, p.Phase.OUTCOME)
        ]
    lines += [Line("sweep", lambda _: sweep()), Line("certificate", lambda _: certificate())]
    return Script(tuple(lines))


def key_destroyed() -> Script:
    """The run in which the key of one copy was destroyed between the last erasure and the sweep."""
    keyed = tuple(
        dataclasses.replace(c, verdict=Verdict.KEY_DESTROYED, why="all copies destroyed") if c.id == KEYED else c
        for c in certificate().copies
    )
    lines = [Line(phase.value, lambda _, phase=phase: key_told(phase)) for phase in KEY_PHASES]  # type: ignore[misc]
    return good().before("sweep", *lines).set("certificate", copies=keyed, verdict=Verdict.KEY_DESTROYED)


def key_told(phase: p.KeyPhase, key: str = "backups of hsm") -> p.FindingPredicate:
    return told.key_finding(PLAN, KEYED, key, told.KeyStanding(generations=("a1" * 20,), phase=phase))


def entries_of(script: Script) -> list[Sealed]:
    return list(script.play().values())


def log_files(entries: list[bytes], signer: Signer = ENGINE) -> dict[str, bytes]:
    """The files of a log with these entries."""
    with tempfile.TemporaryDirectory() as folder:
        log = Log.create(Path(folder) / "log", signer)
        log.append(entries)
        return {f"log/{path}": data for path, data in log.files().items()}


def files_of(script: Script, *, signer: Signer = ENGINE) -> dict[str, bytes]:
    """All files of a bundle but the manifest."""
    played = entries_of(script)
    files = log_files([sealed.envelope for sealed in played], signer)
    files |= {
        f"detached/{hashlib.sha256(sealed.detached).hexdigest()}.json": sealed.detached
        for sealed in played
        if sealed.detached is not None
    }
    files["README.txt"] = README.encode()
    files["plan.json"] = PLAN_FILE
    files["certificate.dsse.json"] = played[-1].envelope
    files["keys/log.vkey"] = f"{signer.verifier.vkey}\n".encode()
    for number, approver in enumerate((OPERATOR, MONITOR), start=1):
        files[f"keys/approver-{number}.vkey"] = f"{approver.verifier.vkey}\n".encode()
    return files


def bundle_of(script: Script) -> bytes:
    """The bundle of a script."""
    return pack(files_of(script), ENGINE)


def raw(payload: object, signer: Signer = ENGINE) -> Sealed:
    """A statement that our own classes would not make."""
    from domicile.evidence.statement import PAYLOAD_TYPE, sign_envelope  # noqa: PLC0415  (only the cheats need it)

    return Sealed(
        envelope=sign_envelope(dump_json(payload), payload_type=PAYLOAD_TYPE, signer=signer),  # type: ignore[arg-type]
        detached=None,
    )
