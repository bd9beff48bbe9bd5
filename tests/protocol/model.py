"""The live move as a model small enough to be explored whole: who may write, what flows, what a crash leaves.

`docs/protocol.md` is what this says in words; `search.py` walks through every state there is. The world has a source,
one home, a few people and a few cells (a row, or one half of a split one). A write is a number; the value of a cell is
the set of writes that its content rests on, as bits, so that a lost one shows. A feed is a set of (cell, write) that
nobody confirmed; a snapshot shows a write when its value holds it. The engine does one effect a move and forgets all it
knows at any moment; what it then does next follows from the stores alone.

`Flaw` names the wrong orders of steps that the search must be able to find.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from typing import Final, NamedTuple, TypeVar

Item = TypeVar("Item")

STAYER: Final = -1
"""An owner who never moves."""
GONE: Final = -1
"""The value of a cell that is not there."""


class Place(IntEnum):
    """Where a directory says that a person lives."""

    MOVING = 0
    FENCED = 1
    HOME = 2


class Side(StrEnum):
    """One of the two databases."""

    SOURCE = "source"
    HOME = "home"


class Flaw(Enum):
    """A wrong order of steps, and what a reader of the traces should call it."""

    FLIP_BEFORE_DRAIN = "the flip comes before the feed is drained"
    NO_WAIT = "nobody waits for writers who passed the guard before the fence"
    COPY_BEFORE_FEED = "the copy begins before the feed"
    CONFIRM_UNSEEN = "a key is confirmed whose transaction the snapshot doesn't show"
    SOURCE_FLIPS_FIRST = "the source's directory says home before home's copy is complete"
    ERASE_BEFORE_CLOSE = "rows are erased with the way back still open"
    BACK_WITHOUT_FENCE = "a person is brought back without a fence at home"
    BACK_WITHOUT_DRAIN = "a person is given back before home's log is drained"
    BACK_AFTER_CLOSE = "a person is brought back after the way back was closed"
    OLD_SNAPSHOT_PASSES = "the guard believes the states of an old snapshot"
    SOURCE_OVERWRITES = "what comes from the source replaces what home wrote meanwhile"
    NO_MARK = "the source doesn't note what was brought back in the transaction that brings it"
    CONFIRM_LATER = "a step home goes before what was brought back is confirmed"
    WHOLE_ROW_FOR_PUBLIC = "a public change brings the whole row home, private columns too"
    OLD_WORD_PASSES = "nobody says by which word of the directory a row of two people is written"
    NOTE_UNREAD = "after a crash nobody takes up what is noted as brought back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A row, or one half of a split row; halves of one row have the same key and stand in the log together."""

    name: str
    key: str
    owners: tuple[int, ...]
    public: bool = False
    writes_max: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """People by name, what is theirs, and what is wrong with the engine, if anything."""

    people: tuple[str, ...]
    cells: tuple[Cell, ...]
    flaw: Flaw | None = None
    old_snapshots: bool = False
    home_fenced_too: bool = True

    def of(self, person: int) -> Iterator[int]:
        """The private cells that lead to a person."""
        return (at for at, cell in enumerate(self.cells) if person in cell.owners and not cell.public)

    def erasable(self, at: int) -> bool:
        """Whether the cell leaves the source for good."""
        return STAYER not in self.cells[at].owners and not self.cells[at].public


Masks = tuple[int, ...]


class Step(NamedTuple):
    """What the engine holds in memory; a crash forgets it."""

    what: str
    values: Masks = ()
    batch: Masks = ()


class State(NamedTuple):
    """All that survives, and the engine's memory; one entry a cell or a person."""

    source: Masks
    home: Masks
    past: tuple[Masks, ...]  # for each acknowledged write, the writes it had seen
    source_log: Masks
    home_log: Masks
    brought: Masks  # what stands noted at the source as brought back, and is still in home's log
    at_source: Masks  # Place by person
    at_home: Masks
    source_open: int  # cells with a writer who passed the guard and has not committed
    home_open: int
    early: tuple[Masks | None, ...]  # snapshots of the source's directory that transactions hold, by cell
    feed: bool
    copied: int
    closed: bool
    erased: int
    step: Step | None


