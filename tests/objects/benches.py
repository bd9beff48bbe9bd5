"""Two buckets in memory with a programme's book between them: the steps of a move of objects, without databases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from domicile.config.belongings import ObjectRule
from domicile.events import silent
from domicile.model import Home
from domicile.objects import surveying
from domicile.objects.book import Book
from domicile.objects.claims import Claims
from domicile.objects.erasing import erase_objects, erase_uploads
from domicile.objects.listing import Sorting
from domicile.objects.moving import Ends, compare_ends, copy_home, pairs_of, refuse_same
from domicile.proof import Pair
from domicile.stores.memory import Faults
from domicile.stores.objects import Traits, Versioning
from domicile.stores.objects.memory import MemoryBucket, MemoryObjects
from domicile.stores.postgres.naming import Named

NOON: Final = datetime(2026, 11, 29, 12, tzinfo=UTC)
DIGEST_KEY: Final = bytes(range(32))
CA: Final = Home("ca")
RULES: Final = (
    ObjectRule(pattern="u/{subject}/*", disposition="move"),
    ObjectRule(of="app.public.video", column="key", disposition="move"),
    ObjectRule(disposition="none", reason="the rest"),
)
PEOPLE: Final = (("2", CA), ("4", CA), ("1", None))
"""Who moves and who stays."""


@dataclass(slots=True, kw_only=True)
class Move:
    """A move of the objects of one bucket to one home."""

    folder: Path
    at_source: MemoryBucket = field(default_factory=MemoryBucket)
    at_home: MemoryBucket = field(default_factory=MemoryBucket)
    faults: Faults = field(default_factory=Faults)
    rules: Sequence[ObjectRule] = RULES
    named: Sequence[Named] = ()
    removed_uploads: list[tuple[int, bool]] = field(default_factory=list)
    clock: datetime = NOON

    @property
    def source(self) -> MemoryObjects:
        return MemoryObjects(self.at_source, name="media", now=lambda: self.clock, faults=self.faults)

    @property
    def home(self) -> MemoryObjects:
        return MemoryObjects(self.at_home, name="media-ca", now=lambda: self.clock, faults=self.faults)

    def ends(self) -> Ends:
        """New ones over the same places, as after a crash."""
        return Ends(
            source=self.source, homes={CA: self.home}, prefixes={"media": "", "media-ca": ""}, is_bucket=True,
            may_lock=True, book=Book(self.folder / "objects.db"), digest_key=DIGEST_KEY,
        )  # fmt: skip

    def freeze(self, ends: Ends) -> None:
        with Claims(digest_key=DIGEST_KEY) as claims:
            claims.add_people(PEOPLE)
            for number, rule in enumerate(self.rules):
                if rule.of is not None:
                    claims.add(number, rule, self.named)
            sorting = Sorting(rules=self.rules, claims=claims, homes=(CA,), digest_key=DIGEST_KEY)
            refuse_same(ends, "0" * 8)
            surveying.freeze(ends, sorting)

    def bring(self, ends: Ends) -> tuple[Pair, ...]:
        """Everything up to the comparison."""
        if not ends.book.is_frozen("media"):
            self.freeze(ends)
        copy_home(ends, listener=silent)
        compare_ends(ends, listener=silent)
        return pairs_of(ends)

    def erase(self, ends: Ends) -> None:
        erase_objects(ends, listener=silent)
        erase_uploads(ends, self._removing, listener=silent)

    def _removing(self, count: int, *, done: bool) -> None:
        self.removed_uploads.append((count, done))

    def put(self, key: str, data: bytes, traits: Traits | None = None, *, bucket: MemoryBucket | None = None) -> str:
        store = MemoryObjects(bucket or self.at_source, name="door", now=lambda: NOON)
        return store.put(key, [data], traits or Traits(), size=len(data)).version_id

    def mark(self, key: str) -> str:
        return MemoryObjects(self.at_source, name="door", now=lambda: NOON).put_marker(key)


def filled(folder: Path, *, versioning: Versioning = Versioning.ON, rules: Sequence[ObjectRule] = RULES) -> Move:
    """People's objects with versions, a delete marker, traits; one that a row names; and those of others."""
    bucket = MemoryBucket(versioning=versioning)
    named = (Named(value="videos/of-4", home=CA, stays=False),)
    move = Move(folder=folder, at_source=bucket, named=named, rules=rules)
    move.put("u/2/letter", b"first")
    move.put("u/2/letter", b"second", Traits(content_type="text/plain", metadata=(("owner", "two"),)))
    move.put("u/2/gone", b"hidden")
    if move.at_source.versioning is Versioning.ON:
        move.mark("u/2/gone")
    move.put("videos/of-4", b"film")
    move.put("u/1/letter", b"of one who stays")
    move.put("logo", b"nobody's")
    return move


def contents(bucket: MemoryBucket) -> dict[str, list[bytes | None]]:
    """What a bucket holds, version by version; None is a delete marker."""
    return {key: [one.data for one in held] for key, held in sorted(bucket.held.items())}
