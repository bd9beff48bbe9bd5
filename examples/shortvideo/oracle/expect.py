"""What the service has to show, told from the ledger alone.

A write that was acknowledged is there; one whose outcome is not known may be there once, or not at all. Where several
writes concern the same thing (a like given and taken back), the last acknowledged one counts, and every unknown one
after it leaves its own value open, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from shortvideo.oracle.ledger import Entry, Kind, Outcome, Value


class There(StrEnum):
    """Whether something has to be found."""

    YES = "yes"
    NO = "no"
    MAYBE = "maybe"


@dataclass(slots=True, kw_only=True)
class Who:
    """A person, and what is needed to look with their eyes."""

    id: int
    username: str = ""
    cookie: str = ""
    email: str = ""
    password: str = ""
    account: There = There.YES
    baseline: dict[str, int] | None = None  # rows before the first write; empty: a new account


@dataclass(slots=True, kw_only=True)
class Said:
    """A comment or a message: its body stands nowhere else."""

    body: str
    author: int
    target_type: str  # video, user; person: a message
    target: str
    target_id: int = 0
    id: int | None = None
    there: There = There.YES


@dataclass(slots=True, kw_only=True)
class Film:
    """A video or a draft: its caption stands nowhere else."""

    caption: str
    author: int
    id: int | None = None
    there: There = There.YES


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Switch:
    """Something that is on or off between a person and a target: a like, a follow."""

    kind: Kind
    person: int
    target: str


@dataclass(slots=True, kw_only=True)
class Count:
    """How many rows were added: `done` at least, `unknown` more at most."""

    done: int = 0
    unknown: int = 0


Key = tuple[int, str]


@dataclass(slots=True)
class Expected:
    """Everything that has to be seen."""

    people: dict[int, Who] = field(default_factory=dict)
    comments: dict[str, Said] = field(default_factory=dict)  # by body, as messages
    messages: dict[str, Said] = field(default_factory=dict)
    videos: dict[str, Film] = field(default_factory=dict)  # by caption, as drafts
    drafts: dict[str, Film] = field(default_factory=dict)
    switches: dict[Switch, set[bool]] = field(default_factory=dict)  # the values that are right
    settings: dict[Key, set[Value]] = field(default_factory=dict)  # by person and field
    counts: dict[Key, Count] = field(default_factory=lambda: defaultdict(Count))  # by person and kind

    def size(self) -> int:
        """Return how many things are spoken of."""
        said, shown = len(self.comments) + len(self.messages), len(self.videos) + len(self.drafts)
        left = len(self.switches) + len(self.settings)
        return said + shown + left + sum(count.done for count in self.counts.values())

    def living(self) -> list[Who]:
        """Return the people whose account has to be there, by id."""
        return [who for _, who in sorted(self.people.items()) if who.account is There.YES]

    def stands(self, person: int | None = None, username: str | None = None) -> bool:
        """Say whether an account that the ledger knows is there for certain; others' are."""
        for who in self.people.values():
            if person == who.id or username == who.username:
                return who.account is There.YES
        return True


def expected(entries: Iterable[Entry]) -> Expected:
    """Fold the ledger, in its order; raise BadLedger."""
    book = Expected()
    for entry in entries:
        _FOLDS[entry.kind](book, entry)
    _open_blocked(book)
    return book


def _open_blocked(book: Expected) -> None:
    """Leave open whether messages to somebody who blocks their sender arrive: on the way they may be overtaken."""
    blocks = {(s.person, s.target) for s in book.switches if s.kind is Kind.BLOCK}
    for said in book.messages.values():
        author = book.people.get(said.author)
        if author is not None and (said.target_id, author.username) in blocks:
            said.there = There.MAYBE


def _person(book: Expected, entry: Entry) -> None:
    who = book.people.setdefault(entry.person, Who(id=entry.person))
    who.username, who.cookie = entry.text("username"), entry.text("cookie")
    who.email, who.password = entry.text("email"), entry.text("password")


def _baseline(book: Expected, entry: Entry) -> None:
    """The first one counts: a later run into the same ledger starts from what the earlier ones added."""
    who = book.people.setdefault(entry.person, Who(id=entry.person))
    if who.baseline is None:
        who.baseline = {what: entry.number(what) for what in entry.what}


def _comment(book: Expected, entry: Entry) -> None:
    body = entry.text("body")
    book.comments[body] = Said(
        body=body,
        author=entry.person,
        target_type=entry.text("target_type"),
        target=entry.text("target"),
        id=_id(entry),
        there=_there(entry),
    )