Move = tuple[str, State]


def beginning(world: World) -> State:
    """Everybody at the source, nothing begun."""
    none, nobody = (0,) * len(world.cells), (int(Place.MOVING),) * len(world.people)
    return State(
        source=none, home=(GONE,) * len(none), past=((),) * len(none), source_log=none, home_log=none, brought=none,
        at_source=nobody, at_home=nobody, source_open=0, home_open=0, early=(None,) * len(none), feed=False, copied=0,
        closed=False, erased=0, step=None,
    )  # fmt: skip


def is_end(world: World, state: State) -> bool:
    """Whether the run is over: the way back closed, everything erased that leaves."""
    leaving = sum(1 << at for at in range(len(world.cells)) if world.erasable(at))
    return state.closed and state.erased == leaving and state.step is None


def moves(world: World, state: State) -> Iterator[Move]:
    """Everything that can happen next, each with its name."""
    yield from platform_moves(world, state)
    if state.step is not None:
        yield "crash: the engine forgets what it holds", state._replace(step=None)
        yield from _finish_step(world, state, state.step)
        return
    yield from _beginning_moves(world, state)
    if state.copied == (1 << len(world.cells)) - 1:
        yield from _begin_step(world, state)
        for person in range(len(world.people)):
            yield from _directory_moves(world, state, person)
        yield from _end_moves(world, state)


# -- the platform ------------------------------------------------------------------------------------------------


def accepts(world: World, state: State, side: Side, at: int, places: Masks | None = None) -> bool:
    """What the guard says: to nobody who is fenced; at the source for whoever is still there, at home for who lives
    there; public halves at the source only."""
    directory = state.at_source if side is Side.SOURCE else state.at_home
    known = places if places is not None else directory
    cell = world.cells[at]
    owners = [known[owner] for owner in cell.owners if owner != STAYER]
    if Place.FENCED in owners:
        return False
    if side is Side.SOURCE:
        # A row of both, by a word of the directory that says so; what the stayer alone should have isn't modelled.
        both = STAYER in cell.owners and (Place.HOME not in owners or world.flaw is Flaw.OLD_WORD_PASSES)
        return cell.public or both or Place.MOVING in owners
    return not cell.public and Place.HOME in owners


def platform_moves(world: World, state: State) -> Iterator[Move]:
    """Writers pass the guard, and later commit or give up. A row has one writer at a time: they lock it."""
    for at, cell in enumerate(world.cells):
        bit, name = 1 << at, cell.name
        pending = bool(state.source_open & bit) + bool(state.home_open & bit)
        if len(state.past[at]) + pending < cell.writes_max:
            if not state.source_open & bit and accepts(world, state, Side.SOURCE, at):
                yield (
                    f"a writer of {name} passes the guard at the source",
                    state._replace(source_open=state.source_open | bit),
                )
            if not state.home_open & bit and accepts(world, state, Side.HOME, at):
                yield f"a writer of {name} passes the guard at home", state._replace(home_open=state.home_open | bit)
            if world.old_snapshots:
                yield from _early_moves(world, state, at)
        if state.source_open & bit:
            yield f"the writer of {name} at the source commits", _committed(state, Side.SOURCE, at)
            yield f"the writer of {name} at the source gives up", state._replace(source_open=state.source_open & ~bit)
        if state.home_open & bit:
            yield f"the writer of {name} at home commits", _committed(state, Side.HOME, at)
            yield f"the writer of {name} at home gives up", state._replace(home_open=state.home_open & ~bit)


