"""What the auditor brings beside the bundle: a policy, the time of the audit, the report of a spot check."""

import argparse
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from domicile_audit.demands import Demands
from domicile_audit.files import read_file
from domicile_audit.policy import Policy
from domicile_audit.sample import SAMPLE_BYTES_MAX, Sample, read_sample


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


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of all this."""
    moment = "when you ask, for `fresh`: 2026-11-22 or 2026-11-22T10:00:00Z (now)"
    parser.add_argument("--at", metavar="TIME", help=moment)
    parser.add_argument("--spot", type=Path, metavar="REPORT", help="what `spot-check --json` said of this log")


def read_asked(policy: Policy | None, options: argparse.Namespace) -> Asked:
    """Read them; ValueError where one is none."""
    return Asked(policy, _moment(options.at), _sample(options.spot) if options.spot else None)


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
    data = read_file(path, SAMPLE_BYTES_MAX)
    try:
        return read_sample(data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
