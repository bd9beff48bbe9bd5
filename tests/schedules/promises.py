"""What people were promised: of each write that was acknowledged, what each of them may find afterwards, and where.

A row of one person is what they last wrote. A letter of two is promised to each of the two: who lives where it is
written has that; where one is on the way to the home of the other, both may find what either wrote last. What is left
open in docs/protocol.md ("What each check can miss") is open here: more bodies than one are as good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.schedules.world import SOURCE

GONE: Final = "gone"
"""The body of what was deleted."""
Lives = Mapping[int, str | None]
"""Person → where they are written, None while they wait."""


class Broken(AssertionError):
    """A promise is not kept, or the engine failed."""


@dataclass(slots=True, kw_only=True)
class Letter:
    """Who has it, what each of them may find, and all that it ever was."""

    people: tuple[int, int]
    may: dict[int, set[str]]
    bodies: set[str]
    written: dict[int, int] = field(default_factory=dict)
    """Person → the moment at which theirs was written last."""
    came: int | None = None
    """When it came to a home as new."""

    def other(self, person: int) -> int:
        """The other one of the two."""
        return self.people[0] if person == self.people[1] else self.people[1]


@dataclass(slots=True, kw_only=True)
class Clip:
    """A split row: whose it is, its private address, its public likes, and whether its public half is out."""

    owner: int
    address: str
    likes: int = 0
    is_public: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A letter that is still to be delivered where this person lives."""

    id: int
    person: int
    body: str


