"""Coming, staying and going: the same at each location."""

from __future__ import annotations

import httpx
import pytest

from tests.example.contract.conftest import Somebody
from tests.example.contract.visitor import COUNTRIES, Visitor, eventually, newcomer

SETTINGS = {"email", "phone", "country", "language", "ranking", "birth_date"}


def test_a_newcomer_lives_at_home_from_the_first_row_on(me: Visitor, location: str) -> None:
    answer = me.get("/settings/data")
    assert location == me.location == answer.headers["x-location"] == answer.json()["location"]
    private = [held for held in answer.json()["holdings"] if held["private"]]
    assert private
    assert {location} == {held["location"] for held in private}
    assert {"sg"} == {held["location"] for held in answer.json()["holdings"] if not held["private"]}


def test_the_door_of_each_country_leads_to_its_location(nobody: Somebody, location: str) -> None:
    assert {"location": location, "ok": True} == nobody(location).json("/healthz")


def test_who_comes_by_another_door_lives_at_home_all_the_same(nobody: Somebody, location: str, elsewhere: str) -> None:
    visitor = nobody(elsewhere)
    visitor.country = COUNTRIES[location]
    visitor.sign_up()
    assert location == visitor.location == visitor.json("/settings/data")["location"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("birth_date", "2024-01-01"),
        ("birth_date", "yesterday"),
        ("email", "nonsense"),
        ("username", "Ümlaut!"),
        ("username", ".."),
        ("username", "Gone.1"),
        ("display_name", "a\0b"),
        ("password", "short"),
        ("country", "XX"),
        ("country", "ZZ"),
    ],
)
def test_a_form_that_is_none_is_refused(nobody: Somebody, location: str, name: str, value: str) -> None:
    visitor = nobody(location)
    answer = visitor.post("/signup", data={**newcomer(visitor.country), name: value})
    assert 400 == answer.status_code
    assert answer.json()["error"]
    assert "sv" not in answer.cookies


def test_a_name_is_taken_once_over_all_locations(nobody: Somebody, me: Visitor, elsewhere: str) -> None:
    visitor = nobody(elsewhere)
    answer = visitor.post("/signup", data={**newcomer(visitor.country), "username": me.username})
    assert 409 == answer.status_code


def test_out_and_in_again_by_any_door(me: Visitor, nobody: Somebody, elsewhere: str) -> None:
    assert 204 == me.post("/logout").status_code
    assert 401 == me.get("/settings").status_code
    visitor = nobody(elsewhere)
    assert {"id": me.id, "username": me.username} == visitor.tell(
        "/login", status=200, email=me.email, password=me.password
    )
    assert me.email == visitor.json("/settings")["email"]


def test_a_session_that_was_ended_stays_ended(me: Visitor) -> None:
    kept = me.cookies["sv"]
    me.post("/logout")
    me.cookies.set("sv", kept)
    assert 401 == me.get("/settings").status_code


@pytest.mark.parametrize("password", ["", "wrong password"])
def test_a_wrong_password_lets_nobody_in(me: Visitor, nobody: Somebody, location: str, password: str) -> None:
    visitor = nobody(location)
    assert visitor.post("/login", data={"email": me.email, "password": password}).status_code in {400, 403}
    assert 401 == visitor.get("/settings").status_code


@pytest.mark.parametrize("cookie", ["", "1", "1.", "x.y", "1.00000000-0000-0000-0000-000000000000", "9" * 40])
def test_a_cookie_of_ones_own_making_lets_nobody_in(nobody: Somebody, location: str, cookie: str) -> None:
    visitor = nobody(location)
    visitor.cookies.set("sv", cookie)
    assert 401 == visitor.get("/settings").status_code
    assert 200 == visitor.get("/").status_code


def test_settings_are_as_they_were_left(me: Visitor) -> None:
    assert set(me.json("/settings")) >= SETTINGS
    me.tell("/settings", status=200, display_name="Zoë <b>", bio="a & b", language="fr", ranking="latest")
    shown = me.json("/settings")
    assert ("fr", "latest") == (shown["language"], shown["ranking"])
    assert "latest" == me.json("/")["mode"]
    profile = me.json(f"/people/{me.username}")
    assert ("Zoë <b>", "a & b") == (profile["display_name"], profile["bio"])


def test_everybody_sees_the_new_name(me: Visitor, them: Visitor) -> None:
    me.tell("/settings", status=200, display_name="Renamed")
    assert "Renamed" == them.json(f"/people/{me.username}")["display_name"]


