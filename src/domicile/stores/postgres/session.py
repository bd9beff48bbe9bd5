"""Sessions whose settings make equal rows give equal bytes, and errors that hold no row data (P8).

PostgreSQL's own messages quote values (`Key (email)=(…) already exists`), so only those classes of SQLSTATE whose
primary message names objects are passed on; of all others the code and the names of table and constraint are. The
server's log would keep these details, too, so our sessions ask it for terse entries where the role may (ADR 0014).

A connection that falls silent is given up after `SILENCE_S_MAX`, by the kernel of either side. A server that lives
and works on a statement for hours is not silent: its kernel answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from domicile.errors import BadFile, Fenced, InTheWay, NotPermitted, StoreFault, Unreachable

CONNECT_S_MAX = 15
SILENT_IDLE_S, SILENT_PROBE_S, SILENT_PROBES_MAX = 30, 10, 6
SILENCE_S_MAX = SILENT_IDLE_S + SILENT_PROBE_S * SILENT_PROBES_MAX
KEEPALIVE: dict[str, Any] = {
    "keepalives": 1, "keepalives_idle": SILENT_IDLE_S, "keepalives_interval": SILENT_PROBE_S,
    "keepalives_count": SILENT_PROBES_MAX, "tcp_user_timeout": SILENCE_S_MAX * 1000,
}  # fmt: skip
FENCED_STATE = "DM001"
SETTINGS = {
    "row_security": "off",  # a policy that would hide rows raises an error instead
    "search_path": "pg_catalog",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "synchronous_commit": "on",  # what is marked as done must survive a crash of the server
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "jit": "off",
    "work_mem": "64MB",
    "tcp_keepalives_idle": str(SILENT_IDLE_S),  # so that the server lets go of our locks when our machine is gone
    "tcp_keepalives_interval": str(SILENT_PROBE_S),
    "tcp_keepalives_count": str(SILENT_PROBES_MAX),
}
NEWER_SETTINGS = {"idle_session_timeout": (14, "0"), "transaction_timeout": (17, "0")}
SAFE_CLASSES = frozenset({"08", "25", "28", "3D", "3F", "42", "53", "54", "55", "57", "58"})


# Details of errors quote rows ("Failing row contains (…)"). Without the right to set it, it stays as it is.
TERSE_LOG = (
    "SELECT pg_catalog.set_config('log_error_verbosity', 'terse', false)"
    " WHERE pg_catalog.current_setting('is_superuser')::boolean"
)
TERSE_LOG_GRANTED = f"{TERSE_LOG} OR pg_catalog.has_parameter_privilege('log_error_verbosity', 'SET')"
PARAMETERS_ARE_GRANTED = 150_000


class Session:
    """One store's session: opened when first needed and again after it broke. `store` is its name in messages."""

    def __init__(self, dsn: str, *, store: str) -> None:
        self.store = store
        self._dsn = dsn
        self._connection: psycopg.Connection[Any] | None = None

    @property
    def connection(self) -> psycopg.Connection[Any]:
        """The open connection."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._dsn, store=self.store)
        return self._connection

    @contextmanager
    def apart(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection of its own, for as long as the block."""
        connection = connect(self._dsn, store=self.store)
        try:
            yield connection
        finally:
            connection.close()

    def reach(self) -> None:
        """Open the session, or raise Unreachable."""
        with faults(self.store, "be reached"):
            self.connection.execute("SELECT")

    def roll_back(self) -> None:
        """Take back an open transaction; a connection that can't is closed, which does the same."""
        if self._connection is not None and not self._connection.closed:
            try:
                self._connection.execute("ROLLBACK")
            except psycopg.Error:
                self._connection.close()

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()


