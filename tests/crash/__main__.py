"""Crash everywhere, by hand or for a night.

python -m tests.crash --list                                     the effects of an undisturbed run, numbered
python -m tests.crash --minutes 60                               effects of every kind, in all ways, for an hour
python -m tests.crash --scenario live --at 123 --how kill-after  one run
"""

from __future__ import annotations

import argparse
import queue
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from rich.console import Console
from rich.table import Table

from tests.crash.carried import Carried
from tests.crash.effects import Way
from tests.crash.everywhere import Effect, Everywhere, Job, Ran, Verdict, all_jobs, distinct, in_rounds
from tests.crash.ground import ground
from tests.crash.onward import Onward
from tests.crash.scenario import Scenario
from tests.crash.whole import Whole

SCENARIOS: Final[dict[str, Scenario]] = {"whole": Whole(), "live": Onward(), "objects": Carried()}
WORKERS: Final = 2


def main() -> int:
    """Do what is asked; 1 when a run failed."""
    wanted = _arguments()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    console.print(f"seed {wanted.seed}")
    names = list(SCENARIOS) if wanted.scenario == "all" else [wanted.scenario]
    if wanted.list:
        for name in names:
            _list(name, wanted.seed, console)
        return 0
    runs: list[Ran] = []
    for name in names:
        runs += _campaign(name, wanted, console)
    _summary(runs, console)
    return int(any(ran.verdict is Verdict.FAILED for ran in runs))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description="crash everywhere, and look")
    parser.add_argument("--scenario", choices=[*SCENARIOS, "all"], default="all")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--list", action="store_true", help="print the effects of an undisturbed run")
    parser.add_argument("--at", action="append", help="an effect's number or name in the list; may be given again")
    parser.add_argument("--how", type=Way, choices=list(Way), action="append", help="a way of failing, likewise")
    parser.add_argument("--only", default="", help="effects whose line in the list has this in it")
    parser.add_argument("--minutes", type=float, default=0, help="for each scenario; 0: until all is done")
    parser.add_argument("--runs", type=int, default=0, help="at most so many for each scenario; 0: all")
    parser.add_argument("--workers", type=int, default=WORKERS)
    return parser.parse_args()


def _list(name: str, seed: int, console: Console) -> None:
    scenario = SCENARIOS[name]
    with ground(scenario.homes) as here:
        for effect in Everywhere(scenario=scenario, ground=here, seed=seed).undisturbed():
            console.print(f"{effect.number:5} {effect.spot}")


def _campaign(name: str, wanted: argparse.Namespace, console: Console) -> list[Ran]:
    """One scenario: workers with a ground each take jobs until none is left or the time is over."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    filled, stopped, lock, runs = threading.Event(), threading.Event(), threading.Lock(), list[Ran]()
    began = time.monotonic()

    def fill(effects: tuple[Effect, ...]) -> None:
        """The first worker who knows the effects says what is to be done."""
        with lock:
            if filled.is_set():
                return
            chosen = _chosen(effects, wanted)
            console.print(f"{name}: {len(effects)} effects, {len(chosen)} runs")
            for job in chosen:
                waiting.put(job)
            filled.set()

    def work(_: int) -> None:
        scenario = SCENARIOS[name]
        with ground(scenario.homes) as here:
            everywhere = Everywhere(scenario=scenario, ground=here, seed=wanted.seed)
            fill(everywhere.undisturbed())
            for job in _taken(waiting):
                if stopped.is_set() or (wanted.minutes and time.monotonic() - began > wanted.minutes * 60):
                    return
                ran = everywhere.run(job)
                with lock:
                    runs.append(ran)
                    console.print(f"{name} {len(runs)}, {waiting.qsize()} left: {ran}")

    with ThreadPoolExecutor(wanted.workers) as pool:
        try:
            for done in [pool.submit(work, number) for number in range(wanted.workers)]:
                done.result()
        except KeyboardInterrupt:
            console.print("stopping after the runs under way")
            stopped.set()
    return runs


def _taken(waiting: queue.SimpleQueue[Job]) -> Iterator[Job]:
    try:
        while True:
            yield waiting.get_nowait()
    except queue.Empty:
        return


def _chosen(effects: tuple[Effect, ...], wanted: argparse.Namespace) -> Sequence[Job]:
    ways = tuple(wanted.how or Way)
    effects = tuple(effect for effect in effects if wanted.only in str(effect.spot))
    if wanted.at:
        asked = [effect for effect in effects if {str(effect.number), effect.spot.id} & set(wanted.at)]
        return all_jobs(asked, ways)
    jobs = in_rounds(all_jobs(distinct(effects, seed=wanted.seed), ways), seed=wanted.seed)
    return jobs[: wanted.runs] if wanted.runs else jobs


def _summary(runs: Sequence[Ran], console: Console) -> None:
    """Stages × ways: how many of how many passed; then what failed, and how to repeat it."""
    table = Table("scenario", "step", "stage", "effects", *Way, title="passed of run")
    rows: dict[tuple[str, str, str], list[Ran]] = defaultdict(list)
    for ran in runs:
        rows[ran.scenario, ran.job.effect.spot.step, ran.job.effect.spot.stage].append(ran)
    for names, mine in rows.items():
        table.add_row(*names, str(len({ran.job.effect.number for ran in mine})), *(_cell(mine, way) for way in Way))
    Console(width=max(console.width, 170)).print(table)
    failed = [ran for ran in runs if ran.verdict is Verdict.FAILED]
    missed = sum(ran.verdict is Verdict.MISSED for ran in runs)
    for ran in failed:
        console.print(str(ran))
    console.print(f"{len(runs)} runs, {len(failed)} failed, {missed} did not come to their effect")


def _cell(runs: Sequence[Ran], way: Way) -> str:
    mine = [ran for ran in runs if ran.job.way is way]
    return f"{sum(ran.verdict is Verdict.PASSED for ran in mine)}/{len(mine)}" if mine else ""


if __name__ == "__main__":
    sys.exit(main())
