"""The other instances: what one posts to another, with the token that they share."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import httpx

from shortvideo.service.settings import Settings

TOKEN_HEADER: Final = "x-shortvideo-token"  # noqa: S105 - a header's name
WAIT_SECONDS: Final = 4.0


class NoAnswer(Exception):
    """The other place can't be reached, or asks to be asked again later."""


class Peers:
    """Posts JSON to other locations."""

    def __init__(self, settings: Settings) -> None:
        self._addresses = settings.peers
        self._client = httpx.Client(
            timeout=WAIT_SECONDS, trust_env=False,
            headers={TOKEN_HEADER: settings.token, "accept": "application/json"},
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._client.close()

    def names(self) -> list[str]:
        """Return the other locations."""
        return list(self._addresses)

    def post(self, location: str, path: str, body: dict[str, Any]) -> httpx.Response:
        """Post to one location; raise NoAnswer where it is not there or not ready. A refusal (4xx) is an answer."""
        try:
            response = self._client.post(f"{self._addresses[location]}/internal/{path}", json=body)
        except (KeyError, httpx.TransportError) as fault:
            raise NoAnswer(f"{location} does not answer: {type(fault).__name__}") from fault
        if response.status_code >= 500:
            raise NoAnswer(f"{location} answers {response.status_code}")
        return response
