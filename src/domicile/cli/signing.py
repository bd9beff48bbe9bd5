"""Commands of signing keys: new, show, list, rotate, revoke."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from domicile import config
from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, SecretOption
from domicile.cli.show import Screen, plain
from domicile.errors import Refused
from domicile.evidence.keyring import LOG, Who, name_of
from domicile.evidence.keys import Signer, Verifier, parse_vkey, save_signer, save_verifier
from domicile.evidence.signers import Place, open_key
from domicile.host import Host
from domicile.keeping import Changed, Keeping, Proposal
from domicile.record.workspace import Workspace

keys = typer.Typer(help="Keys that sign: of approvers, and of the log.", no_args_is_help=True)

WhyOption = Annotated[str, typer.Option(help="Why, in a few words without anybody's data; they stay in the log.")]
NewOption = Annotated[
    str | None, typer.Option(help="The next key. An approver's: its public line, or file:PATH. The log's: a URI.")
]
NewSecretOption = Annotated[
    str | None, typer.Option(help="Where the pin of the log's next key is: env:NAME, file:PATH.")
]
LogOption = Annotated[bool, typer.Option("--log", help="The log's key, which is the engine's.")]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(keys, name="keys")


@keys.command(name="new")
def new_key(
    name: Annotated[str, typer.Argument(help="The approver's name, as in policy.approvals.")],
    folder: Annotated[Path, typer.Option(help="Where the two files go.")] = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make an approver's key: NAME.key (secret, 0600) and NAME.pub; print the line for domicile.yaml.

    Example: domicile keys new monitor
    """
    screen = Screen(as_json=as_json)
    signer = Signer(name=name, seed=Host().entropy(32))
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    save_signer(secret, signer)
    save_verifier(public, signer.verifier)
    screen.say(f"{secret}: keep it to yourself\n{public}: give it to the operator. In domicile.yaml:\n")
    _print_line(screen, name, signer.verifier, as_json=as_json)
    screen.value({"secret": str(secret), "public": str(public), "vkey": signer.verifier.vkey})


