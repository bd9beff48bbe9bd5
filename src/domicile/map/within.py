"""References that stand within columns, as a draft learns them: what to look for, and what the finds add to it.

A second look at the database, once the first draft says who the people are: their keys are sought in json, arrays, text
and columns whose names say nothing. `map --coverage` makes the same search of a finished file (docs/explain.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from domicile.catalogue import Catalogue, Column, Table, TableName
from domicile.catalogue.clues import Clue, Target, TokenKind
from domicile.catalogue.samples import Found
from domicile.config import Config, load
from domicile.errors import BadFile
from domicile.map.coverage import Wanted, best_of, columns_to_search, key_target, targets_of, wanted
from domicile.map.draft import Proposal
from domicile.map.edges import Link
from domicile.map.imports.bind import Bound
from domicile.map.ways import Hop
from domicile.reading import WHOLE_TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """What to search: columns of each table, the keys to look for, and which of the two are worth a question."""

    columns: Mapping[Table, Sequence[Column]]
    targets: tuple[Target, ...]
    wants: Wanted


def sought(text: str, proposal: Proposal) -> Sought | None:
    """Say what to search for a first draft; None where it names no people, or an importer said everything."""
    if proposal.said is not None:
        return None
    try:
        config = load(text.encode())
    except BadFile:
        return None
    catalogue = proposal.catalogue
    targets = _targets(config, catalogue, proposal)
    return Sought(
        columns=columns_to_search(config, catalogue), targets=targets, wants=wanted(config, catalogue)
    ) if targets else None  # fmt: skip


def _targets(config: Config, catalogue: Catalogue, proposal: Proposal) -> tuple[Target, ...]:
    """Keys of people, then keys of the rows that ways lead through."""
    people = targets_of(config, catalogue, None)
    seen = {target.table for target in people}
    through = dict.fromkeys(
        hop.link.parent for item in proposal.datasets for way in item.owner.ways for hop in way if not hop.down
    )
    tables = [catalogue.table(name) for name in through if name not in seen]
    return (*people, *(target for table in tables if table is not None for target in key_target(table)))


def learned(bound: Bound, catalogue: Catalogue, clues: Sequence[Clue]) -> Bound:
    """Add to what importers said the references that the search found; what is said already stays as it is."""
    links: list[Link] = []
    hops: list[Hop] = []
    taken = {(link.child, link.columns) for link in (*bound.links, *(hop.link for hop in bound.hops))}
    for clue in best_of(clues):
        child = catalogue.table(clue.place.table)
        if child is None or clue.place.note:
            continue
        link = _link(child, catalogue, clue)
        if (link.child, link.columns) in taken:
            continue
        if link.fold:
            hops.append(Hop(link=link))
        else:
            links.append(link)
    return replace(bound, links=(*bound.links, *links), hops=(*bound.hops, *hops))


def unreadable(clues: Sequence[Clue]) -> tuple[str, ...]:
    """Places where keys stand that no path can read, with the reason."""
    return tuple(
        f"{clue.place.table}.{clue.place.column} holds keys of {clue.target.table}: {clue.place.note}"
        for clue in best_of(clues)
        if clue.place.note
    )


def _link(child: Table, catalogue: Catalogue, clue: Clue) -> Link:
    spelled = clue.place.spelled
    if clue.place.whole and _is_text(child, spelled) and not _holds_text(catalogue, clue.target):
        spelled += WHOLE_TEXT
    return Link(
        child=child.name, columns=(spelled,), parent=clue.target.table, parent_columns=(clue.target.column,),
        declared=False, missing_on=child.leaves or (child.name,), nullable=True,
        searched=True, found=Found(asked=clue.sampled, found=clue.hits), fold=clue.target.kind is TokenKind.EMAIL,
    )  # fmt: skip


def _is_text(table: Table, name: str) -> bool:
    column = table.column(name)
    return column is not None and column.category == "S"


def _holds_text(catalogue: Catalogue, target: Target) -> bool:
    table: TableName = target.table
    parent = catalogue.table(table)
    return parent is not None and _is_text(parent, target.column)
