"""The closure, written down: numbered lines, slices, tallies, and what a person has to decide (sections 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, TypeAlias

from domicile.config.rules import Apart, HomeRows
from domicile.model import (
    DatasetScope,
    Edge,
    Fate,
    Finding,
    Form,
    Home,
    Kind,
    Manifest,
    Outside,
    Slice,
    SliceId,
    Tally,
)
from domicile.stores.memory.closure import (
    EVERY_HOME,
    Closure,
    Line,
    Node,
    form_at_home,
    is_everywhere,
    is_owned,
    needs_at_home,
    needs_at_source,
)
from domicile.stores.memory.conditions import holds
from domicile.stores.memory.readings import is_readable, references
from domicile.stores.memory.rows import Row, key_text, same
from domicile.stores.traces import LISTED_MAX, key_digest

KEYED: Final = frozenset(
    {
        "unknown-market", "market-conflict", "ownerless", "shared", "split-shared", "apart-home", "apart-source",
        "dangling", "unreadable",
    }
)  # fmt: skip
"""The findings that name rows."""

# -- 5. the manifest ---------------------------------------------------------------------------------------------


def write_lines(closure: Closure) -> tuple[Line, ...]:
    """Number all lines of the closure."""
    return tuple(line for dataset in closure.scope.datasets for line in _lines_of(closure, dataset))


def _lines_of(closure: Closure, dataset: DatasetScope) -> Iterator[Line]:
    ordered = [node for node, _ in sorted(closure.of(dataset.id), key=lambda item: _order(dataset, item))]
    if is_everywhere(dataset):
        for n, node in enumerate(ordered, start=1):
            owner = next(iter(closure.owners.get(node, ())), None)
            yield _line(closure, node, (EVERY_HOME, Form.SKELETON), n=n, owner=owner)
    for home in closure.scope.homes:
        for form in (Form.WHOLE, Form.SKELETON):
            if form is Form.SKELETON and is_everywhere(dataset):
                continue
            here = [node for node in ordered if closure.at_home.get((node, home)) is form]
            here.sort(key=lambda node: home not in closure.owners.get(node, ()))
            for n, node in enumerate(here, start=1):
                yield _line(closure, node, (home, form), n=n, owner=home)


def _order(dataset: DatasetScope, item: tuple[Node, object]) -> tuple[object, ...]:
    node, row = item
    return tuple(row[name] for name in dataset.key) if dataset.key else (node[1],)  # type: ignore[index]


def _line(closure: Closure, node: Node, place: tuple[str, Form], *, n: int, owner: Home | None) -> Line:
    part, form = place
    owners = closure.owners.get(node, ())
    carries = bool(owners) and part == owners[-1]  # the last owner's: every other owner's slice is erased before
    return Line(
        dataset=node[0],
        key=node[1],
        part=part,
        form=form,
        n=n,
        fate=closure.fate(node) if carries else Fate.KEEP,
        owner=owner,
        owned=part in owners,
        copies=closure.copies[node],
    )


def write_manifest(closure: Closure, lines: tuple[Line, ...], *, rows_max: int, digest_key: bytes) -> Manifest:
    """Sum the lines up: subjects, slices of at most `rows_max` numbers, tallies and findings."""
    moving = list(closure.markets.values())
    return Manifest(
        subjects=tuple((home, moving.count(home)) for home in closure.scope.homes),
        slices=tuple(_slices(closure, lines, rows_max)),
        tallies=tuple(_tallies(closure, lines)),
        findings=tuple(findings(closure, digest_key)),
    )


def lines_of(piece: Slice, lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """The slice's lines, in order: of part `*` without the rows that the home gets whole."""
    return tuple(
        line
        for line in lines
        if (line.dataset, line.part, line.form) == (piece.dataset, piece.part, piece.form)
        and piece.after < line.n <= piece.upto
        and not (line.part == EVERY_HOME and line.owner == piece.home)
    )


