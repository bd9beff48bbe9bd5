"""The bundle: everything a checker needs in one zip, the same bytes every time (docs/evidence.md, "Bundle").

Stored, never compressed; sorted by path; dated 1980-01-01; no extra fields, no comments. `manifest.json` is a DSSE
envelope by the log's key over the SHA-256 of every other file, so no byte is outside a signature.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.errors import EvidenceFault, HostFault
from domicile.evidence.codec import Hex, encode
from domicile.evidence.keyring import LOG
from domicile.evidence.keys import Signer, Verifier, parse_vkey
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import ApprovalRule, ApproverKey, CertificatePredicate, KeyChange
from domicile.evidence.statement import sign_envelope
from domicile.evidence.tlog.policy import NONE, Policy, format_policy
from domicile.host import write_whole

MANIFEST_TYPE: Final = "application/vnd.domicile.manifest+json"
FORMAT: Final = "urn:domicile:bundle/v1"
FILE_BYTES_MAX: Final = 64 * 1024 * 1024
BUNDLE_BYTES_MAX: Final = 512 * 1024 * 1024
BEFORE_MAX: Final = 200
"""Heads of before a change of the log's key that a policy names, of at most 1,100 bytes each."""
BEFORE: Final = "# The log's keys before this one count for receipts alone, under these very heads (size, root):"
FILES_MAX: Final = 60_000  # a zip without its 64-bit extension holds 65,535

POLICY_CHOICES: Final = (
    "# What else you ask for is your choice; take the # away, and see docs/evidence.md, Trust policy:",
    "# fresh 30",
    "# require sweep/v1",
    "# tolerate none",
    "# sampled 5",
)

