"""Paths in SQL: from a row over its hops to a person, as joins and as conditions on one row.

One builder serves the closure, the market's evidence and the guard of the fence, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from psycopg import sql

from domicile.catalogue import PLAIN
from domicile.config.conditions import qualify_condition
from domicile.config.rules import Shared
from domicile.model import DatasetId, DatasetScope, Path, Scope, Step
from domicile.stores.postgres.comparing import compare, compare_each
from domicile.stores.postgres.names import (
    DIRECTORY,
    STAGING,
    column,
    elsewhere_of,
    movers_of,
    relation,
    source_of,
)
from domicile.stores.postgres.readings import FOUND, is_key, references


def leads_to_mover(  # noqa: PLR0913 - the way, and whom it may lead to
    scope: Scope,
    path: Path,
    start: str,
    *,
    schema: str = STAGING,
    states: tuple[str, ...] | None = None,
    home: str | None = None,
    since: sql.Composable | None = None,
    cohort: int | None = None,
) -> sql.Composable:
    """A condition on row (or trigger record) `start`: over `path` it reaches a mover.

    With `states` one in any of them, with `home` one of that home, with `cohort` one of that cohort, with `since` one
    of whom the directory has said something new since that version.
    """
    reached = _movers_reached(scope, path, start, schema=schema, states=states, home=home, since=since, cohort=cohort)
    return sql.SQL("EXISTS ({})").format(reached)


def hold_movers(scope: Scope, path: Path, start: str) -> sql.Composable:
    """SELECT that locks the lines of the movers whom `start` reaches: it fails where the snapshot's are old ones."""
    return sql.SQL("{} FOR SHARE OF s").format(_movers_reached(scope, path, start, schema=STAGING, states=None))


def _movers_reached(  # noqa: PLR0913 - as above
    scope: Scope, path: Path, start: str, *, schema: str, states: tuple[str, ...] | None, home: str | None = None,
    since: sql.Composable | None = None, cohort: int | None = None,
) -> sql.Composable:  # fmt: skip
    """SELECT of nothing, a row for each mover `s` that is reached."""
    movers, state = movers_of(path.subject, schema), in_states("s", states)
    if home is not None:
        state += sql.SQL(" AND {} = {}").format(column("s", "home"), sql.Literal(home))
    if cohort is not None:
        state += sql.SQL(" AND {} = {}").format(column("s", "cohort"), sql.Literal(cohort))
    if since is not None:
        state += sql.SQL(
            " AND EXISTS (SELECT FROM {} AS known WHERE known.kind = {} AND known.key = s.key::text"
            " AND known.version > {})"
        ).format(sql.Identifier(DIRECTORY, "place"), sql.Literal(path.subject), since)
    if not path.steps:
        return sql.SQL("SELECT FROM {} AS s WHERE {}{}").format(
            movers, same_person(scope, path.subject, column("s", "key"), column(start, scope.kind(path.subject).key)),
            state,
        )  # fmt: skip
    items, condition, reached = _tied(scope, path, start, schema)
    if items is None:
        return sql.SQL("SELECT FROM {} AS s WHERE {}{}{}").format(movers, reached, condition, state)
    return sql.SQL("SELECT FROM {} JOIN {} AS s ON {} WHERE true{}{}").format(items, movers, reached, condition, state)


def in_states(alias: str, states: tuple[str, ...] | None) -> sql.Composable:
    """AND the mover `alias` is in any of these states; nothing at all where all are meant."""
    if states is None:
        return sql.SQL("")
    return sql.SQL(" AND {} = ANY({})").format(column(alias, "state"), sql.Literal(list(states)))


def leads_to_anyone(scope: Scope, path: Path, start: str, *, schema: str = STAGING) -> sql.Composable:
    """A condition on row `start`: over `path` (of one step or more) it reaches a person, mover or stayer."""
    first, condition = _first(scope, path.steps[0], start, schema)
    joins, _ = follow(scope, path.steps[1:], "h0", schema=schema, number=1)
    return sql.SQL("EXISTS (SELECT FROM {}{} WHERE true{})").format(first, joins, condition)


def leads_to_others(scope: Scope, path: Path, start: str, *, state: str | None) -> sql.Composable:
    """A condition on row `start`: over `path` it reaches a person who is no mover in that state (None: in any).

    Whoever lives at the home of another programme is none of them: the source keeps nothing for them.
    """

    def apart(person: str) -> sql.Composable:
        return sql.SQL("NOT EXISTS (SELECT FROM {} AS s WHERE {}{}) AND NOT {}").format(
            movers_of(path.subject),
            is_mover(scope, path.subject, person),
            in_states("s", None if state is None else (state,)),
            lives_elsewhere(scope, path.subject, column(person, scope.kind(path.subject).key)),
        )

    if not path.steps:
        return apart(start)
    first, condition = _first(scope, path.steps[0], start, STAGING)
    joins, person = follow(scope, path.steps[1:], "h0", number=1)
    return sql.SQL("EXISTS (SELECT FROM {}{} WHERE {}{})").format(first, joins, apart(person), condition)


