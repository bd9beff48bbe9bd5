"""Commands of those who watch a log from outside: witness, monitor."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from domicile.cli.common import JsonOption, SecretOption, TrustOption, address, trusted
from domicile.cli.show import Screen, count, plain
from domicile.config.tree import read_bytes
from domicile.errors import BadFile, Different, EvidenceFault, HostFault
from domicile.evidence.codec import encode
from domicile.evidence.cosigning.store import WitnessStore
from domicile.evidence.keys import Signer, save_signer
from domicile.evidence.publiclog.monitor import Looked, State, kinds_told, look, read_state
from domicile.evidence.publiclog.place import Folder, is_url, place_of, read_checkpoint
from domicile.evidence.publiclog.story import approvals_of
from domicile.evidence.signers import is_uri, open_key
from domicile.evidence.tlog.cosignature import cosigner_of, parse_cosigner
from domicile.evidence.tlog.note import NOTE_BYTES_MAX
from domicile.host import Host, write_whole
from domicile.web import ask, require_url

LISTEN = "127.0.0.1:7082"
STATE_BYTES_MAX = 1024 * 1024
KeyOption = Annotated[str, typer.Option(help="The witness's secret key: a file, or the URI of a key elsewhere.")]
StoreOption = Annotated[Path, typer.Option(help="The file in which it keeps what it saw last of each log.")]
KEY, STORE = "witness.key", Path("witness.db")

witness = typer.Typer(no_args_is_help=True, help="A witness of logs: it cosigns heads that only grow.")


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    for command in (new, serve, show):
        witness.command()(command)
    app.add_typer(witness, name="witness")
    app.command()(monitor)


def new(
    name: Annotated[str, typer.Argument(help="Its name, such as witness.example/w1; no two witnesses have the same.")],
    key: KeyOption = KEY,
    secret: SecretOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a witness's key (0600), and print its public line for the policies of those who trust it.

    With the URI of a key that is there already, in a token, a service or a file, it makes none, but tries that one.

    Example: domicile witness new witness.example/w1 --key w1.key
    """
    screen = Screen(as_json=as_json)
    if is_uri(key):
        signer = open_key(key, secret=secret, host=Host(), name=name)
        signer.sign(b"domicile witness new")
    else:
        signer = Signer(name=name, seed=Host().entropy(32))
        save_signer(Path(key), signer)
    vkey = cosigner_of(signer).vkey
    screen.say(f"{plain(key)}: keep it to yourself. In a policy, with a name and where it is asked:\n")
    if not as_json:
        screen.out.print(f"witness NAME {vkey} https://…", markup=False)
    screen.value({"secret": key, "vkey": vkey})


def serve(
    trust: TrustOption,
    key: KeyOption = KEY,
    secret: SecretOption = None,
    vkey: Annotated[
        str | None, typer.Option(metavar="LINE", help="Its public line, which has its name; for a key elsewhere.")
    ] = None,
    store: StoreOption = STORE,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to answer.")] = LISTEN,
) -> None:
    """Cosign checkpoints of the policy's logs over HTTP (C2SP tlog-witness), until stopped. It sees no statement.

    Example: domicile witness serve --key w1.key --store w1.db --trust logs.txt --listen 127.0.0.1:7082
    """
    from domicile.evidence.cosigning import serving  # noqa: PLC0415 - no other command has to load a web server

    host, port = address(listen)
    signer, policy = _signer(key, secret=secret, vkey=vkey), trusted(trust)
    if any(signer.verifier.public == log.public for log in policy.logs):
        raise BadFile(f"{key}: is the key of a log as well; a witness needs a key of its own: `domicile witness new`")
    kept = WitnessStore(store)
    try:
        serving.serve(serving.WitnessService(signer, policy.logs, kept, host=Host()), host=host, port=port)
    finally:
        kept.close()


def _signer(key: str, *, secret: str | None, vkey: str | None) -> Signer:
    """Open the witness's key; `BadFile` when it isn't that of the public line."""
    if vkey is None:
        if is_uri(key):
            raise typer.BadParameter("a key elsewhere wants its --vkey, as `domicile witness new` printed it")
        return open_key(key, secret=secret, host=Host(), name="witness")
    wanted = parse_cosigner(vkey)
    signer = open_key(key, secret=secret, host=Host(), name=wanted.name)
    if cosigner_of(signer) != wanted:
        raise BadFile(
            f"{key}: holds another key than {wanted.keyid}, so nobody would know its cosignatures; put that one back, "
            "or begin with a new one (docs/keys.md)"
        )
    return signer


