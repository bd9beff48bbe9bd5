"""One instance: `uvicorn --factory shortvideo.service.app:create`, told by the environment where it is."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio.to_thread
import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException

from domicile.directory.client import DirectoryUnknown
from shortvideo.residence import MOVING
from shortvideo.service import (
    accounts,
    comments,
    feed,
    internal,
    messages,
    payouts,
    people,
    preferences,
    search,
    uploads,
)
from shortvideo.service.guard import SAFE_METHODS, Guard
from shortvideo.service.peers import NoAnswer
from shortvideo.service.places import Moving, Places, opened
from shortvideo.service.settings import Settings, from_environment
from shortvideo.service.store import REQUESTS_AT_ONCE
from shortvideo.service.web import HERE, Refused, guest, refusal, wants_json
from shortvideo.worker import working

AWAY: Final = "This part of the service can't be reached right now. Try again in a moment."
UNKNOWN: Final = "The connection broke off. Please look whether it was done."
RETRY: Final = {"retry-after": "1"}
# Domicile's fence has a state of its own; 55: a lock is held; P0: a trigger says no; 40: a deadlock was broken up.
PASSING_STATES: Final = ("DM", "55", "P0", "40", "57")
log = logging.getLogger("shortvideo")


def create(settings: Settings | None = None) -> FastAPI:
    """Make the application."""
    chosen = settings or from_environment()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = REQUESTS_AT_ONCE
        with ExitStack() as stack:
            app.state.places = stack.enter_context(opened(chosen))
            if chosen.works:
                stack.enter_context(working(app.state.places))
            yield

    app = FastAPI(title="Short video", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, log=chosen.state / "logs" / f"{chosen.location}.log")
    for module in (feed, people, comments, uploads, messages, search, payouts, accounts, preferences, internal):
        app.include_router(module.router)
    app.get("/healthz")(health)
    app.get("/static/htmx.js")(htmx)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.add_exception_handler(psycopg.DataError, impossible)
    _refuse_like_people(app)
    return app


def health(request: Request) -> Response:
    """Say where this is."""
    places: Places = request.app.state.places
    places.commons.value("SELECT 1")
    return JSONResponse({"location": places.settings.location, "ok": True})


def htmx() -> Response:
    """Give htmx, which the django-htmx package ships as a file; nothing of Django is imported."""
    spec = importlib.util.find_spec("django_htmx")
    if spec is None or spec.origin is None:
        raise RuntimeError("django-htmx is not installed")
    path = Path(spec.origin).parent / "static" / "django_htmx" / "htmx-2.min.js"
    return FileResponse(path, media_type="text/javascript", headers={"cache-control": "public, max-age=86400"})


def is_passing(fault: psycopg.Error) -> bool:
    """Whether the database refused something that it may accept in a moment: a move, a lock, a restart."""
    if (fault.sqlstate or "").startswith(PASSING_STATES):
        return True
    message = fault.diag.message_primary or ""
    return message.startswith("domicile") or isinstance(fault, psycopg.OperationalError)


def impossible(request: Request, fault: Exception) -> Response:
    """Refuse what no database keeps: NUL in a text, a number out of range."""
    log.warning("%s %s: %s", request.method, request.url.path, type(fault).__name__)
    return refusal(request, 400, "Please check what you wrote.")


def _refuse_like_people(app: FastAPI) -> None:
    """Turn every fault into a sentence; a stack trace goes to the log only."""

    @app.exception_handler(Refused)
    def refused(request: Request, fault: Refused) -> Response:
        return refusal(request, fault.status, fault.sentence)

    @app.exception_handler(Moving)
    def moving(request: Request, _: Moving) -> Response:
        return refusal(request, 503, MOVING, headers=RETRY)

    @app.exception_handler(DirectoryUnknown)
    @app.exception_handler(NoAnswer)
    @app.exception_handler(PoolTimeout)
    def away(request: Request, _: Exception) -> Response:
        return refusal(request, 503, AWAY, headers=RETRY)

    @app.exception_handler(psycopg.Error)
    def database(request: Request, fault: psycopg.Error) -> Response:
        if is_passing(fault):
            if fault.sqlstate is None and request.method not in SAFE_METHODS:
                return refusal(
                    request, 503, UNKNOWN
                )  # broken off, perhaps in the middle of COMMIT: never "do it again"
            moves = not isinstance(fault, psycopg.OperationalError) or "domicile" in str(fault.diag.message_primary)
            return refusal(request, 503, MOVING if moves else AWAY, headers=RETRY)
        log.error("%s %s: %s %s", request.method, request.url.path, type(fault).__name__, fault.sqlstate)
        return refusal(request, 500, "Something went wrong on our side.")

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, fault: RequestValidationError) -> Response:
        names = ", ".join(sorted({str(error["loc"][-1]) for error in fault.errors()}))
        return refusal(
            request, 400, f"Please check: {names}." if wants_json(request) else "Please check what you wrote."
        )

    @app.exception_handler(HTTPException)
    def http(request: Request, fault: HTTPException) -> Response:
        if not wants_json(request):
            guest(request, request.app.state.places)  # so that the page around it is theirs
        sentence = "There is no such page." if fault.status_code in {404, 405} else fault.detail
        return refusal(request, fault.status_code, sentence)
