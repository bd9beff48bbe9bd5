"""Looks into the databases themselves: private rows lie where their person lives, and nowhere else.

Pages show only what the location of the person holds; a row that was put elsewhere, or left there, is not on any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import psycopg

from shortvideo.oracle.compare import Fault, Finding
from shortvideo.oracle.expect import Expected, There
from shortvideo.oracle.look import Seen

# What is looked for, and the people who have rows of it. Rows whose private columns are empty are public skeletons.
OWNED: Final = {
    "account": "SELECT id FROM app.users WHERE id = ANY(%s) AND concat(email, password_hash) <> ''",
    "sessions": "SELECT DISTINCT user_id FROM app.sessions WHERE user_id = ANY(%s)",
    "devices": "SELECT DISTINCT user_id FROM app.devices WHERE user_id = ANY(%s)",
    "follows": "SELECT DISTINCT follower_id FROM app.follows WHERE follower_id = ANY(%s)",
    "likes": "SELECT DISTINCT user_id FROM app.likes WHERE user_id = ANY(%s)",
    "drafts": "SELECT DISTINCT author_id FROM app.drafts WHERE author_id = ANY(%s)",
    "watch events": "SELECT DISTINCT user_id FROM app.watch_events WHERE user_id = ANY(%s)",
    "notifications": "SELECT DISTINCT recipient_id FROM app.notifications WHERE recipient_id = ANY(%s)",
    "payout account": "SELECT DISTINCT user_id FROM billing.payout_accounts WHERE user_id = ANY(%s)",
}
MESSAGES: Final = "SELECT body FROM app.direct_messages WHERE id = ANY(%s) AND body <> ''"


def misplaced(book: Expected, seen: Seen, dsns: Mapping[str, str], *, leftovers: frozenset[str]) -> list[Finding]:
    """Return what lies where it should not, and the messages that one of the two locations lacks.

    `leftovers` are locations at which rows of those who have left may still lie: moved, not yet erased.
    """
    lives = {private.who.id: private.location for private in seen.private if private.let_in}
    found: set[Finding] = set()
    for location, dsn in dsns.items():
        with psycopg.connect(dsn) as connection:
            if location not in leftovers:
                found.update(_owned(connection, location, lives))
            found.update(_messages(connection, location, book, lives, extra_is_fine=location in leftovers))
    return sorted(found)


def _owned(connection: psycopg.Connection, location: str, lives: Mapping[int, str]) -> Iterator[Finding]:
    elsewhere = [person for person, home in lives.items() if home != location]
    for what, query in OWNED.items():
        for (person,) in connection.execute(query.encode(), [elsewhere]):
            words = f"{what} of person {person}: rows in {location}'s database, served by {lives[person]}"
            yield Finding(fault=Fault.MISPLACED, words=words)


def _messages(
    connection: psycopg.Connection, location: str, book: Expected, lives: Mapping[int, str], *, extra_is_fine: bool
) -> Iterator[Finding]:
    """A message lies at each end, so at one or two locations; at an end that nobody knows it may lie."""
    sent = {said.id: said for said in book.messages.values() if said.id is not None and said.there is There.YES}
    stored = {str(body) for (body,) in connection.execute(MESSAGES, [list(sent)])}
    for number, said in sent.items():
        ends = {lives.get(said.author), lives.get(said.target_id)}
        words = f"message {number} of person {said.author} to {said.target}: "
        if said.body in stored and location not in ends and None not in ends and not extra_is_fine:
            yield Finding(fault=Fault.MISPLACED, words=f"{words}a row in {location}'s database, where neither lives")
        if said.body not in stored and location in ends:
            yield Finding(fault=Fault.LOST, words=f"{words}no row in {location}'s database")