def _early_moves(world: World, state: State, at: int) -> Iterator[Move]:
    """REPEATABLE READ: the snapshot is taken before the write, and the guard sees the directory as it was then.

    It locks the lines that it read, which fails when they have changed since.
    """
    name, held = world.cells[at].name, state.early[at]
    if held is None:
        yield (
            f"a transaction that will write {name} takes its snapshot at the source",
            state._replace(early=_with(state.early, at, state.at_source)),
        )
        return
    yield (
        f"the transaction with a snapshot for {name} ends without a write",
        state._replace(early=_with(state.early, at, None)),
    )
    unchanged = all(held[owner] == state.at_source[owner] for owner in world.cells[at].owners if owner != STAYER)
    passes = unchanged or world.flaw is Flaw.OLD_SNAPSHOT_PASSES
    if passes and not state.source_open & 1 << at and accepts(world, state, Side.SOURCE, at, held):
        yield (
            f"the transaction with a snapshot for {name} passes the guard at the source",
            state._replace(early=_with(state.early, at, None), source_open=state.source_open | 1 << at),
        )


def _committed(state: State, side: Side, at: int) -> State:
    """The write is acknowledged, and stands in the side's log, if that has begun."""
    bit, write = 1 << at, 1 << len(state.past[at])
    before = (state.source if side is Side.SOURCE else state.home)[at]
    value = max(before, 0) | write
    state = state._replace(past=_with(state.past, at, (*state.past[at], max(before, 0))))
    if side is Side.HOME:
        return state._replace(
            home=_with(state.home, at, value), home_log=_with(state.home_log, at, state.home_log[at] | write),
            home_open=state.home_open & ~bit,
        )  # fmt: skip
    logged = state.source_log[at] | (write if state.feed else 0)
    return state._replace(
        source=_with(state.source, at, value), source_log=_with(state.source_log, at, logged),
        source_open=state.source_open & ~bit,
    )  # fmt: skip


# -- the engine: begin, copy, follow, and the way back ---------------------------------------------------------------


def _beginning_moves(world: World, state: State) -> Iterator[Move]:
    if not state.feed and not state.source_open:  # its making waits for every writer under way
        yield "the feed begins", state._replace(feed=True)
    if state.feed or world.flaw is Flaw.COPY_BEFORE_FEED:
        at = state.copied.bit_count()  # slice by slice, in the order of the plan
        if at < len(world.cells):
            yield f"the copy reads {world.cells[at].name}", state._replace(step=Step(f"copy {at}", state.source))


def _begin_step(world: World, state: State) -> Iterator[Move]:
    if any(state.brought) and not state.closed:  # first of all: home's log must tell only what the source has not seen
        if world.flaw is not Flaw.NOTE_UNREAD:
            yield "what is noted as brought back is confirmed at home", _confirmed_at_home(state, state.brought)
        if world.flaw is not Flaw.CONFIRM_LATER:
            return
    if any(state.source_log):
        yield (
            "a step home: read the source's feed and rows in one snapshot",
            state._replace(step=Step("home", state.source, state.source_log)),
        )
    if any(state.home_log) and not any(state.brought) and not state.closed:
        yield (
            "a step back: read home's log and rows in one snapshot",
            state._replace(step=Step("back", state.home, state.home_log)),
        )


def _finish_step(world: World, state: State, step: Step) -> Iterator[Move]:
    if step.what.startswith("copy"):
        at = int(step.what.split()[1])
        yield (
            f"the copy of {world.cells[at].name} commits at home",
            state._replace(home=_with(state.home, at, step.values[at]), copied=state.copied | 1 << at, step=None),
        )
    elif step.what == "home":
        yield from _bring_home(world, state, step)
    elif step.what == "back":
        yield from _bring_back(world, state, step)
    elif step.what == "confirm home":
        unseen = world.flaw is Flaw.CONFIRM_UNSEEN
        left = tuple(
            log & ~seen if not unseen or not seen else 0 for log, seen in zip(state.source_log, step.batch, strict=True)
        )
        yield "the step home is confirmed at the source", state._replace(source_log=left, step=None)
    else:
        yield "the step back is confirmed at home", _confirmed_at_home(state, step.batch)._replace(step=None)


