"""The service as its clients meet it: odd questions, tokens, a source that is away."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from operator import itemgetter
from pathlib import Path
from urllib.parse import quote

import httpx
import psycopg
import pytest

from domicile.directory import server
from domicile.directory.client import Directory, DirectoryUnknown, Located
from domicile.directory.server import Reader, refuse_open_door
from domicile.errors import Refused
from domicile.model import State
from domicile.stores.postgres import places
from tests.directory.town import HOSTILE, MOVERS, Town, serving, until
from tests.main.programme import Programme
from tests.servers import ROOT

TOKEN = "sixteen-signs-at-least"
FILE = """
version: 1
programme: {name: town}
policy:
  homes: {US: us}
  approvals: {erase: {threshold: 1, of: [operator]}}
locations: {sg: {country: SG, operator: A}, us: {country: US, operator: B}}
stores:
  app: {kind: postgresql, location: sg, dsn: "env:APP_DSN"}
  app-us: {kind: postgresql, location: us, dsn: "env:APP_US_DSN", home_of: app}
subject: {dataset: app.public.person, key: id, market: {field: country}}
directory: {purpose: requests are led to where people live}
datasets: {}
"""


def test_each_state_is_told_with_home_and_authority(url: str, town: Town) -> None:
    town.record(State.MOVING)
    town.record(State.FENCED, "2")
    town.record(State.HOME, "3")
    said = [httpx.get(f"{url}/v1/subjects/{key}") for key in ("1", "2", "3", "77")]
    assert [
        {"subject": "1", "state": "moving", "home": "us", "authority": "sg"},
        {"subject": "2", "state": "fenced", "home": "us", "authority": "sg"},
        {"subject": "3", "state": "home", "home": "us", "authority": "us"},
        {"subject": "77", "state": "outside", "home": None, "authority": "sg"},
    ] == [{name: value for name, value in one.json().items() if name != "version"} for one in said]
    assert ["private, max-age=1", "no-store", "private, max-age=1", "private, max-age=1"] == [
        one.headers["cache-control"] for one in said
    ]
    assert len({one.json()["version"] for one in said}) == 1
    assert {"homes": ["us"], "version": said[0].json()["version"]} == httpx.get(f"{url}/v1/homes").json()


def test_many_are_told_in_the_order_asked(url: str, town: Town) -> None:
    town.record(State.HOME, *HOSTILE)
    keys = ["77", *HOSTILE, "77"]
    said = httpx.post(f"{url}/v1/subjects", json={"subjects": keys}).json()["subjects"]
    assert [(key, "outside" if key == "77" else "home") for key in keys] == [
        (one["subject"], one["state"]) for one in said
    ]


def test_hostile_keys_are_found_one_by_one(url: str, town: Town, directory: Directory) -> None:
    town.record(State.HOME, *HOSTILE)
    for key in HOSTILE:
        assert Located(state="home", home="us", authority="us") == directory.locate(key, fresh=True)
        assert Located(state="outside", home=None, authority="sg") == directory.locate(key + "x")


QUESTIONS = [
        ("/v1/subjects/", 400), ("/v1/subjects/%00", 400), (f"/v1/subjects/{'k' * 1001}", 400),
        ("/v1/changes?after=-1", 400), ("/v1/changes?after=x", 400), (f"/v1/changes?after={'9' * 19}", 400),
        ("/v1/changes?after=%D9%A1", 400), ("/v2", 404), ("/", 404),
        (f"/v1/subjects/{'k' * 1000}", 200), (f"/v1/changes?after={'9' * 18}", 200), ("/healthz", 200),
    ]  # fmt: skip


def test_odd_questions_are_refused(url: str) -> None:
    said = [(path, httpx.get(url + path).status_code) for path, _ in QUESTIONS]
    assert QUESTIONS == said


BODIES = [
        (b"", 400), (b"{", 400), (b"[]", 400), (b"[" * 100_000, 400), (b'{"subjects": "1"}', 400),
        (b'{"subjects": [1]}', 400), (b'{"subjects": [""]}', 400), (b'{"subjects": ["\\u0000"]}', 400),
        (b'{"subjects": ["\\ud800"]}', 400), (b'{"subjects": [], "more": 1}', 400), (b"\xff", 400),
        (json.dumps({"subjects": ["1"] * 1001}).encode(), 400), (b" " * 1_048_577, 413),
        (json.dumps({"subjects": ["1"] * 1000}).encode(), 200), (b'{"subjects": []}', 200),
    ]  # fmt: skip


def test_odd_bodies_are_refused(url: str) -> None:
    said = [(body, httpx.post(f"{url}/v1/subjects", content=body).status_code) for body, _ in BODIES]
    assert BODIES == said


def test_changes_are_told_at_once_to_who_waits(url: str, town: Town) -> None:
    now = httpx.get(f"{url}/v1/changes").json()["version"]
    heard: list[tuple[float, dict[str, object]]] = []

    def wait() -> None:
        said = httpx.get(f"{url}/v1/changes", params={"after": now}, timeout=20).json()
        heard.append((time.monotonic(), said))

    waiting = threading.Thread(target=wait)
    waiting.start()
    town.record(State.FENCED, "1", "2")
    recorded = time.monotonic()
    waiting.join()
    ((at, said),) = heard
    assert ({"1", "2"}, False) == (set(said["subjects"]), said["reset"])  # type: ignore[call-overload]
    assert at - recorded < 2


def test_who_hears_nothing_new_is_answered_in_some_seconds(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WAIT_S_MAX", 0.2)
    now = httpx.get(f"{url}/v1/changes").json()["version"]
    assert {"version": now, "subjects": [], "reset": False} == httpx.get(
        f"{url}/v1/changes", params={"after": now}
    ).json()


def test_no_more_wait_than_it_can_bear(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WAITERS_MAX", 0)
    now = httpx.get(f"{url}/v1/changes").json()["version"]
    assert 503 == httpx.get(f"{url}/v1/changes", params={"after": now}).status_code


def test_without_the_token_nothing_is_told(town: Town) -> None:
    with serving(town.served(), token=TOKEN) as url:
        for shown in (b"", b"Bearer x", TOKEN.encode(), b"Bearer \xff"):
            headers = {b"authorization": shown}
            answers = [
                httpx.get(f"{url}/v1/subjects/1", headers=headers),
                httpx.get(f"{url}/v1/changes", headers=headers),
                httpx.post(f"{url}/v1/subjects", headers=headers, json={"subjects": ["1"]}),
                httpx.get(f"{url}/anything", headers=headers),
            ]
            assert [401] * 4 == [answer.status_code for answer in answers]
        assert 200 == httpx.get(f"{url}/healthz").status_code
        right = {"authorization": f"Bearer {TOKEN}"}
        assert 200 == httpx.get(f"{url}/v1/subjects/1", headers=right).status_code
        with Directory(url, token=TOKEN) as directory:
            assert "outside" == directory.locate("1").state


def test_a_door_that_others_reach_needs_a_token_that_is_not_guessed() -> None:
    for host in ("0.0.0.0", "10.0.0.5", "::", "directory.example"):  # noqa: S104 - what is refused
        with pytest.raises(Refused, match="--token"):
            refuse_open_door(host, None)
        refuse_open_door(host, TOKEN)
    for host in ("127.0.0.1", "::1", "localhost"):
        refuse_open_door(host, None)
        with pytest.raises(Refused, match="shorter"):
            refuse_open_door(host, "guessed")


def test_when_the_source_is_away_nobody_is_told_anything(url: str, town: Town) -> None:
    town.record(State.HOME, "1")
    assert "home" == httpx.get(f"{url}/v1/subjects/1").json()["state"]
    town.close_doors(closed=True)
    try:
        for answer in (
            httpx.get(f"{url}/v1/subjects/1"), httpx.post(f"{url}/v1/subjects", json={"subjects": ["1"]}),
            httpx.get(f"{url}/v1/homes"), httpx.get(f"{url}/v1/changes"), httpx.get(f"{url}/v1/changes?after=5"),
            httpx.get(f"{url}/healthz"),
        ):  # fmt: skip
            assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
            assert {"error": server.AWAY} == answer.json()
    finally:
        town.close_doors(closed=False)
    until(lambda: httpx.get(f"{url}/v1/subjects/1").status_code == 200)


def test_before_anybody_ever_moved_all_are_outside_and_a_directory_that_is_gone_is_none(town: Town) -> None:
    with town.session() as connection:
        connection.execute("DROP SCHEMA domicile_directory CASCADE")
    with serving(town.served()) as url:
        assert "outside" == httpx.get(f"{url}/v1/subjects/1").json()["state"]
        assert {"version": 0, "homes": []} == httpx.get(f"{url}/v1/homes").json()
        with town.session() as connection:
            places.create(connection, store="app")
        town.record(State.HOME, "1")
        assert "home" == httpx.get(f"{url}/v1/subjects/1").json()["state"]
        assert httpx.get(f"{url}/v1/changes?after=0").json()["reset"]
        with town.session() as connection:
            connection.execute("DROP SCHEMA domicile_directory CASCADE")
        assert 503 == httpx.get(f"{url}/v1/subjects/1").status_code
        assert 503 == httpx.get(f"{url}/healthz").status_code


def test_its_sessions_cant_write(town: Town) -> None:
    reader = Reader(town.served())
    with reader._session() as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("DELETE FROM domicile_directory.place")
    reader.close()


def test_its_log_names_nobody(town: Town, directory: Directory, caplog: pytest.LogCaptureFixture) -> None:
    town.record(State.HOME, *MOVERS)
    for key in HOSTILE:
        directory.locate(key, fresh=True)
    town.close_doors(closed=True)
    try:
        for key in HOSTILE:
            with pytest.raises(DirectoryUnknown):
                directory.locate(key, fresh=True)
    finally:
        town.close_doors(closed=False)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("domicile", "uvicorn"))]
    assert any("503" in line for line in ours)
    assert [] == [line for line in ours for key in HOSTILE if key in line or quote(key, safe="") in line]


@pytest.fixture
def programme(town: Town, tmp_path: Path) -> Programme:
    """The town's file, for the command line."""
    (tmp_path / "domicile.yaml").write_text(FILE, encoding="utf-8")
    return Programme(folder=tmp_path, source=town.dsn, homes={})


