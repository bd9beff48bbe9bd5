"""Watching, liking, commenting, uploading: the same at each location, seen from all of them."""

from __future__ import annotations

import httpx
import psycopg
import pytest

from shortvideo.stack import Stack
from tests.example.contract.conftest import Somebody
from tests.example.contract.visitor import COUNTRIES, Visitor, eventually

VIDEO = {
    "id", "author", "caption", "tags", "likes", "comments", "liked", "following", "video_url", "poster_url",
    "published_at",
}  # fmt: skip


def some_video(visitor: Visitor) -> int:
    return int(visitor.json("/", mode="latest")["videos"][0]["id"])


def rows(visitor: Visitor, what: str) -> int:
    return sum(held["rows"] for held in visitor.json("/settings/data")["holdings"] if held["what"] == what)


def test_the_feed_shows_videos_with_all_that_belongs_to_them(me: Visitor) -> None:
    page = me.json("/")
    assert {"mode", "videos", "next"} <= set(page)
    assert "ranked" == page["mode"]
    assert page["videos"]
    assert all(set(video) >= VIDEO for video in page["videos"])
    assert all({"id", "username", "display_name"} == set(video["author"]) for video in page["videos"])


def test_who_is_nobody_is_not_profiled(nobody: Somebody, location: str) -> None:
    assert "latest" == nobody(location).json("/")["mode"]


