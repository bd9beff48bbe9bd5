"""The directory over HTTP: who lives where, told to the platform's own machines and nobody else.

    GET  /v1/subjects/{key}     {"subject", "state", "home", "authority", "version"}
    POST /v1/subjects           {"subjects": [key, …]} → {"version", "subjects": [the same for each, in order]}
    GET  /v1/changes?after=N    waits up to some seconds: {"version", "subjects": [key, …], "reset"}
    GET  /v1/homes              {"version", "homes": [those where somebody lives]}
    GET  /healthz               whether the source answers; needs no token

It reads the source's own tables for every answer, in sessions that can't write, and remembers nobody. When the source
doesn't answer it says 503, never what it knew before. One session looks ten times a second whether the version moved,
however many clients wait. No key of a person is in its log.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from domicile.directory.states import Entry, Served, State, entry_of
from domicile.errors import DomicileError, Refused, Unreachable
from domicile.stores.postgres import places
from domicile.stores.postgres.session import connect, faults

SESSIONS = 4
SESSION_WAIT_S = 1.0
LOOK_S = 0.1
WAIT_S_MAX = 5.0
WAITERS_MAX = 256
CONNECTIONS_MAX = 1_024
STATEMENT_MS_MAX = 2_000
KEY_CHARS_MAX = 1_000
SUBJECTS_MAX = 1_000
BODY_BYTES_MAX = 1_048_576
VERSION_DIGITS_MAX = 18
MAX_AGE_S = 1
TOKEN_CHARS_MIN = 16
AWAY = "the source does not answer; nobody knows now who lives where"
log = logging.getLogger("domicile.directory")
T = TypeVar("T")


class _BadRequest(Exception):
    """The request is none of ours; the text says why, without what was in it."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class Reader:
    """Reads the source's directory: a few sessions that can't write. Raises DomicileErrors."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._free: queue.LifoQueue[psycopg.Connection[Any] | None] = queue.LifoQueue()
        for _ in range(SESSIONS):
            self._free.put(None)
        self._there = False

    def version(self) -> int:
        """Return the directory's version; 0 before anybody ever moved. Raise Refused where one was and is gone."""

        def look(connection: psycopg.Connection[Any]) -> int:
            if not self._there and not places.there(connection):
                return 0
            self._there = True
            return places.version(connection)

        found = self._read(look)
        if self._there and not found:
            raise Refused(f"store {self._served.store}: its directory is gone; put it back, or start again without one")
        return found

    def entries(self, subjects: Sequence[str]) -> tuple[int, tuple[Entry, ...]]:
        """Say of each, in order, where they stand, and as of which version."""
        nobody: tuple[int, dict[str, places.Place]] = (0, {})
        version, found = self._read(
            lambda connection: places.look_up(connection, self._served.kind, subjects), empty=nobody
        )
        return version, tuple(entry_of(subject, found, source=self._served.location) for subject in subjects)

    def changed(self, after: int) -> places.Changed:
        """Say who changed since that version."""
        nothing = places.Changed(version=0, reset=after > 0)
        return self._read(lambda connection: places.changed(connection, self._served.kind, after=after), empty=nothing)

    def homes(self) -> tuple[int, tuple[str, ...]]:
        """Return the homes where somebody lives, as of which version."""

        def look(connection: psycopg.Connection[Any]) -> tuple[int, tuple[str, ...]]:
            return places.version(connection), places.lived_in(connection, self._served.homes)

        nowhere: tuple[int, tuple[str, ...]] = (0, ())
        return self._read(look, empty=nowhere)

    def close(self) -> None:
        """Give the sessions back that are free."""
        with_connections = [self._free.get_nowait() for _ in range(self._free.qsize())]
        for connection in with_connections:
            if connection is not None:
                connection.close()

    def _read(self, look: Callable[[psycopg.Connection[Any]], T], *, empty: T | None = None) -> T:
        """Read in a free session; `empty` while nobody ever moved, and there are no tables."""
        with self._session() as connection, faults(self._served.store, "read the directory"):
            if empty is not None and not self._there:
                self._there = places.there(connection)
                if not self._there:
                    return empty
            return look(connection)

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            connection = self._free.get(timeout=SESSION_WAIT_S)
        except queue.Empty:
            raise Unreachable(f"store {self._served.store}: all sessions wait for it") from None
        try:
            if connection is None or connection.closed:
                connection = self._open()
            yield connection
        finally:
            if connection is not None and connection.broken:
                connection.close()
            self._free.put(connection)

    def _open(self) -> psycopg.Connection[Any]:
        connection = connect(self._served.dsn, store=self._served.store)
        with faults(self._served.store, "open a session that can't write"):
            connection.execute("SET default_transaction_read_only = on")
            connection.execute(f"SET statement_timeout = {STATEMENT_MS_MAX:d}".encode())
        return connection


