"""Who is a mover: the market of every person, and its home (docs/closure.md, section 1)."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from domicile.catalogue import PLAIN
from domicile.config.conditions import qualify_condition
from domicile.config.rules import Decide
from domicile.model import Evidence, Finding, Kind, MarketRule, Scope
from domicile.stores.postgres.closure.work import Work
from domicile.stores.postgres.comparing import compare
from domicile.stores.postgres.names import column, source_of
from domicile.stores.postgres.paths import follow, lives_elsewhere, same_person

OPEN = ("in-scope", None)


def markets_query(scope: Scope, kind: Kind, *, schema: str, row: sql.Composable | None = None) -> sql.Composable:
    """SELECT of every person (or of the one row item `row`): key, what was told, and whether it is disputed.

    `told` counts the homes that the deciding evidence tells (0: unknown, 2 and more: a conflict), `home` is the one of
    1 (empty for markets that stay), `disagrees` says that other evidence tells another. Two markets of one home are no
    conflict: the person's data goes to the same place.
    """
    people = row if row is not None else source_of(scope.dataset(kind.dataset))
    if len(kind.market.evidence) == 1 and not any(step.many for step in kind.market.evidence[0].steps):
        return _only_evidence(scope, kind, people, schema)
    pieces = [_told(scope, kind, number, people, schema) for number in range(len(kind.market.evidence))]
    return sql.SQL(
        "SELECT p.{key} AS key, coalesce(t.told, 0) AS told, t.home, coalesce(t.disagrees, false) AS disagrees"
        " FROM {people} AS p LEFT JOIN (SELECT e.key, count(DISTINCT e.home) FILTER (WHERE {decides}) AS told,"
        " min(e.home) FILTER (WHERE {decides}) AS home, count(DISTINCT e.home) > 1 AS disagrees"
        " FROM (SELECT q.*, {rank} AS rank FROM ({pieces}) AS q) AS e GROUP BY e.key) AS t ON {same}"
    ).format(
        same=same_person(scope, kind.dataset, column("t", "key"), column("p", kind.key)),
        key=sql.Identifier(kind.key),
        people=people,
        decides=sql.SQL("e.rank = 1"),
        rank=_rank(kind.market),
        pieces=sql.SQL(" UNION ALL ").join(pieces),
    )


def _only_evidence(scope: Scope, kind: Kind, people: sql.Composable, schema: str) -> sql.Composable:
    """The same from one piece of evidence that tells at most one thing of each: a plain join, nothing to count."""
    (piece,) = kind.market.evidence
    joins, end = follow(scope, piece.steps, "d", schema=schema, outer=True)
    value = _value(piece, end)
    told = sql.SQL("({} IS NOT NULL{})").format(value, _valid(kind.market, piece, end))
    return sql.SQL(
        "SELECT d.{key} AS key, CASE WHEN {told} THEN 1 ELSE 0 END AS told, {home} AS home, false AS disagrees"
        " FROM {people} AS d{joins}"
    ).format(
        key=sql.Identifier(kind.key),
        told=told,
        home=_home(kind.market, piece, value),
        people=people,
        joins=joins,
    )


def _value(piece: Evidence, end: str) -> sql.Composable:
    """What the row tells, or null; of the field's own type where that has an equality of its own."""
    value = column(end, piece.field)
    if piece.pattern is not None:
        value = sql.SQL("substring({}::text FROM {})").format(value, sql.Literal(piece.pattern))
    elif piece.comparison == PLAIN:
        value = sql.SQL("{}::text").format(value)
    if piece.when is None:
        return value
    condition = sql.SQL(qualify_condition(piece.when, end))  # parsed and rebuilt, never pasted
    return sql.SQL("CASE WHEN {} THEN {} END").format(condition, value)


def _rank(rule: MarketRule) -> sql.Composable:
    """1 for the evidence that decides."""
    order = {
        Decide.FIRST: sql.SQL("rank() OVER (PARTITION BY q.key ORDER BY q.number)"),
        Decide.LATEST: sql.SQL("rank() OVER (PARTITION BY q.key ORDER BY q.dated DESC NULLS LAST)"),
        Decide.AGREE: sql.SQL("1"),
    }
    return order[rule.decide]


