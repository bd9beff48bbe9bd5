"""Objects of a move under way, over buckets in memory: two homes, labels, what is shared, public or nobody's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from domicile.config.belongings import ObjectRule
from domicile.errors import NotEqual, Unclassed
from domicile.events import Event
from domicile.host import Host
from domicile.model import Home
from domicile.objects.book import Book
from domicile.objects.carried import Carried
from domicile.objects.moving import Ends, pairs_of
from domicile.objects.underway import UnderWay
from domicile.stores.objects import Traits
from domicile.stores.objects.memory import MemoryBucket, MemoryObjects
from domicile.stores.postgres.naming import Named
from tests.objects.benches import CA, DIGEST_KEY, NOON

US: Final = Home("us")
RULES: Final = (
    ObjectRule(pattern="u/{subject}/*", disposition="move"),
    ObjectRule(tag="owner", disposition="move"),
    ObjectRule(of="app.public.film", column="key", disposition="move"),
    ObjectRule(pattern="public/*", disposition="public"),
    ObjectRule(disposition="none", reason="the rest"),
)
PEOPLE: Final = (("2", CA), ("4", US), ("1", None))
COHORTS: Final = {1: ("2",), 2: ("4",)}
SCOPE: Final[Any] = SimpleNamespace(homes=(CA, US))


@dataclass(slots=True)
class World:
    """One bucket that data leaves, two homes, and what rows say: value, home, whether somebody who stays has it."""

    folder: Path
    rules: Sequence[ObjectRule] = RULES
    films: list[Named] = field(default_factory=list)
    here: MemoryBucket = field(default_factory=MemoryBucket)
    homes: dict[Home, MemoryBucket] = field(default_factory=lambda: {CA: MemoryBucket(), US: MemoryBucket()})
    told: list[Event] = field(default_factory=list)

    def ends(self) -> Ends:
        stores = {home: _store(bucket, f"media-{home}") for home, bucket in self.homes.items()}
        return Ends(
            source=_store(self.here, "media"), homes=stores, prefixes={}, is_bucket=True, may_lock=True,
            book=Book(self.folder / "objects.db"), digest_key=DIGEST_KEY,
        )  # fmt: skip

    def put(self, key: str, data: bytes = b"x", *, owner: str | None = None, at: Home | None = None) -> None:
        tags = () if owner is None else (("owner", owner),)
        bucket = self.here if at is None else self.homes[at]
        _store(bucket, "door").put(key, [data], Traits(tags=tags), size=len(data))

    def keys(self, home: Home) -> set[str]:
        return {key for key, held in self.homes[home].held.items() if held}


def _store(bucket: MemoryBucket, name: str) -> MemoryObjects:
    return MemoryObjects(bucket, name=name, now=lambda: NOON)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(folder=tmp_path)
    homes = dict(PEOPLE)
    answers: dict[str, Callable[..., object]] = {
        "dataset_naming": lambda *_, **__: None,
        "rows_naming_now": lambda *_: iter(made.films),
        "rows_of_cohort": lambda *_: iter(()),
        "people": lambda *_: iter(PEOPLE),
        "people_of_cohort": lambda _, __, number: ((key, homes[key]) for key in COHORTS[number]),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(f"domicile.objects.underway.{name}", answer)
    return made


def _under_way(world: World) -> UnderWay:
    source: Any = SimpleNamespace(name="app", connection=None)
    made = UnderWay(
        ends=lambda: (world.ends(),), rules=lambda _: world.rules, source=source, homes={},
        carried=Carried(world.folder / "objects-under-way.db"), folder=world.folder, host=Host(),
        listener=world.told.append, key=DIGEST_KEY,
    )  # fmt: skip
    made.carried.begin("media")
    return made


def _nothing() -> None:
    pass


def _take(under_way: UnderWay, number: int, *, between: Callable[[], None] = _nothing) -> None:
    under_way.bring_cohort(SCOPE, number, _nothing, wait_s_max=60)
    between()
    under_way.look(SCOPE, number, under_way.host.monotonic_s() + 60)


def test_each_home_gets_what_is_its_peoples_and_what_is_public(world: World) -> None:
    for key in ("u/2/a", "u/4/b", "u/1/c", "public/p", "logo"):
        world.put(key)
    world.put("of two", owner="2")
    world.put("of nobody's")
    world.films = [Named(value="film", home=US, stays=True)]
    world.put("film")
    _under_way(world).bring_all(SCOPE, _nothing)
    assert {"u/2/a", "public/p", "of two"} == world.keys(CA)
    assert {"u/4/b", "public/p", "film"} == world.keys(US)


@pytest.mark.parametrize("listed", [0, 10**9])
def test_a_cohorts_objects_are_found_one_by_one_or_in_one_listing(world: World, listed: int) -> None:
    world.put("u/2/a")
    world.put("u/2/gone")
    world.put("u/22/another's")
    under_way = _under_way(world)
    under_way.bring_cohort(SCOPE, 1, _nothing, wait_s_max=60)
    under_way._listed["media"] = listed
    world.put("u/2/new")
    del world.here.held["u/2/gone"]
    under_way.look(SCOPE, 1, under_way.host.monotonic_s() + 60)
    assert {"u/2/a", "u/2/new"} == world.keys(CA)
    ends = world.ends()
    assert {(CA, ends.digest_of(key)) for key in ("u/2/a", "u/2/new")} == under_way.carried.settled_by("media", 1)


def test_a_label_is_found_before_the_fence_and_one_that_comes_later_at_the_close(world: World) -> None:
    world.put("labelled", owner="2")
    under_way = _under_way(world)
    _take(under_way, 1, between=lambda: world.put("late", owner="2"))
    _take(under_way, 2)
    assert {"labelled"} == world.keys(CA)
    under_way.close(SCOPE, _nothing)
    assert {"labelled", "late"} == world.keys(CA)
    (pair,) = pairs_of(world.ends())
    assert pair.equal
    assert (2, 2) == (pair.slice.rows, pair.slice.delete)


def test_p1_what_is_shared_with_somebody_who_stays_goes_home_and_stays(world: World) -> None:
    world.films = [Named(value="film", home=CA, stays=True)]
    world.put("film")
    world.put("u/2/a")
    under_way = _under_way(world)
    _take(under_way, 1)
    under_way.close(SCOPE, _nothing)
    (pair,) = pairs_of(world.ends())
    assert (2, 1) == (pair.slice.rows, pair.slice.delete)


def test_p1_what_a_cohort_took_home_leaves_though_nothing_names_it_any_more(world: World) -> None:
    world.films = [Named(value="film", home=CA, stays=False)]
    world.put("film")
    under_way = _under_way(world)
    under_way.bring_all(SCOPE, _nothing)
    under_way.carried.settle(1, [("media", CA, world.ends().digest_of("film"))])
    world.films = []
    under_way.close(SCOPE, _nothing)
    (pair,) = pairs_of(world.ends())
    assert (1, 1) == (pair.slice.rows, pair.slice.delete)
    assert {"film"} == world.keys(CA)


def test_p1_what_no_cohort_took_home_and_nothing_names_any_more_is_taken_back(world: World) -> None:
    world.films = [Named(value="film", home=CA, stays=False)]
    world.put("film")
    under_way = _under_way(world)
    under_way.bring_all(SCOPE, _nothing)
    world.films = [Named(value="film", home=None, stays=True)]
    under_way.bring_all(SCOPE, _nothing)
    assert set() == world.keys(CA)


def test_p1_another_object_under_a_cohorts_key_keeps_it_from_going_and_a_public_one_does_not(world: World) -> None:
    world.put("public/p")
    world.put("public/p", b"home's", at=CA)
    world.put("u/2/a")
    world.put("u/2/a", b"home's", at=CA)
    under_way = _under_way(world)
    under_way.bring_all(SCOPE, _nothing)
    with pytest.raises(NotEqual, match="1 objects of cohort 1 are other at home") as refused:
        _take(under_way, 1)
    assert "u/2/a" not in str(refused.value)
    assert 'other at home\t"u/2/a"\n' == (world.folder / "unlike-media.txt").read_text()
    assert b"home's" == world.homes[CA].held["u/2/a"][0].data


def test_p4_what_no_rule_decides_refuses_the_close_and_freezes_nothing(world: World) -> None:
    world.rules = RULES[:-1]
    world.put("logo")
    under_way = _under_way(world)
    with pytest.raises(Unclassed, match="1 objects came since the plan that no rule decides"):
        under_way.close(SCOPE, _nothing)
    assert not world.ends().book.is_frozen("media")
    assert 'unruled\t"logo"\n' == (world.folder / "unruled-media.txt").read_text()
