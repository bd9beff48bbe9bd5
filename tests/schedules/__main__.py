"""Search schedules for lost, doubled and left rows: `make schedules`, for as long as you have.

python -m tests.schedules --minutes 60                     seed after seed, both feeds in turn
python -m tests.schedules --feed slot --seed 7 --seeds 1   one seed again
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from domicile.stores.feed import FeedKind
from tests.schedules.playing import Improvised, Played, Written, play
from tests.schedules.shrinking import RUNS_MAX, shrink
from tests.schedules.world import Worlds
from tests.servers import Servers


def main() -> int:
    """Do what is asked; 1 where something is broken."""
    wanted = asked(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers end with us
    servers = Servers()
    worlds = Worlds(servers.of(18))
    try:
        return int(search(worlds, wanted) > 0)
    finally:
        worlds.end()
        servers.end()


def asked(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.schedules", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000, help="the first (the time)")
    parser.add_argument("--seeds", type=int, default=0, help="at most so many; 0: until the time is over")
    parser.add_argument("--minutes", type=float, default=10, help="for so long (10)")
    parser.add_argument("--feed", choices=[*FeedKind, "both"], default="both")
    parser.add_argument("--shrink", type=int, default=RUNS_MAX, help="runs that may go into shortening a failing one")
    return parser.parse_args(words)


def search(worlds: Worlds, wanted: argparse.Namespace) -> int:
    """Play seed after seed, and tell of each; return how many failed."""
    failed = 0
    try:
        for feed, seed in _seeds(wanted):
            played = _one(worlds, feed, seed)
            if played.broken:
                failed += 1
                _tell(worlds, feed, seed, played, runs_max=wanted.shrink)
    except KeyboardInterrupt:
        _say("stopped")
    _say(f"{failed} seeds failed")
    return failed


def _seeds(wanted: argparse.Namespace) -> Iterator[tuple[FeedKind, int]]:
    feeds = list(FeedKind) if wanted.feed == "both" else [FeedKind(wanted.feed)]
    end = time.monotonic() + wanted.minutes * 60
    seed = wanted.seed
    while time.monotonic() < end and (not wanted.seeds or seed < wanted.seed + wanted.seeds):
        for feed in feeds:
            yield feed, seed
        seed += 1


def _one(worlds: Worlds, feed: FeedKind, seed: int) -> Played:
    began = time.monotonic()
    played = play(worlds, Improvised(seed=seed, feed=feed))
    acts = sum(len(turn.acts) for turn in played.schedule.turns)
    _say(
        f"{feed} {seed}: {len(played.schedule.turns)} turns, {acts} acts in {played.statements} statements,"
        f" {time.monotonic() - began:.1f} s, {'FAILED' if played.broken else 'kept'}"
    )
    return played


def _tell(worlds: Worlds, feed: FeedKind, seed: int, played: Played, *, runs_max: int) -> None:
    """What is broken, how to repeat it, and the shortest schedule that was found to do the same."""
    _say(f"{played.broken}\nagain: python -m tests.schedules --feed {feed} --seed {seed} --seeds 1")
    _say(f"making it shorter, in {runs_max} runs at most")
    shortest = shrink(played, lambda schedule: play(worlds, Written(schedule=schedule)), runs_max=runs_max)
    _say("\n".join([f"what others refer to is {shortest.schedule.apart}", *shortest.story, shortest.broken, ""]))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
