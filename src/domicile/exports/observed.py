"""Observations of the assessment results (OSCAL 1.2.3, assessment-common): what findings rest on.

What each kind of statement comes to, what was seen of each copy, what is not proven, what was found on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from domicile.evidence.codec import Json, format_time
from domicile.evidence.predicates import FindingPredicate
from domicile.exports.evidence import CopyStanding, Evidence, times
from domicile.exports.holding import Holding
from domicile.exports.spelled import Item, Names, marked, props, without_empty

EXAMINED, TESTED = "EXAMINE", "TEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Evidence, what its statements come to, and the names of things in it."""

    evidence: Evidence
    holdings: Mapping[str, Holding]
    names: Names

    def of_copy(self, copy: CopyStanding) -> str:
        """The UUID of the observation of a copy."""
        return self.names.uuid("observation", "copy", copy.copy.id)

    def of_kind(self, kind: str) -> str:
        """The UUID of the observation of a kind of statement."""
        return self.names.uuid("observation", "kind", kind)

    def item(self, copy: CopyStanding) -> str:
        """The UUID of a copy as an item of the inventory."""
        return self.names.uuid("copy", copy.copy.id)

    @property
    def log(self) -> str:
        """The UUID of the resource that is the log."""
        return self.names.uuid("resource", "log")


def observations(seen: Observed) -> list[Json]:
    """All observations, in one order."""
    found = [*_kinds(seen), *_copies(seen), *_not_proven(seen), *_findings(seen)]
    return [without_empty(one) for one in found]


def _kinds(seen: Observed) -> Iterator[Item]:
    when = [time for time, _ in times(seen.evidence)]
    for kind, holding in seen.holdings.items():
        places = holding.statements
        yield {
            "uuid": seen.of_kind(kind),
            "title": f"{marked(kind)}: {'holds' if holding.holds else 'does not hold'}",
            "description": marked(holding.says),
            "props": props({"kind": kind, "holds": holding.holds, "statements": len(places)}),
            "methods": [EXAMINED],
            "types": ["control-objective"],
            "relevant-evidence": [_entry(seen, place) for place in places],
            "collected": format_time(when[places[-1]] if places else seen.evidence.last_at),
        }


def _entry(seen: Observed, place: int) -> Json:
    one = seen.evidence.statements[place]
    return {
        "href": f"#{seen.log}",
        "description": f"statement {place} of the log",
        "props": props({"statement": place, "sha256": one.sha256, "kind": one.predicate.KIND}),
    }


def _copies(seen: Observed) -> Iterator[Item]:
    facts = seen.evidence.facts
    for copy in seen.evidence.copies:
        verdict = copy.verdict.value if copy.verdict else "not judged yet"
        swept = copy.swept
        searched = {"bytes": swept.bytes, "hits": swept.hits, "residue": swept.residue} if swept else {}
        when = facts.sweep.swept_at if swept and facts.sweep else seen.evidence.last_at
        yield {
            "uuid": seen.of_copy(copy),
            "title": f"copy {marked(copy.copy.id)}: {verdict}",
            "description": marked(f"{verdict}: {copy.why}"),
            "props": props(
                {
                    "copy": copy.copy.id,
                    "verdict": verdict,
                    "why": copy.why,
                    "until": copy.until,
                    "searched": swept is not None,
                    "search-method": swept.method if swept else None,
                    **searched,
                }
            ),
            "methods": [TESTED if swept else EXAMINED],
            "types": ["finding"],
            "subjects": [{"subject-uuid": seen.item(copy), "type": "inventory-item"}],
            "collected": format_time(when),
        }


def _not_proven(seen: Observed) -> Iterator[Item]:
    for number, text in enumerate(seen.evidence.not_proven, start=1):
        yield {
            "uuid": seen.names.uuid("observation", "not proven", text),
            "title": f"not proven, {number}",
            "description": marked(text),
            "props": props({"not-proven": text}),
            "methods": [EXAMINED],
            "types": ["finding"],
            "collected": format_time(seen.evidence.last_at),
        }


def _findings(seen: Observed) -> Iterator[Item]:
    for one, (when, _) in zip(seen.evidence.statements, times(seen.evidence), strict=True):
        if isinstance(one.predicate, FindingPredicate):
            found = one.predicate
            yield {
                "uuid": seen.names.uuid("observation", "finding", str(one.index)),
                "title": f"stated on the way: {marked(found.kind)}",
                "description": marked(found.text),
                "props": props({"kind": found.kind, "where": found.where, "count": found.count, "text": found.text}),
                "methods": [EXAMINED],
                "types": ["finding"],
                "relevant-evidence": [_entry(seen, one.index)],
                "collected": format_time(when),
            }
