"""Compares what has to be seen with what is seen. Numbers stand beside the checks.

1  a text, video or draft that was acknowledged is shown, with its words and its author     otherwise: lost
2  ... once                                                                                 otherwise: doubled
3  what was taken back is not shown; likes, follows and settings are as they were left      otherwise: lost
4  a person's rows of a kind are the earlier ones and the acknowledged ones                 otherwise: lost, doubled
5  private things are said to lie where the person lives, and every location shows the same otherwise: misplaced
6  nobody sees a message between others or somebody else's draft                            otherwise: exposed
7  who has an account gets in, who left does not (look.py asks only for those who stayed)   otherwise: lost
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shortvideo.oracle.expect import Expected, Said, There
from shortvideo.oracle.ledger import Kind
from shortvideo.oracle.look import Film, Private, Public, Seen, Text

# Kinds that are seen only as a number of rows, by the name under which "my data" counts them.
COUNTED: Final = {Kind.WATCH: "videos watched", Kind.REPORT: "reports"}
# Pages show the newest so many. What is not on a full page may be older, so nothing is said of it.
TEXTS_SHOWN_MAX: Final = 200
VIDEOS_SHOWN_MAX: Final = 30

Talks = dict[tuple[int, str], list[Said]]  # by person and the other one's username


class Fault(StrEnum):
    """What is wrong."""

    LOST = "lost"
    DOUBLED = "doubled"
    MISPLACED = "in the wrong place"
    EXPOSED = "visible to the wrong person"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class Finding:
    """One difference; `words` say of what, whose, and where it was looked for."""

    fault: Fault
    words: str


def compare(book: Expected, seen: Seen) -> list[Finding]:
    """Return every difference, each once."""
    found: set[Finding] = set()
    for public in seen.public:
        found.update(_public_texts(book, public))
        found.update(_public_videos(book, public))
    talks = _talks(book)
    for private in seen.private:
        found.update(_account(book, private))
        if private.let_in:
            found.update(_messages(book, talks, private))
            found.update(_drafts(book, private))
            found.update(_left_as(book, private))
            found.update(_counts(book, private))
            found.update(_places(private))
    return sorted(found)


def _public_texts(book: Expected, public: Public) -> Iterator[Finding]:
    """Checks 1, 2, 3 for comments."""
    where = f"as {public.location} shows it"
    by_body = _by_body(text for texts in public.comments.values() for text in texts or ())
    full = {target for target, texts in public.comments.items() if len(texts or ()) >= TEXTS_SHOWN_MAX}
    for said in book.comments.values():
        if not _target_stands(book, said):
            continue
        shown = by_body.get(said.body, [])
        name = f"comment {said.id or '?'} of person {said.author} on {said.target_type} {said.target}, {where}"
        if shown or (said.target_type, said.target) not in full:
            yield from _once(said.there, len(shown), name)
        if said.there is There.YES and shown:
            yield from _same(said.id, shown[0].id, name)
            author = book.people[said.author]
            if author.account is There.YES and shown[0].author != author.username:
                yield Finding(fault=Fault.MISPLACED, words=f"{name}: under the name of {shown[0].author}")


def _target_stands(book: Expected, said: Said) -> bool:
    if said.target_type == "user":
        return book.stands(username=said.target)
    films = [film for film in book.videos.values() if film.id is not None and str(film.id) == said.target]
    return all(film.there is There.YES for film in films)


def _public_videos(book: Expected, public: Public) -> Iterator[Finding]:
    """Checks 1, 2, 3 for videos."""
    shown = _by_caption(film for films in public.profiles.values() for film in films or ())
    full = {username for username, films in public.profiles.items() if len(films or ()) >= VIDEOS_SHOWN_MAX}
    for film in book.videos.values():
        author = book.people[film.author].username
        name = f"video {film.id or '?'} of person {film.author}, as {public.location} shows it"
        listed = shown.get(film.caption, [])
        if listed or author not in full:
            yield from _once(film.there, len(listed), f"{name} in the profile")
        alone = public.videos.get(film.id) if film.id is not None else None
        if film.there is There.YES and film.id is not None and alone is None:
            yield Finding(fault=Fault.LOST, words=name)
        elif film.there is There.NO and alone is not None:
            yield Finding(fault=Fault.LOST, words=f"the end of {name}")
        elif alone is not None and (alone.author, alone.caption) != (author, film.caption):
            yield Finding(fault=Fault.LOST, words=f"{name}: other words, or another author")


def _messages(book: Expected, talks: Talks, private: Private) -> Iterator[Finding]:
    """Checks 1, 2 and 6 for messages."""
    me = private.who
    for other, texts in private.conversations.items():
        by_body = _by_body(texts)
        for said in talks.get((me.id, other), ()):
            name = f"message {said.id or '?'} of person {said.author} to {said.target}, as person {me.id} sees it"
            shown = by_body.get(said.body, [])
            if shown or len(texts) < TEXTS_SHOWN_MAX:
                yield from _once(said.there, len(shown), f"{name} at {private.location}")
            if shown:
                yield from _same(said.id, shown[0].id, name)
        for text in texts:
            theirs = book.messages.get(text.body)
            if theirs is not None and me.id not in {theirs.author, theirs.target_id}:
                words = f"message {text.id} of person {theirs.author} to {theirs.target}: person {me.id} sees it"
                yield Finding(fault=Fault.EXPOSED, words=words)


def _talks(book: Expected) -> Talks:
    """Return the messages of each conversation, for both who have it."""
    talks: Talks = {}
    for said in book.messages.values():
        talks.setdefault((said.author, said.target), []).append(said)
        if said.author in book.people and said.author != said.target_id:
            talks.setdefault((said.target_id, book.people[said.author].username), []).append(said)
    return talks


def _drafts(book: Expected, private: Private) -> Iterator[Finding]:
    """Checks 1, 2, 3 and 6 for drafts."""
    me = private.who
    for number in private.open_drafts:
        yield Finding(fault=Fault.EXPOSED, words=f"draft {number} of person {me.id}: others get its file")
    shown = _by_caption(private.drafts)
    for film in book.drafts.values():
        count = len(shown.get(film.caption, []))
        if film.author == me.id:
            yield from _once(film.there, count, f"draft {film.id or '?'} of person {me.id} at {private.location}")
        elif count:
            words = f"draft {film.id or '?'} of person {film.author}: person {me.id} sees it"
            yield Finding(fault=Fault.EXPOSED, words=words)


def _left_as(book: Expected, private: Private) -> Iterator[Finding]:
    """Check 3 for likes, follows and settings."""
    me = private.who.id
    blocked = {s.target for s in book.switches if s.kind is Kind.BLOCK and s.person == me}
    for switch, right in book.switches.items():
        value = private.switches.get(switch)
        if switch.person != me or value is None or value in right or switch.target in blocked:
            continue
        words = f"{switch.kind} of person {me} for {switch.target}: {_on(value)}, left {_on(not value)}"
        yield Finding(fault=Fault.LOST, words=words)
    for (person, name), allowed in book.settings.items():
        if person == me and private.settings.get(name) not in allowed:
            yield Finding(fault=Fault.LOST, words=f"{name} of person {me}: not as it was left")


def _counts(book: Expected, private: Private) -> Iterator[Finding]:
    """Check 4."""
    me = private.who
    rows = Counter({holding.what: 0 for holding in private.holdings})
    for holding in private.holdings:
        rows[holding.what] += holding.rows
    for kind, what in COUNTED.items():
        if me.baseline is None or what not in rows:
            continue
        count = book.counts[me.id, kind]
        least = me.baseline.get(what, 0) + count.done
        words = f"{what} of person {me.id} at {private.location}: {rows[what]} rows"
        if rows[what] < least:
            yield Finding(fault=Fault.LOST, words=f"{words}, {least} at least")
        if rows[what] > least + count.unknown:
            yield Finding(fault=Fault.DOUBLED, words=f"{words}, {least + count.unknown} at most")


def _places(private: Private) -> Iterator[Finding]:
    """Check 5."""
    for holding in private.holdings:
        if holding.private and holding.rows and holding.location != private.location:
            words = f"{holding.what} of person {private.who.id}: at {holding.location}, served by {private.location}"
            yield Finding(fault=Fault.MISPLACED, words=words)


def _account(book: Expected, private: Private) -> Iterator[Finding]:
    """Check 7."""
    if not private.let_in and book.people[private.who.id].account is There.YES:
        yield Finding(fault=Fault.LOST, words=f"the session of person {private.who.id} at {private.location}")


def _once(there: There, count: int, name: str) -> Iterator[Finding]:
    if there is There.YES and not count:
        yield Finding(fault=Fault.LOST, words=name)
    elif there is There.NO and count:
        yield Finding(fault=Fault.LOST, words=f"the end of {name}")
    elif count > 1:
        yield Finding(fault=Fault.DOUBLED, words=f"{name}: {count} times")


def _same(wanted: int | None, shown: int, name: str) -> Iterator[Finding]:
    if wanted is not None and wanted != shown:
        yield Finding(fault=Fault.LOST, words=f"{name}: its words stand under number {shown}")


def _by_body(texts: Iterable[Text]) -> dict[str, list[Text]]:
    found: dict[str, list[Text]] = {}
    for text in texts:
        found.setdefault(text.body, []).append(text)
    return found


def _by_caption(films: Iterable[Film]) -> dict[str, list[Film]]:
    found: dict[str, list[Film]] = {}
    for film in films:
        found.setdefault(film.caption, []).append(film)
    return found


def _on(value: bool) -> str:
    return "on" if value else "off"
