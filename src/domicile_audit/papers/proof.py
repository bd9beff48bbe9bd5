"""`domicile-audit proof FILE --entry ENTRY | --old HEAD [--trust POLICY] [--json]`: a place in a log, or its growth.

What `domicile log prove` writes, or any log that speaks the same formats. It is accepted if and only if all of these
hold; the first that fails is the reason.

 1  the file is in its one spelling                                    C2SP tlog-proof "Format"; tlog-witness
 2  with a policy: the head is signed by a log's key of it, or listed  C2SP tlog-checkpoint; tlog-policy
    behind `before`, and cosigned by its quorum
 3  of a proof: the entry stands at its place under that head          RFC 9162 section 2.1.3.2
 4  of growth: the earlier head is of this log and of the size that    C2SP tlog-checkpoint
    the file names; with a policy it is signed as in 2
 5  of growth: the later log begins with the earlier one               RFC 9162 section 2.1.4.2

A proof holds no key, so without a policy nothing of who signed is checked. Exit codes: 0 accepted, 1 refused or not
checked, 2 not asked properly, 3 it holds together, and without a policy nobody was named who has to have signed it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from domicile_audit.case import Refused, require
from domicile_audit.files import GROWTH, PROOF, RECEIPT, kind_of, read_file, read_policy_file, refuse_other
from domicile_audit.log.cosignature import Quorum, say_time
from domicile_audit.log.keys import Key, read_vkey
from domicile_audit.papers.heads import Head, read_growth, read_head, read_proof, read_unsigned
from domicile_audit.papers.placed import RECEIPT_BYTES_MAX, require_grown, require_in
from domicile_audit.report import Claim
from domicile_audit.trust import demanded
from domicile_audit.trust.asking import EXIT_CODES, exit_code, say_misasked
from domicile_audit.trust.demands import Demands
from domicile_audit.trust.policy import Policy

ENTRY_BYTES_MAX: Final = 65_535  # C2SP tlog-tiles "Log entries"


@dataclasses.dataclass(slots=True, kw_only=True)
class Shown:
    """The file under check with what is held against it: the entry, or (of growth) the earlier head's bytes."""

    data: bytes
    beside: bytes
    grows: bool
    policy: Policy | None
    path: tuple[bytes, ...] = ()  # 1
    index: int = 0  # 1: the entry's place, or how many entries there were
    extra: bool = False  # 1
    head: Head = dataclasses.field(default=Head("", 0, b"", b""))  # 1
    cosigned: Mapping[str, int] = dataclasses.field(default_factory=dict)  # 2

    @property
    def kind(self) -> str:
        """What is proven."""
        return "growth" if self.grows else "entry"


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came of it; `lines` are those of the policy, judged."""

    accepted: bool
    check: int
    reason: str
    shown: Shown
    lines: Sequence[Claim] = ()

    @property
    def exit_code(self) -> int:
        """How the program ends."""
        holds = self.accepted and demanded.against(self.lines) is None
        return exit_code(accepted=holds, named=self.shown.policy is not None)


# -- the checks --------------------------------------------------------------------------------------------------------


def check_file(shown: Shown) -> None:
    """Check 1."""
    if shown.grows:
        growth = read_growth(shown.data, RECEIPT_BYTES_MAX)
        shown.index, shown.path, shown.head = growth.old, growth.path, _head(growth.note)
        return
    proof = read_proof(shown.data, RECEIPT_BYTES_MAX)
    shown.index, shown.path, shown.extra = proof.index, proof.path, proof.extra is not None
    shown.head = read_head(proof.note)


def check_head(shown: Shown) -> None:
    """Check 2: nothing without a policy."""
    if shown.policy is not None:
        shown.cosigned = _signed(shown.head, shown.policy, shown.policy.quorum)


def check_entry(shown: Shown) -> None:
    """Check 3."""
    head = shown.head
    reason = f"the entry is not number {shown.index} of this log: it is another, or another log's"
    require(len(shown.beside) <= ENTRY_BYTES_MAX, f"the entry is longer than {ENTRY_BYTES_MAX} bytes")
    require_in(head.root, shown.beside, shown.index, head.size, shown.path, reason)


def check_old(shown: Shown) -> None:
    """Check 4."""
    old = _head(shown.beside)
    require(old.origin == shown.head.origin, f"the earlier head is one of another log, {old.origin!r}")
    require(old.size == shown.index, f"the earlier head has {old.size} entries, and the file is about {shown.index}")
    if shown.policy is not None:
        _signed(old, shown.policy, None)


def check_growth(shown: Shown) -> None:
    """Check 5."""
    require_grown(_head(shown.beside).root, shown.index, shown.head.root, shown.head.size, shown.path)


CHECKS: Final[Sequence[tuple[str, Callable[[Shown], None]]]] = (
    ("", check_file), ("", check_head), ("entry", check_entry), ("growth", check_old), ("growth", check_growth),
)  # fmt: skip


def check(shown: Shown) -> Answer:
    """Check a file; nothing but an answer comes out."""
    for number, (kind, made) in enumerate(CHECKS, start=1):
        if kind in ("", shown.kind):
            try:
                made(shown)
            except Refused as refusal:
                return Answer(accepted=False, check=number, reason=str(refusal), shown=shown)
    lines = demanded.of_proof(shown.policy.demands if shown.policy else Demands())
    return Answer(accepted=True, check=len(CHECKS), reason="", shown=shown, lines=lines)


def _head(note: bytes) -> Head:
    """A head that may be unsigned: a log signs only those that it published."""
    return read_head(note) if b"\n\n" in note else read_unsigned(note)


def _signed(head: Head, policy: Policy, quorum: Quorum | None) -> Mapping[str, int]:
    """Refuse unless a key of the policy's `log` lines signed it, or one that lists it behind `before`; who cosigned."""
    require(head.signer, "nobody signed that head; ask for a proof up to a checkpoint, which is signed")
    listed = [key for key, size, root in policy.before if (size, root) == (head.size, head.root)]
    keys: list[Key] = [read_vkey(line) for line in sorted({*policy.logs, *listed})]
    known = next((key for key in keys if head.is_of(key)), None)
    if known is None:
        raise Refused(f"the checkpoint is of a log, or by a key, that the policy does not trust: {head.keyid}")
    return head.require_signed(known, quorum)


