"""Who is a mover: the market of every subject, and its home (docs/closure.md, section 1)."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from domicile.catalogue import PLAIN
from domicile.model import Finding, Scope
from domicile.stores.postgres.closure.work import Work
from domicile.stores.postgres.names import column, compare, market_joins, source_of


def market_query(scope: Scope, *, alias: str = "d", row: sql.Composable | None = None) -> sql.Composable:
    """SELECT key, market value of every subject (or of the one row item `row`), null where the path breaks off."""
    subject = scope.dataset(scope.subject)
    clauses, here = market_joins(scope, alias)
    text = sql.SQL("::text") if scope.market.comparison == PLAIN else sql.SQL("")
    return sql.SQL("SELECT {} AS key, {}{} AS value FROM {} AS {}{}").format(
        column(alias, scope.subject_key),
        column(here, scope.market.field),
        text,
        row if row is not None else source_of(subject),
        sql.Identifier(alias),
        clauses,
    )


def market_of(scope: Scope, value: sql.Composable) -> sql.Composable:
    """The market that a field value means, or null: unknown values of a given list stay, nulls are unknown.

    Values are compared as the field's own type does, so that a citext `ca` is `CA`.
    """
    pairs = scope.market.values or tuple((market, market) for market, _ in scope.market.homes)
    cases = sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN {}").format(
            compare(scope.market.comparison, value, sql.Literal(text)), sql.Literal(market)
        )
        for text, market in pairs
    )
    unknown = scope.market.unknown
    named = sql.Literal(unknown) if unknown in dict(scope.market.homes) else sql.SQL("NULL")
    return sql.SQL("CASE WHEN {v} IS NULL THEN {named} ELSE CASE {cases} END END").format(
        v=value, named=named, cases=cases
    )


def home_of(scope: Scope, market: sql.Composable) -> sql.Composable:
    """The home of a market, or null for stayers."""
    cases = sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(name), sql.Literal(home)) for name, home in scope.market.homes
    )
    return sql.SQL("CASE {} {} END").format(market, cases)


def movers_query(scope: Scope) -> sql.Composable:
    """SELECT key, market, home of every mover."""
    market = market_of(scope, sql.SQL("r.value"))
    return sql.SQL(
        "SELECT q.key, q.market, {home} AS home FROM (SELECT r.key, {market} AS market FROM ({rows}) AS r) AS q"
        " WHERE {home} IS NOT NULL"
    ).format(home=home_of(scope, sql.SQL("q.market")), market=market, rows=market_query(scope))


def unknown_markets(work: Work) -> Iterator[Finding]:
    """Count the subjects of whom no market is known; a rule decides them, or the plan refuses."""
    count = work.count(sql.SQL("SELECT count(*) FROM ({}) AS r WHERE r.value IS NULL").format(market_query(work.scope)))
    if count:
        unknown = work.scope.market.unknown
        decided = unknown != "in-scope"
        yield Finding(
            kind="unknown-market",
            where=f"{work.scope.subject}",
            count=count,
            text=f"{count} subjects have no market",
            rule=f"policy.unknown_market: {unknown}" if decided else None,
            remedy=None if decided else "policy:\n  unknown_market: ?   # a market of policy.homes, or stay",
        )
