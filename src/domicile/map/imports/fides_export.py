"""`domicile.yaml` → fideslang datasets, one for each schema of the source.

Categories, keys, types and single-column references are said in fideslang's own words; the rest of a rule stands under
`fides_meta.domicile`, so that an import brings back the same rules. Fides ignores that key, and drops it when it stores
the file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from domicile.catalogue import Catalogue, Column, Table, TableName
from domicile.config import Config, dataset_id, split_dataset_id
from domicile.config.conditions import split_when
from domicile.config.rules import DatasetRule, FieldRule
from domicile.errors import BadFile
from domicile.map.spelling import block, said
from domicile.model import EACH
from domicile.reading import is_reading, parse_reading

_FIDES_KEY = re.compile(r"[a-zA-Z0-9_.<>-]+")
_TYPES = {
    "smallint": "integer", "integer": "integer", "bigint": "integer", "real": "float", "double precision": "float",
    "numeric": "float", "boolean": "boolean", "text": "string", "character varying": "string", "character": "string",
    "uuid": "string", "json": "object", "jsonb": "object",
}  # fmt: skip

Node = dict[str, Any]


def export_fides(config: Config, catalogue: Catalogue) -> str:
    """Spell rules and tables as fideslang; the same file and catalogue give the same bytes."""
    exporting = _Exporting(config=config, catalogue=catalogue)
    head = (
        "# fideslang datasets, written by `domicile map --export`. What fideslang can't say stands under\n"
        "# fides_meta.domicile; `domicile init --from fides:…` reads it again.\n"
    )
    return head + "\n".join(block({"dataset": exporting.datasets()}, 0)) + "\n"


@dataclass(slots=True, kw_only=True)
class _Inside:
    """Fields inside a column, by name, in the order in which they were found."""

    each: bool = False
    references: list[Node] = field(default_factory=list)
    parts: dict[str, _Inside] = field(default_factory=dict)

    def reach(self, steps: tuple[str, ...]) -> _Inside:
        """Return the place that the steps lead to, made where it isn't there."""
        place = self
        for step in steps:
            if step == EACH:
                place.each = True
            else:
                place = place.parts.setdefault(step, _Inside())
        return place


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exporting:
    config: Config
    catalogue: Catalogue

    def datasets(self) -> list[Node]:
        schemas: defaultdict[str, list[TableName]] = defaultdict(list)
        ours = [split_dataset_id(name)[1] for name in self.config.datasets]
        for name in sorted({*ours, *(table.name for table in self.catalogue.tables)}):
            schemas[name.schema].append(name)
        return [self._dataset(schema, names) for schema, names in schemas.items()]

    def _dataset(self, schema: str, names: list[TableName]) -> Node:
        ours: Node = {"store": self.config.source}
        if split_dataset_id(self.config.subject.dataset)[1].schema == schema:
            ours["subject"] = said(self.config.subject)
            if self.config.other_subjects:
                ours["other_subjects"] = [said(kind) for kind in self.config.other_subjects]
        return {
            "fides_key": self._key(schema),
            "name": f"{self.config.source} {schema}",
            "fides_meta": {"namespace": {"schema": schema}, "domicile": ours},
            "collections": [self._collection(name) for name in names],
        }

    def _key(self, schema: str) -> str:
        """A key that fideslang allows, and another one for each schema."""
        key = f"{self.config.source}_{schema}"
        if _FIDES_KEY.fullmatch(key):
            return key
        return f"{self.config.source}_{schema.encode().hex()}"

    def _collection(self, name: TableName) -> Node:
        dataset = dataset_id(self.config.source, name)
        rule, table = self.config.datasets.get(dataset), self.catalogue.table(name)
        node: Node = {"name": name.name}
        if rule is not None:
            rest = said(rule)
            rest.pop("fields", None)
            node["fides_meta"] = {"domicile": {"dataset": dataset, "rule": rest}}
        inside = self._references(dataset, rule, table)
        columns = [column.name for column in table.columns] if table else []
        named = dict.fromkeys((*columns, *(rule.fields if rule else ()), *inside))
        node["fields"] = [self._field(each, rule, table, inside.get(each)) for each in named]
        return node

    # -------------------------------------------------------------------------------------------- fields

    def _field(self, name: str, rule: DatasetRule | None, table: Table | None, inside: _Inside | None) -> Node:
        ours = rule.fields.get(name) if rule else None
        column = table.column(name) if table else None
        node: Node = {"name": name}
        if ours and ours.category and _FIDES_KEY.fullmatch(ours.category):
            node["data_categories"] = [ours.category]
        meta = self._meta(column, table, ours, inside)
        if meta:
            node["fides_meta"] = meta
        if inside and inside.parts:
            node["fields"] = [_nested(each, part) for each, part in inside.parts.items()]
        return node

    def _meta(self, column: Column | None, table: Table | None, ours: FieldRule | None, inside: _Inside | None) -> Node:
        meta: Node = {}
        if table and column and column.name in table.key:
            meta["primary_key"] = True
        kind = _type(column, inside)
        if kind:
            meta["data_type"] = kind
        if column and column.length_max and column.length_max > 0:
            meta["length"] = column.length_max
        if inside and inside.references:
            meta["references"] = inside.references
        if ours is not None:
            meta["domicile"] = said(ours)
        return meta

    # -------------------------------------------------------------------------------------------- references

    def _references(self, dataset: str, rule: DatasetRule | None, table: Table | None) -> dict[str, _Inside]:
        """Group the single references of a dataset, declared ones and those of the file, under their columns."""
        found: dict[str, _Inside] = {}
        for text, parent, key in self._singles(rule, table) if table else ():
            column, steps = self._steps(table, text, parent, key) if table else (None, ())
            if column is None or len(key) != 1:
                continue  # fideslang has no word for it; the rule says it
            place = found.setdefault(column, _Inside()).reach(steps)
            direction = "to" if self._is_reached(dataset, text, parent) else "from"
            target = {"dataset": self._key(parent.schema), "field": f"{parent.name}.{key[0]}", "direction": direction}
            if target not in place.references:
                place.references.append(target)
        return found

    def _singles(self, rule: DatasetRule | None, table: Table) -> Iterator[tuple[str, TableName, tuple[str, ...]]]:
        """Yield what may be a single reference: its spelling, its parent and the parent's columns."""
        for key in self.catalogue.foreign_keys:
            if key.child == table.name and len(key.columns) == 1:
                yield key.columns[0], key.parent, key.parent_columns
        for columns, edge in rule.edge_rules() if rule else ():
            parent = self.catalogue.table(split_dataset_id(edge.to)[1]) if edge.to is not None else None
            if parent is not None and split_when(columns)[1] is None:  # fideslang has no conditions; the rule keeps it
                yield columns, parent.name, edge.key or parent.key

    def _steps(
        self, table: Table, text: str, parent: TableName, key: tuple[str, ...]
    ) -> tuple[str | None, tuple[str, ...]]:
        if not is_reading(text, table):
            return (text if table.column(text) else None), ()
        target = self.catalogue.table(parent)
        column = target.column(key[0]) if target and key else None
        if column is None:
            return None, ()
        try:
            reading = parse_reading(text, table, refers_to=column, where="export")
        except BadFile:
            return None, ()
        return (reading.column, reading.steps) if reading.pattern is None else (None, ())

    def _is_reached(self, dataset: str, text: str, parent: TableName) -> bool:
        """Whether the parent is found by its child, as an address is by the one who lives there."""
        rule = self.config.datasets.get(dataset_id(self.config.source, parent))
        firsts = [way.path[0] for way in rule.paths] if rule else []
        return any(hop.from_ == dataset and ",".join(hop.via) == text for hop in firsts)


def _nested(name: str, inside: _Inside) -> Node:
    node: Node = {"name": name}
    meta: Node = {}
    if inside.each or inside.parts:
        meta["data_type"] = ("object" if inside.parts else "string") + (EACH if inside.each else "")
    if inside.references:
        meta["references"] = inside.references
    if meta:
        node["fides_meta"] = meta
    if inside.parts:
        node["fields"] = [_nested(each, part) for each, part in inside.parts.items()]
    return node


def _type(column: Column | None, inside: _Inside | None) -> str | None:
    if inside and inside.parts:
        return "object" + (EACH if inside.each else "")
    if column is None:
        return None
    if column.category == "A":
        element = _TYPES.get(column.base.removesuffix(EACH))
        return element + EACH if element else None
    return _TYPES.get(column.base)
