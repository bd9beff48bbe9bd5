"""Hops of the file bound to the catalogue: each is an edge that the database or the file declares, or is refused.

Pure. Says for each hop how its columns are compared, and whether it may lead to several rows.
"""

from __future__ import annotations

from collections.abc import Mapping

from domicile.catalogue import FOLDED, Catalogue, Column, Comparison, Table, TableName
from domicile.config import dataset_id, split_dataset_id
from domicile.config.conditions import parse_condition
from domicile.config.rules import Hop
from domicile.errors import BadFile
from domicile.model import Edge, Step
from domicile.plan.comparing import compare_all, own_equality
from domicile.reading import is_reading, parse_reading


class Tables:
    """The source's tables and columns by the names that the file uses."""

    def __init__(self, source: str, catalogue: Catalogue, *, derived: frozenset[str] = frozenset()) -> None:
        self.source = source
        self.catalogue = catalogue
        self.derived = derived

    def table(self, name: str, where: str) -> Table:
        """Return the table of that dataset id; raise BadFile naming `where` when there is none."""
        if name in self.derived:
            raise BadFile(f"{where}: {name} is derived, and is emptied or refreshed; nothing may lead over it")
        store, table_name = split_dataset_id(name)
        table = self.catalogue.table(table_name) if store == self.source else None
        if table is None:
            raise BadFile(f"{where}: {name} is not a table of {self.source}")
        return table

    def column(self, table: Table, name: str, where: str) -> Column:
        """Return the table's column; raise BadFile naming `where` when there is none."""
        column = table.column(name)
        if column is None:
            raise BadFile(f"{where}: {table.name} has no column {name}")
        return column

    def one_key(self, parent: Table, names: tuple[str, ...] | None, where: str) -> Column:
        """The one column that a reference inside a column names."""
        key = names or parent.key
        if len(key) != 1:
            raise BadFile(f"{where}: a reference inside a column names one column of {parent.name}; give `key:`")
        return self.column(parent, key[0], where)


