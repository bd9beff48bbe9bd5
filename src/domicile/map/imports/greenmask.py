"""Greenmask's virtual references (`dump.virtual_references`, docs.greenmask.io: Database subset) → imported edges.

The rest of its file is not ours and not looked at. `not_null` chooses a join there and says nothing of the edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domicile.config.tree import Tree
from domicile.map.imports.expressions import plain_condition, spell_expression
from domicile.map.imports.interchange import Imported, ImportedEdge, TableRef, Word

HINT = "Greenmask's page on virtual references, and docs/importers.md"
SOURCE = "Greenmask"
_SHOWN_MAX = 200


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _ReferencedColumn(_Part):
    name: Word | None = None
    expression: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> _ReferencedColumn:
        if (self.name is None) == (self.expression is None):
            raise ValueError("give either `name` or `expression`")
        return self


class _Reference(_Part):
    schema_: Word = Field(alias="schema")
    name: Word
    columns: Annotated[tuple[_ReferencedColumn, ...], Field(min_length=1, max_length=32)]
    not_null: bool = False
    polymorphic_exprs: Annotated[tuple[str, ...], Field(max_length=32)] = ()


class _VirtualReference(_Part):
    schema_: Word = Field(alias="schema")
    name: Word
    references: Annotated[tuple[_Reference, ...], Field(min_length=1, max_length=1_000)]


class _Dump(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
    virtual_references: Annotated[tuple[_VirtualReference, ...], Field(min_length=1, max_length=10_000)]


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
    dump: _Dump


def read_greenmask(tree: Tree) -> Imported:
    """Read the virtual references; what can't be said is in `unsaid`."""
    parsed = tree.model(_File, hint=HINT)
    edges: list[ImportedEdge] = []
    unsaid: list[str] = []
    for number, virtual in enumerate(parsed.dump.virtual_references):
        child = TableRef(schema=virtual.schema_, name=virtual.name)
        for index, reference in enumerate(virtual.references):
            where = f"{tree.origin}: virtual_references[{number}].references[{index}] ({child} → {reference.name})"
            problems = list(_problems(child, reference))
            unsaid += [f"{where}: {problem}" for problem in problems]
            if not problems:
                edges.append(_edge(child, reference, f"virtual_references[{number}].references[{index}]"))
    return Imported(source=SOURCE, edges=tuple(edges), unsaid=tuple(unsaid))


def _problems(child: TableRef, reference: _Reference) -> Iterator[str]:
    for column in reference.columns:
        if column.expression is not None and spell_expression(column.expression, child) is None:
            yield f"the expression {column.expression[:_SHOWN_MAX]} has no spelling here; write the edge yourself"
    for condition in reference.polymorphic_exprs:
        if plain_condition(condition, child) is None:
            yield f"the condition {condition[:_SHOWN_MAX]} is not about columns of {child} alone"


def _edge(child: TableRef, reference: _Reference, source: str) -> ImportedEdge:
    conditions = [str(plain_condition(text, child)) for text in reference.polymorphic_exprs]
    when = conditions[0] if len(conditions) == 1 else " AND ".join(f"({text})" for text in conditions) or None
    return ImportedEdge(
        child=child, parent=TableRef(schema=reference.schema_, name=reference.name), when=when, source=source,
        via=tuple(column.name or str(spell_expression(str(column.expression), child)) for column in reference.columns),
    )  # fmt: skip
