"""The reference object store: a bucket in memory. Small enough to be read as the definition of the protocol.

A bucket is as durable as what it stands for: a new store over the same bucket goes on where the old one died. Each
effect passes `Faults`, which can crash in its place; `Flaws` are what a store gets wrong without telling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from domicile.errors import Locked, StoreFault, WorldChanged
from domicile.stores.memory.faults import Faults
from domicile.stores.objects import (
    BLOCK_BYTES,
    NULL_VERSION,
    Gap,
    Head,
    ObjectVersion,
    Observed,
    Removal,
    Rule,
    RuleKind,
    Traits,
    Upload,
    Versioning,
    Written,
)
from domicile.stores.objects.parts import PART_BYTES, checksum, cut, part_bytes, refuse_key, sizes, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One version as the bucket keeps it; `data` is None for a delete marker."""

    version_id: str
    modified_at: datetime
    data: bytes | None = field(repr=False)
    etag: str = field(repr=False)
    traits: Traits
    locked_until: datetime | None = None
    legal_hold: bool = False


@dataclass(slots=True, kw_only=True)
class Pending:
    """An incomplete upload: its traits, and the parts by number from 0."""

    key: str = field(repr=False)
    started_at: datetime
    traits: Traits
    parts: dict[int, bytes] = field(default_factory=dict, repr=False)


@dataclass(slots=True, kw_only=True)
class Flaws:
    """What the bucket gets wrong without telling; by default nothing."""

    flips: bool = False
    """Every read has its first bit flipped."""
    drops_metadata: bool = False
    """Metadata is taken and not kept."""
    folds_slashes: bool = False
    """`a//b` is kept as `a/b`, as some file-like stores do."""
    keeps_removed: bool = False
    """A removal is confirmed and not done."""


@dataclass(slots=True, kw_only=True)
class MemoryBucket:
    """The bucket itself; `lock` is the door of those who own it."""

    versioning: Versioning = Versioning.ON
    rules: tuple[Rule, ...] = tuple(Rule(kind=kind, observed=Observed.ABSENT) for kind in RuleKind)
    flaws: Flaws = field(default_factory=Flaws)
    held: dict[str, list[Held]] = field(default_factory=dict, repr=False)
    pending: dict[str, Pending] = field(default_factory=dict, repr=False)
    drawn: int = 0

    def draw(self) -> str:
        """A new id."""
        self.drawn += 1
        return f"{self.drawn:08}"

    def lock(self, key: str, version_id: str, *, until: datetime | None, legal_hold: bool = False) -> None:
        """Keep a version from removal."""
        self.held[key] = [
            replace(one, locked_until=until, legal_hold=legal_hold) if one.version_id == version_id else one
            for one in self.held[key]
        ]


