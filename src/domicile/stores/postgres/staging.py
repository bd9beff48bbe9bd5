"""Survey and freeze: the closure computed, counted, cut into slices, and (frozen) kept with its manifest.

The frozen result stands in one line of `domicile.frozen`, written in the transaction that made the manifest; so after
a crash it is either all there or not there. It holds counts and ids, never keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql
from pydantic import TypeAdapter

from domicile.catalogue import Sequence
from domicile.errors import Undecided
from domicile.model import SLICE_ROWS_MAX, DatasetScope, Fate, Form, Home, Manifest, Scope, Slice, SliceId, Tally
from domicile.stores.postgres import sequences
from domicile.stores.postgres.closure import EVERYWHERE, Work, compute
from domicile.stores.postgres.closure import number as number_lines
from domicile.stores.postgres.fence import create_staging, guarded, replace_guard
from domicile.stores.postgres.names import STAGING, staged
from domicile.stores.postgres.session import run
from domicile.stores.postgres.shape import freeze_shapes

SURVEY = "domicile_survey"
MANIFEST = TypeAdapter(Manifest)


def survey(connection: psycopg.Connection[Any], scope: Scope) -> Manifest:
    """Compute the closure in a transaction that is rolled back; return what it counted."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        create_staging(connection, scope, SURVEY)
        run(connection, sql.SQL("INSERT INTO {} VALUES ('survey')").format(sql.Identifier(SURVEY, "token")))
        return _compute(connection, scope, SURVEY)
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")


def freeze(
    connection: psycopg.Connection[Any],
    scope: Scope,
    token_key: bytes,
    *,
    catalogue_sequences: tuple[Sequence, ...],
) -> Manifest:
    """Freeze the closure, or return the one that is frozen; raise Undecided when rows have no rule."""
    found = frozen(connection)
    if found is not None:
        return found
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    try:
        run(
            connection,
            sql.SQL("INSERT INTO {} VALUES ({})").format(
                sql.Identifier(STAGING, "token"), sql.Literal(token_key.hex())
            ),
        )
        manifest = _compute(connection, scope, STAGING)
        refuse_undecided(manifest)
        freeze_shapes(connection, scope.datasets)
        sequences.freeze(connection, catalogue_sequences)
        for dataset in guarded(scope):
            replace_guard(connection, scope, dataset, frozen=True)
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
        connection.execute("COMMIT")
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    return manifest


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


def _compute(connection: psycopg.Connection[Any], scope: Scope, schema: str) -> Manifest:
    work = Work(connection=connection, scope=scope, schema=schema)
    findings = tuple(compute(work))
    number_lines(work)
    slices = tuple(piece for dataset in scope.datasets for piece in _slices(connection, scope, dataset, schema))
    subjects = run(
        connection,
        sql.SQL("SELECT home, count(*) FROM {} GROUP BY 1").format(sql.Identifier(schema, "subject")),
    ).fetchall()
    counted = {str(home): int(count) for home, count in subjects}
    return Manifest(
        subjects=tuple((home, counted.get(home, 0)) for home in scope.homes),
        slices=slices,
        tallies=tuple(_tallies(connection, scope, schema)),
        findings=findings,
    )


def _slices(connection: psycopg.Connection[Any], scope: Scope, dataset: DatasetScope, schema: str) -> Iterator[Slice]:
    """Cut each part into ranges; a dataset without key is one slice, as its rows are found by their content."""
    size = SLICE_ROWS_MAX if dataset.key else 1 << 62
    rows = run(
        connection,
        sql.SQL(
            "SELECT part, form, (n - 1) / {size} AS range, coalesce(owner, '') AS owner, max(n), sum(copies),"
            " coalesce(sum(copies) FILTER (WHERE fate = {delete}), 0),"
            " coalesce(sum(copies) FILTER (WHERE fate = {blank}), 0)"
            " FROM {m} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        ).format(
            size=sql.Literal(size), delete=sql.Literal(Fate.DELETE.value), blank=sql.Literal(Fate.BLANK.value),
            m=staged("m", dataset.id, schema),
        ),
    ).fetchall()  # fmt: skip
    ranges: dict[tuple[str, str, int], list[tuple[str, int, int, int, int]]] = defaultdict(list)
    for part, form, number, owner, upto, copies, delete, blank in rows:
        ranges[part, form, int(number)].append((owner, int(upto), int(copies), int(delete), int(blank)))
    for (part, form, number), lines in ranges.items():
        upto = max(line[1] for line in lines)
        homes = scope.homes if part == EVERYWHERE else (Home(part),)
        for home in homes:
            mine = [line for line in lines if part != EVERYWHERE or line[0] != home]
            word = form if part != EVERYWHERE else "shared"
            yield Slice(
                id=SliceId(f"{dataset.id}/{home}/{word}/{number}"), dataset=dataset.id, home=home, part=part,
                form=Form(form), after=number * size, upto=upto, rows=sum(line[2] for line in mine),
                delete=sum(line[3] for line in mine), blank=sum(line[4] for line in mine),
            )  # fmt: skip


def _tallies(connection: psycopg.Connection[Any], scope: Scope, schema: str) -> Iterator[Tally]:
    for dataset in scope.datasets:
        rows = run(
            connection,
            sql.SQL(
                "SELECT part, coalesce(sum(copies) FILTER (WHERE form = {whole}), 0),"
                " coalesce(sum(copies) FILTER (WHERE form = {skeleton}), 0),"
                " coalesce(sum(copies) FILTER (WHERE fate = {delete}), 0),"
                " coalesce(sum(copies) FILTER (WHERE fate = {blank}), 0),"
                " coalesce(sum(copies) FILTER (WHERE fate = {keep} AND form = {whole}), 0)"
                " FROM {m} WHERE part <> {star} GROUP BY 1"
            ).format(
                whole=sql.Literal(Form.WHOLE.value), skeleton=sql.Literal(Form.SKELETON.value),
                delete=sql.Literal(Fate.DELETE.value), blank=sql.Literal(Fate.BLANK.value),
                keep=sql.Literal(Fate.KEEP.value), m=staged("m", dataset.id, schema), star=sql.Literal(EVERYWHERE),
            ),
        ).fetchall()  # fmt: skip
        counted = {str(row[0]): tuple(int(value) for value in row[1:]) for row in rows}
        for home in scope.homes:
            whole, supporting, delete, blank, kept = counted.get(home, (0, 0, 0, 0, 0))
            yield Tally(
                dataset=dataset.id, home=home, whole=whole, supporting=supporting, delete=delete, blank=blank,
                kept=kept,
            )  # fmt: skip
