"""An act: the request that a person makes, and what an answer to it means. Deciding only; `run` sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from shortvideo.oracle.ledger import Entry, Kind, Outcome, Value
from shortvideo.traffic.people import Crowd, Person
from shortvideo.traffic.wire import Answer, Request

Settle = Callable[[Answer], Sequence[Entry]]
FORM = "application/x-www-form-urlencoded"


def _nothing(_: Answer) -> Sequence[Entry]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One request. `settle` takes a good answer into memory and says what was acknowledged.

    `doubt` is what may have happened when no answer says whether it did.
    """

    name: str
    person: Person
    request: Request
    settle: Settle = _nothing
    doubt: tuple[Entry, ...] = ()
    refusals: frozenset[int] = field(default=frozenset())  # statuses that other people's acts explain


Chooser = Callable[[Person, Crowd], Act | None]


def get(person: Person, path: str, **query: str) -> Request:
    """Ask for a page's JSON."""
    return Request(method="GET", path=path + ("?" + urlencode(query) if query else ""), cookies=person.cookies)


def post(person: Person, path: str, **fields: str) -> Request:
    """Send a form."""
    return Request(
        method="POST",
        path=path,
        cookies=person.cookies,
        content_type=FORM if fields else "",
        body=urlencode(fields).encode(),
    )


def delete(person: Person, path: str) -> Request:
    """Ask that something be gone."""
    return Request(method="DELETE", path=path, cookies=person.cookies)


def upload(person: Person, clip: bytes, fields: dict[str, str]) -> Request:
    """Send a file and a form (RFC 7578)."""
    boundary = "clip-0f3c9b1e7a"
    parts = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    parts.append(
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="clip.mp4"\r\n'
        "content-type: video/mp4\r\n\r\n"
    )
    body = "".join(parts).encode() + clip + f"\r\n--{boundary}--\r\n".encode()
    kind = f"multipart/form-data; boundary={boundary}"
    return Request(method="POST", path="/videos", cookies=person.cookies, content_type=kind, body=body)


def person_path(username: str, rest: str = "") -> str:
    """Return the address of a profile, or of something below it."""
    return f"/people/{quote(username)}{rest}"


def entry(person: Person, kind: Kind, **what: Value) -> Entry:
    """Make a line about something that was done."""
    return Entry(kind=kind, person=person.id, what=what)


def doubtful(person: Person, kind: Kind, **what: Value) -> tuple[Entry, ...]:
    """Make a line about something that may have been done."""
    return (Entry(kind=kind, person=person.id, outcome=Outcome.UNKNOWN, what=what),)
