"""What people do: each act is a value that says all of it, so that a list of acts can be played again, and shortened.

`do` asks the directory where its people are written, writes there, and notes what is promised from then on. It says
what was done; nothing where it can't be done: who is fenced waits, and what an act that was left out would have made
isn't there. A row that was promised and is not there breaks the promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, LiteralString, Protocol

import psycopg

from domicile.stores.postgres.session import FENCED_STATE
from tests.schedules.platform import IN_THE_WAY, Platform
from tests.schedules.promises import GONE, Broken, Clip, Due, Letter
from tests.schedules.world import SOURCE

INSERTS: Final[dict[str, LiteralString]] = {
    "note": "INSERT INTO note VALUES (%(id)s, %(who)s, %(body)s)",
    "payment": "INSERT INTO payment VALUES (%(who)s, %(id)s, %(body)s)",
    "post": "INSERT INTO post SELECT %(id)s, %(who)s, (SELECT id FROM post WHERE id = %(to)s), %(body)s",
}
UPDATES: Final[dict[str, LiteralString]] = {
    "note": "UPDATE note SET body = %(body)s WHERE id = %(id)s",
    "payment": "UPDATE payment SET amount = %(body)s WHERE wallet_id = %(who)s AND number = %(id)s",
    "post": "UPDATE post SET body = %(body)s WHERE id = %(id)s",
}
DELETES: Final[dict[str, LiteralString]] = {
    "note": "DELETE FROM note WHERE id = %(id)s",
    "payment": "DELETE FROM payment WHERE wallet_id = %(who)s AND number = %(id)s",
}
BARE: Final = "INSERT INTO person (id, market, handle) VALUES (%s, 'none', 'bare') ON CONFLICT DO NOTHING"
LETTER: Final = "INSERT INTO letter VALUES (%(id)s, %(sender)s, %(recipient)s, %(body)s) ON CONFLICT (id) DO NOTHING"


class Act(Protocol):
    """One of them."""

    def do(self, platform: Platform) -> str:
        """Do it; say what was done, or nothing."""


class Killed(BaseException):
    """The engine's process ends here."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The engine is killed at this very statement: that is its driver's to do."""

    def do(self, platform: Platform) -> str:
        """Nothing that people do."""
        del platform
        return ""


# -- rows of one person ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """Somebody writes a row of their own; a post may answer another one, if that is seen there. `left_open`: the
    transaction is committed later."""

    table: str
    id: int
    who: int
    body: str
    to: int | None = None
    left_open: bool = False

    def do(self, platform: Platform) -> str:
        return _own(
            platform,
            INSERTS[self.table],
            self.table,
            self.id,
            self.who,
            self.body,
            to=self.to,
            left_open=self.left_open,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody changes it, or deletes it (`GONE`)."""

    table: str
    id: int
    body: str
    left_open: bool = False

    def do(self, platform: Platform) -> str:
        owner, body = platform.promises.own.get((self.table, self.id), (0, GONE))
        if body == GONE:
            return ""
        query = (DELETES if self.body == GONE else UPDATES)[self.table]
        return _own(platform, query, self.table, self.id, owner, self.body, left_open=self.left_open)


def _own(  # a row's act is told whole
    platform: Platform, query: LiteralString, table: str, id: int, who: int, body: str, *, to: int | None = None,  # noqa: A002
    left_open: bool = False,
) -> str:  # fmt: skip
    version, lives = platform.asked(who)
    place, own = lives[who], platform.promises.own
    if place is None or who not in platform.promises.markets:
        return ""
    values = {"id": id, "who": who, "body": body, "to": to}
    if left_open:

        def promise() -> None:
            own[table, id] = who, body

        found = platform.hold(place, query, values, promise)
        own.pop((table, id), None)  # until it is committed either may be found
    else:
        found = platform.write(place, query, values, version=version)
        own[table, id] = who, body
    if not found:
        raise Broken(f"lost: {table} {id} of {who} is not at {place}, where {who} lives")
    return f"{table} {id} of {who} is {body} at {place}{', not committed yet' if left_open else ''}"


@dataclass(frozen=True, slots=True)
class Commit:
    """Who left a transaction open commits it."""

    def do(self, platform: Platform) -> str:
        words = ", ".join(one.words for one in platform.held)
        platform.commit()
        return words and f"committed: {words}"


@dataclass(frozen=True, slots=True)
class Give:
    """A note becomes that of somebody else, who lives in the same place."""

    id: int
    to: int

    def do(self, platform: Platform) -> str:
        own = platform.promises.own
        owner, body = own.get(("note", self.id), (0, GONE))
        if body == GONE or not {owner, self.to} <= set(platform.promises.markets):
            return ""
        version, lives = platform.asked(owner, self.to)
        place = lives[owner]
        if place is None or place != lives[self.to]:
            return ""
        query: LiteralString = "UPDATE note SET person_id = %(to)s WHERE id = %(id)s"
        if not platform.write(place, query, {"id": self.id, "to": self.to}, version=version):
            raise Broken(f"lost: note {self.id} of {owner} is not at {place}, where {owner} lives")
        own["note", self.id] = self.to, body
        return f"note {self.id} of {owner} is {self.to}'s at {place}"


