"""Asks the directory where a person lives; standard library only, so that a platform can take this one file along.

    directory = Directory("http://127.0.0.1:7080", token=…)
    directory.watch()                       # drops what is remembered the moment somebody is fenced
    found = directory.locate("42")
    if found.fenced: …                      # nobody writes now: "try again in a moment"
    else: lead_to(found.authority)

An answer is remembered for `max_age_s`. Without a fresh one, and without an answer of the service, DirectoryUnknown is
raised: it refuses and never guesses. Safe to use from several threads.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

ASK_SECONDS_MAX: Final = 2.0
WAIT_SECONDS: Final = 5.0
"""How long the service may hold a question for changes."""
REST_SECONDS: Final = 0.2
"""Between questions for changes that were not answered."""
IDLE_MAX: Final = 16
KNOWN_MAX: Final = 100_000
SUBJECTS_MAX: Final = 1_000
ANSWER_BYTES_MAX: Final = 4_000_000
STATES: Final = frozenset({"outside", "moving", "fenced", "home"})
Listener = Callable[[frozenset[str] | None], None]
"""Told whose answers were dropped; None: everybody's."""


class DirectoryUnknown(Exception):
    """Nobody can say now where this person lives: answer "try again in a moment", and don't guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a person stands: `outside`, `moving`, `fenced` or `home`; and the location whose data counts now."""

    state: str
    home: str | None
    authority: str
    version: int = field(default=0, compare=False)
    """As of when; `SET LOCAL domicile.as_of` to it in a transaction that writes rows of several people."""

    @property
    def fenced(self) -> bool:
        """Whether nobody may write for this person now; the authority can be read."""
        return self.state == "fenced"


