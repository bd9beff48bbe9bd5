"""Steps of a move of objects, over buckets in memory: what is lost, held, locked, killed, and what is never touched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from domicile.config.belongings import ObjectRule
from domicile.errors import NotEqual, Refused, StoreFault, Unclassed, WorldChanged
from domicile.model import Form
from domicile.objects import erasing
from domicile.objects.book import Book, Standing
from domicile.objects.erasing import free_objects
from domicile.objects.horizon import copies_of, first_free_day, look, outcomes_of
from domicile.objects.moving import brought_of, compare_ends, copy_home, pairs_of, slices_of
from domicile.stores.memory import CrashHere, Faults
from domicile.stores.objects import Traits, Versioning
from domicile.stores.objects.memory import Pending
from domicile.stores.postgres.copies import Copy, CopyKind, Treatment
from domicile.stores.postgres.naming import Named
from tests.objects.benches import CA, NOON, RULES, Move, contents, filled

OTHERS = {"logo": [b"nobody's"], "u/1/letter": [b"of one who stays"]}
MOVED: dict[str, list[bytes | None]] = {
    "u/2/gone": [b"hidden", None],
    "u/2/letter": [b"first", b"second"],
    "videos/of-4": [b"film"],
}


def nobody_late(*_: object) -> bool:
    return False


def test_all_versions_go_home_in_order_and_leave_and_nothing_else_does(tmp_path: Path) -> None:
    move = filled(tmp_path)
    ends = move.ends()
    (pair,) = move.bring(ends)
    assert MOVED == contents(move.at_home)
    assert (Form.OBJECTS, 5, 5) == (pair.slice.form, pair.slice.rows, pair.slice.delete)
    assert pair.equal
    move.erase(ends)
    assert OTHERS == contents(move.at_source)
    assert {CA: 5} == ends.book.removed("media")
    assert MOVED == contents(move.at_home)


@pytest.mark.parametrize("where", ["effect", "book"])
def test_p5_killed_anywhere_in_copy_and_erase_the_next_run_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """In place of each effect on a store, and in place of each note in the book, which stands behind an effect."""
    for number in range(1, 100):
        folder = tmp_path / str(number)
        folder.mkdir()
        move = filled(folder)
        _begun(move)
        with monkeypatch.context() as patched:
            if where == "effect":
                move.faults = Faults(crash_after=number)
            else:
                _crash_in_book(patched, number)
            died = _dies(move)
        _refuse_lost(move)
        move.faults = Faults()
        if not _erasing(move):
            move.bring(move.ends())
        move.erase(move.ends())
        assert OTHERS == contents(move.at_source), number
        assert MOVED == contents(move.at_home), number
        assert {CA: 5} == move.ends().book.removed("media"), number
        assert {} == move.at_source.pending
        if not died:
            assert number > 9
            return
    raise AssertionError("it never came to its end")


def _dies(move: Move) -> bool:
    try:
        move.bring(move.ends())
        move.erase(move.ends())
    except CrashHere:
        return True
    return False


def _crash_in_book(patched: pytest.MonkeyPatch, number: int) -> None:
    written, original = count(1), Book._write

    def write(book: Book, query: str, *values: object) -> None:
        if next(written) == number:
            raise CrashHere
        original(book, query, *values)

    patched.setattr(Book, "_write", write)


def _begun(move: Move) -> dict[str, Pending]:
    """Begin an upload of a mover's that nobody completes."""
    move.at_source.pending["u1"] = Pending(key="u/2/half", started_at=NOON, traits=Traits(), parts={0: b"half"})
    return move.at_source.pending


def _erasing(move: Move) -> bool:
    return bool(move.ends().book.standings("media").keys() - {Standing.THERE})


def _refuse_lost(move: Move) -> None:
    """P1: what is no longer at the source is at home."""
    here, there = contents(move.at_source), contents(move.at_home)
    for key, whole in MOVED.items():
        assert whole in (here.get(key), there.get(key))


def _compared(folder: Path, **given: Any) -> tuple[Move, Any]:
    move = filled(folder, **given)
    ends = move.ends()
    assert all(pair.equal for pair in move.bring(ends))
    return move, ends


