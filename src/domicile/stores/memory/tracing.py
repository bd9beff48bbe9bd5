"""One row traced, by rows: hops, people, evidence, and who else needs it (see `domicile.stores.traces`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from domicile.model import DatasetId, DatasetScope, Edge, Fate, Form, Home, Kind, Path, Step
from domicile.stores.memory.closure import (
    Closure,
    Line,
    Node,
    is_blanked,
    meanings,
)
from domicile.stores.memory.conditions import holds
from domicile.stores.memory.readings import is_readable, references
from domicile.stores.memory.rows import Row, identity, key_text
from domicile.stores.traces import (
    LISTED_MAX,
    HopTrace,
    NeedTrace,
    PathTrace,
    PersonTrace,
    RowKey,
    RowLine,
    Told,
    Trace,
    key_digest,
    told_once,
)

CHILDREN_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """A closure, its lines, and the key that makes digests of keys."""

    closure: Closure
    lines: tuple[Line, ...]
    digest_key: bytes
    frozen: bool

    def trace(self, dataset: DatasetScope, texts: tuple[str, ...], *, computed: bool) -> Trace | None:
        """Trace the row of that key, or return None where there is none."""
        found = next(
            ((node, row) for node, row in self.closure.of(dataset.id) if key_text(dataset, row) == texts), None
        )
        if found is None:
            return None
        node, row = found
        return Trace(
            dataset=dataset.id, key=self.key(dataset, row), present=True, frozen=self.frozen,
            paths=tuple(self._path(dataset, path, row) for path in dataset.paths),
            needs=tuple(self._needs(node)) if computed else None,
            lines=tuple(self._lines(node)) if computed else None,
        )  # fmt: skip

    def key(self, dataset: DatasetScope, row: Row) -> RowKey:
        """The row's key, as text and as digest."""
        texts = key_text(dataset, row)
        return RowKey(digest=key_digest(self.digest_key, dataset.id, texts), texts=texts)

    def _lines(self, node: Node) -> Iterator[RowLine]:
        for line in self.lines:
            if (line.dataset, line.key) == node:
                yield RowLine(part=line.part, form=line.form, fate=line.fate, owned=line.owned)

    # -- paths ---------------------------------------------------------------------------------------------------

    def _path(self, dataset: DatasetScope, path: Path, row: Row) -> PathTrace:
        hops, here, table = [], [row], dataset
        for step in path.steps:
            there = self.closure.scope.dataset(_id_of(self.closure, step))
            hops.append(self._hop(step, here, there))
            here = _each_once(there, self._found(step, here))
            table = there
        people = sorted(here, key=lambda person: key_text(table, person))
        kind = self.closure.scope.kind(path.subject)
        homes = Counter(self.closure.markets[table.id, identity(table, person)] for person in here)
        order = (*self.closure.scope.homes, None)
        return PathTrace(
            hops=tuple(hops),
            people=tuple(self._person(kind, table, person) for person in people[:LISTED_MAX]),
            destinations=tuple((home, homes[home]) for home in order if homes[home]),
        )

    def _hop(self, step: Step, here: list[Row], there: DatasetScope) -> HopTrace:
        kept = [row for row in here if step.when is None or holds(step.when, row)]
        readable = [row for row in kept if step.reading is None or is_readable(step.reading, row)]
        naming = [row for row in readable if _names_any(step, row)]
        finding = [row for row in naming if self._found(step, [row])]
        return HopTrace(
            rows=len(here), when=len(here) - len(kept), unreadable=len(kept) - len(readable),
            null=len(readable) - len(naming), nothing=len(naming) - len(finding),
            found=len(_each_once(there, self._found(step, here))),
        )  # fmt: skip

    def _found(self, step: Step, here: Iterable[Row]) -> list[Row]:
        return [row for start in here for row in self.closure.rows.followed((step,), start)]

    def _person(self, kind: Kind, table: DatasetScope, person: Row) -> PersonTrace:
        homes = dict(kind.market.homes)
        found = [
            (number, dated, market)
            for number, piece in enumerate(kind.market.evidence)
            for dated, market in meanings(piece, kind.market, self.closure.rows, person)
        ]
        newest = max((dated for _, dated, _ in found), default=None)
        told = [
            Told(
                piece=number, market=market, home=Home(homes[market]) if market in homes else None,
                newest=dated == newest, dated=str(dated[1]) if dated[0] else None,
            )
            for number, dated, market in found
        ]  # fmt: skip
        return PersonTrace(
            kind=kind.dataset, key=self.key(table, person), told=told_once(told),
            home=self.closure.markets[table.id, identity(table, person)],
        )  # fmt: skip

    # -- needs ---------------------------------------------------------------------------------------------------

    def _needs(self, node: Node) -> Iterator[NeedTrace]:
        for number, edge in enumerate(self.closure.scope.edges):
            if edge.parent != node[0]:
                continue
            children = [
                (child, row) for child, row in self.closure.of(edge.child) if node in self.closure.parents(edge, row)
            ]
            for home in self.closure.scope.homes:
                yield from self._need(number, edge, home, [c for c in children if self._lies(edge, c[0], home)])
            yield from self._need(number, edge, None, [c for c in children if self._stays(edge, c[0])])

    def _need(
        self, number: int, edge: Edge, home: Home | None, children: list[tuple[Node, Row]]
    ) -> Iterator[NeedTrace]:
        if not children:
            return
        child = self.closure.scope.dataset(edge.child)
        ordered = sorted((row for _, row in children), key=lambda row: key_text(child, row))
        yield NeedTrace(
            edge=number, home=home, children=len(children),
            first=tuple(self.key(child, row) for row in ordered[:CHILDREN_NAMED]),
        )  # fmt: skip

    def _lies(self, edge: Edge, child: Node, home: Home) -> bool:
        form = self.closure.at_home.get((child, home))
        return form is Form.WHOLE or (
            form is Form.SKELETON and not is_blanked(self.closure.scope.dataset(edge.child), edge.columns)
        )

    def _stays(self, edge: Edge, child: Node) -> bool:
        fate = self.closure.fate(child)
        return fate is Fate.KEEP or (
            fate is Fate.BLANK and not is_blanked(self.closure.scope.dataset(edge.child), edge.columns)
        )


def _each_once(dataset: DatasetScope, rows: Iterable[Row]) -> list[Row]:
    return list({identity(dataset, row): row for row in rows}.values())


def _names_any(step: Step, row: Row) -> bool:
    if step.reading is not None:
        return bool(references(step.reading, row))
    return all(row[name] is not None for name in step.columns)


def _id_of(closure: Closure, step: Step) -> DatasetId:
    return next(dataset.id for dataset in closure.scope.datasets if dataset.table == step.table)
