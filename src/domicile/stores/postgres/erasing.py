"""One slice leaves the source: lock, read again, compare, delete or blank, prove that nothing else was touched.

All in one transaction, in the order that makes each step safe:

1. the locks make later writers wait, the guard refuses them, and neither guard nor references can change any more;
2. the slice is read again and compared with what home proved and with what home holds now (P1);
3. what foreign keys would have said is asked outright: no surviving row may refer to one about to go. A writer who
   comes in between waits for our locks in its own foreign-key check, and then fails;
4. the erasure runs with the application's triggers, rules and cascades switched off (`session_replication_role`);
5. PostgreSQL's own counters of this transaction must show exactly these rows and not one more in any table;
6. the mark is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from domicile.errors import Collateral, NoClearance, NotEqual
from domicile.model import DatasetScope, Digest, Edge, Fate, Form, Scope, Slice, SliceId
from domicile.proof import Erased
from domicile.stores import Living
from domicile.stores.postgres.copying import Meter, copy_out
from domicile.stores.postgres.fence import admit, open_guards
from domicile.stores.postgres.names import (
    STAGING,
    key_match,
    source_of,
    staged,
    stand_in,
)
from domicile.stores.postgres.reading import slice_lines, slice_query, stretch_of
from domicile.stores.postgres.readings import opened, refers
from domicile.stores.postgres.session import number, run, with_application_path
from domicile.stores.postgres.shape import refuse_changed

COUNTED: Final[LiteralString] = """
SELECT pg_catalog.set_config('track_counts', 'on', true) WHERE NOT pg_catalog.current_setting('track_counts')::boolean
"""
"""Has PostgreSQL count what this transaction touches. To set what is on already asks for the right to set it, too."""

Ours = Callable[[sql.Composable], Digest]
"""The digest of the slice's rows at the source without those whose keys stand in a table there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Proof:
    """What a slice is compared with: what home proved, and what home holds now."""

    key: bytes
    proven: Digest
    read_home: Callable[[], Digest]
    living: Living | None


def erase(  # noqa: PLR0913 - the slice and what it is compared with
    connection: psycopg.Connection[Any],
    scope: Scope,
    piece: Slice,
    *,
    key: bytes,
    proven: Digest,
    read_home: Callable[[], Digest],
    living: Living | None = None,
) -> Erased:
    """Erase one slice; see the module's order. Raises NotEqual or Collateral, and then nothing has changed."""
    done = erased(connection).get(piece.id)
    if done is not None:
        return done
    connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        result = _in_transaction(
            connection, scope, piece, _Proof(key=key, proven=proven, read_home=read_home, living=living)
        )
        connection.execute("COMMIT")
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    return result


def rehearse(connection: psycopg.Connection[Any], scope: Scope, piece: Slice) -> None:
    """Blank and roll back; raises what the erasure would raise."""
    connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    try:
        connection.execute("SET LOCAL session_replication_role = replica")
        admit(connection)
        _blank(connection, scope.dataset(piece.dataset), piece)
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")


def erased(connection: psycopg.Connection[Any]) -> dict[SliceId, Erased]:
    """The marks of what was erased."""
    rows = run(
        connection, sql.SQL("SELECT slice, deleted, blanked, digest FROM {}").format(sql.Identifier(STAGING, "erased"))
    )
    return {
        SliceId(name): Erased(slice=SliceId(name), deleted=deleted, blanked=blanked, digest=Digest(digest))
        for name, deleted, blanked, digest in rows
    }


def _in_transaction(connection: psycopg.Connection[Any], scope: Scope, piece: Slice, proof: _Proof) -> Erased:
    dataset = scope.dataset(piece.dataset)
    connection.execute("SET LOCAL session_replication_role = replica")
    connection.execute(COUNTED)
    admit(connection)
    _lock(connection, dataset, piece)
    if open_guards(connection, [dataset]):
        raise NoClearance(f"{piece.id}: the fence was opened since; nothing was erased: `domicile status`")
    refuse_changed(connection, dataset)
    _compare(connection, dataset, piece, proof)
    for edge in scope.edges:
        if edge.parent == dataset.id and piece.delete:
            _refuse_orphans(connection, scope, edge, piece)
    before = _touched(connection)
    deleted = _delete(connection, dataset, piece)
    blanked = _blank(connection, dataset, piece)
    if (deleted, blanked) != (piece.delete, piece.blank):
        raise Collateral(
            f"{piece.id}: {deleted} deleted and {blanked} blanked, where the manifest says {piece.delete} and "
            f"{piece.blank}; rolled back, run `domicile verify`"
        )
    _refuse_collateral(connection, piece, before, deleted + blanked)
    run(
        connection,
        sql.SQL("INSERT INTO {} VALUES ({}, {}, {}, {})").format(
            sql.Identifier(STAGING, "erased"), sql.Literal(piece.id), sql.Literal(deleted), sql.Literal(blanked),
            sql.Literal(proof.proven),
        ),
    )  # fmt: skip
    return Erased(slice=piece.id, deleted=deleted, blanked=blanked, digest=proof.proven)


def _lock(connection: psycopg.Connection[Any], dataset: DatasetScope, piece: Slice) -> None:
    """Lock the table against new references and against triggers being switched off, then the slice's rows."""
    run(connection, sql.SQL("LOCK TABLE {} IN ROW EXCLUSIVE MODE").format(source_of(dataset)))
    number(
        connection,
        sql.SQL("SELECT count(*) FROM (SELECT FROM {} FOR UPDATE OF d) AS locked").format(
            stretch_of(connection, dataset, piece).rows
        ),
    )


