"""A bench over SQL written by hand, for what only a real server holds: types, partitions, triggers, odd names."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from domicile.catalogue import Catalogue, RelationKind, Table, TableName
from domicile.config.rules import Decide, Disposition, HomeRows
from domicile.model import (
    DatasetId,
    DatasetScope,
    Edge,
    Evidence,
    Home,
    Kind,
    MarketRule,
    Path,
    Scope,
    Step,
)
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.source import PostgresSource
from tests.stores.benches import DIGEST_KEY, SOURCE, Flowing, as_home

PERSON = TableName(schema="public", name="person")
PEOPLE = """
CREATE TABLE person (id integer PRIMARY KEY, country text);
INSERT INTO person VALUES (1, 'CA'), (2, 'FR');
"""


class RawBench(Flowing):
    """Tables with a column `owner` move with the person it names; all others go everywhere."""

    def __init__(self, script: str, database: Callable[[], str]) -> None:
        self.dsns = {SOURCE: database(), "ca": database()}
        self.execute(SOURCE, PEOPLE + script)
        source = PostgresSource(self.dsns[SOURCE], key=DIGEST_KEY, name="app")
        home = PostgresHome(self.dsns["ca"], key=DIGEST_KEY, name="app-ca")
        self.scope = scope_of(source.catalogue())
        self.opened = (source, home)
        for store in self.opened:
            store.bind(self.scope)
        self.source, self.homes = source, {Home("ca"): as_home(home)}

    def close(self) -> None:
        for store in self.opened:
            store.close()

    def execute(self, place: str, script: str) -> None:
        with psycopg.connect(self.dsns[place]) as connection:
            connection.execute(script.encode())

    def query(self, place: str, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsns[place]) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(statement.encode()).fetchall()


def scope_of(catalogue: Catalogue) -> Scope:
    """Everybody's tables, parents first, with the edges that the database declares."""
    tables = sorted(catalogue.tables, key=lambda table: (table.name != PERSON, _depth(catalogue, table)))
    return Scope(
        kinds=(
            Kind(
                dataset=_id(PERSON),
                key="id",
                market=MarketRule(
                    evidence=(Evidence(name="market", steps=(), field="country"),),
                    decide=Decide.FIRST,
                    homes=(("CA", "ca"),),
                    unknown="stay",
                    conflict="stay",
                ),
            ),
        ),
        datasets=tuple(_dataset(table) for table in tables),
        edges=tuple(
            Edge(
                name=key.name,
                child=_id(key.child),
                columns=key.columns,
                parent=_id(key.parent),
                parent_columns=key.parent_columns,
                enforced=True,
            )
            for key in catalogue.foreign_keys
        ),
    )


def _depth(catalogue: Catalogue, table: Table | None) -> int:
    assert table is not None
    parents = [key.parent for key in catalogue.foreign_keys if key.child == table.name and key.parent != table.name]
    return 1 + max((_depth(catalogue, catalogue.table(parent)) for parent in parents), default=0)


def _id(name: TableName) -> DatasetId:
    return DatasetId(f"app.{name}")


def _dataset(table: Table) -> DatasetScope:
    columns = tuple(column for column in table.columns if not column.generated)
    owned = table.column("owner") is not None
    steps = (Step(columns=("owner",), table=PERSON, to_columns=("id",)),)
    paths = (Path(steps=steps, text="owner", subject=_id(PERSON)),) if owned else ()
    if table.name == PERSON:
        paths = (Path(steps=(), text="itself", subject=_id(PERSON), certain=True),)
    return DatasetScope(
        id=_id(table.name),
        table=table.name,
        partitioned=table.kind is RelationKind.PARTITIONED,
        rows=Disposition.MOVE if paths else Disposition.NONE,
        home_rows=HomeRows.ALL,
        columns=columns,
        key=table.key,
        paths=paths,
        ownerless_stay=True,
        binary=all(column.binary for column in columns),
    )
