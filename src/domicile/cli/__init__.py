"""`domicile`: the face for people and scripts. No rule lives here; this is the only room that prints and exits.

Exit codes: 0 done; 1 refused or different; 2 usage; then one a class of error (`domicile.errors`). A fault of ours is
70 and tells type and place, never a stack trace or a value of a row.
"""

from __future__ import annotations

import json
import sys
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from domicile import __version__
from domicile.errors import DomicileError, HostFault

BUG_EXIT = 70
INTERRUPTED_EXIT = 130

ROOMS: Final = {
    "mapping": ("init", "map", "schema", "doctor"),
    "explaining": ("explain",),
    "moving": (
        "plan", "apply", "transfer", "status", "verify", "approve", "erase", "sweep", "certify", "abandon",
    ),
    "going": ("cutover", "rollback", "follow"),
    "placing": ("directory",),
    "publishing": ("publish",),
    "witnessing": ("witness", "monitor"),
    "exporting": ("export",),
    "signing": ("keys",),
    "evidence": ("log", "report"),
    "auditing": ("audit-key", "audit-bundle"),
    "guarding": ("restore-guard",),
    "subjects": ("subject",),
    "canaries": ("canary",),
    "demo": ("demo",),
}  # fmt: skip
"""The modules of this folder, and the commands that each adds: a command loads its own room alone, which takes half
of the time that all of them take."""


@cache
def program(wanted: str | None = None) -> typer.Typer:
    """Make the command line with the room of one command, or with all of them."""
    made = typer.Typer(
        name="domicile",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    made.callback()(_root)
    for room, commands in ROOMS.items():
        if wanted is None or wanted in commands:
            import_module(f"{__name__}.{room}").register(made)
    return made


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"domicile {__version__}")
        raise typer.Exit


def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Bring a market's private data home, keep it there, erase it everywhere else, and let anyone check."""


def main() -> None:
    """Run the command line; the only place that turns an error into words and an exit code."""
    try:
        known = {command for commands in ROOMS.values() for command in commands}
        program(next((word for word in sys.argv[1:2] if word in known), None))(prog_name="domicile")
    except DomicileError as fault:
        _tell(type(fault).__name__, str(fault), fault.exit_code)
    except SystemExit as ended:
        if ended.code != INTERRUPTED_EXIT:  # Typer turns Ctrl-C into this one
            raise
        _tell("Interrupted", "interrupted; run the same command again, it goes on where it was", INTERRUPTED_EXIT)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as fault:  # noqa: BLE001 - the last line of defence: no stack trace as user interface
        if isinstance(fault, OSError) and fault.filename is not None:  # a file that the user named
            _tell("HostFault", f"{fault.filename}: {fault.strerror}; check path, rights and space", HostFault.exit_code)
        last = traceback.extract_tb(fault.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        _tell(
            "Bug",
            f"a fault of domicile itself ({type(fault).__name__} at {place}); run again, and please report it",
            BUG_EXIT,
        )


def _tell(kind: str, text: str, code: int) -> NoReturn:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": kind, "message": text, "exit_code": code}, ensure_ascii=False) + "\n")
    else:
        sys.stderr.write(f"domicile: {text}\n")
    sys.exit(code)


__all__ = ["ROOMS", "main", "program"]
