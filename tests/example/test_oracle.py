"""The oracle against the running service: nothing to find after traffic, and every fault that is planted by SQL."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from shortvideo.media.clips import make
from shortvideo.oracle.__main__ import check
from shortvideo.oracle.compare import Fault, Finding
from shortvideo.oracle.expect import Expected, Film, Said, There, expected
from shortvideo.oracle.ledger import Entry, Kind, Ledger, read
from shortvideo.stack import CLIP_CACHE, Stack
from shortvideo.traffic import accounts, writing
from shortvideo.traffic.figures import Result
from shortvideo.traffic.people import Crowd, Person, blocked_before, with_sessions
from shortvideo.traffic.run import Run
from shortvideo.traffic.wire import Wire
from tests.servers import ROOT, SCRATCH

ACTS = (
    writing.message, writing.comment, writing.wall_comment, writing.draft, writing.like, writing.watch,
    writing.follow, accounts.change_settings, accounts.payout_account,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What people did, and where it stands."""

    stack: Stack
    ledger: Path
    run: Run

    def book(self) -> Expected:
        return expected(read(self.ledger))

    def found(self) -> list[Finding]:
        """Look once: what was planted does not go away."""
        return check(self.book(), self.stack.url, dsns=self.stack.dsns, patience_s=0)

    def lives_in(self, location: str) -> list[int]:
        return [person.id for person in self.run.crowd.people if person.location == location and not person.gone]

    def message(self, sender: str, recipient: str) -> Said:
        senders, recipients = self.lives_in(sender), self.lives_in(recipient)
        return next(
            said
            for said in self.book().messages.values()
            if said.author in senders and said.target_id in recipients and said.there is There.YES
        )

    def draft(self, author: str) -> Film:
        authors = self.lives_in(author)
        return next(
            film for film in self.book().drafts.values() if film.author in authors and film.there is There.YES
        )  # fmt: skip


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-oracle-", dir=SCRATCH))
    folder.chmod(0o711)
    with Stack.start(folder, locations=("sg", "us"), users=150, clips=4, home_schema=True) as stack:
        ledger = folder / "ledger.jsonl"
        yield Played(stack=stack, ledger=ledger, run=asyncio.run(_play(stack, ledger)))
    shutil.rmtree(folder)


async def _play(stack: Stack, ledger: Path) -> Run:
    """Let people do by chance what they like, and pairs of every kind what the plants need."""
    chance = random.Random(4)  # noqa: S311 - chance that repeats
    clips = tuple(path.read_bytes() for path in make(CLIP_CACHE, 4, 1))
    crowd = Crowd(people=with_sessions([stack.dsns["sg"]], 20), chance=chance, clips=clips, run="chance")
    async with Wire(stack.url) as wire:
        with Ledger(ledger) as book:
            run = Run(wire=wire, crowd=crowd, ledger=book)
            await run.greet()
            await run.receive(30)
            await run.go(rate=25, seconds=6)
            here = {
                place: [one for one in crowd.people if one.location == place and not one.gone] for place in stack.dsns
            }
            for number, (one, other) in enumerate((*zip(*here.values(), strict=False), here["sg"][:2], here["us"][:2])):
                pair = Crowd(people=[one, other], chance=chance, clips=clips, run=f"pair{number}", videos=crowd.videos)
                await _all_acts(run, pair, one)
            run.crowd.people = crowd.people
    return run


async def _all_acts(run: Run, pair: Crowd, person: Person) -> None:
    for chooser in ACTS:
        act = chooser(person, pair)
        assert act is not None
        assert Result.OK is await run.perform(act, time.monotonic()), run.board.notes


@contextmanager
def planted(dsn: str, plant: str, undo: str, *values: object) -> Iterator[None]:
    """Change a database behind the service's back, and change it back; triggers and foreign keys rest."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        assert connection.execute(plant.encode(), values).rowcount > 0
        connection.commit()
        yield
        connection.execute(undo.encode(), values)


@contextmanager
def taken(dsn: str, table: str, where: str, *values: object) -> Iterator[None]:
    """Take rows away for a while."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM {table} WHERE {where}".encode(), values)
        columns = connection.execute(
            "SELECT string_agg(quote_ident(attname), ',') FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            [table],
        ).fetchone()
        assert columns
        assert connection.execute(f"DELETE FROM {table} WHERE {where}".encode(), values).rowcount == 1
        connection.commit()
        yield
        connection.execute(
            f"INSERT INTO {table} ({columns[0]}) OVERRIDING SYSTEM VALUE SELECT {columns[0]} FROM kept".encode()
        )


def test_after_traffic_everything_is_there(played: Played) -> None:
    figures = played.run.board.all()
    assert figures.errors == 0, played.run.board.notes
    assert {"sg", "us"} == {group.location for group in played.run.board.total}
    assert [] == check(played.book(), played.stack.url, dsns=played.stack.dsns, patience_s=20)


