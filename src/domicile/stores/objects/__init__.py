"""The protocol of an object store: keys, their versions, and what must not be forgotten beside them.

One conformance suite (`tests/stores/objects/`) runs over every implementation. What a caller *must* keep:

1. A version is named by key *and* version id, always. There is no removal of "the key": with versioning on that would
   hide the bytes behind a delete marker and remove nothing. Where a store keeps one version only, its id is
   `NULL_VERSION`.
2. While `put` works on a key, nobody else writes that key: what an interrupted `put` left there is taken up again.
3. Absence is looked for: `remove` looks after it removed, and a sweep lists `versions`, `uploads` and `gaps` again.
4. Gone for the protocol is not erased in the store's own files. No object protocol can say that or see to it
   (`docs/stores.md`, "Removed is not erased").

Errors: every method raises only `DomicileError`s. `Unreachable` (no connection, or the store is busy) may be retried,
all others may not. `NotPermitted`: the credentials don't suffice. `StoreFault`: everything else, a bucket or folder
that is not there included. Keys, tags and metadata can be personal data: no error holds one, no `repr` shows one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

NULL_VERSION: Final = "null"
"""The version id where there is only one version, as S3 calls it."""
KEY_BYTES_MAX: Final = 1_024
"""The longest key, in UTF-8, as S3 has it."""
BLOCK_BYTES: Final = 1024 * 1024
"""What `read` gives at once, at most."""
VERSIONS_OF_KEY_MAX: Final = 100_000
"""Versions of one key, which are held in memory to be turned round; more are refused."""

Pairs = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""


class Versioning(StrEnum):
    """Whether the store keeps what is overwritten or deleted."""

    NONE = "none"  # this kind of store has no versions
    OFF = "off"
    ON = "on"
    SUSPENDED = "suspended"  # older versions are there, new writes replace the one named `NULL_VERSION`


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectVersion:
    """One version of a key, or one delete marker (size 0), as a listing tells it.

    `etag` is the store's word for this content, to be compared with that of another listing only: some stores tell
    another one in `head`. It is no digest to rely on.
    """

    key: str = field(repr=False)
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size: int
    modified_at: datetime
    etag: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An upload that was begun and neither completed nor aborted: bytes that no key shows. `parts` are sizes."""

    key: str = field(repr=False)
    id: str
    started_at: datetime
    parts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What goes along with the bytes and a reader of the platform sees.

    Names of metadata are lower case. A `content_type` of None is the store's default, `binary/octet-stream` for S3.
    """

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    content_disposition: str | None = field(default=None, repr=False)
    cache_control: str | None = None
    expires: str | None = None
    redirect: str | None = field(default=None, repr=False)
    metadata: Pairs = field(default=(), repr=False)
    tags: Pairs = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the store says of one version. `checksum` is `ALGORITHM:VALUE` as the store spells it, None without one.

    A version with `locked_until` in the future, or with `legal_hold`, can't be removed.
    """

    traits: Traits
    size: int
    etag: str = field(repr=False)
    checksum: str | None = field(repr=False)
    locked_until: datetime | None
    legal_hold: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What `put` made; `bytes_sent` is less than `bytes` where it went on from parts that were there."""

    version_id: str
    bytes: int
    bytes_sent: int


class Removal(StrEnum):
    """What a removal did. In both cases it was looked: it is not there now."""

    REMOVED = "removed"
    WAS_GONE = "was gone"


class RuleKind(StrEnum):
    """Rules by which a store keeps, copies, removes or tells of objects on its own."""

    LOCK = "lock"
    LIFECYCLE = "lifecycle"
    REPLICATION = "replication"
    LOGGING = "logging"
    INVENTORY = "inventory"


class Observed(StrEnum):
    """What is known of a rule."""

    ABSENT = "absent"
    PRESENT = "present"
    UNSEEN = "unseen"  # the store doesn't say, or not to these credentials; `why`


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of rule; `targets` names the stores that get copies, logs or lists, `why` says what there is to say."""

    kind: RuleKind
    observed: Observed
    targets: tuple[str, ...] = ()
    why: str = ""


class GapKind(StrEnum):
    """What lies in a store and is no object of the protocol, or not only that."""

    SYMLINK = "symlink"
    SPECIAL_FILE = "special file"
    HARD_LINK = "hard link"  # an object; its bytes have another name, too, and stay when this one goes
    NAME = "name"  # a name that can't be spelt as a key, or is not told as it is
    DEPTH = "depth"  # folders deeper than the limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How many of a kind, and what to do; never which, because names can be personal data."""

    kind: GapKind
    count: int
    remedy: str


class ObjectStore(Protocol):
    """One bucket, or the part of it under a prefix; or one folder."""

    @property
    def name(self) -> str:
        """The store's name in `domicile.yaml`, for messages."""
        ...

    def versioning(self) -> Versioning:
        """Say whether versions are kept, as the store tells it now."""
        ...

    def rules(self) -> tuple[Rule, ...]:
        """Say of each `RuleKind` whether there is such a rule; what can't be seen is `UNSEEN` and no error."""
        ...

    def versions(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """List every version and delete marker of every key that begins with `prefix`.

        The versions of a key come together, oldest first, `is_latest` last. Keys come in no promised order. Nothing
        is held but one page and one key's versions. An iterator that ends has listed all; it raises rather than end
        early.
        """
        ...

    def history(self, key: str) -> tuple[ObjectVersion, ...]:
        """The versions and delete markers of exactly this key, oldest first; none where there is no such key."""
        ...

    def uploads(self) -> Iterator[Upload]:
        """List the incomplete uploads."""
        ...

    def gaps(self) -> tuple[Gap, ...]:
        """Count what `versions` can't list or what its removal would not remove. Reads the whole listing."""
        ...

    def head(self, key: str, version_id: str) -> Head | None:
        """Say what the store knows of a version; None where it is not there or is a delete marker."""
        ...

    def read(self, key: str, version_id: str, *, offset: int = 0) -> Iterator[bytes]:
        """Stream the content from `offset` on, in blocks of `BLOCK_BYTES` at most.

        A broken connection is taken up where it broke, a few times. Raises WorldChanged where the version is not
        there, is a delete marker, or becomes another one while it is read.
        """
        ...

    def put(self, key: str, blocks: Iterable[bytes], traits: Traits, *, size: int) -> Written:
        """Write a new version of `size` bytes and all its traits, as a whole or not at all.

        Large ones go in parts, which are left where they are when `put` breaks off, for whatever reason: the next
        `put` of the same key and content reads all blocks, and sends only the parts that are not there with the same
        size and checksum. Where the store keeps no versions, the old content is replaced.

        Raises NotEqual when other than `size` bytes come, and StoreFault when the store can't hold the key, the size
        or the traits; no version is written then. It is for the caller to read back.
        """
        ...

    def put_marker(self, key: str) -> str:
        """Write a delete marker as the newest version; return its id. StoreFault unless versioning is on."""
        ...

    def remove(self, key: str, version_id: str) -> Removal:
        """Remove this version or delete marker for good, and look that it is gone. No lock is bypassed.

        Safe to repeat. Raises Locked where the store keeps the version by a lock or a hold, StoreFault where it says
        that it removed and the version is still there.
        """
        ...

    def abort(self, upload: Upload) -> Removal:
        """Remove an incomplete upload and its parts, and look that it is gone. Safe to repeat."""
        ...
