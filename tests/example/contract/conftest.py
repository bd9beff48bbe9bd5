"""The service before and after a move, and people of each location: the contract is run for a person of every one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from shortvideo.media.clips import make
from shortvideo.stack import CLIP_CACHE, Stack
from tests.example.contract.visitor import COUNTRIES, Visitor
from tests.example.programme import CANARIES, LOCATIONS, move
from tests.servers import SCRATCH

Somebody = Callable[[str], Visitor]
Authors = dict[str, tuple[Visitor, int]]


@pytest.fixture(scope="package")
def service_before() -> Iterator[Stack]:
    """Homes that have a schema and nobody yet: newcomers are the first who live there."""
    with _started(locations=tuple(COUNTRIES), users=150, clips=4, home_schema=True) as running:
        yield running


@pytest.fixture(scope="package")
def service_after() -> Iterator[Stack]:
    """Homes that Domicile has made, with the people whom it has moved there."""
    with _started(locations=tuple(LOCATIONS), users=150, clips=4, canaries=CANARIES) as running:
        move(running)
        yield running


@contextmanager
def _started(**how: Any) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-contract-", dir=SCRATCH))
    folder.chmod(0o711)
    try:
        with Stack.start(folder, **how) as running:
            yield running
    finally:
        shutil.rmtree(folder)


@pytest.fixture(params=["before", "after"])
def when(request: pytest.FixtureRequest) -> str:
    """Before a move, or after one."""
    return str(request.param)


@pytest.fixture
def stack(request: pytest.FixtureRequest, when: str) -> Stack:
    """The running service; both are kept until all tests have run."""
    running: Stack = request.getfixturevalue(f"service_{when}")
    return running


@pytest.fixture(scope="package")
def clip() -> bytes:
    return make(CLIP_CACHE, 4, 1)[0].read_bytes()


@pytest.fixture(scope="package")
def authors_before(service_before: Stack, clip: bytes) -> Iterator[Authors]:
    with _authors(service_before, clip) as found:
        yield found


@pytest.fixture(scope="package")
def authors_after(service_after: Stack, clip: bytes) -> Iterator[Authors]:
    with _authors(service_after, clip) as found:
        yield found


@contextmanager
def _authors(stack: Stack, clip: bytes) -> Iterator[Authors]:
    with ExitStack() as visitors:
        found = {}
        for place, country in COUNTRIES.items():
            author = visitors.enter_context(Visitor(stack.url, country))
            author.sign_up()
            found[place] = author, author.upload(clip, caption="look", tags="fyp", publish=True)
        yield found


@pytest.fixture
def authors(request: pytest.FixtureRequest, when: str) -> Authors:
    """Somebody of each location who has published a video, and the video: an upload takes a second."""
    found: Authors = request.getfixturevalue(f"authors_{when}")
    return found


@pytest.fixture
def author(authors: Authors, elsewhere: str) -> Visitor:
    """Somebody who lives elsewhere and has published `film`."""
    return authors[elsewhere][0]


@pytest.fixture
def film(authors: Authors, elsewhere: str) -> int:
    """A video of `author`."""
    return authors[elsewhere][1]


@pytest.fixture(params=COUNTRIES)
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
