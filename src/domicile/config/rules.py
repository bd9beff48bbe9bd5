"""What `domicile.yaml` says of a dataset: rows, fields, paths and edges; and of keys (docs/domicile-yaml.md).

Pydantic models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WrapSerializer,
    model_validator,
)

NAME: Final = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")
"""What names in the file are made of."""


class FieldClass(StrEnum):
    """Whose business a field's value is."""

    PRIVATE = "private"
    PUBLIC = "public"
    EXCEPTED = "excepted"


class Disposition(StrEnum):
    """What happens to a dataset's rows."""

    MOVE = "move"
    SPLIT = "split"
    PUBLIC = "public"
    DERIVED = "derived"
    NONE = "none"


class Pause(StrEnum):
    """After which cohorts a person is to look before the next one goes home."""

    NEVER = "never"
    FIRST = "first"
    EACH = "each"


class Shared(StrEnum):
    """Whose a row is that leads to several subjects: everyone's, the first path's, or any mover's."""

    EACH = "each"
    FIRST = "first"
    ANY = "any"


class Decide(StrEnum):
    """How the market of a person follows from several pieces of evidence."""

    FIRST = "first"
    LATEST = "latest"
    AGREE = "agree"


class HomeRows(StrEnum):
    """Which rows of a dataset without owner go to a home."""

    ALL = "all"
    NEEDED = "needed"
    NOTHING = "nothing"


class Apart(StrEnum):
    """What becomes of a private parent row where its child is and its owner is not."""

    REFUSE = "refuse"
    SKELETON = "skeleton"
    WHOLE = "whole"


class FileModel(BaseModel):
    """A part of the file: unknown keys are refused, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, defer_build=True)


def _names(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_names), Field(min_length=1, max_length=32)]


class Hop(FileModel):
    """One step of a path. `via` → `to` follows a key upward; `from` + `via` goes down to the rows that refer here."""

    via: Names
    to: str | None = None
    key: Names | None = None
    from_: str | None = Field(default=None, alias="from")
    when: str | None = None
    fold: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"via": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> Hop:
        if self.to and self.from_:
            raise ValueError("a hop has either `to` or `from`, not both")
        return self


def _hops(value: object) -> object:
    if isinstance(value, str):
        return value.split(".")
    return [value] if isinstance(value, Mapping) else value


PathHops = Annotated[tuple[Hop, ...], BeforeValidator(_hops), Field(min_length=1, max_length=16)]


class FieldRule(FileModel):
    """The class of one field; `outside` is the value that stands for it where the row is a skeleton."""

    cls: FieldClass = Field(alias="class")
    category: str | None = None
    outside: str | int | float | bool | None = None
    exception: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"class": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _named(self) -> FieldRule:
        if (self.cls is FieldClass.EXCEPTED) != (self.exception is not None):
            raise ValueError("`class: excepted` names its exception in `exception:` (an id of policy.exceptions)")
        return self


class PathRule(FileModel):
    """One of several paths, with a rule of its own for rows of several people where it needs one."""

    path: PathHops
    shared: Shared | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return value if isinstance(value, Mapping) and "path" in value else {"path": value}


class Subjects(FileModel):
    """Several paths to subjects, and whose the row is when they lead to different ones."""

    by: Annotated[tuple[PathRule, ...], Field(min_length=1, max_length=8)]
    shared: Shared | None = None


class ApartRule(FileModel):
    """The rule of an edge whose two ends land apart, on either side."""

    home: Apart = Apart.REFUSE
    source: Apart = Apart.REFUSE

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"home": value, "source": value} if isinstance(value, str) else value


class EdgeRule(FileModel):
    """An edge of a dataset: declared by the database, or by `to` here (virtual)."""

    to: str | None = None
    key: Names | None = None
    fold: bool = False
    apart: ApartRule = ApartRule()


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _unlisted(value: object, handler: SerializerFunctionWrapHandler) -> object:
    several = handler(value)
    return several[0] if len(several) == 1 else several


EdgeRules = Annotated[
    tuple[EdgeRule, ...],
    BeforeValidator(_listed, json_schema_input_type=EdgeRule | list[EdgeRule]),
    WrapSerializer(_unlisted),
    Field(min_length=1, max_length=8),
]


class DatasetRule(FileModel):
    """What the file says of one dataset."""

    rows: Disposition
    reason: str | None = None
    home: HomeRows | None = None
    fields: dict[str, FieldRule] = Field(default_factory=dict)
    path: PathHops | None = None
    subjects: Subjects | None = None
    shared: Shared | None = None
    ownerless: Literal["stay"] | None = None
    unenforced: Literal["follow"] | None = None
    edges: dict[str, EdgeRules] = Field(default_factory=dict)
    of: Names | None = None

    def edge_rules(self) -> Iterator[tuple[str, EdgeRule]]:
        """Every edge with its key; of columns that refer to several tables one for each."""
        yield from ((text, edge) for text, several in self.edges.items() for edge in several)

    def edge_rule(self, text: str, parent: str | None = None) -> EdgeRule | None:
        """The rule of an edge, to that dataset where columns refer to several."""
        several = self.edges.get(text, ())
        return next((edge for edge in several if parent is None or edge.to in (None, parent)), None)

    @model_validator(mode="after")
    def _told_apart(self) -> DatasetRule:
        for text, several in self.edges.items():
            parents = [edge.to for edge in several]
            if len(several) > 1 and (None in parents or len(set(parents)) < len(parents)):
                raise ValueError(f"edges.{text}: of several each names its own parent: `[{{to: …}}, {{to: …}}]`")
        return self

    @model_validator(mode="after")
    def _computed(self) -> DatasetRule:
        said = sorted(name for name in self.model_fields_set - {"rows", "of", "reason"} if getattr(self, name))
        if self.rows is Disposition.DERIVED and said:
            raise ValueError(f"`rows: derived` is computed from others and takes `of` alone, not {', '.join(said)}")
        if self.rows is not Disposition.DERIVED and self.of:
            raise ValueError("`of` is for `rows: derived`")
        return self

    @model_validator(mode="after")
    def _whole(self) -> DatasetRule:
        if self.rows is Disposition.NONE and not self.reason:
            raise ValueError("`rows: none` needs a `reason`")
        if self.path and self.subjects:
            raise ValueError("give `path` or `subjects`, not both")
        if self.home and self.rows in (Disposition.MOVE, Disposition.SPLIT):
            raise ValueError("`home` is for `public` and `none`; the rows of `move` and `split` follow their owners")
        return self

    @property
    def paths(self) -> tuple[PathRule, ...]:
        """All paths to subjects, in the order in which `first` asks them."""
        if self.subjects:
            return self.subjects.by
        return (PathRule(path=self.path),) if self.path else ()

    @property
    def sharing(self) -> Shared | None:
        """The rule for rows of several subjects, or None when the file gives none."""
        return self.subjects.shared if self.subjects else self.shared
