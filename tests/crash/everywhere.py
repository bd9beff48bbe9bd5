"""Crash everywhere: an undisturbed run numbers the effects; then one run for each effect and way of failing.

    world as before the step → the step, which fails at the effect → look → the step again → the other steps → check

A run passes when the engine ended as it should (by an error of ours, or by the failure itself), what must be true at
any moment was true, the same call went on to the end, and that end is the one of the undisturbed run.
"""

from __future__ import annotations

import random
import traceback
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from tests.crash.actor import Told, take
from tests.crash.effects import Failing, Spot, Way, ways_of
from tests.crash.ground import Ground
from tests.crash.scenario import Scenario, Step

TRIES_MAX: Final = 3
WORDS_CHARS_MAX: Final = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An effect with its number, from 1."""

    number: int
    spot: Spot


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: the effect and how it fails."""

    effect: Effect
    way: Way


class Verdict(StrEnum):
    """What came of a run."""

    PASSED = "passed"
    FAILED = "failed"
    MISSED = "missed"
    """The effect did not come: whether the engine does it hangs on the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A run that was made."""

    scenario: str
    job: Job
    verdict: Verdict
    seed: int
    words: str = ""

    def __str__(self) -> str:
        again = f"python -m tests.crash --scenario {self.scenario} --at {self.job.effect.spot.id} --how {self.job.way}"
        head = f"{self.verdict} {self.job.effect.number} {self.job.way}: {self.job.effect.spot}"
        return f"{head}\n  again: {again} --seed {self.seed}\n{self.words}" if self.words else head


class Broken(AssertionError):
    """A run that must not end like this."""


@dataclass(slots=True, kw_only=True)
class Everywhere:
    """A scenario on its ground."""

    scenario: Scenario
    ground: Ground
    seed: int
    effects: tuple[Effect, ...] = ()
    _start: Any = None
    _facts: dict[str, str] = field(default_factory=dict)

    def undisturbed(self) -> tuple[Effect, ...]:
        """Run all steps without any failure, keep the world before each, and number the effects."""
        self._start = self.scenario.make(self.ground)
        spots: list[Spot] = []
        for number, step in enumerate(self.scenario.steps):
            self.ground.keep(f"before-{number}")
            told = take(self.ground, step.name, step.act)
            _ended_well(step, told)
            spots += sorted(told.effects, key=lambda spot: spot.thread)
            step.then(self.ground.place)
        self.scenario.check_end(self.ground, self._start)
        self._facts = self.scenario.facts(self.ground)
        self.effects = tuple(Effect(number=number, spot=spot) for number, spot in enumerate(spots, start=1))
        return self.effects

    def run(self, job: Job) -> Ran:
        """Make one run."""
        try:
            reached = self._run(job)
        except Exception as fault:  # noqa: BLE001 - any is a finding
            shown = str(fault) if isinstance(fault, Broken) else "".join(traceback.format_exception(fault))
            return self._ran(job, Verdict.FAILED, shown[-WORDS_CHARS_MAX:])
        return self._ran(job, Verdict.PASSED if reached else Verdict.MISSED)

    def _ran(self, job: Job, verdict: Verdict, words: str = "") -> Ran:
        return Ran(scenario=self.scenario.name, job=job, verdict=verdict, seed=self.seed, words=words)

    def _run(self, job: Job) -> bool:
        steps = self.scenario.steps
        number = next(place for place, step in enumerate(steps) if step.name == job.effect.spot.step)
        self.ground.put_back(f"before-{number}")
        told = take(self.ground, steps[number].name, steps[number].act, Failing(spot=job.effect.spot, way=job.way))
        if told.end in ("bare", "hung") or (told.end == "interrupted" and job.way is not Way.INTERRUPT):
            raise Broken(f"the engine ended by no error of ours: {told}")
        reached, history = told.reached, [f"at the failure: {told}"]
        for again in range(TRIES_MAX):
            if _is_well(steps[number], told):
                break
            self._look(job, again, history)
            told = take(self.ground, steps[number].name, steps[number].act)
            history.append(f"again: {told}")
            if told.end != "refused" and not _is_well(steps[number], told):
                break
        self._go_on(steps[number:], told, history)
        return reached

    def _look(self, job: Job, again: int, history: Sequence[str]) -> None:
        try:
            self.scenario.check_meanwhile(self.ground, self._start, dice=self.seed * 1000 + job.effect.number + again)
        except AssertionError as wrong:
            raise Broken("\n".join([*history, f"meanwhile: {wrong}"])) from wrong

    def _go_on(self, steps: Sequence[Step], told: Told, history: list[str]) -> None:
        """The rest of it, as a person would."""
        try:
            for number, step in enumerate(steps):
                if number:
                    told = take(self.ground, step.name, step.act)
                    history.append(f"{step.name}: {told}")
                _ended_well(step, told)
                step.then(self.ground.place)
            self.scenario.check_end(self.ground, self._start)
            facts = self.scenario.facts(self.ground)
            other = {name: found for name, found in facts.items() if self._facts.get(name) != found}
            assert facts == self._facts, f"other facts than undisturbed: {other}"
        except Exception as wrong:
            shown = str(wrong) if isinstance(wrong, Broken) else "".join(traceback.format_exception(wrong)[-4:])
            raise Broken("\n".join([*history, shown])) from wrong


