"""Who is a mover: the market of every subject, and its home (docs/closure.md, section 1)."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from domicile.catalogue import PLAIN
from domicile.conditions import qualify_condition
from domicile.model import Finding, MarketRule, Scope
from domicile.stores.postgres.closure.work import Work
from domicile.stores.postgres.names import column, compare, market_joins, source_of


def told_query(scope: Scope, *, alias: str = "d", row: sql.Composable | None = None) -> sql.Composable:
    """SELECT key, value of every row that tells a subject's market (of all subjects, or of the one row item `row`).

    Each subject has one line at least; its value is null where the path breaks off.
    """
    clauses, here = market_joins(scope, alias)
    return sql.SQL("SELECT {} AS key, {} AS value FROM {} AS {}{}").format(
        column(alias, scope.subject_key),
        _value(scope.market, here),
        row if row is not None else source_of(scope.dataset(scope.subject)),
        sql.Identifier(alias),
        clauses,
    )


def markets_query(scope: Scope, *, row: sql.Composable | None = None) -> sql.Composable:
    """SELECT key, market, home, told (how many homes, the source counted as one) of every subject, or of `row`.

    `home` is null for stayers.
    """
    value, market = sql.SQL("r.value"), sql.SQL("m.market")
    told = sql.SQL(
        "SELECT m.key, m.value, m.market, {home} AS home FROM (SELECT r.key, r.value, {market} AS market"
        " FROM ({rows}) AS r) AS m"
    ).format(home=home_of(scope, market), market=_meaning(scope, value), rows=told_query(scope, row=row))
    one = _ONE_ROW if scope.market.single else _MANY_ROWS
    return sql.SQL("SELECT g.key, g.market, {home} AS home, g.told FROM ({groups}) AS g").format(
        home=home_of(scope, sql.SQL("g.market")),
        groups=one.format(
            rows=told, unknown=_named(scope, scope.market.unknown), conflict=_named(scope, scope.market.conflict)
        ),
    )


_ONE_ROW = sql.SQL(
    "SELECT t.key, (t.value IS NOT NULL)::int AS told,"
    " CASE WHEN t.value IS NULL THEN {unknown} ELSE t.market END AS market FROM ({rows}) AS t"
)
_MANY_ROWS = sql.SQL(
    "SELECT c.key, c.told, CASE WHEN c.told = 0 THEN {unknown} WHEN c.told > 1 THEN {conflict} ELSE c.market END"
    " AS market FROM (SELECT t.key, min(t.market) FILTER (WHERE t.home IS NOT NULL) AS market,"
    " count(DISTINCT coalesce(t.home, '')) FILTER (WHERE t.value IS NOT NULL) AS told"
    " FROM ({rows}) AS t GROUP BY t.key) AS c"
)


def home_of(scope: Scope, market: sql.Composable) -> sql.Composable:
    """The home of a market, or null for stayers."""
    cases = sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(name), sql.Literal(home)) for name, home in scope.market.homes
    )
    return sql.SQL("CASE {} {} END").format(market, cases)


def movers_query(scope: Scope) -> sql.Composable:
    """SELECT key, market, home of every mover."""
    return sql.SQL("SELECT q.key, q.market, q.home FROM ({}) AS q WHERE q.home IS NOT NULL").format(
        markets_query(scope)
    )


def _value(rule: MarketRule, here: str) -> sql.Composable:
    value = column(here, rule.field)
    if rule.comparison == PLAIN:
        value = sql.SQL("{}::text").format(value)
    if rule.when is None:
        return value
    condition = sql.SQL(qualify_condition(rule.when, here))  # parsed and rebuilt, never pasted
    return sql.SQL("CASE WHEN {} THEN {} END").format(condition, value)


def _meaning(scope: Scope, value: sql.Composable) -> sql.Composable:
    """The market that a field value means; null where it is not in the list, or null itself.

    Values are compared as the field's own type does, so that a citext `ca` is `CA`.
    """
    pairs = scope.market.values or tuple((market, market) for market, _ in scope.market.homes)
    cases = sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN {}").format(
            compare(scope.market.comparison, value, sql.Literal(text)), sql.Literal(market)
        )
        for text, market in pairs
    )
    return sql.SQL("CASE {} END").format(cases)


def _named(scope: Scope, answer: str | None) -> sql.Composable:
    """The market that the file names for subjects whose own is not clear, or null: they stay."""
    return sql.Literal(answer) if answer in dict(scope.market.homes) else sql.SQL("NULL")


def unclear_markets(work: Work) -> Iterator[Finding]:
    """Count the subjects of whom no market is known, or several; a rule decides them, or the plan refuses."""
    ((unknown, torn),) = work.run(
        sql.SQL("SELECT count(*) FILTER (WHERE r.told = 0), count(*) FILTER (WHERE r.told > 1) FROM ({}) AS r").format(
            markets_query(work.scope)
        )
    ).fetchall()
    subject = str(work.scope.subject)
    if unknown:
        rule = work.scope.market.unknown
        decided = rule != "in-scope"
        yield Finding(
            kind="unknown-market", where=subject, count=unknown, text=f"{unknown} subjects have no market",
            rule=f"policy.unknown_market: {rule}" if decided else None,
            remedy=None if decided else "policy:\n  unknown_market: ?   # a market of policy.homes, or stay",
        )  # fmt: skip
    if torn:
        answer = work.scope.market.conflict
        yield Finding(
            kind="market-conflict", where=subject, count=torn, text=f"{torn} subjects have several markets",
            rule=f"subject.market.conflict: {answer}" if answer else None,
            remedy=None if answer else "subject:\n  market:\n    conflict: ?   # stay, or a market of policy.homes",
        )  # fmt: skip
