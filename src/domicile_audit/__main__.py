"""`domicile-audit BUNDLE [--trust POLICY] [--json]`: exit 0 accepted, 1 refused, 2 not asked properly.

3: it holds together, and no policy was given: whoever made it signed it with keys that nobody has named.
`domicile-audit receipt …` and `domicile-audit proof …` are about single papers. `domicile-audit spot-check …` is a
program of its own, `spot.py`: the only one here that opens a store.
"""

import argparse
import dataclasses
import json
import os
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from domicile_audit.files import BUNDLE, read_file, read_policy_file, refuse_other
from domicile_audit.log.container import BUNDLE_BYTES_MAX
from domicile_audit.papers import proof, receipt
from domicile_audit.report import KEYS_KNOWN, Passed, Report, refuse
from domicile_audit.trust.asking import (
    EXIT_CODES,
    REFUSED,
    Asked,
    Misasked,
    add_options,
    exit_code,
    read_asked,
    say_misasked,
)
from domicile_audit.trust.claims import examine, say_claims

LINE_SIGNS, SAYING_LINES_MAX = 160, 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program that the words ask for, return the exit code; 1 where whoever reads the answer has gone away."""
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        return REFUSED


def _run(words: list[str]) -> int:
    """Check the bundle, print the answer, return the exit code."""
    if words[:1] == ["receipt"]:
        return receipt.main(words[1:])
    if words[:1] == ["proof"]:
        return proof.main(words[1:])
    if words[:1] == ["spot-check"]:  # it needs more than this program: loaded only when asked for
        return int(import_module("domicile_audit.spot.program").main(words[1:]))
    parser = _parser()
    options = parser.parse_args(words)
    try:
        policy = read_policy_file(options.trust) if options.trust else None
        data = read_file(options.bundle, BUNDLE_BYTES_MAX, "give the zip that `domicile certify` wrote")
        refuse_other(options.bundle, data, BUNDLE)
        report = _audit(data, read_asked(policy, options))
    except ValueError as error:
        return say_misasked(parser, error, as_json=options.json)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no ✓ still gets the answer
    print(as_json(report) if options.json else as_text(report))
    return _exit_code(report)


def _exit_code(report: Report) -> int:
    return exit_code(accepted=report.accepted, named=report.keys_from == KEYS_KNOWN)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="domicile-audit",
        description="Check a bundle of evidence offline: says what is proven and what is not, or why it is refused.",
        epilog="example: domicile-audit evidence.zip --trust policy.txt; of a person's receipt: domicile-audit receipt "
        "FILE; of a proof of one statement: domicile-audit proof FILE; to look into the stores: domicile-audit "
        f"spot-check --help. {EXIT_CODES}",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the zip that `domicile certify` wrote")
    parser.add_argument("--trust", type=Path, metavar="POLICY", help="whose keys you believe (see docs/evidence.md)")
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    return parser


def _audit(data: bytes, asked: Asked) -> Report:
    """Check, and take a fault of this program itself as a refusal: what can't be checked is not accepted.

    Misasked where the spot check is of another log.
    """
    try:
        return examine(data, asked)
    except Misasked:
        raise
    except Exception as error:  # noqa: BLE001  (a checker never accepts by accident and never shows a traceback)
        reason = f"this program failed ({type(error).__name__}); please report the bundle"
        return refuse(asked.policy, [Passed(0, "the program itself", "", passed=False)], reason)


def as_text(report: Report) -> str:
    """The answer for people: the checklist, the headline, what is proven and what is not."""
    lines = [f"{'✓' if c.passed else '✗'} {c.number:2d}  {c.title}  [{c.clause}]" for c in report.checks]
    lines += ["", report.headline, *say_claims(report)]
    for title, sayings in (("proven:", report.proven), ("not proven:", report.not_proven)):
        if sayings:
            lines += ["", title, *(line for saying in sayings for line in _wrapped(saying))]
    return "\n".join(lines)


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
    answer["exit_code"] = _exit_code(report)
    return json.dumps(answer, indent=2, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
