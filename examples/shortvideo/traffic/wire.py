"""A small HTTP/1.1 client on asyncio's streams: connections are kept, nothing is followed, nothing is sent twice.

Measured against a server that does nothing: 0.04 ms of CPU for a request, httpx 2.1 ms. At 200 requests a second httpx
would take half of a core from the service it measures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Self
from urllib.parse import urlsplit

HEAD_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
IDLE_S_MAX: Final = 2.0  # uvicorn drops a quiet connection after 5 s: leave it before that
CONNECTIONS_KEPT_MAX: Final = 256
ANSWER_S_MAX: Final = 15.0


class NoAnswer(Exception):
    """Nothing whole came back: whether the service did what it was asked is not known."""


class NotSent(NoAnswer):
    """No connection came about: the service did nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; names of headers are lower case."""

    status: int
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - what a service sends has any shape
        """Return the body as JSON; raise NoAnswer when it is none."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise NoAnswer(f"{self.status} with a body that is no JSON") from error

    @property
    def location(self) -> str:
        """The location whose instance answered; `-` when nobody says."""
        return self.headers.get("x-location", "-")

    @property
    def held_ms(self) -> float | None:
        """For how long the router held the request, where it says so."""
        value = self.headers.get("x-held-ms", "")
        return float(value) if value.isdecimal() else None

    @property
    def retry_after_s(self) -> float | None:
        """How long the service asks to wait, or None; a date counts as one second."""
        value = self.headers.get("retry-after")
        if value is None:
            return None
        return float(value) if value.isdecimal() else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent."""

    method: str
    path: str
    cookies: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    body: bytes = b""
    accept: str = "application/json"


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    rested_at: float = 0.0

    def usable(self) -> bool:
        return not self.reader.at_eof() and monotonic() - self.rested_at < IDLE_S_MAX


class Wire:
    """Connections to one service at `url` (http only)."""

    def __init__(self, url: str, *, answer_s_max: float = ANSWER_S_MAX) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url}: an address such as http://127.0.0.1:8000 is meant")
        self._host, self._port = parts.hostname, parts.port or 80
        self._origin = f"http://{self._host}:{self._port}"
        self._answer_s_max = answer_s_max
        self._kept: list[_Connection] = []

    async def send(self, request: Request) -> Answer:
        """Send once and return the answer; raise NotSent or NoAnswer."""
        connection = await self._connect()
        try:
            async with asyncio.timeout(self._answer_s_max):
                connection.writer.write(self._bytes_of(request))
                await connection.writer.drain()
                answer, keep = await _read(connection.reader, request.method)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as error:
            connection.writer.close()
            raise NoAnswer(type(error).__name__) from error
        except asyncio.CancelledError:
            connection.writer.close()
            raise
        self._rest(connection, keep=keep)
        return answer

    async def close(self) -> None:
        """Give back every connection."""
        while self._kept:
            writer = self._kept.pop().writer
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        await asyncio.sleep(0)  # those that were given up earlier end, too

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _connect(self) -> _Connection:
        while self._kept:
            kept = self._kept.pop()
            if kept.usable():
                return kept
            kept.writer.close()
        try:
            async with asyncio.timeout(self._answer_s_max):
                return _Connection(*await asyncio.open_connection(self._host, self._port, limit=HEAD_BYTES_MAX))
        except (OSError, TimeoutError) as error:
            raise NotSent(type(error).__name__) from error

    def _rest(self, connection: _Connection, *, keep: bool) -> None:
        if not keep or len(self._kept) >= CONNECTIONS_KEPT_MAX:
            connection.writer.close()
            return
        connection.rested_at = monotonic()
        self._kept.append(connection)

    def _bytes_of(self, request: Request) -> bytes:
        lines = [
            f"{request.method} {request.path} HTTP/1.1",
            f"host: {self._host}:{self._port}",
            f"accept: {request.accept}",
        ]
        if request.cookies:
            lines.append("cookie: " + "; ".join(f"{name}={value}" for name, value in request.cookies.items()))
        if request.method not in {"GET", "HEAD"}:
            lines += [f"origin: {self._origin}", f"content-length: {len(request.body)}"]
        if request.content_type:
            lines.append(f"content-type: {request.content_type}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + request.body


async def _read(reader: asyncio.StreamReader, method: str) -> tuple[Answer, bool]:
    """Read one answer (RFC 9112) and say whether the connection may serve again."""
    while True:
        status, headers, cookies = _head(await reader.readuntil(b"\r\n\r\n"))
        if status >= 200:  # 1xx announces another one (RFC 9110, 15.2)
            break
    body, ended = b"", True
    if method != "HEAD" and status not in {204, 304}:
        body, ended = await _body(reader, headers)
    answer = Answer(status=status, headers=headers, cookies=cookies, body=body)
    return answer, ended and headers.get("connection", "").lower() != "close"


def _head(raw: bytes) -> tuple[int, dict[str, str], dict[str, str]]:
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers: dict[str, str] = {}
    cookies: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
        if name.lower() == "set-cookie":
            key, _, content = value.strip().partition(";")[0].partition("=")
            cookies[key] = content.strip('"')
    return int(first.partition(" ")[2][:3]), headers, cookies


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> tuple[bytes, bool]:
    """Read the body: in chunks, of a known length, or up to the end of the connection."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader), True
    length = headers.get("content-length")
    if length is None:
        return await reader.read(BODY_BYTES_MAX), False
    if int(length) > BODY_BYTES_MAX:
        raise ValueError(f"a body of {length} bytes")
    return await reader.readexactly(int(length)), True


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        if sum(map(len, parts)) + size > BODY_BYTES_MAX:
            raise ValueError("a body without an end")
        parts.append((await reader.readexactly(size + 2))[:-2])
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(parts)