def has_outsiders(scope: Scope, dataset: DatasetScope, row: str) -> sql.Composable:
    """The condition that somebody has a part in the row who is no mover of this place, and keeps it from leaving."""
    asked = [
        path
        for number, path in enumerate(dataset.paths)
        if path.steps
        and dataset.sharing(path) is not Shared.ANY
        and not (number and dataset.sharing(path) is Shared.FIRST)
    ]
    return any_of(leads_to_others(scope, path, row, state=None) for path in asked)


def leads_elsewhere(scope: Scope, path: Path, row: str) -> sql.Composable:
    """The condition that over `path` the row reaches somebody who lives at the home of another programme."""
    if not path.steps:
        return lives_elsewhere(scope, path.subject, column(row, scope.kind(path.subject).key))
    first, condition = _first(scope, path.steps[0], row, STAGING)
    joins, person = follow(scope, path.steps[1:], "h0", number=1)
    theirs = lives_elsewhere(scope, path.subject, column(person, scope.kind(path.subject).key))
    return sql.SQL("EXISTS (SELECT FROM {}{} WHERE {}{})").format(first, joins, theirs, condition)


def counts(scope: Scope, dataset: DatasetScope, number: int, row: str) -> sql.Composable:
    """AND the path of that number counts for the row: one of rule `first` only where no path before leads to anyone."""
    path = dataset.paths[number]
    if not number or dataset.sharing(path) is not Shared.FIRST:
        return sql.SQL("")
    before = [
        leads_to_anyone(scope, earlier, row) if earlier.steps else sql.SQL("true") for earlier in dataset.paths[:number]
    ]
    return sql.SQL(" AND NOT ({})").format(any_of(before))


def counting(scope: Scope, dataset: DatasetScope, row: str, of: Callable[[Path], sql.Composable]) -> sql.Composable:
    """The condition that it is so of a path that counts."""
    found = []
    for number, path in enumerate(dataset.paths):
        counted = counts(scope, dataset, number, row)
        found.append(sql.SQL("({}{})").format(of(path), counted) if counted != sql.SQL("") else of(path))
    return sql.SQL("({})").format(any_of(found))


def any_of(conditions: Iterable[sql.Composable]) -> sql.Composable:
    """Whether one of the conditions holds."""
    found = list(conditions)
    return sql.SQL(" OR ").join(found) if found else sql.SQL("false")


def path_join(
    scope: Scope, path: Path, start: str, *, schema: str = STAGING, number: int = 0
) -> tuple[sql.Composable, sql.Composable]:
    """JOIN clauses that follow `path` from row `start`, and the condition that mover `s` is the person at its end."""
    looks_up = bool(path.steps) and _only_looks_up(scope, path)
    steps = path.steps[:-1] if looks_up else path.steps
    joins, here = follow(scope, steps, start, schema=schema, number=number)
    if not looks_up:
        return joins, is_mover(scope, path.subject, here)
    last, found = path.steps[-1], f"v{number + len(steps)}"
    if last.reading is None:
        return joins, compare_each(last.comparisons, [column("s", "key")], [column(here, last.columns[0])])
    opening = sql.SQL(" CROSS JOIN LATERAL ({}) AS {}(x)").format(
        references(last.reading, here, schema=schema), sql.Identifier(found)
    )
    return joins + opening, is_key(last.reading, column("s", "key"), sql.Identifier(found, "x"))


def follow(  # noqa: PLR0913 - from where, over what, and under which names
    scope: Scope, steps: tuple[Step, ...], start: str, *, schema: str = STAGING, number: int = 0, outer: bool = False
) -> tuple[sql.Composable, str]:
    """JOIN clauses that follow the steps from row `start`, and the last row's alias (h0, h1, …)."""
    here = start
    clauses: list[sql.Composable] = []
    join = sql.SQL(" LEFT JOIN " if outer else " JOIN ")
    for at, step in enumerate(steps, start=number):
        there = f"h{at}"
        match = _match(step, here, there)
        if step.reading is not None:
            clauses.append(
                sql.SQL(" CROSS JOIN LATERAL ({}) AS {}(x)").format(
                    references(step.reading, here, schema=schema), sql.Identifier(f"v{at}")
                )
            )
            match = is_key(step.reading, column(there, step.to_columns[0]), sql.Identifier(f"v{at}", "x"))
        clauses.append(
            join + sql.SQL("{} ON {}{}").format(_there(scope, step, there, schema), match, _when(step, here))
        )
        here = there
    return sql.SQL("").join(clauses), here


