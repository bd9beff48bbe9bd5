"""A bench for each kind of object store: makes empty stores, and has doors of its own beside the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import httpx

from domicile.stores.memory import Faults
from domicile.stores.objects import ObjectStore, Traits, Versioning
from domicile.stores.objects.files import FileObjects
from domicile.stores.objects.memory import MemoryBucket, MemoryObjects
from domicile.stores.objects.s3 import S3Objects, S3Place
from tests.stores.objects.weed import OWNER, Weed

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
DIGEST_KEY = bytes(range(32))
SECRET_KEY = "anna@example.org/naked truth 😀.mp4"
"""A key that no error and no `repr` may show."""
TRAITS = Traits(
    content_type="video/mp4",
    content_encoding="gzip",
    content_language="de, en",
    content_disposition='attachment; filename="a b.mp4"',
    cache_control="private, max-age=60",
    expires="Tue, 01 Jan 2030 00:00:00 GMT",
    metadata=(("a_b.c", "x=1; y, z"), ("caption", "=?UTF-8?Q?gr=C3=BC=C3=9Fe?="), ("owner", "anna  two spaces")),
    tags=(("a b+c", "1%"), ("größe", "é/ß=+ "), ("plain", "")),
)
_NUMBERS = count(1)


class Broken(Exception):
    """The source breaks off."""


class Bench(Protocol):
    """What the suite asks of a kind of store beside the protocol."""

    keeps_traits: bool

    def store(self, *, versioned: bool = True) -> ObjectStore:
        """An empty store, with versions where it can have them."""
        ...

    def again(self, store: ObjectStore) -> ObjectStore:
        """Another store object over the same place, as after a crash."""
        ...

    def missing(self) -> ObjectStore:
        """A store whose bucket or folder isn't there."""
        ...

    def lockable(self) -> tuple[ObjectStore, Callable[..., None]] | None:
        """An empty store and the owner's door to lock a version; None where there are no locks."""
        ...

    def raw(self, store: ObjectStore, key: str, version_id: str) -> bytes:
        """The content by another way than the protocol's."""
        ...


class MemoryBench:
    keeps_traits = True

    def __init__(self) -> None:
        self._buckets: dict[str, MemoryBucket] = {}
        self._clock = count()

    def store(self, *, versioned: bool = True) -> ObjectStore:
        name = f"memory{next(_NUMBERS)}"
        self._buckets[name] = MemoryBucket(versioning=Versioning.ON if versioned else Versioning.OFF)
        return self._over(name)

    def again(self, store: ObjectStore) -> ObjectStore:
        return self._over(store.name)

    def missing(self) -> ObjectStore:
        return MemoryObjects(MemoryBucket(), name="away", now=lambda: NOON, faults=Faults(unreachable=10))

    def lockable(self) -> tuple[ObjectStore, Callable[..., None]] | None:
        store = self.store()
        return store, self._buckets[store.name].lock

    def raw(self, store: ObjectStore, key: str, version_id: str) -> bytes:
        (found,) = [one for one in self._buckets[store.name].held[key] if one.version_id == version_id]
        assert found.data is not None
        return found.data

    def _over(self, name: str) -> MemoryObjects:
        return MemoryObjects(self._buckets[name], name=name, now=lambda: NOON + timedelta(seconds=next(self._clock)))


class FileBench:
    keeps_traits = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def store(self, *, versioned: bool = True) -> ObjectStore:
        del versioned  # there are none
        name = f"files{next(_NUMBERS)}"
        (self._folder / name).mkdir()
        return FileObjects(self._folder / name, name=name)

    def again(self, store: ObjectStore) -> ObjectStore:
        return FileObjects(self._folder / store.name, name=store.name)

    def missing(self) -> ObjectStore:
        return FileObjects(self._folder / "nowhere", name="nowhere")

    def lockable(self) -> None:
        return None

    def raw(self, store: ObjectStore, key: str, version_id: str) -> bytes:
        del version_id
        return (self._folder / store.name / key).read_bytes()


class S3Bench:
    """Each store is a prefix in a bucket of its kind: a bucket costs SeaweedFS several volume files."""

    keeps_traits = True

    def __init__(self, weed: Weed) -> None:
        self.weed = weed
        self._places: dict[str, S3Place] = {}

    def store(self, *, versioned: bool = True) -> ObjectStore:
        return self._in("versioned" if versioned else "plain")

    def again(self, store: ObjectStore) -> ObjectStore:
        return S3Objects(self._places[store.name], name=store.name)

    def missing(self) -> ObjectStore:
        return S3Objects(self.place("nowhere"), name="nowhere")

    def lockable(self) -> tuple[ObjectStore, Callable[..., None]] | None:
        store = self._in("locked")
        place = self._places[store.name]

        def lock(
            key: str, version_id: str, *, until: datetime | None, legal_hold: bool = False, mode: str = "GOVERNANCE"
        ) -> None:
            what = {"Bucket": place.bucket, "Key": place.prefix + key, "VersionId": version_id}
            client = self.weed.client()
            if until is not None:
                client.put_object_retention(**what, Retention={"Mode": mode, "RetainUntilDate": until})
            if legal_hold:
                client.put_object_legal_hold(**what, LegalHold={"Status": "ON"})

        return store, lock

    def raw(self, store: ObjectStore, key: str, version_id: str) -> bytes:
        """Read through the filer's own HTTP, which knows nothing of S3."""
        with httpx.stream("GET", self.address(store, key, version_id)) as answer:
            return b"".join(answer.raise_for_status().iter_raw())

    def address(self, store: ObjectStore, key: str, version_id: str) -> str:
        place = self._places[store.name]
        name = place.prefix + key + ("" if version_id == "null" else f".versions/v_{version_id}")
        return f"{self.weed.filer}/buckets/{place.bucket}/{quote(name)}"

    def place(self, bucket: str, **changes: str) -> S3Place:
        given = {"endpoint": self.weed.endpoint, "key_id": OWNER.key_id, "secret": OWNER.secret, **changes}
        return S3Place(bucket=bucket, **given)

    def _in(self, bucket: str) -> ObjectStore:
        self.weed.bucket(bucket)
        name = f"s3-{next(_NUMBERS)}"
        self._places[name] = self.place(bucket, prefix=f"{name}/")
        return S3Objects(self._places[name], name=name)


def blocks_of(data: bytes, *, break_at: int | None = None, block: int = 1 << 20) -> Iterator[bytes]:
    """The data in blocks; with `break_at` the stream breaks there."""
    end = len(data) if break_at is None else break_at
    for start in range(0, end, block):
        yield data[start : min(start + block, end)]
    if break_at is not None:
        raise Broken


def put(store: ObjectStore, key: str, data: bytes, traits: Traits | None = None) -> str:
    """Write an object; its version id."""
    return store.put(key, blocks_of(data), traits or Traits(), size=len(data)).version_id


def read(store: ObjectStore, key: str, version_id: str, *, offset: int = 0) -> bytes:
    """The whole content."""
    return b"".join(store.read(key, version_id, offset=offset))
