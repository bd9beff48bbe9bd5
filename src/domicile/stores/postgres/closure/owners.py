"""Whose each row is: the paths followed, set by set, and shared rows decided (docs/closure.md, section 2).

Where no row can have two owners (`DatasetScope.sole`) the lines are written at once: nothing to gather, nothing to
count. On 6 million events that is a third of the time of the general way.

The work tables are logged, though they are dropped in the transaction that made them (ADR 0007).
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from domicile.config.rules import Shared
from domicile.model import DatasetScope, Fate, Finding, Form, Path
from domicile.stores.postgres.closure.work import Work
from domicile.stores.postgres.names import column, key_match, key_names, key_select, lines_match, source_of
from domicile.stores.postgres.paths import follow, is_mover, leads_to_anyone, lives_elsewhere, path_join

ELSEWHERE = ""
"""The home, in the owners' table, of who lives at the home of another programme: neither ours nor the source."""


def make_lines(work: Work, dataset: DatasetScope) -> None:
    """Make the work table: filled at once where no row can have two owners, else empty."""
    if dataset.decided and dataset.sole:
        found = sole_lines(work, dataset)
        work.run(sql.SQL("CREATE TABLE {} AS {}").format(work.lines(dataset), found))
        work.run(sql.SQL("ANALYZE {}").format(work.lines(dataset)))
        return
    work.run(
        sql.SQL(
            "CREATE TABLE {work} AS SELECT ''::text AS part, ''::text AS form, ''::text AS fate, 0 AS round,"
            " {key} FROM {rows} AS d WHERE false"
        ).format(work=work.lines(dataset), key=key_select(dataset, "d"), rows=source_of(dataset))
    )


def sole_lines(work: Work, dataset: DatasetScope) -> sql.Composable:
    """SELECT of the lines of a dataset none of whose rows can have two owners."""
    (path,) = dataset.paths
    joins, match = path_join(work.scope, path, "d", schema=work.schema)
    return sql.SQL(
        "SELECT s.home AS part, {whole}::text AS form, {fate}::text AS fate,"
        " 0 AS round, {keys} FROM {rows} AS d{joins} JOIN {movers} AS s ON {match}"
    ).format(
        whole=sql.Literal(Form.WHOLE.value),
        fate=sql.Literal(_fate(dataset).value),
        keys=key_select(dataset, "d"),
        rows=work.rows(dataset),
        joins=joins,
        movers=work.movers(path.subject),
        match=match,
    )


def collect(work: Work, dataset: DatasetScope) -> None:
    """Follow every path: movers first, then the stayers whom the same rows reach."""
    owners = work.owners(dataset)
    work.run(
        sql.SQL(
            "CREATE TABLE {owners} AS SELECT 0 AS path, ''::text AS home, {key} FROM {rows} AS d WHERE false"
        ).format(owners=owners, key=key_select(dataset, "d"), rows=source_of(dataset))
    )
    fill_owners(work, dataset)
    work.run(sql.SQL("ANALYZE {}").format(owners))


def fill_owners(work: Work, dataset: DatasetScope) -> None:
    """Put whom each row leads to into the owners' table: movers, and of rows that have some, the stayers too."""
    for number, path in enumerate(dataset.paths):
        work.run(_mover_owners(work, dataset, number, path))
    if len(dataset.paths) > 1 or dataset.paths[0].many:
        for number, path in enumerate(dataset.paths):
            work.run(_stayer_owners(work, dataset, number, path))


def _mover_owners(work: Work, dataset: DatasetScope, number: int, path: Path) -> sql.Composable:
    joins, match = path_join(work.scope, path, "d", schema=work.schema)
    return sql.SQL(
        "INSERT INTO {owners} SELECT DISTINCT {number}, s.home, {keys} FROM {rows} AS d{joins}"
        " JOIN {movers} AS s ON {match}"
    ).format(
        owners=work.owners(dataset),
        number=sql.Literal(number),
        keys=key_select(dataset, "d"),
        rows=work.rows(dataset),
        joins=joins,
        movers=work.movers(path.subject),
        match=match,
    )


def _stayer_owners(work: Work, dataset: DatasetScope, number: int, path: Path) -> sql.Composable:
    joins, last = follow(work.scope, path.steps, "d", schema=work.schema)
    return sql.SQL(
        "INSERT INTO {owners} SELECT DISTINCT {number}, CASE WHEN {elsewhere} THEN {nowhere} END, {keys} FROM"
        " (SELECT DISTINCT {names} FROM {owners} WHERE home IS NOT NULL) AS c"
        " JOIN {rows} AS d ON {match}{joins}"
        " WHERE NOT EXISTS (SELECT FROM {movers} AS s WHERE {found})"
    ).format(
        owners=work.owners(dataset),
        number=sql.Literal(number),
        keys=key_select(dataset, "d"),
        names=work.names(dataset),
        rows=work.rows(dataset),
        match=key_match(dataset, "d", "c"),
        joins=joins,
        movers=work.movers(path.subject),
        found=is_mover(work.scope, path.subject, last),
        elsewhere=lives_elsewhere(
            work.scope, path.subject, column(last, work.scope.kind(path.subject).key), schema=work.schema
        ),
        nowhere=sql.Literal(ELSEWHERE),
    )


