"""The same answers at each location: every page made of the same things, as JSON and for people."""

from __future__ import annotations

import pytest

from tests.example.contract.conftest import Somebody
from tests.example.contract.visitor import COUNTRIES, Visitor, eventually, shape

PAGES = (
    "/", "/?mode=latest", "/videos/{video}", "/videos/{video}/comments", "/people/{me}", "/people/{me}/comments",
    "/people/{other}", "/upload", "/drafts", "/messages", "/messages/{other}", "/notifications", "/search?tag=fyp",
    "/search?q=v", "/settings", "/settings/data", "/payouts",
)  # fmt: skip


def lived_in(somebody: Somebody, place: str, clip: bytes) -> tuple[Visitor, dict[str, str]]:
    """A person who has something of everything, and what the addresses of their pages need."""
    me, other = somebody(place), somebody(place)
    video = me.upload(clip, caption="mine", tags="fyp", publish=True)
    me.upload(clip, caption="draft", publish=False)
    other.tell(f"/videos/{video}/comments", body="hi")
    other.tell(f"/people/{me.username}/comments", body="hi")
    other.tell(f"/videos/{video}/like", status=200)
    other.tell(f"/messages/{me.username}", body="hi")
    me.tell(f"/people/{other.username}/follow", status=200)
    me.tell("/payouts/account", holder_name="A", iban="GB29NWBK60161331926819")
    eventually(lambda: me.json(f"/videos/{video}")["poster_url"])
    eventually(lambda: me.json("/notifications")["notifications"])
    return me, {"video": str(video), "me": me.username, "other": other.username}


def test_every_page_is_made_of_the_same_things_everywhere(somebody: Somebody, clip: bytes) -> None:
    shapes = {}
    for place in COUNTRIES:
        me, names = lived_in(somebody, place, clip)
        shapes[place] = {page: shape(me.json(page.format(**names))) for page in PAGES if page != "/upload"}
    assert shapes["sg"] == shapes["us"] == shapes["au"]


def test_every_page_is_there_for_people(somebody: Somebody, location: str, clip: bytes) -> None:
    me, names = lived_in(somebody, location, clip)
    for language in ("en", "fr"):
        me.tell("/settings", status=200, language=language)
        for page in PAGES:
            answer = me.get(page.format(**names), headers={"accept": "text/html"})
            assert 200 == answer.status_code, page
            assert answer.headers["content-type"].startswith("text/html"), page
            assert f'<html lang="{language}"' in answer.text, page
            assert "Traceback" not in answer.text
            assert answer.headers["x-location"] == location


@pytest.mark.parametrize("page", ["/", "/signup", "/login", "/search?tag=fyp"])
def test_the_doors_are_open_to_everybody(nobody: Somebody, location: str, page: str) -> None:
    answer = nobody(location).get(page, headers={"accept": "text/html"})
    assert 200 == answer.status_code
    assert "<html" in answer.text


def test_what_is_said_stands_on_the_page_as_words(me: Visitor, them: Visitor) -> None:
    me.tell(f"/people/{them.username}/comments", body="<script>alert(1)</script>")
    page = them.get(f"/people/{them.username}/comments", headers={"accept": "text/html"}).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_an_error_is_a_page_for_people(me: Visitor) -> None:
    answer = me.get("/videos/999999999", headers={"accept": "text/html"})
    assert 404 == answer.status_code
    assert "<html" in answer.text


def test_a_language_without_an_account(nobody: Somebody, location: str) -> None:
    visitor = nobody(location)
    visitor.tell("/language", status=200, language="fr")
    assert '<html lang="fr"' in visitor.get("/", headers={"accept": "text/html"}).text
    assert 400 == visitor.post("/language", data={"language": "xx"}).status_code
