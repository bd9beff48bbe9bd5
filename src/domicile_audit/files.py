"""Files that a program of the checker is given: read with a bound; a policy, and JSON that nobody signed."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from domicile_audit.policy import POLICY_BYTES_MAX, Policy, read_policy

BLOCK_BYTES = 1024 * 1024


def read_file(path: Path, bytes_max: int) -> bytes:
    """At most a block more than that; block by block, since Python takes as much memory as it is asked to read."""
    with path.open("rb") as source:
        return b"".join(islice(iter(lambda: source.read(BLOCK_BYTES), b""), bytes_max // BLOCK_BYTES + 1))


def read_any_json(data: bytes, bytes_max: int) -> Any:  # noqa: ANN401  (JSON is anything until it fits a shape)
    """Read JSON in whatever spelling, as what no signature covers may have; ValueError where it is none."""
    if len(data) > bytes_max:
        raise ValueError(f"longer than {bytes_max} bytes")
    try:
        return json.loads(data.decode())
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def read_policy_file(path: Path) -> Policy:
    """The auditor's policy; ValueError names the file."""
    try:
        return read_policy(read_file(path, POLICY_BYTES_MAX))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