class Directory:
    """`url` of the service, its `token` if it has one; an answer counts for `max_age_s`."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        max_age_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the directory's url is http://HOST:PORT or https://HOST:PORT")
        self._https = parts.scheme == "https"
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._max_age_s = max_age_s
        self._clock = clock
        self._known: dict[str, tuple[float, Located]] = {}
        self._lock = threading.Lock()
        self._dropped_at = 0
        """The version of the last change heard of: an older answer is no news."""
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: set[http.client.HTTPConnection] = set()
        self._listeners: list[Listener] = []
        self._closing = threading.Event()
        self._watcher: threading.Thread | None = None

    # -- asking --------------------------------------------------------------------------------------------------

    def known(self, key: str) -> Located | None:
        """Return what is remembered and fresh, without asking."""
        until, found = self._known.get(key, (0.0, None))
        return found if self._clock() < until else None

    def locate(self, key: str, *, fresh: bool = False) -> Located:
        """Say where the person of this key stands; `fresh` asks in any case. Raise DirectoryUnknown."""
        found = None if fresh else self.known(key)
        if found is not None:
            return found
        began = self._clock()
        answer = self._ask("GET", f"/v1/subjects/{quote(key, safe='')}")
        found, version = _located(answer), _number(answer, "version")
        self._remember(key, found, version, began)
        return found

    def locate_all(self, keys: Iterable[str]) -> dict[str, Located]:
        """Say where all of these stand, asking for each; of one moment for every `SUBJECTS_MAX` of them."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, Located] = {}
        for start in range(0, len(wanted), SUBJECTS_MAX):
            part = wanted[start : start + SUBJECTS_MAX]
            answer = self._ask("POST", "/v1/subjects", {"subjects": part})
            entries = answer.get("subjects")
            if not isinstance(entries, list) or len(entries) != len(part):
                raise DirectoryUnknown("the directory's answer is none")
            found |= {key: _located(entry) for key, entry in zip(part, entries, strict=True)}
        return found

    def homes(self) -> frozenset[str]:
        """Return the homes where somebody lives already."""
        homes = self._ask("GET", "/v1/homes").get("homes")
        if not isinstance(homes, list) or not all(isinstance(home, str) for home in homes):
            raise DirectoryUnknown("the directory's answer is none")
        return frozenset(homes)

    def forget(self, key: str) -> None:
        """Ask again next time."""
        with self._lock:
            self._known.pop(key, None)

    def _remember(self, key: str, found: Located, version: int, began: float) -> None:
        with self._lock:
            if version < self._dropped_at:  # overtaken by a change that was heard of meanwhile
                return
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = (began + self._max_age_s, found)

    # -- being told ----------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Tell `listener`, in the watching thread, whose answers are dropped."""
        self._listeners.append(listener)

    def watch(self) -> None:
        """Begin to wait for changes, in a thread of its own that ends with `close`."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="directory", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Hang up, and end the watching thread."""
        with self._lock:
            self._closing.set()
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            for connection in self._busy:
                if connection.sock is not None:
                    with suppress(OSError):
                        connection.sock.shutdown(socket.SHUT_RDWR)
        if self._watcher is not None:
            self._watcher.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _watch(self) -> None:
        after: int | None = None
        while not self._closing.is_set():
            try:
                after = self._hear(after)
            except DirectoryUnknown:
                self._closing.wait(REST_SECONDS)

    def _hear(self, after: int | None) -> int:
        """Wait for what changed since `after`, and drop it; return the version to go on from."""
        question = "/v1/changes" if after is None else f"/v1/changes?after={after}"
        answer = self._ask("GET", question, seconds=WAIT_SECONDS + ASK_SECONDS_MAX)
        version, keys = _number(answer, "version"), answer.get("subjects")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise DirectoryUnknown("the directory's answer is none")
        everybody = after is None or bool(answer.get("reset"))
        if not everybody and not keys:
            return version
        with self._lock:
            self._dropped_at = version
            if everybody:
                self._known.clear()
            for key in keys:
                self._known.pop(key, None)
        for listener in self._listeners:
            listener(None if everybody else frozenset(keys))
        return version

    # -- the wire ------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: object = None, *, seconds: float | None = None) -> Mapping[str, Any]:
        """Ask over a connection that is kept; one that was closed meanwhile is opened again, once."""
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers if data is None else {**self._headers, "content-type": "application/json"}
        fault: Exception | None = None
        for kept in (True, False):
            with self._connection(seconds or ASK_SECONDS_MAX, kept=kept) as connection:
                try:
                    connection.request(method, self._path + path, body=data, headers=headers)
                    response = connection.getresponse()
                    text = response.read(ANSWER_BYTES_MAX + 1)
                except (OSError, http.client.HTTPException) as broken:
                    fault = broken
                    connection.close()
                    if isinstance(broken, TimeoutError):
                        break
                    continue
                if len(text) > ANSWER_BYTES_MAX:
                    connection.close()
                    raise DirectoryUnknown("the directory's answer is none")
                return _read(response.status, text)
        raise DirectoryUnknown(f"the directory does not answer ({type(fault).__name__})") from fault

    @contextmanager
    def _connection(self, seconds: float, *, kept: bool) -> Iterator[http.client.HTTPConnection]:
        """Lend a connection to one question; `kept` may be one that was used before."""
        with self._lock:
            if self._closing.is_set():
                raise DirectoryUnknown("the directory was closed")
            found = self._idle.pop() if kept and self._idle else self._new(seconds)
            self._busy.add(found)
        found.timeout = seconds
        if found.sock is not None:
            found.sock.settimeout(seconds)
        try:
            yield found
        except BaseException:
            found.close()
            raise
        finally:
            with self._lock:
                self._busy.discard(found)
                if found.sock is not None and not self._closing.is_set() and len(self._idle) < IDLE_MAX:
                    self._idle.append(found)
                else:
                    found.close()

    def _new(self, seconds: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=seconds)


def _read(status: int, text: bytes) -> Mapping[str, Any]:
    if status != 200:
        raise DirectoryUnknown(f"the directory answers {status}")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise DirectoryUnknown("the directory's answer is none")
    return answer


def _located(answer: Mapping[str, Any]) -> Located:
    state, home, authority = answer.get("state"), answer.get("home"), answer.get("authority")
    if state not in STATES or not isinstance(authority, str) or not (home is None or isinstance(home, str)):
        raise DirectoryUnknown("the directory's answer is none")
    return Located(state=state, home=home, authority=authority, version=_number(answer, "version"))


def _number(answer: Mapping[str, Any], name: str) -> int:
    number = answer.get(name)
    if not isinstance(number, int):
        raise DirectoryUnknown("the directory's answer is none")
    return number