class Beat:
    """The one look at the version for all who wait; `version` is None while the source doesn't answer."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ending = threading.Event()
        self._moved = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.version: int | None = None
        self.waiting = 0
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def end(self) -> None:
        """Look no longer."""
        self._ending.set()
        self._thread.join()

    async def beyond(self, after: int) -> None:
        """Return once the version is not `after`, or can't be told, or the wait is over."""
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while self.version == after:
                    await self._moved.wait()
        except TimeoutError:
            return

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                found: int | None = self._reader.version()
            except DomicileError as fault:
                if self.version is not None:
                    log.warning("503 from now on: %s", fault)
                found = None
            if found != self.version:
                self._loop.call_soon_threadsafe(self._move, found)
            self._ending.wait(LOOK_S)

    def _move(self, version: int | None) -> None:
        self.version = version
        self._moved.set()
        self._moved = asyncio.Event()


class _Service:
    """The routes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._beat: Beat | None = None

    @asynccontextmanager
    async def living(self, _: Starlette) -> AsyncIterator[None]:
        """Look at the version for as long as the service lives."""
        self._beat = Beat(self._reader)
        self._beat.start()
        yield
        await run_in_threadpool(self._beat.end)
        self._reader.close()

    @property
    def beat(self) -> Beat:
        """The look at the version."""
        if self._beat is None:
            raise RuntimeError("the service has not begun to live")
        return self._beat

    def subject(self, request: Request) -> Response:
        """Say where one person stands."""
        key = _key(request.path_params["key"])
        version, (entry,) = self._reader.entries([key])
        kept = "no-store" if entry.state is State.FENCED else f"private, max-age={MAX_AGE_S}"
        return JSONResponse(entry.as_json(version=version), headers={"cache-control": kept})

    async def subjects(self, request: Request) -> Response:
        """Say where many people stand."""
        keys = _keys(await _body(request))
        version, entries = await run_in_threadpool(self._reader.entries, keys)
        said = [entry.as_json(version=version) for entry in entries]
        return JSONResponse({"version": version, "subjects": said}, headers={"cache-control": "no-store"})

    async def changes(self, request: Request) -> Response:
        """Say whose state changed, once somebody's did; without `after` from where to go on."""
        after = _after(request.query_params.get("after"))
        if after is None:
            changed = places.Changed(version=await run_in_threadpool(self._reader.version))
        else:
            await self._wait(after)
            changed = await run_in_threadpool(self._reader.changed, after)
        said = {"version": changed.version, "subjects": list(changed.keys), "reset": changed.reset}
        return JSONResponse(said, headers={"cache-control": "no-store"})

    async def _wait(self, after: int) -> None:
        if self.beat.waiting >= WAITERS_MAX:
            raise _BadRequest("too many wait for changes already", 503)
        self.beat.waiting += 1
        try:
            await self.beat.beyond(after)
        except asyncio.CancelledError:
            raise _BadRequest("the directory ends; ask again", 503) from None  # the server cancels who still waits
        finally:
            self.beat.waiting -= 1

    def homes(self, _: Request) -> Response:
        """Say in which homes somebody lives."""
        version, homes = self._reader.homes()
        said = {"version": version, "homes": list(homes)}
        return JSONResponse(said, headers={"cache-control": f"private, max-age={MAX_AGE_S}"})

    def health(self, _: Request) -> Response:
        """Say whether the source answers."""
        return JSONResponse({"ok": True, "version": self._reader.version()}, headers={"cache-control": "no-store"})


