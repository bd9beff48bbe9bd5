"""Rows read from PostgreSQL and hashed as the log does (docs/formats-spot-check.md, "Digests of rows"). Reads only.

Nothing of home is sent to the source: it is asked for the keys of a whole table, and those that should be gone are
looked for here. So they come into no statement, log or memory of a server outside.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import blake3
import psycopg
from psycopg import sql

from domicile_audit.spot.opening import Stretch, Table

PURPOSE: Final = b"domicile slice v1\x00"
CONNECT_S_MAX: Final = 15
SETTINGS: Final = {  # the text form of values hangs on these; row_security: an error instead of hidden rows
    "search_path": "pg_catalog", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres", "TimeZone": "UTC",
    "extra_float_digits": "3", "bytea_output": "hex", "lc_monetary": "C", "xmloption": "content", "row_security": "off",
    "statement_timeout": "0",
}  # fmt: skip
DELETED, BLANKED = "delete", "blank"
LINES: Final = sql.Identifier("pg_temp", "domicile_lines")
Connection = psycopg.Connection[Any]
Key = tuple[str | None, ...]


class Trouble(ValueError):
    """A store can't be read; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Whose rows a slice is: by its keys, how many copies each line stands for, and what becomes of them."""

    fates: Mapping[Key, str]
    private: Mapping[Key, Key]
    deleted: int
    blanked: int


@dataclass(frozen=True, slots=True)
class Store:
    """An open session, and what it is called in messages."""

    name: str
    connection: Connection

    @contextmanager
    def moment(self) -> Iterator[Connection]:
        """One moment of the store, read-only."""
        with self.trouble(), self.connection.transaction(force_rollback=True):
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield self.connection

    @contextmanager
    def trouble(self) -> Iterator[None]:
        """Turn what the driver says into Trouble, without a value of a row."""
        with _trouble(self.name):
            yield


@contextmanager
def open_store(name: str, dsn: str) -> Iterator[Store]:
    """Open a session with the settings above."""
    with _trouble(name):
        connection: Connection = psycopg.connect(
            dsn, autocommit=True, connect_timeout=CONNECT_S_MAX, client_encoding="utf8",
            application_name="domicile-audit",
        )  # fmt: skip
    try:
        with _trouble(name):
            for setting, value in SETTINGS.items():
                connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (setting, value))
        yield Store(name, connection)
    finally:
        connection.close()


@contextmanager
def _trouble(name: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise Trouble(f"{name}: {_say(error)}") from None


def _say(error: psycopg.Error) -> str:
    state, said = error.sqlstate or "", error.diag.message_primary or ""
    if state == "42501":
        return (
            f"{said}. The role needs, from the owner: GRANT USAGE ON SCHEMA and GRANT SELECT ON ALL TABLES IN SCHEMA "
            "for the tables' schemas and, where lines are read, for `domicile` (or pg_read_all_data)"
        )
    if state.startswith(("42", "3D", "28")):  # these messages name objects, never values
        return f"{said} [SQLSTATE {state}]; is it the right database, and of this run?"
    if isinstance(error, psycopg.OperationalError) and not state:
        _, _, fatal = str(error).rpartition("FATAL:")  # the server's own word names role and database
        why = f" ({fatal.strip().splitlines()[0]})" if "FATAL:" in str(error) and fatal.strip() else ""
        return f"no connection{why}; check the connection string, that the server runs, and pg_hba.conf"
    return f"{type(error).__name__} [SQLSTATE {state}]" if state else "this is no connection string"


def run_marks(home: Store) -> frozenset[str]:
    """The marks of the runs that filled this home."""
    with home.moment() as connection:
        found = connection.execute("SELECT name FROM domicile.mark WHERE name LIKE 'run/%'").fetchall()
    return frozenset(str(name) for (name,) in found)


def refuse_view(connection: Connection, table: Table) -> None:
    """Raise Trouble where it is no table but, say, a view: that may answer as it likes."""
    kind = connection.execute(
        "SELECT relkind::text FROM pg_class WHERE oid = %s::regclass",
        (sql.Identifier(table.schema, table.table).as_string(connection),),
    ).fetchall()
    if kind not in ([("r",)], [("p",)]):
        raise Trouble(f"{table.spelt} is no table here, and what it is instead may answer as it likes")


def uncovered(connection: Connection, table: Table) -> tuple[str, ...]:
    """The columns that the table has here and that no digest covers."""
    names = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum",
        (sql.Identifier(table.schema, table.table).as_string(connection),),
    ).fetchall()
    return tuple(str(name) for (name,) in names if name not in table.columns)


