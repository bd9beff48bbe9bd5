"""What a policy asks of one paper beyond keys, line by line: of a person's receipt, or of a plain proof.

Lines about the whole log can't be answered by a file that holds a leaf of it. Such a line is *not checked*, and then
the paper is not accepted: a policy that asks for more than a checker knows must not be weakened. `seed` asks for
nothing where no spot check is taken.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from domicile_audit.report import Claim
from domicile_audit.trust.asking import Asked
from domicile_audit.trust.claims import REFUSED, left_outside, still_so
from domicile_audit.trust.demands import ANY_COPY, Demands

NOT_CHECKED: Final = "not checked"
OWN_LINE: Final = "your policy's own line"
WHOLE_LOG: Final = "it is about the whole log: ask it of the bundle, `domicile-audit BUNDLE --trust POLICY"


def of_receipt(certificate: Mapping[str, Any], asked: Asked, cosigned: Mapping[str, int]) -> Sequence[Claim]:
    """Each line, held against the receipt's certificate, and the times at which witnesses cosigned the head over it."""
    lines = list(_about_the_log(asked.demands))
    if asked.demands.fresh_days is not None:
        lines.append(Claim(_fresh(asked.demands), OWN_LINE, *still_so(certificate["issued_at"], asked, cosigned)))
    if asked.demands.tolerated is not None:
        lines.append(Claim(_tolerate(asked.demands), OWN_LINE, *_left(certificate["copies"], asked)))
    return lines


def of_proof(demands: Demands) -> Sequence[Claim]:
    """Each line; a plain proof holds no certificate, so none of them can be answered."""
    why = f"a proof holds no certificate; {WHOLE_LOG}`"
    lines = list(_about_the_log(demands))
    if demands.fresh_days is not None:
        lines.append(Claim(_fresh(demands), OWN_LINE, NOT_CHECKED, why))
    if demands.tolerated is not None:
        lines.append(Claim(_tolerate(demands), OWN_LINE, NOT_CHECKED, why))
    return lines


def against(lines: Sequence[Claim]) -> Claim | None:
    """The line for which the paper is not accepted: one that is refused, else one that is not checked, else none."""
    return next((one for result in (REFUSED, NOT_CHECKED) for one in lines if one.result == result), None)


def say_against(line: Claim) -> str:
    """The headline of a paper that is not accepted for that line."""
    if line.result == REFUSED:
        return f"REFUSED by what you asked: `{line.name}`: {line.why}."
    return (
        f"NOT CHECKED, and so not accepted: your policy asks for `{line.name}`, and {line.why}. For this file alone "
        "take a policy without that line."
    )


def _about_the_log(demands: Demands) -> Iterator[Claim]:
    for kind, least in demands.required.items():
        yield Claim(f"require {kind} {least}", OWN_LINE, NOT_CHECKED, f"{WHOLE_LOG}`")
    if demands.sampled_percent is not None:
        yield Claim(f"sampled {demands.sampled_percent}", OWN_LINE, NOT_CHECKED, f"{WHOLE_LOG} --spot REPORT`")


def _left(copies: Sequence[Mapping[str, Any]], asked: Asked) -> tuple[str, str]:
    """As of a bundle; of which kind a copy is stands in the plan, so that a line with a kind may not be answered."""
    tolerated = asked.demands.tolerated or frozenset()
    by_kind = {verdict for verdict, kind in tolerated if kind != ANY_COPY and (verdict, ANY_COPY) not in tolerated}
    unsure = [copy for copy in copies if copy["verdict"] in by_kind]
    result, why = left_outside([copy for copy in copies if copy not in unsure], {}, asked)
    if result == REFUSED or not unsure:
        return result, why
    what = f"a receipt doesn't say of which kind {unsure[0]['id']} is, which is {unsure[0]['verdict']}"
    return NOT_CHECKED, f"{what}; the plan does: ask it of the bundle, `domicile-audit BUNDLE --trust POLICY`"


def _fresh(demands: Demands) -> str:
    return f"fresh {demands.fresh_days}"


def _tolerate(demands: Demands) -> str:
    return f"tolerate {', '.join(sorted(' '.join(one).strip() for one in demands.tolerated or ()))}"
