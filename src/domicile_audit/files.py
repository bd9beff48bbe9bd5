"""Files that a program of the checker is given: read with a bound, and a policy among them."""

from itertools import islice
from pathlib import Path

from domicile_audit.policy import POLICY_BYTES_MAX, Policy, read_policy

BLOCK_BYTES = 1024 * 1024


def read_file(path: Path, bytes_max: int) -> bytes:
    """At most a block more than that; block by block, since Python takes as much memory as it is asked to read."""
    with path.open("rb") as source:
        return b"".join(islice(iter(lambda: source.read(BLOCK_BYTES), b""), bytes_max // BLOCK_BYTES + 1))


def read_policy_file(path: Path) -> Policy:
    """The auditor's policy; ValueError names the file."""
    try:
        return read_policy(read_file(path, POLICY_BYTES_MAX))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
