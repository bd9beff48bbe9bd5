"""Commands of a move under way: cutover, rollback, follow."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, opened
from domicile.cli.reporting import write_report
from domicile.cli.show import Screen, count
from domicile.cutover.cohorts import Cohort
from domicile.run import Run, Stage
from domicile.run.live import cohort_of
from domicile.status import read_status


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    for command in (cutover, rollback, follow):
        app.command()(command)


def cutover(
    file: FileOption = DEFAULT_FILE,
    cohort: Annotated[
        str, typer.Option(help="Who goes: `next` by the file's rule, `1%`, a number of people, or `key:42,43`.")
    ] = "next",
    as_json: JsonOption = False,
) -> None:
    """Take one cohort home while everybody writes: fence, wait for writers, drain, compare, and home is the authority.

    Without `cutover:` in the file all go at once: the same as `apply --until verify`.
    Example: domicile cutover --cohort 1%
    """
    chosen = cohort_of(cohort)
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        if run.live is None:
            run.apply(until=Stage.VERIFY)
            _report(run, screen)
            return
        live, scope = run.moving()
        done = live.cut_over(scope, chosen)
        left = live.find(scope).people.left()
        write_report(run)
    _say_cohort(screen, done, "is at home")
    screen.say(f"{count(left)} people are left" if left else "everybody is at home")
    screen.value({**_cohort_json(done), "left": left})


def rollback(
    cohort: Annotated[int, typer.Option(help="The cohort's number, as `status` and `cutover` tell it.")],
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Bring one cohort back to the source with all that it did at home. Refused once an erasure was cleared.

    Example: domicile rollback --cohort 3
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        live, scope = run.moving()
        done = live.roll_back(scope, cohort)
        write_report(run)
    _say_cohort(screen, done, "is back at the source")
    screen.value(_cohort_json(done))


def follow(
    file: FileOption = DEFAULT_FILE,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after so long. Without it: Ctrl-C.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Keep homes up to the source, and the source up to homes, while somebody decides what comes next.

    Example: domicile follow --seconds 3600
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run, _until(seconds) as over:
        live, scope = run.moving()
        if seconds is None:
            screen.say("following; Ctrl-C ends it, and nothing is lost")
        live.follow(scope, until=over)
        left = live.find(scope).people.left()
        write_report(run)
    screen.value({"left": left})


@contextmanager
def _until(seconds: float | None) -> Iterator[Callable[[], bool]]:
    """Say when it is over: after so many seconds, or when a signal asks for it."""
    asked = threading.Event()

    def ask(_: int, __: FrameType | None) -> None:
        asked.set()

    former = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    end = None if seconds is None else time.monotonic() + seconds
    try:
        yield lambda: asked.is_set() or (end is not None and time.monotonic() >= end)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _report(run: Run, screen: Screen) -> None:
    from domicile.cli.moving import print_status  # noqa: PLC0415

    write_report(run)
    state = read_status(run)
    print_status(screen, state)
    screen.value(state.as_json())


def _say_cohort(screen: Screen, cohort: Cohort, what: str) -> None:
    people = ", ".join(f"{count(number)} of {home}" for home, number in cohort.subjects)
    screen.say(
        f"cohort {cohort.number} {what}: {people}; each waited {cohort.wait_ms} ms "
        f"({cohort.awaited_ms} ms of it for transactions under way), {count(cohort.rows)} rows were drained"
    )


def _cohort_json(cohort: Cohort) -> dict[str, Any]:
    return {
        "cohort": cohort.number, "way": cohort.way, "subjects": dict(cohort.subjects),
        "fenced_at": cohort.fenced_at.isoformat(), "wait_ms": cohort.wait_ms, "awaited_ms": cohort.awaited_ms,
        "rows": cohort.rows,
    }  # fmt: skip
