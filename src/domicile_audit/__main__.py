"""`domicile-audit BUNDLE [--trust POLICY] [--json]`: exit 0 accepted, 1 refused, 2 not asked properly.

`domicile-audit spot-check …` is a program of its own, `spot.py`: the only one here that opens a store.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from domicile_audit.case import Case, Refused
from domicile_audit.checklist import judge
from domicile_audit.claims import Asked, with_claims
from domicile_audit.container import BUNDLE_BYTES_MAX
from domicile_audit.policy import POLICY_BYTES_MAX, Policy, read_policy
from domicile_audit.report import Claim, Passed, Report
from domicile_audit.sample import SAMPLE_BYTES_MAX, Sample, read_sample

ACCEPTED, REFUSED, USAGE = 0, 1, 2
LINE_SIGNS, SAYING_LINES_MAX = 160, 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the bundle, print the answer, return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["spot-check"]:  # needs more than this program: loaded only when asked for
        return int(import_module("domicile_audit.spot").main(arguments[1:]))
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        policy = None if options.trust is None else _read_policy(options.trust)
        sample = None if options.spot is None else _read_sample(options.spot)
        asked = Asked(policy, read_moment(options.at), sample)
        report = _audit(_read(options.bundle, BUNDLE_BYTES_MAX), asked)
    except (OSError, ValueError) as error:
        if options.json:
            print(json.dumps({"error": str(error), "exit_code": USAGE}, ensure_ascii=False))
            return USAGE
        parser.error(str(error))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no ✓ still gets the answer
    print(as_json(report) if options.json else as_text(report))
    return ACCEPTED if report.accepted else REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="domicile-audit",
        description="Check a bundle of evidence offline: says what is proven and what is not, or why it is refused.",
        epilog="example: domicile-audit evidence.zip --trust policy.txt (with `spot-check` first: look into stores)",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the zip that `domicile certify` wrote")
    parser.add_argument("--trust", type=Path, metavar="POLICY", help="whose keys you believe (see docs/evidence.md)")
    parser.add_argument(
        "--at", metavar="TIME", help="when you ask, for `fresh`: 2026-11-22 or 2026-11-22T10:00:00Z (now)"
    )
    parser.add_argument("--spot", type=Path, metavar="REPORT", help="what `spot-check --json` said of this log")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    return parser


def _audit(data: bytes, asked: Asked) -> Report:
    """Check, and take a fault of this program itself as a refusal: what can't be checked is not accepted.

    ValueError where the spot check is of another log.
    """
    case = Case(data=data, policy=asked.policy)
    try:
        report = judge(case)
        misfit = _misfit(case, asked.sample) if report.accepted and asked.sample else None
        if misfit is None:
            return with_claims(report, case, asked)
    except Exception as error:  # noqa: BLE001  (a checker never accepts by accident and never shows a traceback)
        reason = f"this program failed ({type(error).__name__}); please report the bundle"
        checks = (Passed(0, "the program itself", "", passed=False),)
        keys_from = "bundle" if asked.policy is None else "policy"
        return Report(accepted=False, checks=checks, reason=reason, verdict=None, keys_from=keys_from)
    raise ValueError(misfit)


def _misfit(case: Case, sample: Sample) -> str | None:
    try:
        sample.refuse_other(case)
    except (ValueError, Refused) as error:
        return str(error)
    return None


def read_moment(text: str | None) -> datetime:
    """The time that was given (a day begins at 00:00 UTC), or now; ValueError where it is none."""
    if text is None:
        return datetime.now(UTC)  # noqa: TID251  (the one clock of this program; the checks read none)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"--at: {text!r} is no time; write 2026-11-22 or 2026-11-22T10:00:00Z") from None


def _read_policy(path: Path) -> Policy:
    try:
        return read_policy(_read(path, POLICY_BYTES_MAX))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _read_sample(path: Path) -> Sample:
    try:
        return read_sample(_read(path, SAMPLE_BYTES_MAX))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error


def _read(path: Path, bytes_max: int) -> bytes:
    with path.open("rb") as source:
        return source.read(bytes_max + 1)


def as_text(report: Report) -> str:
    """The answer for people: the checklist, the headline, what is proven and what is not."""
    lines = [f"{'✓' if c.passed else '✗'} {c.number:2d}  {c.title}  [{c.clause}]" for c in report.checks]
    lines += ["", report.headline]
    if report.claims:
        lines += [
            "",
            "claims, as far as the signers told the truth:",
            *(line for claim in report.claims for line in _claimed(claim)),
        ]
    for title, sayings in (("proven:", report.proven), ("not proven:", report.not_proven)):
        if sayings:
            lines += ["", title, *(line for saying in sayings for line in _wrapped(saying))]
    return "\n".join(lines)


def _claimed(claim: Claim) -> list[str]:
    """One claim: what it is and whether it stands, then why and how far."""
    lines = [f"  {claim.result:9}  {claim.name:3}  {claim.words}"]
    lines += [f"{'':16}{line}" for line in textwrap.wrap(claim.why, LINE_SIGNS - 16)]
    return [*lines, *([f"{'':16}spot check: {claim.bound}"] if claim.bound else [])]


def _wrapped(saying: str) -> list[str]:
    """One saying as lines of a page; a very long one, such as a list of columns, is cut."""
    lines = textwrap.wrap(
        saying, LINE_SIGNS, initial_indent="  - ", subsequent_indent="    ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return [*lines[:SAYING_LINES_MAX], *(["    … all of it with --json"] if len(lines) > SAYING_LINES_MAX else [])]


def as_json(report: Report) -> str:
    """The answer for programs, whole."""
    answer = dataclasses.asdict(report)
    answer["headline"] = report.headline
    answer["refused_at"] = report.refused_at
    return json.dumps(answer, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
