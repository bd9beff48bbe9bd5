"""Whose an object is and what becomes of it, decided from all rules that are about it. Pure.

1. no rule is about it                        → the rule for the rest says `none`, or it is unruled: the plan refuses
2. rules about it say different dispositions  → contradicted: the plan refuses
3. `none`                                     → it stays, nobody's
4. `public`                                   → it stays, and is copied to every home
5. `move`, and it leads to nobody             → ownerless: the plan refuses, or it stays where the rule says so
6. `move`, and nobody who has it moves        → it stays
7. `move`, somebody who moves has it, nobody who stays, and a key or label of it leads to nobody
                                              → ownerless as in 5; where the rule says so, it goes home and stays
8. `move`                                     → it goes to the home of each who has it, and leaves the source unless
   somebody who stays has it as well
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from domicile.config.belongings import ObjectRule, rest_of
from domicile.model import Home
from domicile.objects.claims import Claim


class Belongs(StrEnum):
    """What becomes of an object; the last three are for a person to decide."""

    MOVES = "moves"
    PUBLIC = "public"
    STAYS = "stays"
    UNRULED = "unruled"
    CONTRADICTED = "contradicted"
    OWNERLESS = "ownerless"


UNDECIDED = (Belongs.UNRULED, Belongs.CONTRADICTED, Belongs.OWNERLESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of one object; `homes` in the programme's order. `orphan`: it goes, and stays as it names nobody.

    `nobodys`: no rule that tells of people is about it, or it leads to nobody.
    """

    belongs: Belongs
    homes: tuple[Home, ...] = ()
    leaves: bool = False
    orphan: bool = False
    nobodys: bool = False


def decide(
    rules: Sequence[ObjectRule], claims: Sequence[Claim], told: Mapping[int, Claim | None], homes: Sequence[Home]
) -> Decision:
    """Decide by the claims of rows and by what the key tells, by the rule's number: None where it leads to nobody."""
    about = {claim.rule for claim in claims} | told.keys()
    if not about:  # 1
        return Decision(belongs=Belongs.STAYS if rest_of(rules) else Belongs.UNRULED, nobodys=True)
    dispositions = {rules[number].disposition for number in about}
    if len(dispositions) > 1:  # 2
        return Decision(belongs=Belongs.CONTRADICTED)
    if dispositions == {"none"}:  # 3
        return Decision(belongs=Belongs.STAYS)
    if dispositions == {"public"}:  # 4
        return Decision(belongs=Belongs.PUBLIC, homes=tuple(homes))
    known = [*claims, *(claim for claim in told.values() if claim is not None)]
    ownerless = [number for number, claim in told.items() if claim is None or claim.nobody]
    stay = all(rules[number].ownerless == "stay" for number in ownerless)
    if not known:  # 5
        return Decision(belongs=Belongs.STAYS if stay else Belongs.OWNERLESS, nobodys=True)
    going = tuple(home for home in homes if any(home in claim.homes for claim in known))
    if not going:  # 6
        return Decision(belongs=Belongs.STAYS)
    shared = any(claim.stays for claim in known)
    if ownerless and not shared:  # 7
        return (
            Decision(belongs=Belongs.MOVES, homes=going, orphan=True) if stay else Decision(belongs=Belongs.OWNERLESS)
        )
    return Decision(belongs=Belongs.MOVES, homes=going, leaves=not shared)  # 8
