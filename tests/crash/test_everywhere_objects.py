"""P1–P7: some effects of a move with objects fail, each in its way; `make crash` tries them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.crash.carried import Carried
from tests.crash.effects import Way
from tests.crash.everywhere import Everywhere, Job, Verdict, all_jobs, distinct, sampled
from tests.crash.ground import Ground, ground
from tests.crash.world import End

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(900)]
SEED: Final = 5
RUNS: Final = 3
OBJECTS: Final = "stores/objects/"
"""Where the engine puts and removes objects."""


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Everywhere]:
    """The scenario, its effects numbered."""
    scenario = Carried()
    with ground(scenario.homes) as here:
        found = Everywhere(scenario=scenario, ground=here, seed=SEED)
        found.undisturbed()
        yield found


def test_p1_p5_p7_whatever_fails_each_object_is_at_home_whole_and_nowhere_else(everywhere: Everywhere) -> None:
    effects = [one for one in distinct(everywhere.effects, seed=SEED) if one.spot.where.startswith(OBJECTS)]
    assert {"move", "erase"} == {one.spot.step for one in effects}
    jobs = sampled(all_jobs(effects), number=RUNS, seed=SEED)
    runs = [everywhere.run(job) for job in jobs]
    assert [Verdict.PASSED] * RUNS == [ran.verdict for ran in runs], "\n".join([f"seed {SEED}", *map(str, runs)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lossy(Carried):
    """The same, and meanwhile an object that is still at the source only goes: what no crash may do."""

    def check_meanwhile(self, ground: Ground, start: End, *, dice: int) -> None:
        (ground.place.folder / "media" / "films" / "2.mp4").unlink()
        Carried.check_meanwhile(self, ground, start, dice=dice)


def test_an_object_that_is_lost_on_the_way_is_seen(everywhere: Everywhere) -> None:
    first = next(one for one in everywhere.effects if one.spot.step == "erase" and one.spot.where.startswith(OBJECTS))
    everywhere.scenario = Lossy()
    ran = everywhere.run(Job(effect=first, way=Way.KILL))
    everywhere.scenario = Carried()
    assert Verdict.FAILED is ran.verdict
    assert "films/2.mp4 is lost" in ran.words
