"""The engine in this process, as commands run it one after the other; people act between any two of its statements.

Statements, COPYs and lines of the journal are seen as `tests/crash` sees them. Nobody sleeps: where the engine waits
for somebody, they go on. After a kill nothing of the engine reaches the outside any more; the servers find its sessions
gone, and it is begun again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import psycopg
from psycopg import sql

from domicile import config
from domicile.evidence.predicates import CertificatePredicate
from domicile.host import Host
from domicile.model import Home, Scope
from domicile.run import Run
from domicile.run.live import Live, cohort_of
from domicile.run.moving import Moving
from domicile.stores.postgres.live import follower
from domicile.stores.postgres.live.follower import Follower, Stepped
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.live.standing import Standing
from domicile.stores.postgres.names import movers_of
from tests.crash.effects import Fault, Side, Spot, Tracer, normal, replaced
from tests.crash.wraps import watched
from tests.schedules.acts import Killed
from tests.schedules.platform import Platform
from tests.schedules.promises import Broken
from tests.schedules.schedule import Call, Turn
from tests.schedules.world import PERSON, SOURCE, World

BEGINNINGS_MAX: Final = 5
STEPS: Final = 2
LOCKS_S: Final = (0.05,) * 10
PAUSE_S_MAX: Final = 0.001
MARKS: Final = ((Follower, "step"), (Follower, "step_back"), (People, "_say"), (People, "fence_at_home"))
"""Where the engine does something else from then on."""
SPELT_MAX: Final = 20_000
spelt = lru_cache(SPELT_MAX)(normal)


@dataclass(slots=True, kw_only=True)
class Moments(Tracer):
    """Tells of each statement that is about to be made, in the engine's main thread; once dead, of none."""

    at: Callable[[str], None]
    is_on: bool = False
    is_dead: bool = False
    _own: int = field(default_factory=threading.get_ident)

    def before(self, side: Side | None, words: str, fault: Fault) -> Spot | None:
        """Pass a statement, or a line of the journal."""
        del fault
        if side not in {Side.SOURCE, Side.JOURNAL} or self.is_quiet:
            return None
        if self.is_dead:
            raise Killed
        if self.is_on and threading.get_ident() == self._own:
            self.at(spelt(words))
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhurried(Host):
    """A machine on which a pause is when others go on."""

    go_on: Callable[[], None]

    def pause(self, seconds: float) -> None:
        """Let them."""
        self.go_on()
        Host.pause(self, min(seconds, PAUSE_S_MAX))


@dataclass(slots=True, kw_only=True)
class Engine:
    """One programme's, from beginning to beginning."""

    world: World
    platform: Platform
    moments: Moments
    under_way: frozenset[int] = frozenset()
    """Who was compared and isn't home yet, or is just brought back."""
    since_mark: int = 0
    """How many statements ago a step began, or a state was said."""
    _sessions: list[psycopg.Connection[Any]] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _run: Run | None = None
    _live: Live | None = None
    _scope: Scope | None = None
    _standing: Standing | None = None

    def begin(self) -> None:
        """Open the programme and find the move that is under way; again, where it is killed meanwhile."""
        for _ in range(BEGINNINGS_MAX):
            try:
                self._begin()
            except Killed:
                self._give_back()
            else:
                return
        raise Broken("failed: the engine was killed each time that it began")

    def _begin(self) -> None:
        programme = self.world.programme
        parsed, data = config.read(programme.folder / "domicile.yaml")
        host = Unhurried(environment=programme.environment, go_on=self._others)
        self._run = self._stack.enter_context(Run.opened(programme.workspace, parsed, data, host=host))
        self._live, self._scope = self._run.moving()
        self._standing = self._live.find(self._scope)

    def kill(self) -> None:
        """Nothing of it reaches the outside any more, and its sessions are gone: raises Killed in the engine."""
        self.moments.is_dead = True
        while self._sessions:
            self._sessions.pop().close()
        raise Killed

    def begin_again(self) -> None:
        """After a kill: a process that knows nothing of the one before."""
        self._give_back()
        self.begin()

    def _give_back(self) -> None:
        with suppress(Killed, Exception):
            self._stack.close()
        self.moments.is_dead, self._stack, self.under_way = False, ExitStack(), frozenset()

    def end(self) -> None:
        """Give all back."""
        self.moments.is_on = False
        self._give_back()
        while self._sessions:
            self._sessions.pop().close()

    def _others(self) -> None:
        if threading.get_ident() == self.moments._own:
            with self.moments.quiet():
                self.platform.commit()

    # -- what is asked of it -------------------------------------------------------------------------------------------

    @property
    def run(self) -> Run:
        """The run that is open."""
        assert self._run is not None
        return self._run

    @property
    def live(self) -> Live:
        """Its move."""
        assert self._live is not None
        return self._live

    @property
    def scope(self) -> Scope:
        """What moves."""
        assert self._scope is not None
        return self._scope

    def call(self, turn: Turn) -> None:
        """Do what the turn asks for."""
        calls: dict[Call, Callable[[], object]] = {
            Call.GO: lambda: self.live.cut_over(self.scope, cohort_of("key:" + ",".join(map(str, turn.people)))),
            Call.NEXT: lambda: self.live.cut_over(self.scope, cohort_of("2")),
            Call.BACK: lambda: self.live.roll_back(self.scope, turn.people[0]),
            Call.STEP: self.step,
            Call.EVERYBODY: lambda: self.run.apply(yes=True),
            Call.CLOSE: lambda: self.run.apply(yes=True, close=True),
            Call.CLEAR: self._clear,
            Call.ERASE: lambda: self.run.apply(yes=True, close=True),
        }
        calls[turn.call]()

    def step(self, times: int = STEPS) -> None:
        """Make whole steps, back and forth."""
        assert self._standing is not None
        for _ in range(times):
            self.live.moving.step(self.live.moving.follower(self._standing))

    def _clear(self) -> None:
        self.world.programme.approve_in(self.run)
        self.run.apply(close=True)

    def people_of(self, cohort: int) -> frozenset[int]:
        """Who is in a cohort."""
        query = sql.SQL("SELECT key FROM {} WHERE cohort = %s").format(movers_of(PERSON))
        with self.moments.quiet():
            return frozenset(int(key) for (key,) in self.platform.lines[SOURCE].execute(query, [cohort]))

    @property
    def is_closed(self) -> bool:
        """Whether the way back is shut."""
        return self.live.closing.is_closed

    @property
    def is_certified(self) -> bool:
        """Whether all is erased, and said to be."""
        return self.run.last(CertificatePredicate) is not None


