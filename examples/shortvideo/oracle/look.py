"""Looks at everything that the ledger speaks of: with each person's eyes, and in public at each location."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from shortvideo.oracle.expect import Expected, Switch, Who
from shortvideo.oracle.ledger import Kind
from shortvideo.traffic.wire import Answer, NoAnswer, Request, Wire

AT_ONCE: Final = 8
TRIES_MAX: Final = 60
WAIT_S_MIN: Final = 0.2
# The country that a visitor without an account says, and so the location that answers: where nobody lives there is
# no instance, and the source answers.
COUNTRIES: Final = ("SG", "US", "CA", "AU")


class Blind(Exception):
    """The service gives no answers: nothing can be said about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A comment or a message as it is shown; `author` is a username, None for nobody."""

    id: int
    author: str | None
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A video or a draft as it is shown."""

    id: int
    author: str | None
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How much of something the service says that it holds, and where."""

    what: str
    rows: int
    location: str
    private: bool


@dataclass(slots=True, kw_only=True)
class Private:
    """What one person sees."""

    who: Who
    let_in: bool = True
    location: str = "-"
    conversations: dict[str, list[Text]] = field(default_factory=dict)
    drafts: list[Film] = field(default_factory=list)
    open_drafts: list[int] = field(default_factory=list)  # whose file others get, too
    settings: dict[str, Any] = field(default_factory=dict)
    holdings: list[Holding] = field(default_factory=list)
    switches: dict[Switch, bool] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Public:
    """What a visitor sees at one location; None where there is nothing."""

    location: str
    comments: dict[tuple[str, str], list[Text] | None] = field(default_factory=dict)
    videos: dict[int, Film | None] = field(default_factory=dict)
    profiles: dict[str, list[Film] | None] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Seen:
    """Everything that was looked at."""

    private: list[Private] = field(default_factory=list)
    public: list[Public] = field(default_factory=list)


class Eyes:
    """Asks one service, patiently: who is asked to come again does so."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def get(self, path: str, cookies: dict[str, str]) -> Answer:
        """Return the answer to a GET; raise Blind when there is none after many tries."""
        why = ""
        for _ in range(TRIES_MAX):
            try:
                async with self._turns:
                    answer = await self._wire.send(Request(method="GET", path=path, cookies=cookies))
            except NoAnswer as error:
                why = str(error)
                await asyncio.sleep(WAIT_S_MIN)
                continue
            if answer.status < 500:
                return answer
            why = str(answer.status)
            await asyncio.sleep(answer.retry_after_s or WAIT_S_MIN)
        raise Blind(f"{path}: no answer after {TRIES_MAX} tries ({why})")

    async def json(self, path: str, cookies: dict[str, str]) -> Any:  # noqa: ANN401 - any shape
        """Return what a GET shows, None when there is nothing to show."""
        answer = await self.get(path, cookies)
        return answer.json() if answer.status == 200 else None


async def look(eyes: Eyes, book: Expected) -> Seen:
    """Look at everything; raise Blind."""
    private = await asyncio.gather(*(_private(eyes, book, who) for who in book.living()))
    return Seen(private=list(private), public=[await _public(eyes, book, *place) for place in await _locations(eyes)])


async def _private(eyes: Eyes, book: Expected, who: Who) -> Private:
    cookies = {"sv": who.cookie}
    seen = Private(who=who)
    answer = await eyes.get("/settings", cookies)
    seen.location, seen.let_in = answer.location, answer.status == 200
    if not seen.let_in:
        return seen
    seen.settings = dict(answer.json()) | await _shown_of(eyes, who, cookies)
    seen.holdings = await _holdings(eyes, cookies)
    await _drafts(eyes, book, seen, cookies)
    for other in sorted(await _talked_with(eyes, book, who, cookies)):
        page = await eyes.json(f"/messages/{quote(other)}", cookies)
        seen.conversations[other] = [_text(item, "sender") for item in page["messages"]] if page else []
    await _switches(eyes, book, seen, cookies)
    return seen


