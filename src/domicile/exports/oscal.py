"""OSCAL assessment results of a run (NIST, JSON, version 1.2.3): findings with a target status.

Each finding has a target of its own: the run's verdict, one for each copy, one for each clause of the packs. So a tool
that keeps one status for a target keeps no other copy's. The objectives are ours and defined here: "the log supports
this clause", not the clause itself, since no statement can say that a law is complied with (P11).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from domicile.evidence.codec import Json, format_time
from domicile.exports.evidence import CopyStanding, Evidence, tell, times
from domicile.exports.holding import holdings
from domicile.exports.observed import Observed, observations
from domicile.exports.packs import ReadPack
from domicile.exports.spelled import VERSION, Item, Names, marked, plain, props, without_empty
from domicile.exports.support import Reason, State, Support, reason_of, supports, unfinished, worst

CONTROL = "domicile_p3"
"""P3, nothing left: what the findings about copies and about the whole are of."""
WHOLE = "domicile_p3.verdict"
CAUTION = (
    "Satisfied says that the statements named hold in the log, were made by the holder of the log's key, and that the "
    "certificate follows from them. It does not say that a law is complied with. What is not proven stands among the "
    "observations. Check the bundle with domicile-audit, against keys that you got elsewhere."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    seen: Observed
    packs: Sequence[ReadPack]
    supported: Sequence[Support]
    targets: Mapping[str, str]
    """The target of each copy, by its id."""

    @property
    def evidence(self) -> Evidence:
        return self.seen.evidence


def assessment_results(evidence: Evidence, packs: Sequence[ReadPack]) -> bytes:
    """The document's bytes: the same for the same log and packs."""
    seen = Observed(evidence=evidence, holdings=holdings(evidence), names=Names(evidence.root))
    supported = supports(evidence, seen.holdings, [one.pack for one in packs])
    targets = {one.copy.id: f"{CONTROL}.copy-{number:04}" for number, one in enumerate(evidence.copies, start=1)}
    case = _Case(seen=seen, packs=packs, supported=supported, targets=targets)
    document: Json = {
        "assessment-results": {
            "uuid": seen.names.uuid("assessment-results", *(one.sha256 for one in packs)),
            "metadata": _metadata(case),
            "import-ap": {
                "href": f"#{seen.names.uuid('resource', 'plan')}",
                "remarks": "The plan of the run, by digest. It is a file of Domicile, no OSCAL assessment plan.",
            },
            "local-definitions": {"objectives-and-methods": list(_objectives(case))},
            "results": [_result(case)],
            "back-matter": {"resources": list(_resources(case))},
        }
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _metadata(case: _Case) -> Item:
    evidence, plan = case.evidence, case.evidence.facts.plan
    return {
        "title": _title(case),
        "last-modified": format_time(evidence.last_at),
        "version": f"{len(evidence.statements)}-{evidence.root[:16]}",
        "oscal-version": VERSION,
        "props": props(
            {
                "log-origin": evidence.origin,
                "log-size": len(evidence.statements),
                "log-root": evidence.root,
                "plan-sha256": plan.plan,
                "engine": plan.engine,
                "finished": evidence.finished,
                "domicile-audit": evidence.audit.says if evidence.audit else "not asked",
                "certificate-believed": evidence.believed if evidence.finished else None,
                "verdict": evidence.facts.judgement.verdict.value,
            }
        ),
        "remarks": CAUTION,
    }


def _title(case: _Case) -> str:
    mark = "" if case.evidence.finished else "UNFINISHED: "
    return f"{mark}Domicile, evidence of {marked(case.evidence.facts.plan.programme)}"


def _result(case: _Case) -> Item:
    seen, evidence = case.seen, case.evidence
    items: list[Json] = [_inventory_item(seen, copy) for copy in evidence.copies]
    return without_empty(
        {
            "uuid": seen.names.uuid("result"),
            "title": _title(case),
            "description": _describe(case),
            "start": format_time(evidence.facts.plan.made_at),
            "end": format_time(evidence.last_at) if evidence.finished else None,
            "props": props({"verdict": evidence.facts.judgement.verdict.value, "finished": evidence.finished}),
            "local-definitions": {"inventory-items": items} if items else None,
            "reviewed-controls": _reviewed(case),
            "assessment-log": {"entries": list(_entries(case))},
            "observations": observations(seen),
            "findings": [without_empty(one) for one in _findings(case)],
            "remarks": CAUTION,
        }
    )


def _describe(case: _Case) -> str:
    evidence = case.evidence
    verdict = evidence.facts.judgement.verdict.value
    short = sum(1 for copy in evidence.copies if not copy.satisfied)
    against = "".join(f" {text}." for _, text in unfinished(evidence))
    return marked(
        f"Verdict of the whole: {verdict}. {short} of {len(evidence.copies)} listed copies outside home are not "
        f"shown to be erased.{against}"
    )


def _inventory_item(seen: Observed, copy: CopyStanding) -> Item:
    planned = copy.copy
    place = seen.evidence.facts.plan.locations.get(planned.location)
    return {
        "uuid": seen.item(copy),
        "description": marked(f"copy {planned.id}: {planned.kind} of store {planned.store} at {planned.location}"),
        "props": props(
            {
                "copy": planned.id,
                "store": planned.store,
                "kind": planned.kind,
                "dataset": planned.dataset,
                "location": planned.location,
                "country": place.country if place else None,
                "operator": place.operator if place else None,
                "method": planned.method,
            }
        ),
    }


# -- objectives: what a finding's target is ------------------------------------------------------------------------


def _objectives(case: _Case) -> Iterator[Item]:
    copies = [(target, f"copy {copy} is erased, and a search finds nothing") for copy, target in case.targets.items()]
    whole = (WHOLE, "every listed copy outside home is erased, and a search finds nothing")
    yield {
        "control-id": CONTROL,
        "description": "Nothing is left outside home (promise P3 of Domicile).",
        "parts": [_part(name, text) for name, text in (whole, *copies)],
    }
    for one in case.supported:
        yield {
            "control-id": one.name,
            "description": marked(f"{one.pack.title}, {one.clause.reference}: {one.clause.says}"),
            "parts": [_part(f"{one.name}.support", f"the log supports {one.clause.reference} of {one.pack.title}")],
        }


def _part(name: str, text: str) -> Json:
    return {"id": name, "name": "assessment-objective", "prose": marked(text)}


def _reviewed(case: _Case) -> Item:
    controls: list[Json] = [{"control-id": name} for name in (CONTROL, *(one.name for one in case.supported))]
    named = (WHOLE, *case.targets.values(), *(f"{one.name}.support" for one in case.supported))
    objectives: list[Json] = [{"objective-id": name} for name in named]
    return {
        "control-selections": [{"include-controls": controls}],
        "control-objective-selections": [{"include-objectives": objectives}],
    }


# -- findings ------------------------------------------------------------------------------------------------------


def _findings(case: _Case) -> Iterator[Item]:
    yield _whole(case)
    yield from (_of_copy(case, copy) for copy in case.evidence.copies)
    yield from (_of_clause(case, one) for one in case.supported)


def _whole(case: _Case) -> Item:
    evidence, seen = case.evidence, case.seen
    verdict = evidence.facts.judgement.verdict.value
    reasons = [*(reason for reason, _ in unfinished(evidence)), *(reason_of(copy) for copy in evidence.copies)]
    reason = worst(reasons)
    if reason is Reason.HOLDS and not evidence.satisfied:
        reason = Reason.OTHER
    short = [copy for copy in evidence.copies if not copy.satisfied]
    return {
        "uuid": seen.names.uuid("finding", "whole"),
        "title": f"The whole: {verdict}",
        "description": _describe(case),
        "target": _status(WHOLE, reason),
        "related-observations": _related([seen.of_kind("certificate/v1"), *(seen.of_copy(copy) for copy in short)]),
    }


def _of_copy(case: _Case, copy: CopyStanding) -> Item:
    verdict = copy.verdict.value if copy.verdict else "not judged yet"
    against = "".join(f"; {text}" for _, text in unfinished(case.evidence))
    until = f" until {plain(copy.until)}" if copy.until else ""
    return {
        "uuid": case.seen.names.uuid("finding", "copy", copy.copy.id),
        "title": f"Copy {marked(copy.copy.id)}: {verdict}",
        "description": marked(f"{verdict}{until}: {copy.why}{against}"),
        "props": props({"copy": copy.copy.id, "verdict": verdict, "until": copy.until}),
        "target": _status(case.targets[copy.copy.id], reason_of(copy)),
        "related-observations": _related([case.seen.of_copy(copy)]),
    }


def _of_clause(case: _Case, one: Support) -> Item:
    clause = one.clause
    verb = "supported" if one.state is State.SATISFIED else "not supported"
    because = "; ".join(one.because) or "the statements named hold"
    verdict = case.evidence.facts.judgement.verdict.value
    return {
        "uuid": case.seen.names.uuid("finding", "clause", one.name),
        "title": marked(f"{one.pack.title}, {clause.reference}: {verb}"),
        "description": marked(f"{clause.says} Here: {because}. The whole: {verdict}."),
        "props": props(
            {
                "pack": one.pack.id,
                "clause": clause.id,
                "reference": clause.reference,
                "statements": ", ".join(clause.supported_by.statements),
                "verdicts": ", ".join(clause.supported_by.verdicts),
                "audit-checks": ", ".join(map(str, clause.supported_by.checks)),
            }
        ),
        "target": _status(f"{one.name}.support", one.reason),
        "related-observations": _related([case.seen.of_kind(kind) for kind in one.kinds]),
        "remarks": marked(f"Supports, never complies. Not shown: {'; '.join(clause.not_shown)}."),
    }


def _status(target: str, reason: Reason) -> Item:
    state = State.SATISFIED if reason is Reason.HOLDS else State.NOT_SATISFIED
    return {
        "type": "objective-id",
        "target-id": target,
        "status": {"state": state.value, "reason": reason.value},
    }


def _related(uuids: Sequence[str]) -> list[Json]:
    return [{"observation-uuid": uuid} for uuid in uuids]


# -- the log and what else the document stands on ------------------------------------------------------------------


def _entries(case: _Case) -> Iterator[Item]:
    for one, (when, own) in zip(case.evidence.statements, times(case.evidence), strict=True):
        kind = one.predicate.KIND
        yield without_empty(
            {
                "uuid": case.seen.names.uuid("entry", str(one.index)),
                "title": f"statement {one.index}: {marked(kind)}",
                "description": marked(tell(one.predicate)),
                "start": format_time(when),
                "props": props(
                    {"statement": one.index, "kind": kind, "sha256": one.sha256, "time-of-its-own": own}
                ),
                "remarks": None if own else "Only its order is known: the time is the last that was stated before it.",
            }
        )  # fmt: skip


def _resources(case: _Case) -> Iterator[Item]:
    evidence, names = case.evidence, case.seen.names
    yield {
        "uuid": names.uuid("resource", "plan"),
        "title": "plan.json",
        "description": "The plan file of the run, as it was approved. It lies in the bundle.",
        "rlinks": [_rlink("plan.json", evidence.facts.plan.plan)],
    }
    yield {
        "uuid": case.seen.log,
        "title": f"the log {marked(evidence.origin)}",
        "description": "Its signed head. The entries lie in the bundle; domicile-audit checks them.",
        "props": props({"size": len(evidence.statements), "root": evidence.root}),
        "base64": {
            "filename": "checkpoint",
            "media-type": "text/plain",
            "value": base64.b64encode(evidence.checkpoint).decode(),
        },
    }
    for one in case.packs:
        yield _pack_resource(one, names)


def _pack_resource(one: ReadPack, names: Names) -> Item:
    pack = one.pack
    left = "".join(f" {item.reference}: {item.why}." for item in pack.not_covered)
    return without_empty(
        {
            "uuid": names.uuid("resource", "pack", one.sha256),
            "title": marked(pack.title),
            "description": marked(f"{pack.text}, read on {pack.read}."),
            "props": props(
                {"pack": pack.id, "pack-version": pack.version, "pack-sha256": one.sha256, "read": pack.read}
            ),
            "citation": {"text": marked(pack.text)},
            "rlinks": [{"href": pack.source}],
            "remarks": marked(f"Not covered by any statement.{left}") if left else None,
        }
    )  # fmt: skip


def _rlink(href: str, sha256: str) -> Json:
    return {"href": href, "hashes": [{"algorithm": "SHA-256", "value": sha256}]}