def is_mover(scope: Scope, kind: DatasetId, here: str) -> sql.Composable:
    """The condition that mover `s` of that kind is the person whose own row `here` is."""
    return same_person(scope, kind, column("s", "key"), column(here, scope.kind(kind).key))


def lives_elsewhere(
    scope: Scope, kind: DatasetId, key: sql.Composable, *, schema: str = STAGING
) -> sql.Composable:  # fmt: skip
    """The condition that the person of that key lives at the home of another programme."""
    return sql.SQL("EXISTS (SELECT FROM {} AS e WHERE {})").format(
        elsewhere_of(kind, schema), same_person(scope, kind, column("e", "key"), key)
    )


def same_person(scope: Scope, kind: DatasetId, one: sql.Composable, other: sql.Composable) -> sql.Composable:
    """The condition that two keys of one kind are one person's."""
    people, key = scope.dataset(kind), scope.kind(kind).key
    how = next((item.equality for item in people.columns if item.name == key), None)
    return compare(how or PLAIN, one, other)


def _tied(
    scope: Scope, path: Path, start: str, schema: str
) -> tuple[sql.Composable | None, sql.Composable, sql.Composable]:
    """FROM items of the path's tables, the condition that ties the first to `start`, and that mover `s` is reached.

    Apart, so that the planner may turn an EXISTS over them into a join.
    """
    first, rest = path.steps[0], path.steps[1:]
    if not rest and _only_looks_up(scope, path):
        if first.reading is None:
            reached = compare_each(first.comparisons, [column("s", "key")], [column(start, first.columns[0])])
            return None, sql.SQL(""), reached
        item: sql.Composable = sql.SQL("({}) AS v0(x)").format(references(first.reading, start, schema=schema))
        return item, sql.SQL(""), is_key(first.reading, column("s", "key"), sql.Identifier("v0", "x"))
    item, condition = _first(scope, first, start, schema)
    joins, reached = path_join(scope, replace(path, steps=rest), "h0", schema=schema, number=1)
    return item + joins, condition, reached


def _first(scope: Scope, step: Step, start: str, schema: str) -> tuple[sql.Composable, sql.Composable]:
    """The FROM item `h0` of a first step, and the condition that ties it to `start`, `when` and all."""
    there = _there(scope, step, "h0", schema)
    if step.reading is None:
        return there, sql.SQL(" AND {}{}").format(_match(step, start, "h0"), _when(step, start))
    item = sql.SQL("({}) AS v0(x) JOIN {} ON {}").format(
        references(step.reading, start, schema=schema), there,
        is_key(step.reading, column("h0", step.to_columns[0]), sql.Identifier("v0", "x")),
    )  # fmt: skip
    return item, _when(step, start)


def _there(scope: Scope, step: Step, there: str, schema: str) -> sql.Composable:
    """The FROM item of a step's table; with references inside a column of it, one row for each.

    Rows of tables that inherit from it are other datasets'.
    """
    table = next((source_of(item) for item in scope.datasets if item.table == step.table), relation(step.table))
    if step.to_reading is None:
        return sql.SQL("{} AS {}").format(table, sql.Identifier(there))
    return sql.SQL(
        "(SELECT c.*, r.x AS {found} FROM {table} AS c CROSS JOIN LATERAL ({reads}) AS r(x)) AS {there}"
    ).format(
        found=sql.Identifier(FOUND), table=table, reads=references(step.to_reading, "c", schema=schema),
        there=sql.Identifier(there),
    )  # fmt: skip


def _match(step: Step, here: str, there: str) -> sql.Composable:
    if step.to_reading is not None:
        return is_key(step.to_reading, column(here, step.columns[0]), column(there, FOUND))
    near = [column(here, name) for name in step.columns]
    far = [column(there, name) for name in step.to_columns]
    return compare_each(step.comparisons, near, far) if step.down else compare_each(step.comparisons, far, near)


def _only_looks_up(scope: Scope, path: Path) -> bool:
    """Whether the last step only looks up the person whose key the row before it already holds."""
    last = path.steps[-1]
    return not last.down and not last.when and last.to_columns == (scope.kind(path.subject).key,)


def _when(step: Step, here: str) -> sql.Composable:
    if not step.when:
        return sql.SQL("")
    return sql.SQL(" AND ") + sql.SQL(qualify_condition(step.when, here))  # parsed and rebuilt, never pasted