@contextmanager
def engine_in(world: World, platform: Platform, at: Callable[[str], None]) -> Iterator[Engine]:
    """The engine of a world; `at` is called at each of its statements."""
    (port,) = {line.info.port for line in platform.lines.values()}
    moments = Moments(step="", sides={port: Side.SOURCE}, failing=None, ask=lambda *_: None, at=at)
    engine = Engine(world=world, platform=platform, moments=moments)
    with ExitStack() as stack:
        stack.enter_context(watched(moments, world.programme.folder))
        stack.enter_context(replaced(psycopg, "connect", lambda plain: _counted(plain, engine)))
        for owner, name in MARKS:
            stack.enter_context(replaced(owner, name, lambda plain: _marked(plain, engine)))
        stack.enter_context(replaced(Moving, "step", lambda plain: _told(plain, engine)))
        stack.enter_context(replaced(People, "_say", lambda plain: _said(plain, engine)))
        stack.enter_context(replaced(Follower, "return_shared", lambda plain: _returned(plain, engine)))
        stack.enter_context(replaced(follower, "LOCKS_S", lambda _: LOCKS_S))
        stack.callback(engine.end)
        with moments.quiet():
            engine.begin()
        yield engine


def _counted(plain: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    """Know the engine's sessions: those of a process that is killed end."""

    def connect(*arguments: Any, **options: Any) -> Any:
        made = plain(*arguments, **options)
        if not engine.moments.is_quiet or not engine.moments.is_on:
            engine._sessions.append(made)
        return made

    return connect


def _marked(plain: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    """Count statements from here on."""

    def mark(*arguments: Any, **options: Any) -> Any:
        engine.since_mark = 0
        return plain(*arguments, **options)

    return mark


def _told(plain: Callable[..., Stepped], engine: Engine) -> Callable[..., Stepped]:
    """Count whole steps, as what is promised of two people's rows hangs on them."""

    def step(moving: Moving, by: Follower, *, cohort: int | None = None, repair: bool = False) -> Stepped:
        promises = engine.platform.promises
        promises.now += 1
        began = promises.now
        done = plain(moving, by, cohort=cohort, repair=repair)
        if cohort is not None:
            engine.under_way = engine.people_of(cohort)
        if done.complete and moving.back:
            promises.stepped.append(began)
        promises.now += 1
        return done

    return step


def _said(plain: Callable[..., None], engine: Engine) -> Callable[..., None]:
    """Look who lives where whenever the source has said another state."""

    def say(people: People, cohort: int, state: str, **options: Any) -> None:
        if state != "fenced":
            engine.under_way = frozenset()
        plain(people, cohort, state, **options)
        with engine.moments.quiet():
            engine.platform.promises.met(engine.platform.everybody())

    return say


def _returned(plain: Callable[..., int], engine: Engine) -> Callable[..., int]:
    """Note whose letters are brought back from now on, whatever becomes of their cohort."""

    def return_shared(by: Follower, home: Home, cohort: int) -> int:
        engine.under_way = engine.people_of(cohort)
        with engine.moments.quiet():
            engine.platform.promises.comes_back(engine.under_way, engine.platform.everybody())
        return plain(by, home, cohort)

    return return_shared
