"""While somebody's data moves, the service asks them to come again, and nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from shortvideo.stack import Stack
from tests.example.contract.conftest import Somebody
from tests.example.contract.visitor import Visitor, eventually

FENCE = """
    CREATE FUNCTION app.fence_of_the_test() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF {person} IN (NEW.sender_id, NEW.recipient_id) THEN
            RAISE EXCEPTION 'domicile: this person moves' USING ERRCODE = '{state}';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER fence_of_the_test BEFORE INSERT OR UPDATE ON app.direct_messages
    FOR EACH ROW EXECUTE FUNCTION app.fence_of_the_test()
"""
STATES = ("DM001", "55006", "P0001")


@contextmanager
def fenced(dsn: str, person: int, state: str) -> Iterator[None]:
    """Refuse a person's messages as the engine does while they move."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(FENCE.format(person=person, state=state).encode())
        try:
            yield
        finally:
            connection.execute("DROP FUNCTION app.fence_of_the_test CASCADE")


@pytest.mark.parametrize("state", STATES)
def test_who_moves_is_asked_to_come_again(
    stack: Stack, me: Visitor, somebody: Somebody, location: str, state: str
) -> None:
    other, third = somebody(location), somebody(location)
    with fenced(stack.dsns[location], me.id, state):
        answer = me.post(f"/messages/{other.username}", data={"body": "now?"})
        assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
        assert "moving home" in answer.json()["error"]
        page = me.post(f"/messages/{other.username}", data={"body": "now?"}, headers={"accept": "text/html"})
        assert 503 == page.status_code
        assert "moving home" in page.text
        assert "domicile" not in page.text
        assert 200 == me.get("/").status_code
        other.tell(f"/messages/{third.username}", body="we talk on")
    me.tell(f"/messages/{other.username}", body="now!")
    assert ["now!"] == [one["body"] for one in other.json(f"/messages/{me.username}")["messages"]]


def test_what_crosses_a_border_meanwhile_arrives_afterwards_once(stack: Stack, me: Visitor, them: Visitor) -> None:
    with fenced(stack.dsns[them.location], them.id, STATES[0]):
        me.tell(f"/messages/{them.username}", body="wait for it")
        assert [] == them.json(f"/messages/{me.username}")["messages"]
    eventually(lambda: them.json(f"/messages/{me.username}")["messages"])
    assert ["wait for it"] == [one["body"] for one in them.json(f"/messages/{me.username}")["messages"]]
