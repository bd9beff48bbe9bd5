"""People go home while everybody writes: nothing is lost or doubled, others never wait, and there is a way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.cutover.cohorts import Way, waits
from domicile.errors import Refused, Waiting
from domicile.evidence.predicates import CertificatePredicate
from domicile.run import Stage
from domicile.stores.postgres.names import tag
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.programme import make
from tests.live.platform import CUTOVER, PEOPLE, RULES, SCHEMA, Ledger, Traffic, World, check, homes_of, moving_world

SEEDS: Final = (7,)
WRITTEN_MIN: Final = 60
"""So many notes at least are written meanwhile: a fast machine has everybody at home before that."""


@contextmanager
def _busy(world: World, *, seed: int) -> Iterator[list[Ledger]]:
    """Two people of the platform write all the time."""
    traffic = [Traffic(world, number, 2, seed=seed) for number in range(2)]
    for one in traffic:
        one.start()
    try:
        yield [one.ledger for one in traffic]
    finally:
        for one in traffic:
            one.stop()


def _settle(world: World) -> None:
    """Nobody writes any more: both ways run dry."""
    follower = world.live.moving.follower(world.standing)
    for _ in range(3):
        while world.live.moving.step(follower).keys:
            continue


def _same_at_the_source(world: World) -> None:
    """What the way back carried: the source holds of people at home what home holds."""
    for place in ("us", "ca"):
        with psycopg.connect(world.dsns[place]) as home, psycopg.connect(world.dsns["source"]) as source:
            people = [
                row[0] for row in home.execute("SELECT key FROM domicile.s_" + _tag(world) + " WHERE state = 'home'")
            ]
            for query in (
                'SELECT * FROM "Note" WHERE person_id = ANY(%s) ORDER BY 1',
                "SELECT * FROM payment WHERE wallet_id = ANY(%s) ORDER BY 1, 2",
                "SELECT id, market, email, seen FROM person WHERE id = ANY(%s) ORDER BY 1",
            ):
                assert home.execute(query, [people]).fetchall() == source.execute(query, [people]).fetchall()


def _tag(world: World) -> str:
    return tag(world.scope.subject)


def _another_country(world: World) -> None:
    with psycopg.connect(world.dsns["source"], autocommit=True) as platform:
        platform.execute("UPDATE person SET market = 'US' WHERE id IN (8, 9)")
        platform.execute("UPDATE person SET market = 'SG' WHERE id = 10")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_p1_p6_people_go_home_and_back_while_everybody_writes(pg18: EmbeddedServer, tmp_path: Path, seed: int) -> None:
    with moving_world(pg18, tmp_path, f"cutover_{seed}") as world:
        with _busy(world, seed=seed) as ledgers:
            _another_country(world)
            world.run.apply(until=Stage.CUTOVER)
            back = world.live.roll_back(world.scope, 1)
            while sum(len(ledger.notes) for ledger in ledgers) < WRITTEN_MIN:
                world.live.moving.step(world.live.moving.follower(world.standing))
        _settle(world)
        check(world, ledgers)
        _same_at_the_source(world)
        assert Way.SOURCE is back.way
        assert 0 == sum(ledger.refused_stayers for ledger in ledgers)
        gone = world.live.moving.cohorts()
        assert {1, 2, 3} <= {cohort.number for cohort in gone if cohort.way is Way.HOME}
        assert waits(gone) is not None
        places = {person: world.authority(person) for person in (8, 9, 10)}
        assert "source" == places[10]
        assert {"us", "source"} >= {str(places[8]), str(places[9])}


@pytest.mark.timeout(300)
def test_p1_p2_p7_closed_cleared_and_erased_while_homes_live(pg18: EmbeddedServer, tmp_path: Path) -> None:
    with moving_world(pg18, tmp_path, "close") as world:
        run, live = world.run, world.live
        with _busy(world, seed=1) as ledgers:
            with pytest.raises(Waiting, match="way back is open"):
                run.apply(yes=True)
            with pytest.raises(Waiting, match="approvals"):
                run.apply(yes=True, close=True)
            live.roll_back(world.scope, 2)  # there is a way back until something is cleared
            with pytest.raises(Waiting, match="way back is open"):
                run.apply(yes=True)
            with pytest.raises(Waiting, match="approvals"):
                run.apply(yes=True, close=True)
            world.programme.approve_in(run)
            with pytest.raises(Waiting, match="nothing erased yet"):
                run.apply(close=True)
            with pytest.raises(Refused, match="no way back"):
                live.roll_back(world.scope, 1)
            run.apply(yes=True, close=True)
        check(world, ledgers, closed=True)
        _nothing_left(world)
    audited = world.programme.audit()
    assert 0 == audited.returncode, audited.stdout + audited.stderr


def _nothing_left(world: World) -> None:
    movers = [person for person in range(1, PEOPLE + 1) if person % 5 < 3]
    with psycopg.connect(world.dsns["source"]) as source:
        for query in (
            'SELECT count(*) FROM "Note" WHERE person_id = ANY(%(who)s)',
            "SELECT count(*) FROM payment WHERE wallet_id = ANY(%(who)s)",
            "SELECT count(*) FROM person WHERE id = ANY(%(who)s) AND (email IS NOT NULL OR seen IS NOT NULL)",
            "SELECT count(*) FROM clip WHERE person_id = ANY(%(who)s) AND ip IS NOT NULL",
            "SELECT count(*) FROM letter WHERE sender = ANY(%(who)s) AND recipient = ANY(%(who)s)",
            "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zzzz_domicile%%'",
            "SELECT count(*) FROM pg_class WHERE relpersistence = 't'",  # a session's tables hold what it deleted there
        ):
            assert (0,) == source.execute(query, {"who": movers}).fetchone(), query
    for place in ("us", "ca"):
        with psycopg.connect(world.dsns[place]) as home:
            assert (0,) == home.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'zzzz_domicile%'").fetchone()


@pytest.mark.timeout(300)
def test_p11_a_word_of_the_directory_is_nobodys(pg18: EmbeddedServer, tmp_path: Path) -> None:
    """Somebody wrote just the word that the directory has for a state: there it is of others, and no residue."""
    with moving_world(pg18, tmp_path, "word") as world:
        with psycopg.connect(world.dsns["source"], autocommit=True) as line:
            line.execute("UPDATE \"Note\" SET body = 'Moving' WHERE person_id = 1")
        with pytest.raises(Waiting, match="approvals"):
            world.run.apply(close=True, until=Stage.CLEAR)
        world.programme.approve_in(world.run)
        world.run.apply(yes=True, close=True, until=Stage.ERASE)
        with psycopg.connect(world.dsns["source"], autocommit=True) as line:
            line.execute("UPDATE domicile_directory.place SET state = 'moving' WHERE key = '6'")
        world.run.apply(yes=True, close=True)
        found = world.run.last(CertificatePredicate)
    assert found is not None
    assert isinstance(found.predicate, CertificatePredicate)
    told = {one.id: one.verdict.value for one in found.predicate.copies}
    assert "present" != told["app/directory"]


def test_p3_the_directory_that_a_move_by_cohorts_leaves_is_planned_and_told(
    pg18: EmbeddedServer, tmp_path: Path
) -> None:
    """The file doesn't name it; it holds people's keys, so it is a copy, and not proven, all the same."""
    rules = "".join(line for line in RULES.splitlines(keepends=True) if not line.startswith("directory:"))
    with homes_of(pg18, "directory_left") as dsns:
        with psycopg.connect(dsns["source"]) as connection:
            connection.execute(SCHEMA.encode())
        homes = {home.upper(): dsns[home] for home in ("us", "ca")}
        programme = make(tmp_path, rules + CUTOVER, source=dsns["source"], homes=homes)
        said = programme.command("plan")
        assert 0 == said.returncode, said.stderr
        assert "kept on purpose: the key of each who moved" in " ".join(said.stdout.split())
        with programme.opened() as run:
            plan, _ = run.load_plan()
        assert [line for line in plan.not_proven if line.startswith("app/directory keeps the key of everybody")]
