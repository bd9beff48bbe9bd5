"""`domicile demo`: the whole flow on servers of its own, one a location, with the data of a short-video service."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from domicile import config
from domicile.approving import approve
from domicile.bundle import trust_policy
from domicile.cli.moving import print_plan, print_status
from domicile.cli.reporting import write_report
from domicile.cli.show import Screen
from domicile.errors import HostFault, Waiting
from domicile.host import Host
from domicile.keys import Signer, save_signer, save_verifier
from domicile.run import Run
from domicile.status import read_status
from domicile.stores.postgres.programs import reachable_folder
from domicile.stores.postgres.server import EmbeddedServer
from domicile.workspace import Workspace

LOCATIONS = {"sg": "SERVICE_DSN", "us": "SERVICE_US_DSN", "ca": "SERVICE_CA_DSN", "au": "SERVICE_AU_DSN"}
DATABASE = "shortvideo"
CANARIES = 80
DEADLINE_DAYS = 45
MARK = "made-by-domicile-demo"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    folder: Annotated[Path, typer.Option(help="Where file, evidence and report go.")] = Path("domicile-demo"),
    users: Annotated[int, typer.Option(help="How many people; about 50 rows each.")] = 6_000,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the servers up afterwards.")] = False,
) -> None:
    """Move four markets of a short-video service home, erase them at the source, and have it audited.

    Example: domicile demo --keep
    """
    screen = Screen(as_json=False)
    host = Host()
    _fresh(folder)
    with ExitStack() as stack:
        servers = {}
        screen.say("[bold]1  Servers[/]: Singapore is the source; homes in the US, Canada and Australia")
        data = reachable_folder(folder.resolve() / "servers")
        for location in LOCATIONS:
            server = EmbeddedServer.start(data / location, name=location, password=host.entropy(16).hex())
            servers[location] = server
            if not keep:
                stack.callback(server.stop)
        environment = _environment(folder, servers)
        words = tuple(f"canary{host.entropy(12).hex()}" for _ in range(CANARIES))
        screen.say(f"[bold]2  Data[/]: {users:,} people in many countries, {CANARIES} canaries among them")
        _service().create(environment["SERVICE_DSN"], users=users, canaries=words)
        _programme(folder, words, host)
        with _opened(folder, Host(environment=environment), screen) as run:
            _move(run, folder, screen)
        _audit(folder, screen)
    _tell_kept(folder, servers, screen) if keep else shutil.rmtree(data, ignore_errors=True)


def _fresh(folder: Path) -> None:
    """Make the folder; one of an earlier demo is replaced, anybody else's is not."""
    if folder.exists():
        if not (folder / MARK).exists():
            raise HostFault(f"{folder} exists and no demo made it; name another with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def _service() -> Any:  # noqa: ANN401 - a module found at run time
    """The example's module, from the checkout or from the installed package."""
    here = Path(__file__).resolve()
    for place in (here.parents[1] / "examples", here.parents[3] / "examples"):
        path = place / "shortvideo" / "database.py"
        if path.exists():
            spec = importlib.util.spec_from_file_location("domicile_example_shortvideo", path)
            if spec is None or spec.loader is None:
                break
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise HostFault("the example service is not here; run the demo from a checkout: make demo")


def _environment(folder: Path, servers: dict[str, EmbeddedServer]) -> dict[str, str]:
    import psycopg  # noqa: PLC0415

    variables = {}
    for location, variable in LOCATIONS.items():
        server = servers[location]
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        variables[variable] = server.dsn(DATABASE)
    lines = "".join(f"export {name}='{value}'\n" for name, value in variables.items())
    path = folder / "demo.env"
    path.touch(mode=0o600)
    path.write_text(lines, encoding="utf-8")
    return variables


def _programme(folder: Path, canaries: tuple[str, ...], host: Host) -> None:
    """Put the example's domicile.yaml there, with approvers' keys and the canaries beside it."""
    source = Path(str(_service().__file__)).parent / "domicile.yaml"
    deadline = host.now().date() + timedelta(days=DEADLINE_DAYS)
    text = re.sub(r"deadline: \d{4}-\d\d-\d\d", f"deadline: {deadline}", source.read_text(encoding="utf-8"))
    (folder / "domicile.yaml").write_text(text, encoding="utf-8")
    (folder / "keys").mkdir()
    for name in ("operator", "monitor"):
        signer = Signer(name=name, seed=host.entropy(32))
        save_signer(folder / "keys" / f"{name}.key", signer)
        save_verifier(folder / "keys" / f"{name}.pub", signer.verifier)
    path = folder / "canaries.txt"
    path.touch(mode=0o600)
    path.write_text("\n".join(canaries) + "\n", encoding="utf-8")


@contextmanager
def _opened(folder: Path, host: Host, screen: Screen) -> Iterator[Run]:
    file = folder / "domicile.yaml"
    parsed, data = config.read(file)
    with Run.opened(Workspace(file), parsed, data, host=host, listener=screen.listener()) as run:
        yield run


def _move(run: Run, folder: Path, screen: Screen) -> None:
    screen.say("[bold]3  Plan[/] (domicile plan)")
    print_plan(screen, run.plan())
    screen.say("\n[bold]4  Move, compare, restore[/] (domicile apply)")
    _expect_waiting(run.apply, screen)
    screen.say("\n[bold]5  Approvals[/] (domicile approve): operator and monitor sign, 2 of 2")
    for name in ("operator", "monitor"):
        approve(run, folder / "keys" / f"{name}.key", name)
    screen.say("\n[bold]6  Erase, sweep, certify[/] (domicile apply --yes)")
    run.apply(yes=True)
    (folder / "trust.txt").write_text(trust_policy(run.signer.verifier, run.ledger.plan().approvals), encoding="utf-8")
    write_report(run)
    print_status(screen, read_status(run))


def _expect_waiting(step: Callable[[], None], screen: Screen) -> None:
    try:
        step()
    except Waiting as fault:
        screen.say(f"[yellow]waits[/]: {fault}")


def _audit(folder: Path, screen: Screen) -> None:
    """Run the auditor as the separate program it is, on the bundle and on one with a flipped byte."""
    bundle = folder / ".domicile" / "bundle.zip"
    screen.say("\n[bold]7  Audit[/] (domicile-audit bundle.zip --trust trust.txt), a program that shares no code")
    program = [sys.executable, "-m", "domicile_audit"]
    done = subprocess.run([*program, str(bundle), "--trust", str(folder / "trust.txt")], check=False)
    if done.returncode:
        raise HostFault("the auditor refused the demo's bundle; that is a fault, please report it")
    bent = folder / "one-byte-flipped.zip"
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bent.write_bytes(bytes(data))
    screen.say("\n… and with one byte flipped:")
    done = subprocess.run([*program, str(bent), "--trust", str(folder / "trust.txt")], check=False)
    if done.returncode != 1:
        raise HostFault("the auditor did not refuse a flipped byte; that is a fault, please report it")
    screen.say(f"\nreport: {(folder / '.domicile' / 'report.html').resolve()}")


def _tell_kept(folder: Path, servers: dict[str, EmbeddedServer], screen: Screen) -> None:
    screen.say("servers are up; in a shell:  cd " + str(folder) + " && . ./demo.env && domicile status")
    for location, server in servers.items():
        process = (server.data_directory / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]
        screen.say(f"  {location}: port {server.port}, process {process} (kill -INT stops it), {server.data_directory}")
