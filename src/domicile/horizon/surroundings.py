"""The surroundings: folders and repositories of copies around the source, listed, treated, searched and judged.

Treated after the server's own horizon: only then can no newer WAL hold what was erased. What a folder held, and what
is about to go from it, is in the log before it goes (P7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Final, LiteralString

from domicile import sweep
from domicile.config import Config
from domicile.config.custody import AroundRule, CopiesRule, EncryptedRule, RepositoryRule, ResticRule
from domicile.errors import DomicileError, StoreFault, Waiting
from domicile.events import Listener, Noted
from domicile.horizon.destroying import Destroying
from domicile.host import Host
from domicile.model import Finding
from domicile.proof import Copy
from domicile.stores.around import Around, Boundary, Custody
from domicile.stores.around.archive import Archive
from domicile.stores.around.dumps import Database, Dumped, Dumps
from domicile.stores.around.encrypted import Encrypted
from domicile.stores.around.pgbackrest import Repository
from domicile.stores.around.pgbackrest.tool import Tool
from domicile.stores.around.restic import Snapshots
from domicile.stores.around.restic import tool as restic
from domicile.stores.around.restic.listing import Machine
from domicile.stores.postgres.copies import Copy as StoreCopy
from domicile.stores.postgres.copies import CopyKind, Outcome, Treatment
from domicile.stores.postgres.files import read_geometry, read_layout
from domicile.stores.postgres.horizon.rights import may_execute
from domicile.stores.postgres.horizon.wal import following, segment_number
from domicile.stores.postgres.pages import Geometry
from domicile.stores.postgres.session import faults
from domicile.stores.postgres.source import PostgresSource
from domicile.sweep.seen import Seen, named

Removing = Callable[[str, int, bool], None]
"""Told of a copy, how many things of it go, and whether they are gone now."""

ARCHIVING = ("archive", "pgbackrest")
"""Kinds of stores that archived WAL goes to."""
_SWITCHED: Final = frozenset({Treatment.PROVEN, Treatment.HELD})
NOT_THERE = "no longer in the folder"
ARCHIVER_POLLS_MAX: Final = 150
ARCHIVER_POLL_S: Final = 0.1
IDLE_POLLS_MAX: Final = 10
"""While nothing waits for the archiver: before 15 what it archived is told up to half a second late."""
_SEGMENT_SQL: LiteralString = """
SELECT pg_walfile_name(pg_current_wal_insert_lsn()),
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size')
"""
_SWITCH_SQL: LiteralString = """
SELECT pg_logical_emit_message(false, 'domicile', ''), pg_switch_wal()
"""
_ARCHIVED_SQL: LiteralString = """
SELECT last_archived_wal, current_setting('archive_mode') <> 'off' FROM pg_stat_archiver
"""
_NOTHING_WAITS_SQL: LiteralString = """
SELECT NOT EXISTS (SELECT FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready')
"""
_SOURCE_SQL: LiteralString = """
SELECT current_database(), (SELECT system_identifier FROM pg_control_system()),
       current_setting('server_version_num')::int / 10000
"""

_TABLES_SQL: LiteralString = """
SELECT n.nspname, c.relname, c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


class Surroundings:
    """The folders that the file names, in its order."""

    def __init__(
        self, source: PostgresSource, config: Config, *, host: Host, listener: Listener, keys: Destroying
    ) -> None:
        self._source = source
        self._keys = keys
        self._rules = config.around
        self._host = host
        self._listener = listener

    def __bool__(self) -> bool:
        return bool(self._rules)

    def inventory(self) -> Iterator[Copy]:
        """List the copies as the plan names them."""
        for store, rule in self._stores():
            if isinstance(store, Repository | Snapshots):
                store.refuse_foreign()
            for copy in store.inventory():
                yield Copy(
                    id=f"{store.name}/{copy.id}", store=store.name, location=rule.location, kind=copy.kind.value,
                    dataset=None, method=copy.method,
                )  # fmt: skip

    def blocked(self) -> Iterator[tuple[str, date]]:
        """Name the stores whose copies may not go before a day that is still to come."""
        today = self._host.now().date()
        for name, rule in self._rules.items():
            if rule.keep_until is not None and today < rule.keep_until:
                yield name, rule.keep_until

    def boundary(self, erased_at: datetime, server: Sequence[Outcome]) -> Boundary:
        """From when on the folders' things hold nothing of what was erased; `server` is what was done to the server.

        The rows left, and the tables were written anew, in the segment that is being written; only one that was begun
        afterwards is younger. Where the treatment had none begun, it is now; where the role may not, it is the next.
        """
        with faults(self._source.name, "read the WAL position"):
            is_younger = not self._has_archive() or _was_switched(server) or self._begin_another()
            segment, segment_bytes = self._segment()
            archived = self._archived(segment, segment_bytes=segment_bytes) if self._rules else None
        treated_at = self._host.now()
        noted = {store.name: store.note() for store, _ in self._stores() if isinstance(store, Snapshots)}
        return Boundary(
            erased_at=erased_at, segment=segment if is_younger else following(segment, segment_bytes=segment_bytes),
            archived=archived, treated_at=treated_at, noted=noted,
        )  # fmt: skip

    def _has_archive(self) -> bool:
        return any(rule.kind in ARCHIVING for rule in self._rules.values())

    def _begin_another(self) -> bool:
        """Have the server begin another segment; False where the role may not.

        Asked apart: a query that names the function is refused before its WHERE is looked at.
        """
        may = may_execute(self._source.connection, "pg_switch_wal()")
        if may:
            self._source.connection.execute(_SWITCH_SQL)
        return may

    def _segment(self) -> tuple[str, int]:
        """The segment that is being written, and how large one is."""
        row = self._source.connection.execute(_SEGMENT_SQL).fetchone()
        if row is None or row[0] is None:
            raise StoreFault(f"store {self._source.name}: it names no WAL segment; is it a standby?")
        return str(row[0]), int(row[1])

    def _as_of_now(self, boundary: Boundary) -> Boundary:
        """The boundary, with what the server archived last now.

        That of then may have gone since, by the archive's retention or by our own hand; so where the server still
        writes the boundary's segment, it is told to begin another one, and that one is archived. Where it may not be
        told, and the segment isn't even begun, it is awaited.
        """
        if not self._has_archive():
            return boundary
        with faults(self._source.name, "read what it archived last"):
            segment, segment_bytes = self._segment()
            if segment <= boundary.segment and self._begin_another():
                segment, _ = self._segment()
            archived = self._archived(segment, segment_bytes=segment_bytes)
            return replace(boundary, archived=archived, awaited=segment < boundary.segment)

    def _once_begun(self, boundary: Boundary) -> Boundary:
        """The boundary after a backup, which begins a segment; what was archived last is then its history file."""
        if not boundary.awaited:
            return boundary
        with faults(self._source.name, "read the WAL position"):
            return replace(boundary, awaited=self._segment()[0] < boundary.segment)

    def _archived(self, segment: str, *, segment_bytes: int) -> str | None:
        """What the server archived last, once that is the segment before; it is waited for, bounded.

        Else the one that is being written to the archive looks broken there. After a backup what was archived last is
        its history file: then, where we may look, nothing is waited for that isn't there.
        """
        wanted = (segment_number(segment, segment_bytes=segment_bytes) or 0) - 1
        may_look = may_execute(self._source.connection, "pg_ls_archive_statusdir()")
        archived, idle = None, 0
        for _ in range(ARCHIVER_POLLS_MAX):
            row = self._source.connection.execute(_ARCHIVED_SQL).fetchone()
            archived, is_on = row or (None, False)
            number = segment_number(archived or "", segment_bytes=segment_bytes)
            idle += may_look and self._nothing_waits()
            if not is_on or (number is not None and number >= wanted) or idle > IDLE_POLLS_MAX:
                break
            self._source.connection.execute("SELECT pg_sleep(%s)", (ARCHIVER_POLL_S,))
        return archived

    def _nothing_waits(self) -> bool:
        """Whether no segment that the server is through with waits for the archiver."""
        return self._source.connection.execute(_NOTHING_WAITS_SQL).fetchone() == (True,)

    def told_of_archive(self, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
        """The server's outcomes, its copy `archive` with a word on the store that holds it: still `unknown`."""
        names = ", ".join(name for name, rule in self._rules.items() if rule.kind in ARCHIVING)
        if not names:
            return tuple(outcomes)
        return tuple(
            replace(
                item, why=f"what is archived to {names} has verdicts of its own; whether the command writes elsewhere"
                " as well, can't be seen", remedy="read archive_command",
            )
            if item.copy == CopyKind.ARCHIVE.value and item.treatment is Treatment.UNSEEN
            else item
            for item in outcomes
        )  # fmt: skip

    def foreseen(self) -> Iterator[Finding]:
        """What will become of the keys of encrypted folders, or why that can't be."""
        yield from (self._keys.foreseen(store) for store, _ in self._stores() if isinstance(store, Encrypted))

    def treat(
        self,
        boundary: Boundary,
        *,
        removing: Removing,
        dumped: Dumped = lambda _: None,
        planned: Sequence[str],
        yes: bool,
    ) -> dict[str, tuple[Outcome, ...]]:
        """Remove what is ours to remove, and with `yes` destroy the keys that may go; outcomes by store.

        `dumped` is shown each moment of which a dump of what is left is made.
        """
        boundary = self._as_of_now(boundary)
        return {
            store.name: self._destroy(store, rule.encrypted, boundary, yes=yes)
            if isinstance(store, Encrypted) and isinstance(rule, CopiesRule) and rule.encrypted
            else self._treat(store, rule, boundary, removing=removing, dumped=dumped)
            for store, rule in self._stores(planned)
        }

    def _destroy(self, store: Encrypted, rule: EncryptedRule, boundary: Boundary, *, yes: bool) -> tuple[Outcome, ...]:
        self._listener(Noted(text=f"{store.name}: its files and key {rule.key} are being looked at"))
        return store.destroy(boundary, allowed=yes, announce=self._keys.announcing(store.name, rule))

    def _treat(
        self, store: Around, rule: AroundRule, boundary: Boundary, *, removing: Removing, dumped: Dumped
    ) -> tuple[Outcome, ...]:
        if rule.removed_by == "engine" and isinstance(store, Dumps) and store.has_to_remove(boundary):
            self._listener(Noted(text=f"{store.name}: a dump of what is left is being made"))
            name = store.make_baseline(boundary, now=self._host.now(), dumped=dumped)
            self._listener(Noted(text=f"{store.name}: {name} stands, and pg_restore read all of it"))
        if isinstance(store, Repository) and store.has_to_remove(boundary):
            self._listener(Noted(text=f"{store.name}: pgBackRest takes a full backup of what is left"))
            label = store.make_baseline(boundary)
            boundary = self._once_begun(boundary)
            self._listener(Noted(text=f"{store.name}: {label} stands, and pgBackRest has verified it"))

        kept: set[str] = set()

        def announce(copy: str, names: Sequence[str]) -> None:
            removing(f"{store.name}/{copy}", len(names), not names)
            (kept.add if names else kept.discard)(copy)

        def leave() -> None:
            for copy in sorted(kept):  # something of it is left: who removes that later isn't us
                removing(f"{store.name}/{copy}", 0, False)  # noqa: FBT003 - Removing's shape

        try:
            outcomes = store.treat(boundary, announce=announce)
        except DomicileError:  # refused in the middle
            leave()
            raise
        leave()
        return outcomes

    def refuse_waiting(self, treated: Mapping[str, Sequence[Outcome]]) -> None:
        """Raise Waiting while something old lies there that a person can remove, or something can't be read."""
        held = [
            f"{store}/{item.copy}: {item.why}; to do: {item.remedy}"
            for store, outcomes in treated.items()
            for item in outcomes
            if item.treatment in {Treatment.HELD, Treatment.NOT_PERMITTED}
        ]
        if held:
            more = f" (and {len(held) - 1} more)" if len(held) > 1 else ""
            raise Waiting(f"{held[0]}{more}. `domicile certify` certifies it as it is: `present` or `unknown`")

    def search(
        self,
        tokens: sweep.Tokens,
        treated: Mapping[str, Sequence[Outcome]],
        planned: Sequence[str],
        *,
        removed: Sequence[str],
        left: Sequence[str] = (),
    ) -> Iterator[Seen]:
        """Search each folder, and judge each of its planned copies, also those that are gone.

        `removed` are those whose removal the log tells of: they didn't go by somebody else's hand; `left` those of
        which it tells that we couldn't remove all.
        """
        if not self._rules:
            return
        with faults(self._source.name, "read what a search has to know"):
            geometry = read_geometry(self._source.connection)
            encodings = sweep.encodings(self._source.connection)
        for store, _ in self._stores(planned):
            outcomes = {
                item.copy: _by_whose_hand(
                    item, ours=f"{store.name}/{item.copy}" in removed, left=f"{store.name}/{item.copy}" in left
                )
                for item in treated.get(store.name, ())
            }
            copies = (*store.inventory(), *self._gone(store, planned))
            for copy in copies:
                outcomes.setdefault(copy.id, _since_then(copy, ours=f"{store.name}/{copy.id}" in removed))
            if outcomes and all(item.treatment is Treatment.NOT_PERMITTED for item in outcomes.values()):
                result = sweep.SearchResult(tokens=tokens.counts, how="it can't be read", copies=())
                how: Mapping[str, str] = {}
            else:
                result, how = self._sweep(store, geometry, tokens, copies, encodings=encodings)
            verdicts = sweep.decide_all(copies, tuple(outcomes.values()), result, rows_erased=True)
            yield named(store.name, Seen(
                copies=copies, outcomes=tuple(outcomes.values()), result=result, verdicts=verdicts, how=how
            ))  # fmt: skip

    def _sweep(
        self, store: Around, geometry: Geometry, tokens: sweep.Tokens, copies: Sequence[StoreCopy], *,
        encodings: tuple[Sequence[str], Sequence[str]],
    ) -> tuple[sweep.SearchResult, Mapping[str, str]]:  # fmt: skip
        """Search a store; say how those of its copies were had that don't lie there as they are."""
        if not isinstance(store, Repository | Snapshots):
            return sweep.sweep_folder(store.files(), store.placing(geometry), tokens, copies, encodings=encodings), {}
        with faults(self._source.name, "read how its files are laid out"):
            relations = read_layout(self._source.connection, datasets=()).by_path
        with closing(store.files()) as files:
            placing = store.placing(geometry, relations)
            result = sweep.sweep_folder(files, placing, tokens, copies, encodings=encodings)
            return result, store.how(files)

    def _gone(self, store: Around, planned: Sequence[str]) -> Iterator[StoreCopy]:
        """The copies that the plan lists and the folder no longer holds."""
        there = {copy.id for copy in store.inventory()}
        for name in planned:
            own = name.removeprefix(f"{store.name}/")
            if own != name and own not in there:
                kind = CopyKind(own.partition(":")[0])
                yield StoreCopy(id=own, kind=kind, relation=None, method="", observable=True, why=NOT_THERE)

    def _stores(self, planned: Sequence[str] = ()) -> Iterator[tuple[Around, AroundRule]]:
        """The stores as the file has them; those that fold what came since the plan get what was `planned` of them."""
        for name, rule in self._rules.items():
            database = self._database()
            blocked = rule.keep_until if rule.keep_until and self._host.now().date() < rule.keep_until else None
            custody = Custody(by_engine=rule.removed_by == "engine", blocked_until=blocked)
            own = [copy.removeprefix(f"{name}/") for copy in planned if copy.startswith(f"{name}/")]
            if isinstance(rule, ResticRule):
                yield self._snapshots(name, rule, system=database.system, custody=custody, planned=own), rule
            elif isinstance(rule, RepositoryRule):
                yield self._repository(name, rule, system=database.system, custody=custody, planned=own), rule
            elif rule.encrypted:
                yield self._keys.folder(name, rule, rule.encrypted, database=database, custody=custody), rule
            elif rule.kind == "archive":
                yield Archive(name, Path(rule.path), system=database.system, custody=custody), rule
            else:
                yield Dumps(name, Path(rule.path), database=database, custody=custody), rule

    def _repository(
        self, name: str, rule: RepositoryRule, *, system: int, custody: Custody, planned: Sequence[str]
    ) -> Repository:
        rules = [one for one in self._rules.values() if isinstance(one, RepositoryRule)]
        return Repository(
            name, Tool(store=name, stanza=rule.stanza, config=Path(rule.config), user=rule.user), system=system,
            custody=custody, scratch=Path(rule.scratch), now=self._host.now, planned=planned,
            stanzas=[one.stanza for one in rules if one.config == rule.config],
        )  # fmt: skip

    def _snapshots(
        self, name: str, rule: ResticRule, *, system: int, custody: Custody, planned: Sequence[str]
    ) -> Snapshots:
        password = self._host.secret(rule.password, base=self._keys.base)
        tool = restic.Tool(store=name, repository=Path(rule.repository), password=password, user=rule.user)
        return Snapshots(
            name, tool, machine=Machine(hosts=rule.hosts, paths=rule.paths), system=system, custody=custody,
            scratch=Path(rule.scratch), now=self._host.now, planned=planned,
        )  # fmt: skip

    def _database(self) -> Database:
        with faults(self._source.name, "read its name and number"):
            row = self._source.connection.execute(_SOURCE_SQL).fetchone()
            tables = self._source.connection.execute(_TABLES_SQL).fetchall()
        if row is None:
            raise StoreFault(f"store {self._source.name}: it doesn't say its name; connect again")
        name, system, major = row
        return Database(
            dsn=self._source.dsn, major=major, name=name, system=system,
            tables={f"{schema} {table}": number for schema, table, number in tables},
        )  # fmt: skip


def _was_switched(server: Sequence[Outcome]) -> bool:
    """Whether the treatment of the server's WAL had another segment begun, as it does before all else."""
    return any(item.copy == CopyKind.WAL.value and item.treatment in _SWITCHED for item in server)


def _by_whose_hand(outcome: Outcome, *, ours: bool, left: bool) -> Outcome:
    """What is no longer in a copy went when we emptied it, earlier; or, where we couldn't, by somebody else's hand."""
    if ours and outcome.treatment is Treatment.GONE:
        return replace(outcome, treatment=Treatment.DONE)
    if left and outcome.treatment is Treatment.OBSERVED:
        return replace(outcome, treatment=Treatment.GONE, why="what we couldn't remove from it is gone, not by us")
    return outcome


def _since_then(copy: StoreCopy, *, ours: bool) -> Outcome:
    """Of a copy that nothing was done to just now: it is new, or it went away, by our hand or somebody else's."""
    if copy.why != NOT_THERE:
        return Outcome(copy=copy.id, treatment=Treatment.OBSERVED, why="made since the erasure; looked through")
    if ours:
        return Outcome(copy=copy.id, treatment=Treatment.DONE, why="made before the erasure, removed")
    return Outcome(copy=copy.id, treatment=Treatment.GONE, why=NOT_THERE)
