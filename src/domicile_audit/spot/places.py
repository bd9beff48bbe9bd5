"""Buckets and folders of objects, read: their listings, and single versions hashed. Nothing is written.

A place is told as a URL, `https://KEY:SECRET@HOST/BUCKET/PREFIX?region=REGION`, or as a folder's path. A key id and a
secret that stand there are percent-encoded; without them those of the environment are taken, as boto3 finds them.

Keys are personal data: no message holds one, and none is asked for outside. A whole store is listed, and looked through
here (docs/evidence.md, "Spot check").
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from domicile_audit.spot.rows import Trouble

BLOCK_BYTES: Final = 1024 * 1024
VERSIONS_OF_KEY_MAX: Final = 100_000
WAIT_S_MAX: Final = 60
PARTS_FOLDER: Final = ".domicile-parts"  # the engine writes files in folders of this name, and then puts them in place
NO_TYPE: Final = "binary/octet-stream"  # S3's word for none
LISTING: Final = b"<ListVersionsResult"
ENTRY: Final = re.compile(rb"<(Version|DeleteMarker)[ >]")
NOTHING_SAID: Final = {"NotImplemented", "MethodNotAllowed"}
HEADERS: Final = (
    "ContentEncoding", "ContentLanguage", "ContentDisposition", "CacheControl", "ExpiresString",
    "WebsiteRedirectLocation",
)  # fmt: skip
Traits = tuple[tuple[str | None, ...], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
PLAIN: Final[Traits] = ((None,) * (len(HEADERS) + 1), (), ())


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key as a listing tells it, or a delete marker."""

    key: str = field(repr=False)
    id: str
    is_marker: bool


