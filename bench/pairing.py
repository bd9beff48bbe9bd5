"""Paired, interleaved runs: every round runs all contenders, in turn forwards and backwards (A B C, C B A, …).

A ratio is made inside one round, from runs that stood next to each other, so what slows the machine for a minute
slows both sides of it. The figure is the median of the rounds' ratios; the spread is the least and the greatest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

RATIOS_ROUNDS_MIN = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one run took: wall time, processor time of the client's processes, their memory at its highest."""

    seconds: float
    client_cpu_s: float
    peak_rss_bytes: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The speed of one contender as a multiple of another's."""

    median: float
    least: float
    greatest: float
    rounds: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.greatest:.2f})"


Round = Mapping[str, Sample]


def order_of(names: Sequence[str], number: int) -> tuple[str, ...]:
    """Name the contenders in the order of round `number`: forwards, backwards, forwards, …"""
    return tuple(names) if number % 2 == 0 else tuple(reversed(names))


def interleave(
    contenders: Mapping[str, Callable[[], Sample]],
    *,
    rounds: int,
    before: Callable[[], None],
    tell: Callable[[str, Sample], None],
) -> tuple[Round, ...]:
    """Run all contenders `rounds` times; `before` brings the world back to its start and is not timed."""
    done = []
    for number in range(rounds):
        samples = {}
        for name in order_of(tuple(contenders), number):
            before()
            samples[name] = contenders[name]()
            tell(name, samples[name])
        done.append(samples)
    return tuple(done)


def speed(rounds: Sequence[Round], name: str, *, against: str) -> Ratio:
    """How fast `name` is where `against` is 1: its rows a second over the other's, round by round.

    Raise ValueError where the two did not do the same rows: then there is nothing to compare.
    """
    if any(samples[name].rows != samples[against].rows for samples in rounds):
        raise ValueError(f"{name} and {against} handled different numbers of rows")
    return ratio_of([samples[against].seconds / samples[name].seconds for samples in rounds])


def ratio_of(ratios: Sequence[float]) -> Ratio:
    """Sum the rounds' ratios up."""
    if len(ratios) < RATIOS_ROUNDS_MIN:
        raise ValueError("a ratio needs a round")
    return Ratio(median=median(ratios), least=min(ratios), greatest=max(ratios), rounds=tuple(ratios))


def typical(rounds: Sequence[Round], name: str) -> Sample:
    """The medians of a contender's runs; its memory is the greatest seen."""
    samples = [samples[name] for samples in rounds]
    return Sample(
        seconds=median(sample.seconds for sample in samples),
        client_cpu_s=median(sample.client_cpu_s for sample in samples),
        peak_rss_bytes=max(sample.peak_rss_bytes for sample in samples),
        rows=samples[0].rows,
    )