def test_the_command_says_so(played: Played) -> None:
    done = _command(played)
    assert (0, "") == (done.returncode, done.stderr)
    assert "all there, once, in their place, for the right eyes" in done.stdout


def test_a_lost_comment_is_caught(played: Played) -> None:
    said = next(said for said in played.book().comments.values() if said.there is There.YES)
    with taken(played.stack.dsns["sg"], "app.comments", "id = %s", said.id):
        found = played.found()
        done = _command(played, "--patience", "0")
    assert {Fault.LOST} == {finding.fault for finding in found}
    assert {f"comment {said.id}"} == {" ".join(finding.words.split()[:2]) for finding in found}
    assert 1 == done.returncode
    assert f"lost: comment {said.id} of person {said.author}" in done.stdout


@pytest.mark.parametrize("location", ["sg", "us"])
def test_a_message_that_one_end_lost_is_caught(location: str, played: Played) -> None:
    said = played.message("sg", "us")
    with taken(played.stack.dsns[location], "app.direct_messages", "id = %s", said.id):
        found = played.found()
    assert {Fault.LOST} == {finding.fault for finding in found}
    sees = said.author if location == "sg" else said.target_id
    assert any(f"as person {sees} sees it at {location}" in finding.words for finding in found)
    assert any(f"no row in {location}'s database" in finding.words for finding in found)


def test_a_lost_draft_is_caught(played: Played) -> None:
    film = played.draft("us")
    with taken(played.stack.dsns["us"], "app.drafts", "id = %s", film.id):
        (finding,) = played.found()
    assert (Fault.LOST, f"draft {film.id} of person {film.author} at us") == (finding.fault, finding.words)


def test_a_doubled_message_is_caught(played: Played) -> None:
    said = played.message("us", "us")
    plant = (
        "INSERT INTO app.direct_messages (id, sender_id, recipient_id, body, sent_at) "
        "SELECT id + 1000000000, sender_id, recipient_id, body, sent_at FROM app.direct_messages WHERE id = %s"
    )
    undo = "DELETE FROM app.direct_messages WHERE id = %s + 1000000000"
    with planted(played.stack.dsns["us"], plant, undo, said.id):
        found = played.found()
    assert {Fault.DOUBLED} == {finding.fault for finding in found}
    assert len(found) == 2  # each of the two sees it


def test_a_doubled_view_is_caught(played: Played) -> None:
    person = played.lives_in("us")[0]
    plant = (
        "INSERT INTO app.watch_events SELECT id + 1000000000, user_id, video_id, watched_at, speed, payload "
        "FROM app.watch_events WHERE user_id = %s LIMIT 1"
    )
    undo = "DELETE FROM app.watch_events WHERE user_id = %s AND id > 1000000000"
    with planted(played.stack.dsns["us"], plant, undo, person):
        (finding,) = played.found()
    assert Fault.DOUBLED is finding.fault
    assert f"videos watched of person {person} at us" in finding.words


def test_a_draft_in_another_database_is_caught(played: Played) -> None:
    """Its owner has it, too: no page would show the other one."""
    film = played.draft("us")
    plant = (
        "INSERT INTO app.drafts (id, author_id, object_key, saved_at) OVERRIDING SYSTEM VALUE "
        "VALUES (%s, %s, 'k', now())"
    )
    undo = "DELETE FROM app.drafts WHERE (id, author_id) = (%s, %s)"
    with planted(played.stack.dsns["sg"], plant, undo, film.id, film.author):
        (finding,) = played.found()
        assert [] == check(
            played.book(), played.stack.url, dsns=played.stack.dsns, leftovers=frozenset({"sg"}), patience_s=0
        )
    assert Fault.MISPLACED is finding.fault
    assert finding.words == f"drafts of person {film.author}: rows in sg's database, served by us"


def test_a_message_where_neither_lives_is_caught(played: Played) -> None:
    said = played.message("sg", "sg")
    plant = (
        "INSERT INTO app.direct_messages (id, sender_id, recipient_id, body, sent_at) VALUES (%s, %s, %s, %s, now())"
    )
    undo = "DELETE FROM app.direct_messages WHERE (id, sender_id, recipient_id, body) = (%s, %s, %s, %s)"
    with planted(played.stack.dsns["us"], plant, undo, said.id, said.author, said.target_id, said.body):
        (finding,) = played.found()
    assert Fault.MISPLACED is finding.fault
    assert "a row in us's database, where neither lives" in finding.words


