"""A changefeed's own things are copies: what stands of them is named, and that they are gone is asked of the server."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from domicile.config.rules import Disposition, HomeRows
from domicile.model import DatasetId, DatasetScope
from domicile.proof import Verdict
from domicile.stores.feed import Changefeed, FeedKind
from domicile.stores.postgres.catalogue import read_catalogue
from domicile.stores.postgres.copies import CopyKind
from domicile.stores.postgres.feed import remains
from domicile.stores.postgres.feed.choosing import make_feed
from domicile.stores.postgres.horizon import Outcome, Treatment, inventory, treat
from domicile.stores.postgres.session import Session, connect
from domicile.sweep.verdict import Question, decide
from tests.horizon.conftest import PEOPLE
from tests.horizon.test_holders import QUICK


@pytest.fixture(params=list(FeedKind))
def feed(dsn: str, request: pytest.FixtureRequest) -> Iterator[Changefeed]:
    """A feed of the people that has begun."""
    with connect(dsn, store="app") as connection:
        (table,) = read_catalogue(connection).tables
    people = DatasetScope(
        id=DatasetId("app.app.people"), table=PEOPLE, partitioned=False, rows=Disposition.MOVE, home_rows=HomeRows.ALL,
        columns=table.columns, key=table.key,
    )  # fmt: skip
    session = Session(dsn, store="app")
    one = make_feed(request.param, session, [people])
    one.begin()
    yield one
    session.close()


def treated(conn: psycopg.Connection) -> dict[str, tuple[Outcome, Verdict]]:
    """What became of the changefeed, the slots and the log, and what that says, before any search."""
    kinds = {CopyKind.CHANGEFEED, CopyKind.SLOT, CopyKind.WAL}
    copies = {copy.id: copy for copy in inventory(conn, [PEOPLE]) if copy.kind in kinds}
    question = Question(tokens_searched=1, sampled=False, rows_erased=True)
    return {
        outcome.copy: (outcome, decide(copies[outcome.copy], outcome, None, question).verdict)
        for outcome in treat(conn, list(copies.values()), [PEOPLE], patience=QUICK)
    }


def test_p3_a_changefeed_that_stands_is_found_and_one_that_ended_is_proven_gone(
    conn: psycopg.Connection, feed: Changefeed
) -> None:
    (slots,) = conn.execute("SELECT count(*) FROM pg_replication_slots").fetchone() or (0,)
    standing = treated(conn)
    outcome, verdict = standing.pop("changefeed")
    assert (Treatment.HELD, Verdict.PRESENT) == (outcome.treatment, verdict)
    log, _ = standing.pop("wal")
    assert (Treatment.HELD if slots else Treatment.PROVEN) == log.treatment
    assert slots == len(standing)
    for outcome, verdict in standing.values():
        assert (Treatment.HELD, Verdict.PRESENT) == (outcome.treatment, verdict)
        assert "pg_drop_replication_slot('domicile_feed_" in str(outcome.remedy)
    feed.end()
    ended = treated(conn)
    outcome, verdict = ended.pop("changefeed")
    assert (Treatment.ABSENT, Verdict.ERASED_VERIFIED) == (outcome.treatment, verdict)
    assert ["wal"] == list(ended)
    assert Treatment.PROVEN == ended["wal"][0].treatment


def test_p3_a_slot_that_outlived_its_run_is_found(conn: psycopg.Connection, feed: Changefeed) -> None:
    conn.execute("DROP SCHEMA domicile CASCADE")  # somebody's, by hand
    copies = {copy.id: copy for copy in inventory(conn, [PEOPLE])}
    assert (
        "publication domicile_feed, slot domicile_feed_" in copies["changefeed"].why
        or "none" in copies["changefeed"].why
    )
    assert (copies["changefeed"].why == "none of it stands") == (not remains.remains(conn))
    feed.end()
    assert () == remains.remains(conn)


def test_what_is_given_up_leaves_nothing(conn: psycopg.Connection, feed: Changefeed) -> None:
    assert remains.remains(conn)
    with conn.transaction():
        remains.detach(conn)
        conn.execute("DROP SCHEMA domicile CASCADE")
    assert () == remains.remains(conn)
    conn.execute("UPDATE app.people SET email = 'x'")
