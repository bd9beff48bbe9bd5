"""A small town that moves: ten people with odd keys, in a real database, with the movers' table that a run makes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import uvicorn
from psycopg import sql

from domicile.config.rules import Decide
from domicile.directory.server import application
from domicile.directory.states import Served
from domicile.model import DatasetId, Home, Kind, MarketRule, Scope, State
from domicile.stores.postgres import places
from domicile.stores.postgres.names import movers_of
from domicile.stores.postgres.session import connect

KIND: Final = DatasetId("app.public.person")
STAFF: Final = DatasetId("app.public.staff")
HOMES: Final = ("us", "ca")
HOSTILE: Final = ("a/b", "..", "%2f", "'; DROP TABLE place; --", "ключ", "a b?c#d", "\N{SNOWMAN}" * 40)
MOVERS: Final = ("1", "2", "3", *HOSTILE)
RULE: Final = MarketRule(evidence=(), decide=Decide.FIRST, homes=(("US", "us"), ("CA", "ca")), unknown="stay")
SCOPE: Final = Scope(
    kinds=(Kind(dataset=KIND, key="id", market=RULE), Kind(dataset=STAFF, key="id", market=RULE)),
    datasets=(), edges=(),
)  # fmt: skip
SECONDS_MAX: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """One database, and what a run writes into it."""

    dsn: str = field(repr=False)

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """A session as the engine has it."""
        connection = connect(self.dsn, store="app")
        try:
            yield connection
        finally:
            connection.close()

    def begin(self) -> None:
        """Make the movers' tables: everybody of `MOVERS` goes to us, one member of staff with key 1 to ca."""
        with self.session() as connection:
            connection.execute("DROP SCHEMA IF EXISTS domicile CASCADE")
            connection.execute("DROP SCHEMA IF EXISTS domicile_directory CASCADE")
            connection.execute("CREATE SCHEMA domicile")
            for kind, keys, home in ((KIND, MOVERS, "us"), (STAFF, ("1",), "ca")):
                table = movers_of(kind)
                connection.execute(
                    sql.SQL("CREATE TABLE {} (key text PRIMARY KEY, home text, state text, cohort int)").format(table)
                )
                connection.execute(
                    sql.SQL("INSERT INTO {} SELECT unnest(%s::text[]), %s, 'moving'").format(table), (list(keys), home)
                )
            places.create(connection, store="app")

    def record(self, state: State | None = None, *keys: str, kind: DatasetId = KIND) -> int:
        """Let the people of these keys (none: all) be in that state, as the engine writes it."""
        where = sql.SQL("s.key = ANY({})").format(sql.Literal(list(keys))) if keys else sql.SQL("true")
        with self.session() as connection:
            return places.record(connection, SCOPE.kind(kind), where=where, state=state)

    def look_up(self, *keys: str) -> dict[str, places.Place]:
        """What stands in the directory."""
        with self.session() as connection:
            return places.look_up(connection, KIND, keys)[1]

    def served(self) -> Served:
        """What its service is told."""
        return Served(dsn=self.dsn, store="app", location="sg", kind=KIND, homes=HOMES)

    def close_doors(self, closed: bool) -> None:
        """Let nobody in any more, as a server does that is down, or let them in again."""
        name = psycopg.conninfo.conninfo_to_dict(self.dsn)["dbname"]
        with psycopg.connect(self.dsn, dbname="postgres", autocommit=True) as admin:
            admin.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    sql.Identifier(str(name)), sql.SQL("false" if closed else "true")
                )
            )
            if closed:
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))


def home(name: str) -> Home:
    """A home's name as a value."""
    return Home(name)


@contextmanager
def serving(served: Served, *, token: str | None = None) -> Iterator[str]:
    """Serve in this process, on a port of its own; yields the address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(
            uvicorn.Config(application(served, token=token), log_config=None, timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def until(holds: Callable[[], bool], *, seconds_max: float = SECONDS_MAX) -> float:
    """Wait until it holds; return how long that took."""
    began = time.monotonic()
    pause = threading.Event()
    while not holds():
        if time.monotonic() - began > seconds_max:
            raise TimeoutError("it never held")
        pause.wait(0.005)
    return time.monotonic() - began


def states(found: dict[str, places.Place], keys: Sequence[str]) -> list[str]:
    """The states of these, in order."""
    return [found[key].state.value if key in found else "outside" for key in keys]
