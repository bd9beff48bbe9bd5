"""What the guard of one dataset says: a PL/pgSQL function, made from the paths, the states and the side it stands at.

A row stands in the way of a write (docs/closure.md, section 7) when it leads

1. to somebody `fenced`: over any path, and whoever else it leads to;
2. to somebody of the state in which this side has no say (`home` at the source, `moving` at a home) and to nobody who
   has: over the paths that count, as in the closure (`first`: only where no path before it leads to anyone).

At the source a public write passes the second rule: what is public of people at home goes on being written there.

A row of somebody who lives at home and of somebody who doesn't may be written at the source, by who knows that it is
the latter's alone. Who says in `domicile.as_of` which version of the directory they went by is refused at the source
where one of the row's people has come home since: they took it for a row of both (docs/protocol.md).

The newest states are what counts. Under READ COMMITTED each statement of a volatile function sees them. A transaction
with one snapshot for all its statements would not, so the guard locks the lines it looks at: that fails with 40001
where a line was changed since. Lines that came since are not seen at all; so the one line of `domicile.newest`, which
each coming changes, is locked, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from domicile.config.conditions import named_columns
from domicile.config.rules import Shared
from domicile.model import DatasetId, DatasetScope, Fate, Path, Scope, Side, State
from domicile.stores.postgres.closure.market import becomes_mover
from domicile.stores.postgres.names import (
    DIRECTORY,
    STAGING,
    column,
    is_stand_in,
    key_match,
    movers_of,
    source_of,
    staged,
    tag,
)
from domicile.stores.postgres.paths import (
    counting,
    follow,
    hold_movers,
    is_mover,
    leads_to_mover,
    leads_to_others,
)
from domicile.stores.postgres.readings import references, refers
from domicile.stores.postgres.session import FENCED_STATE, run

MESSAGE = "domicile: this row belongs to a person who is being moved home; write there"
MOVED_MESSAGE = "domicile: somebody of this row has moved since the directory was asked; ask it again"
TOO_OLD_MESSAGE = "could not serialize access: people were moved since this transaction began; begin it again"
TOO_OLD_STATE = "40001"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarding:
    """Where a guard stands, and what it refuses beside.

    `closed`: nobody becomes a mover any more. `frozen`: nor may a new row hang on one that the manifest lets go.
    """

    side: Side = Side.SOURCE
    closed: bool = True
    frozen: bool = False

    @property
    def silent(self) -> State:
        """The state of those over whose rows this side has no say."""
        return State.HOME if self.side is Side.SOURCE else State.MOVING


def function_of(dataset: DatasetScope) -> sql.Identifier:
    """Name the dataset's guard."""
    return sql.Identifier(STAGING, f"guard_{tag(dataset.id)}")


def replace_guard(connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, guarding: Guarding) -> None:
    """Write the guard function of one dataset."""
    body = sql.SQL(
        "BEGIN"
        " IF current_setting('domicile.pass', true) = 'on' AND EXISTS (SELECT FROM {passes} AS p"
        " WHERE p.transaction = pg_current_xact_id()::text) THEN"
        " IF TG_OP = 'DELETE' THEN RETURN old; END IF; RETURN new; END IF;"
        "{held}{old}{new}{also}"
        " IF TG_OP = 'DELETE' THEN RETURN old; END IF; RETURN new;"
        " END"
    ).format(
        passes=sql.Identifier(STAGING, "pass"),
        held=_held(scope, dataset),
        old=_refusal_of(scope, dataset, "old", guarding),
        new=_refusal_of(scope, dataset, "new", guarding),
        also=_also_refused(scope, dataset, guarding),
    )
    run(
        connection,
        sql.SQL(
            "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            " SET search_path = pg_catalog, pg_temp SET row_security = off AS {}"
        ).format(function_of(dataset), sql.Literal(body.as_string(connection))),
    )


def _raise(message: str = MESSAGE) -> sql.Composable:
    return sql.SQL("RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = {};").format(
        sql.Literal(FENCED_STATE), sql.Literal(message)
    )


def _is_there(record: str) -> sql.Composable:
    return sql.SQL("TG_OP <> {}").format(sql.Literal("INSERT" if record == "old" else "DELETE"))


def _held(scope: Scope, dataset: DatasetScope) -> sql.Composable:
    """Of a transaction with one snapshot: fail where what it would see of the states is no longer so."""
    lines = [
        sql.SQL(" IF {} THEN {} END IF;").format(
            _is_there(record),
            sql.SQL(" ").join(sql.SQL("PERFORM {};").format(_performed(scope, path, record)) for path in dataset.paths),
        )
        for record in ("old", "new")
    ]
    return sql.SQL(
        " IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN"
        " PERFORM FROM {newest} FOR SHARE; IF NOT FOUND THEN"
        " RAISE EXCEPTION USING ERRCODE = {state}, MESSAGE = {message}; END IF;{lines} END IF;"
    ).format(
        newest=sql.Identifier(STAGING, "newest"), state=sql.Literal(TOO_OLD_STATE),
        message=sql.Literal(TOO_OLD_MESSAGE), lines=sql.SQL("").join(lines),
    )  # fmt: skip