def _slices(closure: Closure, lines: tuple[Line, ...], rows_max: int) -> Iterator[Slice]:
    for dataset in closure.scope.datasets:
        for home in closure.scope.homes:
            for form in (Form.WHOLE, Form.SKELETON):
                part = EVERY_HOME if form is Form.SKELETON and is_everywhere(dataset) else home
                group = [line for line in lines if (line.dataset, line.part, line.form) == (dataset.id, part, form)]
                for number, (after, upto) in enumerate(_ranges(group, rows_max)):
                    yield _slice(f"{dataset.id}/{home}/{form}/{number}", group, home, after, upto)


def _ranges(group: list[Line], rows_max: int) -> Iterator[tuple[int, int]]:
    """Ranges of numbers, none of which holds owned and supporting rows both; owned ones are numbered first."""
    owned = sum(line.owned for line in group)
    for start, end in ((0, owned), (owned, len(group))):
        for after in range(start, end, rows_max):
            yield after, min(after + rows_max, end)


def _slice(name: str, group: list[Line], home: Home, after: int, upto: int) -> Slice:
    first = group[0]
    empty = Slice(
        id=SliceId(name), dataset=first.dataset, home=home, part=first.part, form=first.form,
        after=after, upto=upto, rows=0,
    )  # fmt: skip
    held = lines_of(empty, tuple(group))
    return Slice(
        id=empty.id, dataset=empty.dataset, home=home, part=empty.part, form=empty.form, after=after, upto=upto,
        rows=_copies(held), delete=_copies(held, Fate.DELETE), blank=_copies(held, Fate.BLANK),
    )  # fmt: skip


def _copies(lines: tuple[Line, ...], fate: Fate | None = None) -> int:
    return sum(line.copies for line in lines if fate is None or line.fate is fate)


def _tallies(closure: Closure, lines: tuple[Line, ...]) -> Iterator[Tally]:
    for dataset in closure.scope.datasets:
        for home in closure.scope.homes:
            owned = tuple(line for line in lines if line.dataset == dataset.id and line.part == home and line.owned)
            here = sum(closure.copies[node] for node, _ in closure.of(dataset.id) if (node, home) in closure.at_home)
            kept = sum(line.copies for line in owned if closure.fate((line.dataset, line.key)) is Fate.KEEP)
            yield Tally(
                dataset=dataset.id, home=home, whole=_copies(owned), supporting=here - _copies(owned),
                delete=_copies(owned, Fate.DELETE), blank=_copies(owned, Fate.BLANK), kept=kept,
            )  # fmt: skip


# -- 6. what is found, counted, and decided ----------------------------------------------------------------------


def findings(closure: Closure, digest_key: bytes) -> Iterator[Finding]:
    """Everything that a rule of the file decides, and everything that none does."""
    for finding, nodes in _all_found(closure):
        yield _with_keys(closure, finding, nodes, digest_key) if finding.kind in KEYED else finding


def _with_keys(closure: Closure, finding: Finding, nodes: Iterable[Node], digest_key: bytes) -> Finding:
    """The finding with the digests of its first rows' keys (P8)."""
    each = sorted(set(nodes))
    dataset = closure.scope.dataset(each[0][0])
    texts = sorted(key_text(dataset, closure.row(node)) for node in each)[:LISTED_MAX]
    keys = tuple(key_digest(digest_key, dataset.id, text) for text in texts)
    return replace(finding, keys=keys, dataset=str(dataset.id))


_Found: TypeAlias = tuple[Finding, tuple[Node, ...]]


def _all_found(closure: Closure) -> Iterator[_Found]:
    for kind in closure.scope.kinds:
        yield from _markets(closure, kind)
    for dataset in closure.scope.datasets:
        yield from _ownerless(closure, dataset)
        yield from _shared(closure, dataset)
        yield from _kept(closure, dataset)
    for edge in closure.scope.edges:
        yield from _apart_home(closure, edge)
        yield from _apart_source(closure, edge)
        yield from _unenforced(closure, edge)
        yield from _dangling(closure, edge)
        yield from _unreadable(closure, edge)
        yield from _stand_in(closure, edge)


def _found(  # noqa: PLR0913 - what is found, and what is decided of it
    kind: str, where: str, nodes: list[tuple[Node, int]], text: str, *, rule: str | None = None,
    remedy: str | None = None,
) -> Iterator[_Found]:  # fmt: skip
    count = sum(number for _, number in nodes)
    if count:
        found = Finding(kind=kind, where=where, count=count, text=f"{count} {text}", rule=rule, remedy=remedy)
        yield found, tuple(node for node, _ in nodes)