def _is_well(step: Step, told: Told) -> bool:
    return (told.end == "done" and not step.ends) or (told.end == "refused" and told.fault == step.ends)


def _ended_well(step: Step, told: Told) -> None:
    if not _is_well(step, told):
        raise Broken(f"step {step.name} did not end as it should: {told}")


# -- choosing ----------------------------------------------------------------------------------------------------------


def distinct(effects: Iterable[Effect], *, seed: int) -> tuple[Effect, ...]:
    """One effect of each kind, which one by chance."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    sorts: dict[tuple[str, ...], list[Effect]] = defaultdict(list)
    for effect in effects:
        sorts[effect.spot.kind].append(effect)
    return tuple(sorted((dice.choice(found) for found in sorts.values()), key=lambda effect: effect.number))


def all_jobs(effects: Iterable[Effect], ways: Sequence[Way] = tuple(Way)) -> tuple[Job, ...]:
    """Every effect in every way that fits it."""
    return tuple(Job(effect=effect, way=way) for effect in effects for way in ways_of(effect.spot.side) if way in ways)


def in_rounds(jobs: Iterable[Job], *, seed: int) -> tuple[Job, ...]:
    """In the first round every effect in one way, in the second in another, and so on; in each, reads last.

    Whoever stops early has tried the most.
    """
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    by_effect: dict[int, list[Job]] = defaultdict(list)
    for job in jobs:
        by_effect[job.effect.number].append(job)
    for mine in by_effect.values():
        dice.shuffle(mine)
    ordered: list[Job] = []
    while by_effect:
        this = [mine.pop() for mine in by_effect.values()]
        dice.shuffle(this)
        ordered += sorted(this, key=lambda job: job.effect.spot.is_read)
        by_effect = {number: mine for number, mine in by_effect.items() if mine}
    return tuple(ordered)


def sampled(jobs: Sequence[Job], *, number: int, seed: int) -> tuple[Job, ...]:
    """So many of them, by chance, over all stages and ways as evenly as can be."""
    dice = random.Random(seed)  # noqa: S311 - repeatable, not secret
    left = list(jobs)
    dice.shuffle(left)
    chosen: list[Job] = []
    stages: dict[tuple[str, str], int] = defaultdict(int)
    ways: dict[Way, int] = defaultdict(int)
    while left and len(chosen) < number:
        job = min(left, key=lambda one: (stages[_stage(one)] + ways[one.way], ways[one.way]))
        left.remove(job)
        chosen.append(job)
        stages[_stage(job)] += 1
        ways[job.way] += 1
    return tuple(sorted(chosen, key=lambda job: (job.effect.number, job.way)))


def _stage(job: Job) -> tuple[str, str]:
    return job.effect.spot.step, job.effect.spot.stage
