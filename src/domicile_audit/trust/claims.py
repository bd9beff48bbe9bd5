"""The answer claim by claim: each promise accepted, not shown or refused, why, and how far a spot check bounds it.

*accepted*: the checks and the policy bear it out, as far as signers can be believed. *not shown*: nothing here speaks
against it, and nothing shows it. *refused*: the log, the policy or a spot check speaks against it; then all is refused.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from domicile_audit.case import Case, Part
from domicile_audit.checklist import judge
from domicile_audit.report import BEST, Claim, Report
from domicile_audit.spot.sample import Bound, Sample, compared, kept_objects
from domicile_audit.trust.asking import Asked, Misasked
from domicile_audit.trust.demands import ANY_COPY

ACCEPTED, NOT_SHOWN, REFUSED = "accepted", "not shown", "refused"
LINE_SIGNS: Final = 160
CLOCKS_APART: Final = timedelta(minutes=5)
UNSIGNED: Final = "nobody signed that report: whoever handed it over vouches for it"
PROMISES: Final = {
    "P1": "nothing is lost: what was erased had an equal copy at home before",
    "P2": "nothing was erased early: approved by enough people, and home was restored from a backup",
    "P3": "nothing is left in the copies that the plan lists",
    "P4": "nothing but what the plan names was touched",
    "P5": "a crash loses and doubles nothing",
    "P6": "the service went on",
    "P7": "no erasure that was not announced before",
    "P8": "the evidence holds no personal data",
    "P9": "the log is whole, unaltered, and by keys you trust",
    "P10": "it is still so",
    "P11": "the certificate says no better than the log",
}


def examine(data: bytes, asked: Asked) -> Report:
    """Check a bundle, and answer claim by claim; Misasked where the spot check is of another log."""
    case = Case(data=data, policy=asked.policy)
    report = judge(case)
    if report.accepted and asked.sample:
        try:
            asked.sample.refuse_other(case)
        except ValueError as error:
            raise Misasked(str(error)) from error
    return with_claims(report, case, asked)


def with_claims(report: Report, case: Case, asked: Asked) -> Report:
    """The report with its claims; refused, too, where one of them is."""
    if not report.accepted:
        return replace(report, claims=tuple(_unanswered(report)))
    claims = (*_promises(case, asked), *_demanded(case, asked))
    against = [claim for claim in claims if claim.result == REFUSED]
    if not against:
        return replace(report, claims=claims)
    return replace(report, accepted=False, claims=claims, reason=f"{against[0].name}: {against[0].why}")


def say_claims(report: Report) -> list[str]:
    """The claims as lines of a page: each with its result, why, and how far a spot check bounds it."""
    lines = ["", "claims, as far as the signers told the truth:"] if report.claims else []
    for claim in report.claims:
        lines.append(f"  {claim.result:9}  {claim.name:3}  {claim.words}")
        lines += [f"{'':16}{line}" for line in textwrap.wrap(claim.why, LINE_SIGNS - 16)]
        lines += [f"{'':16}spot check: {claim.bound}"] if claim.bound else []
    return lines


def _unanswered(report: Report) -> Iterator[Claim]:
    """Of a bundle that is refused nothing is shown; refused is what the failed check serves."""
    failed = report.checks[-1]
    served = failed.clause.split(", ") if failed.clause.startswith("P") else ["P9"]
    for name, words in PROMISES.items():
        result = REFUSED if name in served else NOT_SHOWN
        yield Claim(name, words, result, f"check {failed.number}: {report.reason}")


def _promises(case: Case, asked: Asked) -> Iterator[Claim]:
    judged = {
        "P1": _no_loss(case, asked), "P2": _no_early_erase(case, asked), "P3": _nothing_left(case, asked),
        "P4": (ACCEPTED, "that the plan lists all there is, no check can know"),
        "P5": (NOT_SHOWN, "no statement can show it"),
        "P6": (NOT_SHOWN, "waits are measured by the engine's own clock"),
        "P7": _announced(case),
        "P8": (NOT_SHOWN, "digests are keyed and texts bounded; whether a text names a person no check can know"),
        "P9": _one_log(case, asked),
        "P10": still_so(case.statements[-1]["issued_at"], asked, case.cosigned),
        "P11": (ACCEPTED, "its verdicts and counts are those of the statements"),
    }  # fmt: skip
    bounds = _bounds(case, asked.sample)
    for name, words in PROMISES.items():
        result, why = judged[name]
        bound = "; ".join((*map(str, bounds[name]), UNSIGNED)) if bounds.get(name) else None
        yield Claim(name, words, result, why, bound)


def _bounds(case: Case, sample: Sample | None) -> dict[str, tuple[Bound, ...]]:
    """What a spot check says of the homes bounds P1, what it says of the source bounds P3."""
    return {} if sample is None else {"P1": sample.at_home(case), "P3": sample.at_source(case)}


def _wrong(case: Case, asked: Asked, name: str) -> str:
    """How much a spot check found wrong, in words; empty where nothing."""
    found = [f"{bound.wrong} {bound.unit}" for bound in _bounds(case, asked.sample).get(name, ()) if bound.wrong]
    return " and ".join(found)


def _no_loss(case: Case, asked: Asked) -> tuple[str, str]:
    wrong = _wrong(case, asked, "P1")
    if wrong:
        return REFUSED, f"a spot check found {wrong} at home that are not what was stated equal"
    if not case.of("clearance/v1"):
        return NOT_SHOWN, "nothing was cleared, so nothing had to be equal yet"
    rows = sum(one.rows for one in compared(case).values())
    return ACCEPTED, f"{rows} rows in {len(compared(case))} slices were stated equal under a fence"


def _no_early_erase(case: Case, asked: Asked) -> tuple[str, str]:
    if not case.of("erasure/v1"):
        return NOT_SHOWN, "nothing was erased"
    if asked.policy is None:
        return NOT_SHOWN, "the approvers' keys were taken from the bundle itself (give --trust POLICY)"
    return ACCEPTED, f"{asked.policy.threshold} approvals by keys of your policy stand before each clearance"


def _nothing_left(case: Case, asked: Asked) -> tuple[str, str]:
    wrong = _wrong(case, asked, "P3")
    if wrong:
        return REFUSED, f"a spot check found {wrong} at the source that are not as the log says"
    kinds = {copy["id"]: copy["kind"] for copy in case.plan["copies"]}
    return left_outside(case.statements[-1].predicate["copies"], kinds, asked)


def left_outside(copies: Sequence[Part], kinds: Mapping[str, str], asked: Asked) -> tuple[str, str]:
    """What the policy says of copies with these verdicts; `kinds` are those of the plan, by a copy's id."""
    tolerated = asked.demands.tolerated
    open_ones = [
        (f"{copy['id']} is {copy['verdict']}", {(copy["verdict"], kind) for kind in (kinds.get(copy["id"]), ANY_COPY)})
        for copy in copies if copy["verdict"] != BEST
    ]  # fmt: skip
    refused = [text for text, forms in open_ones if tolerated is not None and not forms & tolerated]
    if refused:
        return REFUSED, f"your policy does not tolerate that {_some(refused)}"
    if open_ones and tolerated is None:
        return NOT_SHOWN, _some([text for text, _ in open_ones])
    also = f", but for what your policy tolerates: {_some([text for text, _ in open_ones])}" if open_ones else ""
    return ACCEPTED, f"{len(copies) - len(open_ones)} copies were searched after the last erasure{also}"


