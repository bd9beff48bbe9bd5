"""What every command shares: where the file is, how it is opened, and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from domicile import config
from domicile.cli.show import Screen
from domicile.config.tree import read_bytes
from domicile.errors import BadFile
from domicile.evidence.tlog.policy import Policy, only_policy_lines, parse_policy
from domicile.host import Host
from domicile.record.workspace import Workspace
from domicile.run import Run

FileOption = Annotated[Path, typer.Option("--file", "-f", help="The programme's file.", show_default=True)]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value on standard output, for scripts.")]
SecretOption = Annotated[
    str | None, typer.Option(help="Where the pin is that a key elsewhere asks for: env:NAME or file:PATH.")
]
DEFAULT_FILE = Path("domicile.yaml")
PORT_MAX = 65_535
TrustOption = Annotated[
    Path, typer.Option("--trust", metavar="POLICY", help="Whose keys count: a policy as `domicile log policy` prints.")
]


def address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, or a usage error."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= PORT_MAX:
        raise typer.BadParameter("--listen is HOST:PORT, such as 127.0.0.1:7080 or [::1]:7080")
    return host, int(port)


def trusted(path: Path) -> Policy:
    """The logs, witnesses and quorum of a trust policy; its other lines are an auditor's."""
    data = read_bytes(path, remedy="`domicile log policy` prints one")
    policy = parse_policy(only_policy_lines(data), origin=path.name)
    if not policy.logs:
        raise BadFile(f"{path.name}: has no `log` line, so it trusts no log; get it from the log's operator")
    return policy


@contextmanager
def opened(file: Path, screen: Screen) -> Iterator[Run]:
    """Open the programme of `file` for this engine alone."""
    parsed, data = config.read(file)
    with Run.opened(Workspace(file), parsed, data, host=Host(), listener=screen.listener()) as run:
        yield run
