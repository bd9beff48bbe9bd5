"""Objects that come home ahead of their people, and go back: over buckets in memory, each step killed anywhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domicile.errors import BadFile, Unreachable
from domicile.model import Home
from domicile.objects.ahead import Came, Going, bring
from domicile.objects.carried import Carried
from domicile.objects.returning import Returned, bring_back
from domicile.stores.memory import CrashHere, Faults
from domicile.stores.objects import Traits, Versioning, copying
from domicile.stores.objects.memory import MemoryBucket
from tests.objects.benches import CA, Move, contents

KEY = "u/2/letter"
KEPT = pytest.mark.parametrize("kept", [Versioning.ON, Versioning.OFF])


class Ahead:
    """One bucket at each end, and what is known between them; new each time, as after a crash."""

    def __init__(self, folder: Path, *, source: Versioning, home: Versioning) -> None:
        self.move = Move(folder=folder)
        self.move.at_source = MemoryBucket(versioning=source)
        self.move.at_home = MemoryBucket(versioning=home)
        self.path = folder / "objects-under-way.db"

    def bring(self, *, whole: bool = False, public: bool = False) -> Came:
        ends = self.move.ends()
        going = Going(key=KEY, history=ends.source.history(KEY), home=CA, public=public)
        return bring(ends, Carried(self.path), going, whole=whole)

    def bring_back(self) -> Returned:
        return bring_back(self.move.ends(), Carried(self.path), KEY, CA, public=False)

    def settle(self) -> None:
        Carried(self.path).settle(1, [("media", CA, self.move.ends().digest_of(KEY))])

    def put(self, data: bytes, *, at_home: bool = False, traits: Traits | None = None) -> None:
        self.move.put(KEY, data, traits, bucket=self.move.at_home if at_home else None)

    @property
    def here(self) -> list[bytes | None]:
        return contents(self.move.at_source).get(KEY, [])

    @property
    def there(self) -> list[bytes | None]:
        return contents(self.move.at_home).get(KEY, [])


def _with(folder: Path, kept: Versioning, *data: bytes) -> Ahead:
    folder.mkdir(exist_ok=True)
    made = Ahead(folder, source=kept, home=kept)
    for one in data:
        made.put(one)
    return made


@KEPT
def test_what_changes_at_the_source_comes_after(tmp_path: Path, kept: Versioning) -> None:
    made = _with(tmp_path, kept, b"first")
    assert (Came.BROUGHT, [b"first"]) == (made.bring(), made.there)
    assert Came.THERE is made.bring() is made.bring(whole=True)
    made.put(b"second")
    assert (Came.BROUGHT, made.here) == (made.bring(), made.there)
    assert b"second" == made.there[-1]


def test_a_version_that_the_source_lost_is_lost_at_home_too(tmp_path: Path) -> None:
    made = _with(tmp_path, Versioning.ON, b"first", b"second")
    made.bring()
    del made.move.at_source.held[KEY][0]
    assert (Came.BROUGHT, [b"second"]) == (made.bring(), made.there)


@KEPT
def test_p1_what_is_gone_at_the_source_is_taken_back_only_where_it_is_ours(tmp_path: Path, kept: Versioning) -> None:
    made = _with(tmp_path / "ours", kept, b"first")
    made.bring()
    del made.move.at_source.held[KEY]
    assert (Came.TAKEN_BACK, []) == (made.bring(), made.there)
    theirs = _with(tmp_path / "theirs", kept, b"first")
    theirs.bring()
    theirs.put(b"written at home", at_home=True)
    del theirs.move.at_source.held[KEY]
    before = theirs.there
    assert (Came.DIFFERS, before) == (theirs.bring(), theirs.there)


@KEPT
def test_p1_what_is_other_at_home_is_never_replaced(tmp_path: Path, kept: Versioning) -> None:
    made = _with(tmp_path / "brought", kept, b"first")
    made.bring()
    made.put(b"written at home", at_home=True)
    made.put(b"second")
    before = made.there
    assert (Came.DIFFERS, before) == (made.bring(), made.there)
    foreign = _with(tmp_path / "foreign", kept, b"first")
    foreign.put(b"there before", at_home=True)
    assert (Came.DIFFERS, [b"there before"]) == (foreign.bring(), foreign.there)
    assert (Came.DIFFERS, [b"there before"]) == (foreign.bring(whole=True), foreign.there)


@KEPT
def test_p1_once_somebody_is_at_home_nothing_there_is_replaced_or_removed(tmp_path: Path, kept: Versioning) -> None:
    made = _with(tmp_path, kept, b"first")
    made.bring()
    made.settle()
    held = made.move.at_source.held.pop(KEY)
    assert (Came.THERE, [b"first"]) == (made.bring(whole=True), made.there)
    made.move.at_source.held[KEY] = held
    made.put(b"late")
    came = made.bring()
    if kept is Versioning.ON:  # home wrote none, so what came past the fence is put behind
        assert (Came.BROUGHT, [b"first", b"late"]) == (came, made.there)
    else:
        assert (Came.DIFFERS, [b"first"]) == (came, made.there)


def test_tags_that_changed_in_place_are_seen_by_the_whole_look(tmp_path: Path) -> None:
    made = _with(tmp_path, Versioning.ON, b"first")
    made.bring()
    held = made.move.at_source.held[KEY]
    held[0] = replace(held[0], traits=Traits(tags=(("owner", "two"),)))
    assert Came.THERE is made.bring()
    assert Came.BROUGHT is made.bring(whole=True)
    assert held[0].traits == made.move.at_home.held[KEY][0].traits


def test_what_home_lost_before_its_person_came_is_seen_by_the_whole_look(tmp_path: Path) -> None:
    made = _with(tmp_path, Versioning.ON, b"first")
    made.bring()
    del made.move.at_home.held[KEY]
    assert (Came.BROUGHT, [b"first"]) == (made.bring(whole=True), made.there)


def test_an_object_that_never_stands_still_is_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _with(tmp_path, Versioning.OFF, b"first")
    original = copying.copy_key

    def change(source: Any, *given: Any, **named: Any) -> Any:
        made.put(b"again" + bytes(len(made.here[0] or b"")))
        return original(source, *given, **named)

    monkeypatch.setattr("domicile.objects.ahead.copy_key", change)
    with pytest.raises(Unreachable, match="changes faster than it is read"):
        made.bring()


def test_a_lost_file_is_refused(tmp_path: Path) -> None:
    carried = Carried(tmp_path / "objects-under-way.db")
    carried.begin("media")
    carried.refuse_lost("media")
    carried.forget()
    with pytest.raises(BadFile, match="put it back from a copy"):
        carried.refuse_lost("media")


def _crashing(monkeypatch: pytest.MonkeyPatch, made: Ahead, number: int, work: Callable[[], object]) -> bool:
    """Do the work until the given effect on a store or note in the file; whether it was cut off."""
    counted = [0]
    original, done = Carried.rows, Faults.effect

    def tick() -> None:
        counted[0] += 1
        if counted[0] == number:
            raise CrashHere

    def rows(carried: Carried, query: str, *values: object) -> Any:
        if not query.startswith("SELECT"):
            tick()
        return original(carried, query, *values)

    def effect(faults: Faults, *given: Any) -> Any:
        tick()
        return done(faults, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Carried, "rows", rows)
        patched.setattr(Faults, "effect", effect)
        with suppress(CrashHere):
            work()
            return False
    return True


@KEPT
def test_p1_what_home_wrote_where_a_run_was_killed_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Versioning
) -> None:
    made = _with(tmp_path, kept, b"first")
    assert _crashing(monkeypatch, made, 2, made.bring)
    assert [] == made.there
    made.put(b"written at home", at_home=True)
    made.put(b"second")
    assert (Came.DIFFERS, [b"written at home"]) == (made.bring(whole=True), made.there)
    made.move.at_source.held.clear()
    assert (Came.DIFFERS, [b"written at home"]) == (made.bring(whole=True), made.there)


@KEPT
def test_p5_killed_anywhere_on_the_way_home_it_is_as_at_the_source_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Versioning
) -> None:
    """Killed, then changed at the source, then brought again: also where what was killed took back what had changed."""
    for number in range(1, 40):
        made = _with(tmp_path / str(number), kept, b"oldest", b"first")
        made.bring()
        if kept is Versioning.ON:
            made.move.at_source.held[KEY].clear()
        made.put(b"second")
        died = _crashing(monkeypatch, made, number, made.bring)
        made.put(b"third")
        assert Came.BROUGHT is made.bring()
        assert made.here == made.there
        if not died:
            assert number > 3
            return
    raise AssertionError("it never came to its end")


# -- back ------------------------------------------------------------------------------------------------------------


@KEPT
def test_p1_what_people_wrote_at_home_goes_back_and_home_again(tmp_path: Path, kept: Versioning) -> None:
    made = _with(tmp_path, kept, b"first")
    made.bring()
    assert Returned.THERE is made.bring_back()
    made.put(b"written at home", at_home=True)
    assert (Returned.BROUGHT, made.there) == (made.bring_back(), made.here)
    assert b"written at home" == made.here[-1]
    made.put(b"and at the source again")
    assert (Came.BROUGHT, made.here) == (made.bring(whole=True), made.there)


@KEPT
def test_p1_an_object_that_is_new_at_home_goes_back(tmp_path: Path, kept: Versioning) -> None:
    made = _with(tmp_path, kept)
    made.put(b"new", at_home=True)
    assert (Returned.BROUGHT, [b"new"]) == (made.bring_back(), made.here)
    assert made.bring(whole=True) in {Came.THERE, Came.BROUGHT}
    assert [b"new"] == made.there


def test_where_the_source_keeps_one_version_home_has_one_again_after_the_way_back(tmp_path: Path) -> None:
    made = Ahead(tmp_path, source=Versioning.OFF, home=Versioning.ON)
    made.put(b"first")
    made.bring()
    made.put(b"second", at_home=True)
    assert (Returned.BROUGHT, [b"second"]) == (made.bring_back(), made.here)
    assert [b"first", b"second"] == made.there
    assert (Came.BROUGHT, [b"second"]) == (made.bring(), made.there)


@KEPT
def test_p1_what_the_source_wrote_since_is_never_replaced(tmp_path: Path, kept: Versioning) -> None:
    made = _with(tmp_path, kept, b"first")
    made.bring()
    made.put(b"written at home", at_home=True)
    made.put(b"late")
    before = made.here
    assert (Returned.DIFFERS, before) == (made.bring_back(), made.here)


def test_what_was_hidden_at_home_is_hidden_at_the_source(tmp_path: Path) -> None:
    made = _with(tmp_path, Versioning.ON, b"first")
    made.bring()
    made.move.home.put_marker(KEY)
    assert (Returned.BROUGHT, [b"first", None]) == (made.bring_back(), made.here)


@pytest.mark.parametrize("home", [Versioning.ON, Versioning.OFF])
def test_p1_what_was_removed_at_home_and_cannot_be_hidden_stays_and_is_told(tmp_path: Path, home: Versioning) -> None:
    made = Ahead(tmp_path, source=Versioning.OFF, home=home)
    made.put(b"first")
    made.bring()
    if home is Versioning.ON:
        made.move.home.put_marker(KEY)
    else:
        del made.move.at_home.held[KEY]
    assert (Returned.REMOVED_AT_HOME, [b"first"]) == (made.bring_back(), made.here)


@KEPT
def test_p5_killed_anywhere_on_the_way_back_what_home_wrote_last_is_at_the_source_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Versioning
) -> None:
    for number in range(1, 40):
        made = _with(tmp_path / str(number), kept, b"first")
        made.bring()
        made.put(b"second", at_home=True)
        died = _crashing(monkeypatch, made, number, made.bring_back)
        made.put(b"third", at_home=True)
        assert Returned.BROUGHT is made.bring_back()
        assert b"third" == made.here[-1]
        assert made.bring(whole=True) in {Came.THERE, Came.BROUGHT}
        assert made.here == made.there
        if not died:
            assert number > 2
            return
    raise AssertionError("it never came to its end")


def test_a_cohort_settles_its_own_objects_and_lets_go_of_no_others(tmp_path: Path) -> None:
    carried, other = Carried(tmp_path / "objects-under-way.db"), Home("us")
    carried.settle(1, [("media", CA, b"a"), ("media", CA, b"b")])
    carried.settle(2, [("media", CA, b"b"), ("media", other, b"b")])
    carried.unsettle(1)
    assert not carried.is_settled("media", CA, b"a")
    assert {CA, other} == carried.homes_of("media", b"b")
    assert {(CA, b"b"), (other, b"b")} == carried.settled_by("media", 2)