def _performed(scope: Scope, path: Path, record: str) -> sql.Composable:
    """The query that locks, as PERFORM spells it: without its SELECT."""
    return sql.SQL("FROM ({}) AS held").format(hold_movers(scope, path, record))


def _refusal_of(scope: Scope, dataset: DatasetScope, record: str, guarding: Guarding) -> sql.Composable:
    """Raise for the old or the new row; those that lead to nobody concerned are through after one look."""
    fenced, silent = (State.FENCED.value,), (guarding.silent.value,)
    concerned = _any_path(scope, dataset, record, (*fenced, *silent))
    alone = sql.SQL("({} AND NOT {})").format(
        counting(scope, dataset, record, lambda path: leads_to_mover(scope, path, record, states=silent)),
        counting(scope, dataset, record, lambda path: _has_say(scope, dataset, path, record, guarding)),
    )
    if not dataset.moves:
        alone = sql.SQL("({} AND NOT {})").format(alone, _public_write(dataset, record, guarding.side))
    return sql.SQL(
        " IF {there} THEN IF {concerned} THEN IF {fenced} THEN {no} END IF;"
        " IF {alone} THEN{left_out} {no} END IF;{moved} END IF; END IF;"
    ).format(
        left_out=_left_out(dataset, guarding.side),
        there=_is_there(record), concerned=concerned, fenced=_any_path(scope, dataset, record, fenced), alone=alone,
        no=_raise(), moved=_moved_since(scope, dataset, record) if guarding.side is Side.SOURCE else sql.SQL(""),
    )  # fmt: skip


def _moved_since(scope: Scope, dataset: DatasetScope, record: str) -> sql.Composable:
    """Raise where the writer says what they went by, and one of the row's people has come home since.

    Each IF is planned when it is come to: there may be no directory.
    """
    as_of = sql.SQL("current_setting('domicile.as_of', true)")
    since = sql.SQL("{}::bigint").format(as_of)

    def has_come(path: Path) -> sql.Composable:
        return leads_to_mover(scope, path, record, states=(State.HOME.value,), since=since)

    behind = counting(scope, dataset, record, has_come)
    if not dataset.moves:
        behind = sql.SQL("({}) AND NOT {}").format(behind, _public_write(dataset, record, Side.SOURCE))
    return sql.SQL(
        " IF {as_of} <> '' AND to_regclass({place}) IS NOT NULL THEN IF {behind} THEN {no} END IF; END IF;"
    ).format(as_of=as_of, place=sql.Literal(f"{DIRECTORY}.place"), behind=behind, no=_raise(MOVED_MESSAGE))


def _any_path(scope: Scope, dataset: DatasetScope, record: str, states: tuple[str, ...]) -> sql.Composable:
    reach = [leads_to_mover(scope, path, record, states=states) for path in dataset.paths]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(reach))


def _has_say(scope: Scope, dataset: DatasetScope, path: Path, record: str, guarding: Guarding) -> sql.Composable:
    """Whether over this path the row leads to somebody who may write it here.

    At a home these are the people who live there. At the source all who do not live elsewhere: movers who are not
    home yet, and stayers, unless the path's rule is `any`, by which the source loses the row, stayers or not.
    """
    if guarding.side is Side.HOME:
        return leads_to_mover(scope, path, record, states=(State.HOME.value,))
    if dataset.sharing(path) is Shared.ANY:
        return leads_to_mover(scope, path, record, states=(State.MOVING.value,))
    return leads_to_others(scope, path, record, state=guarding.silent.value)


# -- what is public ------------------------------------------------------------------------------------------------


def _public_write(dataset: DatasetScope, record: str, side: Side) -> sql.Composable:
    """Whether it writes only what everybody may see: nothing private, and nothing that says whose the row is.

    At a home only bare rows may come, which others refer to; the person's own row takes the place of theirs.
    Rows are compared as they lie, since not every type has an equality, and a text may hide a difference.
    """
    if side is Side.HOME:
        new = record == "new"
        return sql.SQL("(TG_OP = 'INSERT' AND {})").format(without_private(dataset, "new")) if new else sql.SQL("false")
    changed_not = sql.SQL("(TG_OP = 'UPDATE' AND {})").format(_left_alone(dataset))
    if record == "old":
        return changed_not
    return sql.SQL("({} OR (TG_OP = 'INSERT' AND {}))").format(changed_not, without_private(dataset, "new"))


def _left_out(dataset: DatasetScope, side: Side) -> sql.Composable:
    """At a home: leave out what a trigger of the platform's would write to what is public of who lives elsewhere yet.

    A like of somebody here counts at a clip of theirs. The row here is a copy that follows the source, where its public
    half is written: to refuse would forbid the like for as long as they wait, to write would part copy and source.
    """
    if side is not Side.HOME or dataset.moves:
        return sql.SQL("")
    return sql.SQL(
        " IF TG_OP = 'UPDATE' AND pg_trigger_depth() > 1 THEN IF {} THEN RETURN NULL; END IF; END IF;"
    ).format(_left_alone(dataset))