class Hops:
    """Binds hops; `edges` are those of each dataset of the file."""

    def __init__(self, tables: Tables, edges: Mapping[str, tuple[Edge, ...]]) -> None:
        self.tables = tables
        self.edges = edges

    def steps(self, table: Table, hops: tuple[Hop, ...], where: str) -> tuple[tuple[Step, ...], Table]:
        """Bind the hops from `table` on; return the steps, and the table at which they end."""
        steps: list[Step] = []
        here = table
        for hop in hops:
            step = self._down(here, hop, where) if hop.from_ else self._up(here, hop, where)
            steps.append(step)
            here = self.tables.table(dataset_id(self.tables.source, step.table), where)
        return tuple(steps), here

    def certain(self, table: Table, steps: tuple[Step, ...]) -> bool:
        """Whether the database itself makes every row reach somebody: enforced keys that are never null."""
        here = table
        for step in steps:
            edge = self._edge(here, step.columns, step.table)
            if (
                step.many
                or step.when
                or step.reading
                or edge is None
                or not edge.enforced
                or edge.parent_columns != step.to_columns
            ):
                return False
            if not all((column := here.column(name)) and column.not_null for name in step.columns):
                return False
            here = self.tables.table(dataset_id(self.tables.source, step.table), "path")
        return True

    def _up(self, here: Table, hop: Hop, where: str) -> Step:
        if any(is_reading(name, here) for name in hop.via):
            return self._up_reading(here, hop, where)
        for column in hop.via:
            self.tables.column(here, column, where)
        self.check_when(here, hop.when, where)
        if hop.to is None:
            edge = self._edge(here, hop.via, None)
            if edge is None:
                raise BadFile(
                    f"{where}: {here.name}.{','.join(hop.via)} is no foreign key; write {{via: …, to: …}}, "
                    "or declare it under `edges`"
                )
            parent, key = self.tables.table(edge.parent, where), edge.parent_columns
        else:
            parent = self.tables.table(hop.to, where)
            edge = self._edge(here, hop.via, parent.name)
            key = tuple(hop.key or (edge.parent_columns if edge else parent.key))
            for column in key:
                self.tables.column(parent, column, where)
        if len(key) != len(hop.via):
            raise BadFile(f"{where}: {','.join(hop.via)} can't refer to {parent.name} ({','.join(key) or 'no key'})")
        return Step(
            columns=hop.via, table=parent.name, to_columns=key, when=hop.when,
            many=hop.fold or not self._leads_to_one(parent, key, here, hop.via, edge),
            comparisons=_comparisons(parent, key, here, hop, edge),
        )  # fmt: skip

    def _up_reading(self, here: Table, hop: Hop, where: str) -> Step:
        """A hop over references inside a column; there may be many."""
        self.check_when(here, hop.when, where)
        declared = next(
            (edge for edge in self.edges[dataset_id(self.tables.source, here.name)] if edge.spelled in hop.via), None
        )
        target = hop.to or (declared.parent if declared else None)
        if target is None or len(hop.via) != 1:
            raise BadFile(
                f"{where}: {', '.join(hop.via)}: write {{via: '…', to: …}} with one reference, or declare it under "
                "`edges`"
            )
        parent = self.tables.table(target, where)
        key = self.tables.one_key(parent, hop.key, where)
        reading = parse_reading(hop.via[0], here, refers_to=key, where=where, fold=hop.fold)
        return Step(
            columns=(reading.column,), table=parent.name, to_columns=(key.name,), many=True, when=hop.when,
            reading=reading,
        )  # fmt: skip

    def _down(self, here: Table, hop: Hop, where: str) -> Step:
        child = self.tables.table(str(hop.from_), where)
        if hop.when:
            raise BadFile(f"{where}: `when` goes with `via … to`, not with `from`")
        if len(hop.via) == 1 and is_reading(hop.via[0], child):
            to = self.tables.one_key(here, hop.key, where)
            reading = parse_reading(hop.via[0], child, refers_to=to, where=where, fold=hop.fold)
            return Step(
                columns=(to.name,),
                table=child.name,
                to_columns=(reading.column,),
                many=True,
                down=True,
                to_reading=reading,
            )
        for column in hop.via:
            self.tables.column(child, column, where)
        edge = self._edge(child, hop.via, here.name)
        key = tuple(hop.key or (edge.parent_columns if edge else here.key))
        if len(key) != len(hop.via):
            raise BadFile(f"{where}: {child.name}.{','.join(hop.via)} doesn't refer to {here.name}; give `key:`")
        for column in key:
            self.tables.column(here, column, where)
        return Step(
            columns=key, table=child.name, to_columns=hop.via, down=True,
            many=hop.fold or not self._leads_to_one(child, hop.via, here, key, edge),
            comparisons=_comparisons(here, key, child, hop, edge),
        )  # fmt: skip

    def _leads_to_one(
        self, there: Table, far: tuple[str, ...], here: Table, near: tuple[str, ...], edge: Edge | None
    ) -> bool:
        """Whether at most one row `there` matches: by a key, compared as the key itself compares.

        What a foreign key refers to is unique, also where it may be null. Another type's equality, or another
        collation's, may take two keys for one. With children that inherit, nothing is unique.
        """
        referred = [key.parent_columns for key in self.tables.catalogue.foreign_keys if key.parent == there.name]
        unique = there.tells_apart(far) or any(set(columns) <= set(far) for columns in referred)
        if not unique or there.children or (edge is not None and FOLDED in edge.comparisons):
            return False
        if edge is not None and edge.enforced and (edge.columns, edge.parent_columns) in ((near, far), (far, near)):
            return True
        pairs = [(there.column(one), here.column(other)) for one, other in zip(far, near, strict=True)]
        return all(one and other and _kind_of(one) == _kind_of(other) for one, other in pairs)

    def _edge(self, child: Table, columns: tuple[str, ...], parent: TableName | None) -> Edge | None:
        for edge in self.edges.get(dataset_id(self.tables.source, child.name), ()):
            if (
                edge.columns == columns
                and edge.reading is None
                and (parent is not None or edge.when is None)
                and (parent is None or edge.parent == dataset_id(self.tables.source, parent))
            ):
                return edge
        return None

    def check_when(self, here: Table, when: str | None, where: str) -> None:
        """Refuse a `when` that is no plain comparison of the table's own columns."""
        if when is not None:
            parse_condition(
                when, columns=frozenset(column.name for column in here.columns), where=where,
                own_equality=frozenset(own_equality(here)),
            )  # fmt: skip


def _comparisons(
    parent: Table, parent_columns: tuple[str, ...], child: Table, hop: Hop, edge: Edge | None
) -> tuple[Comparison, ...]:
    """Compare as the hop says, or as the edge does where the hop is one."""
    if hop.fold:
        return (FOLDED,) * len(hop.via)
    if edge is not None and (edge.columns, edge.parent_columns) == (hop.via, parent_columns):
        return edge.comparisons
    return compare_all(parent, parent_columns, child, hop.via)


def _kind_of(column: Column) -> tuple[str, tuple[str, str] | None]:
    return column.base, column.collation


def spell(hops: tuple[Hop, ...]) -> str:
    """The hops for a person's eyes."""
    parts = []
    for hop in hops:
        via = ",".join(hop.via)
        parts.append(f"from {hop.from_}.{via}" if hop.from_ else via)
    return " → ".join(parts)
