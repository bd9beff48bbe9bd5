"""Uploads: drafts are private and lie at home, what is published lies in the commons; files of both likewise."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import RedirectResponse, Response

from shortvideo.media.process import Clip, NotAVideo, measure, prepare
from shortvideo.media.store import Bucket, NoObject
from shortvideo.service.jobs import FanOut, Thumbnail, enqueue
from shortvideo.service.places import Places
from shortvideo.service.videos import media, video_row
from shortvideo.service.web import Guest, HerePlaces, Me, Person, Refused, address_of, answer, done, gone

router = APIRouter()
MENTION: Final = re.compile(r"@([a-z0-9_.]{2,40})")
TAG: Final = re.compile(r"[^\s,#]{1,40}")
TAGS_MAX: Final = 8
NO_NUL: Final = r"^[^\x00]*$"
"""No database keeps it; refused before the file lies where everybody sees it."""
BYTES_MAX: Final = 64_000_000
LINK_SECONDS: Final = 600
MP4: Final = "video/mp4"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A video that only its author can see."""

    id: int
    caption: str | None
    object_key: str
    saved_at: datetime

    @property
    def video_url(self) -> str:
        """Where its file is."""
        return media(self.object_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class New:
    """A video that is about to be published."""

    caption: str
    tags: list[str]
    file: Path
    key: str
    """Where the file will lie for everybody; of a draft always the same."""
    duration_s: float
    ratio: float


@router.get("/upload")
def upload_page(request: Request, me: Me) -> Response:
    """Show the form."""
    return answer(request, "upload.html", {"username": me.username})


@router.post("/videos")
def upload(  # noqa: PLR0913, PLR0917 - the fields of a form with a file
    request: Request,
    places: HerePlaces,
    me: Me,
    file: Annotated[UploadFile, File()],
    caption: Annotated[str, Form(max_length=300, pattern=NO_NUL)] = "",
    tags: Annotated[str, Form(max_length=300, pattern=NO_NUL)] = "",
    publish: Annotated[bool, Form()] = True,
) -> Response:
    """Take a video; publish it, or keep it as a draft."""
    with tempfile.TemporaryDirectory(prefix="shortvideo-upload-") as name:
        clip = _prepared(file, Path(name))
        if publish:
            new = New(
                caption=caption, tags=_tags(tags), file=clip.video, key=f"public/{uuid4().hex}.mp4",
                duration_s=clip.duration_s, ratio=clip.width / clip.height,
            )  # fmt: skip
            return done(request, {"id": _publish(request, places, me, new)}, to=f"/people/{me.username}", status=201)
        draft = _keep(request, places, me, clip, " ".join([caption, *(f"#{tag}" for tag in _tags(tags))]).strip())
    return done(request, {"draft_id": draft}, to="/drafts", status=201)


@router.delete("/videos/{video}")
def take_down(request: Request, places: HerePlaces, me: Me, video: int) -> Response:
    """Take a published video down; the row stays for those who liked and commented it."""
    row = video_row(places, video)
    if row.author_id != me.id:
        raise Refused(403, "This is somebody else's video.")
    places.commons.run("UPDATE app.videos SET deleted_at = now() WHERE id = %s", [row.id])
    return gone(request, to=f"/people/{me.username}")


@router.get("/drafts")
def drafts(request: Request, places: HerePlaces, me: Me) -> Response:
    """Show one's own drafts."""
    rows = places.home.all(
        Draft,
        "SELECT id, caption, object_key, saved_at FROM app.drafts WHERE author_id = %s ORDER BY saved_at DESC, id DESC",
        [me.id],
    )
    shown = [
        {"id": row.id, "caption": row.caption or "", "video_url": row.video_url, "saved_at": row.saved_at}
        for row in rows
    ]
    return answer(request, "drafts.html", {"drafts": shown})


@router.post("/drafts/{draft}/publish")
def publish_draft(request: Request, places: HerePlaces, me: Me, draft: int) -> Response:
    """Publish a draft: its file moves to the public files. It may be repeated: what is published is only forgotten."""
    row = _draft(places, me, draft)
    key = f"public/{blake2b(row.object_key.encode(), digest_size=16).hexdigest()}.mp4"
    number = places.commons.value("SELECT id FROM app.videos WHERE author_id = %s AND object_key = %s", [me.id, key])
    if number is None:
        number = _publish_draft(request, places, me, row, key)
    _forget(places, row)
    return done(request, {"id": number}, to=f"/people/{me.username}", status=201)


def _publish_draft(request: Request, places: Places, me: Person, row: Draft, key: str) -> int:
    with tempfile.TemporaryDirectory(prefix="shortvideo-draft-") as name:
        path = Path(name) / "draft.mp4"
        try:
            path.write_bytes(places.private_files.get(row.object_key))
        except NoObject:
            raise Refused(409, "The file of this draft is not here.") from None
        duration_s, width, height = measure(path)
        new = New(
            caption=row.caption or "", tags=_tags(" ".join(re.findall(r"#(\S+)", row.caption or ""))), file=path,
            key=key, duration_s=duration_s, ratio=width / height,
        )  # fmt: skip
        return _publish(request, places, me, new)


@router.delete("/drafts/{draft}")
def drop_draft(request: Request, places: HerePlaces, me: Me, draft: int) -> Response:
    """Delete a draft and its file."""
    _forget(places, _draft(places, me, draft))
    return gone(request, to="/drafts")


@router.get("/media/{key:path}")
def file_of(places: HerePlaces, person: Guest, key: str) -> Response:
    """Lead to a file: everybody to public ones, the owner alone to private ones."""
    owner = re.match(r"u/(\d+)/", key)
    if owner is None:
        return _link(places.public_files, key)
    if person is None or person.id != int(owner[1]):
        raise Refused(404, "There is no such file.")
    return _link(places.private_files, key)


def _link(bucket: Bucket, key: str) -> Response:
    """The link lives longer than browsers keep it."""
    headers = {"cache-control": f"private, max-age={LINK_SECONDS // 2}"}
    return RedirectResponse(bucket.presigned(key, LINK_SECONDS), status_code=302, headers=headers)


def _prepared(file: UploadFile, folder: Path) -> Clip:
    path = folder / "upload"
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)
    if path.stat().st_size > BYTES_MAX:
        raise Refused(413, "The file is too big.")
    try:
        return prepare(path, folder)
    except NotAVideo as fault:
        raise Refused(400, str(fault)) from fault


