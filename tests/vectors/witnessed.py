"""Bundles whose checkpoint witnesses cosigned, or not enough of them: what a thief of the engine's key comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from domicile.evidence.bundle import pack, trust_policy
from domicile.evidence.keys import Signer
from domicile.evidence.tlog.cosignature import cosign, cosigner_of
from domicile.evidence.tlog.note import format_note, format_signatures, parse_note
from domicile.evidence.tlog.policy import parse_policy
from tests.vectors import scenario as s

WITNESSES = {name: s.key(f"witness-{name}.example") for name in ("ca", "us", "press")}
TIME = int(s.at(61).timestamp())
CHECKPOINT = "log/checkpoint"


def cosigned(files: Mapping[str, bytes], signers: Mapping[str, Signer], *, text: str | None = None) -> dict[str, bytes]:
    """The same files with cosignatures of their checkpoint, or of another text, a minute apart."""
    data = files[CHECKPOINT]
    seen = text or parse_note(data).text
    lines = [cosign(seen, signer, time=TIME + 60 * place) for place, signer in enumerate(signers.values())]
    return {**files, CHECKPOINT: data + format_signatures(lines)}


def chosen(*names: str) -> dict[str, Signer]:
    return {name: WITNESSES[name] for name in names}


def good() -> bytes:
    """The good run, under a checkpoint that two of three witnesses cosigned."""
    return pack(cosigned(s.files_of(s.good()), chosen("ca", "us")), s.ENGINE)


def stolen() -> s.Script:
    """Another story, which whoever has the engine's key can tell in a log of their own: fewer rows are in it."""
    return s.good().set("plan", not_proven=())


def unwitnessed() -> dict[str, bytes]:
    """Bundles by name that hold together without a policy, and that the policy `two-of-three` refuses at check 5."""
    files = s.files_of(s.good())
    theirs = s.files_of(stolen())
    of_good = parse_note(files[CHECKPOINT]).text
    fakes = {name: Signer(name=signer.name, seed=s.STRANGER.seed) for name, signer in chosen("ca", "us").items()}
    again = {"ca": WITNESSES["ca"], "once more": WITNESSES["ca"]}
    made: dict[str, Callable[[], Mapping[str, bytes]]] = {
        "stolen-key": lambda: theirs,
        "stolen-key-with-cosignatures-of-the-true-log": lambda: cosigned(theirs, chosen("ca", "us"), text=of_good),
        "stolen-key-with-witnesses-of-its-own": lambda: cosigned(theirs, fakes),
        "cosigned-by-one": lambda: cosigned(files, chosen("ca")),
        "cosigned-by-one-twice": lambda: cosigned(files, again),
        "cosigned-beyond-all-time": lambda: _beyond(cosigned(files, chosen("ca"))),
        "cosigned-later-than-it-was": lambda: _later(cosigned(files, chosen("ca", "us"))),
        "cosigned-by-the-log-and-an-approver": lambda: cosigned(files, {"log": s.ENGINE, "operator": s.OPERATOR}),
    }
    return {name: pack(make(), s.ENGINE) for name, make in made.items()}


def _later(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The last cosignature dated a year later than its witness did, so that an old log looks young."""
    note = parse_note(files[CHECKPOINT])
    *others, last = note.signatures
    time = int.from_bytes(last.signature[:8], "big") + 31_536_000
    bent = replace(last, signature=time.to_bytes(8, "big") + last.signature[8:])
    return {**files, CHECKPOINT: format_note(replace(note, signatures=(*others, bent)))}


def _beyond(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """A second cosignature, rightly signed, at 2^63 seconds (tlog-cosignature: it MUST NOT exceed 2^63 - 1)."""
    note, signer, time = parse_note(files[CHECKPOINT]), WITNESSES["us"], 2**63
    signed = signer.sign(b"cosignature/v1\ntime %d\n%b" % (time, note.text.encode()))
    line = replace(cosign(note.text, signer, time=TIME), signature=time.to_bytes(8, "big") + signed)
    return {**files, CHECKPOINT: files[CHECKPOINT] + format_signatures([line])}


def policies() -> dict[str, str]:
    """What an auditor asks for: two of three, all three, one alone, and one with one of a group."""
    quorums = {
        "two-of-three": "group some 2 ca us press\nquorum some\n",
        "all-three": "group every all ca us press\nquorum every\n",
        "one-witness": "quorum press\n",
        "ca-and-one-more": "group others any us press\ngroup both all ca others\nquorum both\n",
    }
    return {name: policy_of(text) for name, text in quorums.items()}


def policy_of(lines: str) -> str:
    """An auditor's policy that knows the three witnesses, with these lines of groups and a quorum."""
    known = "".join(f"witness {name} {cosigner_of(signer).vkey}\n" for name, signer in WITNESSES.items())
    return trust_policy(s.ENGINE.verifier, s.plan().approvals, parse_policy((known + lines).encode()))


def dated(issued_at: datetime) -> bytes:
    """The good run with a certificate of that time, under the cosignatures of `good`."""
    script = s.good().set("certificate", issued_at=issued_at)
    return pack(cosigned(s.files_of(script), chosen("ca", "us")), s.ENGINE)


def forked() -> tuple[bytes, bytes]:
    """Two stories of one log, each cosigned by one witness: each of them saw one of the two only."""
    ours, theirs = s.files_of(s.good()), s.files_of(stolen())
    return pack(cosigned(ours, chosen("ca")), s.ENGINE), pack(cosigned(theirs, chosen("us")), s.ENGINE)