class Place(Protocol):
    """A bucket or a folder."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def histories(self) -> Iterator[tuple[Version, ...]]:
        """All that is there: the versions of one key at a time, oldest first."""
        ...

    @contextmanager
    def opened(self, version: Version) -> Iterator[tuple[Traits, Iterator[bytes]]]:
        """What goes along with a version, and its content in blocks; Gone where it is not there."""
        ...


class Gone(Exception):
    """What was listed is not there any more."""


def open_place(name: str, text: str) -> Place:
    """The place of that URL or path; Trouble where it is none."""
    if not text.startswith(("http://", "https://")):
        folder = Path(text.removeprefix("file://"))
        if not folder.is_dir():
            raise Trouble(f"{name}: no folder, and no URL of a bucket (https://KEY:SECRET@HOST/BUCKET/PREFIX)")
        return Folder(name, folder)
    return Bucket(name, text)


class Folder:
    """A folder; a file's path in it is its key. Links are not followed."""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self._root = root

    def histories(self) -> Iterator[tuple[Version, ...]]:
        """Each plain file."""
        with self._trouble():
            for folder, folders, files in os.walk(self._root, onerror=_raised):
                folders[:] = [name for name in folders if name != PARTS_FOLDER]
                for path in (Path(folder, name) for name in files):
                    with suppress(FileNotFoundError):
                        if stat.S_ISREG(path.lstat().st_mode):
                            yield (Version(str(path.relative_to(self._root)), "null", is_marker=False),)

    @contextmanager
    def opened(self, version: Version) -> Iterator[tuple[Traits, Iterator[bytes]]]:
        """The file's bytes; nothing goes along with them."""
        with self._trouble():
            try:
                handle = os.open(self._root / version.key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError:
                raise Gone from None
            with os.fdopen(handle, "rb") as file:
                yield PLAIN, iter(lambda: file.read(BLOCK_BYTES), b"")

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Trouble(
                f"{self.name}: can't be read ({error.strerror}); give the right to read all below it"
            ) from None


class Bucket:
    """A bucket of an S3-compatible store, or what lies under a prefix in it; needs boto3."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        try:
            endpoint, self._bucket, self._prefix, options = _parts(url)
        except ValueError:
            raise Trouble(f"{name}: that is no https://KEY:SECRET@HOST/BUCKET/PREFIX?region=REGION") from None
        self._client = self._opened(endpoint, options)

    def _opened(self, endpoint: str, options: Mapping[str, str]) -> Any:  # noqa: ANN401  (a class made as it runs)
        try:
            boto3, config = import_module("boto3"), import_module("botocore.config").Config
        except ImportError:
            raise Trouble(f"{self.name}: a bucket is read with boto3, which is not here (pip install boto3)") from None
        asked = config(
            s3={"addressing_style": "path"}, signature_version="s3v4", connect_timeout=WAIT_S_MAX,
            read_timeout=WAIT_S_MAX, retries={"mode": "standard", "total_max_attempts": 4},
            response_checksum_validation="when_required", request_checksum_calculation="when_required",
        )  # fmt: skip
        with self._trouble():
            client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=asked, **options)
        client.meta.events.register("before-parse.s3.ListObjectVersions", self._keep_order)
        return client

    def _keep_order(self, response_dict: Any, customized_response_dict: Any, **_: object) -> None:  # noqa: ANN401
        """Versions and markers come as two lists; which came first only the answer's own text tells."""
        body = response_dict["body"]
        if response_dict["status_code"] < 300 and LISTING not in body:
            raise Trouble(f"{self.name}: it does not tell of versions, so nothing can be said of it; is it S3?")
        customized_response_dict["Order"] = ENTRY.findall(body)

    def histories(self) -> Iterator[tuple[Version, ...]]:
        """Versions and delete markers; a store lists keys in order, and the newest version first."""
        for _, newest_first in groupby(self._listing(), key=lambda found: found[0].key):
            held = []
            for version, is_latest in newest_first:
                held.append((is_latest, version))
                if len(held) > VERSIONS_OF_KEY_MAX:
                    raise Trouble(f"{self.name}: a key has more than {VERSIONS_OF_KEY_MAX} versions")
            held.reverse()
            yield tuple(
                version for _, version in sorted(held, key=lambda found: found[0])
            )  # as the engine: latest last

    def _listing(self) -> Iterator[tuple[Version, bool]]:
        with self._trouble():
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                lists = {b"Version": page.get("Versions", []), b"DeleteMarker": page.get("DeleteMarkers", [])}
                if any(page["Order"].count(kind) != len(some) for kind, some in lists.items()):
                    raise Trouble(f"{self.name}: a listing can't be read; is it S3?")
                rest = {kind: iter(some) for kind, some in lists.items()}
                for kind, one in ((kind, next(rest[kind])) for kind in page["Order"]):
                    if one["Key"].startswith(self._prefix):
                        key = one["Key"].removeprefix(self._prefix)
                        yield Version(key, one["VersionId"], is_marker=kind == b"DeleteMarker"), one["IsLatest"]

    @contextmanager
    def opened(self, version: Version) -> Iterator[tuple[Traits, Iterator[bytes]]]:
        """One request for content and headers, one for tags."""
        which = {"Bucket": self._bucket, "Key": self._prefix + version.key, "VersionId": version.id}
        with self._trouble():
            said = self._client.get_object(**which)
            tags = self._tags(which)
            yield _traits(said, tags), iter(lambda: said["Body"].read(BLOCK_BYTES), b"")

    def _tags(self, which: Mapping[str, str]) -> list[tuple[str, str]]:
        try:
            return [(tag["Key"], tag["Value"]) for tag in self._client.get_object_tagging(**which)["TagSet"]]
        except self._client.exceptions.ClientError as error:
            if _code(error) not in NOTHING_SAID:
                raise
            return []

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        """Turn what boto3 says into Trouble: its messages hold keys and addresses, so only codes are passed on."""
        faults, unread = import_module("botocore.exceptions"), import_module("botocore.parsers").ResponseParserError
        try:
            yield
        except faults.ClientError as error:
            code = _code(error)
            if code in {"NoSuchKey", "NoSuchVersion"}:
                raise Gone from None
            raise Trouble(
                f"{self.name}: it refuses ({code}); check bucket, key id, and that it may list and read"
            ) from None
        except (faults.BotoCoreError, unread, ValueError, LookupError) as error:
            if isinstance(error, Trouble):
                raise
            raise Trouble(f"{self.name}: no answer ({type(error).__name__}); check its address, look again") from None


def _parts(url: str) -> tuple[str, str, str, dict[str, str]]:
    """Endpoint, bucket, prefix, and who asks where; ValueError where it is no such URL."""
    parts = urlsplit(url)
    bucket, _, prefix = unquote(parts.path).removeprefix("/").partition("/")
    asked = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    if not parts.hostname or not bucket or parts.port == 0 or parts.fragment or asked.keys() - {"region"}:
        raise ValueError("no bucket")
    options = {"region_name": asked.get("region", ["us-east-1"])[0]}
    if parts.username is not None:
        options["aws_access_key_id"] = unquote(parts.username)
        options["aws_secret_access_key"] = unquote(parts.password or "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", bucket, prefix, options


def _code(error: Any) -> str:  # noqa: ANN401  (a class made as it runs)
    return re.sub(r"\W", "", str(error.response.get("Error", {}).get("Code", "")))[:60]


def _traits(said: Mapping[str, Any], tags: list[tuple[str, str]]) -> Traits:
    kind = said.get("ContentType")
    headers = (None if kind in {None, "", NO_TYPE} else kind, *(_text(said.get(name) or None) for name in HEADERS))
    metadata = sorted((name.lower(), _text(value) or "") for name, value in said.get("Metadata", {}).items())
    return headers, tuple(metadata), tuple(sorted(tags))


def _text(header: str | None) -> str | None:
    """A header: HTTP's Latin-1, in which stores send UTF-8."""
    try:
        return None if header is None else header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _raised(error: OSError) -> None:
    raise error
