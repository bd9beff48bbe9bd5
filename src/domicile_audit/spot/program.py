"""`domicile-audit spot-check`: look into the stores themselves, at slices that a public seed draws.

 1  the bundle passes the checklist; only a certificate may be missing yet    checklist.py
 2  the audit key is of its plan, and of the run that filled each home        opening.py
 3  the slices with the lowest tickets are drawn, and versions of objects     draw.py
 4  each is read at home and hashed; its digest is the log's, or it differs   looking.py, rows.py
 5  what the log calls erased stands at the source no more; what it doesn't
    is read and hashed there, too                                             looking.py, rows.py
 6  drawn objects: the audit key lists those of the log, and no others; then
    as 4 and 5, in the stores of objects                                      listed.py, objects.py, places.py
 7  the bound says how many of all slices are wrong at most, at 95 %, and
    how many versions of objects                                              draw.py

Exit 0: nothing wrong was found. 1: something was, or the bundle is refused. 2: not asked properly, or a store can't be
read.
Needs psycopg and blake3, for buckets boto3. What it shows and what not: docs/evidence.md, "What the spot check shows".
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from domicile_audit.case import Case, Refused
from domicile_audit.checklist import CHECKS, judge
from domicile_audit.files import read_file, read_policy_file
from domicile_audit.log.container import BUNDLE_BYTES_MAX
from domicile_audit.served import judge_so_far
from domicile_audit.spot import objects, rows
from domicile_audit.spot.draw import draw
from domicile_audit.spot.listed import read_listed
from domicile_audit.spot.looking import Stores, look
from domicile_audit.spot.opening import OPENING_BYTES_MAX, Opening, read_opening
from domicile_audit.spot.sample import (
    CHANGED,
    KEPT,
    SLICES,
    VERSIONS,
    Compared,
    Looked,
    Sample,
    compared,
    kept_objects,
    numbered,
    write_sample,
)
from domicile_audit.story.certificate import check_certificate
from domicile_audit.trust.asking import say_misasked

NOTHING_WRONG, WRONG = 0, 1
DRAWS = 60  # none wrong of 60 of very many leaves 5 % open
NOT_SHOWN = (
    "that these are the databases that the service uses",
    "that the slices hold every row of the market: which rows are whose was decided by the engine",
    "which of a slice's rows had to leave the source: home's lines say so; how many is in the log",
    "rows that stand at the source under another key, or in another table",
    "that nobody mended the drawn slices between the time the seed was known and this look",
    "that the seed was not known before the log's head, and not picked among many: look where it comes from",
    "that this report was not written by hand: nobody signed it, and whoever hands it over vouches for it",
    "copies other than live rows and objects: backups, logs, statistics, files, incomplete uploads",
)


def main(arguments: Sequence[str]) -> int:
    """Look, print, return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        case = _case(options.bundle, options.trust)
    except Refused as refusal:
        print(json.dumps({"error": str(refusal), "exit_code": WRONG}) if options.json else f"REFUSED: {refusal}")
        return WRONG
    except (OSError, ValueError) as error:
        return say_misasked(parser, error, as_json=options.json)
    try:
        sample = _spot_check(case, options)
    except (OSError, ValueError, Refused) as error:
        return say_misasked(parser, error, as_json=options.json)
    if options.json:
        print(write_sample(sample, bounds=_lines(sample, case), not_shown=NOT_SHOWN), end="")
    else:
        print(_as_text(sample, case))
    return WRONG if sample.wrong else NOTHING_WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="domicile-audit spot-check",
        description="Read drawn slices in the stores themselves, and compare them with the log. Writes nothing.",
        epilog="example: domicile-audit spot-check evidence.zip --trust policy.txt --key audit.key "
        "--seed 'drand quicknet 14213370' --home ca=env:CA_DSN --source env:APP_DSN",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the evidence; a certificate may be missing yet")
    parser.add_argument("--trust", type=Path, metavar="POLICY", help="whose keys you believe")
    parser.add_argument("--key", type=Path, required=True, help="what `domicile audit-key` wrote")
    seed = "a public text that nobody knew when the log was written; without it that of the policy's `seed` line"
    parser.add_argument("--seed", help=seed)
    parser.add_argument(
        "--draws",
        type=int,
        default=DRAWS,
        metavar="N",
        help=f"how many slices at most, and how many versions of objects ({DRAWS})",
    )
    for name, text in (
        ("--home", "a home's database, or a restored backup of it; DSN may be env:NAME"),
        ("--lines", "whose lines to take, where that backup has none (a live move's)"),
    ):
        parser.add_argument(name, action="append", default=[], metavar="HOME=DSN", help=text)
    parser.add_argument("--source", metavar="DSN", help="the source's database")
    parser.add_argument(
        "--objects", action="append", default=[], metavar="STORE[@HOME]=PLACE",
        help="where the objects of a store are at the source (STORE) or at a home (STORE@HOME): a folder, or "
        "https://KEY:SECRET@HOST/BUCKET/PREFIX?region=REGION; PLACE may be env:NAME. Without it none is looked at",
    )  # fmt: skip
    parser.add_argument(
        "--lived-in", action="store_true", help="people changed rows at home since: a difference is open"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON, for `domicile-audit --spot`")
    return parser


def _case(bundle: Path, trust: Path | None) -> Case:
    """Read and check the bundle; Refused unless it holds, but for a certificate that isn't there yet."""
    policy = None if trust is None else read_policy_file(trust)
    case = Case(data=read_file(bundle, BUNDLE_BYTES_MAX), policy=policy)
    report = judge(case)
    if report.accepted:
        return case
    failed = report.checks[-1].number
    if CHECKS[failed - 1][2] is not check_certificate or case.of("certificate/v1"):
        raise Refused(f"the bundle, {report.headline.removeprefix('REFUSED ')}")
    fault = judge_so_far(case, first=failed + 1)
    if fault is not None:
        raise Refused(f"the bundle, at check {fault.number}: {fault.reason}")
    return case


def _seed(case: Case, given: str | None) -> str:
    """The seed to draw by: the policy's, where it has one, and then no other."""
    agreed = case.policy.demands.seed if case.policy else None
    if agreed is not None and given not in (None, agreed):
        raise ValueError(f"--seed: your policy agrees on the seed {agreed!r}; draw by that, or change its line `seed`")
    seed = agreed if given is None else given
    if seed is None:
        raise ValueError("--seed: give the text to draw by, or a policy (--trust) with a line `seed TEXT`")
    return seed


def _spot_check(case: Case, options: argparse.Namespace) -> Sample:
    seed = _seed(case, options.seed)
    with options.key.open("rb") as file:
        opening = read_opening(file.readline(OPENING_BYTES_MAX + 1))
        if opening.plan != case.plan["plan"]:
            raise ValueError(f"{options.key}: the audit key is of another plan than the bundle")
        if options.draws < 1:
            raise ValueError("--draws: at least one slice has to be drawn")
        slices, kept = compared(case), kept_objects(case)
        if not slices and not (kept and options.objects):
            raise ValueError("the log holds no slice that was compared under a fence, so there is none to draw")
        drawn = draw(case.root, seed, slices, options.draws)
        chosen = draw(case.root, seed, numbered(kept), options.draws) if options.objects else ()
        things = read_listed(file, opening, kept, chosen) if options.objects else {}
    given = _named(options.objects, "--objects takes STORE@HOME=PLACE and STORE=PLACE")
    wanted = {(kept[id_].store, kept[id_].home) for id_, found in things.items() if found}
    places = objects.open_places(given, wanted, lived_in=options.lived_in)
    looked = _look_at_rows(options, opening, slices, drawn)
    seen = {one.id: one for one in objects.look(places, opening.key, kept, things)}
    return Sample(case.root.hex(), seed, looked, tuple(seen[id_] for id_ in chosen))


def _look_at_rows(
    options: argparse.Namespace, opening: Opening, slices: Mapping[str, Compared], drawn: Sequence[str]
) -> tuple[Looked, ...]:
    homes, lenders = _named(options.home), _named(options.lines)
    missing = sorted({slices[id_].home for id_ in drawn} - homes.keys())
    if missing:
        raise ValueError(f"slices at {', '.join(missing)} are drawn; give --home {missing[0]}=DSN")
    with ExitStack() as stack:
        stores = Stores(
            {name: stack.enter_context(rows.open_store(f"home {name}", dsn)) for name, dsn in homes.items()},
            {name: stack.enter_context(rows.open_store(f"lines {name}", dsn)) for name, dsn in lenders.items()},
            stack.enter_context(rows.open_store("source", _dsn(options.source))) if options.source else None,
            options.lived_in,
        )
        for name, home in stores.homes.items():
            if opening.run_mark not in rows.run_marks(home):
                raise ValueError(f"home {name} was filled by a run of another key than that of {options.key}")
        return tuple(look(stores, opening, id_, slices[id_]) for id_ in drawn)


def _named(given: Sequence[str], form: str = "--home and --lines take HOME=DSN") -> dict[str, str]:
    pairs = [text.partition("=")[::2] for text in given]
    if any(not name or not dsn for name, dsn in pairs) or len(dict(pairs)) != len(pairs):
        raise ValueError(f"{form}, each once")
    return {name: _dsn(dsn) for name, dsn in pairs}


def _dsn(text: str) -> str:
    """A connection string, or the one that the variable of env:NAME holds, so that no password stands in a command."""
    if not text.startswith("env:"):
        return text
    found = os.environ.get(text.removeprefix("env:"))  # noqa: TID251  (the auditor's own)
    if not found:
        raise ValueError(f"{text}: there is no such variable")
    return found


def _lines(sample: Sample, case: Case) -> list[str]:
    """The bounds, side by side; what nobody looked at is said."""
    lines = [f"home: {bound}" for bound in sample.at_home(case)]
    at_source = sample.at_source(case)
    lines += [f"source: {bound}" for bound in at_source] or ["source: nobody looked there"]
    if at_source and len(at_source) < len(sample.at_home(case)):
        lines.append(f"source: nobody looked there for {SLICES if at_source[0].unit != SLICES else VERSIONS}")
    versions = sum(one.rows for one in kept_objects(case).values())
    if versions and not sample.objects:
        lines.append(f"objects: nobody looked at the {versions} versions in the log (give --objects)")
    return lines


def _as_text(sample: Sample, case: Case) -> str:
    lines = [f"drawn by seed {sample.seed!r} from the log with root {sample.root}:"]
    for one in (*sample.slices, *sample.objects):
        sign = "✗" if one in sample.wrong else "·" if one.home == CHANGED or one.source == KEPT else "✓"
        lines += [f"{sign} {one.id}  home: {one.home}, source: {one.source}", f"    {one.why}"]
    lines += ["", *_lines(sample, case), "", "not shown:", *(f"  - {line}" for line in NOT_SHOWN)]
    if not case.of("certificate/v1"):
        lines.append("  - that it is finished: there is no certificate yet")
    if case.policy is None:
        lines.append("  - whose log it is: the keys were taken from the bundle itself (give --trust POLICY)")
    headline = (
        f"WRONG: {len(sample.wrong)} of {len(sample.slices) + len(sample.objects)} drawn {_what(sample)}"
        if sample.wrong
        else "NOTHING WRONG FOUND"
    )
    return "\n".join([*lines, "", headline])


def _what(sample: Sample) -> str:
    return " and ".join([SLICES] * bool(sample.slices) + [VERSIONS] * bool(sample.objects))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