def borrow_lines(backup: Store, home: Store, table: Table, stretch: Stretch) -> None:
    """Bring the slice's lines from a home into a session of the backup that was restored from it, which has none."""
    with backup.trouble(), home.moment() as lender:
        _borrow(backup.connection, lender, table, stretch)


def _borrow(borrower: Connection, lender: Connection, table: Table, stretch: Stretch) -> None:
    names = [sql.Identifier(name) for name in ("part", "form", "n", "fate", "copies", *_key_names(table))]
    listed = sql.SQL(", ").join(names)
    shape = sql.SQL("SELECT ''::text, ''::text, 0::bigint, ''::text, 0::bigint, {} FROM {} AS d WHERE false").format(
        sql.SQL(", ").join(_keys(table)), _rows_of(table)
    )
    borrower.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(LINES))
    borrower.execute(sql.SQL("CREATE TEMPORARY TABLE domicile_lines ({}) AS {}").format(listed, shape))
    given = sql.SQL("COPY (SELECT {} FROM {} AS m WHERE {}) TO STDOUT").format(
        listed, _lines_of(stretch), _condition(stretch)
    )
    taken = sql.SQL("COPY {} ({}) FROM STDIN").format(LINES, listed)
    with lender.cursor().copy(given) as source, borrower.cursor().copy(taken) as target:
        for block in source:
            target.write(block)
    borrower.execute(sql.SQL("ANALYZE {}").format(LINES))


def digest(connection: Connection, table: Table, stretch: Stretch, key: bytes, *, borrowed: bool) -> tuple[int, str]:
    """How many rows the slice has here, and their keyed digest."""
    columns = sql.SQL(", ").join(sql.Identifier("d", name) for name in table.read_as(stretch.form))
    query = sql.SQL("COPY (SELECT {} FROM {} ORDER BY m.n) TO STDOUT (FORMAT {})").format(
        columns, _joined(connection, table, stretch, borrowed=borrowed), sql.SQL("binary" if table.binary else "text")
    )
    hashed = blake3.blake3(PURPOSE, key=key)
    with connection.cursor() as cursor:
        with cursor.copy(query) as copy:
            for block in copy:
                hashed.update(block)
        return cursor.rowcount, hashed.hexdigest()


def lines(connection: Connection, table: Table, stretch: Stretch, *, borrowed: bool) -> Lines:
    """The slice's lines that leave the source, and the private values of rows that stay there without them."""
    fates: dict[Key, str] = {}
    counts = {DELETED: 0, BLANKED: 0}
    query = sql.SQL("SELECT m.fate, m.copies::text, {} FROM {} AS m WHERE {} AND m.fate = ANY({})").format(
        _texts(sql.Identifier("m", name) for name in _key_names(table)),
        LINES if borrowed else _lines_of(stretch), _condition(stretch), sql.Literal(list(counts)),
    )  # fmt: skip
    for fate, copies, *found in _read(connection, query):
        fates[tuple(found)] = str(fate)
        counts[str(fate)] += int(copies or 0)
    private: dict[Key, Key] = {}
    if counts[BLANKED]:
        query = sql.SQL("SELECT {}, {} FROM {} AND m.fate = {}").format(
            _texts(sql.Identifier("m", name) for name in _key_names(table)),
            _texts(sql.Identifier("d", name) for name in table.private),
            _joined(connection, table, stretch, borrowed=borrowed), sql.Literal(BLANKED),
        )  # fmt: skip
        width = len(_key_names(table))
        private = {row[:width]: row[width:] for row in _read(connection, query)}
    return Lines(fates, private, counts[DELETED], counts[BLANKED])


