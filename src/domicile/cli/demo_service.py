"""The reference service for the demo: found beside the engine, started, and used by simulated people.

It is no part of the engine and not installed with it, so it is looked for when the demo runs.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from domicile.errors import HostFault
from domicile.record.felt import Felt, FeltPhase, FeltWaits

LOCATIONS: Final = {"sg": "SERVICE_DSN", "us": "SERVICE_US_DSN", "ca": "SERVICE_CA_DSN", "au": "SERVICE_AU_DSN"}
MOVERS: Final = ("US", "CA", "AU", "NZ")
CLIPS: Final = 8
PATIENCE_S: Final = 20.0


def example(name: str) -> Any:  # noqa: ANN401 - a module found at run time
    """One of the example's modules, from the checkout or from beside the installed package."""
    here = Path(__file__).resolve()
    for place in (here.parents[1] / "examples", here.parents[3] / "examples"):
        if (place / "shortvideo" / "stack.py").exists():
            if str(place) not in sys.path:
                sys.path.insert(0, str(place))
            try:
                return importlib.import_module(f"shortvideo.{name}")
            except ModuleNotFoundError as fault:
                raise HostFault(
                    f"the example service needs {fault.name}; run the demo from a checkout, where `make demo` brings it"
                ) from None
    raise HostFault("the example service is not here; run the demo from a checkout: make demo")


@contextmanager
def serving(folder: Path, *, users: int, canaries: Sequence[str]) -> Iterator[Any]:
    """Start the service with empty homes; whatever was started has ended when the block ends, by Ctrl-C too.

    Its databases and files are gone then; its logs stay where something went wrong.
    """
    stack, state = example("stack"), folder / "service"
    wanted = {"locations": tuple(LOCATIONS), "users": users, "clips": CLIPS, "canaries": canaries, "backups": True}
    try:
        with stack.ended_by_signals(), stack.Stack.start(state, **wanted) as up:
            yield up
    except (stack.NotStarted, example("media.store").NoStore) as fault:
        raise HostFault(f"the example service did not start: {fault}; its logs are in {state / 'logs'}") from None
    finally:
        shutil.rmtree(state / "servers", ignore_errors=True)
    shutil.rmtree(state, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class Seen:
    """The people who use the service: what they felt, and what they were promised."""

    _stack: Any
    _ledger: Path
    _words: str
    _traffic: Any

    def now(self, phase: str) -> None:
        """Say what begins now."""
        self._traffic.now(phase)

    def felt(self) -> Felt:
        """What they felt, once they have left."""
        found = self._traffic.felt
        held = found["held"]
        waits = FeltWaits(requests=held["count"], p50_ms=held["p50_ms"], p99_ms=held["p99_ms"], max_ms=held["max_ms"])
        return Felt(measured_by=self._words, phases=tuple(map(_phase, found["phases"])), held=waits)

    @property
    def errors(self) -> dict[str, int]:
        """What went wrong in their eyes, and how often, once they have left."""
        return dict(self._traffic.felt["notes"])

    def check(self) -> tuple[list[Any], int]:
        """Look whether all that was acknowledged is there: what is wrong, and of how many things."""
        oracle, expect, ledger = (example(f"oracle.{name}") for name in ("__main__", "expect", "ledger"))
        book = expect.expected(ledger.read(self._ledger))
        found = oracle.check(book, self._stack.url, dsns=self._stack.dsns, patience_s=PATIENCE_S)
        return list(found), int(book.size())


@contextmanager
def in_use(stack: Any, folder: Path, *, people: int, rate: float) -> Iterator[Seen]:  # noqa: ANN401 - see `example`
    """Let people use the service for as long as the block runs."""
    beside = example("traffic.beside")
    ledger = folder / "service" / "ledger.jsonl"
    words = f"the demo's own traffic: {people} simulated people, {rate:g} requests a second"
    try:
        with beside.Beside.start(
            stack.url, dsn=stack.dsns["sg"], ledger=ledger, movers=MOVERS, rate=rate, people=people
        ) as traffic:
            yield Seen(_stack=stack, _ledger=ledger, _words=words, _traffic=traffic)
    except beside.NoTraffic as fault:
        raise HostFault(str(fault)) from None


def _phase(found: dict[str, Any]) -> FeltPhase:
    every = found["all"]
    return FeltPhase(
        name=found["name"],
        seconds=found["seconds"],
        requests=every["requests"],
        errors=every["refused"] + every["failed"] + every["no-answer"],
        refused_for_a_moment=every["held"],
        p50_ms=every["p50_ms"],
        p95_ms=every["p95_ms"],
        p99_ms=every["p99_ms"],
        writes_p50_ms=found["writes"]["p50_ms"],
    )
