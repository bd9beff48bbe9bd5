"""The source's standbys that the file names: listed, treated after the source, and swept like it.

Each is a server of its own with the same tables: its copies are those of the source, under its own name. The source
itself says how many are attached; only when all of them are named is it believed that there is none besides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from domicile import sweep
from domicile.catalogue import TableName
from domicile.config import Config
from domicile.errors import StoreFault
from domicile.events import Advanced, Listener
from domicile.host import Host
from domicile.proof import Copy
from domicile.stores.postgres import horizon as server
from domicile.stores.postgres.copies import Copy as StoreCopy
from domicile.stores.postgres.copies import CopyKind, Outcome, Treatment
from domicile.stores.postgres.session import application_path, connect, faults
from domicile.stores.postgres.source import PostgresSource
from domicile.sweep.seen import Seen, named

_SOURCE_SQL: LiteralString = """
SELECT (SELECT system_identifier FROM pg_control_system()), pg_current_wal_insert_lsn()::text
"""
# Walsenders of logical slots feed subscribers, not standbys.
_ATTACHED_SQL: LiteralString = """
SELECT (SELECT count(*) FROM pg_stat_replication r WHERE NOT EXISTS (
          SELECT FROM pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')),
       (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical')
"""


class Standbys:
    """The standbys of one source; `base` is the folder that references are relative to."""

    def __init__(self, source: PostgresSource, config: Config, *, host: Host, listener: Listener, base: Path) -> None:
        self._source = source
        self._config = config
        self._host = host
        self._listener = listener
        self._base = base

    def __bool__(self) -> bool:
        return bool(self._config.standbys)

    def inventory(self, tables: Sequence[TableName], derived: Sequence[TableName]) -> Iterator[Copy]:
        """List the copies as the plan names them."""
        datasets = {table: f"{self._source.name}.{table}" for table in (*tables, *derived)}
        for name, rule in self._config.standbys.items():
            with self.opened(name, "list the copies") as conn:
                for copy in self._copies(conn, tables, derived):
                    yield Copy(
                        id=f"{name}/{copy.id}", store=name, location=rule.location, kind=copy.kind.value,
                        dataset=datasets.get(copy.relation) if copy.relation else None,
                        method=f"as at the source, by replay; {copy.method}",
                    )  # fmt: skip

    def treat(
        self, outcomes: Sequence[Outcome], tables: Sequence[TableName], derived: Sequence[TableName]
    ) -> dict[str, tuple[Outcome, ...]]:
        """Treat each after the source, whose outcomes are given; by store."""
        if not self:
            return {}
        with faults(self._source.name, "read its position"):
            row = self._source.connection.execute(_SOURCE_SQL).fetchone()
        if row is None:
            raise StoreFault(f"store {self._source.name}: it doesn't say its position; connect again")
        done = server.AtPrimary(system=row[0], position=row[1], outcomes={item.copy: item for item in outcomes})
        treated = {}
        for name in self._config.standbys:

            def progress(text: str, name: str = name) -> None:
                self._listener(Advanced(stage="horizon", units=0, text=f"{name}: {text}"))

            with self.opened(name, "treat the horizon") as conn, application_path(conn):
                copies = self._copies(conn, tables, derived)
                treated[name] = server.treat_standby(conn, self._source.connection, copies, done, progress=progress)
        return treated

    def judged_attached(self, outcomes: Sequence[Outcome]) -> tuple[Outcome, ...]:
        """The source's outcomes, where the copy `standbys` is no riddle any more when all attached ones are named."""
        if not self:
            return tuple(outcomes)
        with faults(self._source.name, "count its standbys"):
            row = self._source.connection.execute(_ATTACHED_SQL).fetchone()
        attached, slots = row or (0, 0)
        named_ones = len(self._config.standbys)
        if max(attached, slots) > named_ones:
            return tuple(outcomes)
        return tuple(
            replace(
                item, treatment=Treatment.ABSENT, why=f"{attached} attached, and {named_ones} are stores of the file"
            )
            if item.copy == CopyKind.STANDBYS.value
            else item
            for item in outcomes
        )

    def search(
        self,
        tokens: sweep.Tokens,
        treated: Mapping[str, Sequence[Outcome]],
        tables: Sequence[TableName],
        derived: Sequence[TableName],
    ) -> Iterator[Seen]:
        """Search each like the source, and judge its copies."""
        for name, rule in self._config.standbys.items():
            with self.opened(name, "sweep") as conn:
                copies = self._copies(conn, tables, derived)
                result = sweep.sweep_server(conn, tokens, copies, tables, sql_only=rule.files == "sql")
            outcomes = treated.get(name, ())
            verdicts = sweep.decide_all(copies, outcomes, result, rows_erased=True)
            yield named(name, Seen(copies=copies, outcomes=tuple(outcomes), result=result, verdicts=verdicts))

    def _copies(
        self, conn: psycopg.Connection[Any], tables: Sequence[TableName], derived: Sequence[TableName]
    ) -> tuple[StoreCopy, ...]:
        return server.inventory(conn, tables, derived, directory=self._config.keeps_directory)

    @contextmanager
    def opened(self, name: str, what: str) -> Iterator[psycopg.Connection[Any]]:
        """Give a session of that standby for a moment; `what` is done in it stands in its faults."""
        dsn = self._host.secret(self._config.standbys[name].dsn, base=self._base)
        conn = connect(dsn, store=name)
        try:
            with faults(name, what):
                yield conn
        finally:
            conn.close()