def left(connection: Connection, table: Table, gone: Lines) -> int:
    """How many rows stand at the source that should be gone, or still have a private value of home's."""
    names = [sql.Identifier("d", name) for name in table.private] if gone.private else []
    query = sql.SQL("SELECT {} FROM {} AS d").format(_texts([*_keys(table), *names]), _rows_of(table))
    width, literals, found = len(_key_names(table)), tuple(table.private.values()), 0
    for row in _read(connection, query):
        fate = gone.fates.get(row[:width])
        if fate == DELETED:
            found += 1
        elif fate == BLANKED:
            here, there = row[width:], gone.private.get(row[:width], ())
            found += any(
                value is not None and value == one and value != literal
                for value, one, literal in zip(here, there, literals, strict=False)
            )
    return found


# -- SQL -----------------------------------------------------------------------------------------------------------


def _key_names(table: Table) -> tuple[str, ...]:
    """The manifest's key columns: numbered, or the hash of the whole row where the table has no key."""
    return tuple(f"key_{number}" for number, _ in enumerate(table.key, start=1)) or ("row_hash",)


def _keys(table: Table) -> list[sql.Composable]:
    """The key of row `d`, in that order."""
    if table.key:
        return [sql.Identifier("d", name) for name in table.key]
    every = sql.SQL(", ").join(sql.Identifier("d", name) for name in table.columns)
    return [sql.SQL("sha256(convert_to(ROW({})::text, 'UTF8'))").format(every)]


def _rows_of(table: Table) -> sql.Composable:
    return sql.SQL("ONLY {}" if table.only else "{}").format(sql.Identifier(table.schema, table.table))


def _lines_of(stretch: Stretch) -> sql.Composable:
    return sql.Identifier("domicile", stretch.lines_table)


def _condition(stretch: Stretch) -> sql.Composable:
    return sql.SQL("m.part = {} AND m.form = {} AND m.n > {} AND m.n <= {}").format(
        sql.Literal(stretch.part), sql.Literal(stretch.form), sql.Literal(stretch.after), sql.Literal(stretch.upto)
    )


def _joined(connection: Connection, table: Table, stretch: Stretch, *, borrowed: bool) -> sql.Composable:
    """FROM … WHERE … of the slice's lines `m` with their rows `d`."""
    plain = _plain_keys(connection, table)
    match = sql.SQL(" AND ").join(
        sql.SQL("{} = {}" if name in plain or not table.key else "{}::text = {}::text").format(
            row, sql.Identifier("m", line)
        )
        for name, row, line in zip(table.key or ("",), _keys(table), _key_names(table), strict=True)
    )
    return sql.SQL("{} AS m JOIN {} AS d ON {} WHERE {}").format(
        LINES if borrowed else _lines_of(stretch), _rows_of(table), match, _condition(stretch)
    )


def _plain_keys(connection: Connection, table: Table) -> frozenset[str]:
    """The key columns of PostgreSQL's own types; others are compared as texts, as their operators lie elsewhere."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid"
        " WHERE attrelid = %s::regclass AND attname = ANY(%s) AND t.typnamespace = 'pg_catalog'::regnamespace",
        (sql.Identifier(table.schema, table.table).as_string(connection), list(table.key)),
    ).fetchall()
    return frozenset(str(name) for (name,) in found)


def _texts(items: Any) -> sql.Composable:  # noqa: ANN401  (an iterable of things of psycopg's)
    return sql.SQL(", ").join(sql.SQL("{}::text").format(item) for item in items)


def _read(connection: Connection, query: sql.Composable) -> Iterator[Key]:
    """The rows of a query as texts, streamed."""
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(query)) as copy:
        yield from copy.rows()
