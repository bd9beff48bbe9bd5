"""Commands of the map: init, map, schema, doctor."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer

from domicile import config
from domicile import map as mapper
from domicile.catalogue import Catalogue, TableName
from domicile.catalogue.samples import Samples
from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption
from domicile.cli.covering import show_coverage
from domicile.cli.show import Screen, count, plain, size
from domicile.errors import BadFile, StoreFault
from domicile.host import Host
from domicile.map import imports, within
from domicile.plan.document import PLAN_BYTES_MAX, bytes_by_home, decode_plan
from domicile.plan.resolve import missing_lines
from domicile.portal import picture
from domicile.record.workspace import Workspace
from domicile.stores.around.restic import doctor as restic
from domicile.stores.postgres.doctor import Check, examine
from domicile.stores.postgres.samples import read_kinds, read_samples
from domicile.stores.postgres.searching import search
from domicile.stores.postgres.session import connect, faults
from domicile.stores.postgres.source import PostgresSource

DIGEST_KEY_OF_NO_RUN = bytes(32)


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(init)
    app.command(name="map")(show_map)
    app.command()(schema)
    app.command()(doctor)


def init(
    dsn: Annotated[str, typer.Option(help="Where the source's connection string is: env:NAME or file:PATH.")],
    market: Annotated[
        list[str] | None, typer.Option(help="A market and its home: CA=ca. Repeat for each.", metavar="MARKET=LOCATION")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(help="The table of the data subjects, where the guess is wrong.", metavar="SCHEMA.TABLE"),
    ] = None,
    store: Annotated[str, typer.Option(help="The source's name in the file.")] = "app",
    location: Annotated[str, typer.Option(help="The name of the source's location.")] = "source",
    programme: Annotated[str, typer.Option(help="The programme's name.")] = "homecoming",
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="What else knows the edges: fides:FILE, greenmask:FILE, sqlalchemy:MODULE:METADATA, django:SETTINGS. "
            "Repeat for several; the first one that says something counts.",
            metavar="KIND:WHAT",
        ),
    ] = None,
    python: Annotated[
        str, typer.Option(help="The application's Python, for --from sqlalchemy and django.")
    ] = sys.executable,
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Read a database's catalogue and a few samples, and draft domicile.yaml for a person to finish.

    Example: APP_DSN=postgresql://… domicile init --dsn env:APP_DSN --market CA=ca --from django:shop.settings
    """
    screen = Screen(as_json=as_json)
    if file.exists():
        raise BadFile(f"{file} exists; a draft never overwrites it. Move it away, or name another with --file")
    markets = dict(_pair(text) for text in market or [])
    host = Host()
    interpreter = imports.Interpreter(python=python, environment=host.environment)
    imported = [imports.read(spec, interpreter=interpreter) for spec in sources or ()]
    secret = host.secret(dsn, base=file.resolve().parent)
    connection = connect(secret, store=store)
    try:
        source = PostgresSource(secret, key=DIGEST_KEY_OF_NO_RUN, name=store, host=host)
        catalogue = source.catalogue()
        source.close()
        if not catalogue.tables:
            raise StoreFault(f"store {store}: its database holds no tables that the role may see; check its dsn")
        people = _subject(catalogue, store, subject) if subject else None
        with faults(store, "read samples"):
            bound = imports.bind(
                imported, catalogue, read_kinds(connection, imports.kind_questions(imported, catalogue))
            )
            samples = read_samples(connection, catalogue, mapper.questions(catalogue, subject=people, bound=bound))
        frame = mapper.Frame(
            store=store, programme=programme, location=location, markets=markets, subject=people,
            places={location: mapper.Place(dsn=dsn)},
        )  # fmt: skip
        draft = mapper.draft(catalogue, samples, frame=frame, bound=bound)
        with faults(store, "search for keys"):
            draft, unread = _second_look(connection, draft, samples, bound=bound, host=host)
    finally:
        connection.close()
    file.write_text(draft.text, encoding="utf-8")
    screen.say(
        f"{plain(str(file))}: a draft of {len(catalogue.tables)} datasets; {len(draft.unsure)} things to look at:"
    )
    for doubt in draft.unsure:
        screen.out.print(f"  - {doubt}", markup=False) if not as_json else None
    for note in catalogue.notes:
        screen.out.print(f"  - not seen: {note}", markup=False) if not as_json else None
    for note in unread:
        screen.out.print(f"  - not read: {note}", markup=False) if not as_json else None
    for note in bound.notes:
        screen.out.print(f"  - not taken over: {note}", markup=False) if not as_json else None
    screen.say("Finish it, then: domicile map, domicile doctor, domicile plan")
    screen.value(
        {
            "file": str(file),
            "datasets": len(catalogue.tables),
            "unsure": list(draft.unsure),
            "not_seen": list(catalogue.notes),
            "not_read": list(unread),
            "imported_edges": len(bound.links) + len(bound.hops),
            "not_taken_over": list(bound.notes),
        }
    )


def _second_look(
    connection: psycopg.Connection[Any], draft: mapper.Draft, samples: Samples, *, bound: imports.Bound, host: Host
) -> tuple[mapper.Draft, tuple[str, ...]]:
    """Search for keys of the people that the draft names; return it with what was found, and what no path can read."""
    catalogue, frame = draft.proposal.catalogue, draft.proposal.frame
    wanted = within.sought(draft.text, draft.proposal)
    if wanted is None:
        return draft, ()
    found = search(connection, wanted.columns, wanted.targets, wants=wanted.wants, monotonic_s=host.monotonic_s)
    more = within.learned(bound, catalogue, found.clues)
    if more != bound:
        draft = mapper.draft(catalogue, samples, frame=frame, bound=more)
    return draft, (*within.unreadable(found.clues), *found.notes)


