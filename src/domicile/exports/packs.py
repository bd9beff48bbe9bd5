"""Policy packs: which clauses of a text the statements of a run support, as a file and not as code.

A pack names a text, and for each clause the kinds of statement that support it, the verdicts that copies need, the
checks of `domicile-audit` that bear on it, and what they do not show. Packs of ours lie in the package; anybody can
give one of their own. Unknown keys are refused: a misspelled condition would be one that nobody asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from domicile.config.tree import load_tree, read_bytes
from domicile.errors import BadFile
from domicile.exports.holding import SUPPORTING
from domicile.proof import Verdict

HINT: Final = "docs/exports.md"
REMEDY: Final = f"see {HINT} for how a pack is written"
CLAUSES_MAX: Final = 500
PACKS_MAX: Final = 20
MAY_SUPPORT: Final = (Verdict.ERASED_VERIFIED, Verdict.KEY_DESTROYED)
"""A copy of any other verdict is not known to be erased, so it supports nothing."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected one line of printable text")
    return text


def _kind(text: str) -> str:
    for name in text.split(" or "):
        if name not in SUPPORTING:
            raise ValueError(f"no kind of statement that supports a clause; one of {', '.join(SUPPORTING)}, or A or B")
    return text


def _verdict(verdict: Verdict) -> Verdict:
    if verdict not in MAY_SUPPORT:
        raise ValueError(f"a copy that is {verdict.value} supports nothing; {' or '.join(MAY_SUPPORT)}")
    return verdict


Line = Annotated[
    str, StringConstraints(min_length=1, max_length=500, strip_whitespace=True), AfterValidator(_printable)
]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*(?:[.-][a-z0-9]+)*$", max_length=64)]
Kind = Annotated[str, AfterValidator(_kind)]
Supports = Annotated[Verdict, AfterValidator(_verdict)]
Check = Annotated[int, Field(ge=1, le=99, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SupportedBy(_Strict):
    """What has to hold: each of the kinds of statement, and for every copy one of the verdicts, if any are named."""

    statements: Annotated[tuple[Kind, ...], Field(min_length=1, max_length=20)]
    verdicts: Annotated[tuple[Supports, ...], Field(max_length=2)] = ()
    checks: Annotated[tuple[Check, ...], Field(max_length=99)] = ()


class Clause(_Strict):
    """One clause: its own reference, what it says in a line of ours, what supports it and what that does not show."""

    id: Name
    reference: Line
    says: Line
    supported_by: SupportedBy
    not_shown: Annotated[tuple[Line, ...], Field(min_length=1, max_length=20)]


class NotCovered(_Strict):
    """A clause that a reader may look for, and why no statement supports it."""

    reference: Line
    why: Line


class Pack(_Strict):
    """A text and its clauses: `text` is the edition that was read, `read` the day of it, `version` the pack's own."""

    pack: Literal[1]
    id: Name
    title: Line
    version: Line
    text: Line
    read: date
    source: Annotated[Line, Field(pattern=r"^https://[^\s\"<>]+$")]
    clauses: Annotated[tuple[Clause, ...], Field(min_length=1, max_length=CLAUSES_MAX)]
    not_covered: Annotated[tuple[NotCovered, ...], Field(max_length=CLAUSES_MAX)] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [clause.id for clause in self.clauses]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"clauses of the same id: {', '.join(twice)}; give each its own")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPack:
    """A pack, and the SHA-256 of the file that it stands in."""

    pack: Pack
    sha256: str


def parse_pack(data: bytes, *, origin: str) -> ReadPack:
    """Read the bytes of a pack; BadFile with line and key for anything else."""
    tree = load_tree(data, origin=origin, remedy=REMEDY)
    return ReadPack(pack=tree.model(Pack, hint=HINT), sha256=hashlib.sha256(data).hexdigest())


def built_in() -> tuple[ReadPack, ...]:
    """The packs of the package, by name."""
    found = sorted(files("domicile").joinpath("packs").iterdir(), key=lambda entry: entry.name)
    return tuple(parse_pack(one.read_bytes(), origin=one.name) for one in found if one.name.endswith(".yaml"))


def choose(wanted: Sequence[str]) -> tuple[ReadPack, ...]:
    """The packs of these ids or files; without any, all of the package.

    Raises BadFile: no such pack or file, not a pack, the same id twice.
    """
    ours = {one.pack.id: one for one in built_in()}
    if len(wanted) > PACKS_MAX:
        raise BadFile(f"{len(wanted)} packs are named, at most {PACKS_MAX} are read; export them one after another")
    chosen = tuple(ours.get(name) or _from_file(name, tuple(ours)) for name in wanted) or tuple(ours.values())
    names = [one.pack.id for one in chosen]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadFile(f"pack {', '.join(twice)} is named twice; name each pack once, or give yours an id of its own")
    return chosen


def _from_file(name: str, ours: Sequence[str]) -> ReadPack:
    remedy = f"name a file, or one of {', '.join(ours)} (`domicile export packs`)"
    return parse_pack(read_bytes(Path(name), remedy=remedy), origin=Path(name).name)
