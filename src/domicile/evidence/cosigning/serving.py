"""A witness: cosigns checkpoints of logs that it knows, and none that rolls back or forks what it saw (tlog-witness).

It sees heads and proofs alone, never an entry. `GET /logs/ID/checkpoint`, with the SHA-256 of the origin as ID, is ours
(the spec leaves reading open): what was cosigned last, for monitors that compare.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from domicile.errors import DomicileError
from domicile.evidence.cosigning.store import Kept, WitnessStore
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.tlog.checkpoint import parse_checkpoint
from domicile.evidence.tlog.cosignature import cosign
from domicile.evidence.tlog.note import format_signatures, parse_note
from domicile.evidence.tlog.witness import (
    CALL,
    REQUEST_BYTES_MAX,
    SIZE_TYPE,
    Declined,
    format_answer,
    format_size,
    identify,
    parse_request,
)
from domicile.host import Host

CONNECTIONS_MAX: Final = 256
TEXT: Final = "text/plain; charset=utf-8"
log = logging.getLogger("domicile.evidence.cosigning")


class WitnessService:
    """One key, its store, and the keys of the logs that it knows: of each log in the order in which they took over."""

    def __init__(self, signer: Signer, logs: Iterable[Verifier], store: WitnessStore, *, host: Host) -> None:
        self._signer = signer
        self._logs: dict[str, list[Verifier]] = defaultdict(list)
        for verifier in logs:
            self._logs[verifier.name].append(verifier)
        self._ids = {log_id(origin): origin for origin in self._logs}
        self._store = store
        self._host = host

    def add_checkpoint(self, body: bytes) -> bytes:
        """Answer a request: lines of one cosignature; `Declined` otherwise. The new head is durable before."""
        request = parse_request(body)
        head = identify(request, dict(self._logs))
        now = int(self._host.now().timestamp())
        self._store.advance(request, head, keys=self._logs[head.origin], now=now)
        return format_answer([cosign(parse_note(request.checkpoint).text, self._signer, time=now)])

    def last(self, identity: str) -> bytes | None:
        """The last checkpoint that was cosigned of the log with this ID, our cosignature behind it."""
        kept = self._store.last(self._ids.get(identity, ""))
        return None if kept is None else with_cosignature(kept, self._signer)


def log_id(origin: str) -> str:
    """By what a log is asked for: the SHA-256 of its origin in hex."""
    return hashlib.sha256(origin.encode()).hexdigest()


def with_cosignature(kept: Kept, signer: Signer) -> bytes:
    """A kept checkpoint, our cosignature of when it was seen behind it."""
    text = parse_note(kept.checkpoint).text
    parse_checkpoint(text)
    return kept.checkpoint + format_signatures([cosign(text, signer, time=kept.seen_at)])


def application(service: WitnessService) -> ASGIApp:
    """Make the HTTP interface."""

    async def add(request: Request) -> Response:
        data = b""
        async for block in request.stream():
            data += block
            if len(data) > REQUEST_BYTES_MAX:
                return Response(f"more than {REQUEST_BYTES_MAX} bytes\n", 413, media_type=TEXT)
        try:
            answer = await run_in_threadpool(service.add_checkpoint, data)
        except Declined as declined:
            return _declined(declined)
        except DomicileError as fault:  # a full disk, or a token that is gone: a kept head is asked for again
            return _unable(fault)
        return Response(answer, media_type=TEXT, headers={"cache-control": "no-store"})

    def last(request: Request) -> Response:
        try:
            found = service.last(request.path_params["identity"])
        except DomicileError as fault:
            return _unable(fault)
        if found is None:
            return Response("nothing was cosigned of such a log\n", 404, media_type=TEXT)
        return Response(found, media_type=TEXT, headers={"cache-control": "no-store"})

    return Starlette(
        routes=[
            Route(f"/{CALL}", add, methods=["POST"]),
            Route("/logs/{identity}/checkpoint", last, methods=["GET"]),
        ]
    )


def serve(service: WitnessService, *, host: str, port: int) -> None:
    """Answer until the process is stopped."""
    uvicorn.run(
        application(service), host=host, port=port, access_log=False, log_level="warning", server_header=False,
        limit_concurrency=CONNECTIONS_MAX, timeout_graceful_shutdown=1, timeout_keep_alive=30,
    )  # fmt: skip


def _unable(fault: DomicileError) -> Response:
    log.warning("500: %s", fault)
    return Response("the witness can't keep what it sees, or can't sign; try later\n", 500, media_type=TEXT)


def _declined(declined: Declined) -> Response:
    """A refusal as the spec wants it: a 409 is the size that was seen, with a content type of its own."""
    if declined.forked:
        log.warning("%s: %s", declined.status, declined)
    if declined.size is not None:
        return Response(format_size(declined.size), declined.status, headers={"content-type": SIZE_TYPE})
    return Response(f"{declined}\n", declined.status, media_type=TEXT)
