"""What the terminal shows: bars where there is one, plain lines where there is none, JSON on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from domicile.events import Advanced, Began, Ended, Event, Listener
from domicile.proof import Verdict

PLAIN_COLUMNS = 120  # without a terminal: a log file or a pipe
SIGNS = {
    Verdict.ERASED_VERIFIED: ("✓", "green"),
    Verdict.KEY_DESTROYED: ("✓", "green"),
    Verdict.ERASED_UNVERIFIED: ("~", "yellow"),
    Verdict.BLOCKED_UNTIL: ("…", "yellow"),
    Verdict.HELD: ("…", "yellow"),
    Verdict.UNKNOWN: ("?", "yellow"),
    Verdict.PRESENT: ("✗", "red"),
}


class Screen:
    """One command's output; `as_json` keeps standard output for the one JSON value."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else PLAIN_COLUMNS
        self.out = Console(highlight=False, soft_wrap=True, width=width)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.as_json:
            self.out.print(text)

    def table(
        self, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()
    ) -> None:
        """A table for people; columns of the numbers in `right` are set to the right."""
        if self.as_json:
            return
        table = Table(
            title=title, title_justify="left", title_style="bold", header_style="bold", expand=False,
            box=box.SIMPLE_HEAD, pad_edge=False,
        )  # fmt: skip
        for number, head in enumerate(heads):
            table.add_column(head, justify="right" if number in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        self.out.print(table)

    def value(self, value: object) -> None:
        """The command's result for scripts."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=1, default=str, ensure_ascii=False) + "\n")

    def listener(self) -> Listener:
        """A listener fit for where the output goes: bars, lines, or (JSON) lines on standard error."""
        if self.err.is_terminal and not self.as_json:
            return _Bars(self.err)
        return _Lines(self.err)


class _Bars:
    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description:<10}"), BarColumn(bar_width=30), TaskProgressColumn(),
            TextColumn("{task.fields[text]}"), TimeElapsedColumn(), TimeRemainingColumn(), console=console,
            transient=True,
        )  # fmt: skip
        self._console = console
        self._task: TaskID | None = None
        self._done = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Began):
            self._done = 0
            self._progress.start()
            self._task = self._progress.add_task(event.stage, total=event.total or None, text="")
        elif isinstance(event, Advanced) and self._task is not None:
            self._done += event.units
            self._progress.update(self._task, completed=self._done, text=plain(event.text[:48]))
        elif isinstance(event, Ended):
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._progress.stop()
            self._task = None
            self._console.print(_ended(event))
        elif not isinstance(event, Advanced):
            self._console.print(f"[yellow]note[/] {plain(event.text)}")


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: Event) -> None:
        if isinstance(event, Ended):
            self._console.print(_ended(event))
        elif not isinstance(event, Began | Advanced):
            self._console.print(f"note {event.text}", markup=False)


def _ended(event: Ended) -> str:
    return f"[green]✓[/] {event.stage:<10} {event.seconds:6.1f} s  {plain(event.text)}"


def verdict(word: Verdict) -> str:
    """A verdict with its sign and colour."""
    sign, colour = SIGNS[word]
    return f"[{colour}]{sign} {word.value}[/]"


def plain(text: str) -> str:
    """A text from elsewhere, e.g. a table's name, in which a bracket is a bracket and no markup."""
    return escape(text)


def count(number: int) -> str:
    """A count with thousands separators."""
    return f"{number:,}"


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
