"""Ask an application for what it declares: a program of ours, run by the application's own interpreter.

The engine's process neither imports the application nor needs its libraries; it reads one JSON value, bounded, and
checks it as strictly as a file. The application's own output is not shown: it may hold anything.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from domicile.errors import BadFile
from domicile.map.imports.interchange import Imported

ANSWER_BYTES_MAX = 64 * 1024 * 1024
SECONDS_MAX = 120
REASON_CHARACTERS_MAX = 300
PROBES = Path(__file__).parent / "probes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The application's Python, its environment, and how long importing it may take."""

    python: str
    environment: Mapping[str, str] = field(repr=False)
    seconds_max: float = SECONDS_MAX


def ask_program(probe: str, spec: str, *, interpreter: Interpreter, probes: Path = PROBES) -> Imported:
    """Run a program of ours in the present folder; raise BadFile with the reason's first line."""
    where, python = f"{probe}:{spec}", interpreter.python
    program = str(probes / f"{probe}_probe.py")
    with tempfile.TemporaryFile() as answer:
        try:
            subprocess.run(
                [python, program, spec], env=dict(interpreter.environment), stdin=subprocess.DEVNULL, stdout=answer,
                stderr=subprocess.DEVNULL, timeout=interpreter.seconds_max, check=False,
            )  # fmt: skip
        except OSError as fault:
            raise BadFile(
                f"{where}: {python} can't be started ({fault.strerror}); name the application's with --python"
            ) from None
        except subprocess.TimeoutExpired:
            raise BadFile(
                f"{where}: importing it took longer than {interpreter.seconds_max:g} s; what does it do when imported?"
            ) from None
        return _parsed(where, python, _read(where, answer))


def _read(where: str, answer: IO[bytes]) -> bytes:
    answer.seek(0)
    data = answer.read(ANSWER_BYTES_MAX + 1)
    if len(data) > ANSWER_BYTES_MAX:
        raise BadFile(f"{where}: says more than {ANSWER_BYTES_MAX} bytes")
    return data


def _parsed(where: str, python: str, data: bytes) -> Imported:
    try:
        said: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise BadFile(f"{where}: {python} ended without an answer; is it the application's interpreter?") from None
    if isinstance(said, dict) and "failed" in said:
        raise BadFile(
            f"{where} can't be imported by {python}: {_plain(said['failed'])}; run it in its folder, with its "
            "environment, and name its interpreter with --python"
        )
    try:
        return Imported.model_validate_json(data)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadFile(f"{where}: its answer can't be read: {place}: {first['msg']}") from None


def _plain(text: object) -> str:
    line = next(iter(str(text).splitlines()), "")
    return "".join(sign if sign.isprintable() else "?" for sign in line)[:REASON_CHARACTERS_MAX]