async def _drafts(eyes: Eyes, book: Expected, seen: Private, cookies: dict[str, str]) -> None:
    """Look at the person's drafts, and whether nobody and somebody else get the files of those in the ledger."""
    page = await eyes.json("/drafts", cookies) or {"drafts": []}
    others = [{"sv": who.cookie} for who in book.living() if who.id != seen.who.id][:1]
    for item in page["drafts"]:
        seen.drafts.append(Film(id=item["id"], author=seen.who.username, caption=item["caption"] or ""))
        if item["caption"] in book.drafts:
            answers = [await eyes.get(item["video_url"], stranger) for stranger in ({}, *others)]
            if any(answer.status < 400 for answer in answers):
                seen.open_drafts.append(item["id"])


async def _shown_of(eyes: Eyes, who: Who, cookies: dict[str, str]) -> dict[str, Any]:
    """Return what stands elsewhere than in the settings: the profile's words and the account for payouts."""
    profile = await eyes.json(f"/people/{quote(who.username)}", cookies) or {}
    payouts = await eyes.json("/payouts", cookies) or {}
    shown = {name: profile.get(name) for name in ("display_name", "bio")}
    return shown | {name: (payouts.get("account") or {}).get(name) for name in ("holder_name", "iban_last4")}


async def _holdings(eyes: Eyes, cookies: dict[str, str]) -> list[Holding]:
    page = await eyes.json("/settings/data", cookies) or {"holdings": []}
    return [
        Holding(what=item["what"], rows=item["rows"], location=item["location"], private=bool(item["private"]))
        for item in page["holdings"]
    ]


async def _talked_with(eyes: Eyes, book: Expected, who: Who, cookies: dict[str, str]) -> set[str]:
    """Return with whom the person has talked: as the ledger says, and as the inbox does."""
    inbox = await eyes.json("/messages", cookies) or {"people": []}
    others = {talk["person"]["username"] for talk in inbox["people"]}
    for said in book.messages.values():
        if said.author == who.id:
            others.add(said.target)
        elif said.target_id == who.id and said.author in book.people:
            others.add(book.people[said.author].username)
    return others - {""}


async def _switches(eyes: Eyes, book: Expected, seen: Private, cookies: dict[str, str]) -> None:
    for switch in book.switches:
        if switch.person != seen.who.id or switch.kind is Kind.BLOCK:
            continue
        path = f"/videos/{switch.target}" if switch.kind is Kind.LIKE else f"/people/{quote(switch.target)}"
        page = await eyes.json(path, cookies)
        if page is not None:
            seen.switches[switch] = page["liked"] if switch.kind is Kind.LIKE else page["following"]


async def _locations(eyes: Eyes) -> Sequence[tuple[str, str]]:
    """Return each location with a country whose visitors it answers."""
    found: dict[str, str] = {}
    for country in COUNTRIES:
        answer = await eyes.get("/healthz", {"sv_country": country})
        found.setdefault(answer.location, country)
    return sorted(found.items())


async def _public(eyes: Eyes, book: Expected, location: str, country: str) -> Public:
    cookies = {"sv_country": country}
    seen = Public(location=location)

    async def comments(target: tuple[str, str]) -> None:
        root = "videos" if target[0] == "video" else "people"
        page = await eyes.json(f"/{root}/{quote(target[1])}/comments", cookies)
        seen.comments[target] = [_text(item, "author") for item in page["comments"]] if page else None

    async def video(number: int) -> None:
        page = await eyes.json(f"/videos/{number}", cookies)
        seen.videos[number] = _film(page) if page else None

    async def profile(username: str) -> None:
        page = await eyes.json(f"/people/{quote(username)}", cookies)
        seen.profiles[username] = [_film(item) for item in page["videos"]] if page else None

    targets = {(said.target_type, said.target) for said in book.comments.values()}
    authors = {book.people[film.author].username for film in book.videos.values() if film.author in book.people}
    await asyncio.gather(
        *(comments(target) for target in sorted(targets)),
        *(video(film.id) for film in book.videos.values() if film.id is not None),
        *(profile(username) for username in sorted(authors)),
    )
    return seen


def _film(item: dict[str, Any]) -> Film:
    return Film(id=item["id"], author=_name(item.get("author")), caption=item["caption"] or "")


def _text(item: dict[str, Any], by: str) -> Text:
    return Text(id=item["id"], author=_name(item[by]), body=item["body"])


def _name(author: Any) -> str | None:  # noqa: ANN401 - a person, a username, or nobody
    if isinstance(author, dict):
        author = author.get("username")
    return str(author) if author else None