# -- the words ---------------------------------------------------------------------------------------------------------


def as_text(answer: Answer) -> str:
    """The answer for people."""
    if not answer.accepted:
        return f"REFUSED at check {answer.check}: {answer.reason}.\nDo not rely on this file."
    failed = demanded.against(answer.lines)
    if failed is not None:
        return demanded.say_against(failed)
    shown, begin = answer.shown, "THE PROOF HOLDS"
    if shown.policy is None:
        begin += " TOGETHER, signed by NOBODY WHOM YOU NAMED (a proof holds no key; give --trust POLICY)"
    lines = [f"{begin}: {_what(shown)}.", "", "What this proves", *(f"  - {line}" for line in _proven(shown))]
    return "\n".join([*lines, "", "What this does not prove", *(f"  - {line}" for line in _not_proven(shown))])


def _what(shown: Shown) -> str:
    head = shown.head
    if shown.grows:
        return f"the log {head.origin} of {head.size} entries begins with the {shown.index} that you knew"
    return f"the entry is number {shown.index} (from 0) of {head.size} in the log {head.origin}"


def _proven(shown: Shown) -> list[str]:
    head, lines = shown.head, []
    if shown.policy is not None:
        lines.append(f"{head.keyid} signed the head of {head.size} entries with root {head.root.hex()}.")
    lines += [f"Witness {name} cosigned it at {say_time(time)}." for name, time in shown.cosigned.items()]
    if shown.grows:
        return [*lines, f"None of the first {shown.index} entries was changed, moved or taken out since."]
    return [*lines, f"The entry with SHA-256 {hashlib.sha256(shown.beside).hexdigest()} stands in it, byte for byte."]


