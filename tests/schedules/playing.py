"""Plays a schedule: turn by turn, with all that people do meanwhile, and a look at every promise after each turn.

What happens is told by a script: `Improvised` has dice for it and a seed, `Written` has a schedule. Either way what was
done is a schedule again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from domicile.config.rules import Apart
from domicile.errors import DomicileError, NotEqual, Refused, Unreachable, Waiting
from domicile.stores.feed import FeedKind
from tests.schedules import acts, choosing, oracle
from tests.schedules.acts import Act, Killed
from tests.schedules.choosing import Mood
from tests.schedules.engine import Engine, engine_in
from tests.schedules.oracle import Moment
from tests.schedules.platform import Platform, platform_in
from tests.schedules.promises import Broken
from tests.schedules.schedule import AFTERWARDS, Call, Placed, Schedule, Turn
from tests.schedules.world import Worlds

ENDS_WELL: Final = (Refused, Unreachable, Waiting)
BEGUN_AGAIN: Final = "  and is begun again"
STEPS_TO_QUIET: Final = 4
AFTER_THE_CLOSE: Final = 10
ERASURES_MAX: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What happened: the schedule, the story line by line, how much it was, and what is broken, if anything."""

    schedule: Schedule
    story: tuple[str, ...]
    statements: int
    broken: str = ""

    @property
    def kind(self) -> str:
        """What sort of fault it is: the first word of what is broken."""
        return self.broken.partition(":")[0]


class Script(Protocol):
    """Says what happens."""

    feed: FeedKind
    apart: Apart

    def turns(self, engine: Engine) -> Iterator[Turn]:
        """What is asked of the engine, one after the other."""

    def acts(self, engine: Engine, turn: int, words: str, nth: int) -> Iterator[Act]:
        """What people do at this statement."""


@dataclass(slots=True, kw_only=True)
class Written:
    """A schedule as it is written."""

    schedule: Schedule
    feed: FeedKind = field(init=False)
    apart: Apart = field(init=False)

    def __post_init__(self) -> None:
        self.feed, self.apart = self.schedule.feed, self.schedule.apart

    def turns(self, engine: Engine) -> Iterator[Turn]:
        """Those that are written."""
        del engine
        yield from self.schedule.turns

    def acts(self, engine: Engine, turn: int, words: str, nth: int) -> Iterator[Act]:
        """Those that are placed there."""
        del engine
        for one in self.schedule.turns[turn].acts:
            if one.words == words and (one.nth == nth or words == AFTERWARDS):
                yield one.act


@dataclass(slots=True, kw_only=True)
class Improvised:
    """What the dice say, by a seed."""

    seed: int
    feed: FeedKind
    apart: Apart = field(init=False)
    _mood: Mood = field(init=False)
    _kill_at: int = 0
    _passed: int = 0
    _done: int = 0

    def __post_init__(self) -> None:
        self._mood = choosing.mood_of(self.seed)
        self.apart = self._mood.apart

    def turns(self, engine: Engine) -> Iterator[Turn]:
        """Cohorts go home and come back; at times all is closed at the end, and erased."""
        dice = choosing.dice_of(self.seed, "turns")
        for at in range(dice.choice((3, 5, 7))):
            self._arm()
            at_home = [one.number for one in engine.live.at_home()]
            if not self._mood.looks_at_pairs:
                yield choosing.turn(engine.platform, at_home, dice)
            elif at % 2 and at_home:
                yield Turn(call=Call.BACK, people=(at_home[-1],))
            else:
                yield choosing.pair(engine.platform, dice)
        if dice.random() < choosing.CLOSES:
            yield from self._end(engine, dice.random() < choosing.REOPENS)

    def _end(self, engine: Engine, reopens: bool) -> Iterator[Turn]:
        for _ in range(1 + reopens):
            for call in (Call.EVERYBODY, Call.CLOSE):
                self._arm()
                yield Turn(call=call)
            if not engine.is_closed:
                return
            if reopens and engine.live.at_home():
                dice = choosing.dice_of(self.seed, "reopened")
                yield Turn(call=Call.BACK, people=(dice.choice(engine.live.at_home()).number,))
                reopens = False
            else:
                break
        yield Turn(call=Call.CLEAR)
        for _ in range(ERASURES_MAX):
            if not engine.is_certified:
                self._arm()
                yield Turn(call=Call.ERASE)

    def _arm(self) -> None:
        """Say whether the engine is killed in the next turn, and when."""
        self._passed += 1
        dice = choosing.dice_of(self.seed, "kill", self._passed)
        self._kill_at = dice.randrange(1, self._mood.kills_within) if dice.random() < self._mood.kills else 0

    def acts(self, engine: Engine, turn: int, words: str, nth: int) -> Iterator[Act]:
        """Acts by the dice of this very statement."""
        platform, dice = engine.platform, choosing.dice_of(self.seed, turn, words, nth)
        if words == AFTERWARDS:
            count = AFTER_THE_CLOSE if platform.is_closed else 0
        else:
            count = choosing.acts_at(
                self.seed, self._mood, words, dice, under_way=bool(engine.under_way), since_mark=engine.since_mark
            )
            self._kill_at -= 1
            if self._kill_at == 0:
                yield acts.Kill()
        for _ in range(count if self._done < choosing.ACTS_MAX else 0):
            self._done += 1
            act = choosing.choose(platform, self._mood, dice, engine.under_way)
            if act is not None:
                yield act