def _publish(request: Request, places: Places, me: Person, new: New) -> int:
    """Put the file where everybody sees it, then the row; from where it came stays at home."""
    number = places.tickets.next("videos")
    mentioned = places.commons.column(
        "SELECT id FROM app.users WHERE lower(username::text) = ANY(%s) AND deleted_at IS NULL",
        [MENTION.findall(new.caption)],
    )
    places.public_files.put(new.key, new.file, MP4)
    row = [number, me.id, new.caption, new.tags, new.key, round(new.duration_s, 3), new.ratio, mentioned]
    with places.both() as (home, commons):
        if places.apart:
            commons.run(INSERT, [*row, None])
        home.run(INSERT, [*row, address_of(request)])
        enqueue(places, home, Thumbnail(user_id=me.id, video_id=number))
        enqueue(places, home, FanOut(user_id=me.id, video_id=number))
    return number


INSERT: Final = (
    'INSERT INTO app.videos (id, author_id, caption, tags, object_key, duration_s, "aspectRatio", mentioned_ids, '
    "upload_ip, published_at, updated_at) OVERRIDING SYSTEM VALUE "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now(), now())"
)


def _keep(request: Request, places: Places, me: Person, clip: Clip, caption: str) -> int:
    number, key = places.tickets.next("drafts"), f"u/{me.id}/drafts/{uuid4().hex}.mp4"
    places.private_files.put(key, clip.video, MP4)
    places.home.run(
        "INSERT INTO app.drafts (id, author_id, caption, object_key, upload_ip, saved_at) "
        "OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s, now())",
        [number, me.id, caption, key, address_of(request)],
    )
    return number


def _draft(places: Places, me: Person, draft: int) -> Draft:
    row = places.home.one(
        Draft,
        "SELECT id, caption, object_key, saved_at FROM app.drafts WHERE id = %s AND author_id = %s",
        [draft, me.id],
    )
    if row is None:
        raise Refused(404, "You have no such draft.")
    return row


def _forget(places: Places, draft: Draft) -> None:
    places.home.run("DELETE FROM app.drafts WHERE id = %s", [draft.id])
    places.private_files.delete(draft.object_key)


def _tags(text: str) -> list[str]:
    return list(dict.fromkeys(tag.lower() for tag in TAG.findall(text)))[:TAGS_MAX]
