"""The service while Domicile moves its people, from plan to certificate: nobody loses anything."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from shortvideo.stack import Stack
from tests.example.contract.visitor import eventually
from tests.example.programme import CANARIES, LOCATIONS, living, move
from tests.servers import SCRATCH

PRIVATE_PAGES = ("/settings", "/drafts", "/messages", "/notifications", "/payouts")
SOMEBODY = """
    SELECT u.username::text, u.id || '.' || s.id FROM app.users u JOIN app.sessions s ON s.user_id = u.id
    WHERE u.country = %s AND s.valid @> now() AND u.state = 'active' AND u.email NOT LIKE '%%canary%%'
    ORDER BY u.id LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Somebody:
    """A seeded person with a session that was open before the move."""

    name: str
    client: httpx.Client = field(repr=False)

    def sees(self, path: str) -> Any:
        """Return a page's JSON."""
        return self.client.get(path).raise_for_status().json()

    def says(self, path: str, **form: str) -> httpx.Response:
        """Post a form."""
        return self.client.post(path, data=form)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="domicile-test-move-", dir=SCRATCH))
    folder.chmod(0o711)
    with Stack.start(folder, locations=tuple(LOCATIONS), users=300, clips=4, canaries=CANARIES) as running:
        yield running
    shutil.rmtree(folder)


@contextmanager
def somebody_of(stack: Stack, country: str) -> Iterator[Somebody]:
    """Give somebody of a country."""
    with psycopg.connect(stack.dsns["sg"]) as connection:
        row = connection.execute(SOMEBODY, [country]).fetchone()
    assert row is not None
    headers, cookies = {"accept": "application/json"}, {"sv": row[1]}
    with httpx.Client(base_url=stack.url, headers=headers, cookies=cookies, timeout=20) as client:
        yield Somebody(row[0], client)


@pytest.fixture
def mover(stack: Stack) -> Iterator[Somebody]:
    """Somebody whose data goes home."""
    with somebody_of(stack, "US") as somebody:
        yield somebody


@pytest.fixture
def stayer(stack: Stack) -> Iterator[Somebody]:
    """Somebody whose data stays."""
    with somebody_of(stack, "JP") as somebody:
        yield somebody


def _on_the_move(mover: Somebody, stayer: Somebody, theirs: int, others: int) -> None:
    """The fence stands: who moves is asked to come again, who stays goes on."""
    for answer in (mover.says(f"/videos/{others}/like"), mover.says("/settings", bio="x"), stayer.says(
        f"/messages/{mover.name}", body="not now"
    )):  # fmt: skip
        assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
        assert "moving home" in answer.json()["error"]
    assert 200 == mover.client.get("/settings").status_code
    assert 200 == stayer.says(f"/videos/{others}/like").status_code
    assert 201 == stayer.says(f"/videos/{theirs}/comments", body="come back soon").status_code


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_person_moves_home_and_finds_everything_there(stack: Stack, mover: Somebody, stayer: Somebody) -> None:
    with psycopg.connect(stack.dsns["sg"]) as connection:
        found = connection.execute(
            "SELECT max(v.id) FILTER (WHERE u.country = 'US'), max(v.id) FILTER (WHERE u.country = 'JP') "
            "FROM app.videos v JOIN app.users u ON u.id = author_id"
        ).fetchone()
    assert found is not None
    theirs, others = found
    assert 201 == stayer.says(f"/messages/{mover.name}", body="before").status_code
    eventually(lambda: mover.sees("/unread")["messages"])
    before = {path: mover.sees(path) for path in PRIVATE_PAGES}
    move(stack, under_the_fence=lambda: _on_the_move(mover, stayer, theirs, others))
    assert {"us", "ca", "au"} == set(living(stack))
    eventually(lambda: mover.client.get("/settings").headers["x-location"] == "us" or None)
    _at_home(mover, stayer, others, before)


def _at_home(mover: Somebody, stayer: Somebody, others: int, before: dict[str, Any]) -> None:
    """The same cookie leads home, and everything is there; what waited for the person arrives; life goes on."""
    after = {path: mover.sees(path) for path in PRIVATE_PAGES}
    for path in set(PRIVATE_PAGES) - {"/notifications"}:
        assert before[path] == after[path]
    seen = {one["id"] for one in before["/notifications"]["notifications"]}
    assert seen <= {one["id"] for one in after["/notifications"]["notifications"]}
    assert "us" == mover.sees("/settings/data")["location"]
    assert 201 == stayer.says(f"/messages/{mover.name}", body="after").status_code
    assert 201 == mover.says(f"/messages/{stayer.name}", body="from home").status_code
    bodies = ["before", "after", "from home"]
    for one, other in ((mover, stayer), (stayer, mover)):
        eventually(partial(_ends_with, one, other, bodies))
    likes = mover.sees(f"/videos/{others}")["likes"]
    assert likes + 1 == mover.says(f"/videos/{others}/like").json()["likes"]


def _ends_with(one: Somebody, other: Somebody, bodies: list[str]) -> bool:
    return bodies == [line["body"] for line in one.sees(f"/messages/{other.name}")["messages"]][-len(bodies) :]