def _left_alone(dataset: DatasetScope) -> sql.Composable:
    written = {item.name for item in dataset.columns}
    fixed = {*private_columns(dataset), *dataset.key, *path_columns(dataset)}
    tests: list[sql.Composable] = [
        sql.SQL("{}record_image_eq(ROW({}), ROW({}))").format(
            # What the server computes is there only when the row is.
            sql.SQL("" if name in written else "TG_WHEN = 'BEFORE' OR "),
            column("old", name),
            column("new", name),
        )
        for name in sorted(fixed)
    ]
    return sql.SQL(" AND ").join(sql.SQL("({})").format(test) for test in tests or [sql.SQL("true")])


def without_private(dataset: DatasetScope, row: str) -> sql.Composable:
    """The condition on a row that it holds nothing private: null or the stand-in in each such column."""
    types = {item.name: item.type for item in dataset.columns}
    blanks = {blank.column: blank for blank in dataset.blanks}
    tests: list[sql.Composable] = [sql.SQL("true")]
    for name in private_columns(dataset):
        test = sql.SQL("{} IS NULL").format(column(row, name))
        if name in blanks:
            instead = is_stand_in(dataset, blanks[name], types[name], row)
            test = sql.SQL("coalesce({} OR {}, false)").format(test, instead)
        tests.append(test)
    return sql.SQL(" AND ").join(tests)


def private_columns(dataset: DatasetScope) -> tuple[str, ...]:
    """The private columns that somebody writes; what is computed of them follows them."""
    private = {*dataset.private, *(blank.column for blank in dataset.blanks)}
    return tuple(item.name for item in dataset.columns if item.name in private)


def path_columns(dataset: DatasetScope) -> frozenset[str]:
    """The row's own columns over which its paths lead, and those that say whether they do."""
    first = [path.steps[0] for path in dataset.paths if path.steps]
    return frozenset(
        name for step in first for name in (*step.columns, *(named_columns(step.when) if step.when else ()))
    )


# -- what is refused beside ----------------------------------------------------------------------------------------


def _also_refused(scope: Scope, dataset: DatasetScope, guarding: Guarding) -> sql.Composable:
    tests: list[sql.Composable] = []
    if guarding.closed:
        tests.extend(_makes_a_mover(scope, dataset))
    if guarding.frozen:
        tests.extend(_hangs_on_leaving(scope, dataset))
    if not tests:
        return sql.SQL("")
    return sql.SQL(" IF {} THEN IF {} THEN {} END IF; END IF;").format(
        _is_there("new"), sql.SQL(" OR ").join(tests), _raise()
    )


def _makes_a_mover(scope: Scope, dataset: DatasetScope) -> Iterator[sql.Composable]:
    """Whether by the new row somebody who is none would move: their own row, or one that tells their market.

    True once the row is in its table.
    """
    if scope.is_subject(dataset.id):
        row = sql.SQL("(SELECT (new).*)")
        yield sql.SQL("({} AND NOT {})").format(
            becomes_mover(scope, scope.kind(dataset.id), row, schema=STAGING), _is_listed(scope, dataset.id, "new")
        )
    for kind in scope.kinds:
        ways = [path for path in dataset.paths if path.steps and path.subject == kind.dataset]
        for path in ways if dataset.table in kind.market.tables else ():
            clauses, person = follow(scope, path.steps, "n")
            their_row = sql.SQL("(SELECT {}.*)").format(sql.Identifier(person))
            yield sql.SQL("EXISTS (SELECT FROM (SELECT (new).*) AS n{} WHERE {} AND NOT {})").format(
                clauses, becomes_mover(scope, kind, their_row, schema=STAGING), _is_listed(scope, kind.dataset, person)
            )


def _is_listed(scope: Scope, kind: DatasetId, person: str) -> sql.Composable:
    """Whether the person whose own row it is is a mover already: then the states say what becomes of the write."""
    return sql.SQL("EXISTS (SELECT FROM {} AS s WHERE {})").format(movers_of(kind), is_mover(scope, kind, person))


def _hangs_on_leaving(scope: Scope, dataset: DatasetScope) -> Iterator[sql.Composable]:
    for edge in scope.edges:
        parent = scope.dataset(edge.parent)
        if edge.child != dataset.id or not parent.moves:
            continue
        items: sql.Composable = sql.SQL("")
        if edge.reading is not None:
            reads = references(edge.reading, "new", schema=STAGING)
            items = sql.SQL("({}) AS new_reads(x) CROSS JOIN ").format(reads)
        yield sql.SQL("EXISTS (SELECT FROM {}{} AS p JOIN {} AS m ON {} WHERE m.fate = {} AND {})").format(
            items,
            source_of(parent),
            staged("m", parent.id),
            key_match(parent, "p", "m"),
            sql.Literal(Fate.DELETE.value),
            refers(edge, "new", "p"),
        )
