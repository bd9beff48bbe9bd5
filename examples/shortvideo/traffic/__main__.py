"""Let simulated people use the service: `python -m shortvideo.traffic --url http://127.0.0.1:8000 --dsn …`."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, TextIO

import psycopg
from rich.console import Console
from rich.live import Live

from shortvideo.media.clips import make
from shortvideo.oracle.ledger import Ledger
from shortvideo.traffic import screen
from shortvideo.traffic.figures import Figures, Group, lines
from shortvideo.traffic.people import Crowd, blocked_before, with_sessions
from shortvideo.traffic.run import Nobody, Run, every_second
from shortvideo.traffic.wire import Wire

CLIPS = 4


def main(arguments: list[str] | None = None) -> int:
    """Run the traffic; return 1 when nobody could take part."""
    options = _options(arguments)
    console = Console(stderr=True)
    try:
        people = with_sessions(options.dsn, options.people)
        run = asyncio.run(_run(options, _crowd(options, people), console))
    except (Nobody, psycopg.Error, ValueError) as error:
        console.print(f"[red]no traffic:[/] {error}")
        return 1
    console.print(screen.acts(run.board))
    if run.unsent:
        console.print(
            f"[bold red]{run.unsent} requests were due and never sent: the service is slower than the rate[/]"
        )
    console.print(f"every write that was acknowledged: {options.ledger}; figures: {options.figures}")
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shortvideo.traffic", description=__doc__)
    parser.add_argument("--url", required=True, help="the router")
    parser.add_argument("--dsn", default=[], action="append", help="a database with people; once for each location")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--newcomers", type=int, default=0, help="who sign up first, from every country in turn")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ledger", type=Path, default=Path("ledger.jsonl"), help="appended to")
    parser.add_argument("--figures", type=Path, default=Path("traffic.jsonl"), help="written anew")
    parser.add_argument("--no-uploads", action="store_true")
    return parser.parse_args(arguments)


def _crowd(options: argparse.Namespace, people: list[Any]) -> Crowd:
    word, before = f"q{time.time_ns() // 1_000_000:x}", blocked_before(options.dsn, people)
    crowd = Crowd(people=people, chance=Random(options.seed), run=word, before=before)  # noqa: S311
    if not options.no_uploads:
        with tempfile.TemporaryDirectory(prefix="shortvideo-traffic-") as folder:
            crowd.clips = tuple(path.read_bytes() for path in make(Path(folder), CLIPS, options.seed))
    return crowd


async def _run(options: argparse.Namespace, crowd: Crowd, console: Console) -> Run:
    async with AsyncExitStack() as ending:
        wire = await ending.enter_async_context(Wire(options.url))
        ledger = ending.enter_context(Ledger(options.ledger))
        figures = ending.enter_context(options.figures.open("w", encoding="utf-8"))
        run = Run(wire=wire, crowd=crowd, ledger=ledger)
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, setattr, run, "stopping", True)  # noqa: FBT003 - setattr's value
        await run.greet()
        await run.receive(options.newcomers)
        with Live(console=console, auto_refresh=False, transient=False) as live:
            await _watched(run, options, live, figures)
        _write(figures, lines("total", round(options.seconds), run.board.total))
        _write(figures, [{"kind": "end", "unsent": run.unsent, "held_p50_ms": run.pauses.percentile(50)}])
    return run


async def _watched(run: Run, options: argparse.Namespace, live: Live, figures: TextIO) -> None:
    """Keep the schedule; put each second on the screen and into the file."""

    def tick(second: int) -> None:
        last: dict[Group, Figures] = run.board.take_second()
        _write(figures, lines("second", second, last))
        live.update(screen.screen(run, last, second), refresh=True)

    clock = asyncio.create_task(every_second(tick))
    try:
        await run.go(rate=options.rate, seconds=options.seconds)
    finally:
        clock.cancel()
        with suppress(asyncio.CancelledError):
            await clock


def _write(file: TextIO, rows: Iterable[dict[str, Any]]) -> None:
    file.writelines(json.dumps(row) + "\n" for row in rows)
    file.flush()


if __name__ == "__main__":
    sys.exit(main())
