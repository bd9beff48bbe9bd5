"""Tables of a run as CSV (RFC 4180): copies, slices, statements, counts, cohorts, clauses, what is not proven.

Every file begins with a line of heads, ends each line with CRLF, and is UTF-8. A cell of text that a spreadsheet could
take for a formula gets an apostrophe before it, and so does one that begins with an apostrophe: take one away to have
the text of the log. Numbers are never negative, so they need none.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domicile.evidence.predicates import (
    CohortPredicate,
    Counts,
)
from domicile.evidence.told import slices_of, told_of_slices
from domicile.exports.evidence import Evidence, tell, times
from domicile.exports.holding import Holding, holdings
from domicile.exports.packs import ReadPack
from domicile.exports.spelled import plain
from domicile.exports.support import Support, reason_of, supports, unfinished

GUARD: Final = "'"
RISKY: Final = frozenset("=+-@＝＋－＠'")
"""What a formula begins with, in narrow and wide signs, and the guard itself (CWE-1236)."""
BREAKS: Final = frozenset("\t\r\n")
Cell = str | int | bool | datetime | None


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula; blanks before the sign do not hide it."""
    first = next((sign for sign in text if not sign.isspace() and sign != "\ufeff"), "")
    return GUARD + text if first in RISKY or text[:1] in BREAKS else text


