"""Commands of the move: plan, apply, status, verify, approve, erase, sweep, certify, abandon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from domicile import erase as erasing
from domicile import verify as verifying
from domicile.approving import approve as sign_approval
from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, SecretOption, opened
from domicile.cli.reporting import write_report
from domicile.cli.show import Screen, count, plain, size, verdict
from domicile.errors import NotEqual, Refused
from domicile.evidence.predicates import ErasurePredicate
from domicile.model import Finding
from domicile.plan.document import Plan
from domicile.plan.silencing import Silenced
from domicile.proof import Equality, Verdict
from domicile.run import Run, Stage
from domicile.status import Status, read_status

KEYS_SHOWN = 20
DIGESTS_SHOWN = 3
THINGS_SHOWN = 8


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    for command in (plan, apply, transfer, status, verify, approve, erase, sweep, certify, abandon):
        app.command()(command)


def plan(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Count what would move and be erased, list every copy and every decision, and save it for people to sign.

    Writes nothing to any store. Example: domicile plan
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        made = run.plan()
        path = run.workspace.plan
    print_plan(screen, made)
    screen.say(f"\nsaved: {plain(str(path))}   next: domicile apply")
    screen.value(
        {
            "plan": str(path),
            "subjects": made.subjects,
            "slices": made.slices,
            "copies": len(made.copies),
            "derived": [{"dataset": item.id, "of": list(item.of), "outside": item.outside} for item in made.derived],
            "silenced": [
                {"dataset": item.dataset, "would": item.would.value, "name": item.name, "touches": item.touches}
                for item in made.silenced
            ],
            "findings": [_finding_json(found) for found in made.findings],
        }
    )


def print_plan(screen: Screen, made: Plan) -> None:
    """Print a plan the way people sign it."""
    homes = ", ".join(f"{market} → {home}" for market, home in made.homes.items())
    people = ", ".join(f"{count(number)} to {home}" for home, number in made.subjects.items())
    screen.say(f"[bold]{made.programme}[/]: {homes}; subjects: {people}")
    homes_in_order = tuple(dict.fromkeys(made.homes.values()))
    screen.table(
        "rows that go home, and what becomes of them at the source",
        ("dataset", *(f"to {home}" for home in homes_in_order), "deleted", "blanked", "kept by rule", "supporting"),
        _moving_rows(made, homes_in_order), right=tuple(range(1, len(homes_in_order) + 5)),
    )  # fmt: skip
    _print_derived(screen, made)
    _print_silenced(screen, made)
    _print_findings(screen, made.findings)
    screen.table(
        f"{len(made.copies)} copies outside home, and what empties each", ("kind", "copies", "method"),
        ((kind, count(number), method) for (kind, method), number in _kinds(made).items()),
        right=(1,),
    )  # fmt: skip
    _print_things(screen, made)
    cast = made.forecast
    fits = {True: "[green]before the deadline[/]", False: "[red]AFTER the deadline[/]", None: "no deadline given"}
    screen.say(
        f"forecast: {size(cast.bytes)} in {cast.passes} passes at {size(cast.rate_bytes_s)}/s, "
        f"{count(made.slices)} slices and {count(len(made.copies))} copies: about "
        f"{count(cast.seconds)} s, done {cast.ends_at:%Y-%m-%d %H:%M} UTC, {fits[cast.fits]}"
    )
    screen.say(f"approvals before anything is erased: {made.approvals_threshold} of {', '.join(made.approvers)}")


def _moving_rows(made: Plan, homes: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """One line a dataset: its whole rows for each home, then what becomes of them, all homes together."""
    for dataset in dict.fromkeys(tally.dataset for tally in made.tallies):
        mine = {str(tally.home): tally for tally in made.tallies if tally.dataset == dataset}
        if not any(tally.whole or tally.supporting for tally in mine.values()):
            continue
        sums = (
            sum(getattr(tally, name) for tally in mine.values()) for name in ("delete", "blank", "kept", "supporting")
        )
        whole = (count(mine[home].whole) for home in homes)
        yield (plain(dataset.removeprefix(f"{made.source}.")), *whole, *(count(number) for number in sums))


def _print_derived(screen: Screen, made: Plan) -> None:
    """What is computed, and is made anew: rows of people who stay go with a table that is emptied."""
    for item in made.derived:
        rows = f"about {count(item.rows_estimate)} rows of all people"
        what = f"EMPTIED as the erasure begins, {rows}: a job fills it again"
        if item.outside == "refreshed":
            what = "refreshed after the erasure"
        screen.say(f"  derived        {plain(item.id.removeprefix(f'{made.source}.'))}: {what}; at home made anew")


def _print_silenced(screen: Screen, made: Plan) -> None:
    """What the schema would do by itself while rows go: kinds and how many, the first of each by name."""
    by_kind: dict[str, list[Silenced]] = {}
    for item in made.silenced:
        by_kind.setdefault(item.would.value, []).append(item)
    if by_kind:
        screen.table(
            "kept silent while rows are erased; all of them with --json",
            ("would", "how many", "for example"),
            ((would, count(len(items)), plain(_example_of(items[0], made))) for would, items in by_kind.items()),
            right=(1,),
        )


def _example_of(item: Silenced, made: Plan) -> str:
    return f"{item.name} of {item.dataset.removeprefix(f'{made.source}.')}: {item.touches}"


def _kinds(made: Plan) -> Counter[tuple[str, str]]:
    return Counter((copy.kind, copy.method) for copy in made.copies)


def _print_things(screen: Screen, made: Plan) -> None:
    """Name each dump, base backup and snapshot around the source: whoever signs has to know what goes."""
    by_store: dict[str, list[str]] = {}
    for copy in made.copies:
        own = copy.id.removeprefix(f"{copy.store}/")
        if own.startswith(("dump:", "base-backup:", "snapshot:")):
            by_store.setdefault(copy.store, []).append(own.partition(":")[2])
    for store, names in by_store.items():
        more = f" and {len(names) - THINGS_SHOWN} more (all in plan.json)" if len(names) > THINGS_SHOWN else ""
        screen.say(f"  in {store}: {plain(', '.join(names[:THINGS_SHOWN]))}{more}")


def _print_findings(screen: Screen, findings: tuple[Finding, ...]) -> None:
    if findings:
        screen.say("[bold]found, counted, decided[/]")
    for found in findings:
        screen.say(f"  {found.kind:<14} {plain(found.text)}")
        rule = f"[green]{plain(found.rule)}[/]" if found.rule else "[red]no rule[/]"
        screen.say(f"  {'':<14} in {plain(found.where)}; rule: {rule}")
        if found.keys:
            more = f" … ({len(found.keys)} with --json)" if len(found.keys) > DIGESTS_SHOWN else ""
            digests = " ".join(found.keys[:DIGESTS_SHOWN])
            screen.say(f"  {'':<14} why: domicile explain {plain(found.dataset)} --digest {digests}{more}")
    screen.say("")


def _finding_json(found: Finding) -> dict[str, Any]:
    return {
        "kind": found.kind, "where": found.where, "count": found.count, "rule": found.rule, "dataset": found.dataset,
        "digests": list(found.keys),
    }  # fmt: skip


def apply(
    file: FileOption = DEFAULT_FILE,
    until: Annotated[Stage, typer.Option(help="Stop after this stage.")] = Stage.CERTIFY,
    yes: Annotated[bool, typer.Option("--yes", help="Erase what is cleared. Without it, nothing is erased.")] = False,
    close: Annotated[
        bool, typer.Option("--close", help="With `cutover:` in the file: everybody is at home, so compare and end it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Do the plan, stage by stage; stop where a person has to decide. Killed anywhere, it goes on when called again.

    Example: domicile apply --until verify; domicile apply --yes
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        run.apply(until=until, yes=yes, close=close)
        write_report(run)
        state = read_status(run)
    print_status(screen, state)
    screen.value(state.as_json())


def status(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Say where the run is, what it waits for, and the verdict of every copy.

    Example: domicile status --json
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        state = read_status(run)
    print_status(screen, state)
    screen.value(state.as_json())


def print_status(screen: Screen, state: Status) -> None:
    """Print where the run is."""
    for line in state.lines:
        screen.say(plain(line))
    if state.verdicts:
        clean = [item for item in state.verdicts if item.verdict is Verdict.ERASED_VERIFIED]
        screen.say(f"{verdict(Verdict.ERASED_VERIFIED)}: {len(clean)} of {len(state.verdicts)} copies; all others:")
        screen.table(
            "copies that are not erased and verified", ("copy", "verdict", "why"),
            ((plain(item.id), verdict(item.verdict), plain(item.why)) for item in state.verdicts if item not in clean),
        )  # fmt: skip
    if state.verdict is not None:
        screen.say(f"certificate: {verdict(state.verdict)} (the worst of all copies)")
    screen.say(f"next: {plain(state.next)}")


def verify(
    file: FileOption = DEFAULT_FILE,
    repair: Annotated[bool, typer.Option("--repair", help="Copy differing slices again, remove strays.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read source and home again and compare; name the keys that differ, here and nowhere else.

    Example: domicile verify --repair
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        if run.live is not None:
            raise Refused(
                "people move while everybody writes: each cohort is compared before and under its fence, and all of it "
                "as `domicile apply --close` ends the move; there is nothing to compare in between"
            )
        scope, manifest = run.under_way()
        equality = run.clearing.compare(scope, manifest)
        if repair and not equality.holds:
            began = run.last(ErasurePredicate) is not None
            done = verifying.repair(run.source, run.homes, scope, equality, home_lives=began)
            if began and any(number for _, _, number in equality.strays):
                screen.say(
                    "strays are left alone: an erasure began, so home is the only place of what is written there"
                )
            screen.say(f"repaired: {done.slices} slices copied again, {done.strays} strays removed")
            equality = run.clearing.compare(scope, manifest)
    _print_equality(screen, equality)
    screen.value(_equality_json(equality))
    if not equality.clears:
        if as_json:  # the one value on standard output is already there
            raise typer.Exit(NotEqual.exit_code)
        raise NotEqual("source and home differ; nothing is erased while they do. `domicile verify --repair` mends it")


def _print_equality(screen: Screen, equality: Equality) -> None:
    private, drifted = equality.private, equality.drifted
    differing = [pair for pair in private if not pair.equal]
    screen.say(
        f"{len(private)} private slices, {count(sum(pair.source.rows for pair in private))} rows: "
        + (f"[red]{len(differing)} differ[/]" if differing else "[green]all equal[/]")
    )
    if drifted:
        screen.say(f"{len(drifted)} slices of public and supporting rows changed since they were copied")
    for found in equality.differences[:KEYS_SHOWN]:
        screen.out.print(f"  {found.kind} {found.dataset} at {found.home}: {', '.join(found.key)}", markup=False) if (
            not screen.as_json
        ) else None
    if len(equality.differences) > KEYS_SHOWN:
        screen.say(f"  … and {len(equality.differences) - KEYS_SHOWN} more (--json names up to 1,000)")


def _equality_json(equality: Equality) -> dict[str, Any]:
    return {
        "equal": equality.clears,
        "fenced": equality.fenced,
        "position": equality.position,
        "slices": len(equality.pairs),
        "rows": sum(pair.source.rows for pair in equality.pairs),
        "drifted": [pair.slice.id for pair in equality.drifted],
        "strays": {f"{dataset}/{home}": number for dataset, home, number in equality.strays if number},
        "differences": [
            {"dataset": d.dataset, "home": d.home, "kind": d.kind, "key": list(d.key)} for d in equality.differences
        ],
    }


def approve(
    key: Annotated[str, typer.Option(help="The approver's secret key: a file of `domicile keys new`, or a URI.")],
    role: Annotated[str, typer.Option(help="In which role you sign.")] = "approver",
    root: Annotated[
        str | None,
        typer.Option(help="The root of the log that you checked, or its first 16 digits: sign that log and no other."),
    ] = None,
    secret: SecretOption = None,
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Sign the erasure of exactly this plan and this equality, and leave the signature for `apply`.

    A key may lie in a token or a service: name it by its URI, and its pin by reference (docs/keys.md).

    Example: domicile approve --key operator.key --role operator
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        given = sign_approval(run, key, role, secret=secret, seen=root)
    screen.say(
        f"{given.approver} approved the erasure under equality {given.equality[:16]}…, in the log of {given.stands} "
        f"statements with root {given.root[:16]}… ({given.given} of {given.threshold} needed)"
    )
    screen.value({"approver": given.approver, "equality": given.equality, "stands": given.stands, "root": given.root,
                  "given": given.given, "threshold": given.threshold})  # fmt: skip


def erase(
    file: FileOption = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", help="Really erase. Without it this is a dry run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what would be erased; with --yes erase it, once it is cleared. The rest of `apply` follows later.

    Example: domicile erase; domicile erase --yes
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        rows, emptied, logs = _would_erase(run)
        screen.table(
            "would be erased" if not yes else "to erase", ("dataset", "home", "deleted", "blanked"),
            ((plain(name), home, count(deleted), count(blanked)) for name, home, deleted, blanked in rows),
            right=(2, 3),
        )  # fmt: skip
        for name in emptied:
            screen.say(f"  {plain(name)}: emptied, of all people; it is derived, and a job fills it again")
        for copy, names in logs.items():
            first = f", first {plain(names[0])}" if names else ""
            screen.say(f"  {copy}: old log files go after the treatment, with --yes; now {len(names)}{first}")
        if yes:
            run.apply(until=Stage.ERASE, yes=True)
    screen.value({"erased": yes, "emptied": emptied, "logs": logs, "rows": [
        {"dataset": name, "home": home, "delete": deleted, "blank": blanked} for name, home, deleted, blanked in rows
    ]})  # fmt: skip
    if not yes:
        screen.say("dry run: nothing was erased; add --yes")


def _would_erase(run: Run) -> tuple[list[tuple[str, str, int, int]], list[str], dict[str, list[str]]]:
    """Rows of each dataset and home, versions of each object store, the tables that are emptied, old log files."""
    scope, manifest = run.under_way()
    rows = [
        (str(name), str(home), sum(piece.delete for piece in group), sum(piece.blank for piece in group))
        for name, home, group in (*erasing.order(scope, manifest.slices), *run.objects.leaving())
    ]
    logs = {copy: list(names) for copy, names in run.logs_leaving(scope).items()}
    return rows, [str(item.id) for item in scope.derived if not item.view], logs


def transfer(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Stand the fence, freeze the closure, and bring every row home; the same as `apply --until transfer`.

    Example: domicile transfer
    """
    _go_on(file, Stage.TRANSFER, as_json=as_json)


