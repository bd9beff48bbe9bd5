"""Small worlds: tables, rows and what a file would say of them, from which a store and its scope are made.

A world is written once and made twice: as a catalogue with rows in memory, and as SQL for a real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from psycopg import sql

from domicile.catalogue import FOLDED, Catalogue, Column, ForeignKey, OnDelete, RelationKind, Table, TableName
from domicile.config.rules import Apart, Decide, Disposition, HomeRows, Shared
from domicile.model import (
    Blank,
    DatasetId,
    DatasetScope,
    Edge,
    Evidence,
    Kind,
    MarketRule,
    Outside,
    Path,
    Reading,
    Scope,
    Step,
)

STORE = "app"
MARKETS = (("US", "us"), ("CA", "ca"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An edge from a table to its parent; `enforced` ones are foreign keys in the database, without `when`."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...] = ("id",)
    enforced: bool = True
    on_delete: OnDelete = OnDelete.NO_ACTION
    home: Apart = Apart.REFUSE
    source: Apart = Apart.REFUSE
    reading: Reading | None = None
    when: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """One kind of people: their sheet, and where it is told which market each belongs to."""

    sheet: str
    key: str = "id"
    evidence: tuple[Evidence, ...] = (Evidence(name="market", steps=(), field="country"),)
    decide: Decide = Decide.FIRST
    conflict: str | None = "stay"
    as_of: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table with its rows, and the file's words on it."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...] = ("id",)
    unique: tuple[tuple[str, ...], ...] = ()
    references: tuple[Reference, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    disposition: Disposition = Disposition.MOVE
    home_rows: HomeRows = HomeRows.ALL
    paths: tuple[Path, ...] = ()
    shared: Shared | None = None
    ownerless_stay: bool = False
    unenforced_follow: bool = False
    blanks: tuple[Blank, ...] = ()

    @property
    def table(self) -> TableName:
        schema, _, name = self.name.rpartition(".")
        return TableName(schema=schema or "public", name=name)

    @property
    def id(self) -> DatasetId:
        return DatasetId(f"{STORE}.{self.table}")

    def dicts(self) -> list[dict[str, object]]:
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All sheets, parents first; the subject's among them."""

    sheets: tuple[Sheet, ...]
    people: tuple[People, ...] = (People(sheet="person"),)
    markets: tuple[tuple[str, str], ...] = MARKETS
    unknown: str = "stay"

    def sheet(self, name: str) -> Sheet:
        return next(sheet for sheet in self.sheets if sheet.name == name)

    def id(self, name: str) -> DatasetId:
        return self.sheet(name).id

    def with_sheet(self, name: str, **changes: object) -> World:
        """The same world, one sheet of it otherwise."""
        sheets = tuple(
            replace(sheet, **changes) if sheet.name == name else sheet  # type: ignore[arg-type]
            for sheet in self.sheets
        )
        return replace(self, sheets=sheets)

    def catalogue(self) -> Catalogue:
        """What a store with these tables says of itself."""
        return Catalogue(
            version=0,
            database="memory",
            system_id="0",
            encoding="UTF8",
            tables=tuple(_table(sheet) for sheet in self.sheets),
            foreign_keys=tuple(
                ForeignKey(
                    name=f"{sheet.table.name}_{'_'.join(edge.columns)}_fkey",
                    child=sheet.table,
                    columns=edge.columns,
                    parent=self.sheet(edge.parent).table,
                    parent_columns=edge.parent_columns,
                    on_delete=edge.on_delete,
                )
                for sheet in self.sheets
                for edge in sheet.references
                if edge.enforced
            ),
        )

    def scope(self, catalogue: Catalogue) -> Scope:
        """The scope over a store's own catalogue."""
        return Scope(
            kinds=tuple(
                Kind(
                    dataset=self.id(kind.sheet),
                    key=kind.key,
                    market=MarketRule(
                        evidence=tuple(
                            replace(piece, steps=_resolved(piece.steps, catalogue)) for piece in kind.evidence
                        ),
                        decide=kind.decide,
                        homes=self.markets,
                        unknown=self.unknown,
                        conflict=kind.conflict,
                        as_of=kind.as_of,
                    ),
                )
                for kind in self.people
            ),
            datasets=tuple(_dataset(sheet, catalogue) for sheet in self.parents_first()),
            edges=tuple(self._edge(sheet, edge) for sheet in self.sheets for edge in sheet.references),
        )

    def parents_first(self) -> tuple[Sheet, ...]:
        """The sheets in the order that a scope promises; where they form a cycle, as they stand."""
        done: dict[str, Sheet] = {}

        def visit(sheet: Sheet, above: frozenset[str]) -> None:
            for edge in sheet.references:
                if edge.parent not in above and edge.parent not in done:
                    visit(self.sheet(edge.parent), above | {edge.parent})
            done.setdefault(sheet.name, sheet)

        for sheet in self.sheets:
            visit(sheet, frozenset({sheet.name}))
        return tuple(done.values())

    def _edge(self, sheet: Sheet, edge: Reference) -> Edge:
        return Edge(
            name=f"{sheet.table.name}_{'_'.join(edge.columns)}_fkey",
            child=sheet.id,
            columns=edge.columns,
            parent=self.id(edge.parent),
            parent_columns=edge.parent_columns,
            enforced=edge.enforced,
            missing_on=() if edge.enforced else (sheet.table,),
            apart_home=edge.home,
            apart_source=edge.source,
            reading=edge.reading,
            when=edge.when,
        )

    def ddl(self) -> list[sql.Composed]:
        """The statements that make the tables; foreign keys come after the rows, in `constraints`."""
        statements = [
            sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema))
            for schema in sorted({sheet.table.schema for sheet in self.sheets})
        ]
        return statements + [_create(sheet) for sheet in self.sheets]

    def constraints(self) -> list[sql.Composed]:
        """The statements that make the foreign keys."""
        return [
            sql.SQL("ALTER TABLE {} ADD FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE " + edge.on_delete.value).format(
                _name(sheet.table),
                _list(edge.columns),
                _name(self.sheet(edge.parent).table),
                _list(edge.parent_columns),
            )
            for sheet in self.sheets
            for edge in sheet.references
            if edge.enforced
        ]