def test_another_country_of_the_same_home_is_a_setting_one_elsewhere_is_a_move(me: Visitor, location: str) -> None:
    same, other = {"sg": ("JP", "US"), "us": ("US", "SG"), "au": ("AU", "US")}[location]
    me.tell("/settings", status=200, country=same)
    assert same == me.json("/settings")["country"]
    assert 409 == me.post("/settings", data={"country": other}).status_code
    assert same == me.json("/settings")["country"]


def test_a_bio_can_be_emptied_again(me: Visitor) -> None:
    me.tell("/settings", status=200, bio="words")
    me.tell("/settings", status=200, display_name="Only the name")
    assert "words" == me.json("/settings")["bio"]
    me.tell("/settings", status=200, bio="")
    assert "" == me.json("/settings")["bio"] == me.json(f"/people/{me.username}")["bio"]


def test_the_button_of_the_bar_changes_a_language_that_was_chosen_before(me: Visitor) -> None:
    me.tell("/settings", status=200, language="fr")
    me.tell("/language", status=200, language="en")
    assert "en" == me.json("/settings")["language"]


def test_who_chose_no_language_is_shown_the_one_of_the_page(me: Visitor) -> None:
    assert "fr" == me.get("/settings", headers={"accept-language": "fr-CA"}).json()["language"]


@pytest.mark.parametrize(("name", "value"), [("language", "de"), ("ranking", "best"), ("display_name", "")])
def test_a_setting_that_is_none_is_refused(me: Visitor, name: str, value: str) -> None:
    before = me.json("/settings")
    answer = me.post("/settings", data={name: value})
    assert answer.status_code in {200, 400}  # an empty field counts as left out
    assert before == me.json("/settings")


def test_a_payout_account_is_shown_by_its_last_digits_only(me: Visitor) -> None:
    assert {"account": None, "payouts": []} == me.json("/payouts")
    me.tell("/payouts/account", holder_name="Ann O. Nym", iban="GB29 NWBK 6016 1331 9268 19", tax_id="T1")
    shown = me.get("/payouts")
    assert {"holder_name": "Ann O. Nym", "iban_last4": "6819"} == shown.json()["account"]
    assert "6016" not in shown.text
    assert 400 == me.post("/payouts/account", data={"holder_name": "A", "iban": "nonsense"}).status_code


def test_who_leaves_takes_what_is_private_along(
    me: Visitor, them: Visitor, nobody: Somebody, location: str, clip: bytes
) -> None:
    video = me.upload(clip, caption="soon gone", publish=True)
    me.upload(clip, caption="draft", publish=False)
    said = me.tell(f"/people/{them.username}/comments", body="was here")["id"]
    assert 403 == me.post("/account/delete", data={"password": "wrong password"}).status_code
    cookie = me.cookies["sv"]
    assert 204 == me.post("/account/delete", data={"password": me.password}).status_code
    me.cookies.set("sv", cookie)
    assert 401 == me.get("/settings").status_code
    assert 403 == nobody(location).post("/login", data={"email": me.email, "password": me.password}).status_code
    assert 404 == them.get(f"/people/{me.username}").status_code
    assert 404 == them.get(f"/videos/{video}").status_code
    (comment,) = [one for one in them.json(f"/people/{them.username}/comments")["comments"] if one["id"] == said]
    assert (None, "was here") == (comment["author"], comment["body"])


def test_a_name_that_was_given_back_can_be_taken(me: Visitor, nobody: Somebody, elsewhere: str) -> None:
    me.post("/account/delete", data={"password": me.password})
    visitor = nobody(elsewhere)
    answer = eventually(
        lambda: (
            (got := visitor.post("/signup", data={**newcomer(visitor.country), "username": me.username})).is_success
            and got
        )
    )
    assert isinstance(answer, httpx.Response)


def test_another_sites_form_is_refused(me: Visitor) -> None:
    answer = me.post("/settings", data={"bio": "stolen"}, headers={"origin": "https://elsewhere.example"})
    assert 403 == answer.status_code
    assert "" == me.json(f"/people/{me.username}")["bio"]


def test_pages_lead_strangers_to_the_door(nobody: Somebody, location: str) -> None:
    answer = nobody(location).get("/messages", headers={"accept": "text/html"})
    assert (303, "/login") == (answer.status_code, answer.headers["location"])


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/videos/999999999", "/people/nobody_at_all", "/media/public/none.mp4/../x", "/messages/none_at"],
)
def test_what_is_not_there_is_said_so(me: Visitor, path: str) -> None:
    answer = me.get(path)
    assert answer.status_code in {302, 404}
    if answer.status_code == 404:
        assert answer.json()["error"]


def test_the_inner_door_is_closed(me: Visitor) -> None:
    assert 404 == me.post("/internal/deliver", json={}).status_code
