"""What `domicile.yaml` says of people: where each kind of them is found, and by which evidence the market of one. Pure.

Of the market's own subjects and of others, such as those who sell; docs/domicile-yaml.md, from `subject` on.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, model_validator

from domicile.config.rules import NAME, Decide, FileModel, PathHops


class EvidenceRule(FileModel):
    """One place that tells the market: a path (none: the person's own row), a field, and what its values mean.

    `when` picks among the rows at the path's end.
    """

    name: Annotated[str, Field(pattern=NAME.pattern)]
    field: str
    path: PathHops | None = None
    when: str | None = None
    values: dict[str, str] | None = None
    match: str | None = None
    date: str | None = None
    since: str | None = None
    until: str | None = None


class Market(FileModel):
    """How a person's market is found: in one place (`field`, `path`, `when`, `values`), or from several as `evidence`.

    `conflict` decides people of whom what counts tells several homes.
    """

    field: str | None = None
    path: PathHops | None = None
    when: str | None = None
    values: dict[str, str] | None = None
    evidence: Annotated[tuple[EvidenceRule, ...], Field(max_length=16)] = ()
    decide: Decide = Decide.FIRST
    conflict: str | None = None
    as_of: date | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Market:
        if (self.field is None) == (not self.evidence):
            raise ValueError("give either `field` (with `path` and `values`) or a list of `evidence`")
        if self.evidence and (self.path or self.when or self.values is not None):
            raise ValueError("`path`, `when` and `values` stand with each piece of `evidence`")
        names = [item.name for item in self.evidence]
        if len(set(names)) != len(names):
            raise ValueError("two pieces of evidence have the same name")
        if self.as_of is None and any(item.since or item.until for item in self.evidence):
            raise ValueError("evidence with `since` or `until` needs the day it must be true on: give `as_of`")
        if self.decide is Decide.LATEST and not any(item.date for item in self.evidence):
            raise ValueError("`decide: latest` needs a `date` in at least one piece of evidence")
        return self

    @property
    def pieces(self) -> tuple[EvidenceRule, ...]:
        """All evidence, in order; the short form is one piece."""
        if self.evidence or self.field is None:
            return self.evidence
        return (EvidenceRule(name="market", field=self.field, path=self.path, when=self.when, values=self.values),)


class SubjectRule(FileModel):
    """The person: dataset, key, and how the market is found."""

    dataset: str
    key: str
    market: Market
