"""What every importer returns and the draft takes: edges, fields and what the source could not be understood in.

One strict form for files and for programs that look into an application: a program prints it as JSON, so the engine
neither needs the application's libraries nor runs its code.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from domicile.config.people import SubjectRule
from domicile.config.rules import DatasetRule

EDGES_MAX = 50_000
FIELDS_MAX = 500_000
TABLES_MAX = 50_000
NOTES_MAX = 10_000

Word = Annotated[str, Field(min_length=1, max_length=500)]
Line = Annotated[str, Field(max_length=2_000)]
Columns = Annotated[tuple[Word, ...], Field(max_length=32)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class TableRef(_Strict):
    """A table as the source names it; without a schema, the database says which one has it."""

    schema_: Word | None = Field(default=None, alias="schema")
    name: Word

    def __str__(self) -> str:
        return f"{self.schema_}.{self.name}" if self.schema_ else self.name


class Lookup(_Strict):
    """The value of a polymorphic pair's kind that only the database knows: its row of `table` where `where` holds.

    Django: `content_type_id` is the `id` of `django_content_type` where app_label and model are the parent's. `certain`
    kinds are kept though no row names them today.
    """

    column: Word
    table: TableRef
    key: Word
    where: Annotated[dict[Word, Word], Field(min_length=1, max_length=8)]
    certain: bool = False


class ImportedEdge(_Strict):
    """A reference child → parent that the source declares.

    `via` are columns, or one reference inside a column as `domicile.yaml` spells it; an empty `key` is the parent's
    own. `undirected`: the source says that the two belong together, not which one refers; the keys decide.
    """

    child: TableRef
    via: Annotated[Columns, Field(min_length=1)]
    parent: TableRef
    key: Columns = ()
    when: Line | None = None
    lookup: Lookup | None = None
    undirected: bool = False
    source: Line


class ImportedField(_Strict):
    """What the source says of one column: a fideslang category, or words about it."""

    table: TableRef
    name: Word
    category: Word | None = None
    words: Line | None = None
    source: Line


class ImportedTable(_Strict):
    """What the source calls a table: a class of the application, a name for people."""

    table: TableRef
    name: Word
    source: Line


class Said(_Strict):
    """Rules of `domicile.yaml` that came back with the source, as they were written, under their store's name."""

    store: Word
    subject: SubjectRule | None = None
    other_subjects: tuple[SubjectRule, ...] = ()
    datasets: dict[str, DatasetRule] = Field(default_factory=dict)


class Imported(_Strict):
    """All that one source says; `unsaid` names what was found there and could not be taken over, one line each."""

    version: Literal[1] = 1
    source: Word
    edges: Annotated[tuple[ImportedEdge, ...], Field(max_length=EDGES_MAX)] = ()
    fields: Annotated[tuple[ImportedField, ...], Field(max_length=FIELDS_MAX)] = ()
    tables: Annotated[tuple[ImportedTable, ...], Field(max_length=TABLES_MAX)] = ()
    unsaid: Annotated[tuple[Line, ...], Field(max_length=NOTES_MAX)] = ()
    said: Said | None = None