def _bring_home(world: World, state: State, step: Step) -> Iterator[Move]:
    """Write what the snapshot showed, in one transaction; the rows that home writes just now are waited for."""
    cells = [at for at in _touched(world, step.batch) if _belongs_home(world, state, at)]
    if not any(state.home_open & 1 << at for at in cells):
        home = list(state.home)
        for at in cells:
            home[at] = step.values[at]
        yield (
            "the step home commits at home",
            state._replace(home=tuple(home), step=Step("confirm home", batch=step.batch)),
        )


def _belongs_home(world: World, state: State, at: int) -> bool:
    """Whether a cell comes from the source: not what home wrote meanwhile, and nothing private of who lives there."""
    cell = world.cells[at]
    if cell.public:
        return True
    if world.flaw is Flaw.WHOLE_ROW_FOR_PUBLIC:
        return not state.home_log[at]
    if state.closed or all(owner == STAYER or state.at_source[owner] == Place.HOME for owner in cell.owners):
        return False
    return not state.home_log[at] or world.flaw is Flaw.SOURCE_OVERWRITES


def _bring_back(world: World, state: State, step: Step) -> Iterator[Move]:
    cells = [at for at in _touched(world, step.batch) if not world.cells[at].public]
    if not any(state.source_open & 1 << at for at in cells):
        source = list(state.source)
        for at in cells:
            source[at] = step.values[at]
        noted = state.brought if world.flaw is Flaw.NO_MARK else step.batch
        yield (
            "the step back commits at the source",
            state._replace(source=tuple(source), brought=noted, step=Step("confirm back", batch=step.batch)),
        )


def _touched(world: World, batch: Masks) -> list[int]:
    """The cells of the keys in a batch: a key is all that a feed tells."""
    keys = {cell.key for cell, seen in zip(world.cells, batch, strict=True) if seen}
    return [at for at, cell in enumerate(world.cells) if cell.key in keys]


def _confirmed_at_home(state: State, batch: Masks) -> State:
    left = tuple(log & ~seen for log, seen in zip(state.home_log, batch, strict=True))
    return state._replace(
        home_log=left, brought=tuple(log & noted for log, noted in zip(left, state.brought, strict=True))
    )


# -- the engine: directories -----------------------------------------------------------------------------------------


def _directory_moves(world: World, state: State, person: int) -> Iterator[Move]:
    """Each pair of words that the two directories can say of a person, and where it leads (`docs/protocol.md`)."""
    name, here, there = world.people[person], state.at_source[person], state.at_home[person]
    match (Place(here), Place(there)):
        case (Place.MOVING, Place.MOVING):
            yield f"{name} is fenced at the source", _says(state, Side.SOURCE, person, Place.FENCED)
        case (Place.MOVING, _):
            yield f"{name} is moving again at home, too", _says(state, Side.HOME, person, Place.MOVING)
        case (Place.FENCED, Place.MOVING):
            yield from _fenced_at_the_source(world, state, person)
        case (Place.FENCED, Place.FENCED):
            yield from _flips(world, state, person)
        case (Place.FENCED, Place.HOME):
            yield f"{name} is flipped at the source", _says(state, Side.SOURCE, person, Place.HOME)
            if world.flaw is Flaw.BACK_WITHOUT_FENCE and _source_has_all(world, state, person):
                yield f"{name} is given back at the source", _says(state, Side.SOURCE, person, Place.MOVING)
        case (Place.HOME, Place.FENCED):
            yield f"{name} is released at home", _says(state, Side.HOME, person, Place.HOME)
            yield f"{name} is fenced at the source", _says(state, Side.SOURCE, person, Place.FENCED)
        case (Place.HOME, Place.HOME):
            yield from _ways_back(world, state, person)