def _announced(case: Case) -> tuple[str, str]:
    if not case.of("erasure/v1"):
        return NOT_SHOWN, "nothing was erased"
    return ACCEPTED, "each outcome in the log has its intent before it"


def _one_log(case: Case, asked: Asked) -> tuple[str, str]:
    why = asked.policy.quorum.split if asked.policy else "the keys were taken from the bundle (give --trust POLICY)"
    return (NOT_SHOWN, why) if why else (ACCEPTED, f"{case.size} statements under root {case.root.hex()[:16]}…")


def still_so(issued_at: str, asked: Asked, cosigned: Mapping[str, int]) -> tuple[str, str]:
    """Whether a certificate of that time is as young as the policy wants, and not dated after it was cosigned."""
    stated = datetime.fromisoformat(issued_at)
    days = asked.demands.fresh_days
    when = f"the certificate is of {stated:%Y-%m-%d %H:%M} UTC by the engine's clock"
    if days is None:
        return NOT_SHOWN, f"{when}; your policy doesn't say how old it may be"
    if stated - asked.at > CLOCKS_APART:
        return REFUSED, f"{when}, which is after {asked.at:%Y-%m-%d %H:%M} UTC"
    if asked.at - stated > timedelta(days=days):
        return REFUSED, f"{when}, older than {days} days at {asked.at:%Y-%m-%d %H:%M} UTC"
    late = [name for name, time in cosigned.items() if stated.timestamp() - time > CLOCKS_APART.total_seconds()]
    if late:
        return REFUSED, f"{when}, dated after it was cosigned by {_some(late)}"
    return ACCEPTED, f"{when}, at most {days} days old, and nothing was stated after it"


def _demanded(case: Case, asked: Asked) -> Iterator[Claim]:
    """What the policy requires beyond the promises, line by line."""
    for kind, least in asked.demands.required.items():
        found = len({one.sha256 for one in case.of(kind)})  # one that stands there twice is one
        yield Claim(
            f"require {kind} {least}", "your policy's own line", ACCEPTED if found >= least else REFUSED,
            f"{found} in the log",
        )  # fmt: skip
    percent = asked.demands.sampled_percent
    if percent is not None:
        result, why = _sampled(case, asked, percent)
        yield Claim(f"sampled {percent}", "your policy's own line", result, why)
    seed = asked.demands.seed
    if seed is not None:
        other = _other_seed(asked)
        result = REFUSED if other else ACCEPTED if asked.sample else NOT_SHOWN
        why = other or ("the spot check is drawn by it" if asked.sample else "no spot check was given (--spot REPORT)")
        yield Claim(f"seed {seed}", "your policy's own line", result, why)


def _other_seed(asked: Asked) -> str:
    """What is wrong with the seed of the spot check: it is not the one that was agreed on. Empty where nothing is."""
    if asked.sample is None or asked.demands.seed in (None, asked.sample.seed):
        return ""
    return f"the spot check is drawn by another seed than {asked.demands.seed!r}, by {asked.sample.seed!r}"


def _sampled(case: Case, asked: Asked, percent: int) -> tuple[str, str]:
    sample = asked.sample
    if sample is None:
        return REFUSED, "no spot check was given (--spot REPORT)"
    if _other_seed(asked):
        return REFUSED, _other_seed(asked)
    if kept_objects(case) and not sample.objects:
        return REFUSED, "the spot check did not look at objects"
    at_home, at_source = sample.at_home(case), sample.at_source(case)
    if not at_source or len(at_source) < len(at_home):
        return REFUSED, "the spot check did not look at the source"
    widest = max(bound.percent for bound in (*at_home, *at_source))
    return (ACCEPTED if widest <= percent else REFUSED), f"the spot check leaves {widest:.1f} % open; {UNSIGNED}"


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return ", ".join(texts[:3]) + more
