"""The plan's file: one spelling, bound to file, catalogue and engine; and its forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from domicile import config
from domicile.errors import BadFile, Refused, WorldChanged
from domicile.model import DatasetId, Form, Home, Manifest, Slice, SliceId
from domicile.plan.document import Plan, decode_plan, encode_plan, forecast, make_plan, refuse_changed_world
from domicile.plan.resolve import resolve
from domicile.proof import Copy
from tests.plan.test_resolve import HEAD, NOTE, PERSON, TAG, WORLD

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TEXT = (HEAD + PERSON + NOTE + TAG).encode()
COPY = Copy(id="app/encrypted-files", store="app", location="sg", kind="wal", dataset=None, method="recycle")


def plan_of(text: bytes = TEXT, *, deadline: str = "", rows: int = 10) -> Plan:
    parsed = config.load(text.replace(b"{name: homecoming}", f"{{name: homecoming{deadline}}}".encode()))
    world = replace(WORLD, tables=tuple(replace(item, rows_estimate=10, bytes=1000) for item in WORLD.tables))
    piece = Slice(
        id=SliceId("s"),
        dataset=DatasetId("app.public.note"),
        home=Home("ca"),
        part="ca",
        form=Form.WHOLE,
        after=0,
        upto=rows,
        rows=rows,
        delete=rows,
    )
    manifest = Manifest(subjects=((Home("ca"), 3),), slices=(piece,), tallies=(), findings=())
    return make_plan(parsed, text, world, resolve(parsed, world), manifest, [COPY], now=NOW)


def test_a_plan_reads_back_as_it_was_written() -> None:
    plan = plan_of()
    assert plan == decode_plan(encode_plan(plan))


@pytest.mark.parametrize("bent", [b"", b"{}", b"[]", b"\xff", b"null"])
def test_what_is_no_plan_is_refused(bent: bytes) -> None:
    with pytest.raises(BadFile, match="domicile plan"):
        decode_plan(bent)


def test_an_edited_plan_is_refused() -> None:
    data = encode_plan(plan_of())
    with pytest.raises(BadFile, match="edited"):
        decode_plan(data.replace(b'"slices": 1', b'"slices":1'))


def test_p4_apply_refuses_when_file_catalogue_or_engine_changed() -> None:
    plan = plan_of()
    refuse_changed_world(plan, TEXT, WORLD)
    with pytest.raises(WorldChanged, match=r"domicile\.yaml changed"):
        refuse_changed_world(plan, TEXT + b"\n", WORLD)
    wider = replace(WORLD, tables=(*WORLD.tables[:2], replace(WORLD.tables[2], columns=WORLD.tables[2].columns[:1])))
    with pytest.raises(WorldChanged, match="columns"):
        refuse_changed_world(plan, TEXT, wider)
    with pytest.raises(WorldChanged, match="engine"):
        refuse_changed_world(replace(plan, engine="0.0"), TEXT, WORLD)


def test_the_forecast_holds_bytes_of_the_slices_against_the_deadline() -> None:
    assert (1000, None) == (plan_of().forecast.bytes, plan_of().forecast.fits)
    assert plan_of(deadline=", deadline: 2026-12-01").forecast.fits is True
    assert plan_of(deadline=", deadline: 2026-11-01").forecast.fits is False
    assert date(2026, 11, 1) == plan_of(deadline=", deadline: 2026-11-01").forecast.deadline


def test_the_forecast_counts_what_each_slice_and_copy_costs_however_small() -> None:
    manifest = Manifest(subjects=(), slices=(), tallies=(), findings=())
    none, many = (forecast((), manifest, None, copies=copies, now=NOW).seconds for copies in (0, 500))
    assert 40 <= many - none <= 60


def test_an_exception_whose_end_has_passed_is_refused() -> None:
    rule = "exceptions: [{id: e1, purpose: p, recipient: r, approvers: [a], until: %s}]}"
    text = TEXT.decode().replace("label: public", "label: {class: excepted, exception: e1}")
    running = text.replace("operator]}}}", "operator]}}, " + rule % "2026-12-31").encode()
    assert any("exception e1 until 2026-12-31" in line for line in plan_of(running).not_proven)
    with pytest.raises(Refused, match="ended on 2026-01-01"):
        plan_of(running.replace(b"2026-12-31", b"2026-01-01"))


def test_p8_a_directory_that_stays_is_told_and_one_that_is_asked_for_keeps_no_private_key() -> None:
    """A move by cohorts leads requests by one, and leaves it, whether the file names it or not."""
    cohorts = b"cutover: {pause: never, grow: [1.0]}\n"
    asked = b"directory: {purpose: requests are led by it}\n"
    fields = b"fields: {id: private, country: public, email: private}"
    private = TEXT.replace(b"{rows: move}\n", b"{rows: split, %b}\n" % fields, 1)
    public = private.replace(b"id: private", b"id: public", 1)

    def told(text: bytes) -> list[str]:
        return [line for line in plan_of(text).not_proven if "directory" in line]

    for also in (asked, cohorts + asked):
        with pytest.raises(Refused, match=r"^directory: .* app\.public\.person\.id is private; class it public in "):
            plan_of(private + also)
        (line,) = told(public + also)
        assert line.endswith("nothing else of them: requests are led by it")
    left = "nothing else of them: a move by cohorts led requests by it, and leaves it"
    (line,), (known,) = told(public + cohorts), told(private + cohorts)
    assert line.endswith(left)
    assert known.endswith(left)
    assert ["private" in one for one in (line, known)] == [False, True]
    assert [] == told(private)