def _message(book: Expected, entry: Entry) -> None:
    body = entry.text("body")
    book.messages[body] = Said(
        body=body,
        author=entry.person,
        target_type="person",
        target=entry.text("to"),
        target_id=entry.number("to_id"),
        id=_id(entry),
        there=_there(entry),
    )


def _video(book: Expected, entry: Entry) -> None:
    caption = entry.text("caption")
    book.videos[caption] = Film(caption=caption, author=entry.person, id=_id(entry), there=_there(entry))


def _draft(book: Expected, entry: Entry) -> None:
    caption = entry.text("caption")
    book.drafts[caption] = Film(caption=caption, author=entry.person, id=_id(entry), there=_there(entry))


def _draft_published(book: Expected, entry: Entry) -> None:
    """A draft becomes a video under the same caption; when that is not known, it is one of both."""
    for draft in book.drafts.values():
        if draft.id == entry.number("draft"):
            done = entry.outcome is Outcome.DONE
            draft.there = There.NO if done else There.MAYBE
            book.videos[draft.caption] = Film(
                caption=draft.caption,
                author=entry.person,
                id=_id(entry),
                there=There.YES if done else There.MAYBE,
            )


def _taken_back(things: Iterable[Said | Film], entry: Entry) -> None:
    for thing in things:
        if thing.id == entry.number("id"):
            thing.there = There.NO if entry.outcome is Outcome.DONE else There.MAYBE


def _comment_deleted(book: Expected, entry: Entry) -> None:
    _taken_back(book.comments.values(), entry)


def _video_deleted(book: Expected, entry: Entry) -> None:
    _taken_back(book.videos.values(), entry)


def _draft_deleted(book: Expected, entry: Entry) -> None:
    _taken_back(book.drafts.values(), entry)


def _switch(book: Expected, entry: Entry) -> None:
    target = entry.what.get("video", entry.what.get("username"))
    switch = Switch(kind=entry.kind, person=entry.person, target=str(target))
    value = bool(entry.what["on"])
    if entry.outcome is Outcome.DONE:
        book.switches[switch] = {value}
    else:
        book.switches.setdefault(switch, {True, False}).add(value)


def _settings(book: Expected, entry: Entry) -> None:
    for name, value in entry.what.items():
        key = (entry.person, name)
        if entry.outcome is Outcome.DONE:
            book.settings[key] = {value}
        elif key in book.settings:  # before the first one nobody knows what stood there
            book.settings[key].add(value)


def _counted(book: Expected, entry: Entry) -> None:
    count = book.counts[entry.person, entry.kind]
    if entry.outcome is Outcome.DONE:
        count.done += 1
    else:
        count.unknown += 1


def _account_deleted(book: Expected, entry: Entry) -> None:
    """Who leaves takes the private things along; videos go, comments stay without a name."""
    there = There.NO if entry.outcome is Outcome.DONE else There.MAYBE
    book.people.setdefault(entry.person, Who(id=entry.person)).account = there
    for film in (*book.videos.values(), *book.drafts.values()):
        if film.author == entry.person and film.there is not There.NO:
            film.there = there
    for said in book.messages.values():
        if entry.person in {said.author, said.target_id}:
            said.there = There.MAYBE


def _id(entry: Entry) -> int | None:
    return entry.number("id") if entry.outcome is Outcome.DONE else None


def _there(entry: Entry) -> There:
    return There.YES if entry.outcome is Outcome.DONE else There.MAYBE


_FOLDS = {
    Kind.PERSON: _person,
    Kind.BASELINE: _baseline,
    Kind.COMMENT: _comment,
    Kind.COMMENT_DELETED: _comment_deleted,
    Kind.LIKE: _switch,
    Kind.FOLLOW: _switch,
    Kind.BLOCK: _switch,
    Kind.MESSAGE: _message,
    Kind.VIDEO: _video,
    Kind.VIDEO_DELETED: _video_deleted,
    Kind.DRAFT: _draft,
    Kind.DRAFT_DELETED: _draft_deleted,
    Kind.DRAFT_PUBLISHED: _draft_published,
    Kind.SETTINGS: _settings,
    Kind.WATCH: _counted,
    Kind.REPORT: _counted,
    Kind.PAYOUT_ACCOUNT: _settings,
    Kind.ACCOUNT_DELETED: _account_deleted,
}