def sweep(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Empty the horizon after the erase, and search every copy for what should be gone.

    Example: domicile sweep
    """
    _go_on(file, Stage.SWEEP, as_json=as_json)


def certify(file: FileOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """Roll the verdicts up into a certificate; write the bundle for the auditor and the report.

    What still lies in a folder around the source isn't waited for, as `apply` does: it is certified as `present`.

    Example: domicile certify; domicile-audit .domicile/bundle.zip --trust trust.txt
    """
    _go_on(file, Stage.CERTIFY, as_json=as_json)


def _go_on(file: Path, until: Stage, *, as_json: bool) -> None:
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        run.apply(until=until, as_it_is=until is Stage.CERTIFY)
        write_report(run)
        state = read_status(run)
    print_status(screen, state)
    screen.value(state.as_json())


def abandon(
    file: FileOption = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", help="Really give the run up.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Give up a run of which nothing is erased yet: take fence and staging away. The homes stay for you to empty.

    Example: domicile abandon --yes
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        done, folder = yes and run.abandon(), run.workspace.folder
    if not yes:
        screen.say("dry run: nothing was given up; add --yes")
    elif done:
        screen.say("given up: the fence is gone, the source is as it was")
        screen.say(f"to begin another run: empty the homes, move {plain(str(folder))} away, then domicile plan")
    else:
        screen.say("nothing is under way at the source, so nothing was given up")
    screen.value({"abandoned": done})
