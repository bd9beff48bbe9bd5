"""The service before and after a move, and people of each location: the contract is run for a person of every one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import pytest

from shortvideo.media.clips import make
from shortvideo.stack import CLIP_CACHE, Stack
from tests.example.contract.visitor import COUNTRIES, Visitor
from tests.example.programme import CANARIES, LOCATIONS, move
from tests.servers import SCRATCH

Somebody = Callable[[str], Visitor]
Authors = dict[str, tuple[Visitor, int]]


@contextmanager
def _started(**how: Any) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-contract-", dir=SCRATCH))
    folder.chmod(0o711)
    try:
        with Stack.start(folder, **how) as running:
            yield running
    finally:
        shutil.rmtree(folder)


WHERE = (("before", "sg"), ("after", "sg"), ("after", "us"), ("after", "au"))
"""Before a move people live in one place; after it, in several."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test before a move and after one, for a person of each location where people live then."""
    if "location" in metafunc.fixturenames:
        metafunc.parametrize(("when", "location"), WHERE, indirect=True, scope="package")
    elif "when" in metafunc.fixturenames:
        metafunc.parametrize("when", ("before", "after"), indirect=True, scope="package")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have all tests of one service together, at the end: it is started once."""
    here = Path(__file__).parent

    def place(item: pytest.Item) -> str:
        return str(item.callspec.params.get("when", "")) if here in item.path.parents and _is_called(item) else ""

    items.sort(key=place)


def _is_called(item: pytest.Item) -> TypeGuard[pytest.Function]:
    return isinstance(item, pytest.Function) and hasattr(item, "callspec")


@pytest.fixture(scope="package")
def when(request: pytest.FixtureRequest) -> str:
    """Before a move, or after one."""
    return str(request.param)


@pytest.fixture(scope="package")
def stack(when: str) -> Iterator[Stack]:
    """The running service: homes that have a schema and nobody yet, or homes made by Domicile and lived in.

    One after the other: a service costs a sixth of the machine also while nobody asks it.
    """
    if when == "before":
        with _started(locations=tuple(COUNTRIES), users=150, clips=4, home_schema=True) as running:
            yield running
    else:
        with _started(locations=tuple(LOCATIONS), users=150, clips=4, canaries=CANARIES) as running:
            move(running)
            yield running


@pytest.fixture(scope="package")
def clip() -> bytes:
    return make(CLIP_CACHE, 4, 1)[0].read_bytes()


@pytest.fixture(scope="package")
def authors(stack: Stack, clip: bytes) -> Iterator[Authors]:
    """Somebody of each location who has published a video, and the video: an upload takes a second."""
    with ExitStack() as visitors:
        found = {}
        for place, country in COUNTRIES.items():
            author = visitors.enter_context(Visitor(stack.url, country))
            author.sign_up()
            found[place] = author, author.upload(clip, caption="look", tags="fyp", publish=True)
        yield found


@pytest.fixture
def author(authors: Authors, elsewhere: str) -> Visitor:
    """Somebody who lives elsewhere and has published `film`."""
    return authors[elsewhere][0]


@pytest.fixture
def film(authors: Authors, elsewhere: str) -> int:
    """A video of `author`."""
    return authors[elsewhere][1]


@pytest.fixture(scope="package")
def location(request: pytest.FixtureRequest) -> str:
    """Where the person of the test lives."""
    return str(request.param)


@pytest.fixture
def elsewhere(location: str) -> str:
    """Another location."""
    names = list(COUNTRIES)
    return names[(names.index(location) + 1) % len(names)]


@pytest.fixture
def nobody(stack: Stack) -> Iterator[Somebody]:
    """Make visitors without an account: `nobody("us")`."""
    with ExitStack() as visitors:
        yield lambda place: visitors.enter_context(Visitor(stack.url, COUNTRIES[place]))


@pytest.fixture
def somebody(nobody: Somebody) -> Somebody:
    """Make people who have just signed up: `somebody("us")`."""

    def come(place: str) -> Visitor:
        visitor = nobody(place)
        visitor.sign_up()
        return visitor

    return come


@pytest.fixture
def me(somebody: Somebody, location: str) -> Visitor:
    """The person of the test."""
    return somebody(location)


@pytest.fixture
def them(somebody: Somebody, elsewhere: str) -> Visitor:
    """Somebody who lives elsewhere."""
    return somebody(elsewhere)