@dataclass(frozen=True, slots=True)
class RemoveAll:
    """Somebody deletes all their notes in one statement."""

    who: int

    def do(self, platform: Platform) -> str:
        version, lives = platform.asked(self.who)
        place, own = lives[self.who], platform.promises.own
        if place is None:
            return ""
        platform.write(place, "DELETE FROM note WHERE person_id = %(who)s", {"who": self.who}, version=version)
        for key, (owner, _) in own.items():
            if key[0] == "note" and owner == self.who:
                own[key] = owner, GONE
        return f"all notes of {self.who} are gone at {place}"


@dataclass(frozen=True, slots=True)
class ChangeEmail:
    """Somebody changes the private half of their own row."""

    who: int
    body: str

    def do(self, platform: Platform) -> str:
        version, lives = platform.asked(self.who)
        place = lives[self.who]
        if place is None or self.who not in platform.promises.markets:
            return ""
        query: LiteralString = "UPDATE person SET email = %(body)s WHERE id = %(who)s"
        if not platform.write(place, query, {"body": self.body, "who": self.who}, version=version):
            raise Broken(f"lost: person {self.who} is not at {place}, where they live")
        platform.promises.emails[self.who] = self.body
        return f"the e-mail of {self.who} is {self.body} at {place}"


# -- clips: public and private halves ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Film:
    """Somebody makes a clip where they live; at home its public half is published later."""

    id: int
    who: int
    body: str

    def do(self, platform: Platform) -> str:
        version, lives = platform.asked(self.who)
        place = lives[self.who]
        if place is None or self.who not in platform.promises.markets:
            return ""
        query: LiteralString = "INSERT INTO clip VALUES (%(id)s, %(who)s, 't', 0, %(body)s)"
        platform.write(place, query, {"id": self.id, "who": self.who, "body": self.body}, version=version)
        platform.promises.clips[self.id] = Clip(owner=self.who, address=self.body, is_public=place == SOURCE)
        return f"clip {self.id} of {self.who} from {self.body} at {place}"


@dataclass(frozen=True, slots=True)
class Publish:
    """The platform writes the public half of a clip at the source."""

    id: int

    def do(self, platform: Platform) -> str:
        clip = platform.promises.clips.get(self.id)
        if clip is None or clip.is_public:
            return ""
        query: LiteralString = "INSERT INTO clip VALUES (%(id)s, %(who)s, 't', 0, NULL) ON CONFLICT (id) DO NOTHING"
        platform.lines[SOURCE].execute(query, {"id": self.id, "who": clip.owner})
        clip.is_public = True
        return f"clip {self.id} of {clip.owner} is published"


@dataclass(frozen=True, slots=True)
class ChangeAddress:
    """The private half of a clip changes."""

    id: int
    body: str

    def do(self, platform: Platform) -> str:
        clip = platform.promises.clips.get(self.id)
        if clip is None:
            return ""
        version, lives = platform.asked(clip.owner)
        place = lives[clip.owner]
        if place is None:
            return ""
        query: LiteralString = "UPDATE clip SET ip = %(body)s WHERE id = %(id)s"
        if not platform.write(place, query, {"body": self.body, "id": self.id}, version=version):
            raise Broken(f"lost: clip {self.id} of {clip.owner} is not at {place}, where {clip.owner} lives")
        clip.address = self.body
        return f"clip {self.id} of {clip.owner} from {self.body} at {place}"


@dataclass(frozen=True, slots=True)
class Like:
    """Somebody likes a clip: its public half is written at the source, whoever's it is."""

    id: int

    def do(self, platform: Platform) -> str:
        clip = platform.promises.clips.get(self.id)
        if clip is None or not clip.is_public:
            return ""
        query: LiteralString = "UPDATE clip SET likes = likes + 1 WHERE id = %(id)s"
        if not platform.lines[SOURCE].execute(query, {"id": self.id}).rowcount:
            raise Broken(f"lost: clip {self.id}, which is public, is not at the source")
        clip.likes += 1
        return f"clip {self.id} of {clip.owner} is liked"


# -- people ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Come:
    """Somebody new comes to the platform."""

    who: int
    market: str

    def do(self, platform: Platform) -> str:
        source, promises = platform.lines[SOURCE], platform.promises
        with source.transaction():
            source.execute("INSERT INTO person VALUES (%s, %s, 'new', 'first')", [self.who, self.market])
            source.execute("INSERT INTO wallet VALUES (%s, %s)", [self.who, self.who])
        promises.markets[self.who], promises.emails[self.who] = self.market, "first"
        return f"{self.who} comes into the market {self.market}"


