"""`python -m bench`: copy against the raw pipe, verify against reladiff; see docs/bench.md.

Ends with 0 also where a target is missed: on a shared machine that is a finding, not a failure.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import facts
from bench.pairing import Sample, interleave, ratio_of, speed
from bench.raw_pipe import SCOPED, raw_pipe, slice_pipe
from bench.results import Figure, Part, Results, tell, write
from bench.workers import engine_copy, engine_verify, measured, reladiff_table, reladiff_view, task_of
from bench.world import (
    HOME,
    OF_DISTRIBUTION,
    Engine,
    Sizes,
    World,
    engine_of,
    event_slices,
    execute,
    made_world,
)
from domicile.events import silent
from domicile.model import Slice
from domicile.transfer import transfer

RESULTS = Path(__file__).resolve().parent / "results"
CHANGED = 100
COPY_TARGET, VERIFY_TARGET, DIFFERENCES_TARGET = 0.95, 4.0, 5.0
PIPE, SLICES, ENGINE = "raw pipe", "pipe of the engine's slices", "engine"
VIEW, TABLE = "reladiff over a view", "reladiff over a ready table"


class Bench:
    """One run of everything over one world."""

    def __init__(self, world: World, *, rounds: int) -> None:
        self.world = world
        self.rounds = rounds
        self.once_s: dict[str, float] = {}
        self.engine: Engine = engine_of(world.source_dsn, world.home_dsn, world.scope)

    def freeze(self) -> None:
        """Fence, manifest, the home's tables: what every move does once, before the first row."""
        with self._once("the fence"):
            self.engine.source.stand_fence(self.world.scope)
        with self._once("building the manifest (all datasets)"):
            self.manifest = self.engine.source.freeze(self.world.scope)
        with self._once("making the home's tables and copying the manifest there"):
            self.engine.home.prepare(self.world.scope, HOME, self.engine.source)
        self.slices = event_slices(self.manifest)

    def copy(self) -> Part:
        """The engine's copy against the pipes, into the same empty table without indexes."""
        contenders = {
            PIPE: lambda: raw_pipe(self.world),
            ENGINE: self._copy(self.slices),
            SLICES: lambda: slice_pipe(self.world, self.slices),
        }
        rounds = interleave(contenders, rounds=self.rounds, before=self._empty_home, tell=tell)
        once = self.once_s["building the manifest (all datasets)"]
        included = [samples[PIPE].seconds / (samples[ENGINE].seconds + once) for samples in rounds]
        return Part(
            title="Copy of the scoped rows, source to home",
            rounds=rounds,
            figures=(
                Figure(name="engine / raw pipe", ratio=speed(rounds, ENGINE, against=PIPE), target=COPY_TARGET),
                Figure(name="engine / pipe of the engine's slices", ratio=speed(rounds, ENGINE, against=SLICES)),
                Figure(name="(engine + building the manifest) / raw pipe", ratio=ratio_of(included)),
            ),
        )

    def memory(self) -> dict[str, Sample]:
        """The engine's memory for one slice and for all."""
        found = {}
        for name, slices in (("one slice", self.slices[:1]), ("all slices", self.slices)):
            self._empty_home()
            found[name] = self._copy(slices)()
        return found

    def finish(self) -> None:
        """Bring home what is missing, complete its schema, and make what reladiff compares with."""
        with self._once("the rest of the transfer: other rows, indexes, constraints, statistics"):
            transfer(
                self.engine.source, self.engine.home, self.world.scope, HOME,
                [piece for piece in self.manifest.slices if piece.home == HOME], share=1, shares=2, listener=silent,
            )  # fmt: skip
        source, home = self.world.source_dsn, self.world.home_dsn
        execute(source, "CREATE SCHEMA bench")
        execute(source, f"CREATE VIEW bench.scope AS {SCOPED.as_string(None)}")
        execute(source, f"CREATE TABLE bench.scoped AS {SCOPED.as_string(None)} ORDER BY e.id")
        execute(source, "ALTER TABLE bench.scoped ADD PRIMARY KEY (id)")
        for dsn in (source, home):
            execute(dsn, "VACUUM ANALYZE")
            execute(dsn, "CHECKPOINT")

    def verify(self, *, differences: int) -> Part:
        """The engine's verify against reladiff, of the same rows."""
        task = task_of(self.world, self.slices, differences=differences)
        contenders = {
            VIEW: lambda: measured(reladiff_view, task),
            ENGINE: lambda: measured(engine_verify, task),
            TABLE: lambda: measured(reladiff_table, task),
        }
        rounds = interleave(contenders, rounds=self.rounds, before=lambda: None, tell=tell)
        return Part(
            title=f"Verify of both sides, {differences or 'no'} rows changed",
            rounds=rounds,
            figures=tuple(
                Figure(
                    name=f"engine / {name}",
                    ratio=speed(rounds, ENGINE, against=name),
                    target=DIFFERENCES_TARGET if differences else VERIFY_TARGET,
                )
                for name in (VIEW, TABLE)
            ),
        )

    def change(self, count: int) -> None:
        """Change `count` rows at home, spread over the table."""
        execute(
            self.world.home_dsn,
            "UPDATE public.watch_event SET watched_ms = watched_ms + 1 WHERE id IN"
            f" (SELECT id FROM public.watch_event ORDER BY hashint8(id) LIMIT {count})",
        )

    def _copy(self, slices: tuple[Slice, ...]) -> Callable[[], Sample]:
        return lambda: measured(engine_copy, task_of(self.world, slices))

    def _empty_home(self) -> None:
        execute(self.world.home_dsn, "TRUNCATE public.watch_event")
        execute(self.world.home_dsn, "DELETE FROM domicile.loaded")
        for dsn in (self.world.source_dsn, self.world.home_dsn):
            execute(dsn, "CHECKPOINT")

    @contextmanager
    def _once(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.once_s[name] = time.monotonic() - start
        print(f"{name}: {self.once_s[name]:.1f} s", flush=True)


def main() -> None:
    """Make the world, measure, write the results."""
    given = _arguments()
    sizes = Sizes(people=max(given.events // 60, 100), events=given.events, share_percent=40)
    print(f"making {sizes.events:,} events of {sizes.people:,} people", flush=True)
    with made_world(sizes, major=given.major) as world:
        bench = Bench(world, rounds=given.rounds)
        bench.freeze()
        parts = [bench.copy()]
        memory = bench.memory()
        bench.finish()
        parts.append(bench.verify(differences=0))
        bench.change(CHANGED)
        parts.append(bench.verify(differences=CHANGED))
        results = Results(
            machine=facts(world.source_dsn),
            sizes={
                "people": sizes.people, "events": sizes.events, "events in scope": memory["all slices"].rows,
                "slices": len(bench.slices),
            },
            once_s=bench.once_s, parts=tuple(parts), memory=memory,
        )  # fmt: skip
    for path in write(results, given.results, "quick" if given.quick else f"postgresql-{given.major}"):
        print(path)
    for part in results.parts:
        for figure in part.figures:
            print(f"{part.title}: {figure.name} {figure.ratio} {figure.verdict}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=main.__doc__)
    parser.add_argument("--events", type=int, default=6_000_000, help="rows of the table; 40 %% of them are in scope")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each comparison")
    parser.add_argument(
        "--major", type=int, choices=sorted({*OF_DISTRIBUTION, 18}), default=18, help="the servers: 18 is the wheel's"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    parser.add_argument("--quick", action="store_true", help="60,000 events, one round: does it work at all")
    given = parser.parse_args()
    if given.quick:
        given.events, given.rounds = 60_000, 1
    return given


if __name__ == "__main__":
    main()
