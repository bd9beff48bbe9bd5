"""What `domicile.yaml` says of witnesses: lines of a trust policy, and how long a run waits for their quorum. Pure.

The lines themselves are read where keys are (`cosigning.asking`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from domicile.config.rules import FileModel

LINES_MAX = 256


class WitnessRule(FileModel):
    """Who cosigns the log before a checkpoint is published: `witness`, `group` and `quorum` lines of tlog-policy."""

    policy: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=4_096, pattern=r"^[^\n\r]*$")], ...],
        Field(min_length=1, max_length=LINES_MAX),
    ]
    wait_s_max: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = 30.0