def _markets(closure: Closure, kind: Kind) -> Iterator[_Found]:
    """What the evidence leaves open, and where pieces of it disagree."""
    told = [(node, closure.residences[node]) for node, _ in closure.of(kind.dataset)]
    unknown = [(node, 1) for node, item in told if not item.known]
    conflict = [(node, 1) for node, item in told if item.conflict]
    for name, nodes, answer, remedy in (
        ("unknown-market", unknown, kind.market.unknown, "policy.unknown_market: ?"),
        ("market-conflict", conflict, kind.market.conflict, "market.conflict: ?"),
    ):
        decided = answer not in (None, "in-scope")
        yield from _found(
            name, str(kind.dataset), nodes, "subjects have no (one) market",
            rule=answer if decided else None, remedy=None if decided else remedy,
        )  # fmt: skip
    settled = [(node, 1) for node, item in told if item.disagrees and not item.conflict]
    yield from _found(
        "market-disagreement", str(kind.dataset), settled, "subjects of whom the evidence disagrees",
        rule=f"market.decide: {kind.market.decide}",
    )  # fmt: skip


def _ownerless(closure: Closure, dataset: DatasetScope) -> Iterator[_Found]:
    if not dataset.moves:
        return
    rule = f"datasets.{dataset.id}.ownerless: stay"
    yield from _found(
        "ownerless", str(dataset.id),
        [(node, closure.copies[node]) for node, _ in closure.of(dataset.id) if not closure.destinations.get(node)],
        "rows lead to nobody",
        rule=rule if dataset.ownerless_stay else None, remedy=None if dataset.ownerless_stay else rule,
    )  # fmt: skip


def _shared(closure: Closure, dataset: DatasetScope) -> Iterator[_Found]:
    if not is_owned(dataset):
        return
    mine = [node for node, _ in closure.of(dataset.id)]
    rule = f"datasets.{dataset.id}.shared: {dataset.shared or '?'}"
    decided = all(dataset.sharing(path) for path in dataset.paths)
    yield from _found(
        "shared", str(dataset.id),
        [(node, 1) for node in mine if len(closure.destinations[node]) > 1],
        "rows lead to subjects who live apart",
        rule=rule if decided else None, remedy=None if decided else rule,
    )  # fmt: skip
    if not dataset.moves:
        yield from _found(
            "split-shared", str(dataset.id),
            [(node, 1) for node in mine if len(closure.owners.get(node, ())) > 1],
            "rows belong whole to several homes, which only `move` datasets allow",
            remedy=f"datasets.{dataset.id}.shared: first   # or a path that leads to one person",
        )  # fmt: skip


def _kept(closure: Closure, dataset: DatasetScope) -> Iterator[_Found]:
    if not dataset.moves:
        return
    mine = [node for node, _ in closure.of(dataset.id) if node in closure.owners]
    for fate, words in ((Fate.KEEP, "whole"), (Fate.BLANK, "as skeletons")):
        yield from _found(
            "kept", str(dataset.id),
            [(node, 1) for node in mine if closure.fate(node) is fate],
            f"rows of movers stay at the source {words} for others who need them", rule="see the rules above",
        )  # fmt: skip


def _apart_home(closure: Closure, edge: Edge) -> Iterator[_Found]:
    parent = closure.scope.dataset(edge.parent)
    if is_everywhere(parent):
        return
    refused = form_at_home(parent, edge) is None
    needed = {
        (node, home)
        for node, home in needs_at_home(closure, edge)
        if home not in closure.owners.get(node, ()) and not (refused and (node, home) in closure.at_home)
    }
    rule = f"{edge.where}.apart.home: {edge.apart_home}"
    if not parent.moves:
        rule = f"datasets.{parent.id}.home: {HomeRows.NEEDED}"
    yield from _found(
        "apart-home", edge.where, [(node, closure.copies[node]) for node, _ in needed],
        f"rows of {parent.id} are needed at home by {edge.child}, and are not a mover's",
        rule=None if refused else rule,
        remedy=f"{edge.where}.apart.home: ?   # skeleton | whole" if refused else None,
    )  # fmt: skip


