"""What people felt while they moved, as somebody beside the engine measured it: a small file that the report shows.

The engine neither makes nor checks it, and no statement of the log speaks of it. `domicile demo` writes it of its own
traffic; whoever measures their own service may put such a file beside the evidence: `.domicile/felt.json`.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, ValidationError

from domicile.config.rules import FileModel
from domicile.errors import BadFile
from domicile.record.workspace import Workspace

FELT_BYTES_MAX: Final = 64 * 1024
PHASES_MAX: Final = 32

Text = Annotated[str, Field(min_length=1, max_length=200)]
Count = Annotated[int, Field(ge=0, le=10**12)]
Duration = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class FeltPhase(FileModel):
    """One thing that went on: requests and their latencies, those held and those that ended in an error."""

    name: Text
    seconds: Duration
    requests: Count
    errors: Count
    refused_for_a_moment: Count = 0
    """Answered with "try again in a moment" (503 and Retry-After)."""
    p50_ms: Duration
    p95_ms: Duration
    p99_ms: Duration
    writes_p50_ms: Duration | None = None


class FeltWaits(FileModel):
    """How long requests were held back until their person was at home."""

    requests: Count
    p50_ms: Duration
    p99_ms: Duration
    max_ms: Duration


class Felt(FileModel):
    """All of it, and who measured."""

    measured_by: Text
    phases: Annotated[tuple[FeltPhase, ...], Field(max_length=PHASES_MAX)]
    held: FeltWaits | None = None

    @property
    def slowest_ms(self) -> float:
        """The longest p99 of all phases."""
        return max((phase.p99_ms for phase in self.phases), default=0.0)


def write_felt(workspace: Workspace, felt: Felt) -> None:
    """Put the file in place."""
    workspace.make()
    workspace.write(workspace.felt, felt.model_dump_json(indent=1).encode())


def read_felt(workspace: Workspace) -> Felt | None:
    """Read the file, None where there is none; raise BadFile when it is not of this shape."""
    if not workspace.felt.exists():
        return None
    remedy = "correct it, or remove it: only the report shows it"
    data = workspace.read(workspace.felt, bytes_max=FELT_BYTES_MAX, remedy=remedy)
    try:
        return Felt.model_validate_json(data)
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BadFile(f"{workspace.felt}: {where}: {first['msg']}; {remedy}") from None