def up(
    column: str | tuple[str, ...] | Reading,
    to: str,
    key: str | tuple[str, ...] = "id",
    when: str | None = None,
    *,
    fold: bool = False,
) -> Step:
    """A hop to the row that the columns, or references read out of one, refer to."""
    reading = column if isinstance(column, Reading) else None
    columns = (column.column,) if isinstance(column, Reading) else _names(column)
    return Step(
        columns=columns, table=_table_name(to), to_columns=_names(key), when=when, many=reading is not None or fold,
        comparisons=(FOLDED,) * len(columns) if fold else (), reading=reading,
    )  # fmt: skip


def down(child: str, column: str | tuple[str, ...] | Reading, key: str | tuple[str, ...] = "id") -> Step:
    """A hop to the rows of `child` that refer here."""
    reading = column if isinstance(column, Reading) else None
    columns = (column.column,) if isinstance(column, Reading) else _names(column)
    return Step(
        columns=_names(key), table=_table_name(child), to_columns=columns, many=True, down=True, to_reading=reading
    )


def path(*steps: Step, subject: str = "person", shared: Shared | None = None) -> Path:
    """A path of hops; none: the row itself is the subject's."""
    text = " → ".join(",".join(step.columns) for step in steps) or "itself"
    name = DatasetId(f"{STORE}.{_table_name(subject)}")
    return Path(steps=steps, text=text, subject=name, certain=not steps, shared=shared)


def tell(field: str, *steps: Step, name: str = "market", **rest: object) -> Evidence:
    """A piece of evidence."""
    return Evidence(name=name, steps=steps, field=field, **rest)  # type: ignore[arg-type]


def null(column: str) -> Blank:
    """Blanked by null."""
    return Blank(column=column, outside=Outside.NULL)


def token(column: str, suffix: str | None = None) -> Blank:
    """Blanked by a token."""
    return Blank(column=column, outside=Outside.TOKEN, literal=suffix)


def literal(column: str, text: str) -> Blank:
    """Blanked by a literal."""
    return Blank(column=column, outside=Outside.LITERAL, literal=text)


def refer(column: str | tuple[str, ...] | Reading, parent: str, **rest: object) -> Reference:
    """An edge; one that is read out of a column is enforced by nobody."""
    if isinstance(column, Reading):
        return Reference(columns=(column.column,), parent=parent, enforced=False, reading=column, **rest)  # type: ignore[arg-type]
    return Reference(columns=_names(column), parent=parent, **rest)  # type: ignore[arg-type]


def _names(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _table_name(name: str) -> TableName:
    schema, _, table = name.rpartition(".")
    return TableName(schema=schema or "public", name=table)


def _dataset(sheet: Sheet, catalogue: Catalogue) -> DatasetScope:
    table = catalogue.table(sheet.table)
    assert table is not None, sheet.name
    columns = tuple(column for column in table.columns if not column.generated)
    return DatasetScope(
        id=sheet.id,
        table=sheet.table,
        partitioned=table.kind is RelationKind.PARTITIONED,
        rows=sheet.disposition,
        home_rows=sheet.home_rows,
        columns=columns,
        key=sheet.key,
        paths=tuple(replace(way, steps=_resolved(way.steps, catalogue)) for way in sheet.paths),
        shared=sheet.shared,
        ownerless_stay=sheet.ownerless_stay,
        blanks=sheet.blanks,
        unenforced_follow=sheet.unenforced_follow,
        binary=all(column.binary for column in columns),
        private=tuple(blank.column for blank in sheet.blanks),
    )


def _resolved(steps: tuple[Step, ...], catalogue: Catalogue) -> tuple[Step, ...]:
    """The hops, marked where the store's own keys let them lead to several rows."""
    return tuple(replace(step, many=_is_many(step, catalogue)) for step in steps)


def _is_many(step: Step, catalogue: Catalogue) -> bool:
    table = catalogue.table(step.table)
    read = step.reading is not None or step.to_reading is not None
    return read or FOLDED in step.comparisons or table is None or not table.tells_apart(step.to_columns)


def _table(sheet: Sheet) -> Table:
    return Table(
        name=sheet.table,
        kind=RelationKind.TABLE,
        columns=tuple(
            Column(
                name=name,
                position=number,
                type=words.split(" not null")[0],
                base=words.split(" not null")[0],
                category="N" if words.startswith(("integer", "bigint")) else "S",
                not_null=words.endswith("not null") or name in sheet.key,
                binary=True,
            )
            for number, (name, words) in enumerate(sheet.columns.items(), start=1)
        ),
        primary_key=sheet.key,
        unique_keys=sheet.unique,
    )


def _create(sheet: Sheet) -> sql.Composed:
    parts: list[sql.Composable] = [
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(words)) for name, words in sheet.columns.items()
    ]
    if sheet.key:
        parts.append(sql.SQL("PRIMARY KEY ({})").format(_list(sheet.key)))
    parts += [sql.SQL("UNIQUE ({})").format(_list(columns)) for columns in sheet.unique]
    return sql.SQL("CREATE TABLE {} ({})").format(_name(sheet.table), sql.SQL(", ").join(parts))


def _name(table: TableName) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)


def _list(names: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)
