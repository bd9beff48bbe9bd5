"""What must be true between two turns of the engine, of all that was promised, and what more once all is quiet.

At any time, of everybody who is not fenced just now:
1. a row of theirs alone is where they live, and as they wrote it last; deleted it is not there;
2. a letter is where each of its two lives, and is one of those that this one may find; it is missing only where it may.
Once nothing is due any more, and whole steps have passed (`Moment.QUIET`):
3. while the way back is open, the source has the same of everybody who lives at home;
4. no home holds private values of somebody who neither lives there nor is about to;
5. a letter of two people of one home is the same there and at the source; likes are counted at the source and at home.
After the erasure (`Moment.ERASED`), instead of 3 and 5:
6. the source holds nothing private of anybody who lives at home.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from typing import Any, Final

import psycopg

from tests.schedules.platform import Platform
from tests.schedules.promises import GONE, Broken, Letter, Lives, Promises
from tests.schedules.world import HOMES, SOURCE

TOLD_MAX: Final = 12


class Moment(Enum):
    """How quiet it is."""

    BETWEEN = auto()
    QUIET = auto()
    ERASED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """What one place holds."""

    own: Mapping[tuple[str, int], tuple[int, str]]
    emails: Mapping[int, str | None]
    clips: Mapping[int, tuple[int, str | None]]
    """Clip → likes and private address."""
    letters: Mapping[int, tuple[tuple[int, int], str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that is compared."""

    promises: Promises
    lives: Lives
    stands: Mapping[str, Stand]
    moment: Moment
    is_closed: bool

    def is_bound(self, person: int, home: str) -> bool:
        """Whether somebody lives at this home, or is on the way there; fenced they are either."""
        place = self.lives[person]
        return place == home or (place in {SOURCE, None} and home == self.promises.markets[person].lower())


def check(platform: Platform, moment: Moment) -> None:
    """Raise Broken, and say what is lost, there again, otherwise, left or where it must not be."""
    stands = {place: _stand(line) for place, line in platform.lines.items()}
    seen = Seen(
        promises=platform.promises, lives=platform.everybody(), stands=stands, moment=moment,
        is_closed=platform.is_closed,
    )  # fmt: skip
    wrong = list(islice(complaints(seen), TOLD_MAX))
    if wrong:
        raise Broken("\n".join(wrong))


def complaints(seen: Seen) -> Iterator[str]:
    """What is not as it must be, the first word saying how."""
    for one in (_own, _emails, _clips, _letters, _one_letter):
        yield from one(seen)
    if seen.moment is not Moment.BETWEEN:
        yield from _leaked(seen)
    if seen.moment is Moment.ERASED:
        yield from _left(seen)


def _stand(line: psycopg.Connection[Any]) -> Stand:
    own = line.execute(
        "SELECT 'note', id, person_id, body FROM note UNION ALL SELECT 'payment', number, wallet_id, amount"
        " FROM payment UNION ALL SELECT 'post', id, person_id, body FROM post"
    )
    return Stand(
        own={(table, key): (owner, body) for table, key, owner, body in own},
        emails=dict(line.execute("SELECT id, email FROM person").fetchall()),
        clips={key: (likes, address) for key, likes, address in line.execute("SELECT id, likes, ip FROM clip")},
        letters={key: ((one, other), body) for key, one, other, body in line.execute("SELECT * FROM letter")},
    )


def _own(seen: Seen) -> Iterator[str]:
    for (table, key), (owner, body) in seen.promises.own.items():
        place = seen.lives[owner]
        if place is None:
            continue
        row, promised = f"{table} {key} of {owner}", None if body == GONE else (owner, body)
        yield from _differs(f"{row} at {place}", promised, seen.stands[place].own.get((table, key)))
        if seen.moment is Moment.QUIET and place != SOURCE:
            yield from _differs(
                f"{row} (at {place}) at the source", promised, seen.stands[SOURCE].own.get((table, key))
            )


def _differs(what: str, promised: object, found: object) -> Iterator[str]:
    if found == promised:
        return
    if found is None:
        yield f"lost: {what}: {promised}"
    elif promised is None:
        yield f"there again: {what}: {found}"
    else:
        yield f"otherwise: {what} is {found}, promised was {promised}"


