"""Cut-over and clearance: from the fence on home is the authority, and only here an erasure is permitted (P2).

A clearance is made from an equality that was read under a fence, from approvals by k of n keys over exactly that
equality, and from restores that were really done and read back equal. There is no other way to make one. Of objects no
backup is restored; the plan and the certificate say so (ADR 0030).
"""

from __future__ import annotations

from collections.abc import Sequence

from domicile.config.policy import Approvals
from domicile.errors import NoClearance, NotEqual, Waiting
from domicile.model import Form, Home, SliceId
from domicile.proof import Clearance, Equality, Measure, Restore

OF_OBJECTS = "of objects `domicile apply` brings again what is missing, and tells what is other"


def refuse_unequal(equality: Equality, *, of_objects: str = OF_OBJECTS) -> None:
    """Raise NotEqual, naming slices and counts (never keys), unless the equality clears.

    `of_objects` is what there is to say where a slice of objects differs.
    """
    if equality.clears:
        return
    if equality.others:
        first, *more = (pair.slice.id for pair in equality.others)
        raise NotEqual(
            f"{1 + len(more)} slices have other rows at the source than were frozen, first {first}: rows were lost or "
            "added there past the fence. Nothing is erased; `domicile abandon` gives the run up"
        )
    slices = [pair.slice.id for pair in equality.private if not pair.equal]
    strays = [f"{dataset} at {home}: {count}" for dataset, home, count in equality.strays if count]
    parts = []
    if slices:
        parts.append(f"{len(slices)} slices differ ({', '.join(slices[:3])}…)")
    if strays:
        parts.append(f"home holds rows that nothing sends there ({', '.join(strays[:3])}…)")
    if any(pair.slice.form is Form.OBJECTS for pair in equality.private if not pair.equal):
        parts.append(of_objects)
    raise NotEqual(f"{'; '.join(parts)}: `domicile verify` names the keys, `domicile verify --repair` mends them")


def missing_approvals(rule: Approvals, given: Sequence[str]) -> int:
    """How many more of the named approvers have to sign."""
    return max(0, rule.threshold - len(set(given) & set(rule.of)))


def await_approvals(rule: Approvals, given: Sequence[str], *, equality_sha256: str) -> None:
    """Raise Waiting while fewer than k of n have approved this equality."""
    missing = missing_approvals(rule, given)
    if missing:
        open_names = [name for name in rule.of if name not in given]
        raise Waiting(
            f"erasing needs {missing} more of {len(rule.of)} approvals ({', '.join(open_names)}) of equality "
            f"{equality_sha256[:16]}…: each runs `domicile approve --key KEYFILE`, then run `domicile apply` again"
        )


def prove_restore(equality: Equality, home: Home, restored: Sequence[Measure]) -> tuple[Measure, ...]:
    """Check what was read from the restored backup of `home` against the equality; raise NoClearance if it differs."""
    rows = [pair for pair in equality.private if pair.slice.form is not Form.OBJECTS]
    proven = {pair.slice.id: pair.home for pair in rows if pair.slice.home == home}
    seen = {measure.slice: measure for measure in restored}
    for slice_id, measure in proven.items():
        again = seen.get(slice_id)
        if again is None or (again.rows, again.digest) != (measure.rows, measure.digest):
            raise NoClearance(
                f"{slice_id}: the restored backup of {home} does not hold what home holds; nothing is erased. "
                "It is older than the fence, or damaged: take a new one, then run `domicile apply` again"
            )
    return tuple(seen[slice_id] for slice_id in proven)


def clear(
    equality: Equality,
    rule: Approvals,
    approvers: Sequence[str],
    restores: Sequence[Restore],
    *,
    statement: str,
) -> Clearance:
    """Make the clearance; `statement` is the digest of its statement in the log.

    Raises NoClearance when the equality was not read under a fence or a home's restore is missing, NotEqual or
    Waiting as above.
    """
    if not equality.fenced:
        raise NoClearance("the equality was not read under a fence; run `domicile apply` to stand one")
    refuse_unequal(equality)
    await_approvals(rule, approvers, equality_sha256=statement)
    restored = {measure.slice: measure.digest for restore in restores for measure in restore.measures}
    for pair in equality.private:
        if pair.slice.form is not Form.OBJECTS and restored.get(pair.slice.id) != pair.home.digest:
            raise NoClearance(f"{pair.slice.id}: no restore at home holds it; run `domicile apply` again")
    return Clearance(
        statement=statement,
        digests=tuple((pair.slice.id, pair.home.digest) for pair in equality.private if pair.slice.leaves),
    )


def refuse_nothing(equality: Equality) -> None:
    """Raise NoClearance where no slice leaves: an erasure of nothing has nothing to approve, and proves nothing."""
    if not cleared_ids(equality):
        raise NoClearance(
            "no row and no object is to leave the source, so there is nothing to approve, to erase or to certify. "
            "`domicile plan` says how many people move: are policy.homes and the subject's market right? "
            "`domicile abandon` gives the run up"
        )


def cleared_ids(equality: Equality) -> tuple[SliceId, ...]:
    """The slices that a clearance of this equality names."""
    return tuple(pair.slice.id for pair in equality.private if pair.slice.leaves)
