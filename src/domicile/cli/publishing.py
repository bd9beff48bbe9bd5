"""Commands of publishing: what is public goes on being seen at every location. See docs/publishing.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from domicile import config as configuration
from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption
from domicile.cli.show import Screen, count, plain, size
from domicile.config import Config
from domicile.config.policy import PublicRule
from domicile.errors import Different
from domicile.host import Host
from domicile.plan.resolve import resolve
from domicile.publish import Checked, Publishing, decide, judge
from domicile.stores.postgres.publishing import Server, drop_publishing, make_publishing, observe, sight
from domicile.stores.postgres.session import connect, faults
from domicile.stores.postgres.source import PostgresSource

YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without, say what would be done.")]
BringOption = Annotated[
    bool, typer.Option("--bring", help="Let new subscriptions bring the rows that their receivers have not.")
]
publish = typer.Typer(no_args_is_help=True, help="Keep what is public visible at every location.")


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    for command in (plan, apply, check, drop):
        publish.command()(command)
    app.add_typer(publish, name="publish")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """What the file wants, and a session at each location."""

    publishing: Publishing
    servers: dict[str, Server]


@contextmanager
def _opened(file: Path) -> Iterator[_Open]:
    config, _ = configuration.read(file)
    host = Host()
    stores = {config.stores[config.source].location: config.source, **config.home_stores}
    with ExitStack() as stack:
        servers = {}
        for location, store in stores.items():
            session = connect(host.secret(config.databases[store].dsn, base=file.parent), store=store)
            stack.callback(session.close)
            reached_by = _reached_by(config, location, host, file.parent)
            servers[location] = Server(connection=session, store=store, reached_by=reached_by)
        yield _Open(publishing=_decided(config, servers, host, file.parent), servers=servers)


def _reached_by(config: Config, location: str, host: Host, base: Path) -> str | None:
    reference = (config.policy.public or PublicRule()).connections.get(location)
    return host.secret(reference, base=base) if reference else None


def _decided(config: Config, servers: dict[str, Server], host: Host, base: Path) -> Publishing:
    dsn = host.secret(config.databases[config.source].dsn, base=base)
    source = PostgresSource(dsn, key=b"", name=config.source, host=host)
    try:
        scope = resolve(config, source.catalogue())
    finally:
        source.close()
    sights = {}
    for location, server in servers.items():
        with faults(server.store, "look at its tables"):
            sights[location] = sight(server.connection, scope)
    return decide(scope, config, sights)


def plan(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Say what would cross between the locations, by which columns, and what stands against it.

    Writes nothing to any store. Example: domicile publish plan
    """
    screen = Screen(as_json=as_json)
    with _opened(file) as opened:
        _print_plan(screen, opened.publishing)
        screen.value(_plan_json(opened.publishing))


def apply(
    file: FileOption = DEFAULT_FILE, yes: YesOption = False, bring: BringOption = False, as_json: JsonOption = False
) -> None:
    """Make publications, slots and subscriptions as planned, and mend those that somebody altered.

    Makes nothing without --yes. Example: domicile publish apply --yes
    """
    screen = Screen(as_json=as_json)
    with _opened(file) as opened:
        if not yes:
            _print_plan(screen, opened.publishing)
            screen.say("nothing was made; with --yes it is")
            screen.value({"made": [], **_plan_json(opened.publishing)})
            return
        made = make_publishing(opened.publishing, opened.servers, bring=bring)
        for line in made:
            screen.say(f"made: {plain(line)}")
        screen.say(f"{count(len(opened.publishing.tables))} datasets are published; next: domicile publish check")
        screen.value({"made": list(made), **_plan_json(opened.publishing)})


def check(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Hold what the servers publish and read against the file: private columns, loops, errors, lag, strange readers.

    Ends with 1 when something is red. Writes nothing. Example: domicile publish check
    """
    screen = Screen(as_json=as_json)
    with _opened(file) as opened:
        seen = {}
        for location, server in opened.servers.items():
            with faults(server.store, "look at what is published"):
                seen[location] = observe(server.connection, opened.publishing)
        checked = judge(opened.publishing, seen)
    _print_check(screen, opened.publishing, checked)
    screen.value(
        {
            "red": checked.red,
            "lag_bytes": dict(checked.lag_bytes),
            "remarks": [asdict(remark) for remark in checked.remarks],
        }
    )
    if checked.red and as_json:
        raise typer.Exit(Different.exit_code)
    if checked.red:
        raise Different("what is published is not what the file says; the red lines tell what to do")


def drop(file: FileOption = DEFAULT_FILE, yes: YesOption = False, as_json: JsonOption = False) -> None:
    """Take publications, slots, subscriptions and triggers away; rows that arrived stay.

    Takes nothing without --yes. Example: domicile publish drop --yes
    """
    screen = Screen(as_json=as_json)
    with _opened(file) as opened:
        if not yes:
            for crossing in opened.publishing.crossings:
                screen.say(f"would end: {plain(crossing.publisher)} → {plain(crossing.receiver)}")
            screen.say("nothing was taken away; with --yes it is")
            screen.value({"gone": []})
            return
        gone = drop_publishing(opened.publishing, opened.servers, pause=Host().pause)
    for line in gone:
        screen.say(f"gone: {plain(line)}")
    screen.say(f"{count(len(gone))} things taken away")
    screen.value({"gone": list(gone)})


# -- what is shown ----------------------------------------------------------------------------------------------------


def _print_plan(screen: Screen, publishing: Publishing) -> None:
    screen.table(
        f"what is seen at {', '.join(publishing.locations)}",
        ("dataset", "columns that cross", "stay where they are", "rows", "deletions"),
        (
            (
                plain(table.dataset.partition(".")[2]), plain(", ".join(table.columns)),
                plain(", ".join(table.kept_back)), plain(table.where or "all"), "cross" if table.deletes else "stay",
            )
            for table in publishing.tables
        ),
    )  # fmt: skip
    for found in publishing.findings:
        remedy = f"; {found.remedy}" if found.remedy else ""
        screen.say(f"{'[red]no[/]  ' if found.remedy else 'note'} {plain(found.where)}: {plain(found.text + remedy)}")
    undecided = len(publishing.undecided())
    screen.say(
        f"{count(undecided)} things stand against it"
        if undecided
        else f"{count(len(publishing.crossings))} subscriptions would carry it; next: domicile publish apply --yes"
    )


def _plan_json(publishing: Publishing) -> dict[str, Any]:
    return {
        "tables": [
            {
                "dataset": table.dataset, "columns": list(table.columns), "kept_back": list(table.kept_back),
                "where": table.where, "deletes": table.deletes,
            }
            for table in publishing.tables
        ],
        "crossings": [asdict(crossing) for crossing in publishing.crossings],
        "findings": [
            {"kind": found.kind, "where": found.where, "text": found.text, "remedy": found.remedy}
            for found in publishing.findings
        ],
    }  # fmt: skip


def _print_check(screen: Screen, publishing: Publishing, checked: Checked) -> None:
    lags = checked.lag_bytes
    screen.table(
        "what crosses", ("from", "to", "behind"),
        (
            (plain(item.publisher), plain(item.receiver), "—" if (lag := lags[item.name]) is None else size(lag))
            for item in publishing.crossings
        ),
        right=(2,),
    )  # fmt: skip
    for remark in checked.remarks:
        sign = "[red]red [/]" if remark.red else "late"
        place = f"{remark.location} " if remark.location else ""
        screen.say(f"{sign} {plain(f'{place}{remark.where}: {remark.text}; {remark.remedy}')}")
    if not checked.remarks:
        screen.say("all as the file says")