def _emails(seen: Seen) -> Iterator[str]:
    for person, email in seen.promises.emails.items():
        place = seen.lives[person]
        for where in {place, SOURCE} if seen.moment is Moment.QUIET and place is not None else {place}:
            if where is not None:
                yield from _differs(f"the e-mail of {person} at {where}", email, seen.stands[where].emails.get(person))


def _clips(seen: Seen) -> Iterator[str]:
    for key, clip in seen.promises.clips.items():
        place = seen.lives[clip.owner]
        if place is None:
            continue
        what = f"clip {key} of {clip.owner} (at {place})"
        found = seen.stands[place].clips.get(key)
        yield from _differs(f"the address of {what}", clip.address, found and found[1])
        if seen.moment is Moment.BETWEEN or not clip.is_public:
            continue
        public = seen.stands[SOURCE].clips.get(key)
        yield from _differs(f"likes at the source of {what}", clip.likes, public and public[0])
        if not seen.is_closed:
            yield from _differs(f"likes at {place} of {what}", clip.likes, found and found[0])
        if seen.moment is Moment.QUIET:
            yield from _differs(f"the address at the source of {what}", clip.address, public and public[1])


def _letters(seen: Seen) -> Iterator[str]:
    for key, letter in seen.promises.letters.items():
        for person, may in letter.may.items():
            place = seen.lives[person]
            if place is None:
                continue
            found, what = seen.stands[place].letters.get(key), f"{_told(seen, key, letter)} at {place} for {person}"
            if found is None and GONE not in may:
                yield f"lost: {what}, who may find {sorted(may)}"
            elif found is not None and (found[0] != letter.people or found[1] not in may):
                which = "there again" if may == {GONE} else "otherwise"
                yield f"{which}: {what} is {found[1]} of {found[0]}, who may find {sorted(may)}"


def _one_letter(seen: Seen) -> Iterator[str]:
    """Of two people of one home, or on the way there, the letter is one."""
    if seen.moment is not Moment.QUIET:
        return
    for key, letter in seen.promises.letters.items():
        for home in HOMES:
            if len(letter.may) == 2 and all(seen.is_bound(person, home) for person in letter.people):
                source, there = seen.stands[SOURCE].letters.get(key), seen.stands[home].letters.get(key)
                if source and there and source != there:
                    yield f"otherwise: {_told(seen, key, letter)} is {source[1]} at the source and {there[1]} at {home}"


def _told(seen: Seen, key: int, letter: Letter) -> str:
    lives = " and ".join(f"{person} ({seen.lives[person]})" for person in letter.people)
    return f"letter {key} of {lives}"


def _leaked(seen: Seen) -> Iterator[str]:
    for home in HOMES:
        stand = seen.stands[home]
        for (table, key), (owner, _) in stand.own.items():
            if table != "post" and not seen.is_bound(owner, home):
                yield f"leaked: {table} {key} of {owner} ({seen.lives[owner]}) is at {home}"
        for key, (people, _) in stand.letters.items():
            if not any(seen.is_bound(person, home) for person in people):
                yield f"leaked: letter {key} of {people} ({[seen.lives[one] for one in people]}) is at {home}"
        for person, email in stand.emails.items():
            if email is not None and not seen.is_bound(person, home):
                yield f"leaked: the e-mail of {person} ({seen.lives[person]}) is at {home}"
        for key, (_, address) in stand.clips.items():
            owner = seen.promises.clips[key].owner
            if address is not None and not seen.is_bound(owner, home):
                yield f"leaked: the address of clip {key} of {owner} ({seen.lives[owner]}) is at {home}"


def _left(seen: Seen) -> Iterator[str]:
    away = {person for person, place in seen.lives.items() if place in HOMES}
    source = seen.stands[SOURCE]
    for (table, key), (owner, _) in source.own.items():
        if table != "post" and owner in away:
            yield f"left: {table} {key} of {owner} at the source"
    for key, (people, _) in source.letters.items():
        if set(people) <= away:
            yield f"left: letter {key} of {people} at the source"
    for person in away:
        if source.emails.get(person) is not None:
            yield f"left: the e-mail of {person} at the source"
    for key, (_, address) in source.clips.items():
        if address is not None and seen.promises.clips[key].owner in away:
            yield f"left: the address of clip {key} at the source"