@dataclass(frozen=True, slots=True)
class ChangeMarket:
    """Somebody who is still at the source is in another market now."""

    who: int
    market: str

    def do(self, platform: Platform) -> str:
        version, lives = platform.asked(self.who)
        if lives[self.who] != SOURCE or self.who not in platform.promises.markets:
            return ""
        query: LiteralString = "UPDATE person SET market = %(market)s WHERE id = %(who)s"
        if not platform.write(SOURCE, query, {"market": self.market, "who": self.who}, version=version):
            raise Broken(f"lost: person {self.who} is not at the source, where they live")
        platform.promises.changed_market(self.who, self.market)
        return f"{self.who} changes to the market {self.market}"


# -- letters -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Somebody writes a letter: where `first` lives, then where the other does, at once or by a later delivery."""

    id: int
    sender: int
    recipient: int
    body: str
    first: int
    at_once: bool

    def do(self, platform: Platform) -> str:
        people, promises = (self.sender, self.recipient), platform.promises
        version, lives = platform.asked(*people)
        if None in lives.values() or not set(people) <= set(promises.markets):
            return ""
        places = sorted({str(place) for place in lives.values()}, key=lambda place: place != lives[self.first])
        letter = Letter(people=people, may={}, bodies={self.body})
        _put(platform, self.id, letter, places[0], self.body, version)
        promises.letters[self.id] = letter
        promises.arrived(self.id, places[0], lives, self.body, is_new=True)
        said = f"letter {self.id} {people} is {self.body} at {places[0]}"
        for place in places[1:]:
            said += f", {place}" if self._other_end(platform, letter, place, version, lives) else f", {place} later"
        return said

    def _other_end(
        self, platform: Platform, letter: Letter, place: str, version: int, lives: dict[int, str | None]
    ) -> bool:
        if self.at_once:
            try:
                is_new = _put(platform, self.id, letter, place, self.body, version)
            except psycopg.Error as fault:
                if fault.sqlstate != FENCED_STATE and fault.sqlstate not in IN_THE_WAY:
                    raise
            else:
                platform.promises.arrived(self.id, place, lives, self.body, is_new=is_new)
                return True
        late = [Due(id=self.id, person=one, body=self.body) for one in letter.people if lives[one] == place]
        platform.promises.due.extend(late)
        return False


@dataclass(frozen=True, slots=True)
class Deliver:
    """The other end of a letter is written, where its person lives by now."""

    id: int
    who: int

    def do(self, platform: Platform) -> str:
        promises = platform.promises
        due = next((one for one in promises.due if (one.id, one.person) == (self.id, self.who)), None)
        if due is None:
            return ""
        letter = promises.letters[self.id]
        version, lives = platform.asked(*letter.people)
        place = lives[self.who]
        if place is None:
            return ""
        is_new = _put(platform, self.id, letter, place, due.body, version)
        promises.due.remove(due)
        if is_new:
            promises.arrived(self.id, place, lives, due.body, is_new=True)
        else:
            promises.was_there(self.id, self.who)
        return f"letter {self.id} {letter.people} is delivered to {self.who} at {place}{'' if is_new else ', is there'}"


def _put(platform: Platform, id: int, letter: Letter, place: str, body: str, version: int) -> bool:  # noqa: A002
    """Write a letter's end there, unless it is there; at home, whoever is no home's is a bare row."""
    line, (sender, recipient) = platform.lines[place], letter.people
    with line.transaction():
        line.execute("SELECT set_config('domicile.as_of', %s, true)", [str(version)])
        for person in letter.people if place != SOURCE else ():
            line.execute(BARE, [person])
        return bool(line.execute(LETTER, {"id": id, "sender": sender, "recipient": recipient, "body": body}).rowcount)


@dataclass(frozen=True, slots=True)
class Edit:
    """One of a letter's two changes it where they live, or deletes it there (`GONE`)."""

    id: int
    who: int
    body: str

    def do(self, platform: Platform) -> str:
        promises = platform.promises
        letter = promises.letters.get(self.id)
        if letter is None or self.who not in letter.may:
            return ""
        version, lives = platform.asked(*letter.people)
        place, may = lives[self.who], letter.may[self.who]
        if place is None:
            return ""
        deleting: LiteralString = "DELETE FROM letter WHERE id = %(id)s"
        changing: LiteralString = "UPDATE letter SET body = %(body)s WHERE id = %(id)s"
        query = deleting if self.body == GONE else changing
        if not platform.write(place, query, {"id": self.id, "body": self.body}, version=version):
            if GONE not in may:
                raise Broken(
                    f"lost: letter {self.id} {letter.people} is not at {place} for {self.who}, who may find {may}"
                )
            return ""
        promises.written(self.id, place, lives, self.body)
        return f"letter {self.id} {letter.people} is {self.body} at {place}, by {self.who}"
