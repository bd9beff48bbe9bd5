"""`domicile-audit receipt FILE [--trust POLICY] [--json]`: what a person's receipt proves, offline and without us.

The checks are in `paper.py`, what a policy asks beyond keys in `demanded.py`. Exit codes: 0 accepted, 1 refused or not
checked, 2 not asked properly, 3 it holds together, and without a policy nobody was named who has to have signed it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from domicile_audit.files import RECEIPT, read_file, read_policy_file, refuse_other
from domicile_audit.papers.paper import Answer, Paper, check, copies_of, is_object_store
from domicile_audit.papers.placed import RECEIPT_BYTES_MAX
from domicile_audit.papers.succession import Handover
from domicile_audit.report import Claim
from domicile_audit.trust import demanded
from domicile_audit.trust.asking import EXIT_CODES, Asked, add_moment, exit_code, read_asked, say_misasked

LINE_SIGNS: Final = 100
SAYING_LINES_MAX: Final = 3
MEANING: Final = {
    "erased-verified": "erased, and searched afterwards: nothing found",
    "key-destroyed": "unreadable: the key it was encrypted with is stated as destroyed",
    "erased-unverified": "erased, but not searched afterwards",
    "blocked-until": "STILL THERE: not to be erased before a date",
    "held": "STILL THERE: something keeps it from being erased",
    "unknown": "NOT KNOWN: nobody could look",
    "present": "STILL THERE",
}
SIGNS: Final = {"erased-verified": "✓", "key-destroyed": "✓", "erased-unverified": "~"}


def as_text(answer: Answer, lines_of_policy: Sequence[Claim] = ()) -> str:
    """The answer for the person whom it is about; the lines of their policy are judged already."""
    if not answer.accepted:
        return f"REFUSED at check {answer.check}: {answer.reason}.\nDo not rely on this file."
    failed = demanded.against(lines_of_policy)
    if failed is not None:
        return demanded.say_against(failed)
    paper = answer.paper
    lines = [_headline(paper), "", *_whose(paper), "", *_what_went(paper), "", *_copies(paper), "", "What this proves"]
    lines += [line for saying in _proven(paper) for line in _wrapped(saying)]
    lines += ["", "What this does not prove", *(line for saying in _not_proven(paper) for line in _wrapped(saying))]
    lines += ["", "What the programme itself calls not proven"]
    for saying in paper.certificate["not_proven"]:
        whole = _wrapped(saying)
        lines += whole[:SAYING_LINES_MAX] + ["    … (all of it with --json)"] * (len(whole) > SAYING_LINES_MAX)
    return "\n".join(lines)


def _headline(paper: Paper) -> str:
    begin = "THE RECEIPT HOLDS"
    if paper.policy is None:
        begin += " TOGETHER, signed by NOBODY WHOM YOU NAMED (its key is its own; give --trust POLICY)"
    if paper.certificate["verdict"] == "erased-verified":
        return f"{begin}: your data went home, and every listed copy outside is erased and was searched."
    left = sum(copy["verdict"] != "erased-verified" for copy in paper.certificate["copies"])
    return f"{begin}, but NOT EVERYTHING IS PROVEN ERASED: {left} copies outside are not (see below)."


def _whose(paper: Paper) -> list[str]:
    person, home = paper.person, paper.receipts["homes"][paper.person["home"]]
    return [
        f"Whose data       {_shown(person['key'])} in {person['kind']}",
        f"Lives now in     {home['country']}, with {home['operator']} ({person['home']})",
        f"Since            {_time(paper.receipts['home_since'])}; from then on the old place took no changes",
        f"Counted          {_time(paper.receipts['counted_at'])}, before anything was erased",
        f"Certificate of   {_time(paper.certificate['issued_at'])}",
        f"Stated by        {paper.key.keyid}",
    ]


def _what_went(paper: Paper) -> list[str]:
    """Rows, then versions of files, each as a table, and what the words at its head mean."""
    rows, files = _rows_and_files(paper)
    lines = _table("Your rows in", ("moved", "deleted", "blanked"), rows)
    lines.append("Erased, blanked (private parts removed), kept: what becomes of these rows at the old place.")
    if any(copy["verdict"] == "present" for copy in paper.certificate["copies"]):
        lines.append("THAT MAY NOT BE DONE YET: at least one copy below is still there.")
    if any(row["moved"] > row["deleted"] + row["blanked"] for row in rows.values()):
        lines += _wrapped(
            "Kept rows went home as well, and stay at the old place by a rule of the programme, most often because "
            "they are also somebody else's who did not move."
        )
    return lines + (["", *_files(paper, files)] if files else [])


def _rows_and_files(paper: Paper) -> tuple[dict[str, Any], dict[str, Any]]:
    """What went home by dataset, and by store of objects; None of a store where nothing is counted."""
    said = paper.person["rows"]
    stores = {name for name in (*said, *paper.certificate["counts"]) if is_object_store(name)}
    rows = {name: row for name, row in said.items() if name not in stores}
    return rows, {name: said.get(name) for name in sorted(stores)}


def _table(title: str, columns: Sequence[str], rows: Mapping[str, Any]) -> list[str]:
    """Names may be long, numbers stand to the right."""
    heads = {"moved": "went home", "deleted": "erased", "blanked": "blanked"}
    width = max([len(name) for name in rows] + [len(title)])
    shown = ["  ".join([f"{title:<{width}}", *(f"{heads[name]:>9}" for name in columns), f"{'kept':>9}"])]
    for name, row in sorted(rows.items()):
        counts = [*(row[column] for column in columns), row["moved"] - row["deleted"] - row["blanked"]]
        shown.append("  ".join([f"{name:<{width}}", *(f"{count:>9,}" for count in counts)]))
    return shown if rows else [*shown, "(none)"]


def _files(paper: Paper, files: Mapping[str, Any]) -> list[str]:
    """Versions of files by store, with the verdicts of its copies outside."""
    counted = {store: row for store, row in files.items() if row}
    lines = _table("Your files in", ("moved", "deleted"), counted)
    lines.append("Counted are versions of files; a mark of a deleted file is one, too.")
    for store in files:
        if store not in counted:
            lines.append(f"No file in {store} is counted as yours.")
        judged = Counter(copy["verdict"] for copy in copies_of(paper, store))
        told = [f"{judged[verdict]} {MEANING[verdict]}" for verdict in reversed(MEANING) if judged[verdict]]
        lines += _wrapped(f"Places of {store} outside: {'; '.join(told) or 'none is listed'}.")
    return lines


def _copies(paper: Paper) -> list[str]:
    """Copies outside home by verdict, the worst first, each of those that are not erased with its reason."""
    copies = paper.certificate["copies"]
    lines = [f"The {len(copies)} places outside that held data of you and the others who moved"]
    for verdict in reversed(MEANING):
        some = [copy for copy in copies if copy["verdict"] == verdict]
        if not some:
            continue
        lines.append(f"  {SIGNS.get(verdict, '✗')} {len(some)} {MEANING[verdict]}")
        for copy in some if verdict not in SIGNS else ():
            until = f" until {_time(copy['until'])}" if copy["until"] else ""
            lines += _wrapped(f"{copy['id']}{until}: {copy['why']}", indent="      ")
    return lines


def _proven(paper: Paper) -> list[str]:
    return [
        f"{paper.key.keyid} committed to exactly these counts before the erasure, and can't change them now.",
        "The verdicts are those of the last certificate in this log; nothing was stated after it.",
        "Nobody can read from the log that it speaks of you. This file shows it: keep it to yourself.",
        *(_handed_on(change, paper.policy is not None) for change in paper.handovers),
    ]


def _handed_on(change: Handover, known: bool) -> str:
    if change.voters is None:
        return f"{change.old.keyid} handed the log on to {change.new.keyid}, and signed that."
    who = f"{change.voters} approvers of your policy" if known else "others"
    return f"{change.old.keyid} is followed by {change.new.keyid} as key of this log: {who} called it lost."


def _not_proven(paper: Paper) -> list[str]:
    whose = (
        "Who holds the key: it was taken from the receipt itself. Ask for the operator's trust policy on another way, "
        "and give it with --trust."
    )
    votes = "That enough approvers called the log's key lost: without a policy nobody's votes are known."
    return [
        *([] if paper.policy else [whose]),
        *([votes] if not paper.policy and any(change.voters is not None for change in paper.handovers) else []),
        "That the operator told the truth about its stores, and listed all copies: this program saw no store.",
        "That this log as a whole is in order: `domicile-audit BUNDLE` checks that.",
        "That there is no newer certificate, nor another log: this is the state of the day on which it was written.",
    ]


def _wrapped(saying: str, indent: str = "  - ") -> list[str]:
    more = " " * len(indent)
    return textwrap.wrap(
        saying, LINE_SIGNS, initial_indent=indent, subsequent_indent=more, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _shown(key: str) -> str:
    return key if key.isprintable() and key else ascii(key)


def _time(text: str) -> str:
    return text.replace("T", " ").replace("Z", " UTC")


def as_json(answer: Answer, lines_of_policy: Sequence[Claim] = ()) -> str:
    """The answer for programs."""
    paper, failed = answer.paper, demanded.against(lines_of_policy)
    accepted = answer.accepted and failed is None
    body: dict[str, Any] = {"accepted": accepted, "refused_at": None if answer.accepted else answer.check}
    body["reason"] = f"{failed.name}: {failed.why}" if failed else answer.reason or None
    body["keys_from"] = "receipt" if paper.policy is None else "policy"
    body["claims"] = [dataclasses.asdict(line) for line in lines_of_policy]
    body["exit_code"] = _exit_code(answer, lines_of_policy)
    if accepted:
        body |= {
            "person": paper.person, "home": paper.receipts["homes"][paper.person["home"]],
            "home_since": paper.receipts["home_since"], "counted_at": paper.receipts["counted_at"],
            "objects": {store: row for store, row in _rows_and_files(paper)[1].items() if row},
            "verdict": paper.certificate["verdict"], "copies": paper.certificate["copies"],
            "issued_at": paper.certificate["issued_at"], "log": paper.key.vkey,
            "log_keys": [key.vkey for key in paper.keys],
            "proven": _proven(paper), "not_proven": [*_not_proven(paper), *paper.certificate["not_proven"]],
        }  # fmt: skip
    return json.dumps(body, indent=2, ensure_ascii=False)


def _exit_code(answer: Answer, lines_of_policy: Sequence[Claim]) -> int:
    holds = answer.accepted and demanded.against(lines_of_policy) is None
    return exit_code(accepted=holds, named=answer.paper.policy is not None)


# -- the program -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Check the receipt, print the answer, return the exit code."""
    parser = argparse.ArgumentParser(
        prog="domicile-audit receipt",
        description="Check a person's receipt offline: what of theirs went home, and what is known of copies outside.",
        epilog=f"example: domicile-audit receipt receipt.tlog-proof --trust policy.txt. {EXIT_CODES}",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file that `domicile subject receipt` wrote")
    parser.add_argument("--trust", type=Path, metavar="POLICY", help="whose keys you believe (see docs/evidence.md)")
    add_moment(parser)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    options = parser.parse_args(arguments)
    try:
        asked = read_asked(None if options.trust is None else read_policy_file(options.trust), options)
        data = read_file(options.file, RECEIPT_BYTES_MAX, "give the file that `domicile subject receipt` wrote")
        refuse_other(options.file, data, RECEIPT)
    except ValueError as error:
        return say_misasked(parser, error, as_json=options.json)
    answer, lines = _checked(data, asked)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    print(as_json(answer, lines) if options.json else as_text(answer, lines))
    return _exit_code(answer, lines)


def _checked(data: bytes, asked: Asked) -> tuple[Answer, Sequence[Claim]]:
    """Check, and judge the lines of the policy; a fault of this program itself is a refusal."""
    try:
        answer = check(data, asked.policy)
        paper = answer.paper
        return answer, demanded.of_receipt(paper.certificate, asked, paper.cosigned) if answer.accepted else ()
    except Exception as error:  # noqa: BLE001  (a checker never accepts by accident and never shows a traceback)
        reason = f"this program failed ({type(error).__name__}); please report it"
        return Answer(accepted=False, check=0, reason=reason, paper=Paper(data, asked.policy)), ()