@dataclass(slots=True, kw_only=True)
class Player:
    """One run of a script."""

    script: Script
    platform: Platform
    turns: list[Turn] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    statements: int = 0
    _engine: Engine | None = None
    _met: Counter[str] = field(default_factory=Counter)

    @property
    def schedule(self) -> Schedule:
        """What was done so far."""
        return Schedule(feed=self.script.feed, apart=self.script.apart, turns=tuple(self.turns))

    def at(self, words: str) -> None:
        """Have people do what they do at this statement; whoever is in the engine's way goes on when it gives way."""
        engine = self._engine
        if engine is None or not self.turns:
            return
        self.statements += 1
        engine.since_mark += 1
        with engine.moments.quiet():
            if words.startswith("ROLLBACK"):
                self.platform.commit()
            self._act(engine, words)

    def _act(self, engine: Engine, words: str) -> None:
        self._met[words] += 1
        for act in self.script.acts(engine, len(self.turns) - 1, words, self._met[words]):
            placed = Placed(words=words, nth=self._met[words], act=act)
            said = ""
            if isinstance(act, acts.Kill):
                self._note(placed, "the engine is killed")
                engine.kill()
            with self.platform.refusable(str(act)):
                said = act.do(self.platform)
            if said:
                self._note(placed, said)

    def _note(self, placed: Placed, said: str) -> None:
        self.story.append(f"    {said}  ({placed})")
        self.turns[-1] = replace(self.turns[-1], acts=(*self.turns[-1].acts, placed))

    def play(self, engine: Engine) -> None:
        """All of it; raises Broken."""
        self._engine = engine
        for turn in self.script.turns(engine):
            self._take(engine, turn)
        self._end(engine)

    def _take(self, engine: Engine, turn: Turn) -> None:
        self.turns.append(replace(turn, acts=()))
        self.story.append(str(turn))
        self._met.clear()
        engine.moments.is_on = True
        try:
            engine.call(turn)
        except Killed:
            engine.begin_again()
            self.story.append(BEGUN_AGAIN)
        except ENDS_WELL as fault:
            self.story.append(f"  {type(fault).__name__}: {fault}")
        except NotEqual as fault:
            raise Broken(f"unequal: {fault}") from fault
        except DomicileError as fault:
            raise Broken(f"failed: {type(fault).__name__}: {fault}") from fault
        engine.moments.is_on = False
        self.platform.commit()
        self.platform.is_closed = engine.is_closed or engine.is_certified
        oracle.check(self.platform, Moment.BETWEEN)
        self._act(engine, AFTERWARDS)

    def _end(self, engine: Engine) -> None:
        """Let all be delivered and published, and look once more."""
        if not self.platform.is_closed:
            self._deliver()
            engine.step(STEPS_TO_QUIET)
            oracle.check(self.platform, Moment.QUIET)
        elif engine.is_certified:
            oracle.check(self.platform, Moment.ERASED)
        else:
            oracle.check(self.platform, Moment.BETWEEN)

    def _deliver(self) -> None:
        promises = self.platform.promises
        for due in list(promises.due):
            acts.Deliver(due.id, due.person).do(self.platform)
        for key in list(promises.clips):
            acts.Publish(key).do(self.platform)


def play(worlds: Worlds, script: Script) -> Played:
    """Play a script in a fresh world; what is broken stands in the value."""
    with worlds.fresh(script.feed, script.apart) as world, platform_in(world.dsns) as platform:
        player, broken = Player(script=script, platform=platform), ""
        try:
            with engine_in(world, platform, player.at) as engine:
                player.play(engine)
        except Broken as fault:
            broken = str(fault)
        return Played(schedule=player.schedule, story=tuple(player.story), statements=player.statements, broken=broken)
