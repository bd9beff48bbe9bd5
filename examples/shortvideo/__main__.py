"""Run the service here: `python -m shortvideo`, then open the address that it prints. Ctrl-C ends it."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import psycopg

from shortvideo import database
from shortvideo.media.clips import paths as clip_paths
from shortvideo.stack import CLIP_CACHE, SOURCE, Stack, ended_by_signals

SCRATCH: Final = "/var/tmp"  # noqa: S108 - the folder that PostgreSQL's user can reach; what we make in it is ours
LOCATIONS: Final = ("sg", "us", "ca", "au")
CLIPS: Final = 240
"""Enough to scroll for a while; made once, and kept in `.cache`."""


def main(arguments: list[str] | None = None) -> int:
    """Start everything, say where to look, wait to be stopped."""
    options = _options(arguments)
    began = time.monotonic()
    with suppress(KeyboardInterrupt), ended_by_signals(), _state(options.state) as state:
        _say(f"starting databases, object store, instances and router; {_clips(options)} …")
        with Stack.start(
            state,
            locations=options.locations,
            users=options.users,
            seed=options.seed,
            clips=options.clips,
            home_schema=not options.empty_homes,
            port=options.port,
        ) as stack:
            _say(f"up after {time.monotonic() - began:.0f} s\n")
            _tell(stack)
            signal.pause()
    _say("\nstopped.")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shortvideo", description=__doc__)
    parser.add_argument("--locations", type=_locations, default=LOCATIONS, help="sg,us,… (default: all four)")
    parser.add_argument("--users", type=int, default=database.USERS, help="seeded people, about 50 rows each")
    parser.add_argument("--seed", type=int, default=1, help="another number, another world")
    parser.add_argument("--clips", type=int, default=CLIPS, help="different clips under the seeded videos")
    parser.add_argument("--state", type=Path, help="keep everything in this folder (default: gone at the end)")
    parser.add_argument("--port", type=int, default=8000, help="the router's")
    parser.add_argument("--empty-homes", action="store_true", help="leave the homes empty, for `domicile apply`")
    return parser.parse_args(arguments)


def _clips(options: argparse.Namespace) -> str:
    here = sum(path.exists() for path in clip_paths(CLIP_CACHE, options.clips, options.seed))
    missing = options.clips - here
    return f"{missing} clips are made first, about three in a second" if missing else f"{here} clips are there"


def _locations(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if chosen[0] != SOURCE or not set(chosen) <= set(LOCATIONS) or len(set(chosen)) < len(chosen):
        raise argparse.ArgumentTypeError(f"{SOURCE} first, then any of {', '.join(LOCATIONS[1:])}")
    return chosen


@contextmanager
def _state(chosen: Path | None) -> Iterator[Path]:
    """Give the folder that was chosen, or one that is gone afterwards."""
    if chosen is not None:
        yield chosen
        return
    folder = Path(tempfile.mkdtemp(prefix="shortvideo-", dir=SCRATCH))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tell(stack: Stack) -> None:
    with psycopg.connect(stack.dsns[SOURCE]) as connection:
        person = connection.execute(
            "SELECT id, email FROM app.users WHERE id <= %s AND state = 'active' AND email IS NOT NULL "
            "ORDER BY country <> 'US', id LIMIT 1",
            [database.PASSWORDS],
        ).fetchone()
    _say(f"  watch          {stack.url}")
    if person is not None:
        _say(f"  log in with    {person[1]}\n  password       clip-{person[0]}")
    for location, address in stack.instances.items():
        _say(f"  {location} directly    {address}")
    _say(f"  logs           {stack.state / 'logs'}")
    _say(f"  for domicile   . {stack.state / 'service.env'}")
    _say("\nCtrl-C stops it all.")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
