"""A folder of dumps and base backups of one database, removed once a dump of what is left stands.

Only what is known to be of this database or its cluster is ever removed: a folder may hold others', too. What nobody
here recognises is looked through, and what is found in it is found.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg

from domicile.errors import HostFault, NoClearance, NotPermitted, StoreFault
from domicile.host import sync_folder
from domicile.stores.around import Announce, Boundary, Custody
from domicile.stores.around.folder import Folder, Thing
from domicile.stores.around.recognising import kind_of, origin_of
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment, copy_id
from domicile.stores.postgres.files import Files, LocalFiles, Place, Shape, Storage
from domicile.stores.postgres.pages import Geometry
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.schema import environment_of
from domicile.stores.postgres.session import connect, faults

NAME: Final = re.compile(r"[A-Za-z0-9._+=-]{1,120}")
"""Names that stand in evidence: no @, no space, so that an address or a person's name hardly can."""
OURS: Final = re.compile(r"domicile-after-erasure-(?P<at>\d{8}T\d{6}Z)-(?P<of>[0-9a-f]{16})\.dump")
"""When a baseline was begun, and a mark of its database and cluster: several databases may share a folder."""
Dumped = Callable[[psycopg.Connection[Any]], None]
"""Shown the moment of which a dump is made, in a session that sees it."""
STAMPS_BEHIND: Final = timedelta(milliseconds=20)
"""How far a file system's stamps may lie behind the clock: a tick of the kernel's, at most 10 ms."""
OTHERS: Final = copy_id(CopyKind.OTHER_FILES)
_PAGES = re.compile(r"(^|/)(base/\d+|global|pg_tblspc/\d+/[^/]+/\d+)/\d+(_(vm|fsm|init))?(\.\d+)?$")
_WAL = re.compile(r"(^|/)[0-9A-F]{24}(\.partial)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """The source, as a dump of it needs it, and as its dumps name it: its name, and its cluster's number.

    `tables` are the numbers of its tables by `schema name`; without them the name alone tells whose a dump is.
    """

    dsn: str = field(repr=False)
    major: int
    name: str = ""
    system: int = 0
    tables: Mapping[str, int] = field(default_factory=dict, repr=False)


class Dumps:
    """A folder of dumps of `database`."""

    def __init__(self, name: str, path: Path, *, database: Database, custody: Custody) -> None:
        self._folder = Folder(store=name, path=path)
        self._database = database
        self._custody = custody

    @property
    def name(self) -> str:
        """The store's name."""
        return self._folder.store

    def inventory(self) -> tuple[Copy, ...]:
        """List each dump and base backup, and one copy for all else and all that comes later."""
        method = self._custody.method("those of this database", " once a dump of what is left stands")
        known = tuple(
            Copy(
                id=copy, kind=kind, relation=None, observable=True,
                method=method,
                why=f"{thing.bytes} bytes, last changed {thing.changed_at:%Y-%m-%d %H:%M} UTC or later",
            )
            for thing in self._folder.things()
            if (kind := self._kind(thing)) is not None and (copy := _id(kind, thing)) is not None
        )  # fmt: skip
        rest = Copy(
            id=OTHERS, kind=CopyKind.OTHER_FILES, relation=None, observable=True,
            method=f"of dumps that come later: {method}", why="all else in the folder, and what comes after the plan",
        )  # fmt: skip
        return (*known, rest)

    def old(self, boundary: Boundary) -> tuple[str, ...]:
        """Name the dumps from before the end of the erasure that are, or may be, of this database."""
        if self._custody.blocked_until:
            return ()
        return tuple(thing.name for thing, _, ours in self._of_before(boundary) if ours is not False)

    def has_to_remove(self, boundary: Boundary) -> bool:
        """Whether a dump of this database is to go, so that another has to stand first."""
        return not self._custody.blocked_until and any(ours for _, _, ours in self._of_before(boundary))

    def _of_before(self, boundary: Boundary) -> list[tuple[Thing, CopyKind, bool | None]]:
        """What was made before, and whether it is of this database; None: nobody can tell the one or the other."""
        return [
            (thing, kind, None if thing.newest_at >= boundary.erased_at - STAMPS_BEHIND else self._is_ours(thing))
            for thing in self._folder.things()
            if thing.changed_at < boundary.erased_at and (kind := self._kind(thing)) is not None
        ]

    def _is_ours(self, thing: Thing) -> bool | None:
        with self._readable():
            origin = origin_of(self._folder.path / thing.name, major=self._database.major)
        if origin.database is not None:
            if origin.database != self._database.name:
                return False
            return origin.is_of(self._database.tables) if self._database.tables else True
        return None if origin.system is None else origin.system == self._database.system

    def treat(self, boundary: Boundary, *, announce: Announce) -> tuple[Outcome, ...]:
        """Remove this database's dumps from before the boundary, if that is ours to do; the caller saw to a new one."""
        old = self._of_before(boundary)
        by_copy: dict[str, list[tuple[Thing, bool | None]]] = {OTHERS: []}
        for copy in self.inventory():
            by_copy.setdefault(copy.id, [])
        for thing, kind, ours in old:
            by_copy[_id(kind, thing) or OTHERS].append((thing, ours))
        outcomes = [self._treat(copy, things, announce=announce) for copy, things in by_copy.items()]
        if self._custody.by_engine and old and not self._custody.blocked_until:
            self._folder.sync()
        return tuple(outcomes)

    def _treat(self, copy: str, things: list[tuple[Thing, bool | None]], *, announce: Announce) -> Outcome:
        unknown = [thing.name for thing, ours in things if ours is None]
        ours = [thing.name for thing, ours in things if ours]
        if not ours and not unknown:
            why = (
                "of another database, or of one of the same name elsewhere; looked through"
                if things
                else "made since the erasure; looked through"
            )
            return Outcome(copy=copy, treatment=Treatment.OBSERVED, why=why)
        made = f"{len(ours) + len(unknown)} made before the erasure"
        by_hand = f"remove from {self._folder.path}, then `domicile apply` again"
        if self._custody.blocked_until:
            why = f"{made}, to be kept until {self._custody.blocked_until}"
            return Outcome(copy=copy, treatment=Treatment.BLOCKED, why=why, until=self._custody.blocked_until)
        if not self._custody.by_engine:
            return Outcome(copy=copy, treatment=Treatment.HELD, why=f"{made}, still there", remedy=by_hand)
        kept: dict[str, str] = {}
        if ours:
            announce(copy, ours)
            kept = {name: reason for name in ours if (reason := self._folder.remove(name)) is not None}
            if not kept:
                announce(copy, ())
        if unknown:
            made = f"{len(unknown)} made before the erasure"
            why = f"{made}, or partly so, don't say of which database or moment they are, so they aren't removed here"
            return Outcome(copy=copy, treatment=Treatment.HELD, why=why, remedy=by_hand)
        if kept:
            why = f"{len(kept)} of {made} could not be removed: {next(iter(kept.values()))}"
            return Outcome(copy=copy, treatment=Treatment.HELD, why=why, remedy=by_hand)
        return Outcome(copy=copy, treatment=Treatment.DONE, why=f"{made}, removed")

    def of_database(self) -> list[Thing]:
        """The dumps that say that they are of this database."""
        return [thing for thing in self._folder.things() if self._kind(thing) is CopyKind.DUMP and self._is_ours(thing)]

    def _kind(self, thing: Thing) -> CopyKind | None:
        """What a thing is, by what it holds; None when nobody here knows, or it went away."""
        with self._readable():
            try:
                return kind_of(self._folder.path / thing.name)
            except FileNotFoundError:
                return None

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise NotPermitted(
                f"store {self.name}: something in {self._folder.path} can't be read ({fault.strerror}); "
                "run as a user who may"
            ) from None

    def files(self) -> Files:
        """The files as they are."""
        return LocalFiles(self._folder.path)

    def placing(self, geometry: Geometry) -> _Placing:
        """Say which copy each file belongs to."""
        owners = {
            thing.name: (kind, copy)
            for thing in self._folder.things()
            if (kind := self._kind(thing)) is not None and (copy := _id(kind, thing)) is not None
        }
        return _Placing(geometry=geometry, owners=owners)

    def make_baseline(self, boundary: Boundary, *, now: datetime, dumped: Dumped = lambda _: None) -> str:
        """Dump what is left of the database into the folder, once for this erasure; return the dump's name.

        `dumped` is shown a session that sees the database as the dump has it.

        One that stands already is taken if its name and its header say that it is of this database. On return it is on
        the disk and was read through by pg_restore. Raise StoreFault or HostFault otherwise.
        """
        for thing in self.of_database():
            match = OURS.fullmatch(thing.name)
            if match and match["of"] == self._mark() and _time(match["at"]) >= boundary.erased_at:
                _read_through(self._folder.path / thing.name, self._database.major, self.name)
                return thing.name
        name = f"domicile-after-erasure-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self._mark()}.dump"
        with tempfile.TemporaryDirectory(prefix=".domicile-", dir=self._folder.path) as folder:
            fresh = Path(folder) / name
            with connect(self._database.dsn, store=self.name) as session, _moment(session, self.name) as moment:
                arguments = ["--format=custom", f"--snapshot={moment}", f"--file={fresh}"]
                _run("pg_dump", self._database, self.name, arguments)
                dumped(session)
            _read_through(fresh, self._database.major, self.name)
            _sync(fresh)
            fresh.replace(self._folder.path / name)
        self._folder.sync()
        return name

    def _mark(self) -> str:
        """What tells baselines of this database from those of others, also of the same name in another cluster."""
        return hashlib.sha256(f"{self._database.system}/{self._database.name}".encode()).hexdigest()[:16]


def newest(name: str, path: Path, database: Database) -> Path:
    """The dump of that database in the folder that changed last; NoClearance when there is none."""
    folder = Dumps(name, path, database=database, custody=Custody(by_engine=False))
    found = folder.of_database()
    if not found:
        raise NoClearance(
            f"store {name}: {path} holds no dump of {database.name} that pg_restore reads; take one "
            "(pg_dump --format=custom), then run `domicile apply` again"
        )
    return path / max(found, key=lambda thing: thing.changed_at).name


def _id(kind: CopyKind, thing: Thing) -> str | None:
    """Name a copy after its file; None where the name might tell of a person, or is ours."""
    return copy_id(kind, name=thing.name) if NAME.fullmatch(thing.name) and not OURS.fullmatch(thing.name) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placing:
    geometry: Geometry
    owners: Mapping[str, tuple[CopyKind, str]]

    @property
    def by_path(self) -> Mapping[str, Storage]:
        return {}

    def place(self, path: str) -> Place:
        kind, copy = self.owners.get(path.split("/", 1)[0], (CopyKind.OTHER_FILES, OTHERS))
        return Place(copy=copy, kind=kind, shape=_shape(path))


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@contextmanager
def _moment(session: psycopg.Connection[Any], store: str) -> Iterator[str]:
    """Export the database as it is now; the session sees it so until the end."""
    with faults(store, "hold a moment for the dump of what is left"):
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = session.execute("SELECT pg_export_snapshot()").fetchone()
        yield str(row[0] if row else "")
        session.execute("COMMIT")


def _shape(path: str) -> Shape:
    if _WAL.search(path):
        return Shape.WAL
    return Shape.UNKNOWN_PAGES if _PAGES.search(path) else Shape.PLAIN


def _read_through(path: Path, major: int, store: str) -> None:
    """Have pg_restore read all of a dump; a damaged one is no baseline."""
    _run("pg_restore", Database(dsn="", major=major), store, [f"--file={os.devnull}", str(path)])


def _run(program: str, database: Database, store: str, arguments: list[str]) -> None:
    """Run a client program; its words may hold values, so only the fact that it failed is told (P8)."""
    path = find_client(program, at_least_major=database.major)
    variables = {**os.environ, **(environment_of(database.dsn) if database.dsn else {})}  # noqa: TID251
    try:
        done = subprocess.run([str(path), *arguments], env=variables, capture_output=True, check=False)
    except OSError as fault:
        raise HostFault(f"{path} can't be run: {fault.strerror}") from None
    if done.returncode:
        raise StoreFault(
            f"store {store}: {program} failed (exit {done.returncode}), so no dump of what is left stands, and no "
            "older one is removed; run it by hand to see why"
        )


def _sync(path: Path) -> None:
    try:
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
        sync_folder(path.parent)
    except OSError as fault:
        raise NotPermitted(f"{path} can't be written through to the disk ({fault.strerror})") from None
