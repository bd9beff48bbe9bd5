"""Commands about one person: subject receipt, subject forget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, opened
from domicile.cli.show import Screen, count, plain
from domicile.errors import HostFault, Refused
from domicile.run import receipting

subject = typer.Typer(help="One person: the receipt of what went home of them.", no_args_is_help=True)
KindOption = Annotated[
    str, typer.Option(help="The dataset of people's own rows, where a key is one of several kinds of people.")
]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(subject, name="subject")


@subject.command()
def receipt(
    key: Annotated[str, typer.Argument(help="The person's key, as the database writes it.")],
    to: Annotated[Path, typer.Option(help="The file to write; anybody who reads it learns what it says.")] = Path(
        "receipt.tlog-proof"
    ),
    kind: KindOption = "",
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Write a person's receipt: how many of their rows went home and when, and what became of the copies outside.

    They, or their lawyer, check it offline with `domicile-audit receipt FILE --trust POLICY`. Hand it to nobody else.
    It is written on demand, and is nowhere kept.

    Example: domicile subject receipt 42 --to 42.tlog-proof; domicile-audit receipt 42.tlog-proof --trust trust.txt
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        data = run.receipt(key, kind=kind)
    _write_private(to, data)
    screen.say(
        f"{plain(str(to))}: the receipt ({count(len(data))} bytes, for that person's eyes). To check it, without us:\n"
        f"  domicile-audit receipt {plain(str(to))} --trust trust.txt   # trust.txt: `domicile log policy`"
    )
    screen.value({"receipt": str(to), "bytes": len(data)})


@subject.command()
def forget(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of people, as the database writes them.")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All people who have a receipt.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Really destroy. Without it this is a dry run.")] = False,
    kind: KindOption = "",
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Destroy the nonces of people's receipts, for good: from then on nobody can show that the log speaks of them.

    The log stays valid, and tells how many were destroyed, not whose. A receipt that was handed out holds its nonce
    itself, and goes on proving what it says to whoever has it.

    Example: domicile subject forget 42 --yes
    """
    screen = Screen(as_json=as_json)
    if bool(keys) == everybody:
        raise Refused("say whose receipts: keys of people, or --all")
    with opened(file, screen) as run:
        if not yes:
            held = len(set(keys)) if keys else receipting.count(run.record)
            raise Refused(
                f"nothing was destroyed: of {count(held)} people the nonce would go, and no receipt of theirs can be "
                "written again; if you mean it: --yes"
            )
        destroyed = run.destroy_receipts(keys or None, kind=kind)
    screen.say(f"destroyed: the nonces of {count(destroyed)} people; the log tells how many, and not whose")
    screen.value({"destroyed": destroyed})


def _write_private(path: Path, data: bytes) -> None:
    try:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(data)
    except OSError as fault:
        raise HostFault(
            f"{path} can't be written ({fault.strerror}); check rights and space, or name another --to"
        ) from None