def _not_proven(shown: Shown) -> list[str]:
    whose = "Who signed the head: no signature was checked. Ask for the operator's trust policy on another way."
    says = "What the entry says, who signed it, and that nothing after it takes it back: `domicile-audit BUNDLE` does."
    return [
        *([] if shown.policy else [whose]),
        *([] if shown.grows else [says]),
        *(["The extra data in the file: nobody signed it, and it was not looked at."] if shown.extra else []),
        *([] if shown.cosigned else ["That nobody else was shown another log of that name: no witness was asked for."]),
    ]


def as_json(answer: Answer) -> str:
    """The answer for programs."""
    shown, failed = answer.shown, demanded.against(answer.lines)
    accepted = answer.accepted and failed is None
    body: dict[str, Any] = {
        "accepted": accepted, "refused_at": None if answer.accepted else answer.check,
        "reason": f"{failed.name}: {failed.why}" if failed else answer.reason or None,
        "keys_from": "nobody" if shown.policy is None else "policy", "kind": shown.kind,
        "claims": [dataclasses.asdict(line) for line in answer.lines], "exit_code": answer.exit_code,
    }  # fmt: skip
    if accepted:
        head = shown.head
        body |= {
            "old" if shown.grows else "index": shown.index, "origin": head.origin, "size": head.size,
            "root": head.root.hex(), "cosigned": dict(shown.cosigned),
            "proven": _proven(shown), "not_proven": _not_proven(shown),
        }  # fmt: skip
    return json.dumps(body, indent=2, ensure_ascii=False)


# -- the program -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    """Check the proof, print the answer, return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        shown = _shown(options)
    except ValueError as error:
        return say_misasked(parser, error, as_json=options.json)
    answer = _checked(shown)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    print(as_json(answer) if options.json else as_text(answer))
    return answer.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="domicile-audit proof",
        description="Check offline that an entry stands in a log, or that a log has only grown since you saw it.",
        epilog="example: domicile-audit proof 3.tlog-proof --entry 3.dsse.json --trust policy.txt; "
        f"domicile-audit proof grown.txt --old checkpoint --trust policy.txt. {EXIT_CODES}",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file that `domicile log prove` wrote")
    parser.add_argument("--entry", type=Path, metavar="ENTRY", help="the entry that is to be in the log, byte for byte")
    parser.add_argument("--old", type=Path, metavar="HEAD", help="of a proof of growth: the checkpoint that you knew")
    parser.add_argument("--trust", type=Path, metavar="POLICY", help="whose keys you believe (see docs/evidence.md)")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    return parser


def _shown(options: argparse.Namespace) -> Shown:
    """Read what is given; ValueError unless it belongs together."""
    policy = None if options.trust is None else read_policy_file(options.trust)
    data = read_file(options.file, RECEIPT_BYTES_MAX, "give the file that `domicile log prove` wrote")
    refuse_other(options.file, data, PROOF, RECEIPT, GROWTH)
    grows = kind_of(data) == GROWTH
    given, other = (options.old, options.entry) if grows else (options.entry, options.old)
    if given is None or other is not None:
        wanted = "that a log has grown; give the checkpoint that you knew, --old HEAD, and no --entry"
        raise ValueError(
            f"{options.file} is to prove {wanted}"
            if grows
            else f"{options.file} is to prove the place of an entry; give that, --entry ENTRY, and no --old"
        )
    beside = read_file(given, RECEIPT_BYTES_MAX, "`domicile log prove N --entry FILE` writes an entry")
    return Shown(data=data, beside=beside, grows=grows, policy=policy)


def _checked(shown: Shown) -> Answer:
    """Check, and take a fault of this program itself as a refusal."""
    try:
        return check(shown)
    except Exception as error:  # noqa: BLE001  (a checker never accepts by accident and never shows a traceback)
        reason = f"this program failed ({type(error).__name__}); please report it"
        return Answer(accepted=False, check=0, reason=reason, shown=shown)
