"""What people do with one another, within a location and across borders."""

from __future__ import annotations

import pytest

from tests.example.contract.conftest import Somebody
from tests.example.contract.visitor import COUNTRIES, Visitor, eventually


@pytest.fixture(params=COUNTRIES)
def other(request: pytest.FixtureRequest, somebody: Somebody) -> Visitor:
    """Somebody of every location, the person's own, too."""
    return somebody(str(request.param))


def talk(visitor: Visitor, other: Visitor) -> list[tuple[int, str, str]]:
    page = visitor.json(f"/messages/{other.username}")
    return [(one["id"], one["sender"], one["body"]) for one in page["messages"]]


def news(visitor: Visitor) -> list[tuple[str, str]]:
    page = visitor.json("/notifications")
    return [(one["kind"], one["actor"]["username"]) for one in page["notifications"] if one["actor"]]


def test_a_message_arrives_once_and_is_the_same_on_both_sides(me: Visitor, other: Visitor) -> None:
    first = me.tell(f"/messages/{other.username}", body="Hello, 世界 <3 & more")["id"]
    eventually(lambda: talk(other, me))
    second = other.tell(f"/messages/{me.username}", body="hi")["id"]
    eventually(lambda: len(talk(me, other)) == 2)
    both = [(first, me.username, "Hello, 世界 <3 & more"), (second, other.username, "hi")]
    assert both == talk(me, other) == talk(other, me)
    for one, partner in ((me, other), (other, me)):
        (shown,) = one.json("/messages")["people"]
        assert (partner.username, "hi") == (shown["person"]["username"], shown["last"]["body"])


def test_nobody_else_sees_a_message(me: Visitor, other: Visitor, somebody: Somebody, location: str) -> None:
    me.tell(f"/messages/{other.username}", body="between us")
    eventually(lambda: talk(other, me))
    third = somebody(location)
    assert [] == third.json("/messages")["people"]
    assert [] == talk(third, me) == talk(third, other)


def test_a_note_to_oneself_is_there_once(me: Visitor) -> None:
    number = me.tell(f"/messages/{me.username}", body="milk")["id"]
    assert [(number, me.username, "milk")] == talk(me, me)


@pytest.mark.parametrize("body", ["", " ", "x" * 2001])
def test_a_message_that_is_none_is_refused(me: Visitor, them: Visitor, body: str) -> None:
    assert 400 == me.post(f"/messages/{them.username}", data={"body": body}).status_code


def test_what_others_do_is_told(me: Visitor, author: Visitor, film: int) -> None:
    me.tell(f"/videos/{film}/like", status=200)
    me.tell(f"/videos/{film}/comments", body="nice")
    me.tell(f"/people/{author.username}/follow", status=200)
    me.tell(f"/messages/{author.username}", body="hey")
    wanted = [(kind, me.username) for kind in ("comment", "follow", "like", "message")]
    eventually(lambda: wanted == sorted(one for one in news(author) if one[1] == me.username))
    assert not author.json("/notifications")["notifications"][0]["read"]
    author.tell("/notifications/read", status=200)
    assert all(one["read"] for one in author.json("/notifications")["notifications"])
    assert [] == news(me)


def test_following_is_shown_to_who_follows_and_counted_for_all(me: Visitor, other: Visitor) -> None:
    assert {"following": True, "followers": 1} == me.tell(f"/people/{other.username}/follow", status=200)
    me.tell(f"/people/{other.username}/follow", status=200)
    assert me.json(f"/people/{other.username}")["following"] is True
    assert other.json(f"/people/{me.username}")["following"] is False
    eventually(lambda: 1 == other.json(f"/people/{other.username}")["followers"])
    assert me.delete(f"/people/{other.username}/follow").json()["following"] is False
    eventually(lambda: 0 == other.json(f"/people/{other.username}")["followers"])


def test_who_is_followed_is_shown_as_that(me: Visitor, author: Visitor, film: int) -> None:
    me.tell(f"/people/{author.username}/follow", status=200)
    assert me.json(f"/videos/{film}")["following"] is True


@pytest.mark.parametrize("act", ["follow", "block"])
def test_nobody_follows_or_blocks_themselves(me: Visitor, act: str) -> None:
    assert 400 == me.post(f"/people/{me.username}/{act}").status_code


def test_who_is_blocked_is_not_heard_any_more(
    me: Visitor, other: Visitor, nobody: Somebody, somebody: Somebody
) -> None:
    me.tell(f"/people/{other.username}/block", status=200)
    answer = other.post(f"/messages/{me.username}", data={"body": "let me in"})
    assert answer.status_code in {201, 403}  # across a border only the blocker's home knows
    wall = f"/people/{other.username}/comments"
    said = other.tell(wall, body="can you hear me")["id"]
    assert said not in {one["id"] for one in me.json(wall)["comments"]}
    assert said in {one["id"] for one in nobody("sg").json(wall)["comments"]}
    neighbour = somebody(other.location)  # whose message goes the same way, later
    neighbour.tell(f"/messages/{me.username}", body="hello")
    eventually(lambda: talk(me, neighbour))
    assert [] == talk(me, other)
    assert other.username not in {name for _, name in news(me)}


def test_a_block_can_be_lifted(me: Visitor, other: Visitor) -> None:
    me.tell(f"/people/{other.username}/block", status=200)
    me.delete(f"/people/{other.username}/block")
    number = other.tell(f"/messages/{me.username}", body="and now")["id"]
    assert [(number, other.username, "and now")] == eventually(lambda: talk(me, other))


def test_what_somebody_wrote_who_has_left_can_still_be_read(me: Visitor, other: Visitor) -> None:
    other.tell(f"/messages/{me.username}", body="farewell")
    eventually(lambda: me.json("/unread")["messages"])
    other.post("/account/delete", data={"password": other.password})
    (talk,) = [one for one in me.json("/messages")["people"] if one["person"]["id"] == other.id]
    page = me.get(f"/messages/{talk['person']['username']}", headers={"accept": "text/html"})
    assert 200 == page.status_code
    assert "Somebody who has left" in page.text
    assert 0 == me.json("/unread")["messages"]
    assert 404 == me.post(f"/messages/{talk['person']['username']}", data={"body": "stay"}).status_code
    assert 200 == me.get("/notifications", headers={"accept": "text/html"}).status_code


def test_people_are_found_by_the_beginning_of_their_name(me: Visitor, other: Visitor) -> None:
    found = me.json("/search", q=other.username[:-1])["people"]
    assert other.username in {one["username"] for one in found}
    assert all({"id", "username", "display_name"} == set(one) for one in found)
    assert [] == me.json("/search", q="%_%")["people"]


def test_a_profile_shows_nothing_private(me: Visitor, other: Visitor) -> None:
    answer = me.get(f"/people/{other.username}")
    assert {"id", "username", "display_name", "bio", "followers", "following", "videos"} <= set(answer.json())
    assert other.email not in answer.text
    assert "+1555" not in answer.text