def show(store: StoreOption = STORE, as_json: JsonOption = False) -> None:
    """Say what a witness saw last of each log.

    Example: domicile witness show --store w1.db
    """
    screen = Screen(as_json=as_json)
    if not store.exists():
        raise BadFile(f"{store}: there is no such store; `domicile witness serve` makes one")
    kept = WitnessStore(store)
    found = kept.all()
    kept.close()
    rows = [(plain(one.origin), count(one.size), f"{one.root.hex()[:16]}…", _moment(one.seen_at)) for one in found]
    screen.table("cosigned last", ("log", "entries", "root", "seen"), rows, right=(1,))
    screen.value(
        [{"origin": one.origin, "size": one.size, "root": one.root.hex(), "seen_at": _moment(one.seen_at)}
         for one in found]
    )  # fmt: skip


def monitor(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="The log: a folder or a URL.")],
    trust: TrustOption,
    state: Annotated[Path, typer.Option(help="The file in which it keeps what it saw.")],
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="PLACE", help="What another was shown of this log: a checkpoint's file or URL, or a log."),
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="Alarm when nothing newer is cosigned, or came.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look once whether a log only grew, and check what it tells so far; run it again and again, e.g. by cron.

    Where the log's key changes hands by its own statements, it goes on with the next one. A log that has grown is given
    to the auditor's checker, all of it: checks 8 to 17 and 21 to 24, and 19 and 20 of certificates. That there is a
    certificate, and that it is the last word (18), can't be asked of a log that goes on, nor what only a bundle holds
    (1, 3, 4, plan.json). Ends with 1 on an alarm: rollback, fork, damaged, split, behind, key, quorum, statement,
    story, old.

    Example: domicile monitor https://log.example/homecoming --trust trust.txt --state seen.json --against other.txt
    """
    screen = Screen(as_json=as_json)
    policy = trusted(trust)
    approvals = approvals_of(read_bytes(trust, remedy="`domicile log policy` prints one"), origin=trust.name)
    before = _read_state(state)
    others = {name: _read_other(name) for name in against or ()}
    hours = None if older_than is None else timedelta(hours=older_than)
    looked = look(
        place_of(place), policy, before, against=others, now=Host().now(), older_than=hours, approvals=approvals
    )
    if looked.state is not None:
        _write(state.with_name(f"{state.name}.checkpoint"), looked.checkpoint)
        _write(state, encode(looked.state))
    _say(screen, place, looked, others)
    screen.value(_looked_json(looked))
    if looked.alarms and as_json:
        raise typer.Exit(Different.exit_code)
    if looked.alarms:
        raise Different(f"{len(looked.alarms)} alarms; keep both checkpoints as evidence, and ask the log's operator")


def _say(screen: Screen, place: str, looked: Looked, others: Mapping[str, bytes]) -> None:
    kinds = f": {', '.join(kinds_told(looked.kinds))}" if looked.kinds else ""
    screen.say(plain(f"{place}: {looked.size} statements, {looked.new} of them new{kinds}"))
    for name, moment in looked.cosigned_at.items():
        screen.say(plain(f"cosigned by {_shown(name)} at {moment:%Y-%m-%d %H:%M:%S} UTC"))
    if looked.state is not None and looked.state.before:
        screen.say(plain(f"its key in force, after {len(looked.state.before)} before it: {looked.state.vkey}"))
    if others and not looked.alarms:
        screen.say(plain(f"the same log as {', '.join(others)} saw"))
    for alarm in looked.alarms:
        screen.say(f"[red]ALARM[/] {alarm.kind}: {plain(alarm.text)}")


def _read_state(path: Path) -> State | None:
    try:
        with path.open("rb") as source:
            data = source.read(STATE_BYTES_MAX)
    except FileNotFoundError:
        return None
    try:
        return read_state(data)
    except BadFile as fault:
        raise BadFile(f"{path}: is no state of a monitor ({fault}); restore it, or begin with a new one") from None


def _read_other(name: str) -> bytes:
    """A checkpoint that somebody else was shown: a file, a URL of one, or of a log."""
    if is_url(name):
        answer = ask(require_url(name, what="--against"), bytes_max=NOTE_BYTES_MAX)
        return answer.body if answer.status == 200 else read_checkpoint(place_of(name))
    path = Path(name)
    if path.is_dir():
        return read_checkpoint(Folder(path))
    found = Folder(path.parent).read(path.name, bytes_max=NOTE_BYTES_MAX)
    if found is None:
        raise EvidenceFault(f"{name}: there is no such file; give a checkpoint, or the folder or URL of a log")
    return found


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as fault:
        raise HostFault(f"{path}: can't be written ({fault.strerror}); check space and rights") from None


def _looked_json(looked: Looked) -> dict[str, Any]:
    return {
        "size": looked.size, "new": looked.new, "kinds": dict(looked.kinds),
        "checkpoint": looked.checkpoint.decode(errors="replace"),
        "cosigned_at": {_shown(name): moment.isoformat() for name, moment in looked.cosigned_at.items()},
        "log": looked.state and looked.state.vkey,
        "alarms": [{"kind": one.kind, "text": one.text, "check": one.check} for one in looked.alarms],
    }  # fmt: skip


def _shown(name: str) -> str:
    return name.encode(errors="surrogateescape").decode(errors="replace")


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