class MemoryObjects:
    """The protocol over a bucket in memory."""

    def __init__(
        self, bucket: MemoryBucket, *, name: str, now: Callable[[], datetime], faults: Faults | None = None
    ) -> None:
        self._bucket = bucket
        self._name = name
        self._now = now
        self._faults = faults or Faults()

    @property
    def name(self) -> str:
        """The store's name."""
        return self._name

    def versioning(self) -> Versioning:
        """Whether versions are kept."""
        self._reach()
        return self._bucket.versioning

    def rules(self) -> tuple[Rule, ...]:
        """What the bucket does on its own."""
        self._reach()
        return self._bucket.rules

    def versions(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """List versions and delete markers."""
        self._reach()
        for key in sorted(self._bucket.held):
            if key.startswith(prefix):
                yield from self.history(key)

    def history(self, key: str) -> tuple[ObjectVersion, ...]:
        """The versions of one key."""
        self._reach()
        kept = self._bucket.held.get(key, [])
        return tuple(_listed(key, one, is_latest=one is kept[-1]) for one in kept)

    def uploads(self) -> Iterator[Upload]:
        """List the incomplete uploads."""
        self._reach()
        for number, upload in list(self._bucket.pending.items()):
            parts = tuple(len(upload.parts[place]) for place in sorted(upload.parts))
            yield Upload(key=upload.key, id=number, started_at=upload.started_at, parts=parts)

    def gaps(self) -> tuple[Gap, ...]:
        """There is nothing but objects."""
        self._reach()
        return ()

    def head(self, key: str, version_id: str) -> Head | None:
        """What is known of a version."""
        self._reach()
        found = self._find(key, version_id)
        if found is None or found.data is None:
            return None
        return Head(
            traits=found.traits,
            size=len(found.data),
            etag=found.etag,
            checksum=f"md5:{found.etag}",
            locked_until=found.locked_until,
            legal_hold=found.legal_hold,
        )

    def read(self, key: str, version_id: str, *, offset: int = 0) -> Iterator[bytes]:
        """Stream the content."""
        self._reach()
        found = self._find(key, version_id)
        if found is None or found.data is None:
            raise WorldChanged(f"store {self._name}: an object version is not there; plan again")
        data = found.data
        if self._bucket.flaws.flips and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        for start in range(offset, len(data), BLOCK_BYTES):
            yield data[start : start + BLOCK_BYTES]

    def put(self, key: str, blocks: Iterable[bytes], traits: Traits, *, size: int) -> Written:
        """Write a version, a large one in parts."""
        self._reach()
        refuse_key(key, store=self._name)
        part = part_bytes(size, store=self._name)
        if size <= PART_BYTES:
            return Written(version_id=self._add(key, whole(blocks, size=size), traits), bytes=size, bytes_sent=size)
        number, sent = self._resumable(key, traits), 0
        upload = self._bucket.pending[number]
        for place, data in enumerate(cut(blocks, part=part, size=size)):
            if checksum(upload.parts.get(place, b"")) != checksum(data):
                self._faults.effect(f"part {place}")
                upload.parts[place] = data
                sent += len(data)
        content = b"".join(upload.parts[place] for place in range(len(sizes(size, part))))
        version_id = self._add(key, content, upload.traits)
        del self._bucket.pending[number]  # the same effect: a crash has no place between them
        return Written(version_id=version_id, bytes=size, bytes_sent=sent)

    def put_marker(self, key: str) -> str:
        """Write a delete marker."""
        self._reach()
        if self._bucket.versioning is not Versioning.ON:
            raise StoreFault(f"store {self._name}: without versions a delete marker would remove; turn versioning on")
        return self._add(key, None, Traits())

    def remove(self, key: str, version_id: str) -> Removal:
        """Remove one version."""
        self._reach()
        found = self._find(key, version_id)
        if found is None:
            return Removal.WAS_GONE
        if found.legal_hold or (found.locked_until is not None and found.locked_until > self._now()):
            until = None if found.legal_hold else found.locked_until
            raise Locked(f"store {self._name}: an object version is locked; wait, or have it released", until=until)
        self._faults.effect("remove")
        if not self._bucket.flaws.keeps_removed:
            rest = [one for one in self._bucket.held.pop(self._kept(key)) if one is not found]
            if rest:
                self._bucket.held[self._kept(key)] = rest
        if self._find(key, version_id) is not None:
            raise StoreFault(f"store {self._name}: a removal was confirmed and the version is still there")
        return Removal.REMOVED

    def abort(self, upload: Upload) -> Removal:
        """Remove an incomplete upload."""
        self._reach()
        if upload.id not in self._bucket.pending:
            return Removal.WAS_GONE
        self._faults.effect("abort")
        del self._bucket.pending[upload.id]
        return Removal.REMOVED

    def _reach(self) -> None:
        self._faults.reach(self._name)

    def _find(self, key: str, version_id: str) -> Held | None:
        return next((one for one in self._bucket.held.get(self._kept(key), ()) if one.version_id == version_id), None)

    def _kept(self, key: str) -> str:
        return key.replace("//", "/") if self._bucket.flaws.folds_slashes else key

    def _resumable(self, key: str, traits: Traits) -> str:
        """An upload of this key that was begun, the one with the most parts, or a new one."""
        begun = [number for number, upload in self._bucket.pending.items() if upload.key == key]
        if begun:
            return max(begun, key=lambda number: len(self._bucket.pending[number].parts))
        self._faults.effect("begin")
        number = self._bucket.draw()
        self._bucket.pending[number] = Pending(key=key, started_at=self._now(), traits=traits)
        return number

    def _add(self, key: str, data: bytes | None, traits: Traits) -> str:
        bucket = self._bucket
        self._faults.effect("put" if data is not None else "marker")
        if bucket.flaws.drops_metadata:
            traits = replace(traits, metadata=())
        version_id = bucket.draw() if bucket.versioning is Versioning.ON else NULL_VERSION
        others = [one for one in bucket.held.get(self._kept(key), ()) if one.version_id != version_id]
        bucket.held[self._kept(key)] = [*others, _held(version_id, self._now(), data, traits)]
        return version_id


def _listed(key: str, one: Held, *, is_latest: bool) -> ObjectVersion:
    return ObjectVersion(
        key=key,
        version_id=one.version_id,
        is_latest=is_latest,
        is_delete_marker=one.data is None,
        size=len(one.data or b""),
        modified_at=one.modified_at,
        etag=one.etag,
    )


def _held(version_id: str, modified_at: datetime, data: bytes | None, traits: Traits) -> Held:
    etag = checksum(data or b"").hex()
    return Held(version_id=version_id, modified_at=modified_at, data=data, etag=etag, traits=traits)
