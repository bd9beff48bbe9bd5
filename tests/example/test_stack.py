"""The whole example service, started for real: every part answers, what it made is found again, nothing outlives it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from shortvideo import stack as parts
from shortvideo.stack import NotStarted, Stack
from tests.servers import ROOT, SCRATCH

USERS = 150
CLIPS = 4
JSON = {"Accept": "application/json"}


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-stack-", dir=SCRATCH))
    folder.chmod(0o711)
    return folder


@pytest.fixture
def state() -> Iterator[Path]:
    folder = _folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    """Two locations, read and written by many tests."""
    folder = _folder()
    with Stack.start(folder, locations=("sg", "us"), users=USERS, clips=CLIPS, home_schema=True) as stack:
        yield stack
    shutil.rmtree(folder)


def _processes(folder: Path) -> list[str]:
    """Return the command of every process that works in the folder, names it, or was told of it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                told += os.fsencode((entry / "cwd").readlink())
            except OSError:  # ended meanwhile
                continue
            if os.fsencode(folder) in told:
                found.append(told[:80].decode(errors="replace"))
    return found


def _value(dsn: str, query: str, *values: object) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode(), values).fetchone()
        return row and row[0]


def _sign_up(url: str, name: str, country: str) -> httpx.Response:
    person = {
        "email": f"{name}@example.com",
        "phone": "+1 202 555 0123",
        "password": "correct horse",
        "username": name,
        "display_name": name.title(),
        "country": country,
        "birth_date": "1990-04-01",
    }
    return httpx.post(f"{url}/signup", data=person, headers=JSON)


def test_every_instance_says_where_it_is_and_the_router_answers(running: Stack) -> None:
    assert ["sg", "us"] == list(running.instances)
    for location, address in running.instances.items():
        assert location == httpx.get(f"{address}/healthz").json()["location"]
    answer = httpx.get(f"{running.url}/healthz")
    assert answer.is_success
    assert 1 == len(answer.headers.get_list("date"))


def test_the_feed_shows_videos_that_play(running: Stack) -> None:
    videos = httpx.get(f"{running.url}/", params={"mode": "latest"}, headers=JSON).json()["videos"]
    assert videos
    for video in videos[:3]:
        moving = httpx.get(running.url + video["video_url"], follow_redirects=True)
        still = httpx.get(running.url + video["poster_url"], follow_redirects=True)
        assert b"ftyp" == moving.content[4:8]
        assert still.content.startswith(b"\xff\xd8\xff")


def test_newcomers_live_where_their_country_is_received(running: Stack) -> None:
    for name, country, location in (("newyorker", "US", "us"), ("parisian", "FR", "sg")):
        answer = _sign_up(running.url, name, country)
        assert (201, location) == (answer.status_code, answer.json()["location"])
        other = {"us": "sg", "sg": "us"}[location]
        query = "SELECT count(*) FROM app.users WHERE email = %s"
        assert 1 == _value(running.dsns[location], query, f"{name}@example.com")
        assert 0 == _value(running.dsns[other], query, f"{name}@example.com")


def test_a_seeded_person_logs_in_with_the_password_that_is_told(running: Stack) -> None:
    with psycopg.connect(running.dsns["sg"]) as connection:
        row = connection.execute(
            "SELECT id, email FROM app.users WHERE id <= 50 AND state = 'active' AND email IS NOT NULL"
        ).fetchone()
    assert row is not None
    told = {"email": row[1], "password": f"clip-{row[0]}"}
    answer = httpx.post(f"{running.url}/login", data=told, headers=JSON)
    assert (200, row[0]) == (answer.status_code, answer.json()["id"])
    refused = httpx.post(f"{running.url}/login", data={**told, "password": "clip-0"}, headers=JSON)
    assert refused.is_client_error


def test_a_part_that_was_killed_comes_back_where_it_was(running: Stack) -> None:
    part = running.web["us"]
    part.kill()
    assert not part.answers()
    part.start()
    assert "us" == httpx.get(f"{running.instances['us']}/healthz").json()["location"]