def test_people_ask_by_command(programme: Programme, town: Town) -> None:
    town.record(State.MOVING)
    town.record(State.HOME, "3")
    table = programme.cli("directory", "counts").text
    assert f"us home 1 app.public.person us moving {len(MOVERS) - 1}" in table
    assert {"moving": len(MOVERS) - 1, "home": 1} == {
        line["state"]: line["people"] for line in programme.cli("directory", "counts", "--json").json()
    }
    assert "home, home us; the data in us counts\n" == programme.cli("directory", "show", "3").out
    assert "outside; the data in sg counts\n" == programme.cli("directory", "show", "nobody").out
    assert ("3", "home") == itemgetter("subject", "state")(programme.cli("directory", "show", "3", "--json").json())
    assert not programme.made.exists()  # no lock of a run was asked for


def test_a_source_without_a_directory_says_so(programme: Programme, town: Town) -> None:
    with town.session() as connection:
        connection.execute("DROP SCHEMA domicile_directory CASCADE")
    assert "keeps no directory" in programme.cli("directory", "counts", code=1).text
    assert "keeps no directory" in programme.cli("directory", "show", "3", code=1).text


def test_the_command_refuses_an_open_door_and_an_address_that_is_none(programme: Programme) -> None:
    assert "--token" in programme.cli("directory", "serve", "--listen", "0.0.0.0:7080", code=1).text
    for address in ("7080", ":7080", "localhost:", "localhost:0", "localhost:65536", "localhost:x"):
        assert "HOST:PORT" in programme.cli("directory", "serve", "--listen", address, code=2).text
    assert "env" in programme.cli("directory", "serve", "--token", TOKEN, code=30).text


def test_the_command_serves_until_it_is_stopped(programme: Programme, town: Town) -> None:
    town.record(State.HOME, "3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = subprocess.Popen(
        [sys.executable, "-m", "domicile.cli", "directory", "serve", "--listen", f"127.0.0.1:{port}", "--token",
         "env:T"],
        cwd=programme.folder, env={**programme.environment, "PYTHONPATH": str(ROOT / "src"), "T": TOKEN},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until(lambda: _answers(port), seconds_max=60)
        with Directory(f"http://127.0.0.1:{port}", token=TOKEN) as client:
            assert "us" == client.locate("3").authority
    finally:
        serving.terminate()
        out, _ = serving.communicate(timeout=20)
    assert b"" == out


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.HTTPError:
        return False
