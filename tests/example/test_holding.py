"""What the router holds while its person is between two places: for how long, and where it goes then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest

from domicile.directory.client import Directory, DirectoryUnknown
from domicile.model import State
from domicile.stores.postgres.server import EmbeddedServer
from shortvideo import holding
from shortvideo.holding import Holding, Settled
from shortvideo.residence import Residence, Residences
from tests.directory.town import Town, serving
from tests.servers import create_database

SOURCE, FENCED, HOME = (
    Residence(location="sg"), Residence(location="sg", fenced=True), Residence(location="us"),
)  # fmt: skip


@pytest.fixture(scope="module")
def place_name(pg18: EmbeddedServer) -> str:
    """The DSN of an empty database for the module."""
    return create_database(pg18, f"held_{uuid4().hex[:12]}")


@pytest.fixture
def town(place_name: str) -> Town:
    """People about to move, with keys 1, 2 and 3 among them."""
    town = Town(dsn=place_name)
    town.begin()
    return town


@pytest.fixture
def residences(town: Town) -> Iterator[Residences]:
    """What the router asks."""
    with serving(town.served()) as url, Directory(url) as directory:
        yield Residences(directory, lambda people: dict.fromkeys(set(people) & {900}, "us"))


def router(residences: Residences) -> Holding:
    """A holding that hears of changes; to be made in the loop."""
    made = Holding(residences)
    made.begin()
    return made


def test_who_is_at_one_place_is_not_held(town: Town, residences: Residences) -> None:
    async def settle() -> list[Settled]:
        held = router(residences)
        return [await held.settle(person) for person in (1, 77, 900)]

    town.record(State.MOVING)
    assert [Settled(residence=SOURCE), Settled(residence=SOURCE), Settled(residence=HOME)] == asyncio.run(settle())


def test_a_request_waits_for_the_cut_over_and_goes_home(town: Town, residences: Residences) -> None:
    async def settle() -> Settled:
        held = router(residences)
        assert await held.locate(1) == FENCED
        waiting = asyncio.ensure_future(held.settle(1))
        await asyncio.sleep(0)
        await asyncio.to_thread(town.record, State.HOME, "1")
        return await waiting

    town.record(State.FENCED)
    settled = asyncio.run(settle())
    assert settled.residence == HOME
    assert settled.held_ms is not None
    assert 0 < settled.held_ms < holding.HOLD_SECONDS * 1000


def test_under_a_fence_that_stands_only_the_first_waits(
    town: Town, residences: Residences, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "HOLD_SECONDS", 0.3)

    async def settle() -> list[Settled]:
        held = router(residences)
        return [await held.settle(1), await held.settle(1), await held.settle(2)]

    town.record(State.FENCED)
    first, again, other = asyncio.run(settle())
    assert [FENCED, FENCED, FENCED] == [first.residence, again.residence, other.residence]
    assert again.held_ms is None
    for settled in (first, other):
        assert settled.held_ms is not None
        assert 300 <= settled.held_ms < 2_000


def test_no_more_are_held_than_it_can_bear(town: Town, residences: Residences, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "HOLDS_MAX", 1)
    monkeypatch.setattr(holding, "HOLD_SECONDS", 0.3)

    async def settle() -> list[Settled]:
        held = router(residences)
        await held.locate(1)
        await held.locate(2)
        return list(await asyncio.gather(held.settle(1), held.settle(2)))

    town.record(State.FENCED)
    assert [False, True] == sorted(settled.held_ms is None for settled in asyncio.run(settle()))


def test_where_the_directory_is_away_nobody_is_led_anywhere(town: Town) -> None:
    with serving(town.served()) as url:
        directory = Directory(url)
    with directory, pytest.raises(DirectoryUnknown):
        asyncio.run(Holding(Residences(directory, lambda _: {})).settle(1))
    assert "directory" not in {thread.name for thread in threading.enumerate()}
