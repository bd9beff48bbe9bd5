"""Logs of made-up runs, real ones on the disk, signed with keys that everybody knows."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from domicile.evidence import predicates as p
from domicile.evidence.ledger import Ledger
from domicile.evidence.tlog.log import Log
from domicile.exports.audited import Audit
from domicile.exports.evidence import Evidence, read_evidence
from domicile.proof import Verdict
from tests.vectors import scenario as s
from tests.vectors.scenario import ENGINE, Script

ACCEPTED = Audit(accepted=True)
UNTIL = datetime(2027, 3, 1, tzinfo=UTC)
BENT = "app/encrypted-files"


def ledger_of(script: Script, folder: Path) -> Ledger:
    """The ledger that holds this script's statements, opened for reading only."""
    played = list(script.play().values())
    folder.mkdir(parents=True)
    log = Log.create(folder / "log", ENGINE)
    log.append([sealed.envelope for sealed in played])
    (folder / "detached").mkdir()
    for sealed in played:
        if sealed.detached is not None:
            name = hashlib.sha256(sealed.detached).hexdigest()
            (folder / "detached" / f"{name}.json").write_bytes(sealed.detached)
    return Ledger.open(folder, ENGINE.verifier)


def evidence_of(script: Script, folder: Path, *, unfinished: bool = False, audit: Audit | None = ACCEPTED) -> Evidence:
    return read_evidence(ledger_of(script, folder), audit=audit, unfinished=unfinished)


def judged(verdict: Verdict, *, why: str = "as the test wants it", copy: str = BENT) -> Script:
    """The good run in which one copy has this verdict, and the whole with it."""
    base = s.key_destroyed() if verdict is Verdict.KEY_DESTROYED else s.good()
    until = UNTIL if verdict is Verdict.BLOCKED_UNTIL else None

    def bend(made: p.Predicate) -> p.Predicate:
        assert isinstance(made, p.CertificatePredicate)
        copies = tuple(
            replace(one, verdict=verdict, why=why, until=until) if one.id == copy else one for one in made.copies
        )
        return replace(made, copies=copies, verdict=verdict)

    return base.bent("certificate", bend)


def unfinished() -> Script:
    """The good run before its certificate."""
    return s.good().without("certificate")


def doubtful() -> Script:
    """The good run with a certificate that leaves out what the plan calls not proven."""
    return s.good().set("certificate", not_proven=("nothing at all",))


def without_copies() -> Script:
    """A run whose plan lists no copy at all."""
    script = s.good().set("plan", copies=()).set("sweep", copies=())
    for name in script.names():
        if name.startswith(("intent", "outcome")):
            script = script.set(name, emptied=())
    return script.set("certificate", copies=(), verdict=Verdict.UNKNOWN)