def _told(scope: Scope, kind: Kind, number: int, people: sql.Composable, schema: str) -> sql.Composable:
    """SELECT key, number, market, dated of every row in which this evidence tells something."""
    piece = kind.market.evidence[number]
    joins, end = follow(scope, piece.steps, "d", schema=schema)
    value = _value(piece, end)
    dated = sql.SQL("{}::timestamptz").format(column(end, piece.date)) if piece.date else sql.SQL("NULL::timestamptz")
    return sql.SQL(
        "SELECT d.{key} AS key, {number} AS number, {home} AS home, {dated} AS dated FROM {people} AS d{joins}"
        " WHERE {value} IS NOT NULL{valid}"
    ).format(
        key=sql.Identifier(kind.key),
        number=sql.Literal(number),
        home=_home(kind.market, piece, value),
        dated=dated,
        people=people,
        joins=joins,
        value=value,
        valid=_valid(kind.market, piece, end),
    )


def _home(rule: MarketRule, piece: Evidence, value: sql.Composable) -> sql.Composable:
    """The home of the market that a value means; of one that is not in `policy.homes` it is empty, whatever it is.

    Values are compared as the field's own type does, so that a citext `ca` is `CA`.
    """
    known = dict(rule.homes)
    how = piece.comparison if piece.pattern is None else PLAIN
    meant = piece.values if piece.values is not None else tuple((market, market) for market in known)
    cases = [
        sql.SQL("WHEN {} THEN {}").format(compare(how, value, sql.Literal(text)), sql.Literal(known[market]))
        for text, market in meant
        if market in known
    ]
    if not cases:
        return sql.SQL("''::text")
    return sql.SQL("CASE {} ELSE '' END").format(sql.SQL(" ").join(cases))


def _valid(rule: MarketRule, piece: Evidence, end: str) -> sql.Composable:
    """Whether the row is true on the rule's day: from `since` on, and before `until`."""
    if rule.as_of is None:
        return sql.SQL("")
    day = sql.SQL("{}::date").format(sql.Literal(rule.as_of))
    parts = [
        sql.SQL(" AND ({0} IS NULL OR {0} " + sign + " {1})").format(column(end, name), day)
        for name, sign in ((piece.since, "<="), (piece.until, ">"))
        if name
    ]
    return sql.SQL("").join(parts)


def home_expression(rule: MarketRule, row: str) -> sql.Composable:
    """The home of a row of `markets_query` named `row`, or null for those who stay."""
    homes = dict(rule.homes)
    return sql.SQL(
        "nullif(CASE WHEN {r}.told = 0 THEN {unknown} WHEN {r}.told > 1 THEN {conflict} ELSE {r}.home END, '')"
    ).format(
        r=sql.Identifier(row),
        unknown=sql.Literal(homes.get(rule.unknown, "")),
        conflict=sql.Literal(homes.get(rule.conflict or "", "")),
    )


def movers_query(scope: Scope, kind: Kind, *, schema: str, row: sql.Composable | None = None) -> sql.Composable:
    """SELECT key, home of every mover of one kind, or of those among the row item `row`."""
    return sql.SQL(
        "SELECT q.key, q.home FROM (SELECT m.key, {} AS home FROM ({}) AS m WHERE {}) AS q WHERE q.home IS NOT NULL"
    ).format(
        home_expression(kind.market, "m"), markets_query(scope, kind, schema=schema, row=row),
        _lives_here(scope, kind, schema),
    )  # fmt: skip


def _lives_here(scope: Scope, kind: Kind, schema: str) -> sql.Composable:
    """Of a row `m` of `markets_query`: not at the home of another programme, whatever the row here still tells."""
    return sql.SQL("NOT {}").format(lives_elsewhere(scope, kind.dataset, column("m", "key"), schema=schema))


