"""The command for after a restore: restore-guard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, opened
from domicile.cli.show import Screen, count, plain
from domicile.errors import Refused
from domicile.run.guarding import Guarded


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command(name="restore-guard")(restore_guard)


def restore_guard(
    file: FileOption = DEFAULT_FILE,
    dsn: Annotated[
        str | None, typer.Option(help="A reference to another database to look at, env:NAME or file:PATH.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Really erase again. Without it this is a dry run.")] = False,
    forget: Annotated[
        bool, typer.Option("--destroy-key", help="Destroy the key: nobody can know the erased rows again. With --yes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """After a restore of a backup: find erased people's rows and objects that came back, and erase the rows again.

    Run it before anybody writes to the restored database: a new row that was given the number of an erased one can't be
    told from it. Objects are looked for in the stores of the file, not with --dsn; a person removes them. Ends with 1
    when rows or objects came back and are still there, or a table or a store can't be asked.

    Example: domicile restore-guard; domicile restore-guard --yes; domicile apply
    """
    screen = Screen(as_json=as_json)
    if forget:
        _destroy(file, screen, yes=yes)
        return
    with opened(file, screen) as run:
        guarded = run.look_after_restore(dsn=dsn, yes=yes)
    _print(screen, guarded)
    _print_objects(screen, guarded, yes=yes)
    screen.value(_as_json(guarded))
    unseen = any(one.missing for one in guarded.objects)
    if guarded.unasked or unseen or guarded.object_count or (guarded.rows and not guarded.erased):
        raise typer.Exit(1)


def _print(screen: Screen, guarded: Guarded) -> None:
    found = [one for one in guarded.found if one.rows]
    if found:
        screen.table(
            "erased again" if guarded.erased else "came back", ("dataset", "deleted rows", "blanked rows"),
            ((plain(one.dataset), count(one.deleted), count(one.blanked)) for one in found), right=(1, 2),
        )  # fmt: skip
    for one in guarded.unasked:
        screen.say(f"[red]not asked[/]: {plain(one.dataset)}: {one.missing}")
    if guarded.erased:
        screen.say(
            f"{count(guarded.rows)} rows are erased again; the certificate no longer holds: `domicile apply` treats, "
            "sweeps and certifies the source anew"
        )
    elif guarded.rows:
        screen.say(f"{count(guarded.rows)} rows came back; dry run, nothing was changed: add --yes to erase them again")
    else:
        screen.say(f"none of {count(guarded.committed)} erased rows came back")


def _print_objects(screen: Screen, guarded: Guarded, *, yes: bool) -> None:
    for one in guarded.objects:
        if one.missing:
            screen.say(f"[red]not asked[/]: store {plain(one.store)}: {plain(one.missing)}")
        elif one.count:
            then = (
                "the certificate no longer holds: `domicile apply --yes` waits until they are gone, and names them"
                if yes
                else "dry run: with --yes the log says so, and `domicile apply --yes` waits until they are gone"
            )
            screen.say(
                f"store {plain(one.store)}: {count(one.count)} versions of erased objects are there again; {then}"
            )
        else:
            screen.say(f"store {plain(one.store)}: no erased object is there again")


def _as_json(guarded: Guarded) -> dict[str, Any]:
    return {
        "committed": guarded.committed, "came_back": guarded.rows, "erased": guarded.erased,
        "datasets": [
            {"dataset": one.dataset, "deleted": one.deleted, "blanked": one.blanked, "not_asked": one.missing or None}
            for one in guarded.found
        ],
        "objects": [
            {"store": one.store, "came_back": one.count, "not_asked": one.missing or None} for one in guarded.objects
        ],
    }  # fmt: skip


def _destroy(file: Path, screen: Screen, *, yes: bool) -> None:
    """Destroy the key of the commitments, for good."""
    if not yes:
        raise Refused(
            "with the key goes every chance to know erased rows again after a restore, and everybody's receipt; if you "
            "mean it: --yes"
        )
    with opened(file, screen) as run:
        receipts = run.destroy_commitments()
    also = f", and {count(receipts)} people's receipts with it" if receipts else ""
    screen.say(f"the key is destroyed{also}: the commitments tell nothing to anybody any more")
    screen.value({"destroyed": True, "receipts": receipts})
