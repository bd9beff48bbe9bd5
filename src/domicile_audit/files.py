"""Files that a program of the checker is given: read with a bound, told apart; policies, JSON that nobody signed."""

import json
from itertools import islice
from pathlib import Path
from typing import Any, Final

from domicile_audit.trust.policy import POLICY_BYTES_MAX, Policy, read_policy

BLOCK_BYTES = 1024 * 1024
PROOF_LINE: Final = b"c2sp.org/tlog-proof@v1\n"
BUNDLE, RECEIPT, PROOF, GROWTH = "bundle", "receipt", "proof", "growth"
KINDS: Final = {  # how such a file begins, what it is, and the program for it; of more beginnings the longest counts
    b"PK\x03\x04": (BUNDLE, "a bundle (a zip)", "domicile-audit"),
    PROOF_LINE: (PROOF, "a proof of an entry of a log", "domicile-audit proof"),
    PROOF_LINE + b"extra ": (RECEIPT, "a receipt of a person", "domicile-audit receipt"),
    b"old ": (GROWTH, "a proof that a log has only grown", "domicile-audit proof"),
}


def read_file(path: Path, bytes_max: int, origin: str = "check its name and its rights") -> bytes:
    """At most a block more than that; block by block, since Python takes as much memory as it is asked to read.

    ValueError where it can't be read; `origin` says what to do then.
    """
    try:
        with path.open("rb") as source:
            return b"".join(islice(iter(lambda: source.read(BLOCK_BYTES), b""), bytes_max // BLOCK_BYTES + 1))
    except OSError as error:
        raise ValueError(f"{path} can't be read ({error.strerror}); {origin}") from error


def kind_of(data: bytes) -> str | None:
    """What a file is, by its beginning; None where that tells nothing."""
    known = [begin for begin in KINDS if data.startswith(begin)]
    return KINDS[max(known, key=len)][0] if known else None


def refuse_other(path: Path, data: bytes, *wanted: str) -> None:
    """ValueError where it is a file for another program, with the name of that."""
    found = kind_of(data)
    for kind, what, program in KINDS.values():
        if found not in (None, *wanted) and kind == found:
            raise ValueError(f"{path} is {what}; use `{program} {path}`")


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
    data = read_file(path, POLICY_BYTES_MAX, "give the file of your trust policy; `domicile log policy` prints one")
    try:
        return read_policy(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