def application(served: Served, *, token: str | None = None) -> ASGIApp:
    """Make the service; with a `token` nobody else is answered."""
    service = _Service(Reader(served))
    inner = Starlette(
        routes=[
            Route("/v1/subjects/{key:path}", service.subject, methods=["GET"]),
            Route("/v1/subjects", service.subjects, methods=["POST"]),
            Route("/v1/changes", service.changes, methods=["GET"]),
            Route("/v1/homes", service.homes, methods=["GET"]),
            Route("/healthz", service.health, methods=["GET"]),
        ],
        lifespan=service.living,
        exception_handlers={DomicileError: _away, _BadRequest: _refuse},
    )
    return inner if token is None else _Guarded(inner, token)


def serve(served: Served, *, host: str, port: int, token: str | None) -> None:
    """Answer until the process is stopped; Refused when anybody on the network could ask."""
    refuse_open_door(host, token)
    uvicorn.run(
        application(served, token=token), host=host, port=port, access_log=False, log_level="warning",
        server_header=False, limit_concurrency=CONNECTIONS_MAX, timeout_graceful_shutdown=1, timeout_keep_alive=30,
    )  # fmt: skip


def refuse_open_door(host: str, token: str | None) -> None:
    """Raise Refused when a host that others can reach is to be served without a token, or with one that is guessed."""
    if token is not None and len(token) < TOKEN_CHARS_MIN:
        raise Refused(f"the directory's token is shorter than {TOKEN_CHARS_MIN} characters; draw a longer one")
    if token is None and not _is_loopback(host):
        raise Refused(
            f"the directory would tell everybody who reaches {host} who lives where; give --token env:NAME, or listen "
            "on 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Guarded:
    """Lets in who shows the token."""

    def __init__(self, inner: ASGIApp, token: str) -> None:
        self._inner = inner
        self._wanted = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/healthz":
            shown = Headers(scope=scope).get("authorization", "").encode("latin-1", "replace")
            if not hmac.compare_digest(shown, self._wanted):
                refusal = JSONResponse({"error": "no token"}, 401, headers={"www-authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._inner(scope, receive, send)


def _away(_: Request, fault: Exception) -> Response:
    log.warning("503: %s", type(fault).__name__)
    return JSONResponse({"error": AWAY}, 503, headers={"retry-after": "1", "cache-control": "no-store"})


def _refuse(_: Request, fault: Exception) -> Response:
    if not isinstance(fault, _BadRequest):
        raise fault
    return JSONResponse({"error": fault.text}, fault.status, headers={"cache-control": "no-store"})


async def _body(request: Request) -> Mapping[str, Any]:
    data = b""
    async for block in request.stream():
        data += block
        if len(data) > BODY_BYTES_MAX:
            raise _BadRequest(f"more than {BODY_BYTES_MAX} bytes", 413)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _BadRequest('the body is {"subjects": ["key", …]}')
    return found


def _keys(body: Mapping[str, Any]) -> list[str]:
    keys = body.get("subjects")
    if set(body) != {"subjects"} or not isinstance(keys, list):
        raise _BadRequest('the body is {"subjects": ["key", …]}')
    if len(keys) > SUBJECTS_MAX:
        raise _BadRequest(f"more than {SUBJECTS_MAX} subjects")
    return [_key(key) for key in keys]


def _key(key: object) -> str:
    """A key as PostgreSQL could hold it."""
    if not isinstance(key, str) or not 0 < len(key) <= KEY_CHARS_MAX or "\0" in key or not _is_unicode(key):
        raise _BadRequest(f"a subject's key is a text of 1 to {KEY_CHARS_MAX} characters")
    return key


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can spell."""
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def _after(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > VERSION_DIGITS_MAX:
        raise _BadRequest("`after` is a version: digits")
    return int(text)
