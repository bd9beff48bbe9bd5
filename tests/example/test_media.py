"""The example's moving pictures: a real store keeps them, the same seed makes the same, no upload comes in as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from domicile.stores.postgres.server import EmbeddedServer
from shortvideo.database import create
from shortvideo.left_over import _working_in, end_left_over
from shortvideo.media import clips, ffmpeg, process
from shortvideo.media.process import NotAVideo, measure, prepare
from shortvideo.media.seeding import fill
from shortvideo.media.store import Bucket, NoObject, ObjectServer
from tests.servers import ROOT, Databases

COUNT = 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    with ObjectServer.start(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def bucket(store: ObjectServer) -> Bucket:
    return store.bucket(f"t-{uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return clips.make(tmp_path_factory.mktemp("clips"), COUNT, 1)


# ---------------------------------------------------------------------------------------------- store


def test_what_was_put_is_got_listed_and_deleted(bucket: Bucket, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"from a file" * 1000)
    bucket.put("a/one", b"from memory", "text/plain")
    bucket.put("a/two", file, "video/mp4")
    bucket.put("b", b"", "text/plain")
    assert b"from memory" == bucket.get("a/one")
    assert file.read_bytes() == bucket.get("a/two")
    assert ["a/one", "a/two"] == list(bucket.keys("a/"))
    assert ["a/one", "a/two", "b"] == list(bucket.keys())
    for key in ("a/one", "a/two", "b", "never-there"):
        bucket.delete(key)
    assert [] == list(bucket.keys())
    with pytest.raises(NoObject, match="a/one"):
        bucket.get("a/one")


def test_making_a_bucket_again_leaves_what_it_holds(store: ObjectServer) -> None:
    store.bucket("again").put("kept", b"kept", "text/plain")
    assert b"kept" == store.bucket("again").get("kept")


def test_a_link_is_read_without_a_key_in_parts_and_only_as_signed(bucket: Bucket) -> None:
    bucket.put("public/linked.mp4", b"0123456789", "video/mp4")
    link = bucket.presigned("public/linked.mp4")
    whole, part = httpx.get(link), httpx.get(link, headers={"Range": "bytes=2-4"})
    assert (200, b"0123456789", "video/mp4") == (whole.status_code, whole.content, whole.headers["Content-Type"])
    assert (206, b"234") == (part.status_code, part.content)
    bucket.put("public/other.mp4", b"other", "video/mp4")
    for address in (link.split("?")[0], link.replace("linked", "other")):
        assert 403 == httpx.get(address).status_code


def test_a_store_keeps_its_objects_and_credentials_over_a_restart(tmp_path: Path) -> None:
    with ObjectServer.start(tmp_path) as first:
        first.bucket("media").put("key", b"bytes", "text/plain")
    with ObjectServer.start(tmp_path) as second:
        assert (first.key, first.secret) == (second.key, second.secret)
        assert b"bytes" == second.bucket("media").get("key")
    assert (tmp_path / "s3.json").stat().st_mode & 0o077 == 0


def test_a_store_that_outlived_its_starter_is_ended_before_another_begins(tmp_path: Path) -> None:
    killed = (
        "import os, signal, sys; from pathlib import Path; from shortvideo.media.store import ObjectServer\n"
        "with ObjectServer.start(Path(sys.argv[1])) as store:\n"
        "    store.bucket('media').put('key', b'bytes', 'text/plain')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "examples")}
    done = subprocess.run([sys.executable, "-c", killed, tmp_path], check=False, env=environment)
    assert -signal.SIGKILL == done.returncode
    assert 1 == len(_working_in(tmp_path / "data", "weed"))
    with ObjectServer.start(tmp_path) as store:
        assert b"bytes" == store.bucket("media").get("key")
        assert 1 == len(_working_in(tmp_path / "data", "weed"))
    assert 0 == end_left_over(tmp_path / "data", "weed")


def test_no_secret_is_shown(store: ObjectServer, bucket: Bucket) -> None:
    assert store.secret not in repr(store) + repr(bucket)


# ---------------------------------------------------------------------------------------------- clips


def test_the_same_seed_makes_the_same_clips_and_another_seed_others(made: list[Path], tmp_path: Path) -> None:
    again, others = clips.make(tmp_path / "again", COUNT, 1), clips.make(tmp_path / "others", COUNT, 2)
    assert [path.read_bytes() for path in made] == [path.read_bytes() for path in again]
    assert COUNT * 2 == len({path.read_bytes() for path in (*made, *others)})


def test_clips_are_short_small_and_portrait(made: list[Path]) -> None:
    for path in made:
        seconds, width, height = measure(path)
        assert 2 <= seconds <= 6.1
        assert (360, 640) == (width, height)
        assert 20_000 < path.stat().st_size < 170_000
        assert path.with_suffix(".jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_clips_that_are_there_are_not_made_again_and_half_a_one_is(made: list[Path]) -> None:
    before = [path.stat().st_mtime_ns for path in made]
    made[0].with_suffix(".jpg").unlink()
    assert made == clips.make(made[0].parent, COUNT, 1)
    assert before[1:] == [path.stat().st_mtime_ns for path in made[1:]]
    assert before[0] < made[0].stat().st_mtime_ns
    assert not list(made[0].parent.glob("half-*"))


# ---------------------------------------------------------------------------------------------- uploads


def _record(path: Path, *, size: str = "640x360", seconds: float = 1, more: tuple[str, ...] = ()) -> Path:
    """Make a video with a tone, the way that a camera might."""
    sources = ("-f", "lavfi", "-i", f"testsrc=s={size}:r=30", "-f", "lavfi", "-i", "sine")
    ffmpeg.run([*sources, "-t", str(seconds), "-preset", "ultrafast", *more, path])
    return path


def _told(path: Path) -> str:
    return ffmpeg.run(["-loglevel", "info", "-i", path, "-c", "copy", "-f", "null", "-"])


def test_an_upload_is_made_smaller_and_loses_where_it_was_recorded(tmp_path: Path) -> None:
    place = ("-metadata", "location=+01.2903+103.8520/", "-metadata", "title=at home", "-movflags", "use_metadata_tags")
    upload = _record(tmp_path / "upload.mov", size="1920x1080", seconds=2, more=place)
    assert "+01.2903" in _told(upload)
    clip = prepare(upload, tmp_path)
    assert (720, 406) == (clip.width, clip.height)
    assert 1.9 <= clip.duration_s <= 2.1
    told = _told(clip.video)
    assert all(word in told for word in ("Video: h264", "yuv420p", "Audio: aac", "mov,mp4"))
    assert not any(word in told for word in ("+01.2903", "at home"))
    data = clip.video.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # plays before all of it is there
    assert clip.poster.read_bytes().startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize("ending", ["webm", "mkv", "avi", "ts"])
def test_what_browsers_and_phones_record_is_taken(tmp_path: Path, ending: str) -> None:
    clip = prepare(_record(tmp_path / f"upload.{ending}", size="90x160"), tmp_path)
    assert (90, 160) == (clip.width, clip.height)


def test_odd_sizes_become_even_and_silence_is_fine(tmp_path: Path) -> None:
    upload = _record(tmp_path / "upload.mkv", size="101x333", more=("-pix_fmt", "yuv444p", "-an"))
    clip = prepare(upload, tmp_path)
    assert (0, 0) == (clip.width % 2, clip.height % 2)
    assert "Audio" not in _told(clip.video)


def test_a_minute_is_taken_and_more_is_not(tmp_path: Path) -> None:
    prepare(_record(tmp_path / "minute.mp4", size="64x64", seconds=59.9), tmp_path)
    with pytest.raises(NotAVideo, match="longer than 60 seconds"):
        prepare(_record(tmp_path / "more.mp4", size="64x64", seconds=61.5), tmp_path)


def test_what_is_too_big_is_refused_unread(tmp_path: Path) -> None:
    upload = tmp_path / "upload.mp4"
    with upload.open("wb") as file:
        file.truncate(process.BYTES_MAX + 1)
    with pytest.raises(NotAVideo, match="larger than 64 MB"):
        prepare(upload, tmp_path)


def test_what_is_no_video_is_refused(tmp_path: Path, made: list[Path]) -> None:
    uploads = {
        "empty.mp4": b"",
        "text.mp4": b"a text that calls itself a video",
        "page.mp4": b"<html><script>alert(1)</script></html>",
        "picture.mp4": made[0].with_suffix(".jpg").read_bytes(),
        "cut.mp4": made[0].read_bytes()[:300],
    }
    for name, data in uploads.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(NotAVideo):
            prepare(tmp_path / name, tmp_path)


def test_a_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    ffmpeg.run(["-f", "lavfi", "-i", "sine", "-t", "1", tmp_path / "sound.m4a"])
    with pytest.raises(NotAVideo):
        prepare(tmp_path / "sound.m4a", tmp_path)


def test_a_playlist_that_names_a_file_of_the_server_is_refused(tmp_path: Path) -> None:
    secret = _record(tmp_path / "secret.ts", size="64x64")
    lists = {
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile '{secret}'\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(NotAVideo):
            prepare(tmp_path / name, tmp_path)


# ---------------------------------------------------------------------------------------------- seeding


def test_every_seeded_video_plays_and_nothing_else_changes(
    pg18: EmbeddedServer, database: Databases, bucket: Bucket, made: list[Path]
) -> None:
    dsn = database(pg18)
    create(dsn, users=100)
    others = "SELECT id, author_id, caption, like_count, updated_at FROM app.videos ORDER BY id"
    with psycopg.connect(dsn) as connection:
        before = connection.execute(others).fetchall()
        fill(dsn, bucket, made)
        assert before == connection.execute(others).fetchall()
        rows = connection.execute(
            "SELECT id, object_key, thumb_key, duration_s::float FROM app.videos ORDER BY id"
        ).fetchall()
        those = "SELECT object_key FROM app.drafts WHERE author_id <= 50 OR id <= 30 ORDER BY 1"
        drafts = connection.execute(those).fetchall()
    assert sorted(key for (key,) in drafts) == list(bucket.keys("u/"))
    seconds = [measure(path)[0] for path in made]
    for number, video, poster, duration_s in rows:
        assert seconds[number % COUNT] == pytest.approx(duration_s)
        assert video[:-4] == poster[:-4]
    held = set(bucket.keys("public/"))
    assert {key for row in rows for key in row[1:3]} == held
    assert {path.read_bytes() for path in made} == {bucket.get(key) for key in held if key.endswith(".mp4")}
