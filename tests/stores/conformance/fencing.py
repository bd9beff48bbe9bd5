"""What every store promises of its fence: movers wait, others go on (P6), and nobody slips in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from domicile.errors import Fenced
from tests.stores import flow
from tests.stores.benches import SOURCE, Bench
from tests.stores.world import World
from tests.stores.worlds import guild, shop, video

ORDER = "sales.Order x"
Row = Mapping[str, object]

# table, the row's where, a change: of rows that lead to a mover
MOVERS: list[tuple[Callable[[], World], str, Row, Row]] = [
    (shop, "person", {"id": 1}, {"name": "x"}),
    (shop, "address", {"id": 4}, {"street": "x"}),  # over the people who live there: a hop downward
    (shop, ORDER, {"id": 3}, {"total": "x"}),
    (shop, "sales.item", {"order_id": 1, "line": 2}, {"note": "x"}),  # two hops
    (shop, "remark", {"id": 6}, {"words": "x"}),
    (shop, "visit", {"person_id": 4, "page": "/"}, {"page": "x"}),  # no key, no foreign key
    (video, "person", {"id": 2}, {"handle": "x"}),
    (video, "clip", {"id": 1}, {"title": "x"}),
    (video, "letter", {"id": 3}, {"words": "x"}),  # from a mover to a stayer
    (video, "letter", {"id": 5}, {"words": "x"}),  # over the second path only
    (video, "attachment", {"id": 3}, {"file": "x"}),
    (video, "report", {"id": 1}, {"words": "x"}),  # over the hop whose `when` holds
    (video, "report", {"id": 3}, {"words": "x"}),
    (guild, "person", {"id": 1}, {"name": "x"}),  # by where they live now, not by their account
    (guild, "worker", {"id": 1}, {"name": "x"}),
    (guild, "team", {"id": 2}, {"name": "x"}),  # one of two in an array
    (guild, "event", {"id": 2}, {"payload": None}),  # a number spelt as text
    (guild, "event", {"id": 4}, {"payload": None}),  # the second of an array of objects
    (guild, "draft", {"id": 4}, {"body": None}),  # of an array, where one value was expected
    (guild, "cache", {"id": 2}, {"key": "x"}),
    (guild, "shift", {"id": 1}, {"note": "x"}),
    (guild, "guest", {"id": 1}, {"email": None}),  # spelt otherwise
]
STAYERS: list[tuple[Callable[[], World], str, Row, Row]] = [
    (shop, "person", {"id": 3}, {"name": "x"}),
    (shop, "person", {"id": 5}, {"name": "x"}),  # of no known market, decided to stay
    (shop, "address", {"id": 3}, {"street": "x"}),
    (shop, "address", {"id": 6}, {"street": "x"}),  # nobody's
    (shop, ORDER, {"id": 4}, {"total": "x"}),
    (shop, "sales.item", {"order_id": 4, "line": 1}, {"note": "x"}),
    (shop, "remark", {"id": 4}, {"words": "x"}),
    (shop, "visit", {"person_id": 3, "page": "/"}, {"page": "x"}),
    (shop, "visit", {"page": "/gone"}, {"page": "x"}),  # leads to nobody who exists
    (shop, "product", {"id": 1}, {"title": "x"}),
    (shop, "staff", {"id": 1}, {"name": "x"}),
    (video, "person", {"id": 3}, {"handle": "x"}),
    (video, "clip", {"id": 4}, {"title": "x"}),
    (video, "letter", {"id": 4}, {"words": "x"}),
    (video, "letter", {"id": 6}, {"words": "x"}),
    (video, "attachment", {"id": 4}, {"file": "x"}),
    (video, "report", {"id": 7}, {"words": "x"}),  # about_id 1 is a mover's number, but the `when` doesn't hold
    (video, "report", {"id": 8}, {"words": "x"}),
    (guild, "person", {"id": 4}, {"name": "x"}),
    (guild, "person", {"id": 5}, {"name": "x"}),  # will live in a market, and does not yet
    (guild, "worker", {"id": 2}, {"name": "x"}),
    (guild, "team", {"id": 3}, {"name": "x"}),
    (guild, "team", {"id": 6}, {"name": "x"}),  # of somebody who is not there
    (guild, "event", {"id": 3}, {"payload": None}),
    (guild, "event", {"id": 6}, {"payload": None}),
    (guild, "draft", {"id": 3}, {"body": "still no json"}),
    (guild, "cache", {"id": 5}, {"key": "x"}),
    (guild, "shift", {"id": 3}, {"note": "x"}),
    (guild, "guest", {"id": 3}, {"email": None}),
]
# new rows, and changes that carry a row from a stayer to a mover or back
ENTERING: list[tuple[Callable[[], World], str, Row]] = [
    (shop, "person", {"id": 50, "name": "new", "email": None, "address_id": 1}),  # a new Canadian
    (shop, ORDER, {"id": 50, "personId": 2, "total": None}),
    (shop, "sales.item", {"order_id": 3, "line": 9, "product_id": 1, "note": None}),
    (shop, "visit", {"person_id": 6, "page": "/"}),
    (video, "person", {"id": 50, "handle": None, "email": "e", "phone": None, "country": "US"}),
    (video, "letter", {"id": 50, "sender_id": 3, "recipient_id": 1, "words": None}),
    (guild, "worker", {"id": 50, "name": None, "country": "CA"}),
    (guild, "team", {"id": 50, "member_ids": [3, 1], "name": None}),
    (guild, "event", {"id": 50, "payload": '{"seen": [{"by": 1}]}'}),
    (guild, "draft", {"id": 50, "body": '{"author": "1"}'}),
    (guild, "cache", {"id": 50, "key": "user:3 user:1"}),
]
PASSING: list[tuple[Callable[[], World], str, Row]] = [
    (shop, "person", {"id": 50, "name": "new", "email": None, "address_id": 3}),
    (shop, "address", {"id": 50, "street": None, "city_id": 1}),
    (shop, ORDER, {"id": 50, "personId": 3, "total": None}),
    (shop, "sales.item", {"order_id": 4, "line": 9, "product_id": 1, "note": None}),
    (shop, "visit", {"person_id": None, "page": "/"}),
    (video, "person", {"id": 50, "handle": None, "email": "e", "phone": None, "country": None}),
    (video, "letter", {"id": 50, "sender_id": 3, "recipient_id": None, "words": None}),
    (guild, "person", {"id": 50, "name": None, "country": "FR", "email": None}),
    (guild, "team", {"id": 50, "member_ids": [3, 4], "name": None}),
    (guild, "event", {"id": 50, "payload": '{"seen": [{"by": 2}], "by": 1}'}),
    (guild, "draft", {"id": 50, "body": "1"}),
    (guild, "cache", {"id": 50, "key": "user:3"}),
]
CROSSING: list[tuple[Callable[[], World], str, Row, Row]] = [
    (shop, ORDER, {"id": 4}, {"personId": 1}),
    (shop, ORDER, {"id": 1}, {"personId": 3}),
    (shop, "person", {"id": 3}, {"address_id": 1}),
    (shop, "person", {"id": 5}, {"address_id": 2}),
    (shop, "address", {"id": 3}, {"city_id": 1}),  # a stayer's address, moved to where movers live
    (shop, "sales.item", {"order_id": 4, "line": 1}, {"order_id": 1, "line": 7}),
    (video, "person", {"id": 3}, {"country": "CA"}),
    (video, "letter", {"id": 4}, {"recipient_id": 2}),
    (video, "report", {"id": 7}, {"about_type": "clip"}),
    (guild, "team", {"id": 3}, {"member_ids": [3, 2]}),
    (guild, "draft", {"id": 2}, {"body": '{"author": 1}'}),
]


WORLDS = (shop, video, guild)
Case = tuple[str, Row, Row]


def _of(cases: list[tuple[Callable[[], World], str, Row, Row]], world: Callable[[], World]) -> list[Case]:
    return [(table, where, change) for made, table, where, change in cases if made is world]


def _new(cases: list[tuple[Callable[[], World], str, Row]], world: Callable[[], World]) -> list[tuple[str, Row]]:
    return [(table, row) for made, table, row in cases if made is world]


def _goes(write: Callable[[], object]) -> bool:
    """Whether the store takes it."""
    try:
        write()
    except Fenced:
        return False
    return True


@pytest.mark.parametrize("world", WORLDS)
class EveryRow:
    """Whose row it is decides, not which: all cases of a world stand at one bench, as no refusal changes anything."""

    def test_p6_a_movers_row_is_neither_changed_nor_deleted(
        self, make: Callable[..., Bench], world: Callable[[], World]
    ) -> None:
        bench, cases = make(world()), _of(MOVERS, world)
        bench.source.stand_fence(bench.scope)
        before = _everything(bench)
        went = [case for case in cases if _goes(lambda case=case: bench.update(SOURCE, *case))]  # type: ignore[misc]
        went += [case for case in cases if _goes(lambda case=case: bench.delete(SOURCE, *case[:2]))]  # type: ignore[misc]
        assert [] == went
        assert before == _everything(bench)

    def test_p6_other_rows_are_changed_as_ever(self, make: Callable[..., Bench], world: Callable[[], World]) -> None:
        bench = make(world())
        flow.freeze(bench)
        cases = _of(STAYERS, world)
        assert [] == [case for case in cases if not bench.update(SOURCE, *case)]

    def test_p6_no_row_is_added_to_a_mover(self, make: Callable[..., Bench], world: Callable[[], World]) -> None:
        bench = make(world())
        bench.source.stand_fence(bench.scope)
        before = _everything(bench)
        cases = _new(ENTERING, world)
        assert [] == [case for case in cases if _goes(lambda case=case: bench.insert(SOURCE, *case))]  # type: ignore[misc]
        assert before == _everything(bench)

    def test_p6_others_add_rows_as_ever(self, make: Callable[..., Bench], world: Callable[[], World]) -> None:
        bench = make(world())
        flow.freeze(bench)
        for table, row in _new(PASSING, world):
            before = len(bench.rows(SOURCE, table))
            bench.insert(SOURCE, table, row)
            assert before + 1 == len(bench.rows(SOURCE, table)), table

    def test_no_row_changes_sides(self, make: Callable[..., Bench], world: Callable[[], World]) -> None:
        bench = make(world())
        bench.source.stand_fence(bench.scope)
        before = _everything(bench)
        cases = _of(CROSSING, world)
        assert [] == [case for case in cases if _goes(lambda case=case: bench.update(SOURCE, *case))]  # type: ignore[misc]
        assert before == _everything(bench)


def _everything(bench: Bench) -> dict[str, list[tuple[object, ...]]]:
    return {sheet.name: bench.rows(SOURCE, sheet.name) for sheet in bench.world.sheets}


class FencingSuite:
    """`make` builds a bench from a world."""

    def test_after_the_freeze_no_new_row_hangs_on_one_that_leaves(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        bench.source.stand_fence(bench.scope)
        remark = {"id": 50, "person_id": 3, "parent_id": 5, "words": "fr answers a remark that leaves"}
        flow.freeze(bench)
        with pytest.raises(Fenced):
            bench.insert(SOURCE, "remark", remark)
        bench.insert(SOURCE, "remark", {**remark, "parent_id": 3})  # its skeleton stays

    def test_without_a_fence_everybody_writes(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        assert bench.update(SOURCE, "person", {"id": 1}, {"name": "x"}) == 1

    def test_a_released_fence_lets_everybody_write(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        flow.freeze(bench)
        bench.source.release_fence()
        assert bench.update(SOURCE, "person", {"id": 1}, {"name": "x"}) == 1
        bench.source.release_fence()

    def test_the_guard_stays_when_the_engine_goes(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        bench.source.stand_fence(bench.scope)
        bench.reopen()
        with pytest.raises(Fenced):
            bench.update(SOURCE, "person", {"id": 1}, {"name": "x"})

    def test_the_guard_does_not_come_home(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        flow.move(bench)
        assert bench.update("ca", "person", {"id": 1}, {"name": "x"}) == 1
        bench.insert("ca", ORDER, {"id": 50, "personId": 1, "total": None})

    def test_a_survey_under_the_fence_counts_the_same(self, make: Callable[..., Bench]) -> None:
        bench = make(shop())
        before = bench.source.survey(bench.scope)
        bench.source.stand_fence(bench.scope)
        assert bench.source.survey(bench.scope) == before
