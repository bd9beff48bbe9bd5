"""What the auditor brings beside the evidence: a policy, the time of the audit, the report of a spot check.

And how the programs for it end.
"""

import argparse
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domicile_audit.files import read_file
from domicile_audit.spot.sample import SAMPLE_BYTES_MAX, Sample, read_sample
from domicile_audit.trust.demands import Demands
from domicile_audit.trust.policy import Policy

ACCEPTED, REFUSED, USAGE, NOBODYS = 0, 1, 2, 3
EXIT_CODES = (
    "Exit code 0: accepted; 1: refused, or your policy asks for what can't be checked here; 2: not asked properly; 3: "
    "it holds together, but without --trust nobody whom you named signed it."
)


class Misasked(ValueError):
    """What the auditor brings doesn't belong together."""


@dataclass(frozen=True, slots=True)
class Asked:
    """By whose keys, at which time, and with which spot check a bundle is judged."""

    policy: Policy | None
    at: datetime
    sample: Sample | None = None

    @property
    def demands(self) -> Demands:
        """What the policy asks of the story."""
        return self.policy.demands if self.policy else Demands()


def exit_code(*, accepted: bool, named: bool) -> int:
    """How a program ends; `named`: whether a policy says whose keys count."""
    if not accepted:
        return REFUSED
    return ACCEPTED if named else NOBODYS


def say_misasked(parser: argparse.ArgumentParser, error: Exception, *, as_json: bool) -> int:
    """Tell what is wrong with the question, and end."""
    if not as_json:
        parser.error(str(error))
    print(json.dumps({"error": str(error), "exit_code": USAGE}, ensure_ascii=False))
    return USAGE


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of all this."""
    add_moment(parser)
    parser.add_argument("--spot", type=Path, metavar="REPORT", help="what `spot-check --json` said of this log")


def add_moment(parser: argparse.ArgumentParser) -> None:
    """The option for the time alone."""
    moment = "when you ask, for `fresh`: 2026-11-22 or 2026-11-22T10:00:00Z (now)"
    parser.add_argument("--at", metavar="TIME", help=moment)


def read_asked(policy: Policy | None, options: argparse.Namespace) -> Asked:
    """Read them; ValueError where one is none."""
    spot = getattr(options, "spot", None)  # a receipt takes none
    return Asked(policy, _moment(options.at), _sample(spot) if spot else None)


def _moment(text: str | None) -> datetime:
    """The time that was given (a day begins at 00:00 UTC), or now."""
    if text is None:
        return datetime.now(UTC)  # noqa: TID251  (the one clock of this program; the checks read none)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"--at: {text!r} is no time; write 2026-11-22 or 2026-11-22T10:00:00Z") from None


def _sample(path: Path) -> Sample:
    data = read_file(path, SAMPLE_BYTES_MAX, "give what `domicile-audit spot-check --json` printed")
    try:
        return read_sample(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
