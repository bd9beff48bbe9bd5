"""`domicile explain`: why a row is, or is not, in scope. The key of a row and of a person only on request (P8)."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from domicile.catalogue import Column
from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, opened
from domicile.cli.show import Screen, count
from domicile.config.places import Places
from domicile.errors import DomicileError
from domicile.explain import Answer, Because, Explanation, Goes, Need, Person, Way, explain, verdict
from domicile.model import DatasetScope, Fate, Scope
from domicile.plan.resolve import resolve
from domicile.stores.traces import DIGEST_DIGITS, RowKey, Told

SEARCHED_ROWS_MAX = 5_000_000
NEAR_NAMES_MAX = 3


def register(app: typer.Typer) -> None:
    """Add this room's command."""
    app.command(name="explain")(explain_row)


def explain_row(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="app.public.users, public.users or users.")],
    key: Annotated[
        list[str] | None, typer.Argument(metavar="KEY", help="42, or 7,2, or part=7 id=2 for a key of several columns.")
    ] = None,
    digest: Annotated[str, typer.Option(help="The digest of a key, as plan and explain print it.")] = "",
    show_keys: Annotated[bool, typer.Option("--show-keys", help="Keys themselves, on this terminal.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="The row's own paths only, not who else needs it: no survey.")
    ] = False,
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Say why a row is, or is not, in scope: its paths hop by hop, its people and markets, and what becomes of it.

    Before the freeze it computes the closure for that, in a transaction that is rolled back, and takes as long as
    `domicile plan`; --quick leaves that out. During a run it reads the frozen manifest.

    Example: domicile explain public.messages 42 --show-keys
    """
    screen = Screen(as_json=as_json)
    with opened(file, screen) as run:
        scope = resolve(run.config, run.source.catalogue())
        dataset = _dataset(scope, table)
        texts = _texts(dataset, key or [], digest)
        if texts is None:
            texts = run.source.find_key(dataset, digest.lower(), rows_max=SEARCHED_ROWS_MAX)
            if texts is None:
                raise DomicileError(
                    f"{dataset.id}: none of its first {count(SEARCHED_ROWS_MAX)} rows has a key of that digest; take "
                    "table and digest from the same `domicile plan`"
                )
        if not quick and run.source.frozen() is None:
            screen.say("computing the closure, which takes as long as `domicile plan`; --quick leaves it out")
        trace = run.source.trace(scope, dataset, texts, survey=not quick)
        places = Places(run.config_bytes, origin=file.name)
    if trace is None:
        raise DomicileError(f"{dataset.id} holds no row of that key ({_spelled_key(dataset)}); nothing to explain")
    found = explain(scope, trace, places)
    _print(screen, found, show_keys=show_keys)
    screen.value(_as_json(found, show_keys=show_keys))


# -- which row ---------------------------------------------------------------------------------------------------


def _dataset(scope: Scope, text: str) -> DatasetScope:
    names = {str(dataset.id): dataset for dataset in scope.datasets}
    found = [
        dataset for name, dataset in names.items()
        if text in (name, str(dataset.table), dataset.table.name)
    ]  # fmt: skip
    exact = [dataset for dataset in found if text in (str(dataset.id), str(dataset.table))] or found
    if len(exact) == 1:
        return exact[0]
    if exact:
        raise typer.BadParameter(f"{text} is the name of several tables: {', '.join(str(one.id) for one in exact)}")
    for item in scope.derived:
        if text in (str(item.id), str(item.table), item.table.name):
            raise DomicileError(
                f"{item.id} is derived: its rows are computed from {', '.join(item.of) or 'no table'}, and are "
                f"{'refreshed' if item.view else 'emptied'} as a whole; explain a row of those"
            )
    known = [name for dataset in scope.datasets for name in (str(dataset.id), str(dataset.table), dataset.table.name)]
    near = difflib.get_close_matches(text, known, n=NEAR_NAMES_MAX)
    raise typer.BadParameter(
        f"{text} is no table of {str(scope.subject).split('.', 1)[0]}"
        + (f"; did you mean {' or '.join(near)}?" if near else "; `domicile map` lists them")
    )


def _texts(dataset: DatasetScope, given: Sequence[str], digest: str) -> tuple[str, ...] | None:
    """The key's columns as texts, in their order; None when the row is named by digest."""
    if bool(given) == bool(digest):
        raise typer.BadParameter(f"give either a key ({_spelled_key(dataset)}) or --digest")
    if digest:
        if len(digest) != DIGEST_DIGITS or set(digest.lower()) - set("0123456789abcdef"):
            raise typer.BadParameter(f"--digest takes {DIGEST_DIGITS} hexadecimal digits")
        return None
    columns = dataset.key or ("row_hash",)
    named = dict(text.partition("=")[::2] for text in given)
    if set(named) == set(columns) and all("=" in text for text in given):
        return tuple(named[name] for name in columns)
    parts = list(given) if len(columns) == len(given) else given[0].split(",") if len(given) == 1 else []
    if len(columns) != len(parts) or not all(map(_may_be_value, _columns(dataset), parts)):
        unknown = [name for name in named if name not in columns] if all("=" in text for text in given) else []
        near = difflib.get_close_matches(unknown[0], columns, n=1) if unknown else []
        hint = f"; did you mean {near[0]}?" if near else ""
        raise typer.BadParameter(f"the key of {dataset.id} is {_spelled_key(dataset)}{hint}")
    return tuple(parts)


def _columns(dataset: DatasetScope) -> tuple[Column | None, ...]:
    """The key's columns; of a row without a key one that is none."""
    by_name = {column.name: column for column in dataset.columns}
    return tuple(by_name.get(name) for name in dataset.key) or (None,)


def _may_be_value(column: Column | None, text: str) -> bool:
    """Whether the text is no spelling of several columns or of another one; a text's value may look like these."""
    return column is None or column.category == "S" or not set(text) & set(",=")


def _spelled_key(dataset: DatasetScope) -> str:
    return " ".join(f"{name}=…" for name in dataset.key) or "none: rows are found by --digest only"


# -- for people --------------------------------------------------------------------------------------------------


def _print(screen: Screen, found: Explanation, *, show_keys: bool) -> None:
    if screen.as_json:
        return
    for line in _lines(found, show_keys=show_keys):
        screen.out.print(line, markup=False)


def _lines(found: Explanation, *, show_keys: bool) -> Iterator[str]:
    yield f"{found.dataset} {_key(found.key, show_keys=show_keys)}   rows: {found.rows}   {found.place}"
    if not found.present:
        yield "  the row is gone from the source; what follows is what the frozen manifest says of it"
    for number, way in enumerate(found.ways, start=1):
        yield from _way(number, way, show_keys=show_keys)
    yield from _fate(found, show_keys=show_keys)
    yield f"verdict: {verdict(found)}"


def _way(number: int, way: Way, *, show_keys: bool) -> Iterator[str]:
    yield f"path {number}: {way.text}   {way.place}"
    for place, hop in enumerate(way.hops, start=1):
        rows = f"{count(hop.trace.found)} found from {count(hop.trace.rows)}"
        lost = f" — breaks off: {hop.broken}" if hop.broken else ""
        yield f"  hop {place}  {hop.spelled} → {hop.table}: {rows}{lost}   {hop.place}"
    for person in way.people:
        yield from _person(person, show_keys=show_keys)
    unseen = sum(number for _, number in way.destinations) - sum(not person.trace.elsewhere for person in way.people)
    if unseen:
        yield f"  … and {count(unseen)} people more"
    if len(way.destinations) > 1 or not way.counts:
        homes = ", ".join(f"{count(number)} {home or 'stay'}" for home, number in way.destinations)
        rule = f"shared: {way.shared.value}" if way.shared else "shared: no rule (the plan refuses)"
        does = "counts" if way.counts else "does not count: a path before it leads to somebody"
        yield f"  {homes or 'nobody'}; {rule}, {does}   {way.shared_place or ''}".rstrip()


def _person(person: Person, *, show_keys: bool) -> Iterator[str]:
    trace = person.trace
    home = f"home {trace.home}" if trace.home else "stays"
    why = {
        Answer.TOLD: f"decide: {person.decide.value}", Answer.UNKNOWN: "no market is told: unknown_market decides",
        Answer.CONFLICT: "the evidence disagrees: conflict decides",
    }[person.answer]  # fmt: skip
    if trace.elsewhere:
        home, why = "neither moves nor stays", "by the directory they live at the home of another programme"
    elif trace.home != person.told_home:
        why = f"as the fence found it; now the evidence tells {person.told_home or 'stays'}"
    day = f", as of {person.as_of}" if person.as_of else ""
    yield f"  person {trace.kind} {_key(trace.key, show_keys=show_keys)}: {home} ({why}{day})   {person.place}"
    for piece in person.pieces:
        told = [_told(item, decides) for item, decides in zip(piece.told, piece.decides, strict=True)]
        yield f"    {piece.name}: {'; '.join(told) or 'tells nothing'}   {piece.place}"


def _told(item: Told, decides: bool) -> str:
    return f"{item.market or 'a market outside policy.homes'}{', decides' if decides else ''}"


def _fate(found: Explanation, *, show_keys: bool) -> Iterator[str]:
    for going in found.goes:
        yield f"goes:   {going.form.value} to {going.home or 'every other home'}: {going.because.value}"
        yield from _needs(going.needs, show_keys=show_keys)
    if found.refused:
        yield "refused: it is needed at a home, and the rule doesn't send it there; the plan stops"
        yield from _needs(found.refused, show_keys=show_keys)
    words = {Fate.DELETE: "deleted", Fate.BLANK: "blanked", Fate.KEEP: "stays as it is"}[found.stays.fate]
    yield f"source: {words}: {found.stays.because.value}"
    yield from _needs(found.stays.needs, show_keys=show_keys)
    if found.stays.refused:
        yield "refused: rows that stay refer to it, and no rule keeps it; the plan stops"
        yield from _needs(found.stays.refused, show_keys=show_keys)
    if not found.computed:
        yield "not asked (--quick): whether others need it at a home or at the source"
    if not found.agrees:
        yield "the frozen manifest says otherwise, as the rows were then; it is the manifest that is followed:"
        for line in found.found or ():
            yield f"  part {line.part}, {line.form.value}, {line.fate.value}"


def _needs(needs: Sequence[Need], *, show_keys: bool) -> Iterator[str]:
    for need in needs:
        first = ", ".join(_key(key, show_keys=show_keys) for key in need.first)
        yield f"  {count(need.children)} of {need.child} over {need.edge} ({first})   {need.rule}   {need.place}"


def _key(key: RowKey, *, show_keys: bool) -> str:
    return f"{','.join(key.texts)} ({key.digest})" if show_keys else key.digest


# -- for scripts -------------------------------------------------------------------------------------------------


def _as_json(found: Explanation, *, show_keys: bool) -> dict[str, Any]:
    return {
        "dataset": found.dataset, **_key_json(found.key, show_keys=show_keys), "rows": found.rows,
        "place": found.place, "present": found.present, "frozen": found.frozen, "computed": found.computed,
        "in_scope": found.in_scope, "agrees": found.agrees, "verdict": verdict(found),
        "paths": [_way_json(way, show_keys=show_keys) for way in found.ways],
        "goes": [_goes_json(going, show_keys=show_keys) for going in found.goes],
        "refused_at_home": [_need_json(need, show_keys=show_keys) for need in found.refused],
        "source": {
            "fate": found.stays.fate.value, "because": found.stays.because.value,
            "needs": [_need_json(need, show_keys=show_keys) for need in found.stays.needs],
            "refused": [_need_json(need, show_keys=show_keys) for need in found.stays.refused],
        },
        "lines": [
            {"part": line.part, "form": line.form.value, "fate": line.fate.value}
            for line in (found.lines if found.found is None else found.found)
        ],
    }  # fmt: skip


def _way_json(way: Way, *, show_keys: bool) -> dict[str, Any]:
    return {
        "path": way.text, "place": way.place, "broken": way.broken, "counts": way.counts,
        "shared": way.shared.value if way.shared else None, "shared_place": way.shared_place,
        "hops": [
            {"via": hop.spelled, "to": hop.table, "place": hop.place, "from": hop.trace.rows, "found": hop.trace.found,
             "broken": hop.broken}
            for hop in way.hops
        ],
        "people": [_person_json(person, show_keys=show_keys) for person in way.people],
        "destinations": {str(home or "stay"): number for home, number in way.destinations},
    }  # fmt: skip


def _person_json(person: Person, *, show_keys: bool) -> dict[str, Any]:
    return {
        "dataset": str(person.trace.kind), **_key_json(person.trace.key, show_keys=show_keys),
        "home": person.trace.home, "answer": person.answer.value, "decide": person.decide.value,
        "as_of": str(person.as_of) if person.as_of else None, "place": person.place,
        "evidence": [
            {"name": piece.name, "place": piece.place,
             "told": [{"market": item.market, "home": item.home, "decides": decides}
                      for item, decides in zip(piece.told, piece.decides, strict=True)]}
            for piece in person.pieces
        ],
    }  # fmt: skip


def _goes_json(going: Goes, *, show_keys: bool) -> dict[str, Any]:
    return {
        "home": going.home or "*", "form": going.form.value,
        "because": "everywhere" if going.because is Because.EVERYWHERE else going.because.value,
        "needs": [_need_json(need, show_keys=show_keys) for need in going.needs],
    }  # fmt: skip


def _need_json(need: Need, *, show_keys: bool) -> dict[str, Any]:
    return {
        "edge": need.edge, "child": need.child, "children": need.children, "rule": need.rule, "place": need.place,
        "first": [_key_json(key, show_keys=show_keys) for key in need.first],
    }  # fmt: skip


def _key_json(key: RowKey, *, show_keys: bool) -> dict[str, Any]:
    return {"digest": key.digest, "key": list(key.texts)} if show_keys else {"digest": key.digest}
