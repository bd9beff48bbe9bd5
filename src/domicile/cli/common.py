"""What every command shares: where the file is, how it is opened, and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from domicile import config
from domicile.cli.show import Screen
from domicile.host import Host
from domicile.run import Run
from domicile.workspace import Workspace

FileOption = Annotated[Path, typer.Option("--file", "-f", help="The programme's file.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value on standard output, for scripts.")]
SecretOption = Annotated[
    str | None, typer.Option(help="Where the pin is that a key elsewhere asks for: env:NAME or file:PATH.")
]
DEFAULT_FILE = Path("domicile.yaml")


@contextmanager
def opened(file: Path, screen: Screen) -> Iterator[Run]:
    """Open the programme of `file` for this engine alone."""
    parsed, data = config.read(file)
    with Run.opened(Workspace(file), parsed, data, host=Host(), listener=screen.listener()) as run:
        yield run
