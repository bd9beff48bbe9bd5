"""`domicile directory`: who lives where, served to the platform, and asked by people. It takes no lock of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from domicile import config
from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, address
from domicile.cli.show import Screen, count
from domicile.directory.states import Served, entry_of
from domicile.errors import Refused
from domicile.host import Host
from domicile.model import DatasetId
from domicile.record.workspace import Workspace
from domicile.stores.postgres import places
from domicile.stores.postgres.session import connect, faults

LISTEN = "127.0.0.1:7080"

directory = typer.Typer(no_args_is_help=True, help="Whose home is where: serve it, ask it, count it.")


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(directory, name="directory")


@directory.command(name="serve")
def serve(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to answer.")] = LISTEN,
    token: Annotated[
        str, typer.Option(metavar="REFERENCE", help="env:NAME or file:PATH of what clients have to show.")
    ] = "",
    file: FileOption = DEFAULT_FILE,
) -> None:
    """Answer the platform's questions who lives where, over HTTP, until stopped.

    Only this machine may ask unless there is a --token. Others would read along: put TLS in front of it elsewhere.

    Example: domicile directory serve --listen 10.0.0.5:7080 --token env:DIRECTORY_TOKEN
    """
    from domicile.directory import server  # noqa: PLC0415 - no other command has to load a web server

    host, port = address(listen)
    secret = Host().secret(token, base=Workspace(file).base) if token else None
    server.refuse_open_door(host, secret)
    server.serve(_served(config.read(file)[0], file), host=host, port=port, token=secret)


@directory.command(name="show")
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The subject's key, as the database writes it.")],
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Say where one person stands: outside, moving, fenced or home, and which location's data counts now.

    Example: domicile directory show 42
    """
    screen, parsed = Screen(as_json=as_json), config.read(file)[0]
    served = _served(parsed, file)
    with _reading(served) as connection:
        version, found = places.look_up(connection, served.kind, [key])
    entry = entry_of(key, found, source=served.location)
    home = f", home {entry.home}" if entry.home else ""
    screen.say(f"{entry.state.value}{home}; the data in {entry.authority} counts")
    screen.value(entry.as_json(version=version))


@directory.command(name="counts")
def counts(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Count how many people of each home are moving, fenced or at home.

    Example: domicile directory counts
    """
    screen, parsed = Screen(as_json=as_json), config.read(file)[0]
    with _reading(_served(parsed, file)) as connection:
        found = places.counts(connection)
    rows = [(kind, home, state.value, count(number)) for (kind, home, state), number in found.items()]
    screen.table("directory", ("people of", "home", "state", "people"), rows, right=(3,))
    screen.value(
        [{"kind": kind, "home": home, "state": state.value, "people": number}
         for (kind, home, state), number in found.items()]
    )  # fmt: skip


def _served(parsed: config.Config, file: Path) -> Served:
    store = parsed.databases[parsed.source]
    return Served(
        dsn=Host().secret(store.dsn, base=Workspace(file).base), store=parsed.source, location=store.location,
        kind=DatasetId(parsed.subject.dataset), homes=tuple(parsed.home_stores),
    )  # fmt: skip


@contextmanager
def _reading(served: Served) -> Iterator[psycopg.Connection[Any]]:
    """A session of its own; Refused where no directory is kept."""
    connection = connect(served.dsn, store=served.store)
    try:
        with faults(served.store, "read the directory"):
            if not places.there(connection):
                raise Refused(
                    f"store {served.store} keeps no directory: nobody moves, or domicile.yaml has no `directory`"
                )
            yield connection
    finally:
        connection.close()
