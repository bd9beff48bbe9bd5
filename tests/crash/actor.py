"""One step of the engine in a process of its own, with its effects watched; ended by a failure, or by itself.

Processes come from a fork server that has the engine's modules loaded, so that one costs milliseconds.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, Final

from domicile.errors import DomicileError
from tests.crash.effects import Failing, Side, Spot, Tracer, Way
from tests.crash.ground import Ground, Place
from tests.crash.wraps import watched
from tests.servers import ROOT

STEP_S_MAX: Final = 300
PROXIED: Final = (Way.CUT, Way.CUT_AFTER)
PRELOADED: Final = ["tests.crash.whole", "tests.crash.carried", "tests.crash.onward"]
Act = Callable[[Place, Tracer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How a step ended. `end`: done, refused (an error of ours, by its class's name), interrupted, bare, killed."""

    end: str
    words: str = ""
    fault: str = ""
    reached: bool = False
    effects: tuple[Spot, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return " ".join(part for part in (self.end, self.fault, self.words) if part)


def take(ground: Ground, step: str, act: Act, failing: Failing | None = None) -> Told:
    """Run a step, and do to the servers what its failing asks for."""
    ours, theirs = _processes().Pipe()
    place = ground.proxied if failing and failing.way in PROXIED else ground.place
    process = _processes().Process(target=_play, args=(theirs, place, step, act, failing), daemon=False)
    process.start()
    theirs.close()
    reached, told = False, None
    try:
        while told is None:
            if not ours.poll(STEP_S_MAX):
                return Told(end="hung", words=f"for {STEP_S_MAX} s", reached=reached)
            asked = ours.recv()
            if isinstance(asked, Told):
                told = asked
                continue
            what, side = asked
            reached = reached or what == "reached"
            ground.act(what, side)
            ours.send(None)
    except EOFError:
        told = Told(end="killed")
    finally:
        process.kill() if told is None else process.join(STEP_S_MAX)
        ours.close()
    return Told(end=told.end, words=told.words, fault=told.fault, reached=reached, effects=told.effects)


@cache
def _processes() -> ForkServerContext:
    """The fork server, which finds our own source first."""
    paths = [str(ROOT / "src"), str(ROOT), str(ROOT / "examples"), os.environ.get("PYTHONPATH", "")]
    kept = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    try:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()
    finally:
        if kept is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = kept
    return context


def _play(control: Connection, place: Place, step: str, act: Act, failing: Failing | None) -> None:
    """The process: play the step, tell how it ended."""

    def ask(what: str, side: Side) -> None:
        control.send((what, side))
        control.recv()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person's Ctrl-C is for the process outside
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as we live
    tracer = Tracer(step=step, sides=place.ports, failing=failing, ask=ask)
    with watched(tracer, place.folder):
        end, words, fault = _ended(lambda: act(place, tracer))
    control.send(Told(end=end, words=words, fault=fault, effects=tuple(tracer.seen)))
    control.close()
    os._exit(0)  # threads that still wait for a server are not waited for


def _ended(act: Callable[[], Any]) -> tuple[str, str, str]:
    try:
        act()
    except DomicileError as refused:
        return "refused", str(refused), type(refused).__name__
    except KeyboardInterrupt:
        return "interrupted", "", ""
    except BaseException as bare:  # noqa: BLE001 - told to the process outside
        return "bare", "".join(traceback.format_exception(bare))[-4000:], type(bare).__name__
    return "done", "", ""
