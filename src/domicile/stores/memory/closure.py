"""The closure, row by row: docs/closure.md as a program, and the definition that SQL is tested against.

Slow on purpose. Every loop runs over rows and homes as the text does, and no rule is folded into another. The
functions stand in the order of the text's sections and are numbered like them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from domicile.config.rules import Apart, Decide, HomeRows, Shared
from domicile.model import (
    DatasetId,
    DatasetScope,
    Edge,
    Evidence,
    Fate,
    Form,
    Home,
    Kind,
    MarketRule,
    Path,
    Scope,
)
from domicile.stores.memory.conditions import holds
from domicile.stores.memory.rows import Row, Rows, identity

EVERY_HOME: Final = "*"
SOURCE: Final = None
"""The destination of a stayer's rows."""

Destination: TypeAlias = Home | None
Dated: TypeAlias = tuple[bool, Any]
"""A date, comparable: no date is older than any."""
Node: TypeAlias = tuple[DatasetId, bytes]
"""A dataset and the identity of one of its rows (of all equal ones, where there is no key)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the manifest: a row, the part and form it stands in, and what becomes of it at the source."""

    dataset: DatasetId
    key: bytes
    part: str
    form: Form
    n: int
    fate: Fate
    owner: Home | None
    """Whose the row is: of a line of part `*`, the home that gets it whole and so not from this line."""
    owned: bool
    copies: int


@dataclass(slots=True, kw_only=True)
class Closure:
    """All that is found out, section by section."""

    scope: Scope
    rows: Rows
    nodes: dict[DatasetId, dict[bytes, Row]] = field(default_factory=dict)
    copies: dict[Node, int] = field(default_factory=dict)
    markets: dict[Node, Destination] = field(default_factory=dict)
    residences: dict[Node, Residence] = field(default_factory=dict)
    destinations: dict[Node, frozenset[Destination]] = field(default_factory=dict)
    owners: dict[Node, tuple[Home, ...]] = field(default_factory=dict)
    kept_by_owners: set[Node] = field(default_factory=set)
    at_home: dict[tuple[Node, Home], Form] = field(default_factory=dict)
    fates: dict[Node, Fate] = field(default_factory=dict)

    def row(self, node: Node) -> Row:
        """The node's row."""
        return self.nodes[node[0]][node[1]]

    def of(self, dataset: DatasetId) -> Iterator[tuple[Node, Row]]:
        """All rows of a dataset."""
        for key, row in self.nodes[dataset].items():
            yield (dataset, key), row

    def fate(self, node: Node) -> Fate:
        """What becomes of the row at the source."""
        return self.fates.get(node, Fate.KEEP)

    def parents(self, edge: Edge, row: Row) -> list[Node]:
        """The rows that `row` refers to over the edge."""
        parent = self.scope.dataset(edge.parent)
        found = self.rows.referred(parent.table, edge.parent_columns, row, edge)
        return [(parent.id, identity(parent, there)) for there in found]


def close(scope: Scope, rows: Rows, movers: Mapping[Node, Home] | None = None) -> Closure:
    """Compute the closure. `movers` are the subjects that a fence holds; without it they are read from the rows."""
    closure = Closure(scope=scope, rows=rows)
    _list_rows(closure)
    _subjects(closure, movers)
    for dataset in scope.datasets:
        if is_owned(dataset):
            _owners(closure, dataset)
    _home_needs(closure)
    _source_needs(closure)
    return closure


def is_everywhere(dataset: DatasetScope) -> bool:
    """Whether every home gets all of the dataset's rows, in one form or the other."""
    return not dataset.moves and dataset.home_rows is HomeRows.ALL


def is_owned(dataset: DatasetScope) -> bool:
    """Whether rows, or private fields in them, belong to subjects; without either a path decides nothing."""
    return dataset.owned and (dataset.moves or bool(dataset.blanks))


def is_blanked(dataset: DatasetScope, columns: tuple[str, ...]) -> bool:
    """Whether a skeleton of the dataset loses one of the columns, and with it the reference they make."""
    return any(blank.column in columns for blank in dataset.blanks)


