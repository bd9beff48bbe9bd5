"""What of the policy's public part is seen everywhere, and how it crosses: decided from the file, never by hand.

`decide` makes a `Publishing` from scope, file and what each location's server says of itself; `judge` holds what the
servers do against it. Both are pure (ADR 0023); `stores/postgres/publishing` has the effects.
"""

from domicile.publish.deciding import KEPT, OPEN, decide
from domicile.publish.judging import MISSED, judge
from domicile.publish.values import (
    Arrivals,
    Checked,
    Crossing,
    Observed,
    ObservedPublication,
    ObservedSlot,
    ObservedSubscription,
    ObservedTable,
    Published,
    Publishing,
    Remark,
    Sight,
    SightedColumn,
    SightedTable,
)

__all__ = [
    "KEPT",
    "MISSED",
    "OPEN",
    "Arrivals",
    "Checked",
    "Crossing",
    "Observed",
    "ObservedPublication",
    "ObservedSlot",
    "ObservedSubscription",
    "ObservedTable",
    "Published",
    "Publishing",
    "Remark",
    "Sight",
    "SightedColumn",
    "SightedTable",
    "decide",
    "judge",
]
