"""The client a platform takes along: what it remembers, what it drops, and when it refuses to say anything."""

from __future__ import annotations

import ast
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from domicile.directory import client
from domicile.directory.client import Directory, DirectoryUnknown, Located
from domicile.model import State
from domicile.stores.postgres import places
from tests.directory.town import MOVERS, Town, serving, until

AT_HOME = Located(state="home", home="us", authority="us")


Asked = Callable[..., Directory]


@pytest.fixture
def asked() -> Iterator[Asked]:
    """Make clients that are closed at the end."""
    with ExitStack() as stack:
        yield lambda url, **settings: stack.enter_context(Directory(url, **settings))


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(client.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert set() == {name.split(".", 1)[0] for name in modules} - set(sys.stdlib_module_names)


def test_an_answer_counts_for_its_age_and_no_longer(url: str, town: Town, asked: Asked) -> None:
    clock = Clock()
    directory = asked(url, clock=clock)  # nobody watches
    assert "outside" == directory.locate("1").state
    town.record(State.HOME, "1")
    clock.now = 0.99
    assert "outside" == directory.locate("1").state
    assert AT_HOME == directory.locate("1", fresh=True)
    with town.session() as connection:
        assert places.version(connection) == directory.locate("1").version  # as of when it knows
    directory.forget("1")
    assert directory.known("1") is None
    clock.now = 1.01
    assert AT_HOME == directory.locate("1")
    assert AT_HOME == directory.known("1")
    clock.now = 2.02
    assert directory.known("1") is None


def test_who_is_fenced_is_dropped_at_once_and_others_are_not(url: str, town: Town, asked: Asked) -> None:
    directory = asked(url, max_age_s=1_000.0)
    heard: list[frozenset[str] | None] = []
    directory.listen(heard.append)
    directory.watch()
    until(lambda: heard == [None])  # from here on it hears of everything
    town.record(State.MOVING, "1", "2")
    until(lambda: len(heard) == 2)
    assert ["moving", "moving"] == [directory.locate(key).state for key in ("1", "2")]
    town.record(State.FENCED, "1")
    assert until(lambda: directory.known("1") is None) < 2
    assert directory.locate("1").fenced
    assert not directory.locate("2").fenced
    assert Located(state="moving", home="us", authority="sg") == directory.known("2")
    assert [None, frozenset({"1", "2"}), frozenset({"1"})] == heard


def test_many_are_asked_for_anew_each_time(directory: Directory, town: Town) -> None:
    keys = ["77", *MOVERS]
    assert {"outside"} == {found.state for found in directory.locate_all(keys).values()}
    town.record(State.FENCED)
    found = directory.locate_all([*keys, *keys])
    assert ["outside"] + ["fenced"] * len(MOVERS) == [found[key].state for key in keys]
    assert {} == directory.locate_all([])


def test_more_than_one_question_holds_are_several(
    directory: Directory, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.record(State.HOME)
    monkeypatch.setattr(client, "SUBJECTS_MAX", 3)
    assert dict.fromkeys(MOVERS, AT_HOME) == directory.locate_all(MOVERS)


def test_somebody_lives_in_a_home_from_the_first_cut_over_on(directory: Directory, town: Town) -> None:
    town.record(State.FENCED)
    assert frozenset() == directory.homes()
    town.record(State.HOME, "2")
    assert frozenset({"us"}) == directory.homes()


def test_without_an_answer_and_a_fresh_memory_it_refuses(town: Town, asked: Asked) -> None:
    clock = Clock()
    with serving(town.served()) as url:
        directory = asked(url, clock=clock)
        assert "outside" == directory.locate("1").state
    assert "outside" == directory.locate("1").state  # a second is a second
    for ask in (
        lambda: directory.locate("1", fresh=True), lambda: directory.locate("2"), directory.homes,
        lambda: directory.locate_all(["1"]),
    ):  # fmt: skip
        with pytest.raises(DirectoryUnknown, match="does not answer"):
            ask()
    clock.now = 1.01
    with pytest.raises(DirectoryUnknown):
        directory.locate("1")


def test_when_the_source_is_away_it_refuses_and_then_goes_on(directory: Directory, town: Town) -> None:
    town.record(State.HOME, "1")
    town.close_doors(closed=True)
    try:
        with pytest.raises(DirectoryUnknown, match="503"):
            directory.locate("1", fresh=True)
    finally:
        town.close_doors(closed=False)
    until(lambda: _says(directory, AT_HOME))


def _says(directory: Directory, wanted: Located) -> bool:
    try:
        return directory.locate("1", fresh=True) == wanted
    except DirectoryUnknown:
        return False


def test_a_wrong_token_is_no_answer(town: Town, asked: Asked) -> None:
    with serving(town.served(), token="sixteen-signs-at-least") as url:
        with pytest.raises(DirectoryUnknown, match="401"):
            asked(url, token="sixteen-signs-or-more!").locate("1")
        assert "outside" == asked(url, token="sixteen-signs-at-least").locate("1").state


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"state": "gone", "home": null, "authority": "sg", "version": 1}',
        b'{"state": "home", "home": null, "authority": null, "version": 1}',
        b'{"state": "home", "home": 3, "authority": "us", "version": 1}',
        b'{"state": "home", "home": "us", "authority": "us", "version": "1"}',
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(answer: bytes, asked: Asked) -> None:
    said = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer)
    with _saying(said) as url, pytest.raises(DirectoryUnknown, match="none"):
        asked(url).locate("1")


def test_the_same_spelt_right_is_taken(asked: Asked) -> None:
    answer = b'{"state": "home", "home": "us", "authority": "us", "version": 1}'
    with _saying(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer)) as url:
        assert AT_HOME == asked(url).locate("1")


def test_a_service_that_breaks_off_is_no_answer(asked: Asked) -> None:
    with _saying(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{") as url, pytest.raises(DirectoryUnknown):
        asked(url).locate("1")


@pytest.mark.parametrize("answer", [b"{}", b'{"version": 1, "subjects": [{}]}', b'{"version": 1, "subjects": 3}'])
def test_who_watches_goes_on_after_an_answer_that_is_none(
    answer: bytes, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REST_SECONDS", 0.0)
    often = threading.Event()
    with _saying(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer)) as url:
        directory = asked(url)
        ask, questions = directory._ask, list[object]()

        def asking(*given: Any, **more: Any) -> Any:
            questions.append(given)
            if len(questions) > 3:
                often.set()
            return ask(*given, **more)

        monkeypatch.setattr(directory, "_ask", asking)
        directory.listen(lambda _: None)
        directory.watch()
        assert often.wait(10)
        directory.close()


def test_a_silent_service_is_given_up(monkeypatch: pytest.MonkeyPatch, asked: Asked) -> None:
    monkeypatch.setattr(client, "ASK_SECONDS_MAX", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        directory = asked(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(DirectoryUnknown, match="TimeoutError"):
            directory.locate("1")


@pytest.mark.parametrize("url", ["", "127.0.0.1:1", "file:///etc/passwd", "http://"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(ValueError, match="http://HOST:PORT"):
        Directory(url)


class _saying:  # noqa: N801 - used as a function
    """Answers every question with these bytes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._answer_all)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _answer_all(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                connection.sendall(self._answer)
