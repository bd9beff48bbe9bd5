"""What may be said of a copy, from what was done to it and what the search saw. Pure; never better than the truth.

Rules, the first that fits decides:

 0. it may not go before a day, so nothing was done      → `blocked-until` that day, whatever was found in it
 1. a hit                                                → `present`, also in another database of the server: the
    person's data lies there, whoever put it there. Only values that strangers may bear as well (names, addresses,
    texts), and only in other databases, whose rows nobody reads here → `unknown`: whose they are can't be told
 2. something holds the old bytes (named)                → `present`
 3. not treated though it had to be                      → `present`: nothing emptied it
 4. can't be seen from this server, or the role may not  → `unknown`
4a. all copies of its key were destroyed and looked for  → `key-destroyed`: nobody can open it, a search least of all
 5. the server says there is none, and nothing to search → `erased-verified`; if nothing was searched for anywhere, as 8
 6. not searched at all                                  → `erased-unverified` if treated, else `unknown`
 7. the search left gaps                                 → the same
 8. nothing was searched for though rows were erased     → the same
 9. a sample of the tokens, and no structural proof      → the same
10. gone by somebody else's hand                         → `erased-unverified`: where it went can't be seen
11. otherwise: treated or observed, searched in full, nothing found → `erased-verified`
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time

from domicile.proof import CopyVerdict, Verdict
from domicile.stores.postgres.copies import Copy, CopyKind, Looked, Outcome, Treatment, looked
from domicile.sweep.search import CopySearch, SearchResult

WHY_CHARS_MAX = 2_000
NO_TOKENS = "rows were erased, but no token was there to look for"
_TREATED = frozenset({Treatment.PROVEN, Treatment.DONE})
MUST_BE_TREATED = frozenset(
    {
        CopyKind.LIVE_ROWS, CopyKind.HEAP, CopyKind.TOAST, CopyKind.INDEX, CopyKind.MATERIALISED_VIEW,
        CopyKind.DERIVED_TABLE, CopyKind.STATISTICS, CopyKind.WAL, CopyKind.STATEMENT_TEXTS, CopyKind.LARGE_OBJECTS,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the search beside its hits: how many tokens, whether a sample, whether rows were erased.

    `databases` are the names of the server's databases by their number, as file paths have it.
    """

    tokens_searched: int
    sampled: bool
    rows_erased: bool
    databases: Mapping[int, str] = field(default_factory=dict)


def decide(copy: Copy, outcome: Outcome | None, search: CopySearch | None, question: Question) -> CopyVerdict:
    """Say what is known of one copy."""
    if outcome is not None and outcome.treatment is Treatment.BLOCKED and outcome.until is not None:  # 0
        until = datetime.combine(outcome.until, time(), UTC)
        why = spelled(_with_remedy(outcome))
        return CopyVerdict(copy=copy.id, verdict=Verdict.BLOCKED_UNTIL, why=why, until=until)
    verdict, why = _decide(copy, outcome, search, question)
    return CopyVerdict(copy=copy.id, verdict=verdict, why=spelled(why))


def spelled(text: str) -> str:
    """As a statement can hold it, printable and bounded: a file may have any name, also one of line ends or bytes.

    Whoever looks for that file finds it by what is left, and by the escapes of Python that stand for the rest.
    """
    printable = "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape", "surrogatepass").decode() for sign in text
    )
    return printable if len(printable) <= WHY_CHARS_MAX else f"{printable[: WHY_CHARS_MAX - 1]}…"


def _decide(copy: Copy, outcome: Outcome | None, search: CopySearch | None, question: Question) -> tuple[Verdict, str]:
    if search is not None and search.hits:  # 1
        if copy.kind is CopyKind.OTHER_DATABASES:
            return _elsewhere(search, question)
        return Verdict.PRESENT, _found(search, outcome)
    if outcome is None:  # 3
        if copy.kind in MUST_BE_TREATED:
            return Verdict.PRESENT, f"not treated ({copy.method})"
        return Verdict.UNKNOWN, "neither treated nor looked at"
    if outcome.treatment in {Treatment.HELD, Treatment.BLOCKED}:  # 2; a block without a day is none
        return Verdict.PRESENT, _with_remedy(outcome)
    if outcome.treatment in {Treatment.NOT_PERMITTED, Treatment.UNSEEN}:  # 4
        return Verdict.UNKNOWN, _with_remedy(outcome)
    if outcome.treatment is Treatment.KEY_DESTROYED:  # 4a
        return Verdict.KEY_DESTROYED, outcome.why
    if looked(copy.kind) is Looked.NEVER:  # 5
        return _by_word(outcome, question)
    doubt = _doubt(outcome, search, question)
    if doubt is None:  # 11
        return Verdict.ERASED_VERIFIED, f"{outcome.why}; searched in full, nothing found"
    treated = outcome.treatment in _TREATED | {Treatment.GONE}
    return (Verdict.ERASED_UNVERIFIED if treated else Verdict.UNKNOWN), f"{outcome.why}; {doubt}"


