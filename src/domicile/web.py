"""One question over HTTP, bounded in time and size; standard library only. Follows no redirect and uses no proxy."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from domicile.errors import BadFile, Unreachable

ASK_SECONDS_MAX: Final = 10.0
SCHEMES: Final = ("http", "https")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Status, content type and body."""

    status: int
    kind: str
    body: bytes


def require_url(url: str, *, what: str) -> str:
    """The URL without slashes at its end; `BadFile` unless it is one of http or https, without user or query."""
    if not _is_plain(url):
        raise BadFile(f"{what}: {url!a} is not of the form https://HOST/PATH; correct it")
    return url.rstrip("/")


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return fits and url.isascii() and url.isprintable() and not ("@" in parts.netloc or parts.query or parts.fragment)


def ask(url: str, *, body: bytes | None = None, bytes_max: int, seconds_max: float = ASK_SECONDS_MAX) -> Answer:
    """GET the URL, or POST the body; `Unreachable` without a whole answer of at most `bytes_max` bytes in time."""
    parts = urlsplit(url)
    connection = _connection(parts, seconds_max)
    late = threading.Event()
    timer = threading.Timer(seconds_max, _cut, (connection, late))
    timer.daemon = True
    try:
        timer.start()
        headers = {"accept-encoding": "identity", **({"content-type": "text/plain; charset=utf-8"} if body else {})}
        connection.request("GET" if body is None else "POST", parts.path or "/", body=body, headers=headers)
        response = connection.getresponse()
        found = response.read(bytes_max + 1)
        kind = response.headers.get("content-type", "")
    except (OSError, http.client.HTTPException) as fault:
        why = f"no answer in {seconds_max:g} s" if late.is_set() else type(fault).__name__
        raise Unreachable(f"{url}: no answer ({why}); check the address, and that it is served") from None
    finally:
        timer.cancel()
        connection.close()
    if len(found) > bytes_max:
        raise Unreachable(f"{url}: answers with more than {bytes_max} bytes; check the address")
    if late.is_set() or response.length:
        raise Unreachable(f"{url}: its answer was cut off; ask again")
    return Answer(status=response.status, kind=kind, body=found)


def _connection(parts: SplitResult, seconds_max: float) -> http.client.HTTPConnection:
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=seconds_max)


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    """End a talk that takes too long, however slowly the other end goes on."""
    late.set()
    opened = connection.sock
    if opened is not None:
        with suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)