def test_a_message_that_somebody_else_sees_is_caught(played: Played) -> None:
    said = played.message("us", "us")
    third = next(person for person in played.lives_in("us") if person not in {said.author, said.target_id})
    plant = "UPDATE app.direct_messages SET recipient_id = %s WHERE id = %s AND recipient_id = %s"
    undo = "UPDATE app.direct_messages SET recipient_id = %s WHERE id = %s"
    with planted(played.stack.dsns["us"], plant, "SELECT %s, %s, %s", third, said.id, said.target_id):
        found = played.found()
    with psycopg.connect(played.stack.dsns["us"]) as connection:
        connection.execute(undo, [said.target_id, said.id])
    assert {Fault.EXPOSED, Fault.LOST} == {finding.fault for finding in found}
    assert any(f"person {third} sees it" in finding.words for finding in found)


def test_a_person_who_is_led_to_the_wrong_home_is_caught(played: Played) -> None:
    person = played.lives_in("us")[0]
    with taken(played.stack.dsns["sg"], "app.residences", "user_id = %s", person):
        time.sleep(1.2)  # residences are remembered for a second
        found = played.found()
    time.sleep(1.2)
    assert Finding(fault=Fault.LOST, words=f"the session of person {person} at sg") in found


def test_a_draft_whose_file_others_get_is_caught(played: Played) -> None:
    """A draft that points to a public file: whoever knows the address sees it."""
    film = played.draft("us")
    with psycopg.connect(played.stack.dsns["us"]) as connection:
        (key,) = connection.execute("SELECT object_key FROM app.drafts WHERE id = %s", [film.id]).fetchone() or ("",)
    plant = "UPDATE app.drafts SET object_key = 'public/' || object_key WHERE id = %s AND object_key = %s"
    undo = "UPDATE app.drafts SET object_key = substr(object_key, 8) WHERE id = %s AND object_key <> %s"
    with planted(played.stack.dsns["us"], plant, undo, film.id, key):
        (finding,) = played.found()
    assert (Fault.EXPOSED, f"draft {film.id} of person {film.author}: others get its file") == (
        finding.fault, finding.words,
    )  # fmt: skip


def test_the_traffic_command_leaves_figures_and_a_ledger(played: Played, tmp_path: Path) -> None:
    """Into the ledger that is there: another one would not know what this one knows."""
    figures = tmp_path / "traffic.jsonl"
    command = [sys.executable, "-m", "shortvideo.traffic", "--url", played.stack.url]
    homes = [part for dsn in played.stack.dsns.values() for part in ("--dsn", dsn)]
    done = subprocess.run(
        [
            *(*command, *homes, "--rate", "20", "--seconds", "3", "--people", "20", "--newcomers", "4"),
            *("--no-uploads", "--ledger", str(played.ledger), "--figures", str(figures)),
        ],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "examples"), "COLUMNS": "120"},
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr
    assert "location" in done.stderr
    lines = [json.loads(line) for line in figures.read_text(encoding="utf-8").splitlines()]
    assert {"second", "total", "end"} == {line["kind"] for line in lines}
    totals = [line for line in lines if line["kind"] == "total"]
    assert sum(line["requests"] for line in totals) > 30
    assert all(0 < line["p50_ms"] <= line["p95_ms"] <= line["p99_ms"] <= line["max_ms"] for line in totals)
    assert [] == check(played.book(), played.stack.url, dsns=played.stack.dsns, patience_s=20)


def test_an_address_without_a_service_says_nothing_about_it(played: Played, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_text("{}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "shortvideo.oracle", "check", "--url", played.stack.url, str(ledger)],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "examples")},
    )  # fmt: skip
    assert 2 == done.returncode
    assert "nothing can be said" in done.stdout


def _command(played: Played, *options: str) -> subprocess.CompletedProcess[str]:
    homes = [part for name, dsn in played.stack.dsns.items() for part in ("--dsn", f"{name}={dsn}")]
    return subprocess.run(
        [
            *(sys.executable, "-m", "shortvideo.oracle", "check", "--url", played.stack.url),
            *(*homes, *options, str(played.ledger)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT / "examples")},
    )


def test_a_message_to_who_had_blocked_its_sender_before_is_left_open(played: Played) -> None:
    """It is dropped where it arrives: nobody promised that it is seen."""
    people = with_sessions([played.stack.dsns["sg"]], 150)
    lines = blocked_before([played.stack.dsns["sg"]], people)
    names = {person.username: person for person in people}
    assert lines
    sender, recipient = names[lines[0].text("username")], lines[0].person
    message = Entry(kind=Kind.MESSAGE, person=sender.id, what={"id": 1, "to": "x", "to_id": recipient, "body": "hello"})
    entries = [accounts.arrival(sender), message]
    assert There.YES is expected(entries).messages["hello"].there
    assert There.MAYBE is expected([*lines, *entries]).messages["hello"].there
