"""The run: at each due moment somebody who is free does something; what comes back is counted and put down.

A person does one thing at a time. When nobody is free, the moment waits, and its time runs. Who is told to try again
(503 with Retry-After) does so after that time, and nothing else meanwhile; the schedule goes on with the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final

from shortvideo.oracle.ledger import Entry, Kind, Ledger
from shortvideo.traffic.accounts import arrival, log_in, sign_up
from shortvideo.traffic.acts import Act, get
from shortvideo.traffic.figures import Board, Group, Histogram, Result, Took
from shortvideo.traffic.mix import choose
from shortvideo.traffic.pace import due_times
from shortvideo.traffic.people import Crowd, Person
from shortvideo.traffic.wire import Answer, NoAnswer, NotSent, Wire

TRIES_MAX: Final = 300
WAITING_MAX: Final = 20_000  # due moments for which nobody was free
DRAIN_S_MAX: Final = 20.0
GREETED_AT_ONCE: Final = 8
LAG_NOTED_S: Final = 0.5
NOTES_MAX: Final = 200


class Nobody(Exception):
    """No person of the run could be found at the service."""


@dataclass(slots=True)
class Run:
    """One run against one service."""

    wire: Wire
    crowd: Crowd
    ledger: Ledger
    board: Board = field(default_factory=Board)
    pauses: Histogram = field(default_factory=Histogram)  # from the first 503 to being served again
    started_at: float = 0.0
    unsent: int = 0  # due moments for which nobody was free up to the end: no percentile knows them
    stopping: bool = False
    free: list[Person] = field(default_factory=list)
    waiting: deque[float] = field(default_factory=deque)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def greet(self) -> None:
        """Find out where everybody is and what the service holds already; who is not let in is left out."""
        turns = asyncio.Semaphore(GREETED_AT_ONCE)
        await asyncio.gather(*(self._greet(person, turns) for person in self.crowd.people))
        self.crowd.people = [person for person in self.crowd.people if not person.gone]
        self.free = list(self.crowd.people)
        for line in self.crowd.before:
            self.ledger.write(line)

    async def receive(self, newcomers: int) -> None:
        """Let people of every country sign up before the schedule begins."""
        nobody = Person(id=0, username="", country="", cookie="")
        turns = asyncio.Semaphore(GREETED_AT_ONCE)

        async def come() -> None:
            async with turns:
                await self.perform(sign_up(nobody, self.crowd), time.monotonic())

        await asyncio.gather(*(come() for _ in range(newcomers)))
        self.free += self.crowd.take_newcomers()

    async def go(self, *, rate: float, seconds: float) -> None:
        """Keep the schedule, then wait for what is under way; raise Nobody when fewer than two are there."""
        if len(self.crowd.people) < 2:
            raise Nobody("fewer than two have a valid session: is --dsn this service's, or give --newcomers")
        self.started_at = time.monotonic()
        for moment in due_times(self.crowd.chance, rate=rate, seconds=seconds):
            due = self.started_at + moment
            if (ahead := due - time.monotonic()) > 0:
                self.ledger.sync_if_due()
                await asyncio.sleep(ahead)
            if self.stopping:
                break
            self._begin(due)
        await self._drain()

    async def perform(self, act: Act, due: float) -> Result:
        """Make one act's request, again as often as the service asks for."""
        held_since = 0.0
        phase, country = self.board.phase, act.person.country
        for _ in range(TRIES_MAX):
            sent = time.monotonic()
            answer = await self._answer(act)
            now = time.monotonic()
            result = self._settled(act, answer)
            person = act.person
            if answer is not None:
                person.seen_at(answer.location)
            person.waits_until = now + (answer.retry_after_s or 0) if answer and result is Result.HELD else 0.0
            group = Group(location=answer.location if answer else person.location or "-", state=person.state)
            took = Took(
                due_ms=(now - due) * 1000, sent_ms=(now - sent) * 1000, held_ms=answer.held_ms if answer else None,
                writes=act.request.method != "GET",
            )  # fmt: skip
            self.board.add(group, act.name, result, due_ms=took.due_ms, sent_ms=took.sent_ms)
            if phase:
                self.board.feel(phase, country, result, took)
            if result is not Result.HELD:
                if held_since:
                    self.pauses.add((now - held_since) * 1000)
                return result
            held_since = held_since or sent
            await self._wait(act, person.waits_until - now)
            due = time.monotonic()
        self._note(f"{act.name}: given up after {TRIES_MAX} tries")
        return Result.HELD

    async def _wait(self, act: Act, seconds: float) -> None:
        """Wait as asked; whoever stops waiting does not know whether what was held was not done all the same."""
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._put_down(act.doubt, act.person.location)
            raise

    def _begin(self, due: float) -> None:
        if not self.free:
            if len(self.waiting) < WAITING_MAX:
                self.waiting.append(due)
            else:
                self.unsent += 1
            return
        place = self.crowd.chance.randrange(len(self.free))
        self.free[place], self.free[-1] = self.free[-1], self.free[place]
        self._spawn(self._turn(self.free.pop(), due))

    async def _turn(self, person: Person, due: float) -> None:
        if (lag := time.monotonic() - due) > LAG_NOTED_S:
            self._note(f"begun more than {LAG_NOTED_S} s late" if lag < 5 else "begun more than 5 s late")
        await self.perform(choose(person, self.crowd), due)
        self.free += self.crowd.take_newcomers()
        if not person.gone:
            self.free.append(person)
        else:
            self.crowd.people.remove(person)
        while self.waiting and self.free:
            self._begin(self.waiting.popleft())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._note(f"bug in the traffic: {error!r}")

    async def _answer(self, act: Act) -> Answer | None:
        """Send; put down the doubt when no answer comes."""
        try:
            return await self.wire.send(act.request)
        except NotSent as error:
            self._note(f"{act.name}: not sent, {error}")
            return None
        except NoAnswer as error:
            self._note(f"{act.name}: no answer, {error}")
            self._put_down(act.doubt, act.person.location)
            return None
        except asyncio.CancelledError:
            self._put_down(act.doubt, act.person.location)
            raise

    def _settled(self, act: Act, answer: Answer | None) -> Result:
        """Take an answer in, and put down what it acknowledges."""
        if answer is None:
            return Result.NO_ANSWER
        if answer.status == 503 and answer.retry_after_s is not None:
            self._note(f"{act.name}: come again, {answer.body[:80].decode(errors='replace')}")
            return Result.HELD
        if answer.status in act.refusals:
            return Result.OK
        if answer.status < 400:
            return self._acknowledged(act, answer)
        self._note(f"{act.name}: {answer.status} {answer.body[:80].decode(errors='replace')}")
        if answer.status >= 500:
            self._put_down(act.doubt, answer.location)
            return Result.FAILED
        if answer.status == 401:
            self._shut_out(act.person)
        return Result.REFUSED

    def _acknowledged(self, act: Act, answer: Answer) -> Result:
        try:
            self._put_down(act.settle(answer), answer.location)
        except (NoAnswer, KeyError, TypeError, ValueError) as error:
            self._note(f"{act.name}: {answer.status}, but {error!r}")
            self._put_down(act.doubt, answer.location)
            return Result.FAILED
        return Result.OK

    def _shut_out(self, person: Person) -> None:
        """Let somebody whose session is no longer valid log in again, or go."""
        act = log_in(person, self.crowd)
        if act is None:
            person.gone = True
        else:
            self._spawn(self._log_in(act))

    async def _log_in(self, act: Act) -> None:
        await self.perform(act, time.monotonic())

    def _put_down(self, entries: tuple[Entry, ...] | list[Entry] | Any, location: str) -> None:  # noqa: ANN401
        for entry in entries:
            self.ledger.write(replace(entry, location=location, at=time.time()))

    def _note(self, words: str) -> None:
        if words in self.board.notes or len(self.board.notes) < NOTES_MAX:
            self.board.notes[words] += 1

    async def _greet(self, person: Person, turns: asyncio.Semaphore) -> None:
        async with turns:
            try:
                answer = await self.wire.send(get(person, "/settings/data"))
            except NoAnswer as error:
                raise Nobody(f"the service gives no answer: {error}") from error
        if answer.status != 200:
            person.gone = True
            self._note(f"not let in: {answer.status}")
            return
        person.seen_at(answer.location)
        rows = {str(item["what"]): int(item["rows"]) for item in answer.json()["holdings"]}
        baseline = Entry(kind=Kind.BASELINE, person=person.id, what=dict(rows))
        self._put_down([arrival(person), baseline], answer.location)

    async def _drain(self) -> None:
        """Wait for what is under way and for moments that waited, but not for ever; what is left is counted."""
        deadline = time.monotonic() + DRAIN_S_MAX
        while self.tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(self.tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        self.unsent += len(self.waiting)
        self.waiting.clear()
        late = tuple(self.tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self.ledger.sync()


Tick = Callable[[int], None]


async def every_second(tick: Tick) -> None:
    """Call `tick` with the number of the second, until cancelled."""
    second = 0
    while True:
        await asyncio.sleep(1)
        second += 1
        tick(second)
