"""Traffic in a process of its own, beside whoever moves its people: told what goes on, it keeps what was felt apart.

    with Beside.start(url, dsn=…, ledger=…, movers=("US",)) as traffic:
        traffic.now("copy")
        …
    traffic.felt

The process reads the names of phases from its standard input, a line each, until that ends. A request belongs to the
phase in which it was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, TextIO

import psycopg

from shortvideo.media.clips import make
from shortvideo.oracle.ledger import Entry, Ledger
from shortvideo.traffic.figures import Histogram, Phase
from shortvideo.traffic.people import Crowd, blocked_before, with_sessions
from shortvideo.traffic.run import Nobody, Run
from shortvideo.traffic.wire import Wire

CLIPS: Final = 2
FIRST_PHASE: Final = "warm-up"
SECONDS_MAX: Final = 3_600.0
START_SECONDS_MAX: Final = 120
END_SECONDS_MAX: Final = 60
NOTES_SHOWN: Final = 20
HERE: Final = Path(__file__).resolve().parents[2]


class NoTraffic(RuntimeError):
    """The traffic did not begin, or did not say what it felt; the message has its last words."""


@dataclass(slots=True, kw_only=True)
class Beside:
    """The running process; make one with `start`."""

    _process: subprocess.Popen[str]
    _lines: Iterator[str]
    _felt: dict[str, Any] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def start(  # noqa: PLR0913 - each says one thing about the traffic
        cls,
        url: str,
        *,
        dsn: str,
        ledger: Path,
        movers: Sequence[str],
        rate: float,
        people: int,
        seed: int = 1,
        uploads: bool = True,
    ) -> Iterator[Beside]:
        """Let people come; return once they are there. At the end wait for what is under way."""
        command = [
            sys.executable, "-m", "shortvideo.traffic.beside", "--url", url, "--ledger", str(ledger),
            "--movers", ",".join(movers), "--rate", str(rate), "--people", str(people), "--seed", str(seed),
            *(() if uploads else ("--no-uploads",)),
        ]  # fmt: skip
        paths = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, bufsize=1,
                env={**os.environ, "PYTHONPATH": paths, "SV_TRAFFIC_DSN": dsn}, start_new_session=True,
            )  # fmt: skip
            assert process.stdout is not None
            traffic = cls(_process=process, _lines=iter(process.stdout))
            try:
                traffic._begun(said)
                yield traffic
                traffic._end(said)
            finally:
                process.kill()
                process.wait()
                process.stdout.close()

    def now(self, phase: str) -> None:
        """Say what begins now."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{phase}\n")

    @property
    def felt(self) -> dict[str, Any]:
        """What people felt, once they have left."""
        return self._felt

    def _begun(self, said: TextIO) -> None:
        if next(self._lines, "") != "there\n":
            raise NoTraffic(_last_words(said))

    def _end(self, said: TextIO) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        line = next(self._lines, "")
        if not line:
            raise NoTraffic(_last_words(said))
        self._felt = json.loads(line)
        self._process.wait(END_SECONDS_MAX)


def _last_words(said: TextIO) -> str:
    said.seek(0)
    return f"the traffic ended by itself: {said.read()[-500:].strip() or 'without a word'}"


def main(arguments: list[str] | None = None) -> int:
    """Be the process: come, do as people do until the input ends, and say what was felt."""
    options = _options(arguments)
    try:
        people = with_sessions([os.environ["SV_TRAFFIC_DSN"]], options.people)
        before = blocked_before([os.environ["SV_TRAFFIC_DSN"]], people)
        run = asyncio.run(_run(options, people, before))
    except (Nobody, psycopg.Error, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say(json.dumps(_felt(run)))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shortvideo.traffic.beside", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--movers", required=True, help="the countries whose people are to move: US,CA")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--people", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-uploads", action="store_true")
    return parser.parse_args(arguments)


async def _run(options: argparse.Namespace, people: list[Any], before: Sequence[Entry]) -> Run:
    word = f"q{time.time_ns() // 1_000_000:x}"
    crowd = Crowd(people=people, chance=Random(options.seed), run=word, before=before)  # noqa: S311
    if not options.no_uploads:
        with tempfile.TemporaryDirectory(prefix="shortvideo-traffic-") as folder:
            crowd.clips = tuple(path.read_bytes() for path in make(Path(folder), CLIPS, options.seed))
    async with Wire(options.url) as wire:
        with Ledger(options.ledger) as ledger:
            run = Run(wire=wire, crowd=crowd, ledger=ledger)
            run.board.movers = frozenset(options.movers.split(","))
            run.board.phase = FIRST_PHASE
            await run.greet()
            loop = asyncio.get_running_loop()
            threading.Thread(target=_listen, args=[run, loop], daemon=True).start()
            _say("there")
            await run.go(rate=options.rate, seconds=SECONDS_MAX)
    return run


def _listen(run: Run, loop: asyncio.AbstractEventLoop) -> None:
    """Hear what goes on until the input ends, then let people leave."""
    for line in sys.stdin:
        loop.call_soon_threadsafe(setattr, run.board, "phase", line.strip())
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(setattr, run, "stopping", True)  # noqa: FBT003 - setattr's value


def _felt(run: Run) -> dict[str, Any]:
    """What is handed over: no word of any person."""
    held = Histogram()
    for found in run.board.phases.values():
        held.merge(found.held)
    return {
        "held": _times(held.count, held.percentile, held.max_ms),
        "phases": [_phase(name, found) for name, found in run.board.phases.items() if name != FIRST_PHASE],
        "notes": dict(run.board.notes.most_common(NOTES_SHOWN)),
        "unsent": run.unsent,
        "asked_again": _times(run.pauses.count, run.pauses.percentile, run.pauses.max_ms),
    }


def _phase(name: str, found: Phase) -> dict[str, Any]:
    return {
        "name": name,
        "seconds": round(found.seconds, 1),
        "movers": found.movers.as_json(),
        "others": found.others.as_json(),
        "all": found.all().as_json(),
        "writes": found.writes.as_json(),
        "held": _times(found.held.count, found.held.percentile, found.held.max_ms),
    }


def _times(count: int, percentile: Any, max_ms: float) -> dict[str, Any]:  # noqa: ANN401 - a method
    return {"count": count, **{f"p{one}_ms": round(percentile(one), 1) for one in (50, 99)}, "max_ms": round(max_ms, 1)}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
