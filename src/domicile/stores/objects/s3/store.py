"""The protocol over one bucket, or the part of it under a prefix.

What S3 leaves open, and this module decides:

- Versions and delete markers come as two lists, dated to the second: which came first is told by nothing but the order
  of the elements in the answer. So that is kept (`requests.Requests`).
- What a lost answer would double is sent once: an object, the beginning and the end of an upload, a delete marker.
  Everything else is retried.
- Removing a version answers the same whether or not there was one, and a lock is answered like a missing right. So
  `remove` looks before and after, and asks for the lock.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from itertools import groupby
from typing import Any, Final

from domicile.errors import DomicileError, Locked, NotPermitted, StoreFault, Unreachable, WorldChanged
from domicile.stores.objects import (
    BLOCK_BYTES,
    NULL_VERSION,
    VERSIONS_OF_KEY_MAX,
    Gap,
    GapKind,
    Head,
    ObjectVersion,
    Removal,
    Rule,
    Traits,
    Upload,
    Versioning,
    Written,
)
from domicile.stores.objects.parts import PART_BYTES, checksum, cut, part_bytes, refuse_key, sizes, whole
from domicile.stores.objects.s3.requests import Refusal, Requests, S3Place
from domicile.stores.objects.s3.rules import observe
from domicile.stores.objects.s3.spelling import head_of, listed, request_of, utc

READ_TRIES_MAX: Final = 4
"""How often a read may break off without a byte of progress."""
PAGE: Final = 1_000
"""Entries asked for at once."""
PAGE_OF_KEY: Final = 16
"""Entries asked for at once where one key's are wanted: those of longer keys come along."""
ABORT_TRIES_MAX: Final = 3
MISSPELT: Final = "\ufffd"


