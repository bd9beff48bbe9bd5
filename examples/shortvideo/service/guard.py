"""Around every request: other sites' forms are refused, headers that protect are added, and a line is logged."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
POLICY: Final = (
    "default-src 'self'; img-src 'self' data: http: https:; media-src 'self' blob: http: https:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, log: Path) -> None:
        self._app = app
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = logging.getLogger(f"shortvideo.requests.{log.stem}")
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        self._log.handlers = [logging.FileHandler(log, encoding="utf-8")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers, status = time.perf_counter(), Headers(scope=scope), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _protect(MutableHeaders(scope=message), scope["path"])
            await send(message)

        scope.setdefault("state", {})
        try:
            if scope["method"] not in SAFE_METHODS and _is_foreign(headers):
                await JSONResponse({"error": "This came from another site."}, 403)(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        finally:
            self._write(scope, headers, status, time.perf_counter() - began)

    def _write(self, scope: Scope, headers: Headers, status: int, seconds: float) -> None:
        """One line of JSON. Addresses and people are in it: the log is private data, too."""
        person = scope["state"].get("person")
        client: tuple[str, int] | None = scope.get("client")
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "address": headers.get("x-forwarded-for", client[0] if client else ""),
            "user": person.id if person else None,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(seconds * 1000, 1),
        }
        self._log.info(json.dumps(line))


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site's page sent this; programs send no Origin."""
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host", "")


def _protect(headers: MutableHeaders, path: str) -> None:
    headers.setdefault("content-security-policy", POLICY)
    headers.setdefault("x-content-type-options", "nosniff")
    headers.setdefault("referrer-policy", "same-origin")
    # Pages are somebody's; style and programs are asked for again, and mostly found unchanged.
    headers.setdefault("cache-control", "no-cache" if path.startswith("/static/") else "no-store")