def ownerless(work: Work, dataset: DatasetScope) -> Iterator[Finding]:
    """Count the rows of a `move` dataset that lead to nobody."""
    if not dataset.moves or any(path.certain for path in dataset.paths):
        return
    tests = [sql.SQL("NOT ") + leads_to_anyone(work.scope, path, "d", schema=work.schema) for path in dataset.paths]
    count = work.count(
        sql.SQL("SELECT count(*) FROM {} AS d WHERE {}").format(work.rows(dataset), sql.SQL(" AND ").join(tests))
    )
    if count:
        yield Finding(
            kind="ownerless",
            where=str(dataset.id),
            count=count,
            text=f"{count} rows lead to nobody over {' or '.join(path.text for path in dataset.paths)}",
            rule=f"datasets.{dataset.id}.ownerless: stay" if dataset.ownerless_stay else None,
            remedy=None
            if dataset.ownerless_stay
            else f"datasets:\n  {dataset.id}:\n    ownerless: stay   # or give these rows another path",
        )


def decide(work: Work, dataset: DatasetScope) -> Iterator[Finding]:
    """Turn owners into whole lines with their fates, by the rule for shared rows."""
    count = work.count(
        sql.SQL(
            "SELECT count(*) FROM (SELECT FROM {} GROUP BY {} HAVING count(DISTINCT coalesce(home, '')) > 1) AS x"
        ).format(work.owners(dataset), work.names(dataset))
    )
    if count:
        yield _shared_finding(dataset, count)
    work.run(_settled(work, dataset))
    work.run(sql.SQL("ANALYZE {}").format(work.lines(dataset)))
    if dataset.moves:
        return
    twice = work.count(
        sql.SQL("SELECT count(*) FROM (SELECT FROM {} GROUP BY {} HAVING count(*) > 1) AS x").format(
            work.lines(dataset), work.names(dataset)
        )
    )
    if twice:
        yield Finding(
            kind="split-shared",
            where=str(dataset.id),
            count=twice,
            text=f"{twice} rows belong whole to several homes, which only `move` datasets allow",
            remedy=f"datasets:\n  {dataset.id}:\n    shared: first   # or a path that leads to one person",
        )


def _shared_finding(dataset: DatasetScope, count: int) -> Finding:
    where = f"datasets.{dataset.id}.subjects.shared" if len(dataset.paths) > 1 else f"datasets.{dataset.id}.shared"
    decided = all(dataset.sharing(path) for path in dataset.paths)
    return Finding(
        kind="shared",
        where=str(dataset.id),
        count=count,
        text=f"{count} rows lead to subjects who live apart",
        rule=f"{where}: {_spelled_sharing(dataset)}" if decided else None,
        remedy=None if decided else f"{where}: ?   # each | first | any",
    )


def _fate(dataset: DatasetScope) -> Fate:
    """What becomes of an owned row that nobody else keeps."""
    if dataset.moves:
        return Fate.DELETE
    return Fate.BLANK if dataset.blanks else Fate.KEEP


def _spelled_sharing(dataset: DatasetScope) -> str:
    rules = [str(dataset.sharing(path)) for path in dataset.paths]
    return rules[0] if len(set(rules)) == 1 else ", ".join(rules)


def _counted(work: Work, dataset: DatasetScope) -> sql.Composable:
    """The owners that count: a path of rule `first` only of rows that no path before it leads to anyone."""
    later = [number for number, path in enumerate(dataset.paths) if number and dataset.sharing(path) is Shared.FIRST]
    if not later:
        return work.owners(dataset)
    return sql.SQL(
        "(SELECT * FROM (SELECT o.*, min(path) OVER (PARTITION BY {names}) AS best FROM {owners} AS o) AS p"
        " WHERE path = best OR NOT path = ANY({later}::int[]))"
    ).format(names=work.names(dataset), owners=work.owners(dataset), later=sql.Literal(later))


def _settled(work: Work, dataset: DatasetScope) -> sql.Composable:
    """Whole lines with their fates, by the dataset's rule for shared rows (`each` where none is given yet)."""
    names = work.names(dataset)
    owners = _counted(work, dataset)
    silent = [number for number, path in enumerate(dataset.paths) if dataset.sharing(path) is Shared.ANY]
    stays = sql.SQL("coalesce(bool_or(home IS NULL AND NOT path = ANY({}::int[])), false)").format(sql.Literal(silent))
    return sql.SQL(
        "INSERT INTO {work} SELECT h.home, {whole},"
        " CASE WHEN x.stays OR array_position({homes}, h.home) <> x.last THEN {keep} ELSE {fate} END, 0, {keys} FROM"
        " (SELECT {names}, {stays} AS stays, max(array_position({homes}, home)) AS last FROM {owners} AS o"
        " GROUP BY {names}) AS x"
        " JOIN (SELECT DISTINCT home, {names} FROM {owners} AS o WHERE home <> {elsewhere}) AS h ON {match}"
    ).format(
        work=work.lines(dataset),
        whole=sql.Literal(Form.WHOLE.value),
        keep=sql.Literal(Fate.KEEP.value),
        fate=sql.Literal(_fate(dataset).value),
        elsewhere=sql.Literal(ELSEWHERE),
        homes=sql.SQL("{}::text[]").format(sql.Literal(list(work.scope.homes))),
        names=names,
        stays=stays,
        owners=owners,
        keys=sql.SQL(", ").join(column("x", name) for name in key_names(dataset)),
        match=lines_match(dataset, "h", "x"),
    )
