"""What a certified run may still have to do: a certificate that names what is left is not the end.

A key that was destroyed is there again; what was held or found may have been let go; a day until which something had to
be kept has come. Then everything is treated and searched once more, and another certificate is issued.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from domicile.destroying import Destroying
from domicile.events import Noted
from domicile.horizon import Treated
from domicile.journal import Journal
from domicile.predicates import CertificatePredicate
from domicile.proof import Verdict
from domicile.record import Record
from domicile.stores.postgres.copies import Treatment

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
    record.listener(Noted(text=f"finished before; nothing to do{more}"))
    return False


def forget_found(journal: Journal, *, boundary_stays: bool = False) -> None:
    """Forget what was swept and treated: it is done anew.

    With `boundary_stays` the folders around are still cleaned up to where they were: what is younger is clean, unless
    something of the server's was held then, so that old rows went on being written down.
    """
    for name in ("judged", "sweep_stated"):
        journal.forget(name)
    kept = journal.get("treated", Treated) if boundary_stays else None
    if kept is None or any(item.treatment in _HELD for item in kept.server):
        journal.forget("treated")
    elif kept.server:
        journal.put("treated", Treated(server=(), boundary=kept.boundary), Treated)


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
