"""The report page of a run, put together from log and journal."""

from __future__ import annotations

from pathlib import Path

from domicile import __version__
from domicile.cutover.cohorts import LagPoint
from domicile.evidence.ledger import counting
from domicile.evidence.predicates import CertificatePredicate
from domicile.horizon import Judged
from domicile.model import Manifest
from domicile.portal.report import Extras, LockTime, StageTime, render
from domicile.proof import Fence
from domicile.record.felt import read_felt
from domicile.run import Run

NONE: tuple[int | None, int | None] = (None, None)


def write_report(run: Run) -> Path:
    """Write the page of the run as it is now; return its path."""
    fence, manifest = run.journal.get("fence", Fence), run.journal.get("manifest", Manifest)
    judged = run.journal.get("judged", Judged)
    passed = run.journal.get("passed", dict[str, tuple[int, int]]) or {}
    certificate = run.last(CertificatePredicate)
    extras = Extras(
        engine=__version__,
        stages=tuple(
            StageTime(stage=stage, seconds=seconds, rows=passed.get(stage, NONE)[0], bytes=passed.get(stage, NONE)[1])
            for stage, seconds in (run.journal.get("seconds", dict[str, float]) or {}).items()
        ),
        fence_wait_ms=fence.wait_ms if fence else None,
        findings=manifest.findings if manifest else (),
        locks=tuple(LockTime(copy=copy, ms=ms) for copy, ms in judged.locks_ms.items()) if judged else (),
        lag=run.journal.get("lag", tuple[LagPoint, ...]) or (),
        felt=read_felt(run.workspace),
        checkpoint=run.ledger.log.checkpoint_bytes.decode() or None,
        certificate=certificate.sha256 if certificate else None,
        bundle=run.workspace.bundle.name if run.workspace.bundle.exists() else None,
        bundle_bytes=run.workspace.bundle.read_bytes() if certificate and run.workspace.bundle.exists() else None,
        made_at=run.host.now(),
    )
    page = render([recorded.predicate for recorded in counting(run.ledger.statements())], extras=extras)
    run.workspace.make()
    run.workspace.write(run.workspace.report, page.encode())
    return run.workspace.report
