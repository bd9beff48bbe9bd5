"""The sweep of one server: its rows, then its files, and an honest list of what neither could see."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence

import psycopg

from domicile.catalogue import TableName
from domicile.errors import StoreFault, Unreachable
from domicile.stores.postgres.copies import Copy, CopyKind, Looked, copy_id, looked
from domicile.stores.postgres.files import Reach, reach, read_layout
from domicile.stores.postgres.horizon.receivers import checkpoint
from domicile.stores.postgres.horizon.rights import may_checkpoint
from domicile.sweep.rows import Relation, large_objects, relations, stream
from domicile.sweep.scan import Scan
from domicile.sweep.search import SearchResult, Spot, Tally, View
from domicile.sweep.tokens import Tokens

Progress = Callable[[str], None]


def sweep_server(  # noqa: PLR0913 - what, where, and how far to go
    conn: psycopg.Connection,
    tokens: Tokens,
    copies: Sequence[Copy],
    datasets: Sequence[TableName],
    *,
    progress: Progress = lambda _: None,
    sql_only: bool = False,
) -> SearchResult:
    """Search everything that can be reached of the connected server for the tokens.

    Every copy of `copies` that is ever searched is in the result, with a gap where it could not be seen. Raise
    Unreachable when the connection breaks.
    """
    known, strange = encodings(conn)
    tally = Tally(tokens.matcher(encodings=known))
    way = reach(conn, sql_only=sql_only)
    try:
        for copy in _in_files(copies) if strange else ():
            tally.gap(copy, "(encoding)", f"values in {', '.join(strange)} can't be spelt by this program")
        _rows(conn, tally, relations(conn, datasets, _derived(copies)), progress)
        _files(conn, way, tally, copies, datasets)
        databases = {int(oid): str(name) for oid, name in conn.execute("SELECT oid::bigint, datname FROM pg_database")}
    except psycopg.Error as fault:
        if conn.broken:
            raise Unreachable("the server broke off during the sweep; run the sweep again") from None
        raise StoreFault(f"the server refused a step of the sweep: {type(fault).__name__} ({fault.sqlstate})") from None
    searched = [copy.id for copy in copies if looked(copy.kind) is not Looked.NEVER]
    return SearchResult(tokens=tokens.counts, how=way.why, copies=tally.result(searched), databases=databases)


def _derived(copies: Sequence[Copy]) -> list[TableName]:
    return [copy.relation for copy in copies if copy.kind is CopyKind.DERIVED_TABLE and copy.relation]


def _rows(conn: psycopg.Connection, tally: Tally, found: Sequence[Relation], progress: Progress) -> None:
    for relation in found:
        spot = Spot(relation.copy, str(relation.name))
        progress(f"searching rows of {relation.name}")
        tally.add(relation.copy, relations=1)
        try:
            tally.stream(stream(conn, relation.name), spot, view=View.ROWS)
        except psycopg.Error as fault:
            _unread(conn, fault, tally, spot)
    spot = Spot(copy_id(CopyKind.LARGE_OBJECTS), "pg_largeobject")
    try:
        tally.stream(large_objects(conn), spot, view=View.ROWS)
    except psycopg.Error as fault:
        _unread(conn, fault, tally, spot)


def _unread(conn: psycopg.Connection, fault: psycopg.Error, tally: Tally, spot: Spot) -> None:
    """Note that rows couldn't be read; a table dropped meanwhile holds none."""
    if conn.broken:
        raise fault
    if not isinstance(fault, psycopg.errors.UndefinedTable):
        tally.gap(spot.copy, spot.path, f"rows can't be read: {type(fault).__name__} ({fault.sqlstate})")


def _files(
    conn: psycopg.Connection, way: Reach, tally: Tally, copies: Sequence[Copy], datasets: Sequence[TableName]
) -> None:
    in_files = _in_files(copies)
    if way.files is None:
        for copy in in_files:
            tally.gap(copy, "(files)", way.why)
        return
    missing = [] if may_checkpoint(conn) else ["no right to checkpoint"]
    for why in missing or [f"no checkpoint, as {who} lags behind" for who in checkpoint(conn)]:
        for copy in in_files:
            tally.gap(copy, "(memory)", f"{why}: what is written but not yet on disk isn't seen")
    Scan(way.files, read_layout(conn, datasets=datasets, derived=_derived(copies)), tally).all()


def _in_files(copies: Sequence[Copy]) -> list[str]:
    return [copy.id for copy in copies if looked(copy.kind) in {Looked.FILES, Looked.ROWS_AND_FILES}]


def encodings(conn: psycopg.Connection) -> tuple[list[str], list[str]]:
    """The encodings of the server's databases: those that Python knows, by its names, and those that it doesn't.

    UTF8 is searched anyway; SQL_ASCII holds the bytes that somebody sent, which are searched as they came.
    """
    rows = conn.execute("SELECT DISTINCT pg_encoding_to_char(encoding) FROM pg_database ORDER BY 1").fetchall()
    known, strange = [], []
    for name in (str(name) for (name,) in rows if name not in {"UTF8", "SQL_ASCII"}):
        try:
            known.append(codecs.lookup(_PYTHON_NAMES.get(name, name.replace("WIN", "cp"))).name)
        except LookupError:
            strange.append(name)
    return known, strange


_PYTHON_NAMES = {"KOI8R": "koi8-r", "KOI8U": "koi8-u", "EUC_CN": "gb2312", "EUC_JIS_2004": "euc_jis_2004"}
