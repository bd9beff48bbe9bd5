"""What a search saw of a store beside the source, and the verdicts that follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from domicile import sweep
from domicile.evidence.predicates import SweptCopy
from domicile.proof import CopyVerdict
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment, looked
from domicile.sweep.verdict import spelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One store's copies, what was done to them, what the search saw, and the verdicts.

    `how` says of a copy how its bytes were had, where they don't lie there as they are.
    """

    copies: tuple[Copy, ...]
    outcomes: tuple[Outcome, ...]
    result: sweep.SearchResult
    verdicts: tuple[CopyVerdict, ...]
    how: Mapping[str, str] = field(default_factory=dict)

    def swept(self) -> Iterator[SweptCopy]:
        """What was read of each copy, and those that need no search because there is none of them."""
        kinds = {copy.id: copy.kind for copy in self.copies}
        seen = set()
        for found in self.result.copies:
            kind = kinds.get(found.copy)
            if kind is None:
                continue
            seen.add(found.copy)
            residue = found.specific if kind is CopyKind.OTHER_DATABASES else found.hits  # as the verdict says
            before = f"{self.how[found.copy]}, " if found.copy in self.how else ""
            how = spelled(f"{before}searched {looked(kind).value}")
            yield SweptCopy(id=found.copy, method=how, bytes=found.bytes, hits=found.hits, residue=residue)
        for item in self.outcomes:
            if item.treatment is Treatment.ABSENT and item.copy in kinds and item.copy not in seen:
                yield SweptCopy(id=item.copy, method=spelled(f"absent: {item.why}"), bytes=0, hits=0, residue=0)


def named(store: str, seen: Seen) -> Seen:
    """The same with the ids that the plan has: `store/id`."""
    return replace(
        seen,
        copies=tuple(replace(copy, id=f"{store}/{copy.id}") for copy in seen.copies),
        outcomes=tuple(replace(item, copy=f"{store}/{item.copy}") for item in seen.outcomes),
        verdicts=tuple(replace(verdict, copy=f"{store}/{verdict.copy}") for verdict in seen.verdicts),
        how={f"{store}/{copy}": words for copy, words in seen.how.items()},
        result=replace(
            seen.result, copies=tuple(replace(one, copy=f"{store}/{one.copy}") for one in seen.result.copies)
        ),
    )