def test_the_feed_goes_on_without_showing_anything_twice(me: Visitor) -> None:
    seen: list[int] = []
    cursor = ""
    for _ in range(3):
        page = me.json("/", mode="latest", **({"before": cursor} if cursor else {}))
        seen += [video["id"] for video in page["videos"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) == 30
    times = [me.json(f"/videos/{number}")["published_at"] for number in seen]
    assert times == sorted(times, reverse=True)


def test_the_latest_are_the_same_everywhere(nobody: Somebody) -> None:
    feeds = [nobody(place).json("/", mode="latest")["videos"][3:] for place in COUNTRIES]
    assert [[video["id"] for video in feed] for feed in feeds] == [[video["id"] for video in feeds[0]]] * len(feeds)


@pytest.mark.parametrize("before", ["x", "1-x", "99999999999999999999999-1"])
def test_a_cursor_that_is_none_is_refused(me: Visitor, before: str) -> None:
    assert 400 == me.get("/", params={"before": before}).status_code


def test_what_was_watched_is_kept_at_home(me: Visitor) -> None:
    video = some_video(me)
    assert 204 == me.post(f"/videos/{video}/watch", data={"ms": "1500", "speed": "1.5"}).status_code
    assert 1 == rows(me, "videos watched")


@pytest.mark.parametrize("form", [{"ms": "-1"}, {"ms": "x"}, {}, {"ms": "1", "speed": "0"}])
def test_watching_that_cannot_be_is_refused(me: Visitor, form: dict[str, str]) -> None:
    assert 400 == me.post(f"/videos/{some_video(me)}/watch", data=form).status_code


def test_nobody_can_watch_too(nobody: Somebody, location: str) -> None:
    visitor = nobody(location)
    assert 204 == visitor.post(f"/videos/{some_video(visitor)}/watch", data={"ms": "10"}).status_code


def test_a_like_counts_once_and_can_be_taken_back(me: Visitor, author: Visitor, film: int) -> None:
    before = author.json(f"/videos/{film}")["likes"]
    assert {"liked": True, "likes": before + 1} == me.tell(f"/videos/{film}/like", status=200)
    assert me.tell(f"/videos/{film}/like", status=200)["liked"] is True
    assert me.json(f"/videos/{film}")["liked"] is True
    assert author.json(f"/videos/{film}")["liked"] is False
    eventually(lambda: before + 1 == author.json(f"/videos/{film}")["likes"])
    assert me.delete(f"/videos/{film}/like").json()["liked"] is False
    eventually(lambda: before == author.json(f"/videos/{film}")["likes"])
    assert me.json(f"/videos/{film}")["liked"] is False


def test_who_is_nobody_cannot_like(nobody: Somebody, location: str) -> None:
    visitor = nobody(location)
    assert 401 == visitor.post(f"/videos/{some_video(visitor)}/like").status_code


def test_a_comment_is_seen_from_everywhere(me: Visitor, author: Visitor, film: int, nobody: Somebody) -> None:
    before = author.json(f"/videos/{film}")["comments"]
    said = me.tell(f"/videos/{film}/comments", body="Ünï <b> & 🐈")["id"]
    answered = author.tell(f"/videos/{film}/comments", body="yes", parent_id=str(said))["id"]
    for place in COUNTRIES:
        shown = {one["id"]: one for one in nobody(place).json(f"/videos/{film}/comments")["comments"]}
        assert ("Ünï <b> & 🐈", me.username, None) == (
            shown[said]["body"], shown[said]["author"]["username"], shown[said]["parent_id"],
        )  # fmt: skip
        assert said == shown[answered]["parent_id"]
    eventually(lambda: before + 2 == me.json(f"/videos/{film}")["comments"])


def test_a_comment_can_be_taken_back_by_who_wrote_it(me: Visitor, them: Visitor) -> None:
    said = me.tell(f"/people/{them.username}/comments", body="on your wall")["id"]
    assert 404 == them.delete(f"/comments/{said}").status_code
    assert [said] == [one["id"] for one in them.json(f"/people/{them.username}/comments")["comments"]]
    assert 204 == me.delete(f"/comments/{said}").status_code
    assert [] == them.json(f"/people/{them.username}/comments")["comments"]


@pytest.mark.parametrize("body", ["", "   ", "x" * 501])
def test_a_comment_that_is_none_is_refused(me: Visitor, body: str) -> None:
    assert 400 == me.post(f"/videos/{some_video(me)}/comments", data={"body": body}).status_code


def test_a_published_video_is_there_for_everybody(
    me: Visitor, them: Visitor, nobody: Somebody, elsewhere: str, clip: bytes
) -> None:
    video = me.upload(clip, caption=f"hello @{them.username}", tags="fresh, new", publish=True)
    shown = nobody(elsewhere).json(f"/videos/{video}")
    assert (me.username, f"hello @{them.username}") == (shown["author"]["username"], shown["caption"])
    assert ["fresh", "new"] == shown["tags"]
    assert [video] == [one["id"] for one in them.json(f"/people/{me.username}")["videos"]]
    assert video in {one["id"] for one in them.json("/search", tag="fresh")["videos"]}
    assert video in {one["id"] for one in them.json("/search", q="#Fresh")["videos"]}
    picture = eventually(lambda: them.json(f"/videos/{video}")["poster_url"])
    assert file_of(them, picture).startswith(b"\xff\xd8")  # JPEG
    assert b"ftyp" in file_of(nobody(elsewhere), shown["video_url"])[:12]


def file_of(visitor: Visitor, path: str) -> bytes:
    answer = visitor.get(path)
    assert 302 == answer.status_code
    file = httpx.get(answer.headers["location"])
    assert 200 == file.status_code
    return file.content


def test_followers_are_told_of_a_new_video(me: Visitor, them: Visitor, clip: bytes) -> None:
    them.tell(f"/people/{me.username}/follow", status=200)
    video = me.upload(clip, caption="for you", publish=True)
    eventually(
        lambda: any(
            (one["kind"], one["video_id"], one["actor"]["username"]) == ("video", video, me.username)
            for one in them.json("/notifications")["notifications"]
        )
    )


def test_a_video_is_taken_down_by_its_author_alone(me: Visitor, them: Visitor, clip: bytes) -> None:
    video = me.upload(clip, caption="not for long", publish=True)
    assert 403 == them.delete(f"/videos/{video}").status_code
    assert 204 == me.delete(f"/videos/{video}").status_code
    assert 404 == them.get(f"/videos/{video}").status_code
    assert 404 == them.post(f"/videos/{video}/like").status_code
    assert [] == them.json(f"/people/{me.username}")["videos"]


def test_a_draft_is_its_authors_alone(
    me: Visitor, them: Visitor, somebody: Somebody, location: str, clip: bytes
) -> None:
    draft = me.upload(clip, caption="secret", publish=False)
    (shown,) = me.json("/drafts")["drafts"]
    assert (draft, "secret") == (shown["id"], shown["caption"])
    assert b"ftyp" in file_of(me, shown["video_url"])[:12]
    for other in (them, somebody(location)):
        assert [] == other.json("/drafts")["drafts"]
        assert 404 == other.get(shown["video_url"]).status_code
        assert 404 == other.post(f"/drafts/{draft}/publish").status_code
        assert 404 == other.delete(f"/drafts/{draft}").status_code
    assert [draft] == [one["id"] for one in me.json("/drafts")["drafts"]]


def test_a_draft_becomes_a_video(me: Visitor, them: Visitor, clip: bytes) -> None:
    draft = me.upload(clip, caption="ready", tags="done", publish=False)
    video = me.tell(f"/drafts/{draft}/publish")["id"]
    assert [] == me.json("/drafts")["drafts"]
    shown = them.json(f"/videos/{video}")
    assert (me.username, ["done"]) == (shown["author"]["username"], shown["tags"])
    assert b"ftyp" in file_of(them, shown["video_url"])[:12]
    assert 404 == me.post(f"/drafts/{draft}/publish").status_code


def test_a_draft_whose_publishing_broke_off_at_the_end_is_published_once(
    me: Visitor, stack: Stack, location: str, clip: bytes
) -> None:
    """Published, and not yet forgotten: whoever asks again gets the same video."""
    draft = me.upload(clip, caption="once", publish=False)
    with psycopg.connect(stack.dsns[location], autocommit=True) as home:
        home.execute("CREATE TEMPORARY TABLE kept AS SELECT * FROM app.drafts WHERE id = %s", [draft])
        video = me.tell(f"/drafts/{draft}/publish")["id"]
        home.execute("INSERT INTO app.drafts OVERRIDING SYSTEM VALUE SELECT * FROM kept")
    assert video == me.tell(f"/drafts/{draft}/publish")["id"]
    assert [] == me.json("/drafts")["drafts"]
    assert [video] == [one["id"] for one in me.json(f"/people/{me.username}")["videos"]]


def test_a_draft_that_is_deleted_takes_its_file_along(me: Visitor, clip: bytes) -> None:
    draft = me.upload(clip, caption="no", publish=False)
    (shown,) = me.json("/drafts")["drafts"]
    assert 204 == me.delete(f"/drafts/{draft}").status_code
    assert [] == me.json("/drafts")["drafts"]
    answer = me.get(shown["video_url"])
    assert 404 == answer.status_code or 404 == httpx.get(answer.headers["location"]).status_code


def test_a_file_that_is_no_video_is_refused_with_a_reason(me: Visitor) -> None:
    answer = me.post("/videos", data={"caption": "x"}, files={"file": ("x.mp4", b"nonsense" * 1000, "video/mp4")})
    assert 400 == answer.status_code
    assert answer.json()["error"]
    assert 400 == me.post("/videos", data={"caption": "x"}).status_code


def test_a_report_is_taken(me: Visitor) -> None:
    video = str(some_video(me))
    assert me.tell("/reports", target_type="video", target_id=video, reason="spam", details="see there")["id"]
    assert 1 == rows(me, "reports")
    assert 400 == me.post("/reports", data={"target_type": "sound", "target_id": video, "reason": "x"}).status_code
    assert 400 == me.post("/reports", data={"target_type": "video", "target_id": "9" * 25, "reason": "x"}).status_code


def test_what_no_database_keeps_is_refused(me: Visitor, clip: bytes) -> None:
    assert 400 == me.get("/search", params={"q": "\0"}).status_code
    assert 400 == me.post(f"/videos/{some_video(me)}/comments", data={"body": "a\0b"}).status_code
    assert 400 == me.post("/videos", data={"caption": "a\0b"}, files={"file": ("x.mp4", clip, "video/mp4")}).status_code