def _list_rows(closure: Closure) -> None:
    for dataset in closure.scope.datasets:
        closure.nodes[dataset.id] = {}
        for row in closure.rows.of(dataset.table):
            key = identity(dataset, row)
            closure.nodes[dataset.id][key] = row
            closure.copies[dataset.id, key] = closure.copies.get((dataset.id, key), 0) + 1


# -- 1. subjects -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Residence:
    """What the evidence says of one person: where their data lives, and whether that was known and undisputed."""

    home: Destination
    known: bool
    conflict: bool
    disagrees: bool


def residence_of(kind: Kind, rows: Rows, person: Row) -> Residence:
    """Where a person's data lives, by the evidence of their kind."""
    rule = kind.market
    told = [
        (number, dated, home)
        for number, piece in enumerate(rule.evidence)
        for dated, home in tell(piece, rule, rows, person)
    ]
    if not told:
        return Residence(home=_named(rule, rule.unknown), known=False, conflict=False, disagrees=False)
    disagrees = len({home for _, _, home in told}) > 1
    if rule.decide is Decide.FIRST:
        best = min(number for number, _, _ in told)
        told = [item for item in told if item[0] == best]
    elif rule.decide is Decide.LATEST:
        newest = max(dated for _, dated, _ in told)
        told = [item for item in told if item[1] == newest]
    homes = {home for _, _, home in told}
    if len(homes) > 1:
        return Residence(home=_named(rule, rule.conflict), known=True, conflict=True, disagrees=True)
    return Residence(home=homes.pop(), known=True, conflict=False, disagrees=disagrees)


def tell(piece: Evidence, rule: MarketRule, rows: Rows, person: Row) -> Iterator[tuple[Dated, Destination]]:
    """What one piece of evidence tells: when, and the destination, of every row that it finds."""
    for dated, market in meanings(piece, rule, rows, person):
        yield dated, _named(rule, market)


def meanings(piece: Evidence, rule: MarketRule, rows: Rows, person: Row) -> Iterator[tuple[Dated, str | None]]:
    """When, and the market (None: one that the file doesn't name), of every row that the evidence finds."""
    for row in rows.followed(piece.steps, person):
        value = row[piece.field]
        if value is None or (piece.when and not holds(piece.when, row)) or not _is_valid(piece, rule, row):
            continue
        text = str(value)
        if piece.pattern is not None:
            match = re.search(piece.pattern, text)
            if match is None or match[1] is None:
                continue
            text = match[1]
        market = text if piece.values is None else dict(piece.values).get(text)
        date_of = row[piece.date] if piece.date else None
        yield (date_of is not None, date_of), market if piece.values is not None or market in dict(rule.homes) else None


def _is_valid(piece: Evidence, rule: MarketRule, row: Row) -> bool:
    """Whether the row is true on the rule's day: from `since` on, and before `until`."""
    since, until = (row[name] if name else None for name in (piece.since, piece.until))
    if rule.as_of is None:
        return True
    return (since is None or since <= rule.as_of) and (until is None or until > rule.as_of)  # type: ignore[operator]


def _named(rule: MarketRule, market: str | None) -> Destination:
    homes = dict(rule.homes)
    return Home(homes[market]) if market in homes else SOURCE


def _subjects(closure: Closure, movers: Mapping[Node, Home] | None) -> None:
    for kind in closure.scope.kinds:
        for node, row in closure.of(kind.dataset):
            residence = residence_of(kind, closure.rows, row)
            closure.markets[node] = residence.home if movers is None else movers.get(node, SOURCE)
            closure.residences[node] = residence


# -- 2. owners ---------------------------------------------------------------------------------------------------


