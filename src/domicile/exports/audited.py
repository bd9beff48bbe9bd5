"""What the auditor's checker says of the log as it is now: asked as a program, since no code is shared (P9).

An export shall never be better than the checker, so the checker is asked: every statement in a bundle, all checks of
docs/evidence.md. Without a policy keys are taken from the bundle itself; an export is no substitute for an audit of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.errors import HostFault

PROGRAM: Final = (sys.executable, "-P", "-m", "domicile_audit")
"""`-P`: a folder of that name where the command is run is not the checker."""
HOLDS_TOGETHER: Final = 3  # its exit code where all holds, under keys of the bundle's own
WAIT_S_MAX: Final = 600
REASON_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Whether the checker accepts the bundle; else the number of the check that refused, and its reason."""

    accepted: bool
    refused_at: int | None = None
    reason: str = ""

    @property
    def says(self) -> str:
        """The answer in one line."""
        return "accepted" if self.accepted else f"refused at check {self.refused_at}: {self.reason}"


def ask(bundle: bytes, *, trust: Path | None = None) -> Audit:
    """Have `domicile-audit` check a bundle, by that policy; HostFault when it can't be run or gives no answer."""
    words = () if trust is None else ("--trust", trust)
    with tempfile.TemporaryDirectory(prefix="domicile-export-") as folder:
        path = Path(folder) / "bundle.zip"
        path.write_bytes(bundle)
        try:
            done = subprocess.run(
                [*PROGRAM, path, "--json", *words], capture_output=True, timeout=WAIT_S_MAX, check=False
            )
            answer = json.loads(done.stdout)
            accepted, at, reason = answer["accepted"], answer["refused_at"], answer["reason"]
        except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as fault:
            raise HostFault(
                f"domicile-audit gave no answer ({type(fault).__name__}); run it on the bundle by hand, then try again"
            ) from None
    if (accepted is True) is not (done.returncode == (HOLDS_TOGETHER if trust is None else 0)):
        raise HostFault("domicile-audit's answer and exit code differ; run it on the bundle by hand, then try again")
    return Audit(accepted=accepted is True, refused_at=at, reason=_line(str(reason or "")))


def _line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())[:REASON_CHARS_MAX]
