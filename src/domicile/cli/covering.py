"""`domicile map --coverage`: what the file reaches, by how many rows, and keys of people where nobody mapped them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from domicile.catalogue import Catalogue
from domicile.catalogue.clues import Clues, Reached
from domicile.cli.show import Screen, count, plain
from domicile.config import Config
from domicile.errors import Unclassed
from domicile.host import Host
from domicile.map import coverage
from domicile.map.coverage import Covered, Proposed
from domicile.model import Scope
from domicile.plan.resolve import resolve
from domicile.stores.postgres.counting import count_reached
from domicile.stores.postgres.searching import search
from domicile.stores.postgres.session import connect, faults


def show_coverage(screen: Screen, config: Config, catalogue: Catalogue, *, dsn: str, host: Host) -> None:
    """Count, search, and print; counts need a file that classes everything."""
    try:
        scope: Scope | None = resolve(config, catalogue)
    except Unclassed:
        scope = None
    covered = coverage.cover(config, catalogue)
    connection = connect(dsn, store=config.source)
    try:
        with faults(config.source, "count what paths reach"):
            reached = {item.dataset: item for item in count_reached(connection, scope)} if scope else {}
        with faults(config.source, "search for keys"):
            clues = search(
                connection, coverage.columns_to_search(config, catalogue),
                coverage.targets_of(config, catalogue, scope), wants=coverage.wanted(config, catalogue),
                monotonic_s=host.monotonic_s,
            )  # fmt: skip
    finally:
        connection.close()
    proposed = coverage.propose(config, clues.clues)
    _print(screen, covered, reached, clues, proposed)
    if scope is None:
        screen.say("not everything is classed, so rows are not counted: `domicile map` lists what is missing")
    screen.value(_as_json(covered, reached, clues, proposed))


def _print(
    screen: Screen, covered: tuple[Covered, ...], reached: dict[str, Reached], clues: Clues,
    proposed: tuple[Proposed, ...],
) -> None:  # fmt: skip
    screen.table(
        "what the file reaches: rows that lead to movers, to people who stay, to nobody; edges that a path follows",
        ("dataset", "rows", "movers", "stayers", "nobody", "over", "edges", "open"),
        (_row(item, reached.get(item.dataset)) for item in covered),
        right=(2, 3, 4, 7),
    )  # fmt: skip
    screen.say(
        f"{count(clues.columns)} columns of {count(clues.tables)} tables searched in {clues.seconds:.1f} s "
        f"for keys that nobody mapped: {len(proposed)} places found"
    )
    for item in proposed:
        chance = "" if item.chance is None else f", by chance {item.chance:.0%}"
        found = f"# {item.hits} of {item.sampled} sampled values are keys of {item.to}{chance}"
        if not screen.as_json:
            screen.out.print(f"{item.lines}   {found}", markup=False)
    for note in clues.notes:
        screen.say(f"not searched: {plain(note)}")


def _row(item: Covered, found: Reached | None) -> tuple[str, ...]:
    followed = f"{sum(edge.followed for edge in item.edges)} of {len(item.edges)}"
    over = "; ".join(item.paths) if item.why is None else item.why
    numbers: tuple[str, ...] = ("", "", "")
    if found is not None:
        numbers = ("too long", "", "")
        if found.rows is not None:
            numbers = (count(found.movers), count(found.stayers), count(found.nobody))
    rows = item.rows.value if item.rows else "[red]unclassed[/]"
    return (
        plain(item.dataset.partition(".")[2]),
        rows,
        *numbers,
        plain(over),
        followed,
        str(len(item.unclassed) or ""),
    )


def _as_json(
    covered: tuple[Covered, ...], reached: dict[str, Reached], clues: Clues, proposed: tuple[Proposed, ...]
) -> dict[str, Any]:
    return {
        "datasets": [
            {**asdict(item), "reached": asdict(reached[item.dataset]) if item.dataset in reached else None}
            for item in covered
        ],
        "proposed": [asdict(item) for item in proposed],
        "searched": {"tables": clues.tables, "columns": clues.columns, "seconds": round(clues.seconds, 1),
                     "notes": list(clues.notes)},
    }  # fmt: skip
