"""Commands of the log as others see it: serve, fsck, publish, prove."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from domicile import config
from domicile.cli.common import (
    DEFAULT_FILE,
    FileOption,
    JsonOption,
    address,
    opened,
    trusted,
)
from domicile.cli.show import Screen, plain
from domicile.errors import Different, Refused
from domicile.evidence.cosigning.asking import witnesses_of
from domicile.evidence.publiclog.fsck import Checked, check_log
from domicile.evidence.publiclog.place import Folder, place_of
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.policy import NONE, Policy
from domicile.evidence.tlog.witness import AddCheckpoint, format_request
from domicile.host import Host
from domicile.record.workspace import Workspace

LISTEN = "127.0.0.1:7081"


def register(log: typer.Typer) -> None:
    """Add these commands to `domicile log`."""
    for command in (serve, fsck, publish, prove):
        log.command()(command)


def serve(
    folder: Annotated[Path | None, typer.Option(help="The log's folder, without it this programme's.")] = None,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to answer.")] = LISTEN,
    file: FileOption = DEFAULT_FILE,
) -> None:
    """Serve the published log over HTTP, as C2SP tlog-tiles asks, until stopped. Only this machine may ask by default.

    Whoever reads it learns what the statements say: datasets, counts, places and times of the programme.

    Example: domicile log serve --listen 10.0.0.5:7081
    """
    from domicile.evidence.publiclog import serve as serving  # noqa: PLC0415 - no other command has to load a web server

    host, port = address(listen)
    place = folder or _own_folder(file)
    if not place.is_dir():
        raise Refused(f"log {place}: there is no such folder; `domicile apply` begins a log")
    serving.serve(place, host=host, port=port)


def fsck(
    place: Annotated[
        str | None, typer.Argument(metavar="[PLACE]", help="A folder or a URL, without it this programme's log.")
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(metavar="POLICY", help="Whose keys count, without it this programme's own.")
    ] = None,
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Check every file of a log, and the predicates beside it; say what is wrong, and end with 1 then.

    Signature, quorum, entries, tiles, root; of a detached predicate SHA-256 and length. It reads no statement.

    Example: domicile log fsck https://log.example/homecoming --trust trust.txt
    """
    screen = Screen(as_json=as_json)
    policy = trusted(trust) if trust else _own_policy(file)
    checked = check_log(place_of(place) if place else Folder(_own_folder(file)), policy)
    if checked.head is not None:
        by = f"; cosigned by {', '.join(map(_shown, checked.cosigned_by))}" if checked.cosigned_by else ""
        screen.say(plain(f"log {checked.head.origin}: {checked.head.size} entries in {checked.files} files{by}"))
    for fault in checked.faults:
        screen.say(f"[red]✗[/] {plain(fault.where)}: {plain(fault.what)}")
    screen.value(_checked_json(checked))
    if checked.faults and as_json:
        raise typer.Exit(Different.exit_code)
    if checked.faults:
        raise Different(f"{len(checked.faults)} files of {checked.place} are not as they should be; restore them")
    screen.say("whole")


def publish(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Have the witnesses cosign the log's head anew, and publish it: what a run could not, or a fresh date for it.

    Example: domicile log publish
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        run.record.publish(anew=True)
        log = run.ledger.log
    screen.say(f"{log.published_size} statements are published")
    screen.value({"size": log.published_size, "published": log.is_published})


def prove(
    to: Annotated[Path, typer.Option(help="The file to write.")],
    index: Annotated[int | None, typer.Argument(help="The statement's number.")] = None,
    since: Annotated[int | None, typer.Option(help="Prove instead that nothing of the first N was changed.")] = None,
    size: Annotated[int | None, typer.Option(help="With --since: up to this size, not to that of today.")] = None,
    entry: Annotated[Path | None, typer.Option(help="Also write the statement itself there.")] = None,
    file: FileOption = DEFAULT_FILE,
) -> None:
    """Write a .tlog-proof that a statement is in the log, or the proof that the log has only grown; checkable offline.

    The second is `old N`, hashes and the checkpoint, as C2SP tlog-witness writes it. Anybody checks the first with
    `domicile-audit proof FILE --entry ENTRY --trust POLICY`, the second with `--old` and a checkpoint that they kept.

    Example: domicile log prove 3 --to 3.tlog-proof --entry 3.dsse.json; domicile log prove --since 3 --to grown.txt
    """
    if (index is None) == (since is None) or (size is not None and since is None):
        raise typer.BadParameter("give either the number of a statement, or --since")
    if entry is not None and index is None:
        raise typer.BadParameter("--entry goes with the number of a statement")
    screen = Screen(as_json=False)
    with opened(file, screen) as run:
        log = run.ledger.log
        if index is not None:
            if not 0 <= index < log.size:
                raise Refused(f"the log has {log.size} statements, counted from 0; `domicile log list` shows them")
            to.write_bytes(run.ledger.receipt(index))
            screen.say(f"{plain(str(to))}: proof of statement {index}")
            if entry is not None:
                entry.write_bytes(run.ledger.sealed(index).envelope)
                screen.say(f"{plain(str(entry))}: statement {index}")
            return
        to.write_bytes(_growth(log, since or 0, size))
        screen.say(f"{plain(str(to))}: proof that the log of {since} statements was only added to")


def _growth(log: Log, since: int, size: int | None) -> bytes:
    """The proof between two sizes; of a size that is not published the checkpoint is its three lines, unsigned."""
    size = log.published_size if size is None else size
    if not 0 <= since <= size <= log.published_size:
        raise Refused(f"{log.published_size} statements are published; ask for sizes up to that, the smaller one first")
    head = log.checkpoint_bytes
    if size != log.published_size:
        root = base64.b64encode(log.root_at(size)).decode()
        head = f"{log.origin}\n{size}\n{root}\n".encode()
    return format_request(AddCheckpoint(old=since, path=log.consistency_proof(since, size), checkpoint=head))


def _own_folder(file: Path) -> Path:
    return Workspace(file).evidence / "log"


def _own_policy(file: Path) -> Policy:
    """This programme's key, and the witnesses of its file."""
    workspace = Workspace(file)
    witnesses = witnesses_of(config.read(file)[0].witnesses, Host())
    verifier = workspace.log_verifier()
    if witnesses is None:
        return Policy(logs={verifier: None}, witnesses={}, groups={}, quorum=NONE)
    own = witnesses.policy
    return Policy(logs={verifier: None}, witnesses=own.witnesses, groups=own.groups, quorum=own.quorum)


def _shown(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _checked_json(checked: Checked) -> dict[str, Any]:
    head = checked.head
    return {
        "place": checked.place, "origin": head and head.origin, "size": head and head.size,
        "root": head and head.root.hex(), "cosigned_by": [_shown(name) for name in checked.cosigned_by],
        "files": checked.files,
        "faults": [{"where": fault.where, "what": fault.what} for fault in checked.faults],
    }  # fmt: skip
