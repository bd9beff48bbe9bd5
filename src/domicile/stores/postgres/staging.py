"""Survey and freeze: the closure computed, counted, cut into slices, and (frozen) kept with its manifest.

The frozen result stands in one line of `domicile.frozen`, written in the transaction that made the manifest; so after
a crash it is either all there or not there. It holds counts and ids, never keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from pydantic import TypeAdapter

from domicile.catalogue import Sequence
from domicile.config.rules import Shared
from domicile.errors import Undecided
from domicile.model import (
    SLICE_ROWS_MAX,
    DatasetScope,
    Fate,
    Form,
    Manifest,
    Scope,
    Slice,
    SliceId,
    Tally,
)
from domicile.stores.postgres import sequences
from domicile.stores.postgres.closure import EVERYWHERE, Work, compute
from domicile.stores.postgres.closure import number as number_lines
from domicile.stores.postgres.closure.keyed import with_keys
from domicile.stores.postgres.fence import (
    close_to_others,
    create_staging,
    guarded,
    keep_sources,
    movers_by_home,
)
from domicile.stores.postgres.guard import Guarding, replace_guard, without_private
from domicile.stores.postgres.names import STAGING, key_match, lines_match, source_of, staged
from domicile.stores.postgres.paths import has_outsiders, leads_to_mover
from domicile.stores.postgres.session import number as count_of
from domicile.stores.postgres.session import run
from domicile.stores.postgres.shape import freeze_shapes

SURVEY = "domicile_survey"
MEMORY = {"work_mem": "128MB", "maintenance_work_mem": "256MB"}  # of the server, for this one transaction
MANIFEST = TypeAdapter(Manifest)


Look = Callable[[psycopg.Connection[Any], str], None]
"""Reads more by the closure that stands in a schema, before it is gone again."""


def survey(
    connection: psycopg.Connection[Any], scope: Scope, *, digest_key: bytes, beside: Look | None = None
) -> Manifest:
    """Compute the closure in a transaction that is rolled back; return what it counted."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        create_staging(connection, scope, SURVEY)
        run(connection, sql.SQL("INSERT INTO {} VALUES ('survey')").format(sql.Identifier(SURVEY, "token")))
        manifest = _compute(connection, scope, SURVEY, digest_key)
        if beside is not None:
            beside(connection, SURVEY)
        return manifest
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")


def freeze(
    connection: psycopg.Connection[Any],
    scope: Scope,
    *,
    digest_key: bytes,
    catalogue_sequences: tuple[Sequence, ...],
    refine: Callable[[Work], None] | None = None,
) -> Manifest:
    """Freeze the closure, or return the one that is frozen; raise Undecided when rows have no rule.

    After a draft it is that of the people as they are listed; `refine` then says of its lines what may be compared.
    """
    found = frozen(connection)
    if found is not None:
        return found
    drafted = exists(connection, "draft")
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        if drafted:
            _drop_manifest(connection, scope)
        else:
            _make_secret(connection)
            sequences.freeze(connection, catalogue_sequences)
        manifest = _compute(connection, scope, STAGING, digest_key, refine=refine)
        refuse_undecided(manifest)
        freeze_shapes(connection, scope.datasets)
        for dataset in guarded(scope):
            replace_guard(connection, scope, dataset, Guarding(frozen=True))
        keep_sources(connection)
        body = MANIFEST.dump_json(manifest).decode()
        run(
            connection,
            sql.SQL("CREATE TABLE {} AS SELECT {}::text AS body").format(
                sql.Identifier(STAGING, "frozen"), sql.Literal(body)
            ),
        )
        run(
            connection,
            sql.SQL("CREATE TABLE {} (slice text PRIMARY KEY, deleted bigint, blanked bigint, digest text)").format(
                sql.Identifier(STAGING, "erased")
            ),
        )
        close_to_others(connection, STAGING)
        connection.execute("COMMIT")
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    _settle(connection, scope)
    return manifest


