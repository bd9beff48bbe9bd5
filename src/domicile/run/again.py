"""What a certified run may still have to do: a certificate that names what is left is not the end.

A key that was destroyed is there again; what was held or found may have been let go; a day until which something had to
be kept has come. Then everything is treated and searched once more, and another certificate is issued.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from domicile.certify import certify
from domicile.errors import EvidenceFault, Waiting
from domicile.events import Noted
from domicile.evidence.predicates import CertificatePredicate
from domicile.horizon import Judged, Treated
from domicile.horizon.destroying import Destroying
from domicile.horizon.logs import COPY as SERVER_LOG
from domicile.proof import Verdict
from domicile.record import Record
from domicile.record.journal import Journal
from domicile.run import stating
from domicile.stores.postgres.copies import CopyKind, Treatment

_LEFT: Final = frozenset({Verdict.PRESENT, Verdict.HELD})
_HELD: Final = frozenset({Treatment.HELD, Treatment.NOT_PERMITTED})


def begins_again(record: Record, destroying: Destroying, *, may_treat: bool) -> bool:
    """Whether a certified run goes on; what was found before is forgotten then. Else tell what may go by now.

    A key that came back is looked for in any case; the rest is begun again only where `may_treat`.
    """
    if destroying.look_again(lambda: forget_found(record.journal, boundary_stays=True)):
        return True
    certificate = record.last(CertificatePredicate)
    found = certificate.predicate if certificate else None
    left = _may_go_by_now(found, record.now()) if isinstance(found, CertificatePredicate) else ()
    if left and may_treat:
        forget_found(record.journal, boundary_stays=True)
        return True
    more = f"; `domicile apply --yes` treats again what may go by now: {', '.join(left)}" if left else ""
    emptied = _derived(record) if left else ()
    more += f", and empties {', '.join(emptied)} again, of all people: a job has to fill it anew" if emptied else ""
    record.listener(Noted(text=f"finished before; nothing to do{more}"))
    return False


def certified(record: Record, judged: Judged, not_proven: Sequence[str]) -> CertificatePredicate:
    """Make the certificate. Where a verdict says more than the log, what was judged is forgotten: it is done anew."""
    statements = [recorded.predicate for recorded in record.ledger.statements()]
    try:
        return certify(statements, judged.verdicts, not_proven=not_proven, issued_at=record.now())
    except EvidenceFault:
        forget_found(record.journal, boundary_stays=True)
        raise


def emptied_again(record: Record, *, yes: bool, as_it_is: bool) -> tuple[str, ...]:
    """The derived tables that a treatment after a certificate empties once more; said in the log before (P7).

    Raise Waiting without `yes`, unless all is to be judged `as_it_is`: then they are not emptied.
    """
    emptied = _derived(record) if record.last(CertificatePredicate) else ()
    if emptied and not yes and not as_it_is:
        raise Waiting(
            f"treated again, {', '.join(emptied)} is emptied once more, of all people, and a job has to fill it anew: "
            "`domicile apply --yes` does it; `domicile certify` certifies it as it is: `present`"
        )
    if yes:
        _state_emptying(record, emptied, stating.TO_BE_EMPTIED)
    return emptied


def state_emptied(record: Record, emptied: Sequence[str]) -> None:
    """State that derived tables were emptied once more."""
    _state_emptying(record, emptied, stating.EMPTIED)


def _state_emptying(record: Record, emptied: Sequence[str], kind: str) -> None:
    plan, moment = record.ledger.plan().plan, record.now()
    record.state_all([stating.emptying_statement(plan, copy, kind, moment) for copy in emptied])


def _derived(record: Record) -> tuple[str, ...]:
    """The plan's derived tables, but for those of standbys, which replay."""
    plan = record.ledger.plan()
    kinds = {CopyKind.LIVE_ROWS.value, CopyKind.DERIVED_TABLE.value}
    source = next((copy.store for copy in plan.copies if copy.kind in kinds), None)
    return tuple(copy.id for copy in plan.copies if copy.kind == CopyKind.DERIVED_TABLE.value and copy.store == source)


def forget_found(journal: Journal, *, boundary_stays: bool = False) -> None:
    """Forget what was swept and treated: it is done anew.

    With `boundary_stays` the folders around are still cleaned up to where they were: what is younger is clean, unless
    something of the server's was held then, so that old rows went on being written down.
    """
    for name in ("judged", "sweep_stated", "final"):
        journal.forget(name)
    kept = journal.get("treated", Treated) if boundary_stays else None
    if kept is None or any(item.treatment in _HELD and item.copy != SERVER_LOG for item in kept.server):
        journal.forget("treated")
    elif kept.server:
        journal.put("treated", Treated(server=(), boundary=kept.boundary, rotated=kept.logs_kept), Treated)


def is_final(certificate: CertificatePredicate) -> bool:
    """Whether nobody comes back for any copy: nothing is left, and no key that was destroyed can come back."""
    return not {copy.verdict for copy in certificate.copies} & {*_LEFT, Verdict.BLOCKED_UNTIL, Verdict.KEY_DESTROYED}


def _may_go_by_now(certificate: CertificatePredicate, now: datetime) -> tuple[str, ...]:
    """The copies that a treatment may empty by now: held or found, or kept until a time that has come."""
    return tuple(
        copy.id
        for copy in certificate.copies
        if copy.verdict in _LEFT or (copy.verdict is Verdict.BLOCKED_UNTIL and copy.until and copy.until <= now)
    )
