"""When requests are due: a Poisson process, decided beforehand, whatever the service does (open loop).

A closed loop (send, wait, send) slows down with the service, and its percentiles leave out those who would have
waited meanwhile (Gil Tene's "coordinated omission"). Here a late request's time counts from when it was due.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def due_times(chance: Random, *, rate: float, seconds: float) -> Iterator[float]:
    """Yield the moments, in seconds from the start, of about `rate` requests a second for `seconds`."""
    if rate <= 0:
        raise ValueError(f"{rate} requests a second")
    moment = chance.expovariate(rate)
    while moment < seconds:
        yield moment
        moment += chance.expovariate(rate)
