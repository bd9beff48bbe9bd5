"""The closure, row by row: docs/closure.md as a program, and the definition that SQL is tested against.

Slow on purpose. Every loop runs over rows and homes as the text does, and no rule is folded into another. The
functions stand in the order of the text's sections and are numbered like them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from domicile.config import Apart, HomeRows, Shared
from domicile.model import DatasetId, DatasetScope, Edge, Fate, Form, Home, Scope
from domicile.stores.memory.conditions import holds
from domicile.stores.memory.rows import Row, Rows, identity

EVERY_HOME: Final = "*"
SOURCE: Final = None
"""The destination of a stayer's rows."""

Destination: TypeAlias = Home | None
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
    markets: dict[bytes, Destination] = field(default_factory=dict)
    unknown: int = 0
    torn: int = 0
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
        found = self.rows.find(parent.table, edge.parent_columns, [row[name] for name in edge.columns])
        return [(parent.id, identity(parent, there)) for there in found]


def close(scope: Scope, rows: Rows, movers: Mapping[bytes, Home] | None = None) -> Closure:
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


def told_destinations(scope: Scope, rows: Rows, subject: Row) -> frozenset[Destination]:
    """Where the rows that tell a subject's market say that the subject's data lives; none where it is unknown."""
    rule, homes = scope.market, dict(scope.market.homes)
    telling = [row for row in rows.reached(rule.path, subject) if rule.when is None or holds(rule.when, row)]
    values = [str(row[rule.field]) for row in telling if row[rule.field] is not None]
    markets = values if rule.values is None else [dict(rule.values).get(value) for value in values]
    return frozenset(Home(homes[market]) if market in homes else SOURCE for market in markets)


def destination_of_subject(scope: Scope, rows: Rows, subject: Row) -> Destination:
    """Where a subject's data lives: where all that is told agrees, else what the file says of such subjects."""
    told = told_destinations(scope, rows, subject)
    if len(told) == 1:
        return next(iter(told))
    named = dict(scope.market.homes).get((scope.market.conflict if told else scope.market.unknown) or "")
    return Home(named) if named else SOURCE


def _subjects(closure: Closure, movers: Mapping[bytes, Home] | None) -> None:
    for node, row in closure.of(closure.scope.subject):
        told = told_destinations(closure.scope, closure.rows, row)
        destination = destination_of_subject(closure.scope, closure.rows, row)
        closure.markets[node[1]] = destination if movers is None else movers.get(node[1], SOURCE)
        closure.unknown += not told
        closure.torn += len(told) > 1


# -- 2. owners ---------------------------------------------------------------------------------------------------


def _owners(closure: Closure, dataset: DatasetScope) -> None:
    subject = closure.scope.dataset(closure.scope.subject)
    for node, row in closure.of(dataset.id):
        by_path = [
            frozenset(closure.markets[identity(subject, person)] for person in closure.rows.reached(path, row))
            for path in dataset.paths
        ]
        closure.destinations[node] = frozenset().union(*by_path)
        counted = closure.destinations[node]
        if dataset.shared is Shared.FIRST:
            counted = next((found for found in by_path if found), frozenset())
        homes = tuple(home for home in closure.scope.homes if home in counted)
        if not homes:
            continue
        closure.owners[node] = homes
        for home in homes:
            closure.at_home[node, home] = Form.WHOLE
        if SOURCE in counted and dataset.shared is not Shared.ANY:
            closure.kept_by_owners.add(node)
        else:
            closure.fates[node] = Fate.DELETE if dataset.moves else Fate.BLANK


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
