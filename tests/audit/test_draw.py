"""The draw and the bound: recomputed by hand, and against all samples that there are."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile_audit.spot.draw import SEED_CHARS_MAX, at_most, draw

ROOT = bytes(range(32))
SLICES = [f"app.public.note/ca/whole/{number}" for number in range(12)]


def by_hand(root: bytes, seed: str, slices: list[str]) -> list[str]:
    """The rule as docs/evidence.md writes it: shell tools give the same."""

    def ticket(one: str) -> str:
        spelt = b"urn:domicile:draw/v1" + b"\0" + root + hashlib.sha256(seed.encode()).digest() + one.encode()
        return hashlib.sha256(spelt).hexdigest()

    return sorted(slices, key=ticket)


def test_p9_anyone_recomputes_the_draw() -> None:
    drawn = list(draw(ROOT, "drand quicknet 14213370", SLICES, 5))
    assert by_hand(ROOT, "drand quicknet 14213370", SLICES)[:5] == drawn
    assert ["4", "0", "5", "2", "9"] == [one.rpartition("/")[2] for one in drawn]


def test_p9_the_draw_hangs_on_seed_and_log_and_not_on_the_order_of_slices() -> None:
    drawn = draw(ROOT, "a seed", SLICES, 5)
    assert drawn == draw(ROOT, "a seed", SLICES[::-1], 5)
    assert drawn == draw(ROOT, "a seed", SLICES, 12)[:5]
    assert drawn != draw(ROOT, "a seed.", SLICES, 5)
    assert drawn != draw(ROOT[::-1], "a seed", SLICES, 5)


@pytest.mark.parametrize("seed", ["", " ", "two\nlines", "x" * (SEED_CHARS_MAX + 1)])
def test_a_seed_is_a_printable_text(seed: str) -> None:
    with pytest.raises(ValueError, match="the seed has to be"):
        draw(ROOT, seed, SLICES, 1)


def chance_of_so_few(population: int, drawn: int, wrong: int, bad: int) -> Fraction:
    """All samples that there are, counted one by one."""
    samples = list(combinations(range(population), drawn))
    return Fraction(sum(sum(one < bad for one in sample) <= wrong for sample in samples), len(samples))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 11), st.data())
def test_p11_the_bound_is_the_largest_number_that_so_few_speak_for(population: int, data: st.DataObject) -> None:
    drawn = data.draw(st.integers(1, population))
    wrong = data.draw(st.integers(0, drawn))
    likely = [
        bad for bad in range(wrong, population - (drawn - wrong) + 1)
        if chance_of_so_few(population, drawn, wrong, bad) > Fraction(1, 20)
    ]  # fmt: skip
    assert max(likely) == at_most(population, drawn, wrong)


def test_p11_known_bounds() -> None:
    assert 0 == at_most(40, 40, 0)
    assert 2 == at_most(40, 40, 2)
    assert 40 == at_most(40, 0, 0)
    assert 0.048 < at_most(100_000, 60, 0) / 100_000 < 0.05  # the rule of three: 3/60, and a little less
