"""P1–P7: some effects of the move of everybody at once fail, each in its way; `make crash` tries them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psycopg
import pytest

from tests.crash.effects import Side, Spot, Way, normal, ways_of
from tests.crash.everywhere import (
    Effect,
    Everywhere,
    Job,
    Verdict,
    all_jobs,
    distinct,
    in_rounds,
    sampled,
)
from tests.crash.ground import SOURCE, Ground, ground
from tests.crash.whole import Whole
from tests.crash.world import End

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(900)]
SEED: Final = 5
RUNS: Final = 3
SPOT: Final = Spot(step="move", stage="fence", where="w", side=Side.SOURCE, words="COMMIT")


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Everywhere]:
    """The scenario, its effects numbered."""
    scenario = Whole()
    with ground(scenario.homes) as here:
        found = Everywhere(scenario=scenario, ground=here, seed=SEED)
        found.undisturbed()
        yield found


def test_p1_p5_p7_whatever_fails_the_end_is_the_same(everywhere: Everywhere) -> None:
    changing = [effect for effect in distinct(everywhere.effects, seed=SEED) if not effect.spot.is_read]
    jobs = sampled(all_jobs(changing), number=RUNS, seed=SEED)
    runs = [everywhere.run(job) for job in jobs]
    assert [Verdict.PASSED] * RUNS == [ran.verdict for ran in runs], "\n".join([f"seed {SEED}", *map(str, runs)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lossy(Whole):
    """The same, and meanwhile somebody takes a row of a person who stays: what no crash may do."""

    def check_meanwhile(self, ground: Ground, start: End, *, dice: int) -> None:
        with psycopg.connect(ground.place.direct[SOURCE]) as connection:
            connection.execute("DELETE FROM post WHERE id = (SELECT min(id) FROM post WHERE author_id % 3 = 2)")
        Whole.check_meanwhile(self, ground, start, dice=dice)


def test_a_row_that_is_lost_on_the_way_is_seen(everywhere: Everywhere) -> None:
    commit = next(one for one in everywhere.effects if one.spot.step == "erase" and one.spot.words == "COMMIT")
    everywhere.scenario = Lossy()
    ran = everywhere.run(Job(effect=commit, way=Way.KILL))
    everywhere.scenario = Whole()
    assert Verdict.FAILED is ran.verdict
    assert "rows that stay are gone from post" in ran.words
    assert f"--scenario whole --at {commit.spot.id} --how kill --seed {SEED}" in str(ran)


def test_an_effect_is_named_without_values() -> None:
    assert "SELECT '…' FROM \"m_#\" WHERE id = 0 -5" == normal(
        "SELECT 'it''s' -- a remark\n FROM \"m_0123456789abcdef\"  WHERE id = 17 -5"
    ).replace("-0", "-5")


def test_each_side_fails_in_its_own_ways() -> None:
    assert set(Way) == set(ways_of(Side.HOME))
    assert not {Way.SERVER, Way.CUT, Way.CUT_AFTER} & set(ways_of(Side.JOURNAL))
    assert Way.FULL not in ways_of(Side.PROGRAM)


def test_rounds_take_every_effect_before_a_second_way_of_one() -> None:
    effects = [Effect(number=number, spot=SPOT) for number in (1, 2, 3)]
    jobs = in_rounds(all_jobs(effects), seed=SEED)
    assert len(jobs) == len(set(jobs)) == 3 * len(Way)
    assert {1, 2, 3} == {job.effect.number for job in jobs[:3]}
    assert jobs == in_rounds(all_jobs(effects), seed=SEED)
    assert jobs != in_rounds(all_jobs(effects), seed=SEED + 1)


def test_a_sample_has_every_way() -> None:
    effects = [Effect(number=number, spot=SPOT) for number in range(1, 9)]
    assert set(Way) == {job.way for job in sampled(all_jobs(effects), number=len(Way), seed=SEED)}
