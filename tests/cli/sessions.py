"""Sessions of the command line as text: read them, run them, hold what was said against what is written.

    One session, docs/sessions/*.txt. Lines that begin with # are for the reader; `#: key value` sets the stage.

    $ domicile plan
    homecoming: CA → ca; subjects: 5 to ca
    …
    [exit 12]

`$ ` begins a command, run by a real shell in a folder of its own. What follows is what it says, on both channels;
`…` stands for any text in a line, and for any number of lines where it stands alone. `[exit N]` is there when the
command ends with another code than 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers import ROOT

FOLDER: Final = ROOT / "docs" / "sessions"
ANY: Final = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command, what it says, and how it ends."""

    line: int
    command: str
    said: tuple[str, ...]
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A text file: its stage and its steps."""

    name: str
    sample: str
    homes: tuple[str, ...]
    steps: tuple[Step, ...]


def read(path: Path) -> Session:
    """Read a session; raise ValueError at what is no line of one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    stage = dict(line[2:].split(maxsplit=1) for line in lines if line.startswith("#:"))
    steps = tuple(_steps([line for line in lines if not line.startswith("#")], lines))
    return Session(name=path.stem, sample=stage["sample"], homes=tuple(stage["homes"].split()), steps=steps)


def _steps(lines: Sequence[str], numbered: Sequence[str]) -> Iterator[Step]:
    blocks: list[list[str]] = []
    for line in lines:
        if line.startswith("$ "):
            blocks.append([line[2:]])
        elif blocks:
            blocks[-1].append(line)
        elif line.strip():
            raise ValueError(f"{line!r} comes before the first command; begin it with # or $")
    for block in blocks:
        while not block[-1].strip():
            block.pop()
        code = re.fullmatch(r"\[exit (\d+)\]", block[-1])
        said = block[1:-1] if code else block[1:]
        yield Step(
            line=numbered.index(f"$ {block[0]}") + 1, command=block[0], said=_trimmed(said),
            code=int(code[1]) if code else 0,
        )  # fmt: skip


def difference(step: Step, said: str) -> str | None:
    """Return the first written line that was not said where it should be, or None."""
    heard = list(_trimmed(said.splitlines()))
    place, skipping = 0, False
    for written in step.said:
        if written.strip() == ANY:
            skipping = True
            continue
        found = next((at for at in range(place, len(heard)) if _is(written, heard[at])), None)
        if found is None or (found != place and not skipping):
            return written
        place, skipping = found + 1, False
    if place < len(heard) and not skipping:
        return f"(nothing more; but it said: {heard[place]})"
    return None


def _is(written: str, heard: str) -> bool:
    pattern = ".*".join(re.escape(" ".join(part.split())) for part in written.split(ANY))
    return re.fullmatch(pattern.replace(r"\ ", r"\s*"), " ".join(heard.split())) is not None


def _trimmed(lines: Sequence[str]) -> tuple[str, ...]:
    """Lines without their margins, and without the empty ones: tables are laid out, not compared."""
    return tuple(line.strip() for line in lines if line.strip() and not re.fullmatch(r"[\s─]+", line))
