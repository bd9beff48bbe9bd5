"""Every effect of the engine, numbered; at a chosen one the world fails.

An effect is whatever the engine asks of the world outside of its process: a session, a statement, BEGIN and COMMIT, a
COPY and its end, a program that is run, a file made, written through or put in place, a line of the journal. They are
seen from outside: the driver, the file functions and SQLite are wrapped in the engine's process, the engine is not
touched.

An effect has a *key* (step, stage, the engine's function, side, and its words without values) and how many of that key
passed before it. Threads of the engine may interleave; each one's own order, and so an effect's name, stays the same.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

ENGINE: Final = f"{os.sep}src{os.sep}domicile{os.sep}"
PASSED_BY: Final = ("session.py", "record.py", "contextlib.py")
NAME_CHARS_MAX: Final = 160
DEPTH_MAX: Final = 60
ID_CHARS: Final = 10


class Way(StrEnum):
    """How the world fails at an effect: before it happens, or after it did and before the engine goes on."""

    ERROR = "error"
    ERROR_AFTER = "error-after"
    INTERRUPT = "interrupt"
    KILL = "kill"
    KILL_AFTER = "kill-after"
    SERVER = "server"
    SERVER_AFTER = "server-after"
    CUT = "cut"
    CUT_AFTER = "cut-after"
    FULL = "full"


class Side(StrEnum):
    """Where an effect happens."""

    SOURCE = "source"
    HOME = "home"
    FILE = "file"
    JOURNAL = "journal"
    PROGRAM = "program"


SERVERS: Final = (Side.SOURCE, Side.HOME)
LATE: Final = (Way.ERROR_AFTER, Way.KILL_AFTER, Way.SERVER_AFTER)
ASKED_OF_OTHERS: Final = {
    Way.SERVER: "kill", Way.SERVER_AFTER: "kill", Way.CUT: "cut", Way.CUT_AFTER: "cut unheard",
}  # fmt: skip
"""What the process outside is asked for; the others happen in the engine's own process."""


