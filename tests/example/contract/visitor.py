"""A visitor of the service: a small browser without a screen, of one person or of nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final, TypeVar

import httpx

COUNTRIES: Final = {"sg": "SG", "us": "US", "au": "NZ"}
"""The locations of the contract, each with a country whose people live there."""
WAIT_S_MAX: Final = 20.0
POLL_S: Final = 0.1
NUMBERS: Final = count(1)
T = TypeVar("T")


class Visitor(httpx.Client):
    """Asks for JSON, keeps cookies, follows nothing."""

    def __init__(self, url: str, country: str) -> None:
        super().__init__(base_url=url, headers={"accept": "application/json"}, timeout=20)
        self.cookies.set("sv_country", country)
        self.country = country
        self.id = 0
        self.username = ""
        self.email = ""
        self.password = ""
        self.location = ""

    def sign_up(self) -> None:
        """Become somebody."""
        form = newcomer(self.country)
        answer = self.post("/signup", data=form)
        assert 201 == answer.status_code, answer.text
        self.id, self.username, self.location = (answer.json()[name] for name in ("id", "username", "location"))
        self.email, self.password = form["email"], form["password"]

    def json(self, path: str, **query: str) -> Any:
        """Return what a page shows."""
        answer = self.get(path, params=query)
        assert 200 == answer.status_code, f"{path}: {answer.status_code} {answer.text[:200]}"
        return answer.json()

    def tell(self, path: str, *, status: int = 201, **form: str) -> Any:
        """Send a form; return what comes back."""
        answer = self.post(path, data=form)
        assert status == answer.status_code, f"{path}: {answer.status_code} {answer.text[:200]}"
        return answer.json() if answer.content else None

    def upload(self, clip: bytes, *, caption: str, publish: bool, tags: str = "") -> int:
        """Upload a clip; return the number of the video or the draft."""
        answer = self.post(
            "/videos",
            data={"caption": caption, "tags": tags, "publish": str(publish).lower()},
            files={"file": ("clip.mp4", clip, "video/mp4")},
        )
        assert 201 == answer.status_code, answer.text
        return int(answer.json()["id" if publish else "draft_id"])


def newcomer(country: str) -> dict[str, str]:
    """Return a form of somebody whom nobody has seen yet."""
    word = f"v{next(NUMBERS)}x{time.time_ns() // 1000 % 10**9}"
    return {
        "email": f"{word}@visitor.example",
        "phone": f"+15550{next(NUMBERS):06}",
        "password": f"pass-{word}",
        "username": word,
        "display_name": f"Visitor {word}",
        "country": country,
        "birth_date": "1990-04-01",
    }


def eventually(look: Callable[[], T | None]) -> T:
    """Return what `look` gives once it gives something: jobs carry some things, a little later."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(POLL_S)
    return found


def shape(value: object) -> object:
    """Return what a value is made of, without the values: keys, kinds, and of a list its first element."""
    if isinstance(value, Mapping):
        return {name: shape(inner) for name, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__