def test_nothing_secret_is_shown_or_open_to_others(running: Stack) -> None:
    assert not any(dsn in repr(running) for dsn in running.dsns.values())
    assert running.token not in repr(running)
    for name in ("secrets.json", "service.env"):
        assert 0o600 == (running.state / name).stat().st_mode & 0o777


@pytest.mark.slow
def test_what_was_made_is_found_again_and_nothing_outlives_the_block(state: Path) -> None:
    with Stack.start(state, users=USERS, clips=CLIPS) as first:
        assert 201 == _sign_up(first.url, "stayer", "SG").status_code
        objects = list(first.buckets["sg"].keys())
        assert 3 <= len(_processes(state))
    assert [] == _processes(state)

    def again() -> None:
        with Stack.start(state, users=USERS, clips=CLIPS) as second:
            assert 1 == _value(second.dsns["sg"], "SELECT count(*) FROM app.users WHERE username = 'stayer'")
            assert objects == list(second.buckets["sg"].keys())
            assert (first.token, first.dsns.keys()) == (second.token, second.dsns.keys())
            raise LookupError("in the block")

    with pytest.raises(LookupError, match="in the block"):
        again()
    assert [] == _processes(state)


def test_everything_ends_when_a_part_does_not_start(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = parts.Web.start

    def broken(web: parts.Web) -> None:
        if web.name == "router":
            web.command = tuple(word.replace("shortvideo.router", "shortvideo.none") for word in web.command)
        real(web)

    monkeypatch.setattr(parts.Web, "start", broken)
    with (
        pytest.raises(NotStarted, match=r"router did not come up; see .*router\.out"),
        Stack.start(state, users=USERS, clips=CLIPS),
    ):
        pass
    assert [] == _processes(state)
    assert "shortvideo.none" in (state / "logs" / "router.out").read_text()


def test_a_port_that_somebody_else_answers_on_is_refused(running: Stack, state: Path) -> None:
    port = int(running.url.rsplit(":", 1)[1])
    with (
        pytest.raises(NotStarted, match="is another program's already"),
        Stack.start(state, users=USERS, clips=CLIPS, port=port),
    ):
        pass
    assert [] == _processes(state)


def test_a_folder_that_a_service_runs_in_is_left_alone(running: Stack) -> None:
    with pytest.raises(NotStarted, match="already; end that"), Stack.start(running.state, users=USERS, clips=CLIPS):
        pass
    assert all(web.answers() for web in running.web.values())


def test_homes_begin_empty_unless_asked_for(state: Path) -> None:
    with Stack.start(state, locations=("sg", "us"), users=USERS, clips=CLIPS) as stack:
        assert _value(stack.dsns["us"], "SELECT to_regclass('app.users')") is None
        assert httpx.get(f"{stack.url}/", headers=JSON).is_success


def test_the_source_comes_first(state: Path) -> None:
    with pytest.raises(ValueError, match="source"), Stack.start(state, locations=("us",)):
        pass


@pytest.mark.slow
def test_the_program_says_where_to_look_and_ends_when_told(state: Path) -> None:
    options = ["--locations", "sg", "--users", str(USERS), "--clips", str(CLIPS), "--port", "0", "--state", str(state)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'examples'}:{ROOT / 'src'}"}
    with subprocess.Popen(
        [sys.executable, "-m", "shortvideo", *options], stdout=subprocess.PIPE, text=True, env=environment
    ) as program:
        assert program.stdout is not None
        shown = ""
        while "Ctrl-C" not in shown:
            line = program.stdout.readline()
            assert line, shown
            shown += line
        address = re.search(r"watch +(http://\S+)", shown)
        assert address is not None
        assert httpx.get(f"{address[1]}/healthz").is_success
        assert re.search(r"log in with +\S+@\S+\n +password +clip-\d+", shown)
        program.send_signal(signal.SIGTERM)  # Ctrl-C goes the same way
        rest, _ = program.communicate(timeout=60)
        assert (0, "stopped.") == (program.returncode, rest.strip())
    assert [] == _processes(state)
