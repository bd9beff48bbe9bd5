"""The closure in SQL, set by set: subjects → owners → what home needs → what the source needs → numbered manifest.

docs/closure.md says what it means; `stores/memory` is the same by rows, and property tests compare the two. Runs
inside the caller's transaction, in the schema the caller names: `domicile` to freeze, another one, rolled back, to
survey. Nothing of a row leaves the database; counts do.
"""

from __future__ import annotations

from collections.abc import Iterator

from domicile.model import Finding
from domicile.stores.postgres.closure import findings, market, needs, owners
from domicile.stores.postgres.closure.numbering import number
from domicile.stores.postgres.closure.work import EVERYWHERE, Work


def compute(work: Work) -> Iterator[Finding]:
    """Compute owners and needs; yield what was found on the way. `number` makes the manifest of it."""
    yield from market.open_markets(work)
    for dataset in work.scope.datasets:
        owners.make_lines(work, dataset)
        if dataset.decided:
            yield from owners.ownerless(work, dataset)
        if dataset.decided and not dataset.sole:
            owners.collect(work, dataset)
            yield from owners.decide(work, dataset)
    yield from needs.of_home(work)
    yield from needs.of_source(work)
    for dataset in work.scope.datasets:
        yield from findings.kept(work, dataset)
        yield from findings.large_objects(work, dataset)
    for edge in work.scope.edges:
        yield from findings.unenforced(work, edge)
        yield from findings.stand_ins(work, edge)
        yield from findings.unreadable(work, edge)


__all__ = ["EVERYWHERE", "Work", "compute", "number"]
