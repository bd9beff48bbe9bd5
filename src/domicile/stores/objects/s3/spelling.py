"""S3's words ↔ ours: entries of listings, headers, tags."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from domicile.errors import StoreFault
from domicile.stores.objects import Head, ObjectVersion, Traits

DEFAULT_TYPE: Final = "binary/octet-stream"
"""What S3 tells of an object that was given no type; it is sent as such, because some stores guess otherwise."""
HEADERS: Final = {
    "content_encoding": "ContentEncoding",
    "content_language": "ContentLanguage",
    "content_disposition": "ContentDisposition",
    "cache_control": "CacheControl",
    "redirect": "WebsiteRedirectLocation",
}
CHECKSUMS: Final = ("SHA256", "SHA1", "CRC64NVME", "CRC32C", "CRC32")


def listed(page: dict[str, Any], *, prefix: str, store: str) -> Iterator[ObjectVersion]:
    """The entries of a page in the order in which the store told them, under their keys without `prefix`.

    `Order` is the sequence of the entries' kinds. Keys outside the prefix are left out: some stores fold slashes, and
    tell of other keys than they were asked for.
    """
    kinds = {b"Version": list(page.get("Versions", [])), b"DeleteMarker": list(page.get("DeleteMarkers", []))}
    order = page["Order"]
    if {kind: order.count(kind) for kind in kinds} != {kind: len(entries) for kind, entries in kinds.items()}:
        raise StoreFault(f"store {store}: a listing can't be read; is it an S3 endpoint?")
    entries = {kind: iter(found) for kind, found in kinds.items()}
    for kind in order:
        entry = next(entries[kind])
        if entry["Key"].startswith(prefix):
            yield _version(entry, prefix, is_delete_marker=kind == b"DeleteMarker")


def head_of(said: dict[str, Any], tags: list[dict[str, str]]) -> Head:
    """A version's head from the answers to HEAD and to the question for tags."""
    content_type = said.get("ContentType")
    traits = Traits(
        content_type=None if content_type in {None, "", DEFAULT_TYPE} else content_type,
        **{ours: _read(said[theirs]) for ours, theirs in HEADERS.items() if said.get(theirs)},
        expires=said.get("ExpiresString"),
        metadata=tuple(sorted((name.lower(), _read(value)) for name, value in said.get("Metadata", {}).items())),
        tags=tuple(sorted((tag["Key"], tag["Value"]) for tag in tags)),
    )
    until = said.get("ObjectLockRetainUntilDate")
    return Head(
        traits=traits,
        size=said["ContentLength"],
        etag=said["ETag"],
        checksum=_checksum(said),
        locked_until=None if until is None else utc(until),
        legal_hold=said.get("ObjectLockLegalHoldStatus") == "ON",
    )


def request_of(traits: Traits, *, store: str) -> dict[str, Any]:
    """The traits as arguments of a request that writes; raise StoreFault where HTTP headers can't carry one."""
    texts = {theirs: getattr(traits, ours) for ours, theirs in HEADERS.items() if getattr(traits, ours) is not None}
    wanted = {"ContentType": traits.content_type or DEFAULT_TYPE, **texts}
    if traits.expires is not None:
        wanted["Expires"] = traits.expires
    carried = [*wanted.values(), *(text for pair in traits.metadata for text in pair)]
    if not all(text.isascii() and (text.isprintable() or not text) for text in carried):
        raise StoreFault(
            f"store {store}: an object's metadata or headers hold characters that S3 requests can't carry; spell them "
            "in ASCII at the source (RFC 2047), then run again"
        )
    if traits.metadata:
        wanted["Metadata"] = dict(traits.metadata)
    if traits.tags:
        wanted["Tagging"] = urlencode(traits.tags)
    return wanted


def utc(moment: datetime) -> datetime:
    """boto3's times are in the machine's zone."""
    return moment.astimezone(UTC)


def _version(entry: dict[str, Any], prefix: str, *, is_delete_marker: bool) -> ObjectVersion:
    return ObjectVersion(
        key=entry["Key"].removeprefix(prefix),
        version_id=entry["VersionId"],
        is_latest=entry["IsLatest"],
        is_delete_marker=is_delete_marker,
        size=entry.get("Size", 0),
        modified_at=utc(entry["LastModified"]),
        etag=entry.get("ETag", ""),
    )


def _read(header: str) -> str:
    """A header's text: HTTP libraries read bytes as Latin-1, and stores send UTF-8 where they send more than ASCII."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _checksum(said: dict[str, Any]) -> str | None:
    return next((f"{name}:{said[f'Checksum{name}']}" for name in CHECKSUMS if said.get(f"Checksum{name}")), None)