def _owners(closure: Closure, dataset: DatasetScope) -> None:
    for node, row in closure.of(dataset.id):
        by_path = [destinations_over(closure, path, row) for path in dataset.paths]
        closure.destinations[node] = frozenset().union(*by_path)
        counted, kept, reached = set[Destination](), False, False
        for path, found in zip(dataset.paths, by_path, strict=True):
            rule = dataset.sharing(path)
            if not (rule is Shared.FIRST and reached):
                counted |= found
                kept = kept or (SOURCE in found and rule is not Shared.ANY)
            reached = reached or bool(found)
        homes = tuple(home for home in closure.scope.homes if home in counted)
        if not homes:
            continue
        closure.owners[node] = homes
        for home in homes:
            closure.at_home[node, home] = Form.WHOLE
        if kept:
            closure.kept_by_owners.add(node)
        else:
            closure.fates[node] = Fate.DELETE if dataset.moves else Fate.BLANK


def destinations_over(closure: Closure, path: Path, row: Row) -> frozenset[Destination]:
    """Where the people live whom the row leads to over one path."""
    subject = closure.scope.dataset(path.subject)
    return frozenset(
        closure.markets[subject.id, identity(subject, person)] for person in closure.rows.reached(path, row)
    )


# -- 3. what home needs ------------------------------------------------------------------------------------------


def _home_needs(closure: Closure) -> None:
    for dataset in closure.scope.datasets:
        if is_everywhere(dataset):
            for node, _ in closure.of(dataset.id):
                for home in closure.scope.homes:
                    closure.at_home.setdefault((node, home), Form.SKELETON)
    while any(_follow_home(closure, edge) for edge in closure.scope.edges):
        pass


def _follow_home(closure: Closure, edge: Edge) -> bool:
    """Send the edge's missing parents home; say whether anything was added."""
    wanted = form_at_home(closure.scope.dataset(edge.parent), edge)
    added = False
    for parent, home in needs_at_home(closure, edge):
        here = closure.at_home.get((parent, home))
        if wanted is not None and here is not Form.WHOLE and here is not wanted:
            closure.at_home[parent, home] = wanted
            added = True
    return added


def form_at_home(parent: DatasetScope, edge: Edge) -> Form | None:
    """In which form a parent follows its child home; None when that is refused."""
    if is_everywhere(parent):
        return Form.SKELETON
    if not parent.moves:
        return Form.SKELETON if parent.home_rows is HomeRows.NEEDED else None
    return {Apart.SKELETON: Form.SKELETON, Apart.WHOLE: Form.WHOLE, Apart.REFUSE: None}[edge.apart_home]


def needs_at_home(closure: Closure, edge: Edge) -> Iterator[tuple[Node, Home]]:
    """Every parent that a child at a home refers to there, each with the home."""
    child = closure.scope.dataset(edge.child)
    for node, row in closure.of(edge.child):
        for home in closure.scope.homes:
            form = closure.at_home.get((node, home))
            if form is None or (form is Form.SKELETON and is_blanked(child, edge.columns)):
                continue
            for parent in closure.parents(edge, row):
                yield parent, home


# -- 4. what the source needs ------------------------------------------------------------------------------------


def _source_needs(closure: Closure) -> None:
    while any(_follow_source(closure, edge) for edge in closure.scope.edges):
        pass


def _follow_source(closure: Closure, edge: Edge) -> bool:
    """Spare the edge's parents; say whether anything changed."""
    dataset = closure.scope.dataset(edge.parent)
    if edge.apart_source is Apart.REFUSE or not dataset.moves:
        return False
    spared = Fate.BLANK if edge.apart_source is Apart.SKELETON and dataset.blanks else Fate.KEEP
    changed = False
    for parent in needs_at_source(closure, edge):
        if closure.fate(parent) not in (spared, Fate.KEEP):
            closure.fates[parent] = spared
            changed = True
    return changed


def needs_at_source(closure: Closure, edge: Edge) -> Iterator[Node]:
    """Every parent that a child which stays at the source still refers to."""
    child = closure.scope.dataset(edge.child)
    for node, row in closure.of(edge.child):
        fate = closure.fate(node)
        if fate is Fate.DELETE or (fate is Fate.BLANK and is_blanked(child, edge.columns)):
            continue
        yield from closure.parents(edge, row)