def _subject(catalogue: Catalogue, store: str, text: str) -> TableName:
    """Find the table that a person named; one that nobody can refer to by one column can't be the subject."""
    name = config.split_dataset_id(f"{store}.{text}")[1]
    table = catalogue.table(name)
    if table is None:
        raise BadFile(f"--subject {text}: the store holds no such table; write SCHEMA.TABLE, as `psql` spells it")
    if not any(len(key) == 1 for key in (table.primary_key, *table.unique_keys)):
        raise BadFile(f"--subject {text}: no single column is a unique key there; add one, by which rows name a person")
    return name


def _pair(text: str) -> tuple[str, str]:
    market, _, home = text.partition("=")
    if not market or not home:
        raise typer.BadParameter(f"{text!r}: write MARKET=LOCATION, e.g. CA=ca")
    return market, home


def show_map(
    file: FileOption = DEFAULT_FILE,
    picture_file: Annotated[
        Path | None, typer.Option("--picture", help="Write datasets, edges and classes as one HTML page.")
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(
            "--export", help="Write the rules for another tool: fides:FILE (fideslang datasets).", metavar="KIND:FILE"
        ),
    ] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Count what each path reaches; look for keys that nobody mapped.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the data map: every dataset, its disposition, its path to the person, its classes, and what is open.

    With --coverage, how many rows each path leads to movers, to people who stay and to nobody, what is not reached and
    why, and keys of people that a sampled search finds where nobody mapped them, as lines to add.

    Example: domicile map --picture map.html --export fides:datasets.yml; domicile map --coverage
    """
    screen = Screen(as_json=as_json)
    export_file = _export_file(export) if export is not None else None
    parsed, _ = config.read(file)
    host = Host()
    dsn = host.secret(parsed.databases[parsed.source].dsn, base=file.resolve().parent)
    source = PostgresSource(dsn, key=DIGEST_KEY_OF_NO_RUN, name=parsed.source, host=host)
    catalogue = source.catalogue()
    source.close()
    if coverage:
        show_coverage(screen, parsed, catalogue, dsn=dsn, host=host)
        return
    rows = mapper.table(parsed, catalogue)
    screen.table(
        f"{parsed.programme.name}: data map of {parsed.source}",
        ("dataset", "rows", "about", "size", "path to the subject", "private", "public", "open"),
        (
            (
                plain(row.dataset), row.rows.value if row.rows else "[red]unclassed[/]", count(row.rows_estimate),
                size(row.bytes), plain(row.path), str(row.fields.private), str(row.fields.public), str(row.open or ""),
            )
            for row in rows
        ),
        right=(2, 3, 5, 6, 7),
    )  # fmt: skip
    missing = list(missing_lines(parsed, catalogue))
    if missing:
        screen.say(f"\n[red]{len(missing)} things are not classed[/]; `domicile plan` refuses until they are. Add:")
        for line in missing:
            screen.out.print(line, markup=False) if not as_json else None
    if picture_file is not None:
        picture_file.write_text(picture.render(parsed, catalogue), encoding="utf-8")
        screen.say(f"picture: {plain(str(picture_file))}")
    if export_file is not None:
        export_file.write_text(imports.export_fides(parsed, catalogue), encoding="utf-8")
        screen.say(f"written: {plain(str(export_file))}")
    screen.value(
        {
            "datasets": [
                {"dataset": row.dataset, "rows": row.rows, "estimate": row.rows_estimate, "bytes": row.bytes,
                 "path": row.path, "private": row.fields.private, "public": row.fields.public, "open": row.open}
                for row in rows
            ],
            "unclassed": missing,
        }
    )  # fmt: skip


def _export_file(text: str) -> Path:
    kind, _, name = text.partition(":")
    if kind != "fides" or not name:
        raise BadFile(f"--export {text}: write fides:FILE")
    path = Path(name)
    if path.exists():
        raise BadFile(f"{path} exists; an export never overwrites it. Move it away, or name another")
    return path


def schema() -> None:
    """Print the JSON Schema of domicile.yaml.

    Example: domicile schema > domicile.schema.json
    """
    typer.echo(json.dumps(config.schema(), indent=1))


def doctor(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Check connections, programs, rights, room and homes, and say what can't be done or seen without which.

    Example: domicile doctor
    """
    screen = Screen(as_json=as_json)
    parsed, _ = config.read(file)
    host, base = Host(), file.resolve().parent
    checks: list[Check] = [*examine(parsed, host, base, _planned(Workspace(file))), *restic.examine(parsed, host, base)]
    signs = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]?[/]"}
    screen.table(
        "rights, room and reach", ("store", "", "what", "needed for", "to do"),
        (
            (check.store, signs[check.holds], plain(check.what), check.needed_for, plain(check.remedy))
            for check in checks
        ),
    )  # fmt: skip
    stops = [check for check in checks if check.holds is False]
    screen.value(
        [
            {"store": c.store, "what": c.what, "holds": c.holds, "needed_for": c.needed_for, "remedy": c.remedy}
            for c in checks
        ]
    )
    if stops:
        screen.say(f"[red]{len(stops)} things are missing[/]; a run would stop there")
        raise typer.Exit(1)
    unseen = any(check.holds is None for check in checks)
    screen.say(
        "[green]ready[/]"
        + ("; a ? can't be seen from here, and the verdict of a copy that depends on it is unknown" if unseen else "")
    )


def _planned(workspace: Workspace) -> dict[str, int]:
    """Bytes for each location, when there is a plan."""
    if not workspace.plan.exists():
        return {}
    return bytes_by_home(decode_plan(workspace.read(workspace.plan, bytes_max=PLAN_BYTES_MAX, remedy="plan again")))
