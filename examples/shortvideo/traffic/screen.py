"""What the terminal shows while people are there: a line for each location and state of the person."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from shortvideo.traffic.figures import PERCENTILES, Board, Figures, Group, Result, State, together
from shortvideo.traffic.run import Run

STYLES = {State.STAYS: "cyan", State.MOVING: "yellow", State.HOME: "green"}
NOTES_SHOWN = 6


def screen(run: Run, last: dict[Group, Figures], second: int) -> Lines:
    """Return everything that is shown."""
    board, pauses = run.board, run.pauses
    parts: list[Table | Text] = [_locations(board, last, second, len(run.crowd.people))]
    if late := run.unsent + len(run.waiting):
        parts.append(Text(f"due, but nobody is free to send them: {late}", style="bold red"))
    if pauses.count:
        parts.append(
            Text(
                f"asked to wait while their data moved: {pauses.count} times, half of them at most "
                f"{pauses.percentile(50) / 1000:.1f} s, the longest {pauses.max_ms / 1000:.1f} s",
                style="yellow",
            )
        )
    parts += [Text(f"{count:>6} × {words}", style="dim") for words, count in board.notes.most_common(NOTES_SHOWN)]
    return Lines(*parts)


def acts(board: Board) -> Table:
    """Return a line for each kind of act, the slowest first."""
    table = _table("act")
    for name, figures in sorted(board.acts.items(), key=lambda item: -item[1].since_due.percentile(95)):
        table.add_row(name, *_cells(figures))
    return table


def _locations(board: Board, last: dict[Group, Figures], second: int, people: int) -> Table:
    now = sum(figures.since_due.count for figures in last.values())
    table = _table("location", "person")
    table.title = f"second {second}: {now} requests, {people} people"
    for group in sorted(board.total):
        table.add_row(group.location, Text(group.state, style=STYLES[group.state]), *_cells(board.total[group]))
    table.add_section()
    table.add_row("all", "", *_cells(together(board.total)))
    return table


def _table(*names: str) -> Table:
    table = Table(box=SIMPLE, pad_edge=False, caption="ms from when it was due", caption_justify="right")
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in ("sent", *(f"p{percent}" for percent in PERCENTILES), "max", "held", "4xx", "5xx", "silent"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(figures: Figures) -> list[str | Text]:
    times = [figures.since_due.percentile(percent) for percent in PERCENTILES]
    counts: list[str | Text] = [
        _count(figures.results[result], "red" if result is not Result.HELD else "yellow")
        for result in (Result.HELD, Result.REFUSED, Result.FAILED, Result.NO_ANSWER)
    ]
    return [str(figures.since_due.count), *(f"{ms:.1f}" for ms in (*times, figures.since_due.max_ms)), *counts]


def _count(number: int, style: str) -> str | Text:
    return Text(str(number), style=style) if number else "·"