def ways_of(side: Side) -> tuple[Way, ...]:
    """The ways in which an effect of that side can fail."""
    if side in SERVERS:
        return tuple(Way)
    here = (Way.ERROR, Way.ERROR_AFTER, Way.INTERRUPT, Way.KILL, Way.KILL_AFTER, Way.FULL)
    return here if side is not Side.PROGRAM else (Way.ERROR, Way.INTERRUPT, Way.KILL, Way.KILL_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One effect: its key and how many of that key there were with it; `thread` numbers the engine's threads."""

    step: str
    stage: str
    where: str
    side: Side
    words: str
    nth: int = 0
    thread: int = 0

    @property
    def key(self) -> tuple[str, ...]:
        """What it is, whichever time it happens."""
        return (self.step, self.stage, self.where, self.side, self.words)

    @property
    def kind(self) -> tuple[str, ...]:
        """What sort of effect it is, whatever table or file it is about."""
        words = self.words if self.side is Side.JOURNAL else self.words.split(" ", 1)[0]
        return (self.step, self.stage, self.where, self.side, words)

    @property
    def id(self) -> str:
        """The same in every run; numbers may move by a few, as how often the lag is noted hangs on the clock."""
        return hashlib.sha256("|".join([*self.key, str(self.nth)]).encode()).hexdigest()[:ID_CHARS]

    @property
    def is_read(self) -> bool:
        """Whether, by its first word, nothing is changed by it."""
        return bool(_READ.match(self.words))

    def __str__(self) -> str:
        return f"{self.id} {self.step} | {self.stage} | {self.where} | {self.side}: {self.words} [{self.nth}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Fail at this effect in this way."""

    spot: Spot
    way: Way


Fault = Callable[[bool], BaseException]
"""Makes the error that the world would raise at an effect; given whether there is no room."""


@dataclass(slots=True, kw_only=True)
class Tracer:
    """Counts effects, and fails at one. `ask` has the process outside do something to a server, and waits for it."""

    step: str
    sides: Mapping[int, Side]
    failing: Failing | None
    ask: Callable[[str, Side], None]
    seen: list[Spot] = field(default_factory=list)
    reached: bool = False
    stage: str = "-"
    _counts: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _threads: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _quiet: threading.local = field(default_factory=threading.local)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """What this thread does in the block is not the engine's."""
        self._quiet.on = True
        try:
            yield
        finally:
            self._quiet.on = False

    @property
    def is_quiet(self) -> bool:
        """Whether this thread is in such a block."""
        return bool(getattr(self._quiet, "on", False))

    @contextmanager
    def staged(self, stage: str) -> Iterator[None]:
        """The effects of the block belong to this stage."""
        before, self.stage = self.stage, stage
        try:
            yield
        finally:
            self.stage = before

    def before(self, side: Side | None, words: str, fault: Fault) -> Spot | None:
        """Pass an effect that is about to happen; None when it is nobody's."""
        if side is None or self.is_quiet:
            return None
        with self._lock:
            spot = self._spot(side, words)
            self.seen.append(spot)
        if self._is_chosen(spot) and self.failing is not None and self.failing.way not in LATE:
            self._fail(self.failing.way, spot, fault)
        return spot

    def after(self, spot: Spot | None, fault: Fault) -> None:
        """Pass an effect that happened."""
        if spot is not None and self._is_chosen(spot) and self.failing is not None and self.failing.way in LATE:
            self._fail(self.failing.way, spot, fault)

    def _spot(self, side: Side, words: str) -> Spot:
        thread = self._threads.setdefault(threading.get_ident(), len(self._threads))
        bare = Spot(step=self.step, stage=self.stage, where=_where(), side=side, words=normal(words), thread=thread)
        self._counts[bare.key] += 1
        return Spot(
            step=bare.step, stage=bare.stage, where=bare.where, side=side, words=bare.words,
            nth=self._counts[bare.key], thread=thread,
        )  # fmt: skip

    def _is_chosen(self, spot: Spot) -> bool:
        chosen = self.failing.spot if self.failing else None
        return chosen is not None and not self.reached and (chosen.key, chosen.nth) == (spot.key, spot.nth)

    def _fail(self, way: Way, spot: Spot, fault: Fault) -> None:
        self.reached = True
        self.ask("reached", spot.side)
        if way in ASKED_OF_OTHERS:
            self.ask(ASKED_OF_OTHERS[way], spot.side)
        elif way in (Way.KILL, Way.KILL_AFTER):
            os.kill(os.getpid(), signal.SIGKILL)
        elif way is Way.INTERRUPT:
            raise KeyboardInterrupt
        else:
            raise fault(way is Way.FULL)


_READ: Final = re.compile(r"(SELECT|WITH|SHOW|SET|BEGIN|SAVEPOINT|RELEASE|FETCH|CLOSE|COPY \(|a session)")
_COMMENT: Final = re.compile(r"--[^\n]*(?:\n|$)")
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'")
_DIGEST: Final = re.compile(r"[0-9a-f]{12,}")
_NUMBER: Final = re.compile(r"(?<![A-Za-z_\d])\d+")


def normal(words: str) -> str:
    """The words of an effect without values: what is the same in every run."""
    text = " ".join(_COMMENT.sub("", words).split())
    for pattern, sign in ((_QUOTED, "'…'"), (_DIGEST, "#"), (_NUMBER, "0")):
        text = pattern.sub(sign, text)
    return text if len(text) <= NAME_CHARS_MAX else f"{text[:NAME_CHARS_MAX]}…{len(text)}"


def _where() -> str:
    """The engine's innermost function that is no mere passage."""
    frame = sys._getframe(2)
    for _ in range(DEPTH_MAX):
        if ENGINE in frame.f_code.co_filename and Path(frame.f_code.co_filename).name not in PASSED_BY:
            return f"{frame.f_code.co_filename.rpartition(ENGINE)[2].removesuffix('.py')}:{frame.f_code.co_name}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "-"


@dataclass(frozen=True, slots=True)
class Wrapped:
    """An attribute that was replaced, and what it was."""

    owner: Any
    name: str
    plain: Any


@contextmanager
def replaced(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """For the block, put what `make` makes of an attribute in its place."""
    wrapped = Wrapped(owner, name, getattr(owner, name))
    setattr(owner, name, make(wrapped.plain))
    try:
        yield
    finally:
        setattr(owner, name, wrapped.plain)
