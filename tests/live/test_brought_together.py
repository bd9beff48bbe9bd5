"""P1: a letter of people of several homes who are brought back together is as those have it who did not delete theirs.

All the stories of one run happen in it at once, each to a letter of its own: while its cohort is brought back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Final, LiteralString

import psycopg
import pytest

from domicile.model import Home
from domicile.run.live import cohort_of
from domicile.stores.postgres.live.follower import Follower
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.server import EmbeddedServer
from tests.live.platform import CUTOVER, RULES, SCHEMA, World, homes_of, moving_in, moving_world

pytestmark = pytest.mark.timeout(120)
GONE: Final = None


class When(Enum):
    """Moments of a cohort's way back, in their order."""

    BEFORE = auto()
    """Long before: what people did is settled."""
    JUST_BEFORE = auto()
    HALF_SHARED = auto()
    """What is shared was brought back from one home."""
    SHARED = auto()
    """From all of them."""
    HALF_FENCED = auto()
    """All homes but the first of the test's are fenced."""


EDIT, DELETE, WRITE, ANEW = "edit", "delete", "write", "anew"
ONE, OTHER = 0, 1
Act = tuple[When, int, str]
Story = tuple[tuple[Act, ...], set[str | None]]
STORIES: Final[dict[str, Story]] = {
    "changed, and deleted behind what is shared": (
        ((When.BEFORE, ONE, EDIT), (When.SHARED, ONE, DELETE)), {"first"},
    ),
    "changed, and deleted between the fences": (
        ((When.JUST_BEFORE, ONE, EDIT), (When.HALF_FENCED, ONE, DELETE)), {"first"},
    ),
    "changed behind what is shared, and deleted": (
        ((When.SHARED, ONE, EDIT), (When.HALF_FENCED, ONE, DELETE)), {"first"},
    ),
    "changed, and deleted while it is brought back": (
        ((When.BEFORE, ONE, EDIT), (When.HALF_SHARED, ONE, DELETE)), {"first"},
    ),
    "deleted before": (((When.JUST_BEFORE, ONE, DELETE),), {"first"}),
    "deleted by one, changed by the other before": (
        ((When.BEFORE, OTHER, EDIT), (When.BEFORE, ONE, EDIT), (When.SHARED, ONE, DELETE)), {"edit by other"},
    ),
    "deleted by one, changed by the other after": (
        ((When.HALF_SHARED, ONE, DELETE), (When.SHARED, OTHER, EDIT)), {"edit by other"},
    ),
    "changed by both, and deleted by one": (
        ((When.BEFORE, ONE, EDIT), (When.SHARED, OTHER, EDIT), (When.HALF_FENCED, ONE, DELETE)), {"edit by other"},
    ),
    "deleted by both at once": (((When.SHARED, ONE, DELETE), (When.SHARED, OTHER, DELETE)), {GONE}),
    "deleted by the other long before": (((When.BEFORE, OTHER, DELETE), (When.HALF_FENCED, ONE, DELETE)), {GONE}),
    "deleted by both, apart": (((When.HALF_SHARED, OTHER, DELETE), (When.HALF_FENCED, ONE, DELETE)), {GONE}),
    "deleted by both, one first": (((When.HALF_SHARED, ONE, DELETE), (When.SHARED, OTHER, DELETE)), {GONE}),
    "written anew by one, deleted by the other": (
        ((When.SHARED, ONE, DELETE), (When.SHARED, ONE, ANEW), (When.SHARED, OTHER, DELETE)), {"anew by one"},
    ),
    "written anew by one": (
        ((When.SHARED, ONE, DELETE), (When.HALF_FENCED, ONE, ANEW)), {"anew by one", "first"},
    ),
    "new, deleted by one": (
        ((When.SHARED, ONE, WRITE), (When.SHARED, OTHER, WRITE), (When.HALF_FENCED, ONE, DELETE)), {"write by other"},
    ),
    "new, and never delivered": (((When.SHARED, ONE, WRITE), (When.HALF_FENCED, ONE, DELETE)), {GONE}),
}  # fmt: skip