README: Final = """\
This is a bundle of evidence made by Domicile, format urn:domicile:bundle/v1.

Check it, offline, with the program domicile-audit (Python 3.11+ and the package `cryptography`):

    domicile-audit BUNDLE --trust POLICY

POLICY names the keys that you trust; get them from the people who hold them, not from this bundle.
Without --trust the program takes the keys from keys/ in here and says so.

plan.json               the plan, byte for byte as it was approved
log/checkpoint          the signed head of the log (C2SP signed-note, tlog-checkpoint)
log/tile/               its Merkle tree and entries (C2SP tlog-tiles, RFC 6962)
detached/               predicates too long for a log entry, named by their SHA-256
keys/                   the public keys: log.vkey signs log and statements, approver-N.vkey approve
certificate.dsse.json   the last statement of the log again: the certificate
manifest.json           the SHA-256 of every other file, signed (DSSE)

An entry of the log is a DSSE envelope with an in-toto Statement v1. This text is the same in every bundle:
it says nothing about what was or was not done. Only the checks do.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One file of the bundle."""

    path: str
    bytes: int
    sha256: Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All files of the bundle but the manifest, sorted by path."""

    format: str
    files: tuple[ManifestFile, ...]


def make_bundle(ledger: Ledger, *, plan_file: bytes, signer: Signer) -> bytes:
    """The bundle of a ledger; one whose last statement is no certificate has none, and no checker accepts it."""
    if hashlib.sha256(plan_file).hexdigest() != ledger.plan().plan:
        raise EvidenceFault("bundle: this is not the plan file that the log names; give the file that was approved")
    return pack(_files(ledger, plan_file), signer)


def pack(files: Mapping[str, bytes], signer: Signer) -> bytes:
    """Sign the manifest of these files and zip both by the rule."""
    listed = tuple(
        ManifestFile(path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for path, data in sorted(files.items())
    )
    payload = encode(Manifest(format=FORMAT, files=listed))
    manifest = sign_envelope(payload, payload_type=MANIFEST_TYPE, signer=signer)
    return zip_files({**files, "manifest.json": manifest})


def zip_files(files: Mapping[str, bytes]) -> bytes:
    """Zip by the rule above."""
    if len(files) > FILES_MAX or sum(len(data) for data in files.values()) > BUNDLE_BYTES_MAX:
        raise EvidenceFault("bundle: too large for one file; split the programme into smaller plans")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for path, data in sorted(files.items()):
            info = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # Unix, wherever it is written
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
    return out.getvalue()


def write_bundle(path: Path, bundle: bytes) -> None:
    """Put the bundle in place in one rename."""
    try:
        write_whole(path, bundle)
    except OSError as error:
        raise HostFault(f"bundle {path}: can't be written ({error.strerror}); check space and rights") from error


def trust_policy(
    log: Verifier,
    approvals: ApprovalRule,
    witnesses: Policy | None = None,
    *,
    before: Sequence[str] = (),
) -> str:
    """The policy that an auditor compares with keys got elsewhere (C2SP tlog-policy, and lines of ours).

    What else may be asked for is the auditor's choice, not the operator's: it stands there as remarks. `before` are
    lines about the log's earlier keys (`lines_before`).
    """
    lines = ["# Compare each key with its holder, by phone or in person, before you trust this file."]
    lines.append(f"log {log.vkey}")
    lines.extend(before)
    lines.extend(f"approver {parse_vkey(key.vkey).vkey}" for key in approvals.of)
    lines.append(f"approvals {approvals.threshold}")
    text = "".join(line + "\n" for line in lines)
    others = witnesses or Policy(logs={}, witnesses={}, groups={}, quorum=NONE)
    choices = "".join(line + "\n" for line in POLICY_CHOICES)
    return text + format_policy(others).decode(errors="surrogateescape") + choices


def lasting_approvers(ledger: Ledger) -> ApprovalRule:
    """Who may approve, each with the key from which all that they handed on lead to the present one.

    A policy trusts what took over from a key that it names. It names one key of a person: two would count as two people
    wherever a cheat makes them two.
    """
    now = ledger.approvers()
    of = (ApproverKey(name=one.name, vkey=_handed_on_from(ledger, one)) for one in now.of)
    return ApprovalRule(threshold=now.threshold, of=tuple(of))


def _handed_on_from(ledger: Ledger, approver: ApproverKey) -> str:
    first = approver.vkey
    for change in reversed(ledger.keyring().changes):
        said = change.predicate
        if said.approver == approver.name and said.new == first and said.what is KeyChange.ROTATED:
            first = said.key
    return first


def lines_before(ledger: Ledger) -> list[str]:
    """The lines of a policy for receipts given before the log's key changed: key, size and root of each such head."""
    heads = ledger.earlier_heads()
    lines = [
        f"before {key.vkey} {size} {base64.b64encode(ledger.log.root_at(size)).decode()}"
        for key, size in heads[:BEFORE_MAX]
    ]
    left = f"# {len(heads) - BEFORE_MAX} older heads are left out; who has a receipt of one asks for a new one"
    return [BEFORE, *lines, *([left] if len(heads) > BEFORE_MAX else [])] if lines else []


def _files(ledger: Ledger, plan_file: bytes) -> dict[str, bytes]:
    files = {"README.txt": README.encode(), "plan.json": plan_file}
    files |= _keys(ledger)
    files |= {f"log/{path}": data for path, data in ledger.log.files().items()}
    files |= {f"detached/{name}.json": data for name, data in ledger.detached().items()}
    last = ledger.statement(ledger.size - 1)
    if isinstance(last.predicate, CertificatePredicate):
        files["certificate.dsse.json"] = ledger.log.entry(last.index)
    return files


def _keys(ledger: Ledger) -> dict[str, bytes]:
    """All keys that signed in this log: each approver's first one bears the plan's name for it, the log's last one."""
    ring = ledger.keyring()
    *earlier, now = ring.lineage(LOG)
    files = {"keys/log.vkey": now}
    files |= {f"keys/log-before-{turn}.vkey": key for turn, key in enumerate(earlier, start=1)}
    for number, approver in enumerate(ledger.plan().approvals.of, start=1):
        first, *later = ring.lineage(approver.name)
        files[f"keys/approver-{number}.vkey"] = first
        files |= {f"keys/approver-{number}-after-{turn}.vkey": key for turn, key in enumerate(later, start=1)}
    return {name: _line(key.vkey) for name, key in files.items()}


def _line(vkey: str) -> bytes:
    return f"{vkey}\n".encode()
