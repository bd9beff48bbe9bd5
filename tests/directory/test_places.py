"""The directory's tables: what is written with a state, and what a reader sees of it."""

from __future__ import annotations

import threading

import psycopg
import pytest
from psycopg import sql

from domicile.errors import WorldChanged
from domicile.model import State
from domicile.stores.postgres import places
from domicile.stores.postgres.names import movers_of
from domicile.stores.postgres.places import Place
from domicile.stores.postgres.server import EmbeddedServer
from tests.directory.town import HOSTILE, KIND, MOVERS, SCOPE, STAFF, Town, home, states
from tests.servers import Databases


def test_a_state_and_its_line_are_one_transaction(town: Town) -> None:
    town.record(State.MOVING)
    with town.session() as connection:
        connection.execute("BEGIN")
        places.record(connection, SCOPE.kinds[0], where=sql.SQL("s.key = '1'"), state=State.FENCED)
        assert ["moving"] == states(town.look_up("1"), ["1"])
        connection.execute("ROLLBACK")
        assert ["moving"] == states(town.look_up("1"), ["1"])
        connection.execute("BEGIN")
        places.record(connection, SCOPE.kinds[0], where=sql.SQL("s.key = '1'"), state=State.FENCED)
        connection.execute("COMMIT")
    assert ["fenced", "moving"] == states(town.look_up("1", "2"), ["1", "2"])


def test_the_authority_is_the_source_until_home_and_stays_where_it_was_at_a_fence(town: Town) -> None:
    told = []
    for state in (State.MOVING, State.FENCED, State.HOME, State.FENCED, State.MOVING):
        town.record(state, "1")
        told.append(town.look_up("1")["1"])
    assert [
        Place(key="1", state=State.MOVING, home=home("us")),
        Place(key="1", state=State.FENCED, home=home("us")),
        Place(key="1", state=State.HOME, home=home("us"), authority=home("us")),
        Place(key="1", state=State.FENCED, home=home("us"), authority=home("us")),  # brought back: home is still read
        Place(key="1", state=State.MOVING, home=home("us")),
    ] == told


def test_without_a_state_given_the_movers_own_counts(town: Town) -> None:
    with town.session() as connection:
        connection.execute(sql.SQL("UPDATE {} SET state = 'home' WHERE key = '2'").format(movers_of(KIND)))
    assert len(MOVERS) == town.record()
    assert ["moving", "home", "outside"] == states(town.look_up("1", "2", "9"), ["1", "2", "9"])


def test_repeated_it_changes_nothing(town: Town) -> None:
    assert len(MOVERS) == town.record(State.FENCED)
    assert 0 == town.record(State.FENCED)
    assert 1 == town.record(State.HOME, "1")


def test_two_kinds_of_people_may_have_the_same_keys(town: Town) -> None:
    town.record(State.HOME, "1")
    town.record(State.FENCED, "1", kind=STAFF)
    with town.session() as connection:
        assert {
            (KIND, "us", State.HOME): 1, (STAFF, "ca", State.FENCED): 1,
        } == places.counts(connection)  # fmt: skip
        assert ("us",) == places.lived_in(connection, ["us", "ca"])


def test_hostile_keys_are_keys(town: Town) -> None:
    town.record(State.HOME, *HOSTILE)
    assert set(HOSTILE) == set(town.look_up(*MOVERS))


def test_changes_are_told_since_a_version_and_no_others(town: Town) -> None:
    town.record(State.MOVING)
    with town.session() as connection:
        before = places.version(connection)
        assert places.Changed(version=before) == places.changed(connection, KIND, after=before)
        town.record(State.FENCED, "1", "2")
        between = places.version(connection)
        town.record(State.HOME, "2")
        after = places.version(connection)
        assert before < between < after
        assert {"1", "2"} == set(places.changed(connection, KIND, after=before).keys)
        assert ("2",) == places.changed(connection, KIND, after=between).keys
        for strange in (0, after + 1):  # from before the directory was made; from one that is no more
            assert places.Changed(version=after, reset=True) == places.changed(connection, KIND, after=strange)


def test_of_too_many_changes_only_that_is_told(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    with town.session() as connection:
        before = places.version(connection)
        town.record(State.FENCED)
        monkeypatch.setattr(places, "CHANGED_MAX", len(MOVERS))
        assert len(MOVERS) == len(places.changed(connection, KIND, after=before).keys)
        monkeypatch.setattr(places, "CHANGED_MAX", len(MOVERS) - 1)
        assert ((), True) == (
            (changed := places.changed(connection, KIND, after=before)).keys, changed.reset,
        )  # fmt: skip


def test_versions_are_committed_in_their_order(town: Town) -> None:
    """Who writes second waits for the first: else a reader could see the greater version and miss the smaller."""
    with town.session() as first, town.session() as looking:
        before = places.version(looking)
        first.execute("BEGIN")
        places.record(first, SCOPE.kinds[0], where=sql.SQL("s.key = '1'"), state=State.FENCED)
        second = threading.Thread(target=town.record, args=(State.FENCED, "2"))
        second.start()
        while looking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() == (0,):
            assert second.is_alive()
        assert before == places.version(looking)
        first.execute("COMMIT")
        second.join()
        assert {"1", "2"} == set(places.changed(looking, KIND, after=before).keys)


def test_a_run_that_is_given_up_leaves_nobody_in_it(town: Town) -> None:
    town.record(State.FENCED)
    with town.session() as connection:
        before = places.version(connection)
        assert len(MOVERS) == places.withdraw(connection, SCOPE)
        assert places.changed(connection, KIND, after=before).reset
        assert {} == places.counts(connection)


def test_home_keeps_the_lines_of_its_own_people(town: Town, pg18: EmbeddedServer, database: Databases) -> None:
    town.record(State.HOME, "1", *HOSTILE)
    town.record(State.HOME, "1", kind=STAFF)
    other = Town(dsn=database(pg18))
    with town.session() as source, other.session() as there:
        for _ in range(2):
            places.create(there, store="app-us")
            places.copy_home(source, there, home("us"))
    assert town.look_up("1", *HOSTILE) == other.look_up("1", *HOSTILE)
    with other.session() as there:
        assert {(KIND, "us", State.HOME): 1 + len(HOSTILE)} == places.counts(there)


def test_where_none_is_kept_nothing_is_written(pg18: EmbeddedServer, database: Databases) -> None:
    with Town(dsn=database(pg18)).session() as connection:
        assert 0 == places.record_all(connection, SCOPE, state=State.FENCED)
        assert 0 == places.withdraw(connection, SCOPE)
        assert 0 == places.version(connection)


def test_somebody_elses_schema_of_that_name_is_left_alone(pg18: EmbeddedServer, database: Databases) -> None:
    with Town(dsn=database(pg18)).session() as connection:
        connection.execute("CREATE SCHEMA domicile_directory CREATE TABLE theirs (id int)")
        with pytest.raises(WorldChanged, match="no directory of ours"):
            places.create(connection, store="app")
        assert ("domicile_directory.theirs",) == connection.execute(
            "SELECT to_regclass('domicile_directory.theirs')::text"
        ).fetchone()


def test_others_see_nothing_of_it(town: Town) -> None:
    with town.session() as connection:
        connection.execute("DROP ROLE IF EXISTS town_stranger")
        connection.execute("CREATE ROLE town_stranger")
        connection.execute("SET ROLE town_stranger")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT FROM domicile_directory.place")
        connection.execute("RESET ROLE")
        connection.execute("DROP ROLE town_stranger")
