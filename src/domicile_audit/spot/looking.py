"""One drawn slice, read at its home and looked for at the source: what was seen, and what it was held against."""

from collections.abc import Mapping
from dataclasses import dataclass

from domicile_audit.spot import rows
from domicile_audit.spot.opening import Opening, Stretch, Table
from domicile_audit.spot.rows import Lines, Store
from domicile_audit.spot.sample import CHANGED, DIFFERS, GONE, LEFT, SAME, UNSEEN, Compared, Looked


@dataclass(frozen=True, slots=True)
class Stores:
    """Open sessions: of homes, of those that lend lines to a restored backup, of the source where it is looked at."""

    homes: Mapping[str, Store]
    lenders: Mapping[str, Store]
    source: Store | None
    lived_in: bool


def look(stores: Stores, opening: Opening, id_: str, logged: Compared) -> Looked:
    """One drawn slice, at its home and at the source."""
    stretch = opening.stretches.get(id_)
    table = opening.tables.get(stretch.dataset) if stretch else None
    if stretch is None or table is None or (stretch.dataset, stretch.part) != (logged.dataset, logged.home):
        raise ValueError(f"the audit key does not tell how slice {id_} was read")
    if not stretch.dataset.endswith(f".{table.spelt}"):
        raise ValueError(f"the audit key reads slice {id_} from another table, {table.spelt}")
    home, lender = stores.homes[logged.home], stores.lenders.get(logged.home)
    if lender is not None:
        rows.borrow_lines(home, lender, table, stretch)
    with home.moment() as now:
        rows.refuse_view(now, table)
        found = rows.digest(now, table, stretch, opening.key, borrowed=lender is not None)
        lines = rows.lines(now, table, stretch, borrowed=lender is not None)
        beside = rows.uncovered(now, table) if stretch.form == "whole" else ()
    same = found == (logged.rows, logged.home_digest) and not beside
    seen = SAME if same else CHANGED if stores.lived_in else DIFFERS
    told = [f"{found[0]} of {logged.rows} rows found at home, {'equal' if same else 'not equal'} to the log"]
    if beside:
        told.append(f"no digest covers home's column {', '.join(beside)}")
    if logged.erased is not None and logged.erased != (lines.deleted, lines.blanked):
        told.append("home's lines let another number of rows leave than the log")
        seen = DIFFERS
    outside = UNSEEN
    if stores.source is not None:
        outside, why = _look_outside(stores.source, opening.key, (table, stretch), logged, lines)
        told.append(why)
    return Looked(id_, logged.rows, seen, outside, "; ".join(told))


def _look_outside(
    source: Store, key: bytes, how: tuple[Table, Stretch], logged: Compared, lines: Lines
) -> tuple[str, str]:
    with source.moment() as now:
        rows.refuse_view(now, how[0])
        if logged.erased is None:
            found = rows.digest(now, *how, key, borrowed=False)
            same = found == (logged.rows, logged.source_digest)
            return (SAME if same else DIFFERS), f"{found[0]} rows at the source, not erased yet"
        left = rows.left(now, how[0], lines)
    return (LEFT if left else GONE), f"{left} of {sum(logged.erased)} erased rows stand at the source"