@dataclass(slots=True, kw_only=True)
class Promises:
    """All of them. `now` counts moments, `stepped` are those at which a whole step began that was completed."""

    own: dict[tuple[str, int], tuple[int, str]] = field(default_factory=dict)
    """Table and key → owner and body, of notes, payments and posts."""
    emails: dict[int, str] = field(default_factory=dict)
    clips: dict[int, Clip] = field(default_factory=dict)
    letters: dict[int, Letter] = field(default_factory=dict)
    due: list[Due] = field(default_factory=list)
    markets: dict[int, str] = field(default_factory=dict)
    places: dict[int, str] = field(default_factory=dict)
    """Where each was last."""
    left: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Person → the market that they left last, and when: the engine learns of it with a step."""
    now: int = 0
    stepped: list[int] = field(default_factory=list)

    # -- letters -------------------------------------------------------------------------------------------------------

    def arrived(self, id: int, place: str, lives: Lives, body: str, *, is_new: bool) -> None:  # noqa: A002
        """An end of a letter was acknowledged at this place, for those of its people who live there."""
        letter = self.letters[id]
        here = [person for person in letter.people if lives[person] == place]
        known = set[str]().union(*(letter.may[person] for person in here if person in letter.may))
        new = letter.bodies if is_new else letter.bodies | known
        if is_new and set(letter.may) <= set(here):
            new = {body}
        for person in set(letter.may) - set(here):
            if is_new and self._go_together(lives, here[0], person):
                letter.may[person] |= {body}  # it comes to the other as what changed there
        for person in here:
            letter.may[person], letter.written[person] = set(new), self.now
        if place != SOURCE:
            letter.came = self.now
            for person in set(letter.may) - set(here):
                if lives[person] == SOURCE and GONE in letter.may[person]:
                    letter.may[person] |= letter.bodies  # a new row comes back to where it was deleted on the way

    def was_there(self, id: int, person: int) -> None:  # noqa: A002
        """A letter was delivered where it was already."""
        letter = self.letters[id]
        letter.may.setdefault(person, letter.bodies | set[str]().union(*letter.may.values()))

    def written(self, id: int, place: str, lives: Lives, body: str) -> None:  # noqa: A002
        """A letter was changed, or deleted, at this place."""
        letter = self.letters[id]
        letter.bodies.add(body)
        here = [person for person in letter.people if lives[person] == place and person in letter.may]
        for person in here:
            letter.may[person] = {body}
        elsewhere = [person for person in letter.people if lives[person] != place and person in letter.may]
        if here and elsewhere and self._go_together(lives, here[0], elsewhere[0]):
            self._written_apart(letter, here[0], elsewhere[0], body)
        for person in here:
            letter.written[person] = self.now
        if body == GONE:
            self._deleted(letter, place, lives)
        else:
            self._comes_anew(letter, elsewhere, lives)

    def _written_apart(self, letter: Letter, mine: int, other: int, body: str) -> None:
        """One wrote, the other has it elsewhere yet or already: of two writes within a step the later reading wins."""
        theirs = letter.may[other]
        if body == GONE:
            letter.may[mine] = {GONE} | theirs
        elif not self._has_stepped_since(letter.written.get(other)):
            letter.may[mine] = {body} | theirs | letter.bodies
        letter.may[other] = theirs | {body}

    def _deleted(self, letter: Letter, place: str, lives: Lives) -> None:
        for person in letter.may:
            if lives[person] is None:
                letter.may[person] |= {GONE}
        if place == SOURCE:
            self._comes_anew(letter, letter.may, lives)

    def _comes_anew(self, letter: Letter, people: Collection[int], lives: Lives) -> None:
        """What is new at the other's home is still to come back to who deleted it at the source, as it is by then."""
        if letter.came is not None and not self._has_stepped_since(letter.came):
            for person in people:
                if lives[person] == SOURCE and GONE in letter.may[person]:
                    letter.may[person] |= letter.bodies

    def _has_stepped_since(self, moment: int | None) -> bool:
        return moment is None or any(began > moment for began in self.stepped)

    def _go_together(self, lives: Lives, one: int, other: int) -> bool:
        """Whether one of them lives at the home to which the other goes, as far as the engine knows.

        Who waits is where they were last.
        """
        places = [lives[who] or self.places.get(who) for who in (one, other)]
        if SOURCE not in places or places[0] == places[1]:
            return False
        home, who = (places[1], one) if places[0] == SOURCE else (places[0], other)
        left, moment = self.left.get(who, ("", None))
        return home in {self.markets[who].lower(), *(() if self._has_stepped_since(moment) else (left.lower(),))}

    # -- people --------------------------------------------------------------------------------------------------------

    def changed_market(self, person: int, market: str) -> None:
        """Who changes market takes along the source's rows: in letters to others these take the place of theirs."""
        self.left[person], self.markets[person] = (self.markets[person], self.now), market
        for letter in self.letters.values():
            if person in letter.may:
                every = set[str]().union(*letter.may.values())
                for one, may in letter.may.items():
                    letter.may[one] = set(every) if GONE in may else every - {GONE}
                letter.written[person] = self.now

    def comes_back(self, people: Collection[int], lives: Lives) -> None:
        """Who is brought back brings their letters: whole where the other, who is at the source, has deleted theirs."""
        for letter in self.letters.values():
            for person, may in letter.may.items():
                if GONE in may and lives[person] == SOURCE and letter.other(person) in people:
                    letter.may[person] = may | letter.bodies

    def met(self, lives: Lives) -> None:
        """Somebody may have come where others live: of a letter of two who live together there is one.

        Who waits is where they were last.
        """
        now = {person: place or self.places.get(person) for person, place in lives.items()}
        for letter in self.letters.values():
            first, second = letter.people
            place = now[first]
            if place is not None and place == now[second] and len(letter.may) == 2:
                self._live_together(letter, place)
            back = [one for one in letter.may if now[one] == SOURCE != self.places.get(one, SOURCE)]
            self._comes_anew(letter, back, now)
        self.places.update({person: place for person, place in lives.items() if place is not None})

    def _live_together(self, letter: Letter, place: str) -> None:
        came = [person for person in letter.people if self.places.get(person) != place]
        if not came:
            return
        stayed = [person for person in letter.people if person not in came]
        both = set[str]().union(*letter.may.values())
        kept = any(GONE not in may for may in letter.may.values())
        if kept and not (place == SOURCE and any(GONE in letter.may[person] for person in stayed)):
            both -= {GONE}
        for person in letter.people:
            letter.may[person] = set(both)
