"""The horizon: every copy of the source, listed for the plan, emptied after the erase, searched, and judged.

The server's side is `stores.postgres.horizon`, the folders around it are `surroundings`, object stores are `objects`,
the search is `sweep`; this joins them for one source. Nothing is ever left out: what the plan listed gets a verdict,
and a copy that appeared since is named as not proven (P3, P11).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Any

import psycopg

from domicile import sweep
from domicile.config import Config
from domicile.events import Advanced, Listener, Noted
from domicile.evidence.predicates import SweepPredicate, SweptCopy, SweptRows, SweptTokens
from domicile.horizon.logs import COPY as SERVER_LOG
from domicile.horizon.logs import Removing, ServerLogs
from domicile.horizon.standbys import Standbys
from domicile.horizon.surroundings import ARCHIVING, Surroundings
from domicile.model import Finding, Home, Scope, State
from domicile.objects import Objects
from domicile.proof import Copy, CopyVerdict, Verdict
from domicile.stores.around import Boundary
from domicile.stores.postgres import horizon as server
from domicile.stores.postgres.copies import CopyKind, Outcome, Treatment, copy_id
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.horizon.logs import Rotated
from domicile.stores.postgres.session import application_path, faults
from domicile.stores.postgres.source import PostgresSource
from domicile.sweep.seen import Seen, named
from domicile.sweep.sources import not_looked_for, token_sources
from domicile.sweep.verdict import spelled

_ELSEWHERE = {
    CopyKind.ARCHIVE: "archive", CopyKind.STANDBYS: "standby", CopyKind.SUBSCRIBERS: "", CopyKind.SUBSCRIPTIONS: "",
    CopyKind.FOREIGN_TABLES: "",
}  # fmt: skip
"""Copies of which the server only says that there are some, and the kind of store that holds such; empty: none yet."""


Keep = Callable[["Treated"], None]
"""Told what was done to the server, before anything goes from the folders around it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What sweep and verdicts came to."""

    sweep: SweepPredicate
    verdicts: tuple[CopyVerdict, ...]
    not_proven: tuple[str, ...]
    hits: int
    locks_ms: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Treated:
    """What was done to each copy: of the server, its standbys, and the folders around it, with their boundary.

    `rotated` is when each server's log was.
    """

    server: tuple[Outcome, ...]
    standbys: Mapping[str, tuple[Outcome, ...]] = field(default_factory=dict)
    around: Mapping[str, tuple[Outcome, ...]] = field(default_factory=dict)
    boundary: Boundary | None = None
    rotated: Mapping[str, Rotated] = field(default_factory=dict)

    @property
    def logs_kept(self) -> Mapping[str, Rotated]:
        """Of the logs of which files wait for a day, or for somebody to remove them, when they were rotated.

        What came since stays: rotated again with every treatment, a log would never come to its end.
        """
        kept = {
            store
            for store, items in (("", self.server), *self.standbys.items())
            for item in items
            if item.copy == SERVER_LOG and item.treatment in {Treatment.BLOCKED, Treatment.HELD}
        }
        source = set(self.rotated) - set(self.standbys)
        return {name: when for name, when in self.rotated.items() if name in kept or ("" in kept and name in source)}

    @property
    def copies(self) -> int:
        """How many copies were treated or looked at."""
        return len(self.server) + sum(map(len, (*self.standbys.values(), *self.around.values())))


class Horizon:
    """The copies of one source, seen over its own session."""

    def __init__(  # noqa: PLR0913 - the source, what lies beside it, and who listens
        self,
        source: PostgresSource,
        scope: Scope,
        config: Config,
        *,
        standbys: Standbys,
        logs: ServerLogs,
        around: Surroundings,
        objects: Objects,
        listener: Listener,
    ) -> None:
        self._standbys = standbys
        self._logs = logs
        self._around = around
        self._objects = objects
        self._source = source
        self._scope = scope
        self._config = config
        self._listener = listener
        self._tables = tuple(dataset.table for dataset in scope.datasets if dataset.owned)
        self._derived = tuple(item.table for item in scope.derived if not item.view)
        self._mapped = tuple(dataset.table for dataset in scope.datasets)
        self._wanted: sweep.Tokens | None = None

    def inventory(self) -> tuple[Copy, ...]:
        """List the copies as the plan names them: `store/id`."""
        location = self._config.stores[self._source.name].location
        datasets = {dataset.table: str(dataset.id) for dataset in self._scope.datasets}
        datasets |= {item.table: str(item.id) for item in self._scope.derived}
        own = tuple(
            Copy(
                id=self._id(copy.id), store=self._source.name, location=location, kind=copy.kind.value,
                dataset=datasets.get(copy.relation) if copy.relation else None, method=copy.method,
            )
            for copy in self._copies()
        )  # fmt: skip
        servers = (*own, *self._standbys.inventory(self._tables, self._derived))
        return (
            *(
                replace(copy, method=self._logs.method(copy.store, copy.method))
                if copy.kind == CopyKind.SERVER_LOG.value
                else copy
                for copy in servers
            ),
            *self._around.inventory(),
            *self._objects.inventory(),
        )

    def logs_leaving(self) -> Mapping[str, tuple[str, ...]]:
        """By copy, the log files that the engine would remove after the erasure."""
        return self._logs.leaving()

    def outside(self) -> tuple[Finding, ...]:
        """What the server says lies elsewhere and no store of the file holds, and what has to be kept for a while."""
        known: set[str] = {store.kind for store in self._config.around.values()}
        known |= {"archive"} if known & set(ARCHIVING) else set()
        known |= {"standby"} if self._standbys else set()
        unknown = tuple(
            Finding(
                kind="unknown store", where=self._id(copy.id), count=1,
                text=f"{copy.kind.value}: {copy.why}; no store of the file is that",
                remedy="name it in `stores`, or see to it by hand: it stays `unknown`",
            )
            for copy in self._copies()
            if copy.kind in _ELSEWHERE and not copy.observable and _ELSEWHERE[copy.kind] not in known
        )  # fmt: skip
        blocked = tuple(
            Finding(
                kind="blocked until", where=name, count=1, text=f"its copies have to be kept until {day}",
                rule="keep_until",
            )
            for name, day in self._around.blocked()
        )  # fmt: skip
        return (*unknown, *blocked, *self._logs.foreseen(), *self._around.foreseen(), *self._objects.outside())

    def treat(  # noqa: PLR0913 - from when, what was done before, and who is told
        self,
        *,
        erased_at: datetime,
        removing: Removing,
        planned: Sequence[str],
        before: Treated | None = None,
        spare: Sequence[str] = (),
        keep: Keep,
        yes: bool,
    ) -> Treated:
        """Empty what can be emptied, the server first; one outcome a copy. Keys are destroyed with `yes` only.

        With what was done `before`, only the folders are treated again: the server's treatment holds. What is to be
        `spare`d has no outcome: it was not treated.
        """
        outcomes = before.server if before and before.server else self._treat_server(spare)
        if before and before.server:
            standbys = before.standbys
        else:
            standbys = self._standbys.treat(outcomes, self._tables, self._derived)
            outcomes = self._standbys.judged_attached(outcomes)
        source = self._source.name
        rotated = self._logs.rotate({source: outcomes, **standbys}, before.rotated if before else {})
        boundary = None
        if self._around:
            boundary = (before and before.boundary) or self._around.boundary(erased_at, outcomes)
            outcomes = self._around.told_of_archive(outcomes)
        if boundary or rotated:
            keep(Treated(server=outcomes, standbys=standbys, boundary=boundary, rotated=rotated))
        outcomes = self._logs.treat(source, outcomes, rotated, removing=removing, yes=yes)
        standbys = {
            name: self._logs.treat(name, items, rotated, removing=removing, yes=yes) for name, items in standbys.items()
        }
        around = (
            self._around.treat(boundary, removing=removing, dumped=self._leave_out_dumped, planned=planned, yes=yes)
            if boundary
            else {}
        )
        return Treated(server=outcomes, standbys=standbys, boundary=boundary, rotated=rotated, around=around)

    def refuse_waiting(self, treated: Treated) -> None:
        """Raise Waiting while a person has to remove something of the server's log, or around the server."""
        self._logs.refuse_waiting({self._source.name: treated.server, **treated.standbys}, treated.rotated)
        self._around.refuse_waiting(treated.around)
        self._objects.refuse_waiting(self._scope)

    def _treat_server(self, spare: Sequence[str]) -> tuple[server.Outcome, ...]:

        def progress(text: str) -> None:
            self._listener(Advanced(stage="horizon", units=0, text=text))

        with faults(self._source.name, "treat the horizon"):
            copies = [copy for copy in self._copies() if self._id(copy.id) not in spare]
            with application_path(self._source.connection):
                return server.treat(self._source.connection, copies, self._tables, progress=progress)

    def ask(self, homes: Mapping[Home, PostgresHome], *, seed: int, canaries: Sequence[str]) -> None:
        """Read at every home what `search` is to look for; before the treatment.

        Unspecific values that somebody who stays bears then are left out: who changes or leaves a row afterwards leaves
        them in its dead version, and they would be taken for a mover's.
        """
        found = [
            sweep.collect(
                store.connection, token_sources(self._scope, self._config, home), seed=seed, canaries=canaries
            )
            for home, store in homes.items()
        ]
        self._wanted = sweep.Tokens.merged(found)
        self._leave_out_common(self._source.connection)

    def search(  # noqa: PLR0913 - what, where, and what the statement says
        self,
        treated: Treated,
        *,
        planned: Sequence[str],
        removed: Sequence[str],
        left: Sequence[str] = (),
        canaries: int,
        rows_left: int,
        now: datetime,
        plan: str,
    ) -> Judged:
        """Search the source and its surroundings for what was asked for, and judge each planned copy.

        People go on writing: what those who stay came to bear since the values were read is no residue. It is left out
        before the search and once more after it; of a dump of what is left, also what they bore in its very moment.
        """
        tokens = self._leave_out_common(self._source.connection)
        outcomes = self._logs.judged(self._source.name, treated.server, removed)
        standbys = {name: self._logs.judged(name, items, removed) for name, items in treated.standbys.items()}
        copies = self._copies()

        result = self._sweep(tokens, copies)
        if any(not finding.token_class.specific for found in result.copies for finding in found.findings):
            fewer = self._leave_out_common(self._source.connection)
            if len(fewer) < len(tokens):
                tokens, result = fewer, self._sweep(fewer, copies)
        verdicts = sweep.decide_all(copies, outcomes, result, rows_erased=True)
        seen = (
            named(self._source.name, Seen(copies=copies, outcomes=outcomes, result=result, verdicts=verdicts)),
            *self._standbys.search(tokens, standbys, self._tables, self._derived),
            *self._around.search(tokens, treated.around, planned, removed=removed, left=left),
            *self._objects.search(tokens, self._scope, now=now, listener=self._listener),
        )
        by_copy = {verdict.copy: verdict for one in seen for verdict in one.verdicts}
        if rows_left:
            by_copy |= self._rows_are_left(rows_left)
        judged, notes = _judge_planned(planned, by_copy)
        for note in notes:
            self._listener(Noted(text=note))
        return Judged(
            sweep=self._statement(
                result,
                swept=[item for one in seen for item in one.swept()],
                canaries=canaries,
                rows_left=rows_left,
                planned=planned,
                now=now,
                plan=plan,
            ),
            verdicts=judged,
            not_proven=(
                *notes,
                *_tokens_not_searched(result),
                *filter(None, [not_looked_for(self._scope)]),
                *_of_destroyed_keys(judged),
            ),
            hits=sum(bool(found.hits) for one in seen for found in one.result.copies),
            locks_ms={self._id(item.copy): item.lock_ms for item in outcomes if item.lock_ms is not None},
        )

    def _sweep(self, tokens: sweep.Tokens, copies: Sequence[server.Copy]) -> sweep.SearchResult:
        def progress(text: str) -> None:
            self._listener(Advanced(stage="sweep", units=0, text=text))

        with faults(self._source.name, "sweep"):
            return sweep.sweep_server(
                self._source.connection,
                tokens,
                copies,
                self._tables,
                progress=progress,
                sql_only=self._config.databases[self._source.name].files == "sql",
            )

    def _rows_are_left(self, count: int) -> dict[str, CopyVerdict]:
        """What a count over all tables says of each table's rows: that they may be among them."""
        why = f"{count} rows that should be gone were found by query, here or in another table"
        copies = [self._id(copy_id(CopyKind.LIVE_ROWS, table)) for table in self._tables]
        return {copy: CopyVerdict(copy=copy, verdict=Verdict.PRESENT, why=why) for copy in copies}

    def _leave_out_common(self, connection: psycopg.Connection[Any]) -> sweep.Tokens:
        """Look no longer for unspecific values that people who stay bear, as the session sees them; return the rest."""
        if self._wanted is None:
            raise RuntimeError("a search without anything to look for proves nothing")
        with faults(self._source.name, "read what stays"):
            stays = chain(sweep.staying(connection, self._mapped), [self._own_words()])
            self._wanted = sweep.without_common(self._wanted, stays)
        return self._wanted

    def _own_words(self) -> bytes:
        """What the engine writes at the source by itself, of nobody: the directory's states, homes and kinds."""
        kinds = (str(kind.dataset) for kind in self._scope.kinds)
        return "\n".join((*State, *map(str, self._scope.homes), *kinds)).encode()

    def _leave_out_dumped(self, connection: psycopg.Connection[Any]) -> None:
        """Do so in the moment of a dump of what is left: what came and went around it lies in that dump alone."""
        if self._wanted is not None:
            self._leave_out_common(connection)

    def _statement(  # noqa: PLR0913 - a statement's parts
        self,
        result: sweep.SearchResult,
        *,
        swept: Sequence[SweptCopy],
        canaries: int,
        rows_left: int,
        planned: Sequence[str],
        now: datetime,
        plan: str,
    ) -> SweepPredicate:
        counts, wanted = result.tokens, set(planned)
        return SweepPredicate(
            plan=plan,
            swept_at=now,
            tokens=SweptTokens(
                searched=counts.searched, not_searchable=counts.too_short + counts.common, canaries=canaries
            ),
            copies=tuple(item for item in swept if item.id in wanted),
            rows=SweptRows(datasets=len(self._tables), hits=rows_left),
        )

    def _copies(self) -> tuple[server.Copy, ...]:
        with faults(self._source.name, "list the copies"):
            return server.inventory(
                self._source.connection, self._tables, self._derived, directory=self._config.keeps_directory
            )

    def _id(self, copy: str) -> str:
        return f"{self._source.name}/{copy}"


