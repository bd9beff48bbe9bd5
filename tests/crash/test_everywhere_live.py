"""P1, P5, P6: some effects of the live move fail while people write, each in its way; `make crash` tries them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.crash.effects import Way
from tests.crash.everywhere import Everywhere, Job, Verdict, all_jobs, distinct, sampled
from tests.crash.ground import Ground, ground
from tests.crash.onward import Onward
from tests.crash.writers import Promise, Promises

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(900)]
SEED: Final = 3
RUNS: Final = 2


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Everywhere]:
    """The scenario, its effects numbered."""
    scenario = Onward()
    with ground(scenario.homes) as here:
        found = Everywhere(scenario=scenario, ground=here, seed=SEED)
        found.undisturbed()
        yield found


def test_p1_p5_p6_whatever_fails_people_keep_what_they_wrote(everywhere: Everywhere) -> None:
    changing = [effect for effect in distinct(everywhere.effects, seed=SEED) if not effect.spot.is_read]
    jobs = sampled(all_jobs(changing), number=RUNS, seed=SEED)
    runs = [everywhere.run(job) for job in jobs]
    assert [Verdict.PASSED] * RUNS == [ran.verdict for ran in runs], "\n".join([f"seed {SEED}", *map(str, runs)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetful(Onward):
    """The same, and meanwhile somebody was promised a payment that is nowhere."""

    def check_meanwhile(self, ground: Ground, start: None, *, dice: int) -> None:
        Onward.check_meanwhile(self, ground, start, dice=dice)
        promises = Promises(ground.place.folder)
        number = len(promises.all()) + 1
        promises.note(Promise(number=number, act="pay", person=1, other=1, id=1, body=""), "done")


def test_a_write_that_is_lost_on_the_way_is_seen(everywhere: Everywhere) -> None:
    last = next(one for one in everywhere.effects if one.spot.step == "certify" and one.spot.words == "COMMIT")
    everywhere.scenario = Forgetful()
    ran = everywhere.run(Job(effect=last, way=Way.KILL))
    everywhere.scenario = Onward()
    assert Verdict.FAILED is ran.verdict
    assert "is not kept" in ran.words
