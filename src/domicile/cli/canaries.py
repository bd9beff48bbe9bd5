"""Commands of the canaries: canary new, seal, open, find."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, opened
from domicile.cli.show import Screen, count, plain
from domicile.errors import BadFile
from domicile.evidence import canaries
from domicile.host import Host
from domicile.run import sealed
from domicile.stores.postgres.copies import Copy, CopyKind, copy_id
from domicile.stores.postgres.files import LocalFiles, Place, Shape, Storage
from domicile.stores.postgres.pages import Geometry
from domicile.sweep import TokenClass, Tokens, sweep_folder

canary = typer.Typer(help="Words planted before a move and looked for after it.", no_args_is_help=True)
Secret = Annotated[Path, typer.Argument(help="The file that `canary new` wrote.", exists=False)]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(canary, name="canary")


@canary.command()
def new(
    name: Annotated[str, typer.Argument(help="Who plants them: a letter first, then letters, digits, - and _.")],
    number: Annotated[int, typer.Option("--count", min=1, max=canaries.WORDS_MAX, help="How many.")] = 20,
    folder: Annotated[Path, typer.Option(help="Where NAME.canaries goes.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make words that nobody can guess, in NAME.canaries (secret, 0600), to be planted through the platform's own door.

    Plant each as part of something private of an account that is to go home: an e-mail address, a message, a name.
    Do it before `domicile plan`. The operator's own can also be named in the file, as `policy.canaries`.

    Example: domicile canary new monitor --count 20
    """
    screen = Screen(as_json=as_json)
    made = canaries.invent(name, number, Host())
    path = folder / f"{name}.canaries"
    canaries.save(path, made)
    screen.say(f"{path}: keep it to yourself until the erasure is done. Plant these:\n")
    if not as_json:
        screen.out.print("\n".join(made.words), markup=False)
    screen.value({"file": str(path), "words": list(made.words)})


@canary.command()
def seal(
    path: Annotated[Path, typer.Argument(help="NAME.canaries to make a seal of, or NAME.seal to hand over.")],
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Of NAME.canaries make NAME.seal; given NAME.seal, hand it over, so that the log holds it before the clearance.

    The first is for who made them, on their own machine; the second for the operator.

    Example: domicile canary seal monitor.canaries; domicile canary seal monitor.seal
    """
    screen = Screen(as_json=as_json)
    if path.suffix == ".seal":
        found = canaries.load_seal(path)
        with opened(file, screen) as run:
            sealed.hand_over(run.record, found)
        screen.say(f"{found.count} canaries of {found.by} are sealed; the log will hold it before anything is cleared")
    else:
        found = canaries.load(path).seal
        canaries.save_seal(path.with_suffix(".seal"), found)
        screen.say(f"{path.with_suffix('.seal')}: hand it to the operator, and compare it with the log later")
    screen.value({"by": found.by, "count": found.count, "sha256": found.sha256})


@canary.command(name="open")
def open_seal(path: Secret, file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Open a seal of the log, once the erasure is done: the sweep looks for these words, too.

    Example: domicile canary open monitor.canaries; domicile apply
    """
    screen = Screen(as_json=as_json)
    told = canaries.load(path)
    with opened(file, screen) as run:
        found = sealed.open_seal(run.record, told)
    screen.say(f"{found.count} canaries of {found.by} are opened; `domicile apply` looks for them")
    screen.value({"by": found.by, "count": found.count, "sha256": found.sha256})


@canary.command()
def find(
    path: Secret,
    folders: Annotated[list[Path], typer.Argument(help="Folders to look through.")],
    as_json: JsonOption = False,
) -> None:
    """Look for the words in folders: a restored backup, an export, a disk. Ends with 1 when one is found.

    Example: domicile canary find monitor.canaries /mnt/backup
    """
    screen = Screen(as_json=as_json)
    tokens = Tokens(dict.fromkeys((word.encode() for word in canaries.load(path).words), TokenClass.CANARY))
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise BadFile(f"{folder} is no folder")
        copy = Copy(id=_OTHER, kind=CopyKind.OTHER_FILES, relation=None, method="", observable=True, why="")
        (seen,) = sweep_folder(LocalFiles(folder.resolve()), _Plain(), tokens, [copy], encodings=((), ())).copies
        found.append((folder, seen))
    screen.table(
        "canaries found", ("folder", "files", "words", "first in", "not seen"),
        (
            (plain(str(folder)), count(seen.files), count(seen.distinct),
             plain(seen.findings[0].path) if seen.findings else "", count(len(seen.gaps)))
            for folder, seen in found
        ), right=(1, 2, 4),
    )  # fmt: skip
    screen.value([
        {"folder": str(folder), "files": seen.files, "words": seen.distinct, "gaps": len(seen.gaps),
         "places": sorted({finding.path for finding in seen.findings})}
        for folder, seen in found
    ])  # fmt: skip
    if any(seen.hits for _, seen in found):
        raise typer.Exit(1)


_OTHER = copy_id(CopyKind.OTHER_FILES)


class _Plain:
    """Every file is looked through as it is."""

    @property
    def geometry(self) -> Geometry:
        return Geometry()

    @property
    def by_path(self) -> Mapping[str, Storage]:
        return {}

    def place(self, _: str) -> Place:
        return Place(copy=_OTHER, kind=CopyKind.OTHER_FILES, shape=Shape.PLAIN)