def connect(dsn: str, *, store: str) -> psycopg.Connection[Any]:
    """Open an autocommit session; raise BadFile or Unreachable without anything of the connection string."""
    try:
        conninfo_to_dict(dsn)
    except psycopg.Error:
        raise BadFile(
            f"store {store}: its dsn is no connection string; write host=… dbname=… or postgresql://… with signs "
            "such as @ : / % in the password spelt as %40 and the like"
        ) from None
    try:
        connection = psycopg.connect(
            dsn, autocommit=True, connect_timeout=CONNECT_S_MAX, client_encoding="utf8",
            application_name="domicile", **KEEPALIVE,
        )  # fmt: skip
    except psycopg.Error as fault:
        raise Unreachable(
            f"store {store}: no connection ({_reason(fault)}); check its dsn, that it runs, and pg_hba.conf"
        ) from None
    connection.prepare_threshold = None
    with faults(store, "open a session"):
        run(connection, _settings(connection.info.server_version // 10_000))
        granted = connection.info.server_version >= PARAMETERS_ARE_GRANTED
        connection.execute(TERSE_LOG_GRANTED if granted else TERSE_LOG)
    return connection


def _settings(major: int) -> sql.Composable:
    """All in one statement: sessions are opened for every slice, and a link has its latency."""
    newer = {name: value for name, (since, value) in NEWER_SETTINGS.items() if major >= since}
    return sql.SQL("SELECT {}").format(
        sql.SQL(", ").join(
            sql.SQL("pg_catalog.set_config({}, {}, false)").format(sql.Literal(name), sql.Literal(value))
            for name, value in (SETTINGS | newer).items()
        )
    )


def _reason(fault: psycopg.Error) -> str:
    """The server's own word, which names role and database; of anything else only what kind it was."""
    text = str(fault).strip()
    if "FATAL:" in text:
        return text.rsplit("FATAL:", 1)[1].strip().splitlines()[0][:200]
    for words in ("Connection refused", "timeout expired", "No such file or directory", "does not support SSL"):
        if words in text:
            return words.lower()
    if "resolve" in text or "translate host name" in text:
        return "the host's name is not known"
    return "the driver could not open it"


@contextmanager
def faults(store: str, what: str) -> Iterator[None]:
    """Turn the driver's errors into ours, without any value of a row."""
    try:
        yield
    except psycopg.Error as fault:
        raise translate(fault, store, what) from None


@contextmanager
def faults_but_unique(store: str, what: str) -> Iterator[None]:
    """Turn the driver's errors into ours, but for the one that a larger step may mend."""
    try:
        yield
    except psycopg.errors.UniqueViolation:
        raise
    except psycopg.Error as fault:
        with faults(store, what):
            raise fault from None


def translate(fault: psycopg.Error, store: str, what: str) -> StoreFault:
    """Say what failed, on what, and what to do next."""
    state = fault.sqlstate
    if state is None or state[:2] == "08" or state in ("57P01", "57P02", "57P03"):
        return Unreachable(f"store {store}: connection lost while trying to {what}; start the server, then run again")
    if state == FENCED_STATE:
        return Fenced(f"store {store}: {what}: the row belongs to a person who is being moved; write at home")
    place = ".".join(part for part in (fault.diag.schema_name, fault.diag.table_name) if part)
    named = [part for part in (place, fault.diag.column_name, fault.diag.constraint_name) if part]
    detail = fault.diag.message_primary or "" if state[:2] in SAFE_CLASSES else type(fault).__name__
    text = f"store {store}: could not {what}: {detail} [SQLSTATE {state}{' on ' + ', '.join(named) if named else ''}]"
    if state == "42501":
        return NotPermitted(f"{text}; `domicile doctor` says which right is missing")
    if state == "53100":
        return StoreFault(f"{text}; free space on the server, then run again: nothing was lost")
    if state in ("40P01", "40001", "55P03"):
        return InTheWay(f"{text}; another session was in the way, run again")
    return StoreFault(text)


def run(connection: psycopg.Connection[Any], query: sql.Composable) -> psycopg.Cursor[Any]:
    """Execute a composed statement; values are in it as literals, so that nothing is pasted."""
    return connection.execute(query.as_bytes(connection))


def number(connection: psycopg.Connection[Any], query: sql.Composable) -> int:
    """Execute a composed query for one whole number."""
    row = run(connection, query).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def with_application_path(connection: psycopg.Connection[Any]) -> None:
    """For the rest of this transaction, look for names where the application's own sessions do, after pg_catalog.

    CHECK constraints may call functions by bare names; our own statements name everything in full.
    """
    connection.execute(
        "SELECT pg_catalog.set_config('search_path', 'pg_catalog, ' || reset_val, true) FROM pg_catalog.pg_settings"
        " WHERE name = 'search_path'"
    )


@contextmanager
def application_path(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """The same for statements that can't stand in a transaction, such as VACUUM, which computes index expressions."""
    connection.execute(
        "SELECT pg_catalog.set_config('search_path', 'pg_catalog, ' || reset_val, false) FROM pg_catalog.pg_settings"
        " WHERE name = 'search_path'"
    )
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_catalog.set_config('search_path', 'pg_catalog', false)")