class S3Objects:
    """One bucket as an object store. Its methods may be called from several threads."""

    def __init__(self, place: S3Place, *, name: str) -> None:
        self._prefix = place.prefix
        self._name = name
        self._requests = Requests(place, store=name)

    def __repr__(self) -> str:
        return f"S3Objects(name={self._name!r})"

    @property
    def name(self) -> str:
        """The store's name."""
        return self._name

    def versioning(self) -> Versioning:
        """Whether the bucket keeps versions."""
        said = self._requests.ask("get_bucket_versioning").get("Status")
        return {"Enabled": Versioning.ON, "Suspended": Versioning.SUSPENDED}.get(str(said), Versioning.OFF)

    def rules(self) -> tuple[Rule, ...]:
        """What the bucket does on its own, as far as it says."""
        return observe(self._requests)

    def versions(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """List versions and delete markers, key by key, oldest first."""
        for _, newest_first in groupby(self._listing(prefix, page=PAGE), key=lambda version: version.key):
            yield from self._turned(newest_first)

    def history(self, key: str) -> tuple[ObjectVersion, ...]:
        """The versions of one key, which are listed before those of all longer keys."""
        return self._turned(self._listing_of(key))

    def uploads(self) -> Iterator[Upload]:
        """List the incomplete uploads. Raises StoreFault where the store tells of more than it shows."""
        for upload in self._uploads(""):
            key = upload["Key"].removeprefix(self._prefix)
            parts = self._parts(key, upload["UploadId"])
            if parts is not None:
                yield Upload(
                    key=key,
                    id=upload["UploadId"],
                    started_at=utc(upload["Initiated"]),
                    parts=tuple(part["Size"] for part in parts),
                )

    def gaps(self) -> tuple[Gap, ...]:
        """Count keys that can't be as they are listed: XML has no control characters, and a mark stands for them."""
        count = sum(MISSPELT in version.key for version in self.versions())
        remedy = "rename keys with control characters: the store's listing doesn't tell them as they are"
        return (Gap(kind=GapKind.NAME, count=count, remedy=remedy),) if count else ()

    def head(self, key: str, version_id: str) -> Head | None:
        """Traits, tags, size and locks of a version: two requests."""
        said = self._head(key, version_id)
        if said is None:
            return None
        try:
            tags = self._requests.ask("get_object_tagging", Key=self._full(key), VersionId=version_id)["TagSet"]
        except Refusal as fault:
            if fault.code not in {"NotImplemented", "MethodNotAllowed"}:
                raise
            tags = []
        return head_of(said, tags)

    def read(self, key: str, version_id: str, *, offset: int = 0) -> Iterator[bytes]:
        """Stream the content; a broken connection is taken up where it broke, on the same content."""
        tries, said = 0, self._open(key, version_id, offset)
        while said is not None:
            try:
                for block in self._blocks(said["Body"]):
                    yield block
                    offset, tries = offset + len(block), 0
            except Unreachable:
                tries += 1
                if tries >= READ_TRIES_MAX:
                    raise
                said = self._open(key, version_id, offset, IfMatch=said["ETag"])
            else:
                return

    def put(self, key: str, blocks: Iterable[bytes], traits: Traits, *, size: int) -> Written:
        """Write a version; more than `PART_BYTES` go in parts."""
        refuse_key(key, store=self._name)
        part = part_bytes(size, store=self._name)
        wanted = {"Key": self._full(key), **request_of(traits, store=self._name)}
        if size > PART_BYTES:
            return self._put_parts(key, cut(blocks, part=part, size=size), wanted, sizes(size, part))
        body = whole(blocks, size=size)
        said = self._requests.send("put_object", **wanted, Body=body, ContentMD5=_spelt(checksum(body)))
        return Written(version_id=said.get("VersionId", NULL_VERSION), bytes=size, bytes_sent=size)

    def put_marker(self, key: str) -> str:
        """Write a delete marker, where that hides and doesn't delete."""
        if self.versioning() is not Versioning.ON:
            raise StoreFault(f"store {self._name}: without versions a delete marker would remove; turn versioning on")
        said = self._requests.send("delete_object", Key=self._full(key))
        if not said.get("DeleteMarker") or "VersionId" not in said:
            raise StoreFault(f"store {self._name}: a delete marker was asked for, and the store tells of none; look")
        return str(said["VersionId"])

    def remove(self, key: str, version_id: str) -> Removal:
        """Remove one version: look, remove, look. HEAD tells of versions, the listing alone of delete markers."""
        is_there = self._answers
        if not is_there(key, version_id):
            is_there = self._is_listed
            if not is_there(key, version_id):
                return Removal.WAS_GONE
        try:
            self._requests.ask("delete_object", Key=self._full(key), VersionId=version_id)
        except NotPermitted as fault:
            raise self._why_not(key, version_id) or fault from None
        if is_there(key, version_id):
            raise StoreFault(f"store {self._name}: a removal was confirmed and the version is still there; look there")
        return Removal.REMOVED

    def abort(self, upload: Upload) -> Removal:
        """Remove an incomplete upload: look, abort, look. A part that was under way may need another time."""
        if self._parts(upload.key, upload.id) is None:
            return Removal.WAS_GONE
        for _ in range(ABORT_TRIES_MAX):
            try:
                self._requests.ask("abort_multipart_upload", Key=self._full(upload.key), UploadId=upload.id)
            except Refusal as fault:
                if fault.status != 404:
                    raise
            if self._parts(upload.key, upload.id) is None:
                return Removal.REMOVED
        raise StoreFault(f"store {self._name}: an aborted upload is still there; stop its writer and run again")

    def _full(self, key: str) -> str:
        return self._prefix + key

    # -- listing ---------------------------------------------------------------------------------------------------

    def _listing(self, prefix: str, *, page: int) -> Iterator[ObjectVersion]:
        """What begins with a prefix, as the store lists it: keys in order, versions newest first."""
        wanted = {"Prefix": self._full(prefix), "PaginationConfig": {"PageSize": page}}
        for said in self._requests.pages("list_object_versions", **wanted):
            for version in listed(said, prefix=self._prefix, store=self._name):
                if version.key.startswith(prefix):
                    yield version

    def _listing_of(self, key: str) -> Iterator[ObjectVersion]:
        for version in self._listing(key, page=PAGE_OF_KEY):
            if version.key != key:
                return
            yield version

    def _turned(self, newest_first: Iterator[ObjectVersion]) -> tuple[ObjectVersion, ...]:
        """One key's versions oldest first. Where versioning is suspended, some stores list the latest last."""
        held: list[ObjectVersion] = []
        for version in newest_first:
            held.append(version)
            if len(held) > VERSIONS_OF_KEY_MAX:
                raise StoreFault(f"store {self._name}: a key has more than {VERSIONS_OF_KEY_MAX} versions; thin it out")
        held.reverse()
        held.sort(key=lambda version: version.is_latest)
        return tuple(held)

    def _uploads(self, prefix: str) -> Iterator[dict[str, Any]]:
        """The incomplete uploads under a prefix, as the store tells them.

        Keys are not asked for in their URL form: a store was seen that says so and sends them as they are.
        """
        full = self._full(prefix)
        where: dict[str, str] = {}
        while True:
            said = self._requests.ask("list_multipart_uploads", Prefix=full, **where)
            yield from (upload for upload in said.get("Uploads", []) if upload["Key"].startswith(full))
            if not said.get("IsTruncated"):
                return
            before = where
            where = {"KeyMarker": said.get("NextKeyMarker", ""), "UploadIdMarker": said.get("NextUploadIdMarker", "")}
            if not where["KeyMarker"] or where == before:
                raise self._unshown()

    def _unshown(self) -> DomicileError:
        return StoreFault(
            f"store {self._name}: it tells of more incomplete uploads than it shows; abort those that are listed, then "
            "list again"
        )

    def _parts(self, key: str, upload_id: str) -> list[dict[str, Any]] | None:
        """The parts of an upload; None where there is no such upload."""
        try:
            pages = self._requests.pages("list_parts", Key=self._full(key), UploadId=upload_id)
            return [part for said in pages for part in said.get("Parts", [])]
        except Refusal as fault:
            if fault.status == 404:
                return None
            raise

    # -- one object ------------------------------------------------------------------------------------------------

    def _head(self, key: str, version_id: str) -> dict[str, Any] | None:
        """What HEAD says; None where it finds nothing, which some stores say of a delete marker, too."""
        try:
            return self._requests.ask("head_object", Key=self._full(key), VersionId=version_id, ChecksumMode="ENABLED")
        except Refusal as fault:
            if fault.status in {404, 405}:
                return None
            raise

    def _answers(self, key: str, version_id: str) -> bool:
        return self._head(key, version_id) is not None

    def _is_listed(self, key: str, version_id: str) -> bool:
        return any(version.version_id == version_id for version in self._listing_of(key))

    def _why_not(self, key: str, version_id: str) -> Locked | None:
        """The lock that keeps a version, by the store's own clock; None where it is no lock."""
        said = self._head(key, version_id)
        if said is None:
            return None
        head = head_of(said, [])
        if head.legal_hold:
            return Locked(f"store {self._name}: a legal hold is on an object version; have it lifted", until=None)
        date = said["ResponseMetadata"]["HTTPHeaders"].get("date")
        if head.locked_until is None or (date is not None and head.locked_until <= parsedate_to_datetime(date)):
            return None
        when = f"{head.locked_until:%Y-%m-%d %H:%M} UTC"
        return Locked(f"store {self._name}: an object version is locked until {when}", until=head.locked_until)

    def _open(self, key: str, version_id: str, offset: int, **same: str) -> dict[str, Any] | None:
        """The rest of the content; None where `offset` is its end."""
        rest = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            return self._requests.ask("get_object", Key=self._full(key), VersionId=version_id, **rest, **same)
        except Refusal as fault:
            if fault.status == 416:
                return None
            if fault.status in {404, 405, 412}:
                raise self._gone() from None
            raise

    def _blocks(self, body: Any) -> Iterator[bytes]:  # noqa: ANN401 - boto3's
        with body, self._requests.naming():
            while block := body.read(BLOCK_BYTES):
                yield block

    def _gone(self) -> DomicileError:
        return WorldChanged(f"store {self._name}: an object version is not there, or is another one; plan again")

    # -- parts -----------------------------------------------------------------------------------------------------

    def _put_parts(self, key: str, parts: Iterator[bytes], wanted: dict[str, Any], lengths: list[int]) -> Written:
        """Send the parts that are not there, in order, and make them one object."""
        upload_id, there = self._resumable(key, lengths) or (self._begin(wanted), {})
        sent, tags = 0, []
        for number, part in enumerate(parts, start=1):
            digest = checksum(part)
            tag = there.get(number, "")
            if tag.strip('"') != digest.hex():
                where = {"Key": wanted["Key"], "UploadId": upload_id, "PartNumber": number}
                tag = self._requests.ask("upload_part", **where, Body=part, ContentMD5=_spelt(digest))["ETag"]
                sent += len(part)
            tags.append({"PartNumber": number, "ETag": tag})
        said = self._complete(wanted["Key"], upload_id, tags)
        return Written(version_id=said.get("VersionId", NULL_VERSION), bytes=sum(lengths), bytes_sent=sent)

    def _begin(self, wanted: dict[str, Any]) -> str:
        return str(self._requests.send("create_multipart_upload", **wanted)["UploadId"])

    def _complete(self, full: str, upload_id: str, tags: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            return self._requests.send(
                "complete_multipart_upload", Key=full, UploadId=upload_id, MultipartUpload={"Parts": tags}
            )
        except Refusal as fault:
            if fault.status != 404:
                raise
            raise Unreachable(f"store {self._name}: an upload is gone before it was completed; run again") from None

    def _resumable(self, key: str, lengths: list[int]) -> tuple[str, dict[int, str]] | None:
        """An upload of this key whose parts are as long as ours, the one with the most; its parts' ETags."""
        best: tuple[str, dict[int, str]] | None = None
        for upload in self._uploads(key):
            parts = self._parts(key, upload["UploadId"]) if upload["Key"] == self._full(key) else None
            if parts is None or any(not _fits(part, lengths) for part in parts):
                continue
            if best is None or len(parts) > len(best[1]):
                best = upload["UploadId"], {part["PartNumber"]: part["ETag"] for part in parts}
        return best


def _fits(part: dict[str, Any], lengths: list[int]) -> bool:
    return bool(part["PartNumber"] <= len(lengths) and part["Size"] == lengths[part["PartNumber"] - 1])


def _spelt(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