def _by_word(outcome: Outcome, question: Question) -> tuple[Verdict, str]:
    """Judge what can't be searched: it is there or not; and no certificate takes that word without any search."""
    if outcome.treatment is not Treatment.ABSENT:
        return Verdict.UNKNOWN, outcome.why
    if question.rows_erased and not question.tokens_searched:
        return Verdict.UNKNOWN, f"{outcome.why}; {NO_TOKENS}"
    return Verdict.ERASED_VERIFIED, outcome.why


def _doubt(outcome: Outcome, search: CopySearch | None, question: Question) -> str | None:
    """Name what keeps a clean search from proving anything; None when nothing does."""
    if search is None:  # 6
        return "not searched"
    if search.gaps:  # 7
        first = search.gaps[0]
        return f"the search couldn't see {len(search.gaps)} things, first {first.path}: {first.why}"
    if question.rows_erased and not question.tokens_searched:  # 8
        return NO_TOKENS
    if question.sampled and outcome.treatment is not Treatment.PROVEN:  # 9
        return "only a sample of the tokens was looked for"
    if outcome.treatment is Treatment.GONE:  # 10
        return "by somebody else's hand: whether it was moved can't be seen"
    return None


def _found(search: CopySearch, outcome: Outcome | None) -> str:
    classes = sorted({finding.token_class for finding in search.findings})
    held = f"; {outcome.why}" if outcome is not None and outcome.treatment is Treatment.HELD else ""
    first = search.findings[0].path if search.findings else "?"
    return f"{search.distinct} different tokens ({', '.join(classes)}) found, first in {first}{held}"


_DATABASE = re.compile(r"(?:base|pg_tblspc/\d+/[^/]+)/(\d+)/")


def _elsewhere(search: CopySearch, question: Question) -> tuple[Verdict, str]:
    """Judge what was found in other databases of the server, and say in which."""
    numbers = {int(match[1]) for item in search.findings if (match := _DATABASE.match(item.path))}
    names = ", ".join(sorted(question.databases.get(number, f"number {number}") for number in numbers)) or "unknown"
    classes = sorted({finding.token_class for finding in search.findings})
    told = f"{search.distinct} different tokens ({', '.join(classes)}) found in other databases here ({names})"
    if search.specific:
        return Verdict.PRESENT, (
            f"{told}: data of the same persons, whether a copy of ours or another application's own; "
            "to do: a run of its own there, or remove the copy"
        )
    return Verdict.UNKNOWN, (
        f"{told}: other people may bear these as well, and rows there aren't read; to do: look there whose they are"
    )


def _with_remedy(outcome: Outcome) -> str:
    return f"{outcome.why}; to do: {outcome.remedy}" if outcome.remedy else outcome.why


def decide_all(
    copies: Sequence[Copy], outcomes: Sequence[Outcome], result: SearchResult, *, rows_erased: bool
) -> tuple[CopyVerdict, ...]:
    """Give every copy its verdict. A search that touched a copy which nobody listed gets one, too."""
    done = {outcome.copy: outcome for outcome in outcomes}
    question = Question(
        tokens_searched=result.tokens.searched, sampled=result.tokens.sampled, rows_erased=rows_erased,
        databases=result.databases,
    )  # fmt: skip
    listed = [decide(copy, done.get(copy.id), result.of(copy.id), question) for copy in copies]
    names = {copy.id for copy in copies}
    return (*listed, *(_unlisted(search) for search in result.copies if search.copy not in names))


def _unlisted(search: CopySearch) -> CopyVerdict:
    verdict = Verdict.PRESENT if search.hits else Verdict.UNKNOWN
    return CopyVerdict(copy=search.copy, verdict=verdict, why="appeared since the inventory; run the sweep again")


def roll_up(verdicts: Sequence[CopyVerdict]) -> Verdict:
    """The worst verdict; `unknown` when there is none to judge from."""
    order = list(Verdict)
    return max((verdict.verdict for verdict in verdicts), key=order.index, default=Verdict.UNKNOWN)
