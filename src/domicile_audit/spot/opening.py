"""The audit key: what the operator discloses to an auditor so that digests of rows can be made again.

It holds the key of the digests, how each slice was read, and how many objects of a slice are listed behind it. All of
that is a hint: who lies in it gets another digest than the log's (docs/evidence.md, "What the spot check shows").
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from domicile_audit.files import read_any_json
from domicile_audit.log.shape import COUNT, FLAG, HEX, TEXT, maybe, misfit, text

OPENING_BYTES_MAX: Final = 64 * 1024 * 1024
FORMAT: Final = "urn:domicile:audit-key/v1"
SHAPE: Final = {
    "format": text(FORMAT),
    "plan": HEX,
    "key": HEX,
    "datasets": {"*": {
        "schema": TEXT, "table": TEXT, "only": FLAG, "binary": FLAG, "columns": [TEXT], "key": [TEXT],
        "private": {"*": maybe(TEXT)},
    }},
    "slices": {"*": {"dataset": TEXT, "part": TEXT, "form": text("whole|private|shared"), "after": COUNT,
                     "upto": COUNT}},
    "objects": {"*": COUNT},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Table:
    """How rows of a dataset are read: columns in order, key in order, private columns with the literal outside."""

    schema: str
    table: str
    only: bool
    binary: bool
    columns: tuple[str, ...]
    key: tuple[str, ...]
    private: Mapping[str, str | None]

    @property
    def spelt(self) -> str:
        """Schema and table as a dataset's id spells them: in quotes where a part holds a dot, a quote or a blank."""
        return ".".join(
            '"' + part.replace('"', '""') + '"' if set(part) & set('."\n\t ') else part
            for part in (self.schema, self.table)
        )

    def read_as(self, form: str) -> tuple[str, ...]:
        """The columns that are read of rows of that form (docs/formats-spot-check.md, "Digests of rows")."""
        read = {"whole": set(self.columns), "private": {*self.key, *self.private}, "shared": set(self.key)}[form]
        return tuple(name for name in self.columns if name in read)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which lines of the manifest a slice is: those of a part and form, with a number over `after` and up to `upto`."""

    dataset: str
    part: str
    form: str
    after: int
    upto: int

    @property
    def lines_table(self) -> str:
        """The table in schema `domicile` that holds the dataset's lines."""
        return f"m_{hashlib.sha256(self.dataset.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True, repr=False)
class Opening:
    """The audit key of one run."""

    plan: str
    key: bytes
    tables: Mapping[str, Table]
    stretches: Mapping[str, Stretch]
    listed: Mapping[str, int]

    @property
    def run_mark(self) -> str:
        """The mark that the run of this key leaves at its homes (docs/formats-spot-check.md, "Digests of rows")."""
        return "run/" + hashlib.sha256(b"domicile run\x00" + self.key).hexdigest()


def read_opening(data: bytes) -> Opening:
    """Read an audit key's first line, which tells all but objects (`listed.py`); ValueError unless it is one."""
    found = read_any_json(data, OPENING_BYTES_MAX)
    found = {"objects": {}, **found} if isinstance(found, dict) else found
    wrong = misfit(found, SHAPE)
    if wrong is not None:
        raise ValueError(f"no audit key, at {wrong}; `domicile audit-key` writes one")
    tables = {
        name: Table(**{**one, "columns": tuple(one["columns"]), "key": tuple(one["key"])})
        for name, one in found["datasets"].items()
    }
    return Opening(
        found["plan"], bytes.fromhex(found["key"]), tables,
        {name: Stretch(**one) for name, one in found["slices"].items()}, found["objects"],
    )  # fmt: skip
