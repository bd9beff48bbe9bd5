"""The front door: leads every request to the instance of the location where the person lives.

It knows one thing, who lives where, and holds no data: bodies stream through. Who is being cut over is led to where
their data can be read; what would write is held for a moment (`holding`), then goes to where the person lives. How long
it was held stands in the answer's `x-held-ms`.

`SV_COMMONS_DSN`, `SV_DIRECTORY`, and `SV_PEERS` with the address of every instance; `uvicorn --factory
shortvideo.router:create`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

import psycopg
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
)
from aiohttp.connector import TCPConnector
from psycopg_pool import ConnectionPool, PoolTimeout
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from yarl import URL

from domicile.directory.client import Directory, DirectoryUnknown
from shortvideo.holding import Holding, Settled
from shortvideo.residence import MOVES, MOVING, NEWCOMERS, SOURCE, UNDER_WAY, Residence, Residences

WAIT: Final = ClientTimeout(total=None, sock_connect=2.0, sock_read=60.0)
"""Seconds."""
KEPT_SECONDS: Final = 3.0
"""An idle connection; less than the instances keep one, so that none is used that is just being closed."""
REQUESTS_AT_ONCE: Final = 16
"""For each instance, which does twelve at a time; more would wait there, here they wait in order and cost nothing."""
SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
# RFC 9110, 7.6.1: these speak of one connection, not of the message.
HOP_BY_HOP: Final = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
}  # fmt: skip
# Said by us, never by a browser. Without the token nobody comes to what the instances have for one another.
OURS: Final = {b"x-forwarded-for", b"x-held-ms", b"x-location", b"x-shortvideo-token"}
PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>In a moment</title>
<style>body { background: #0e0f13; color: #f4f4f6; font: 18px/1.5 system-ui; text-align: center; padding: 25vh 1rem 0 }
a { color: #8ab4ff }</style>
<main><h1>In a moment</h1><p>{sentence}</p><p><a href="">Try again</a></p></main></html>"""
log = logging.getLogger("shortvideo.router")


# What aiohttp would add by itself; a request goes on with what it came with.
UNASKED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Line:
    """The connections to one instance."""

    def __init__(self, address: str) -> None:
        self.address = address
        # Cookies, redirects and packed bodies are the browser's business.
        self.session = ClientSession(
            connector=TCPConnector(limit=0, keepalive_timeout=KEPT_SECONDS), cookie_jar=DummyCookieJar(),
            auto_decompress=False, skip_auto_headers=UNASKED, timeout=WAIT, trust_env=False,
        )  # fmt: skip
        self.free = asyncio.Semaphore(REQUESTS_AT_ONCE)


class _Gone(Exception):
    """Who asked went away in the middle of what they sent: the instance must not take it for all."""


