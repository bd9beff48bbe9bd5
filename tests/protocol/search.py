"""A breadth-first walk through every state of the model: what must always hold, and the shortest way out of it.

The search is exhaustive and repeatable: no chance, no depth limit; a limit on states stops a model that has grown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from tests.protocol.model import STAYER, Place, Side, State, World, beginning, is_end, moves

STATES_MAX: Final = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the walk saw: how much, and the first thing that is wrong, with the moves that lead there."""

    states: int
    moves: int
    ends: int
    wrong: str | None = None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The trace as a story to be read."""
        lines = [f"{self.states} states, {self.moves} moves, {self.ends} ends"]
        if self.wrong is not None:
            lines += [self.wrong, *(f"  {number:2}. {move}" for number, move in enumerate(self.trace, start=1))]
        return "\n".join(lines)


@dataclass(slots=True, kw_only=True)
class _Walk:
    """The states met so far, by number; how each was first reached; and who leads to whom."""

    number: dict[State, int]
    reached: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")])
    before: list[list[int]] = field(default_factory=lambda: [[]])
    ends: list[int] = field(default_factory=list)
    moves: int = 0


def explore(world: World) -> Found:
    """Walk through all states; stop at the first that is wrong; at the end, ask whether each still leads to an end."""
    first = beginning(world)
    walk = _Walk(number={first: 0})
    queue = [first]
    for at in count():
        if at == len(queue):
            break
        state = queue[at]
        wrong = next(complaints(world, state), None)
        if wrong is not None:
            return _told(walk, at, wrong)
        if is_end(world, state):
            walk.ends.append(at)
        for name, after in moves(world, state):
            walk.moves += 1
            known = walk.number.get(after)
            if known is None:
                known = walk.number[after] = len(queue)
                queue.append(after)
                walk.reached.append((at, name))
                walk.before.append([])
            walk.before[known].append(at)
        if len(queue) > STATES_MAX:
            raise RuntimeError(f"more than {STATES_MAX} states; make the world smaller")
    stuck = _without_end(walk)
    if stuck is not None:
        return _told(walk, stuck, "P5: from here the run can't end")
    return _told(walk, 0, None)


def complaints(world: World, state: State) -> Iterator[str]:
    """What must hold in every state, in the order in which a reader wants to hear of it."""
    for name, here, there in zip(world.people, state.at_source, state.at_home, strict=True):
        if here == Place.MOVING and there == Place.HOME:
            yield f"two authorities: {name} is moving at the source and lives at home"
    for at, cell in enumerate(world.cells):
        source, home, past = max(state.source[at], 0), max(state.home[at], 0), state.past[at]
        if state.erased >> at & 1 and state.source[at] >= 0:
            yield f"P3: {cell.name} was erased at the source and is there again"
        if state.erased >> at & 1 and not _whole(past, home):
            yield f"P1: {cell.name} was erased, and home lacks an acknowledged write"
        if not _whole(past, source | home):
            yield f"P1: an acknowledged write of {cell.name} is nowhere"
        if _should_have(world, state, at) and source & ~home:
            yield f"P1: who lives at home lacks an acknowledged write of {cell.name}"
        side = authority(world, state, at)
        if side is not None and not _whole(past, source if side is Side.SOURCE else home):
            yield f"P1: {side.value} is the authority of {cell.name} and lacks an acknowledged write"
        if side is not None and (state.source if side is Side.SOURCE else state.home)[at] < 0:
            yield f"P1: {side.value} is the authority of {cell.name} and has no such row"


def authority(world: World, state: State, at: int) -> Side | None:
    """The one side whose word on a cell counts; None while its owners are under way, or live apart."""
    cell = world.cells[at]
    if cell.public:
        return Side.SOURCE
    movers = [owner for owner in cell.owners if owner != STAYER]
    if all(state.at_source[owner] == Place.MOVING for owner in movers):
        return Side.SOURCE
    if STAYER in cell.owners:
        return None
    if all(Place.HOME in (state.at_source[owner], state.at_home[owner]) for owner in movers):
        return Side.HOME
    return None


def _should_have(world: World, state: State, at: int) -> bool:
    """Whether people live at home who share the row with a stayer: what was written for both is theirs, too."""
    movers = [owner for owner in world.cells[at].owners if owner != STAYER]
    return len(movers) < len(world.cells[at].owners) and all(
        state.at_source[owner] == state.at_home[owner] == Place.HOME for owner in movers
    )


def _whole(past: tuple[int, ...], value: int) -> bool:
    """Whether a value rests on every write, but for such as lost against one in it that had not seen them either."""
    return all(
        value >> write & 1
        or any(
            value >> other & 1 and not past[other] >> write & 1 and not past[write] >> other & 1
            for other in range(len(past))
        )
        for write in range(len(past))
    )


def _without_end(walk: _Walk) -> int | None:
    """The first state from which no end can be reached any more."""
    good = set(walk.ends)
    todo = list(walk.ends)
    while todo:
        for earlier in walk.before[todo.pop()]:
            if earlier not in good:
                good.add(earlier)
                todo.append(earlier)
    return next((at for at in range(len(walk.reached)) if at not in good), None)


def _told(walk: _Walk, at: int, wrong: str | None) -> Found:
    trace: list[str] = []
    while at:
        at, name = walk.reached[at]
        trace.append(name)
    return Found(
        states=len(walk.reached), moves=walk.moves, ends=len(walk.ends), wrong=wrong, trace=tuple(reversed(trace))
    )
