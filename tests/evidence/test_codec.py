"""One value, one spelling: what is written is read back, and what is anything else is refused with our error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile.errors import BadFile
from domicile.evidence import predicates as p
from domicile.evidence.codec import COUNT_MAX, TEXT_CHARS_MAX, decode, encode, format_time, load_json, parse_time
from domicile.proof import Verdict
from domicile_audit.log.shape import misfit
from domicile_audit.says import SHAPES, VERDICTS
from tests.vectors import live, receipts, rotations
from tests.vectors import scenario as s

TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)
COUNTS = st.integers(0, COUNT_MAX)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1)).map(lambda t: t.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001  (a bound, made aware)
EQUALITIES = st.builds(
    p.EqualityPredicate,
    plan=HEX,
    position=TEXTS,
    fenced=st.booleans(),
    slices=st.lists(st.builds(p.ComparedSlice, id=TEXTS, rows=COUNTS, source=HEX, home=HEX), max_size=3).map(tuple),
    differences=COUNTS,
    strays=COUNTS,
)
CERTIFICATES = st.builds(
    p.CertificatePredicate,
    plan=HEX,
    verdict=st.sampled_from(Verdict),
    copies=st.lists(
        st.builds(p.JudgedCopy, id=TEXTS, verdict=st.sampled_from(Verdict), why=TEXTS, until=st.none() | TIMES),
        max_size=3,
    ).map(tuple),
    counts=st.dictionaries(
        TEXTS,
        st.dictionaries(
            TEXTS, st.builds(p.Counts, moved=COUNTS, deleted=COUNTS, blanked=COUNTS, kept=COUNTS), max_size=2
        ),
        max_size=2,
    ),
    not_proven=st.lists(TEXTS, max_size=3).map(tuple),
    issued_at=TIMES,
)


def every_predicate() -> list[p.Predicate]:
    from domicile.evidence.statement import read_unverified  # noqa: PLC0415

    worlds = [receipts.at_once(), live.live(), rotations.rotated()]
    played = [sealed for world in worlds for sealed in world.play().values()]
    return [read_unverified(sealed) for sealed in played]


@given(EQUALITIES | CERTIFICATES)
def test_what_is_written_is_read_back(value: p.Predicate) -> None:
    assert value == decode(encode(value), type(value))


@given(EQUALITIES | CERTIFICATES, st.data())
@settings(max_examples=200)
def test_one_flipped_bit_gives_only_our_error_or_another_value(value: p.Predicate, data: st.DataObject) -> None:
    written = encode(value)
    place = data.draw(st.integers(0, len(written) - 1))
    bent = written[:place] + bytes([written[place] ^ (1 << data.draw(st.integers(0, 7)))]) + written[place + 1 :]
    try:
        found = decode(bent, type(value))
    except BadFile:
        return
    assert found != value


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_give_only_our_error(data: bytes) -> None:
    with pytest.raises(BadFile):
        decode(data, p.EqualityPredicate)


def test_every_kind_of_the_run_is_read_back_and_has_the_shape_that_the_checker_wants() -> None:
    seen = set()
    for predicate in [*every_predicate(), p.FindingPredicate(plan=s.PLAN, kind="k", where="w", count=1, text="t")]:
        assert predicate == decode(encode(predicate), type(predicate))
        assert misfit(json.loads(encode(predicate)), SHAPES[predicate.KIND]) is None
        seen.add(predicate.KIND)
    assert set(SHAPES) == set(p.KINDS) == seen


def test_the_fields_are_those_of_the_checkers_own_list() -> None:
    assert {kind: {f.name for f in fields(p.KINDS[kind])} for kind in p.KINDS} == {k: set(v) for k, v in SHAPES.items()}
    assert [verdict.value for verdict in Verdict] == list(VERDICTS)


GOOD = json.loads(encode(s.certificate()))


def bent(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        encode(s.certificate()) + b"\n",
        encode(s.certificate())[:-1],
        json.dumps(GOOD, sort_keys=True).encode(),
        b'{"a":1,"a":1}',
        bent(more=1),
        bent(plan="A" * 64),
        bent(plan="a" * 63),
        bent(plan=None),
        bent(plan=7),
        bent(verdict="fine"),
        bent(copies={}),
        bent(copies=[1]),
        bent(counts=[]),
        bent(counts={"d": {"h": {"moved": -1, "deleted": 0, "blanked": 0, "kept": 0}}}),
        bent(counts={"d": {"h": {"moved": True, "deleted": 0, "blanked": 0, "kept": 0}}}),
        bent(counts={"d": {"h": {"moved": COUNT_MAX + 1, "deleted": 0, "blanked": 0, "kept": 0}}}),
        bent(counts={"d": {"h": {"moved": 1.0, "deleted": 0, "blanked": 0, "kept": 0}}}),
        bent(issued_at="2026-11-22T10:00:00+00:00"),
        bent(issued_at="2026-11-22T10:00:00.5Z"),
        bent(issued_at="2026-02-30T10:00:00Z"),
        bent(issued_at="2026-1-22T10:00:00Z"),
        bent(not_proven=["\x1b[2J"]),
        bent(not_proven=["\u202e"]),
        bent(not_proven=["x" * (TEXT_CHARS_MAX + 1)]),
        bent(not_proven=["\ud800"]),
        b"[" * 100_000,
        b"9" * 10_000,
        b"NaN",
        b"\xff",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(BadFile):
        decode(data, p.CertificatePredicate)


def test_at_the_limits_it_is_still_read() -> None:
    line = "x" * TEXT_CHARS_MAX
    limit = replace(
        s.certificate(),
        not_proven=(line,),
        counts={"d": {"h": p.Counts(moved=COUNT_MAX, deleted=0, blanked=0, kept=0)}},
    )
    assert limit == decode(encode(limit), p.CertificatePredicate)


def test_what_could_not_be_read_back_is_not_written() -> None:
    for value in (
        replace(s.certificate(), plan="short"),
        replace(s.certificate(), not_proven=("two\nlines",)),
        replace(s.certificate(), issued_at=datetime(2026, 1, 1)),  # noqa: DTZ001  (the point: it has no zone)
        replace(s.sweep(), rows=p.SweptRows(datasets=-1, hits=0)),
    ):
        with pytest.raises(BadFile):
            encode(value)


def test_p8_an_error_names_the_place_and_never_the_value() -> None:
    with pytest.raises(BadFile) as caught:
        decode(bent(plan="jane.doe@example.org"), p.CertificatePredicate)
    assert "plan" in str(caught.value)
    assert "jane" not in str(caught.value)


def test_times_are_in_utc_and_cut_to_seconds() -> None:
    when = datetime(2026, 11, 22, 12, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(when) == "2026-11-22T10:00:00Z"
    assert parse_time("2026-11-22T10:00:00Z") == datetime(2026, 11, 22, 10, tzinfo=UTC)


def test_only_the_one_spelling_of_json_is_read() -> None:
    assert load_json(b'{"a":[1,null,true,"x"]}') == {"a": [1, None, True, "x"]}
    for other in (b'{"b":1,"a":2}', b'{"a": 1}', b'{"a":"\\u0041"}', b'{"a":1e3}', b'{"a":01}', b'{"a":-0}'):
        with pytest.raises(BadFile):
            load_json(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """A type of the test's own: the codec knows no predicate."""

    day: date | None
    by: Mapping[str, int]


@given(st.none() | st.dates(), st.dictionaries(TEXTS, COUNTS, max_size=3))
def test_any_frozen_record_goes_through(day: date | None, by: dict[str, int]) -> None:
    value = Days(day=day, by=by)
    assert value == decode(encode(value), Days)