def unfreeze(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Take back the freeze of a move under way: people may be brought back, and the guards let rows hang on theirs."""
    connection.execute("BEGIN")
    try:
        for name in ("frozen", "erased", "shape"):
            run(connection, sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(STAGING, name)))
        for dataset in guarded(scope):
            replace_guard(connection, scope, dataset, Guarding(closed=False))
        keep_sources(connection)
        connection.execute("COMMIT")
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise


def _drop_manifest(connection: psycopg.Connection[Any], scope: Scope) -> None:
    for dataset in scope.datasets:
        run(connection, sql.SQL("DROP TABLE IF EXISTS {}").format(staged("m", dataset.id)))


def draft(
    connection: psycopg.Connection[Any],
    scope: Scope,
    *,
    digest_key: bytes,
    catalogue_sequences: tuple[Sequence, ...],
) -> Manifest:
    """Compute the closure of one moment while people write, for the copy; repeated, return the one that is there.

    Nobody is fenced by it, and nothing may be erased by it: what came after that moment follows by the changefeed.
    Raises Undecided when rows have no rule.
    """
    if exists(connection, "draft"):
        row = run(connection, sql.SQL("SELECT body FROM {}").format(sql.Identifier(STAGING, "draft"))).fetchone()
        return MANIFEST.validate_json(row[0] if row else "")
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        _make_secret(connection)
        manifest = _compute(connection, scope, STAGING, digest_key)
        refuse_undecided(manifest)
        sequences.freeze(connection, catalogue_sequences)
        run(
            connection,
            sql.SQL("CREATE TABLE {} AS SELECT {}::text AS body").format(
                sql.Identifier(STAGING, "draft"), sql.Literal(MANIFEST.dump_json(manifest).decode())
            ),
        )
        close_to_others(connection, STAGING)
        connection.execute("COMMIT")
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    _settle(connection, scope)
    return manifest


def _settle(connection: psycopg.Connection[Any], scope: Scope) -> None:
    """Have the manifest's pages known as settled, so that slices are found in its index alone.

    Only speed hangs on it: measured on 2.4 million lines, 2.2 s of the server's time to read all slices for 2.6 s.
    """
    tables = sql.SQL(", ").join(staged("m", dataset.id) for dataset in scope.datasets)
    run(connection, sql.SQL("VACUUM {}").format(tables))


def _make_secret(connection: psycopg.Connection[Any]) -> None:
    """Make the secret of the tokens in the server itself, from 488 bits of its own strong randomness.

    So it never travels, stands in no statement and no parameter that a log could keep, nobody but the server ever
    knew it, and with the staging schema it is gone. See ADR 0014.
    """
    run(
        connection,
        sql.SQL(
            "INSERT INTO {} SELECT encode(sha256(convert_to(string_agg(gen_random_uuid()::text, ''), 'UTF8')), 'hex')"
            " FROM generate_series(1, 4)"
        ).format(sql.Identifier(STAGING, "token")),
    )


def frozen(connection: psycopg.Connection[Any]) -> Manifest | None:
    """Return the frozen manifest's counts, or None."""
    if not exists(connection, "frozen"):
        return None
    row = run(connection, sql.SQL("SELECT body FROM {}").format(sql.Identifier(STAGING, "frozen"))).fetchone()
    return MANIFEST.validate_json(row[0]) if row else None


def exists(connection: psycopg.Connection[Any], table: str) -> bool:
    """Whether the staging schema holds that table."""
    row = connection.execute(
        "SELECT to_regclass(%s) IS NOT NULL", (sql.Identifier(STAGING, table).as_string(connection),)
    ).fetchone()
    return bool(row and row[0])


def refuse_undecided(manifest: Manifest) -> None:
    """Raise Undecided with every finding that lacks a rule, its count, and the lines to add."""
    undecided = manifest.undecided()
    if undecided:
        lines = "\n".join(f"- {finding.where}: {finding.text}; add\n{finding.remedy}" for finding in undecided)
        raise Undecided(f"rows need a rule that domicile.yaml does not give:\n{lines}")


def _compute(
    connection: psycopg.Connection[Any], scope: Scope, schema: str, digest_key: bytes,
    *, refine: Callable[[Work], None] | None = None,
) -> Manifest:  # fmt: skip
    for name, value in MEMORY.items():
        connection.execute("SELECT set_config(%s, %s, true)", (name, value))
    work = Work(connection=connection, scope=scope, schema=schema)
    findings = tuple(with_keys(work, tuple(compute(work)), digest_key=digest_key))
    if refine is not None:
        refine(work)
    number_lines(work)
    lines = {dataset.id: _ranges(connection, dataset, schema) for dataset in scope.datasets}
    slices = tuple(piece for dataset in scope.datasets for piece in _slices(scope, dataset, lines[dataset.id]))
    counted = movers_by_home(connection, scope, schema)
    return Manifest(
        subjects=tuple((home, counted.get(home, 0)) for home in scope.homes),
        slices=slices,
        tallies=tuple(
            tally
            for dataset in scope.datasets
            for tally in _tallies(
                scope, dataset, lines[dataset.id], _kept(connection, dataset, lines[dataset.id], schema)
            )
        ),
        findings=findings,
    )


def _slices(scope: Scope, dataset: DatasetScope, ranges: _Ranges) -> Iterator[Slice]:
    """Cut each part into ranges of numbers, none of which holds owned and supporting rows both.

    A dataset without key is one range, as its rows are found by their content.
    """
    for home in scope.homes:
        for form in Form:
            part = EVERYWHERE if form is Form.SKELETON and (EVERYWHERE, form.value) in ranges else str(home)
            for number, lines in enumerate(ranges.get((part, form.value), ())):
                mine = [line for line in lines if part != EVERYWHERE or line.owner != home]
                yield Slice(
                    id=SliceId(f"{dataset.id}/{home}/{form}/{number}"),
                    dataset=dataset.id,
                    home=home,
                    part=part,
                    form=form,
                    after=min(line.first for line in lines) - 1,
                    upto=max(line.last for line in lines),
                    rows=sum(line.copies for line in mine),
                    delete=sum(line.delete for line in mine),
                    blank=sum(line.blank for line in mine),
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """The lines of one owner in one range of a part."""

    owner: str | None
    first: int
    last: int
    copies: int
    delete: int
    blank: int


_Ranges = dict[tuple[str, str], list[list[_Lines]]]


def _ranges(connection: psycopg.Connection[Any], dataset: DatasetScope, schema: str) -> _Ranges:
    """By part and form: the ranges in order, each with its lines by owner.

    Supporting rows are numbered after the owned ones, and their ranges begin with the first of them.
    """
    size = SLICE_ROWS_MAX if dataset.key else 1 << 62
    rows = run(
        connection,
        sql.SQL(
            "SELECT m.part, m.form, s.n IS NOT NULL AND m.n >= s.n AS supporting,"
            " (m.n - CASE WHEN m.n >= s.n THEN s.n ELSE 1 END) / {size} AS range, owner, min(m.n), max(m.n),"
            " sum(copies), coalesce(sum(copies) FILTER (WHERE fate = {delete}), 0),"
            " coalesce(sum(copies) FILTER (WHERE fate = {blank}), 0)"
            " FROM {m} AS m LEFT JOIN (SELECT part, form, min(n) AS n FROM {m} WHERE part <> {star} AND owner IS NULL"
            " GROUP BY 1, 2) AS s ON s.part = m.part AND s.form = m.form GROUP BY 1, 2, 3, 4, 5"
        ).format(
            star=sql.Literal(EVERYWHERE),
            m=staged("m", dataset.id, schema),
            size=sql.Literal(size),
            delete=sql.Literal(Fate.DELETE.value),
            blank=sql.Literal(Fate.BLANK.value),
        ),
    )
    found: dict[tuple[str, str], list[list[_Lines]]] = defaultdict(list)
    previous: tuple[Any, ...] = ()
    for part, form, supporting, number, owner, first, last, copies, delete, blank in sorted(rows, key=_place):
        if (part, form, supporting, number) != previous:
            found[part, form].append([])
            previous = (part, form, supporting, number)
        found[part, form][-1].append(
            _Lines(
                owner=owner, first=int(first), last=int(last), copies=int(copies), delete=int(delete), blank=int(blank)
            )
        )
    return dict(found)


def _place(row: tuple[Any, ...]) -> tuple[str, str, bool, int, str]:
    """Where a group of lines stands; sorted here, as the server would sort the lines rather than their few groups."""
    part, form, supporting, number, owner, *_ = row
    return part, form, supporting, number, owner or ""


def _tallies(scope: Scope, dataset: DatasetScope, ranges: _Ranges, kept: dict[str, int]) -> Iterator[Tally]:
    """By home: owned and supporting rows, and what becomes of the owned."""
    for home in scope.homes:
        lines = [line for (part, _), found in ranges.items() if part == home for group in found for line in group]
        yield Tally(
            dataset=dataset.id,
            home=home,
            whole=sum(line.copies for line in lines if line.owner is not None),
            supporting=sum(line.copies for line in lines if line.owner is None),
            delete=sum(line.delete for line in lines),
            blank=sum(line.blank for line in lines),
            kept=kept.get(home, 0),
        )


def _kept(connection: psycopg.Connection[Any], dataset: DatasetScope, ranges: _Ranges, schema: str) -> dict[str, int]:
    """By part: the owned rows that leave with no line. Where all lines go, there is nothing to ask."""
    owned = [
        line
        for (part, _), found in ranges.items()
        if part != EVERYWHERE
        for group in found
        for line in group
        if line.owner is not None
    ]
    if all(line.copies == line.delete + line.blank for line in owned):
        return {}
    return {str(part): int(count) for part, count in run(connection, _kept_query(dataset, schema))}


def _kept_query(dataset: DatasetScope, schema: str) -> sql.Composable:
    same = lines_match(dataset, "g", "m")
    return sql.SQL(
        "SELECT part, sum(copies) FROM {m} AS m WHERE part <> {star} AND owner IS NOT NULL AND fate = {keep}"
        " AND NOT EXISTS (SELECT FROM {m} AS g WHERE g.fate <> {keep} AND {same}) GROUP BY 1"
    ).format(
        m=staged("m", dataset.id, schema), star=sql.Literal(EVERYWHERE), keep=sql.Literal(Fate.KEEP.value), same=same
    )


def late_rows(connection: psycopg.Connection[Any], scope: Scope) -> int:
    """Count rows that lead to a mover and that the manifest doesn't know as anybody's; there are none under a fence.

    Where homes live already, stayers go on writing rows that movers have a part in, and bare rows come for what people
    make public at home: these are nobody's loss, and stay.
    """
    lived_in = exists(connection, "draft")
    return sum(_late(connection, scope, dataset, lived_in=lived_in) for dataset in scope.datasets if dataset.decided)


def _late(connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, *, lived_in: bool) -> int:
    first = [dataset.sharing(path) is Shared.FIRST for path in dataset.paths]
    asked = [path for number, path in enumerate(dataset.paths) if not (number and first[number])]
    reach = sql.SQL(" OR ").join(leads_to_mover(scope, path, "d") for path in asked)
    if lived_in:
        bare = sql.SQL("false") if dataset.moves else without_private(dataset, "d")
        reach = sql.SQL("({}) AND NOT ({}) AND NOT ({})").format(reach, has_outsiders(scope, dataset, "d"), bare)
    return count_of(
        connection,
        sql.SQL(
            "SELECT count(*) FROM {} AS d WHERE ({}) AND NOT EXISTS (SELECT FROM {} AS m WHERE m.part <> {} AND {})"
        ).format(
            source_of(dataset),
            reach,
            staged("m", dataset.id),
            sql.Literal(EVERYWHERE),
            key_match(dataset, "d", "m"),
        ),
    )