def _fenced_at_the_source(world: World, state: State, person: int) -> Iterator[Move]:
    """The source still has everything: it can be given the word again, or home can be fenced as well."""
    name = world.people[person]
    yield f"{name} is released at the source", _says(state, Side.SOURCE, person, Place.MOVING)
    if world.home_fenced_too:
        yield f"{name} is fenced at home", _says(state, Side.HOME, person, Place.FENCED)
    elif _home_has_all(world, state, person):
        yield f"{name} is flipped at home", _says(state, Side.HOME, person, Place.HOME)


def _ways_back(world: World, state: State, person: int) -> Iterator[Move]:
    name = world.people[person]
    if state.closed and world.flaw is not Flaw.BACK_AFTER_CLOSE:
        return
    if world.flaw is Flaw.BACK_WITHOUT_FENCE:
        yield f"{name} is fenced at the source only", _says(state, Side.SOURCE, person, Place.FENCED)
    else:
        yield f"{name} is fenced at home, to be brought back", _says(state, Side.HOME, person, Place.FENCED)


def _flips(world: World, state: State, person: int) -> Iterator[Move]:
    """Fenced on both sides: whoever has everything can get the word. Home's directory is written first either way."""
    name = world.people[person]
    if world.flaw is Flaw.SOURCE_FLIPS_FIRST:
        yield f"{name} is flipped at the source", _says(state, Side.SOURCE, person, Place.HOME)
    elif _home_has_all(world, state, person):
        yield f"{name} is flipped at home", _says(state, Side.HOME, person, Place.HOME)
    if _source_has_all(world, state, person):
        yield f"{name} is given back at home", _says(state, Side.HOME, person, Place.MOVING)


def _home_has_all(world: World, state: State, person: int) -> bool:
    """Writers at the source who passed the guard are over, and their keys have gone home."""
    waited = world.flaw is Flaw.NO_WAIT or not any(state.source_open & 1 << at for at in world.of(person))
    drained = world.flaw is Flaw.FLIP_BEFORE_DRAIN or not any(state.source_log[at] for at in world.of(person))
    return waited and drained


def _source_has_all(world: World, state: State, person: int) -> bool:
    """The same the other way: and nothing comes back once that way is closed."""
    waited = not any(state.home_open & 1 << at for at in world.of(person))
    drained = not any(state.home_log[at] for at in world.of(person))
    if world.flaw is Flaw.BACK_AFTER_CLOSE and state.closed:
        return waited
    return ((waited and drained) or world.flaw is Flaw.BACK_WITHOUT_DRAIN) and not state.closed


def _says(state: State, side: Side, person: int, place: Place) -> State:
    if side is Side.SOURCE:
        return state._replace(at_source=_with(state.at_source, person, int(place)))
    return state._replace(at_home=_with(state.at_home, person, int(place)))


# -- the engine: the end ---------------------------------------------------------------------------------------------


def _end_moves(world: World, state: State) -> Iterator[Move]:
    everybody = all(place == Place.HOME for place in (*state.at_source, *state.at_home))
    if everybody and not state.closed:
        yield "the way back is closed", state._replace(closed=True)
    if not everybody or not (state.closed or world.flaw is Flaw.ERASE_BEFORE_CLOSE):
        return
    for at, cell in enumerate(world.cells):
        equal = state.source[at] == state.home[at] or state.home_log[at]
        if world.erasable(at) and not state.erased & 1 << at and equal:
            yield (
                f"{cell.name} is compared, and erased at the source",
                state._replace(source=_with(state.source, at, GONE), erased=state.erased | 1 << at),
            )


def _with(items: tuple[Item, ...], at: int, item: Item) -> tuple[Item, ...]:
    return (*items[:at], item, *items[at + 1 :])