def unguarded(text: str) -> str:
    """The text before `guarded`."""
    return text[1:] if text.startswith(GUARD) else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the tables are made from."""

    evidence: Evidence
    holdings: Mapping[str, Holding]
    packs: Sequence[ReadPack]
    supported: Sequence[Support]


def tables(evidence: Evidence, packs: Sequence[ReadPack]) -> Mapping[str, bytes]:
    """All tables by file name, the same bytes for the same log and packs."""
    found = holdings(evidence)
    subject = Subject(
        evidence=evidence, holdings=found, packs=packs,
        supported=supports(evidence, found, [one.pack for one in packs]),
    )  # fmt: skip
    return {f"{name}.csv": _csv(heads, rows(subject)) for name, (heads, rows) in _TABLES.items()}


def _csv(heads: Sequence[str], rows: Iterator[Sequence[Cell]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, dialect="excel", lineterminator="\r\n", strict=True)
    writer.writerow(heads)
    for row in rows:
        if len(row) != len(heads):
            raise RuntimeError("a row has other columns than its table")
        writer.writerow([_cell(value) for value in row])
    return out.getvalue().encode()


def _cell(value: Cell) -> str | int:
    return value if isinstance(value, int) and not isinstance(value, bool) else guarded(plain(value))


# -- the tables ----------------------------------------------------------------------------------------------------


def _run(subject: Subject) -> Iterator[Sequence[Cell]]:
    evidence, plan = subject.evidence, subject.evidence.facts.plan
    yield "programme", plan.programme
    yield "log origin", evidence.origin
    yield "log size", len(evidence.statements)
    yield "log root (hex)", evidence.root
    yield "plan SHA-256", plan.plan
    yield "engine", plan.engine
    yield "planned at", plan.made_at
    yield "deadline", plan.deadline.isoformat() if plan.deadline else None
    yield "last statement's time", evidence.last_at
    yield "finished", evidence.finished
    yield "verdict of the whole", evidence.facts.judgement.verdict.value
    yield "domicile-audit", evidence.audit.says if evidence.audit else "not asked"
    yield "certificate believed", evidence.believed if evidence.finished else None
    for _, text in unfinished(evidence):
        yield "against every finding", text
    for one in subject.packs:
        yield f"pack {one.pack.id} {one.pack.version} SHA-256", one.sha256


def _copies(subject: Subject) -> Iterator[Sequence[Cell]]:
    places = subject.evidence.facts.plan.locations
    for one in subject.evidence.copies:
        copy, swept, place = one.copy, one.swept, places.get(one.copy.location)
        yield (
            copy.id, copy.store, copy.location, place.country if place else None, place.operator if place else None,
            copy.kind, copy.dataset, copy.method, one.verdict.value if one.verdict else "not judged yet",
            one.satisfied, reason_of(one).value, one.why, one.until, swept is not None,
            swept.method if swept else None, swept.bytes if swept else None, swept.hits if swept else None,
            swept.residue if swept else None,
        )  # fmt: skip


def _slices(subject: Subject) -> Iterator[Sequence[Cell]]:
    predicates = [one.predicate for one in subject.evidence.statements]
    told = told_of_slices(predicates)
    for one in slices_of(predicates):
        moved, pair = told.moved.get(one.id), told.compared.get(one.id)
        back, gone = told.restored.get(one.id), told.erased.get(one.id)
        yield (
            one.id, one.dataset, one.home, one.rows, one.erase.delete, one.erase.blank,
            moved.rows if moved else None, moved.bytes if moved else None, moved.digest if moved else None,
            pair.rows if pair else None, pair.source if pair else None, pair.home if pair else None,
            pair.source == pair.home if pair else None, back.rows if back else None, back.digest if back else None,
            gone.deleted if gone else None, gone.blanked if gone else None, gone.digest if gone else None,
        )  # fmt: skip


def _statements(subject: Subject) -> Iterator[Sequence[Cell]]:
    for one, (when, own) in zip(subject.evidence.statements, times(subject.evidence), strict=True):
        yield one.index, one.predicate.KIND, one.sha256, when if own else None, tell(one.predicate)


def _counts(subject: Subject) -> Iterator[Sequence[Cell]]:
    """Those of the certificate if it is believed; else those that the statements come to, `kept` where it is known."""
    evidence = subject.evidence
    certificate = evidence.facts.certificate if evidence.believed else None
    if certificate is not None:
        for dataset, homes in certificate.counts.items():
            for home, counts in homes.items():
                yield dataset, home, *_numbers(counts), True
        return
    for (dataset, home), rows in evidence.facts.rows.items():
        yield dataset, home, rows.moved, rows.deleted, rows.blanked, rows.kept, False


def _numbers(counts: Counts) -> tuple[int, int, int, int]:
    return counts.moved, counts.deleted, counts.blanked, counts.kept


def _cohorts(subject: Subject) -> Iterator[Sequence[Cell]]:
    for one in subject.evidence.statements:
        if isinstance(one.predicate, CohortPredicate):
            said = one.predicate
            for home, people in said.subjects.items():
                yield (
                    one.index, said.number, said.way.value, home, people, said.fenced_at, said.wait_ms, said.awaited_ms,
                    said.rows,
                )  # fmt: skip


def _kinds(subject: Subject) -> Iterator[Sequence[Cell]]:
    for one in subject.holdings.values():
        yield one.kind, one.holds, one.says, " ".join(map(str, one.statements))


def _clauses(subject: Subject) -> Iterator[Sequence[Cell]]:
    for one in subject.supported:
        clause, by = one.clause, one.clause.supported_by
        yield (
            one.pack.id, one.pack.version, clause.id, clause.reference, clause.says, one.state.value, one.reason.value,
            "; ".join(one.because), ", ".join(by.statements), ", ".join(by.verdicts), ", ".join(map(str, by.checks)),
            "; ".join(clause.not_shown),
        )  # fmt: skip
    for pack in (one.pack for one in subject.packs):
        for left in pack.not_covered:
            yield pack.id, pack.version, None, left.reference, None, "not covered", None, left.why, *[None] * 4


def _not_proven(subject: Subject) -> Iterator[Sequence[Cell]]:
    yield from ((text,) for text in subject.evidence.not_proven)


_Table = tuple[tuple[str, ...], Callable[[Subject], Iterator[Sequence[Cell]]]]
_TABLES: Final[Mapping[str, _Table]] = {
    "run": (("what", "value"), _run),
    "copies": (
        (
            "copy", "store", "location", "country", "operator", "kind", "dataset", "method", "verdict", "satisfied",
            "reason", "why", "until", "searched", "search_method", "bytes", "hits", "residue",
        ),
        _copies,
    ),
    "slices": (
        (
            "slice", "dataset", "home", "planned_rows", "to_delete", "to_blank", "copied_rows", "copied_bytes",
            "copied_digest", "compared_rows", "source_digest", "home_digest", "equal", "restored_rows",
            "restored_digest", "deleted", "blanked", "erased_digest",
        ),
        _slices,
    ),
    "statements": (("statement", "kind", "sha256", "time", "says"), _statements),
    "kinds": (("kind", "holds", "says", "statements"), _kinds),
    "counts": (("dataset", "home", "moved", "deleted", "blanked", "kept", "certified"), _counts),
    "cohorts": (
        ("statement", "cohort", "way", "home", "people", "fenced_at", "wait_ms", "awaited_ms", "rows"), _cohorts
    ),
    "clauses": (
        (
            "pack", "pack_version", "clause", "reference", "says", "state", "reason", "because", "statements",
            "verdicts", "audit_checks", "not_shown",
        ),
        _clauses,
    ),
    "not-proven": (("not_proven",), _not_proven),
}  # fmt: skip