def becomes_mover(scope: Scope, kind: Kind, row: sql.Composable, *, schema: str) -> sql.Composable:
    """A condition on the row item of a person's own row: by all that is told, they have a mover's market."""
    return sql.SQL("EXISTS (SELECT FROM ({}) AS m WHERE {} IS NOT NULL AND {})").format(
        markets_query(scope, kind, schema=schema, row=row), home_expression(kind.market, "m"),
        _lives_here(scope, kind, schema),
    )  # fmt: skip


def open_markets(work: Work) -> Iterator[Finding]:
    """Count the people of whom no market, or more than one, is told; a rule decides them, or the plan refuses."""
    for kind in work.scope.kinds:
        counts = work.run(
            sql.SQL(
                "SELECT count(*) FILTER (WHERE m.told = 0), count(*) FILTER (WHERE m.told > 1),"
                " count(*) FILTER (WHERE m.told = 1 AND m.disagrees) FROM ({}) AS m WHERE {}"
            ).format(markets_query(work.scope, kind, schema=work.schema), _lives_here(work.scope, kind, work.schema))
        ).fetchone()
        unknown, conflict, settled = counts or (0, 0, 0)
        yield from _open(kind, "unknown-market", unknown, kind.market.unknown)
        yield from _open(kind, "market-conflict", conflict, kind.market.conflict)
        if settled:
            yield Finding(
                kind="market-disagreement", where=str(kind.dataset), count=settled,
                text=f"{settled} subjects of whom the evidence disagrees",
                rule=f"market.decide: {kind.market.decide}",
            )  # fmt: skip


def _open(kind: Kind, name: str, count: int, answer: str | None) -> Iterator[Finding]:
    if not count:
        return
    text, rule, remedy = {
        "unknown-market": (
            "have no market", f"policy.unknown_market: {answer}",
            "policy:\n  unknown_market: ?   # a market of policy.homes, or stay",
        ),
        "market-conflict": (
            "have evidence of several markets", f"market.conflict: {answer}",
            "subject:\n  market:\n    conflict: ?   # a market of policy.homes, or stay",
        ),
    }[name]  # fmt: skip
    decided = answer not in OPEN
    yield Finding(
        kind=name, where=str(kind.dataset), count=count, text=f"{count} subjects {text}",
        rule=rule if decided else None, remedy=None if decided else remedy,
    )  # fmt: skip


def told_query(scope: Scope, kind: Kind, people: sql.Composable, *, schema: str) -> sql.Composable:
    """SELECT of all that evidence tells of the people: key (text), piece, market, whether of the newest, date (text).

    A market that the file doesn't name is null: its value stays where it is (P8).
    """
    pieces = sql.SQL(" UNION ALL ").join(
        _told_market(scope, kind, number, people, schema) for number in range(len(kind.market.evidence))
    )
    return sql.SQL(
        "SELECT q.key, q.number, q.market, rank() OVER (PARTITION BY q.key ORDER BY q.dated DESC NULLS LAST) = 1,"
        " q.words FROM ({}) AS q"
    ).format(pieces)


def _told_market(scope: Scope, kind: Kind, number: int, people: sql.Composable, schema: str) -> sql.Composable:
    rule, piece = kind.market, kind.market.evidence[number]
    joins, end = follow(scope, piece.steps, "d", schema=schema)
    value = _value(piece, end)
    date = column(end, piece.date) if piece.date else sql.SQL("NULL")
    meant = piece.values if piece.values is not None else tuple((market, market) for market, _ in rule.homes)
    how = piece.comparison if piece.pattern is None else PLAIN
    cases = [
        sql.SQL("WHEN {} THEN {}").format(compare(how, value, sql.Literal(text)), sql.Literal(market))
        for text, market in meant
    ] or [sql.SQL("WHEN false THEN {}").format(sql.SQL("NULL::text"))]
    return sql.SQL(
        "SELECT d.{key}::text AS key, {number} AS number, CASE {cases} END AS market,"
        " {date}::timestamptz AS dated, {date}::text AS words FROM {people} AS d{joins}"
        " WHERE {value} IS NOT NULL{valid}"
    ).format(
        key=sql.Identifier(kind.key), number=sql.Literal(number), value=value,
        cases=sql.SQL(" ").join(cases), date=date, people=people, joins=joins, valid=_valid(rule, piece, end),
    )  # fmt: skip