def _compare(connection: psycopg.Connection[Any], dataset: DatasetScope, piece: Slice, proof: _Proof) -> None:
    if piece.form in {Form.SKELETON, Form.KEPT}:
        raise RuntimeError(f"{piece.id}: only slices of whole rows that leave are erased")

    def read(without: sql.Composable | None) -> Digest:
        meter = Meter(proof.key)
        query = slice_query(connection, dataset, piece, at_home=False, without=without)
        rows = copy_out(connection, query, meter, binary=dataset.binary)
        return meter.measure(piece.id, rows).digest

    if read(None) != proof.proven:
        raise NotEqual(f"{piece.id}: the source changed since home was proven equal; run `domicile verify` again")
    if proof.read_home() == proof.proven:
        return
    if proof.living is None or not proof.living(connection, read):
        raise NotEqual(f"{piece.id}: home no longer holds what it proved; run `domicile verify --repair`")


def _delete(connection: psycopg.Connection[Any], dataset: DatasetScope, piece: Slice) -> int:
    if not piece.delete:
        return 0
    return run(
        connection,
        sql.SQL("DELETE FROM {} AS d USING {} AS m WHERE {} AND {} AND m.fate = {}").format(
            source_of(dataset), staged("m", dataset.id), key_match(dataset, "d", "m"), slice_lines(piece),
            sql.Literal(Fate.DELETE.value),
        ),
    ).rowcount  # fmt: skip


def _blank(connection: psycopg.Connection[Any], dataset: DatasetScope, piece: Slice) -> int:
    if not piece.blank:
        return 0
    types = {item.name: item.type for item in dataset.columns}
    changes = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(blank.column), stand_in(dataset, blank, types[blank.column], "d"))
        for blank in dataset.blanks
    )
    with_application_path(connection)
    return run(
        connection,
        sql.SQL("UPDATE {} AS d SET {} FROM {} AS m WHERE {} AND {} AND m.fate = {}").format(
            source_of(dataset), changes, staged("m", dataset.id), key_match(dataset, "d", "m"), slice_lines(piece),
            sql.Literal(Fate.BLANK.value),
        ),
    ).rowcount  # fmt: skip


def _refuse_orphans(connection: psycopg.Connection[Any], scope: Scope, edge: Edge, piece: Slice) -> None:
    """Raise Collateral when a row that stays refers to one about to be deleted.

    Asked under the row locks: a writer who refers to such a row from now on waits for them, and then fails.
    """
    child, parent = scope.dataset(edge.child), scope.dataset(edge.parent)
    leaving = sql.SQL("EXISTS (SELECT FROM {} AS g WHERE g.fate = ANY({}) AND {})").format(
        staged("m", child.id), sql.Literal(_gone(edge, child)), key_match(child, "c", "g")
    )
    orphans = number(
        connection,
        sql.SQL(
            "SELECT count(*) FROM {} AS c{} JOIN ({} AS m JOIN {} AS d ON {}) ON {} WHERE {} AND m.fate = {} AND NOT {}"
        ).format(
            source_of(child),
            opened(edge, "c", schema=STAGING),
            staged("m", parent.id),
            source_of(parent),
            key_match(parent, "d", "m"),
            refers(edge, "c", "d"),
            slice_lines(piece),
            sql.Literal(Fate.DELETE.value),
            leaving,
        ),
    )
    if orphans:
        raise Collateral(
            f"{piece.id}: {orphans} rows of {child.id} that stay refer to rows about to be erased ({edge.name}); "
            f"rolled back. Let them refer elsewhere, or remove them, then run `domicile apply` again"
        )


def _gone(edge: Edge, child: DatasetScope) -> list[str]:
    """The fates after which a child row no longer refers: deleted, or blanked in the very columns that refer."""
    blanked = any(blank.column in edge.columns for blank in child.blanks)
    return [Fate.DELETE.value, Fate.BLANK.value] if blanked else [Fate.DELETE.value]


def _touched(connection: psycopg.Connection[Any]) -> dict[int, tuple[int, int, int]]:
    """Rows inserted, updated and deleted by this transaction, per table, by PostgreSQL's own count."""
    rows = connection.execute(
        "SELECT relid, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables WHERE schemaname <> %s",
        (STAGING,),
    )
    return {int(relid): (int(ins), int(upd), int(gone)) for relid, ins, upd, gone in rows}


def _refuse_collateral(
    connection: psycopg.Connection[Any], piece: Slice, before: dict[int, tuple[int, int, int]], expected: int
) -> None:
    """Raise Collateral unless exactly the slice's rows were touched, and nothing in any other table."""
    total = 0
    for relid, counts in _touched(connection).items():
        old = before.get(relid, (0, 0, 0))
        inserted, updated, deleted = (now - then for now, then in zip(counts, old, strict=True))
        if inserted:
            raise Collateral(f"{piece.id}: something inserted {inserted} rows during the erasure; rolled back")
        total += updated + deleted
    if total != expected:
        raise Collateral(
            f"{piece.id}: {total} rows were touched where {expected} are cleared (a cascade, trigger or rule); "
            "rolled back"
        )


def remaining(connection: psycopg.Connection[Any], scope: Scope) -> int:
    """Count by query the rows that the manifest says are deleted and that are still there."""
    return sum(
        number(
            connection,
            sql.SQL("SELECT count(*) FROM {} AS d JOIN {} AS m ON {} WHERE m.fate = {}").format(
                source_of(dataset),
                staged("m", dataset.id),
                key_match(dataset, "d", "m"),
                sql.Literal(Fate.DELETE.value),
            ),
        )
        for dataset in scope.datasets
        if dataset.moves
    )
