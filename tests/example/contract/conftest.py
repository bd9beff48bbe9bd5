"""The service with three locations, and people of each; the contract is run for a person of every location."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shortvideo.media.clips import make
from shortvideo.stack import CLIP_CACHE, Stack
from tests.example.contract.visitor import COUNTRIES, Visitor
from tests.servers import SCRATCH

Somebody = Callable[[str], Visitor]


@pytest.fixture(scope="package")
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-contract-", dir=SCRATCH))
    folder.chmod(0o711)
    with Stack.start(folder, locations=tuple(COUNTRIES), users=150, clips=4, home_schema=True) as running:
        yield running
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def clip() -> bytes:
    return make(CLIP_CACHE, 4, 1)[0].read_bytes()


@pytest.fixture(scope="package")
def authors(stack: Stack, clip: bytes) -> Iterator[dict[str, tuple[Visitor, int]]]:
    """Somebody of each location who has published a video, and the video: an upload takes a second."""
    with ExitStack() as visitors:
        found = {}
        for place, country in COUNTRIES.items():
            author = visitors.enter_context(Visitor(stack.url, country))
            author.sign_up()
            found[place] = author, author.upload(clip, caption="look", tags="fyp", publish=True)
        yield found


@pytest.fixture
def author(authors: dict[str, tuple[Visitor, int]], elsewhere: str) -> Visitor:
    """Somebody who lives elsewhere and has published `film`."""
    return authors[elsewhere][0]


@pytest.fixture
def film(authors: dict[str, tuple[Visitor, int]], elsewhere: str) -> int:
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