def test_p1_an_object_that_was_written_since_it_was_compared_is_held_untouched(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    move.put("u/2/letter", b"third")
    move.erase(ends)
    assert [b"first", b"second", b"third"] == contents(move.at_source)["u/2/letter"]
    assert "videos/of-4" not in contents(move.at_source)
    assert {Standing.GONE: 2, Standing.HELD: 1} == ends.book.standings("media")
    assert {CA: 3} == ends.book.removed("media")
    assert Treatment.HELD is _outcomes(ends)[CopyKind.OBJECTS].treatment


def test_p1_without_versions_content_replaced_since_it_was_compared_is_held(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path, versioning=Versioning.OFF)
    move.put("u/2/letter", b"other")
    move.erase(ends)
    assert [b"other"] == contents(move.at_source)["u/2/letter"]
    assert {Standing.GONE: 2, Standing.HELD: 1} == ends.book.standings("media")


def test_p1_an_object_of_which_somebody_removed_a_version_since_is_held(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    del move.at_source.held["u/2/letter"][0]
    move.erase(ends)
    assert [b"second"] == contents(move.at_source)["u/2/letter"]
    assert {CA: 3} == ends.book.removed("media")
    assert {Standing.GONE: 2, Standing.HELD: 1} == ends.book.standings("media")


def test_p1_an_object_that_home_lost_or_changed_since_is_held(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    del move.at_home.held["videos/of-4"]
    move.at_home.held["u/2/letter"][0] = replace(move.at_home.held["u/2/letter"][0], data=b"First")
    move.erase(ends)
    assert {"u/2/letter", "videos/of-4"} == contents(move.at_source).keys() - OTHERS.keys()
    assert {Standing.GONE: 1, Standing.HELD: 2} == ends.book.standings("media")


def test_p1_traits_changed_at_home_hold_it_as_well(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    move.at_home.held["videos/of-4"][0] = replace(
        move.at_home.held["videos/of-4"][0], traits=Traits(metadata=(("owner", "another"),))
    )
    move.erase(ends)
    assert "videos/of-4" in contents(move.at_source)


def test_p1_a_version_written_while_the_others_go_is_held_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, ends = _compared(tmp_path)
    original = erasing._remove

    def write_between(*given: Any) -> Any:
        move.put("videos/of-4", b"younger") if given[2] == "videos/of-4" else None
        return original(*given)

    monkeypatch.setattr(erasing, "_remove", write_between)
    move.erase(ends)
    assert [b"younger"] == contents(move.at_source)["videos/of-4"]
    assert {CA: 5} == ends.book.removed("media")
    assert Standing.HELD in ends.book.standings("media")
    assert Treatment.HELD is _outcomes(ends)[CopyKind.OBJECTS].treatment


def test_p1_a_home_that_is_the_source_itself_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    move = filled(tmp_path)
    move.at_home = move.at_source
    before = contents(move.at_source)
    with pytest.raises(Refused, match="are the same place"):
        move.bring(move.ends())
    assert before == contents(move.at_source)


def test_p1_what_goes_at_home_with_the_source_stops_everything(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    move.at_home.held = move.at_source.held  # as if both had been one place all the time
    with pytest.raises(StoreFault, match="gone at home as well"):
        move.erase(ends)
    assert 2 == sum(key in move.at_source.held for key in MOVED)


def test_p1_what_is_gone_at_both_ends_stops_every_later_run_until_home_holds_it_again(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    kept = {key: list(held) for key, held in move.at_home.held.items()}
    move.at_home.held = move.at_source.held
    for _ in range(3):
        with pytest.raises(StoreFault, match="until home holds it again"):
            move.erase(move.ends())
        assert 2 == sum(key in move.at_source.held for key in MOVED)
    assert {Standing.GOING: 1, Standing.THERE: 2} == ends.book.standings("media")
    move.at_home.held = kept
    move.erase(move.ends())
    assert OTHERS == contents(move.at_source)
    assert {Standing.GONE: 3} == ends.book.standings("media")


def test_p1_what_home_lost_after_a_run_was_killed_is_never_called_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, ends = _compared(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(erasing, "_refuse_lost", _crash)
        with pytest.raises(CrashHere):
            move.erase(ends)
    (gone,) = MOVED.keys() - move.at_source.held.keys()
    del move.at_home.held[gone]
    for _ in range(2):
        with pytest.raises(StoreFault, match="until home holds it again"):
            move.erase(move.ends())
    assert 2 == sum(key in move.at_source.held for key in MOVED)


def _crash(*_: object) -> None:
    raise CrashHere


def test_p1_removals_that_the_store_only_confirms_are_noticed(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    move.at_source.flaws.keeps_removed = True
    with pytest.raises(StoreFault, match="still there"):
        move.erase(ends)


def test_p11_a_locked_version_stays_until_its_day_and_the_rest_of_its_object_goes(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    first = move.at_source.held["u/2/letter"][0].version_id
    until = NOON + timedelta(days=40)
    move.at_source.lock("u/2/letter", first, until=until)
    move.erase(ends)
    assert [b"first", None] == contents(move.at_source)["u/2/letter"]  # never served in the place of "second"
    assert {CA: 4} == ends.book.removed("media")
    assert {Standing.GONE: 2, Standing.LOCKED: 1} == ends.book.standings("media")
    outcome = _outcomes(ends)[CopyKind.LOCKED_VERSIONS]
    assert (Treatment.BLOCKED, first_free_day(until)) == (outcome.treatment, outcome.until)
    assert first_free_day(until) > until.date()  # until noon of a day means: not on that day
    assert "1 delete markers" in outcome.why
    assert {Treatment.DONE} == {_outcomes(ends)[one].treatment for one in (CopyKind.OBJECTS, CopyKind.OBJECT_VERSIONS)}


def test_p1_p11_a_locked_version_under_a_delete_marker_stays_hidden(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    move.at_source.lock("u/2/gone", move.at_source.held["u/2/gone"][0].version_id, until=NOON + timedelta(days=40))
    move.erase(ends)
    assert [b"hidden", None] == contents(move.at_source)["u/2/gone"]
    assert {CA: 3} == ends.book.removed("media")
    assert {Standing.GONE: 2, Standing.LOCKED: 1} == ends.book.standings("media")
    found = _outcomes(ends)
    assert "hidden as before by 1 delete markers" in found[CopyKind.LOCKED_VERSIONS].why
    assert Treatment.DONE is found[CopyKind.OBJECT_VERSIONS].treatment


@pytest.mark.parametrize("number", range(1, 9))
def test_p5_p11_killed_around_the_marker_the_locked_version_is_hidden_all_the_same(tmp_path: Path, number: int) -> None:
    move, ends = _compared(tmp_path)
    move.at_source.lock("u/2/letter", move.at_source.held["u/2/letter"][0].version_id, until=NOON + timedelta(days=40))
    move.faults = Faults(crash_after=number)
    with suppress(CrashHere):
        move.erase(move.ends())
    assert contents(move.at_source)["u/2/letter"][-1] in {b"second", None}
    move.faults = Faults()
    move.erase(move.ends())
    assert [b"first", None] == contents(move.at_source)["u/2/letter"]
    assert {Standing.GONE: 2, Standing.LOCKED: 1} == ends.book.standings("media")


def _locked(folder: Path) -> tuple[Move, Any]:
    """All erased but the first version of an object, which is locked, under a marker of ours."""
    move, ends = _compared(folder)
    move.at_source.lock("u/2/letter", move.at_source.held["u/2/letter"][0].version_id, until=NOON + timedelta(days=40))
    move.erase(ends)
    assert [b"first", None] == contents(move.at_source)["u/2/letter"]
    return move, ends


def test_p3_p11_once_its_day_is_over_a_locked_version_goes_and_not_before(tmp_path: Path) -> None:
    move, ends = _locked(tmp_path)
    assert 0 == free_objects(ends, now=NOON + timedelta(days=39))
    move.erase(ends)
    assert [b"first", None] == contents(move.at_source)["u/2/letter"]
    move.clock = NOON + timedelta(days=40)
    assert 1 == free_objects(move.ends(), now=move.clock)
    move.erase(move.ends())
    assert {"logo", "u/1/letter"} == contents(move.at_source).keys()  # the marker that hid it as well
    assert {CA: 5} == ends.book.removed("media")
    assert {Standing.GONE: 3} == ends.book.standings("media")
    assert Treatment.DONE is _outcomes(ends)[CopyKind.LOCKED_VERSIONS].treatment
    assert 0 == free_objects(move.ends(), now=move.clock)


@pytest.mark.parametrize("number", range(1, 7))
def test_p5_killed_while_what_a_lock_kept_goes_the_next_run_ends_the_same(tmp_path: Path, number: int) -> None:
    move, _ = _locked(tmp_path)
    move.clock, move.faults = NOON + timedelta(days=40), Faults(crash_after=number)
    with suppress(CrashHere):
        ends = move.ends()
        free_objects(ends, now=move.clock)
        move.erase(ends)
    move.faults = Faults()
    ends = move.ends()
    free_objects(ends, now=move.clock)
    move.erase(ends)
    assert {"logo", "u/1/letter"} == contents(move.at_source).keys()
    assert ({CA: 5}, {Standing.GONE: 3}) == (ends.book.removed("media"), ends.book.standings("media"))


@pytest.mark.parametrize("end", ["source", "home"])
def test_p1_p11_what_somebody_took_away_meanwhile_is_held_once_the_day_is_over(tmp_path: Path, end: str) -> None:
    move, ends = _locked(tmp_path)
    if end == "source":
        del move.at_source.held["u/2/letter"]
    else:
        del move.at_home.held["u/2/letter"]
    move.clock = NOON + timedelta(days=40)
    assert 0 == free_objects(ends, now=move.clock)
    move.erase(ends)
    assert (end == "home") is ("u/2/letter" in contents(move.at_source))  # P1: home doesn't hold it, so it stays
    assert {Standing.GONE: 2, Standing.HELD: 1} == ends.book.standings("media")
    assert {CA: 4} == ends.book.removed("media")


def test_p11_a_legal_hold_is_held_and_has_no_day(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    move.at_source.lock("videos/of-4", move.at_source.held["videos/of-4"][0].version_id, until=None, legal_hold=True)
    move.erase(ends)
    assert Treatment.HELD is _outcomes(ends)[CopyKind.LOCKED_VERSIONS].treatment


def test_an_upload_begun_since_is_held_and_those_of_others_are_left(tmp_path: Path) -> None:
    move = filled(tmp_path)
    _begun(move)
    move.at_source.pending["u2"] = Pending(key="u/1/half", started_at=NOON, traits=Traits(), parts={0: b"of another"})
    ends = move.ends()
    move.bring(ends)
    move.at_source.pending["u3"] = Pending(key="u/2/letter", started_at=NOON, traits=Traits(), parts={0: b"younger"})
    move.erase(ends)
    assert {"u2", "u3"} == move.at_source.pending.keys()
    assert [(1, False), (1, True)] == move.removed_uploads
    assert Treatment.HELD is _outcomes(ends)[CopyKind.UPLOADS].treatment


def test_p3_p4_what_arrives_under_a_key_that_a_movers_row_named_before_is_never_called_erased(tmp_path: Path) -> None:
    move = filled(tmp_path)
    stayers = (Named(value="videos/of-1", home=None, stays=True), Named(value="videos/both", home=None, stays=True))
    move.named = (*move.named, Named(value="videos/of-2", home=CA, stays=False), *stayers)
    move.named = (*move.named, Named(value="videos/both", home=CA, stays=False))
    ends = move.ends()
    move.bring(ends)
    for key in ("videos/of-2", "videos/of-1", "videos/both"):
        move.put(key, b"presigned before, put after")
    move.erase(ends)
    left = look(ends, nobody_late)
    assert (1, 1) == (left.late, left.objects)
    assert Treatment.HELD is _outcomes(ends)[CopyKind.OBJECTS].treatment


def test_p3_p4_an_upload_that_was_frozen_and_completed_since_is_never_called_erased(tmp_path: Path) -> None:
    rules = (*RULES[1:], ObjectRule(pattern="u/{subject}/*", disposition="move"))
    move = filled(tmp_path, rules=rules)
    _begun(move)
    ends = move.ends()
    move.bring(ends)
    move.at_source.pending.clear()
    move.put("u/2/half", b"whole by now")
    move.erase(ends)
    assert 1 == look(ends, nobody_late).late
    assert Treatment.HELD is _outcomes(ends)[CopyKind.OBJECTS].treatment


def test_what_somebody_who_stays_has_as_well_goes_home_and_stays(tmp_path: Path) -> None:
    move = filled(tmp_path)
    move.named = (*move.named, Named(value="videos/of-4", home=None, stays=True))
    ends = move.ends()
    (pair,) = move.bring(ends)
    assert (5, 4) == (pair.slice.rows, pair.slice.delete)
    move.erase(ends)
    assert [b"film"] == contents(move.at_source)["videos/of-4"] == contents(move.at_home)["videos/of-4"]
    assert Treatment.DONE is _outcomes(ends)[CopyKind.OBJECTS].treatment


def test_p4_an_object_without_a_rule_is_refused_and_nothing_is_frozen(tmp_path: Path) -> None:
    move = filled(tmp_path, rules=RULES[:-1])
    ends = move.ends()
    with pytest.raises(Unclassed, match="1 objects"):
        move.freeze(ends)
    assert not ends.book.is_frozen("media")
    assert () == slices_of(ends)


@pytest.mark.parametrize("change", ["lost", "changed"])
def test_p1_what_differs_at_home_is_no_equality(tmp_path: Path, change: str) -> None:
    move, ends = _compared(tmp_path)
    if change == "lost":
        del move.at_home.held["videos/of-4"]
    else:
        move.at_home.held["videos/of-4"][0] = replace(move.at_home.held["videos/of-4"][0], data=b"Film")
    compare_ends(ends, listener=lambda _: None)
    (pair,) = pairs_of(ends)
    assert not pair.equal
    if change == "lost":  # the next apply brings it again
        assert all(one.equal for one in move.bring(ends))
    else:
        with pytest.raises(NotEqual):
            copy_home(ends, listener=lambda _: None)


def test_p5_a_comparison_that_breaks_off_leaves_what_was_said_of_the_copy(tmp_path: Path) -> None:
    _, ends = _compared(tmp_path)
    before = brought_of(ends)
    assert before[0].digest == pairs_of(ends)[0].home.digest
    ends.book.begin_comparing("media")
    assert before == brought_of(ends)
    assert before[0].digest != pairs_of(ends)[0].home.digest


def test_versions_swapped_at_home_are_no_equality(tmp_path: Path) -> None:
    move, ends = _compared(tmp_path)
    move.at_home.held["u/2/letter"].reverse()
    compare_ends(ends, listener=lambda _: None)
    assert not pairs_of(ends)[0].equal


def test_what_vanishes_from_the_source_before_it_is_home_stops_the_move(tmp_path: Path) -> None:
    move = filled(tmp_path)
    ends = move.ends()
    move.freeze(ends)
    del move.at_source.held["videos/of-4"]
    with pytest.raises(WorldChanged, match="1 objects"):
        copy_home(ends, listener=lambda _: None)


def test_p8_the_book_holds_no_key(tmp_path: Path) -> None:
    move = filled(tmp_path)
    move.put("u/2/anna@example.org.jpg", b"face")
    ends = move.ends()
    move.bring(ends)
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert files
    assert all(b"anna" not in path.read_bytes() and b"letter" not in path.read_bytes() for path in files)
    assert all(path.stat().st_mode & 0o077 == 0 for path in files if path.suffix == ".db")


def _outcomes(ends: Any, late: Callable[..., bool] = nobody_late) -> dict[CopyKind, Any]:
    left = look(ends, late)
    found = outcomes_of(ends, left, copies_of(ends.source, bucket=True) + _lockable(), NOON)
    return {CopyKind(one.copy): one for one in found}


def _lockable() -> Any:
    name = CopyKind.LOCKED_VERSIONS
    return (Copy(id=name.value, kind=name, relation=None, method="", observable=True, why=""),)