class Router:
    """ASGI application."""

    def __init__(self, instances: Mapping[str, str], commons_dsn: str, directory: Directory) -> None:
        self._instances = dict(instances)
        self._directory = directory
        self._pool = ConnectionPool(commons_dsn, kwargs={"autocommit": True}, min_size=1, max_size=4, open=False)
        self._residences = Residences(directory, self._newcomers)
        self._holding = Holding(self._residences)
        self._lines: dict[str, Line] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._lead(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._pool.open()
        self._holding.begin()
        self._lines = {location: Line(address) for location, address in self._instances.items()}
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for line in self._lines.values():
            await line.session.close()
        await asyncio.to_thread(self._directory.close)
        self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _lead(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, writes = Headers(scope=scope), scope["method"] not in SAFE_METHODS
        try:
            settled = await self._settle(headers, writes=writes)
            line = self._lines[settled.residence.location]
        except (KeyError, psycopg.Error, PoolTimeout, DirectoryUnknown):
            await _say(headers, 503, "We can't find out where your data lives.")(scope, receive, send)
            return
        if settled.residence.fenced and writes:
            await _say(headers, 503, MOVING, held_ms=settled.held_ms)(scope, receive, send)
            return
        async with line.free:
            try:
                response = await _onwards(line, scope, receive)
            except (ClientConnectorError, ConnectionTimeoutError):
                await _say(headers, 503, "Your home does not answer right now.")(scope, receive, send)
            except TimeoutError:
                await _say(headers, 504, "Your home takes its time.")(scope, receive, send)
            except ClientError as fault:  # also where who asked went away in the middle of what they sent
                log.warning("%s: %s", settled.residence.location, type(fault).__name__)
                await _say(headers, 502, "Your home broke off in the middle.")(scope, receive, send)
            else:
                async with response:
                    await _pass_back(response, settled, send)

    async def _settle(self, headers: Headers, *, writes: bool) -> Settled:
        """Where the person lives; without one, where people of their country live; else the source."""
        cookies = _cookies(headers.get("cookie", ""))
        person = cookies.get("sv", "").partition(".")[0]
        if person.isascii() and person.isdigit() and len(person) < 19:
            if writes:
                return await self._holding.settle(int(person))
            return Settled(residence=await self._holding.locate(int(person)))
        country = cookies.get("sv_country", "")
        location = await asyncio.to_thread(self._of_country, country) if country else SOURCE
        return Settled(residence=Residence(location=location))

    def _newcomers(self, people: Sequence[int]) -> dict[int, str]:
        with self._pool.connection() as connection:
            return dict(connection.execute(NEWCOMERS, [list(people)]).fetchall()) if people else {}

    def _of_country(self, country: str) -> str:
        query = "SELECT name, receives FROM app.locations WHERE %s = ANY(countries)"
        with self._pool.connection() as connection:
            row = connection.execute(query, [country]).fetchone()
            if row is None or row[0] not in self._instances:
                return SOURCE
            if not row[1] and (row[0] not in self._directory.homes() or _is_under_way(connection)):
                return SOURCE
            return str(row[0])


def _is_under_way(connection: psycopg.Connection[Any]) -> bool:
    """Whether people are on their way home now."""
    return connection.execute(MOVES).fetchone() == (True,) and connection.execute(UNDER_WAY).fetchone() == (True,)


def create() -> ASGIApp:
    """Make the router from the environment."""
    return Router(
        json.loads(os.environ["SV_PEERS"]), os.environ["SV_COMMONS_DSN"], Directory(os.environ["SV_DIRECTORY"])
    )


async def _onwards(line: Line, scope: Scope, receive: Receive) -> ClientResponse:
    """Ask the instance: the path goes on as it came, to the byte."""
    path = (scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")).decode("latin-1")
    return await line.session.request(
        scope["method"], URL(line.address + path, encoded=True), headers=_headers(scope), data=_body(scope, receive),
        allow_redirects=False,
    )  # fmt: skip


async def _pass_back(response: ClientResponse, settled: Settled, send: Send) -> None:
    kept = [(name.lower(), value) for name, value in response.raw_headers if name.lower() not in HOP_BY_HOP]
    kept.append((b"x-location", settled.residence.location.encode()))
    if settled.held_ms is not None:
        kept.append((b"x-held-ms", str(settled.held_ms).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": kept})
    async for block in response.content.iter_any():
        await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _headers(scope: Scope) -> list[tuple[str, str]]:
    """The request's headers, with the address from where it came in place of what it claims."""
    kept = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP and name not in OURS]
    client = scope.get("client")
    kept.append((b"x-forwarded-for", (client[0] if client else "0.0.0.0").encode()))  # noqa: S104 - an address to log
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in kept]


def _body(scope: Scope, receive: Receive) -> AsyncIterator[bytes] | None:
    """The request's body as it comes; None where there is none."""
    names = {name for name, _ in scope["headers"]}
    if not names & {b"content-length", b"transfer-encoding"}:
        return None
    return _blocks(receive)


async def _blocks(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]


def _cookies(header: str) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}


def _say(headers: Headers, status: int, sentence: str, *, held_ms: int | None = None) -> Response:
    # Only where nothing was sent on may one simply ask again; after 502 and 504 nobody knows whether it was done.
    retry = {"retry-after": "1"} if status == 503 else {}
    if held_ms is not None:
        retry["x-held-ms"] = str(held_ms)
    if "application/json" in headers.get("accept", ""):
        return JSONResponse({"error": sentence}, status, headers=retry)
    return HTMLResponse(PAGE.replace("{sentence}", sentence), status, headers=retry)
