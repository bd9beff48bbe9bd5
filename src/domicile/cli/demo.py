"""`domicile demo`: the reference service on this machine, in use, while its people are moved home; then the rest."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import psycopg
import typer
from rich.markup import escape

from domicile import config
from domicile.approving import approve
from domicile.cli.demo_backups import STANDBY, around_lines, backed_words, tell_repository
from domicile.cli.demo_service import LOCATIONS, Seen, example, in_use, serving
from domicile.cli.moving import print_plan, print_status
from domicile.cli.reporting import write_report
from domicile.cli.show import Screen, count
from domicile.cutover.cohorts import Way, waits
from domicile.errors import HostFault, Refused, Waiting
from domicile.evidence.bundle import trust_policy
from domicile.evidence.keys import Signer, save_signer, save_verifier
from domicile.host import Host
from domicile.record.felt import Felt, write_felt
from domicile.record.workspace import Workspace
from domicile.run import Run, Stage
from domicile.run.live import Live
from domicile.status import read_status

CANARIES: Final = 80
DEADLINE_DAYS: Final = 45
MARK: Final = "made-by-domicile-demo"
RECEIPT: Final = "receipt.tlog-proof"
FIRST_HOME: Final = 8
GROW: Final = (0.01, 0.05, 0.1, 0.2)
NICE: Final = 4.0
"""The service, its traffic and the engine share one machine here."""
FILES: Final = ("SERVICE_S3_ENDPOINT", "SERVICE_S3_KEY", "SERVICE_S3_SECRET")
SETTLE_S: Final = 4.0
"""Sessions and caches are cold when people come; that is no measure of anything."""
WATCHED_S: Final = 12.0
"""So long people are watched before anything begins, and again when all is over."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    folder: Annotated[Path, typer.Option(help="Where file, evidence and report go.")] = Path("domicile-demo"),
    users: Annotated[int, typer.Option(min=100, help="How many people have an account; about 50 rows each.")] = 3_000,
    people: Annotated[int, typer.Option(help="How many of them are there and do something.")] = 150,
    rate: Annotated[float, typer.Option(help="Requests a second that they make.")] = 40.0,
    watched: Annotated[float, typer.Option(help="Seconds that they are watched before and after.")] = WATCHED_S,
    nice: Annotated[float, typer.Option(min=0, max=100, help="Seconds of rest for each that the engine works.")] = NICE,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service up afterwards, until Ctrl-C.")] = False,
) -> None:
    """Move four markets of a short-video service home while people use it, erase them at the source, have it audited.

    Example: domicile demo --keep
    """
    screen, host = Screen(as_json=False), Host()
    _fresh(folder)
    words = tuple(f"canary{host.entropy(12).hex()}" for _ in range(CANARIES))
    screen.say(
        "[bold]1  Service[/]: Singapore is the source; homes in the US, Canada and Australia; "
        f"{count(users)} people in many countries, {CANARIES} canaries among them"
    )
    with serving(folder, users=users, canaries=words) as stack:
        screen.say(f"   {stack.url} is up; {people} people come, {rate:.0f} requests a second")
        screen.say(f"   {backed_words(stack.backups)}")
        around = around_lines(stack.backups) + _objects({place: bucket.name for place, bucket in stack.buckets.items()})
        _programme(folder, words, host, around=around, cutover=_cutover(stack.dsns["sg"], nice))
        files = stack.buckets["sg"]
        environment = {variable: stack.dsns[location] for location, variable in LOCATIONS.items()}
        environment[STANDBY] = stack.standby
        environment |= dict(zip(FILES, (files.endpoint, files.key, files.secret), strict=True))
        with _opened(folder, Host(environment=environment), screen) as run:
            with in_use(stack, folder, people=people, rate=rate) as seen:
                host.pause(SETTLE_S)
                seen.now("before")
                host.pause(watched)
                _move(run, folder, screen, seen, stack.backups)
                seen.now("after")
                host.pause(watched)
            felt = seen.felt()
            write_felt(run.workspace, felt)
            write_report(run)
            _write_receipt(run, folder)
            _tell_felt(screen, felt, run.live)
            _tell_errors(screen, seen.errors)
        found, things = seen.check()
        _tell_kept_promises(screen, found, things)
        _audit(folder, screen)
        if keep:
            screen.say(f"\n{stack.url} stays up; Ctrl-C stops it. In a shell: cd {folder} && . ./service/service.env")
            _until_interrupted(host)


