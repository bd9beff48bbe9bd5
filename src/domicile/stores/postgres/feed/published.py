"""Tables in a publication: which can stand in one, and the one that a slot feed reads through.

Partitions are published one by one, under their own names: through the root, the server keeps silent about a partition
that was truncated. None can come or go unnoticed, as the shape of the tree is compared in every read.

From 15 on only the columns of the key are published, so nothing else of a row leaves the server. A table can stand in
it whose replica identity is its key, and which is logged at all; a table of ours is never altered for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import psycopg
from psycopg import sql

from domicile.catalogue import TableName
from domicile.errors import Refused, WorldChanged
from domicile.model import DatasetId
from domicile.stores.postgres.feed.stream import Tables
from domicile.stores.postgres.names import STAGING, relation
from domicile.stores.postgres.session import number, run

PUBLICATION: Final = "domicile_feed"
COLUMNS_SINCE: Final = 150_000
PASS: Final = TableName(schema=STAGING, name="pass")

# Every table with rows of its own in the tree of {table}. What of an index counts are its columns that are compared.
PARTS = """
SELECT {dataset}::text, c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text,
       c.relreplident::text, pg_has_role(c.relowner, 'USAGE'),
       ARRAY(SELECT a.attname::text
               FROM pg_index AS i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
               JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum
              WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND k.place <= i.indnkeyatts
                AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
                AND a.attgenerated = ''
              ORDER BY k.place)
  FROM (SELECT to_regclass({table})::oid AS oid UNION SELECT relid FROM pg_partition_tree(to_regclass({table}))) AS t
  JOIN pg_class AS c USING (oid) JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind <> 'p'
"""
FACTS = """
SELECT md5(to_jsonb(p)::text || coalesce((SELECT string_agg(to_jsonb(r)::text, ',' ORDER BY r.prrelid)
                                            FROM pg_publication_rel AS r WHERE r.prpubid = p.oid), ''))
  FROM pg_publication AS p WHERE p.pubname = %s
"""


class Keyed(Protocol):
    """A dataset, as far as a publication is concerned."""

    @property
    def id(self) -> DatasetId:
        """Its name."""
        ...

    @property
    def table(self) -> TableName:
        """Its table, or the root of its partitions."""
        ...

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of its key, if it has one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A table with rows of its own: a dataset's, or one of its partitions. `identity` are the columns of an old key."""

    dataset: DatasetId
    oid: int
    name: TableName
    identity: tuple[str, ...]
    key: tuple[str, ...]
    unfit: str | None

    @property
    def relation(self) -> sql.Composable:
        """It alone, without tables that inherit from it."""
        return sql.SQL("ONLY ") + relation(self.name)


def parts_of(connection: psycopg.Connection[Any], datasets: Sequence[Keyed]) -> tuple[Part, ...]:
    """Every table of the datasets, and why it can't be published, if it can't."""
    if not datasets:
        return ()
    each = sql.SQL(" UNION ALL ").join(
        sql.SQL("({})").format(
            sql.SQL(PARTS).format(
                dataset=sql.Literal(dataset.id), table=sql.Literal(relation(dataset.table).as_string(None))
            )
        )
        for dataset in datasets
    )
    keys = {dataset.id: dataset.key for dataset in datasets}
    return tuple(_part(row, keys) for row in run(connection, each).fetchall())


def refuse_unfit(parts: Iterable[Part]) -> None:
    """Raise Refused when a table can't be published."""
    for part in parts:
        if part.unfit:
            raise Refused(f"{part.dataset}: no slot can follow it: {part.unfit}; follow it by triggers")


def refuse_other_identity(parts: Iterable[Part]) -> None:
    """Raise WorldChanged when a table that was published can't be any more."""
    for part in parts:
        if part.unfit:
            raise WorldChanged(
                f"{part.dataset}: {part.unfit}, which was otherwise when the changefeed began; until that is taken "
                "back the server may refuse to update and delete its rows"
            )


def publish(connection: psycopg.Connection[Any], parts: Sequence[Part]) -> None:
    """Make the publication, in the caller's transaction: it holds off changes of the tables' shapes until its end."""
    columns = connection.info.server_version >= COLUMNS_SINCE
    tables = [relation(PASS), *(_with_columns(part) if columns else part.relation for part in parts)]
    run(
        connection,
        sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish = 'insert, update, delete, truncate')").format(
            sql.Identifier(PUBLICATION), sql.SQL(", ").join(tables)
        ),
    )


def unpublish(connection: psycopg.Connection[Any]) -> None:
    """Drop the publication, if it is there."""
    run(connection, sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(PUBLICATION)))


def facts(connection: psycopg.Connection[Any]) -> str | None:
    """What tells this publication from one that was altered or made anew; None where there is none."""
    row = connection.execute(FACTS, (PUBLICATION,)).fetchone()
    return str(row[0]) if row else None


def tables(
    connection: psycopg.Connection[Any], parts: Sequence[Part], keys: Mapping[DatasetId, tuple[str, ...]]
) -> Tables:
    """The published tables, by oid."""
    passes = number(
        connection,
        sql.SQL("SELECT to_regclass({})::oid::bigint").format(sql.Literal(relation(PASS).as_string(None))),
    )
    return Tables(datasets={part.oid: part.dataset for part in parts}, keys=keys, passes=passes)


def _part(row: tuple[Any, ...], keys: Mapping[DatasetId, tuple[str, ...]]) -> Part:
    dataset, oid, schema, name, kind, persistence, identified, owned, identity = row
    key = keys[DatasetId(dataset)]
    table = TableName(schema=schema, name=name)
    reasons = _reasons(table, (kind, persistence, identified), owned=owned, told=set(key) <= set(identity))
    unfit = next(reasons, None) if key else f"{table} has no key"
    return Part(dataset=DatasetId(dataset), oid=oid, name=table, identity=tuple(identity), key=key, unfit=unfit)


def _reasons(table: TableName, marks: tuple[str, str, str], *, owned: bool, told: bool) -> Iterator[str]:
    """Why this table can't be published. `marks`: kind, persistence and replica identity as the catalogue has them."""
    kind, persistence, identified = marks
    if kind != "r":
        yield f"{table} is no table of this server"
    if persistence != "p":
        yield f"{table} is not logged"
    if identified == "f":
        yield f"the replica identity of {table} is the whole row"
    if not told:
        yield f"the replica identity of {table} is not its key"
    if not owned:
        yield f"the role does not own {table}"


def _with_columns(part: Part) -> sql.Composable:
    return sql.SQL("{} ({})").format(part.relation, sql.SQL(", ").join(map(sql.Identifier, part.identity)))
