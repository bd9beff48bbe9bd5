"""Compare what was acknowledged with what the service shows: `python -m shortvideo.oracle check --url … ledger.jsonl`.

Exit status: 0 nothing is wrong, 1 something is (one line each), 2 the service or the ledger cannot be read.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg
from rich.console import Console
from rich.text import Text

from shortvideo.oracle.compare import Fault, Finding, compare
from shortvideo.oracle.expect import Expected, expected
from shortvideo.oracle.ledger import BadLedger, read
from shortvideo.oracle.look import Blind, Eyes, look
from shortvideo.oracle.places import misplaced
from shortvideo.traffic.wire import NoAnswer, Wire

SHOWN_MAX: Final = 200
AGAIN_S: Final = 1.0


def main(arguments: list[str] | None = None) -> int:
    """Check, print what is wrong, and return the exit status."""
    options = _options(arguments)
    console = Console(highlight=False, soft_wrap=True)
    try:
        book = expected(read(options.ledger))
        dsns = dict(pair.split("=", 1) for pair in options.dsn)
        found = check(book, options.url, dsns=dsns, leftovers=frozenset(options.leftovers), patience_s=options.patience)
    except (BadLedger, Blind, NoAnswer, OSError, ValueError, KeyError, psycopg.Error) as error:
        console.print(Text(f"nothing can be said: {type(error).__name__}: {error}"))
        return 2
    _tell(console, book, found)
    return 1 if found else 0


def check(
    book: Expected,
    url: str,
    *,
    dsns: Mapping[str, str] | None = None,
    leftovers: frozenset[str] = frozenset(),
    patience_s: float = 15.0,
) -> list[Finding]:
    """Return what is wrong and stays wrong for `patience_s`: what crosses a border is delivered by a job, later."""
    deadline = time.monotonic() + patience_s
    while True:
        found = asyncio.run(_once(book, url, dsns or {}, leftovers))
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(AGAIN_S)


async def _once(book: Expected, url: str, dsns: Mapping[str, str], leftovers: frozenset[str]) -> list[Finding]:
    async with Wire(url) as wire:
        seen = await look(Eyes(wire), book)
    return sorted({*compare(book, seen), *misplaced(book, seen, dsns, leftovers=leftovers)})


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m shortvideo.oracle", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check", help="compare, and say what is wrong")
    command.add_argument("ledger", type=Path)
    command.add_argument("--url", required=True, help="the router")
    command.add_argument(
        "--dsn", action="append", default=[], metavar="LOCATION=DSN", help="look into its database, too"
    )
    command.add_argument(
        "--leftovers", action="append", default=[], metavar="LOCATION", help="moved people's rows may still lie there"
    )
    command.add_argument("--patience", type=float, default=15.0, help="seconds for what is still under way")
    return parser.parse_args(arguments)


def _tell(console: Console, book: Expected, found: list[Finding]) -> None:
    writes = book.size()
    if not found:
        console.print(
            f"{writes} things by {len(book.people)} people: all there, once, in their place, for the right eyes"
        )
        return
    for finding in found[:SHOWN_MAX]:
        console.print(Text(f"{finding.fault}: {finding.words}"))
    if len(found) > SHOWN_MAX:
        console.print(f"… and {len(found) - SHOWN_MAX} more")
    counts = Counter(finding.fault for finding in found)
    console.print(f"of {writes} things: " + ", ".join(f"{counts[fault]} {fault}" for fault in Fault if counts[fault]))


if __name__ == "__main__":
    sys.exit(main())