@keys.command(name="show")
def show_key(
    name: Annotated[str, typer.Argument(help="The approver's name, as in policy.approvals.")],
    key: Annotated[str, typer.Option(help="A file of `domicile keys new`, or the URI of a key elsewhere.")],
    secret: SecretOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the public line of a key that is there already, in a token, a service or a file; and try it once.

    Example: domicile keys show monitor --key "hsm:7?label=signing" --secret env:PIN
    """
    screen = Screen(as_json=as_json)
    signer = open_key(key, secret=secret, host=Host(), name=name)
    signer.sign(b"domicile keys show")
    _print_line(screen, signer.name, signer.verifier, as_json=as_json)
    screen.value({"vkey": signer.verifier.vkey})


@keys.command(name="list")
def list_keys(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """List who may sign with which key now, and the keys before it.

    Example: domicile keys list
    """
    screen = Screen(as_json=as_json)
    with _opened(file, lost=True) as keeping:
        ring = keeping.ring
        rows = [
            (name_of(who), key.vkey, "in force" if key == ring.keys[who] else "before")
            for who in ring.keys
            for key in ring.lineage(who)
        ]
    screen.table("keys", ("whose", "key", ""), ((plain(who), plain(vkey), state) for who, vkey, state in rows))
    screen.value([{"whose": who, "vkey": vkey, "in_force": state == "in force"} for who, vkey, state in rows])


@keys.command(name="rotate")
def rotate(
    why: WhyOption,
    key: Annotated[str | None, typer.Option(help="The approver's present key: a file, or a URI.")] = None,
    log: LogOption = False,
    new: NewOption = None,
    secret: SecretOption = None,
    new_secret: NewSecretOption = None,
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Hand a key on to the next one, signed by the present one; both stand in the log, and the checker follows.

    Example: domicile keys rotate --key monitor.key --new file:monitor-2.pub --why "yearly"
    """
    screen = Screen(as_json=as_json)
    if log == (key is not None):
        raise Refused("say whose key: --key with an approver's present key, or --log for the log's; not both")
    with _opened(file) as keeping:
        if key is None:
            place = None if new is None else Place(uri=new, secret=new_secret)
            done = keeping.rotate_log(why, place)
        else:
            if new is None:
                raise Refused("name the next key's public half: --new file:NAME.pub, as `domicile keys new` wrote it")
            holder = open_key(key, secret=secret, host=keeping.host, name="approver")
            done = keeping.rotate(holder, key, _public(new, keeping), why)
    _tell(screen, done)


@keys.command(name="revoke")
def revoke(
    key: Annotated[str, typer.Option(help="Your key: a file, or a URI. Your own gives up itself.")],
    name: Annotated[str | None, typer.Argument(help="The approver whose key is lost; nobody for your own.")] = None,
    log: LogOption = False,
    why: WhyOption = "",
    new: NewOption = None,
    new_secret: NewSecretOption = None,
    stands: Annotated[int | None, typer.Option(help="How many statements of the log stand; later ones don't.")] = None,
    since: Annotated[str | None, typer.Option(help="Since when it is lost, as 2026-11-20T10:00:00Z.")] = None,
    secret: SecretOption = None,
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Call a key lost or stolen. Another approver's, or the log's, takes as many of the others as an erasure does.

    The first says why, and names the next key; those after sign the same.

    Example: domicile keys revoke monitor --key operator.key --new file:monitor-2.pub --why "stolen with a laptop"
    """
    screen = Screen(as_json=as_json)
    if log and name is not None:
        raise Refused("say whose key: an approver's name, or --log; not both")
    with _opened(file, lost=log) as keeping:
        voter = open_key(key, secret=secret, host=keeping.host, name="approver")
        proposal = Proposal(
            why=why, stands=stands, since=_moment(since),
            new=None if log or new is None else _public(new, keeping),
            place=Place(uri=new, secret=new_secret) if log and new is not None else None,
        )  # fmt: skip
        who: Who = LOG if log else name
        done = keeping.revoke(who, voter, key, proposal) if log or name else keeping.give_up(voter, key, proposal)
    _tell(screen, done)


def _tell(screen: Screen, done: Changed) -> None:
    new = "nobody" if done.change.new is None else parse_vkey(done.change.new).keyid
    if done.at is None:
        screen.say(
            f"{plain(name_of(done.who))}'s key: {done.signed} of {done.needed} approvers call it lost; the others run "
            "`domicile keys revoke` with theirs"
        )
    else:
        old = parse_vkey(done.change.key).keyid
        screen.say(
            f"{plain(name_of(done.who))}'s key was {done.change.what.value}: {plain(old)} → {plain(new)}, "
            f"statement {done.at} of the log"
        )
    screen.value(
        {"whose": name_of(done.who), "what": done.change.what.value, "key": done.change.key, "new": done.change.new,
         "signed": done.signed, "needed": done.needed, "statement": done.at}
    )  # fmt: skip


@contextmanager
def _opened(file: Path, *, lost: bool = False) -> Iterator[Keeping]:
    parsed, _ = config.read(file)
    place = None if parsed.signing is None else Place(uri=parsed.signing.key, secret=parsed.signing.secret)
    with Keeping.opened(Workspace(file), parsed.programme.name, Host(), place=place, lost=lost) as keeping:
        yield keeping


def _public(text: str, keeping: Keeping) -> Verifier:
    """A key's public line, given itself or by reference."""
    line = keeping.host.secret(text, base=Path()) if text.startswith(("file:", "env:")) else text
    return parse_vkey(line)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused(f"--since {text}: not a time like 2026-11-20T10:00:00Z") from None


def _print_line(screen: Screen, name: str, verifier: Verifier, *, as_json: bool) -> None:
    if not as_json:
        screen.out.print(f'policy:\n  keys:\n    {name}: "{verifier.vkey}"', markup=False)
