"""Which edges may come apart, and what the draft proposes there (docs/closure.md, §3 and §4).

An edge can't come apart for whole rows when the row is the subject's *because of* that edge. It comes apart on either
side when the row follows another way, when the child is not the subject's at all, or when the child itself is there as
a skeleton only: a skeleton keeps its edges and so draws its parents after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from domicile.catalogue import TableName
from domicile.catalogue.samples import Samples
from domicile.config.rules import Apart, Disposition, HomeRows, Shared
from domicile.map.edges import Link, sharing
from domicile.map.owners import Ownership


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeProposal:
    """One line under `edges:`: a declared edge's rule, or an edge that only the file declares."""

    link: Link
    home: Apart | None
    source: Apart | None
    why: str
    unsure: str = ""


def edge_proposals(
    links: tuple[Link, ...], owners: Mapping[TableName, Ownership], samples: Samples
) -> dict[TableName, tuple[EdgeProposal, ...]]:
    """Propose rules for every edge that may come apart and declare every edge that the database doesn't."""
    private = [link for link in links if not link.copies and _rows(owners, link.parent) is Disposition.MOVE]
    home = _spread([link for link in private if _apart_home(link, owners)], private)
    source = _spread([link for link in private if _apart_source(link, owners)], private)
    found: dict[TableName, tuple[EdgeProposal, ...]] = {}
    for link in links:
        if link.copies:
            continue
        proposal = _propose(link, owners, samples, sides=(link in home, link in source))
        if proposal is not None:
            found[link.child] = (*found.get(link.child, ()), proposal)
    return found


def skeletons(proposals: Mapping[TableName, tuple[EdgeProposal, ...]]) -> frozenset[TableName]:
    """Return the datasets of which some row may stand somewhere as a skeleton."""
    return frozenset(
        proposal.link.parent
        for edges in proposals.values()
        for proposal in edges
        if Apart.SKELETON in (proposal.home, proposal.source)
    )


def _spread(first: list[Link], private: list[Link]) -> frozenset[Link]:
    """Add the edges of skeletons: where a parent may be a skeleton, all its own edges may come apart."""
    found = set(first)
    waiting = [link.parent for link in first]
    seen: set[TableName] = set()
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        more = [link for link in private if link.child == here]
        found.update(more)
        waiting.extend(link.parent for link in more)
    return frozenset(found)


def _apart_home(link: Link, owners: Mapping[TableName, Ownership]) -> bool:
    owner = owners[link.child]
    if owner.rows in (Disposition.PUBLIC, Disposition.NONE):
        return owner.home is not HomeRows.NOTHING
    return not _implied(link, owner, owners)


def _apart_source(link: Link, owners: Mapping[TableName, Ownership]) -> bool:
    owner = owners[link.child]
    return owner.rows is not Disposition.MOVE or not _implied(link, owner, owners)


def _implied(link: Link, owner: Ownership, owners: Mapping[TableName, Ownership]) -> bool:
    """Whether the parent goes wherever the whole child goes."""
    parent = owners[link.parent]
    if any(way[0].down and way[0].link == link for way in parent.ways):
        return True
    if not owner.ways or owner.ways[0][0].link != link:
        return False
    return len(owner.ways) == 1 or (owner.shared is Shared.FIRST and not link.nullable)


def _propose(
    link: Link, owners: Mapping[TableName, Ownership], samples: Samples, *, sides: tuple[bool, bool]
) -> EdgeProposal | None:
    at_home, at_source = sides
    if not (at_home or at_source):
        return None if link.declared else EdgeProposal(link=link, home=None, source=None, why="no declared key")
    child, parent = owners[link.child], owners[link.parent]
    home = Apart.SKELETON if at_home else None
    if child.rows is Disposition.NONE and any(way[0].down for way in parent.ways):
        doubt = f"the source keeps {link.parent.name} rows whole that {link.child.name} uses, too"
        return EdgeProposal(
            link=link, home=home, source=Apart.WHOLE if at_source else None, why="",
            unsure=doubt + _shared(link, parent, samples),
        )  # fmt: skip
    if child.rows is Disposition.MOVE and _implied(link, child, owners):
        why = f"where the {link.child.name} row is itself a skeleton"
    else:
        why = f"where the {link.parent.name} row is somebody else's"
    return EdgeProposal(link=link, home=home, source=Apart.SKELETON if at_source else None, why=why)


def _shared(link: Link, parent: Ownership, samples: Samples) -> str:
    """Say how many sampled references are shared with the subjects' rows."""
    for way in parent.ways:
        found = samples.containments.get(sharing(link, way[0].link))
        if way[0].down and found is not None and found.asked:
            return f" ({found.found} of {found.asked} sampled ones are also those of {way[0].link.child.name})"
    return ""


def _rows(owners: Mapping[TableName, Ownership], table: TableName) -> Disposition | None:
    return owners[table].rows if table in owners else None