def _apart_source(closure: Closure, edge: Edge) -> Iterator[_Found]:
    parent = closure.scope.dataset(edge.parent)
    if not parent.moves:
        return
    refused = edge.apart_source is Apart.REFUSE
    needed = {
        node
        for node in needs_at_source(closure, edge)
        if node in closure.owners
        and node not in closure.kept_by_owners
        and not (refused and closure.fate(node) is not Fate.DELETE)
    }
    yield from _found(
        "apart-source", edge.where, [(node, closure.copies[node]) for node in needed],
        f"rows of {parent.id} would be erased while rows of {edge.child} that stay refer to them",
        rule=None if refused else f"{edge.where}.apart.source: {edge.apart_source}",
        remedy=f"{edge.where}.apart.source: ?   # skeleton | whole" if refused else None,
    )  # fmt: skip


def _unenforced(closure: Closure, edge: Edge) -> Iterator[_Found]:
    child = closure.scope.dataset(edge.child)
    if edge.enforced or not any(step.columns == edge.columns for path in child.paths for step in path.steps[:1]):
        return
    rule = f"datasets.{child.id}.unenforced: follow"
    yield from _found(
        "unenforced", edge.where,
        [
            (node, closure.copies[node]) for node, row in closure.of(child.id)
            if node in closure.owners and _refers(edge, row)
        ],
        "closure rows hang on an edge that the database does not enforce",
        rule=rule if child.unenforced_follow else None, remedy=None if child.unenforced_follow else rule,
    )  # fmt: skip


def _dangling(closure: Closure, edge: Edge) -> Iterator[_Found]:
    if edge.enforced:
        return
    yield from _found(
        "dangling", edge.where,
        [
            (node, closure.copies[node])
            for node, row in closure.of(edge.child)
            if _refers(edge, row) and not _held(closure, edge, row)
        ],
        f"rows refer to rows of {edge.parent} that don't exist", rule="counted, left as they are",
    )  # fmt: skip


def _unreadable(closure: Closure, edge: Edge) -> Iterator[_Found]:
    if edge.reading is None:
        return
    child, reading = closure.scope.dataset(edge.child), edge.reading
    rule = f"datasets.{child.id}.unenforced: follow"
    yield from _found(
        "unreadable", edge.where,
        [(node, closure.copies[node]) for node, row in closure.of(child.id) if not is_readable(reading, row)],
        "rows hold text that is no JSON where references are read",
        rule=rule if child.unenforced_follow else None, remedy=None if child.unenforced_follow else rule,
    )  # fmt: skip


def _stand_in(closure: Closure, edge: Edge) -> Iterator[_Found]:
    child, parent = closure.scope.dataset(edge.child), closure.scope.dataset(edge.parent)
    blank = next((item for item in child.blanks if (item.column,) == edge.columns), None)
    if edge.reading is not None or blank is None or blank.outside is not Outside.LITERAL:
        return
    held = {str(row[edge.parent_columns[0]]) for _, row in closure.of(parent.id)}
    if blank.literal not in held or not is_everywhere(parent):
        yield from _found(
            "stand-in", f"datasets.{child.id}.fields.{blank.column}", [((child.id, b""), 1)],
            f"stand-in for {blank.column} names no row of {parent.id} that is everywhere",
            remedy=f"datasets.{child.id}.fields.{blank.column}: {{class: private, outside: ?}}",
        )  # fmt: skip


def _refers(edge: Edge, row: Row) -> bool:
    if edge.when is not None and not holds(edge.when, row):
        return False
    if edge.reading is not None:
        return bool(references(edge.reading, row))
    return all(row[name] is not None for name in edge.columns)


def _held(closure: Closure, edge: Edge, row: Row) -> bool:
    """Whether every reference of the row has a parent."""
    if edge.reading is None:
        return bool(closure.parents(edge, row))
    parents = [there[edge.parent_columns[0]] for _, there in closure.of(edge.parent)]
    fold = edge.reading.comparison.fold
    return all(any(same(key, held, fold=fold) for held in parents) for key in references(edge.reading, row))