def _fresh(folder: Path) -> None:
    """Make the folder; one of an earlier demo is replaced, anybody else's is not."""
    if folder.exists():
        if not (folder / MARK).exists():
            raise HostFault(f"{folder} exists and no demo made it; name another with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def _cutover(dsn: str, nice: float) -> str:
    """The file's section: some people of whom somebody knows go first, then cohorts that grow; nothing stops for us."""
    query = "SELECT id FROM app.users WHERE email LIKE '%%canary%%' AND country IS NOT NULL ORDER BY id LIMIT %s"
    with psycopg.connect(dsn) as connection:
        first = [str(row[0]) for row in connection.execute(query, [FIRST_HOME])]
    canaries = f"canaries: {first}, " if first else ""
    return f"\ncutover: {{{canaries}grow: {list(GROW)}, pause: never, wait_s_max: 10, nice_ratio: {nice:g}}}\n"


def _objects(buckets: Mapping[str, str]) -> str:
    """The buckets: people's drafts lie in that of their home; what is published is served from the source's."""
    where = "endpoint: env:{}, key_id: env:{}, secret: env:{}".format(*FILES)
    lines = [f"  files: {{kind: s3, location: sg, bucket: {buckets['sg']}, {where}, objects: ["]
    lines += [
        '    {pattern: "u/{subject}/*", disposition: move},',
        '    {disposition: none, reason: "published: everybody sees it, and it is served from here"}]}',
        *(
            f"  files-{place}: {{kind: s3, location: {place}, bucket: {name}, {where}, home_of: files}}"
            for place, name in buckets.items()
            if place != "sg"
        ),
    ]
    return "\n".join(lines) + "\n"


def _programme(folder: Path, canaries: tuple[str, ...], host: Host, *, around: str = "", cutover: str = "") -> None:
    """Put the example's domicile.yaml there, with approvers' keys and the canaries beside it."""
    source = Path(str(example("stack").__file__)).parent / "domicile.yaml"
    deadline = host.now().date() + timedelta(days=DEADLINE_DAYS)
    text = re.sub(r"deadline: \d{4}-\d\d-\d\d", f"deadline: {deadline}", source.read_text(encoding="utf-8"))
    text = text.replace("stores:\n", f"stores:\n{around}", 1)
    (folder / "domicile.yaml").write_text(text + cutover, encoding="utf-8")
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


def _move(run: Run, folder: Path, screen: Screen, seen: Seen, beside: Any) -> None:  # noqa: ANN401 - the example's
    """All stages, each told to the traffic, which keeps apart what people feel."""
    screen.say("\n[bold]2  Plan[/] (domicile plan)")
    seen.now("plan")
    print_plan(screen, run.plan())
    screen.say("\n[bold]3  Copy[/] while everybody writes (domicile apply --until transfer)")
    seen.now("copy")
    run.apply(until=Stage.TRANSFER)
    screen.say("\n[bold]4  Cohorts go home[/], one after the other; others don't wait (domicile apply --until cutover)")
    seen.now("cut-over")
    run.apply(until=Stage.CUTOVER)
    screen.say("\n[bold]5  Close[/]: compare both sides, prove a restore (domicile apply --close)")
    seen.now("close")
    _expect_waiting(lambda: run.apply(close=True), screen)
    screen.say("\n[bold]6  Approvals[/] (domicile approve): operator and monitor sign, 2 of 2")
    for name in ("operator", "monitor"):
        approve(run, folder / "keys" / f"{name}.key", name)
    screen.say("\n[bold]7  Erase, sweep, certify[/] while homes live (domicile apply --close --yes)")
    seen.now("erase")
    run.apply(close=True, yes=True)
    (folder / "trust.txt").write_text(trust_policy(run.signer.verifier, run.ledger.approvers()), encoding="utf-8")
    write_report(run)
    state = read_status(run)
    print_status(screen, state)
    tell_repository(screen, state.verdicts, beside)


def _write_receipt(run: Run, folder: Path) -> None:
    """The receipt of one of those who went first."""
    for key in run.config.cutover.canaries[:1] if run.config.cutover else ():
        with suppress(Refused):  # somebody who stays has none
            (folder / RECEIPT).write_bytes(run.receipt(key))


def _expect_waiting(step: Callable[[], None], screen: Screen) -> None:
    try:
        step()
    except Waiting as fault:
        screen.say(f"[yellow]waits[/]: {fault}")


def _tell_felt(screen: Screen, felt: Felt, live: Live | None) -> None:
    """What people felt, phase by phase, and how long who went home waited."""
    screen.say("\n[bold]8  What people felt[/]")
    screen.table(
        "",
        ("while", "requests", "p50 ms", "p95 ms", "p99 ms", "errors", "writes p50", "to come again", "lasted s"),
        (
            (
                phase.name, count(phase.requests), f"{phase.p50_ms:.1f}", f"{phase.p95_ms:.1f}", f"{phase.p99_ms:.1f}",
                count(phase.errors), f"{phase.writes_p50_ms or 0:.1f}", count(phase.refused_for_a_moment),
                f"{phase.seconds:.0f}",
            )
            for phase in felt.phases
        ),
        right=range(1, 9),
    )  # fmt: skip
    cohorts = live.moving.cohorts() if live is not None else ()
    waited = waits(cohorts)
    if waited is not None:
        gone = [cohort for cohort in cohorts if cohort.way is Way.HOME]
        screen.say(
            f"   {count(sum(cohort.people for cohort in gone))} people went home in {len(gone)} cohorts, and could "
            f"write nothing meanwhile: half of them for at most {waited.p50} ms, 99 % {waited.p99} ms, "
            f"the longest {waited.max} ms"
        )
    if felt.held is not None and felt.held.requests:
        screen.say(
            f"   {count(felt.held.requests)} requests of theirs were held meanwhile: half of them for at most "
            f"{felt.held.p50_ms:.0f} ms, 99 % {felt.held.p99_ms:.0f} ms, the longest {felt.held.max_ms:.0f} ms"
        )


def _tell_errors(screen: Screen, errors: dict[str, int]) -> None:
    """What people were told instead of an answer, in the service's own words."""
    for words, times in errors.items():
        screen.say(f"   {count(times)} times: {escape(words)}")


def _tell_kept_promises(screen: Screen, found: list[Any], things: int) -> None:
    if found:
        shown = "\n".join(f"{one.fault}: {one.words}" for one in found[:10])
        raise HostFault(f"of {things} things that people were promised {len(found)} are not so:\n{shown}")
    screen.say(
        f"   {count(things)} things that people were promised while they were watched: all there, once, in their place"
    )


def _until_interrupted(host: Host) -> None:
    try:
        while True:
            host.pause(1.0)
    except KeyboardInterrupt:
        return


def _audit(folder: Path, screen: Screen) -> None:
    """Run the auditor as the separate program it is, on the bundle and on one with a flipped byte."""
    bundle = folder / ".domicile" / "bundle.zip"
    screen.say("\n[bold]9  Audit[/] (domicile-audit bundle.zip --trust trust.txt), a program that shares no code")
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
    if (folder / RECEIPT).exists():
        screen.say(
            f"\n[bold]10  A person's receipt[/] (domicile subject receipt KEY; domicile-audit receipt {RECEIPT})"
        )
        subprocess.run([*program, "receipt", str(folder / RECEIPT), "--trust", str(folder / "trust.txt")], check=False)
    screen.say(f"\nreport: {(folder / '.domicile' / 'report.html').resolve()}")