def _judge_planned(
    planned: Sequence[str], verdicts: Mapping[str, CopyVerdict]
) -> tuple[tuple[CopyVerdict, ...], tuple[str, ...]]:
    """A verdict for each planned copy; one that is no longer listed is unknown, one that is new is told."""
    judged = tuple(
        replace(verdicts[name], copy=name)
        if name in verdicts
        else CopyVerdict(copy=name, verdict=Verdict.UNKNOWN, why="listed by the plan, and not found at the sweep")
        for name in planned
    )
    new = tuple(
        spelled(f"copy {name} appeared since the plan: {verdict.verdict.value}, {verdict.why}")
        for name, verdict in verdicts.items()
        if name not in set(planned)
    )
    return judged, new


def _of_destroyed_keys(judged: Sequence[CopyVerdict]) -> tuple[str, ...]:
    """What a destroyed key doesn't prove: the files are all still there, and anybody may have copied them."""
    names = [verdict.copy for verdict in judged if verdict.verdict is Verdict.KEY_DESTROYED]
    if not names:
        return ()
    why = (
        "that nobody kept a key or a content key elsewhere, and that RSA and AES hold for as long as anybody keeps them"
    )
    return (f"{', '.join(names)}: the files still lie there, unreadable; {why}, isn't proven",)


def _tokens_not_searched(result: sweep.SearchResult) -> tuple[str, ...]:
    counts = result.tokens
    notes = []
    if counts.too_short or counts.common:
        notes.append(
            f"{counts.too_short + counts.common} values were not looked for: {counts.too_short} too short, "
            f"{counts.common} that people who stay may bear as well"
        )
    if counts.sampled:
        notes.append(f"only a sample of {counts.searched} values was looked for")
    return tuple(notes)