@dataclass(slots=True)
class Told:
    """Stories told at once, letter by letter: who `one` and `other` are, and what is to be done at each moment."""

    world: World
    names: tuple[str, ...]
    homes: tuple[str, str]
    _due: dict[When, list[tuple[int, int, str]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for number, name in enumerate(self.names):
            for when, who, act in STORIES[name][0]:
                self._due[when].append((number, who, act))

    def begin(self) -> None:
        """Write what is there before anybody goes home."""
        for number, name in enumerate(self.names):
            if not any(act == WRITE for _, _, act in STORIES[name][0]):
                self._put("source", number, "first")

    def at(self, when: When) -> None:
        """Do all that is to be done at this moment."""
        for number, who, act in self._due.pop(when, ()):
            place, body = self.homes[who], f"{act} by {('one', 'other')[who]}"
            if act in {WRITE, ANEW}:
                self._put(place, number, body)
            else:
                query = "UPDATE letter SET body = %(body)s" if act == EDIT else "DELETE FROM letter"
                with psycopg.connect(self.world.dsns[place], autocommit=True) as line:
                    values = {"id": number, "body": body}
                    assert line.execute(f"{query} WHERE id = %(id)s".encode(), values).rowcount

    def _put(self, place: str, number: int, body: str) -> None:
        with psycopg.connect(self.world.dsns[place], autocommit=True) as line:
            line.execute("INSERT INTO letter VALUES (%s, 1, 2, %s)", [number, body])

    def wrong(self) -> dict[str, str | None]:
        """The stories that ended otherwise than they must, each with how."""
        assert not self._due, "a story was not told to its end"
        found = dict(self.world.at("source", "SELECT id, body FROM letter"))
        ends = {name: found.get(number) for number, name in enumerate(self.names)}
        return {name: end for name, end in ends.items() if end not in STORIES[name][1]}


def _step(world: World) -> None:
    world.live.moving.step(world.live.moving.follower(world.standing))


@contextmanager
def _watched(patched: pytest.MonkeyPatch, last: str, at: Callable[[When], None]) -> Iterator[None]:
    """Tell of the moments of a way back, in which this home is fenced last."""
    shared, fence, calls = Follower.return_shared, People.fence_at_home, list[Home]()

    def returning(follower: Follower, home: Home, cohort: int) -> int:
        keys = shared(follower, home, cohort)
        calls.append(home)
        at(When.SHARED if len(calls) == len(follower.homes) else When.HALF_SHARED)
        return keys

    def fencing(people: People, cohort: int) -> None:
        for home in sorted(people.homes, key=lambda home: home == last):
            if home == last:
                at(When.HALF_FENCED)
            fence(replace(people, homes={home: people.homes[home]}), cohort)

    with patched.context() as patch:
        patch.setattr(Follower, "return_shared", returning)
        patch.setattr(People, "fence_at_home", fencing)
        yield


@pytest.mark.parametrize(("one", "other", "feed"), [("us", "ca", "trigger"), ("ca", "us", "slot")])
def test_p1_whatever_two_do_with_a_letter_on_their_way_back_each_finds_what_somebody_has(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: str, other: str, feed: str
) -> None:
    cutover = CUTOVER.replace("{", f"{{feed: {feed}, ", 1)
    with moving_world(pg18, tmp_path, f"brought_together_{one}", cutover=cutover) as world:
        told = Told(world, tuple(STORIES), (one, other))
        told.begin()
        world.live.cut_over(world.scope, cohort_of("key:1,2"))
        told.at(When.BEFORE)
        _step(world)
        told.at(When.JUST_BEFORE)
        with _watched(monkeypatch, one, told.at):
            world.live.roll_back(world.scope, 1)
        assert {} == told.wrong()
        _step(world)
        world.live.cut_over(world.scope, cohort_of("key:1,2"))
        assert world.at("source", "SELECT * FROM letter ORDER BY id") == world.at(
            one, "SELECT * FROM letter ORDER BY id"
        )


MORE: Final = """
UPDATE person SET market = 'AU' WHERE id IN (3, 8);
CREATE TABLE card (box int, number int UNIQUE, sender bigint NOT NULL REFERENCES person,
    recipient bigint NOT NULL REFERENCES person, copied bigint NOT NULL REFERENCES person, body text,
    PRIMARY KEY (box, number));
CREATE TABLE line (id int PRIMARY KEY, card int NOT NULL REFERENCES card (number) ON DELETE CASCADE, body text);
CREATE TABLE slip (number int, sender bigint NOT NULL REFERENCES person, recipient bigint NOT NULL REFERENCES person);
INSERT INTO card SELECT 7, i, 1, 2, CASE WHEN i < 5 THEN 3 ELSE 8 END, 'first' FROM generate_series(1, 6) AS i;
INSERT INTO card VALUES (7, 7, 1, 2, 6, 'first');
INSERT INTO line SELECT i, i, 'first' FROM generate_series(1, 6) AS i;
INSERT INTO slip SELECT i, 1, 2 FROM generate_series(1, 6) AS i;
"""
MORE_RULES: Final = """
  app.public.card: {rows: move, subjects: {by: [sender, recipient, copied], shared: each}}
  app.public.line: {rows: move, subjects: {by: [[card, sender], [card, recipient], [card, copied]], shared: each}}
  app.public.slip: {rows: move, subjects: {by: [sender, recipient], shared: each}}
directory:"""
DELETED_AT: Final = {
    1: ("us",), 2: ("us", "ca"), 3: ("us", "ca", "au"), 4: ("ca", "au"), 5: ("us",), 6: ("us", "ca"), 7: ("us",),
}  # fmt: skip
"""Card → where it is deleted, with its line and its slip."""
ENDS: Final = {1: {"ca", "au"}, 2: {"au"}, 4: {"us"}, 5: {"ca"}, 7: {"first"}}
"""Card → as whose it may come back."""


@pytest.mark.parametrize("when", [When.HALF_SHARED, When.SHARED])
def test_p1_of_three_homes_it_is_as_one_of_them_has_it_that_is_brought_back(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: When
) -> None:
    """Keys of two columns, rows of rows, rows without a key; of cards 5 and 6 the third person stays at home.

    That of card 7 is at the source, on the way to the home where it was deleted.
    """
    rules = RULES.replace("\ndirectory:", MORE_RULES)
    with (
        homes_of(pg18, f"brought_of_three_{when.value}", ("source", "us", "ca", "au")) as dsns,
        moving_in(dsns, tmp_path, rules=rules, schema=SCHEMA + MORE) as world,
    ):
        for cohort in ("key:1,2,3", "key:8"):
            world.live.cut_over(world.scope, cohort_of(cohort))
        for place in set(dsns) - {"source"}:
            _run(dsns[place], "UPDATE card SET body = %s", place)
            _run(dsns[place], "UPDATE line SET body = %s", place)
        _step(world)

        def act(now: When) -> None:
            for number, places in DELETED_AT.items() if now is when else ():
                for place in places:
                    _run(dsns[place], "DELETE FROM card WHERE number = %s", number)
                    _run(dsns[place], "DELETE FROM slip WHERE number = %s", number)

        with _watched(monkeypatch, "us", act):
            world.live.roll_back(world.scope, 1)
        cards = dict(world.at("source", "SELECT number, body FROM card"))
        assert set(ENDS) == set(cards)
        assert all(cards[number] in may for number, may in ENDS.items())
        assert {**dict(world.at("source", "SELECT id, body FROM line")), 7: "first"} == cards
        assert [(1,), (4,), (5,)] == world.at("source", "SELECT number FROM slip ORDER BY 1")
        _step(world)
        assert [("first",)] == world.at("us", "SELECT body FROM card WHERE number = 7")
        assert [(5, "au"), (6, "au")] == world.at("au", "SELECT number, body FROM card WHERE copied = 8 ORDER BY 1")


def test_p1_p5_what_both_deleted_around_a_kill_is_gone_and_what_one_did_is_there_for_the_other(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time all is brought back and home's logs have forgotten it; then the engine is killed."""

    def act(now: When) -> None:
        if now is When.SHARED:
            world.at("us", "DELETE FROM letter WHERE id < 3")
            world.at("ca", "DELETE FROM letter WHERE id = 2")

    with homes_of(pg18, "brought_killed") as dsns:
        with moving_in(dsns, tmp_path) as world:
            world.at("source", "INSERT INTO letter SELECT i, 1, 2, 'first' FROM generate_series(1, 3) AS i")
            world.live.cut_over(world.scope, cohort_of("key:1,2"))
            world.at("us", "UPDATE letter SET body = 'second'")
            with _watched(monkeypatch, "us", act), monkeypatch.context() as patch:
                patch.setattr(People, "flip_back", _killed)
                with pytest.raises(KeyboardInterrupt):
                    world.live.roll_back(world.scope, 1)
            assert "first" == dict(world.at("source", "SELECT id, body FROM letter"))[1]
        with world.programme.opened() as run:
            live, scope = run.moving()
            live.find(scope)  # they live at home again
            world.at("ca", "DELETE FROM letter WHERE id = 1")
            live.roll_back(scope, 1)
        assert [(3,)] == world.at("source", "SELECT id FROM letter")


def _killed(people: People, cohort: int) -> None:
    raise KeyboardInterrupt


def _run(dsn: str, query: LiteralString, value: str | int) -> None:
    with psycopg.connect(dsn, autocommit=True) as line:
        line.execute(query, [value])
