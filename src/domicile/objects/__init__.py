"""Objects: joins the object stores of the file with the stages, so that what is in them goes the way of the rows.

| step     | what happens to the objects of a market                                                              |
|----------|------------------------------------------------------------------------------------------------------|
| plan     | counted by home; what has no rule is refused; copies, locks and what lies elsewhere are told          |
| freeze   | listed in a private book, by keyed digests of their keys; from then on these and no others            |
| transfer | all versions copied to each home, in order, read back                                                |
| verify   | both ends read; slices of the same equality as the rows', so that the same approvals are asked for     |
| erase    | after the rows: each compared again, then removed version by version                                  |
| sweep    | listed and searched again, one verdict a copy; then the book is gone                                  |

While people write, `underway` takes the place of transfer and verify, and freezes as the move is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import psycopg

from domicile import sweep
from domicile.config import Config
from domicile.config.belongings import FolderRule, ObjectRule
from domicile.errors import NoClearance, Refused, StoreFault, Waiting
from domicile.events import Listener
from domicile.host import Host
from domicile.model import DatasetId, Digest, Finding, Form, Home, Manifest, Scope, Slice, SliceId
from domicile.objects import horizon, moving, surveying
from domicile.objects.book import Book, Standing
from domicile.objects.carried import Carried
from domicile.objects.claims import Claims, sqlite_faults
from domicile.objects.erasing import erase_objects, erase_uploads, free_objects
from domicile.objects.listing import Sorting, labelled_by, named_by
from domicile.objects.moving import Ends
from domicile.objects.naming import dataset_naming, tells_people
from domicile.objects.opening import open_store, prefix_of
from domicile.objects.owned import Owned
from domicile.objects.surveying import Surveyed
from domicile.objects.telling import tell_keys
from domicile.objects.underway import UnderWay
from domicile.plan.document import Beside
from domicile.proof import Clearance, Copy, Equality, Erased, Measure, Pair
from domicile.record.workspace import Workspace
from domicile.stores.objects import ObjectStore, ObjectVersion, Observed, RuleKind, Versioning
from domicile.stores.objects.copying import histories
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.names import STAGING
from domicile.stores.postgres.naming import people, people_at, rows_naming
from domicile.stores.postgres.persons import people_naming
from domicile.stores.postgres.session import faults
from domicile.stores.postgres.source import PostgresSource
from domicile.sweep.seen import Seen, named

KEPT = (Versioning.ON, Versioning.SUSPENDED)
Listed: TypeAlias = tuple[bytes, bool, tuple[str, ...]]
"""An object of a slice: its key's digest, whether it leaves the source with this slice, its versions' digests."""


class Objects:
    """The object stores of one programme; nothing is opened before it is asked for."""

    def __init__(  # noqa: PLR0913 - the file, the databases that say whose what is, and the run's own things
        self,
        config: Config,
        source: PostgresSource,
        homes: Mapping[Home, PostgresHome],
        *,
        key: bytes,
        host: Host,
        workspace: Workspace,
    ) -> None:
        self._config = config
        self._source = source
        self._homes = homes
        self._key = key
        self._host = host
        self._base = workspace.base
        self._folder = workspace.folder
        self._book = Book(workspace.objects)
        self._carried = Carried(workspace.objects_under_way)
        self._sortings: dict[str, tuple[Sorting, int]] = {}
        self._surveyed: dict[str, Surveyed] = {}

    def __bool__(self) -> bool:
        return bool(self._config.object_stores)

    def close(self) -> None:
        """Give the files back."""
        for name in tuple(self._sortings):
            self._drop(name)
        self._book.close()
        self._carried.close()

    def forget(self) -> None:
        """Remove the book, and what is known of a move under way: the run is over, or given up."""
        self._book.forget()
        self.forget_under_way()

    def forget_under_way(self) -> None:
        """Remove what is known of a move under way: it came to its end."""
        self._carried.forget()

    def reopen(self) -> None:
        """Take the freeze back: nothing is erased, and homes live on."""
        self._book.forget()

    def under_way(self, listener: Listener) -> UnderWay:
        """The same stores for a move while people write."""
        return UnderWay(
            ends=lambda: self.ends, rules=lambda name: self._config.object_stores[name].objects, source=self._source,
            homes=dict(self._homes), carried=self._carried, folder=self._folder, host=self._host, listener=listener,
            key=self._key,
        )  # fmt: skip

    @cached_property
    def ends(self) -> tuple[Ends, ...]:
        """The stores that data leaves, opened, each with those of its homes."""
        return tuple(self._opened(name) for name in self._config.object_stores)

    def _opened(self, name: str) -> Ends:
        rules = self._config.buckets_and_folders
        homes = {Home(location): store for location, store in self._config.object_homes(name).items()}
        _refuse_nested(self._config, name, tuple(homes.values()))
        opened = {store: self._open(store) for store in (name, *homes.values())}
        rule = self._config.object_stores[name]
        may_lock = any(
            one.kind is RuleKind.LOCK and one.observed is not Observed.ABSENT for one in opened[name].rules()
        )
        return Ends(
            source=opened[name],
            homes={home: opened[store] for home, store in homes.items()},
            prefixes={store: prefix_of(rules[store]) for store in opened},
            book=self._book,
            is_bucket=rule.kind == "s3",
            may_lock=may_lock,
            digest_key=self._key,
        )

    def _open(self, name: str) -> ObjectStore:
        return open_store(name, self._config.buckets_and_folders[name], host=self._host, base=self._base)

    # -- plan --------------------------------------------------------------------------------------------------------

    def survey(self, scope: Scope) -> Callable[[psycopg.Connection[Any], str], None]:
        """What reads whose the objects are while the survey's closure stands in a schema; `count` lists them then."""

        def look(connection: psycopg.Connection[Any], schema: str) -> None:
            for ends in self.ends:
                refuse_unfit(ends)
                self._drop(ends.name)
                self._sortings[ends.name] = self._sorting(ends, scope, connection, schema)

        return look

    def count(self) -> None:
        """Count what each store lists; no transaction of the source is open meanwhile."""
        for ends in self.ends:
            sorting, elsewhere = self._sortings[ends.name]
            with sqlite_faults():
                found = surveying.survey(ends.source, sorting, may_lock=ends.may_lock)
            found.elsewhere = elsewhere
            self._surveyed[ends.name] = found
            self._drop(ends.name)

    def _drop(self, name: str) -> None:
        sorting, _ = self._sortings.pop(name, (None, 0))
        if sorting is not None:
            sorting.claims.close()

    def _sorting(
        self, ends: Ends, scope: Scope, connection: psycopg.Connection[Any], schema: str
    ) -> tuple[Sorting, int]:
        """What it takes to say whose the objects are, and how many values of rows name nothing in the store."""
        rules = self._config.object_stores[ends.name].objects
        claims, elsewhere = Claims(digest_key=self._key), 0
        try:
            with faults(self._source.name, "read which rows name objects"), sqlite_faults():
                for number, rule in enumerate(rules):
                    if rule.of is not None and rule.column is not None:
                        dataset = dataset_naming(scope, rule, where=f"stores.{ends.name}.objects.{number}")
                        rows = rows_naming(connection, dataset, rule.column, schema)
                        elsewhere += claims.add(number, rule, rows)
                if tells_people(rules):
                    claims.add_people(people(connection, scope, schema))
        except BaseException:
            claims.close()
            raise
        homes = tuple(home for home in scope.homes if home in ends.homes)
        return Sorting(rules=rules, claims=claims, homes=homes, digest_key=self._key), elsewhere

    def refuse_undecided(self) -> None:
        """Raise Unclassed while the survey met objects without a rule."""
        for found in self._surveyed.values():
            surveying.refuse_undecided(found, self._folder / f"unruled-{found.store}.txt")

    def planned(self) -> Beside:
        """What the survey counted, and how many bytes have to pass."""
        surveyed = self._surveyed.values()
        return Beside(
            findings=tuple(finding for found in surveyed for finding in surveying.findings(found)),
            bytes=sum(share.bytes for found in surveyed for share in found.shares(len(self._homes))),
        )

    def outside(self) -> Iterator[Finding]:
        """What stays unproven, and what is blocked."""
        for ends in self.ends:
            found = self._surveyed.get(ends.name) or Surveyed(store=ends.name)
            yield from surveying.outside(ends.source, found)

    def inventory(self) -> Iterator[Copy]:
        """List the copies as the plan names them."""
        for ends in self.ends:
            location = self._config.stores[ends.name].location
            for copy in horizon.copies_of(ends.source, bucket=ends.is_bucket):
                yield Copy(
                    id=f"{ends.name}/{copy.id}", store=ends.name, location=location, kind=copy.kind.value,
                    dataset=ends.name, method=copy.method,
                )  # fmt: skip

    # -- freeze and transfer -----------------------------------------------------------------------------------------

    def freeze(self, scope: Scope, *, begun: bool) -> None:
        """List the objects in the book, once; raise Unclassed, and list none, where one has no rule.

        Where the log has `begun`, they were listed; BadFile where the book doesn't know of it.
        """
        for ends in self.ends:
            if begun:
                self._book.refuse_lost(ends.name)
            if self._book.is_frozen(ends.name):
                continue
            refuse_unfit(ends)
            moving.refuse_same(ends, self._host.entropy(16).hex())
            sorting, _ = self._sorting(ends, scope, self._source.connection, STAGING)
            with sorting.claims, sqlite_faults():
                surveying.freeze(ends, sorting)

    def _known(self) -> Iterator[Ends]:
        """The stores, each with its objects in the book."""
        for ends in self.ends:
            self._book.refuse_lost(ends.name)
            yield ends

    def joined(self, manifest: Manifest) -> Manifest:
        """The manifest with the slices of the objects."""
        return replace(manifest, slices=(*manifest.slices, *self.slices()))

    def slices(self) -> tuple[Slice, ...]:
        """The frozen objects that go home, as slices."""
        return tuple(piece for ends in self._known() for piece in moving.slices_of(ends))

    def transfer(self, listener: Listener) -> None:
        """Bring all of them home that are not there."""
        for ends in self._known():
            moving.copy_home(ends, listener=listener)

    def measures(self) -> Mapping[SliceId, Measure]:
        """What came home, by slice."""
        return {measure.slice: measure for ends in self._known() for measure in moving.brought_of(ends)}

    # -- verify and erase --------------------------------------------------------------------------------------------

    def compared(self, equality: Equality, listener: Listener, *, pinned: bool) -> Equality:
        """The equality with the objects' slices, read at both ends now; without those of which some are erased.

        While another equality may clear, what is erased stays `pinned` to it.
        """
        pairs: list[Pair] = []
        for ends in self._known():
            if not self._began(ends):
                moving.compare_ends(ends, pinned=pinned, listener=listener)
                pairs.extend(moving.pairs_of(ends))
        return replace(equality, pairs=(*equality.pairs, *pairs))

    def paired(self, equality: Equality) -> Equality:
        """The equality with the slices of objects that leave, as the close of a move under way read them."""
        pairs = [pair for ends in self._known() for pair in moving.pairs_of(ends) if pair.slice.leaves]
        return replace(equality, pairs=(*equality.pairs, *pairs))

    def _began(self, ends: Ends) -> bool:
        return bool(self._book.standings(ends.name).keys() - {Standing.THERE})

    def refuse_other(self, clearance: Clearance) -> None:
        """Raise NoClearance where objects would be erased by other digests than those that were cleared (P2)."""
        for ends in self._known():
            for name, digest in moving.erasable_of(ends):
                if clearance.digest_of(name) != digest:
                    raise NoClearance(
                        f"{name}: what the book says of its objects is not what was cleared; none of them is erased. "
                        "Run `domicile verify`, then `domicile apply`, and have it approved anew"
                    )

    def leaving(self) -> tuple[tuple[DatasetId, Home, tuple[Slice, ...]], ...]:
        """The slices of which something leaves the source, in the groups in which that is stated."""
        return tuple(
            (piece.dataset, piece.home, (piece,)) for piece in self.slices() if piece.leaves
        )  # fmt: skip

    def erase(
        self, removing: Callable[[str, int, bool], None], announced: Callable[[str], int | None], listener: Listener
    ) -> None:
        """Erase what leaves; announced already but for uploads, of which `removing` is told by copy.

        `announced` says of how many of a copy it was told that they go, and not yet that they are gone.
        """
        for ends in self._known():
            erase_objects(ends, listener=listener)

            copy = f"{ends.name}/{horizon.UPLOADS}"

            def told(count: int, *, done: bool, name: str = copy) -> None:
                removing(name, count, done)

            erase_uploads(ends, told, announced=announced(copy), listener=listener)

    def go_on(
        self, removing: Callable[[str, int, bool], None], cleared: Mapping[SliceId, Digest], *, now: datetime,
        listener: Listener,
    ) -> bool:  # fmt: skip
        """Remove what locks kept and let go by now, compared again; False where there was nothing to do.

        `removing` is told of the copy before and after. NoClearance where the book isn't what was `cleared`.
        """
        worked = False
        for ends in self._known():
            if not self._book.standings(ends.name).keys() & {Standing.LOCKED, Standing.GOING}:
                continue
            if any(cleared.get(name) != digest for name, digest in moving.erasable_of(ends)):
                raise NoClearance(
                    f"{ends.name}: what the book says of its objects is not what was cleared; what a lock kept is not "
                    "removed. Put the book back from a copy of this run"
                )
            count = free_objects(ends, now=now)
            if Standing.GOING not in self._book.standings(ends.name):
                continue
            copy, worked = f"{ends.name}/{horizon.LOCKED}", True
            removing(copy, count, False)  # noqa: FBT003 - the shape of what is told
            erase_objects(ends, listener=listener)
            left = self._book.standings(ends.name).keys() - {Standing.GONE}
            removing(copy, 0, not left)
        return worked

    def erased(self, piece: Slice, proven: Digest) -> Erased:
        """What was erased of a slice: each version was part of what was proven, and read again as such."""
        removed = self._book.removed(piece.dataset).get(piece.home, 0)
        return Erased(slice=piece.id, deleted=removed, blanked=0, digest=proven)

    # -- evidence ----------------------------------------------------------------------------------------------------

    @contextmanager
    def owned(self, scope: Scope) -> Iterator[Owned]:
        """Count, person by person, what was frozen of objects; the source's people and rows have to be there still."""
        with Owned(digest_key=self._key) as owned, sqlite_faults():
            for ends in self._known():
                owned.begin(self._book.private(ends.name))
                rules = tuple(
                    rule for rule in self._config.object_stores[ends.name].objects if rule.disposition == "move"
                )
                for number, rule in enumerate(rules):
                    if rule.of is not None and rule.column is not None:
                        dataset = dataset_naming(scope, rule, where=f"stores.{ends.name}.objects.{number}")
                        rows = people_naming(self._source.connection, scope, dataset, rule.column)
                        owned.add(
                            (ends.digest_of(key), kind, who)
                            for kind, who, value in rows
                            if (key := rule.key_named(value)) is not None
                        )
                if tells_people(rules):
                    owned.add((key, str(scope.kinds[0].dataset), who) for key, who in _told_people(ends, rules))
                owned.end(ends.name)
            yield owned

    def listed(self) -> Mapping[SliceId, tuple[int, Iterable[Listed]]]:
        """What each slice's digest is made of, for an auditor: how many objects, and these in their order.

        None of a store whose book is gone, or that was not compared.
        """
        return {
            piece.id: (piece.upto, self._book.listed(ends.name, piece.home))
            for ends in self.ends
            if self._book.is_frozen(ends.name) and not self._book.not_compared(ends.name)
            for piece in moving.slices_of(ends)
            if piece.form is Form.OBJECTS
        }

    # -- sweep -------------------------------------------------------------------------------------------------------

    def refuse_waiting(self, scope: Scope) -> None:
        """Raise Waiting while something of movers is there that a person can still bring home or remove."""
        for ends in self._known():
            with self._late(ends, scope) as is_late:
                left = horizon.look(ends, is_late)
            path = self._folder / f"left-{ends.name}.txt"
            tell_keys(path, left.named)
            held = self._book.standings(ends.name).get(Standing.HELD, 0)
            if left.objects or left.versions or left.uploads:
                raise Waiting(
                    f"store {ends.name}: {left.objects} objects, {left.versions} older versions and {left.uploads} "
                    f"incomplete uploads of people who moved are there ({held} other than what was compared, "
                    f"{left.late} came since; their keys are in {path}): stop who writes there, bring home what is "
                    "younger, remove it, then run `domicile apply` again. `domicile certify` certifies it as it is: "
                    "`present`"
                )

    def search(self, tokens: sweep.Tokens, scope: Scope, *, now: datetime, listener: Listener) -> Iterator[Seen]:
        """Search each store, and judge its copies."""
        for ends in self._known():
            with self._late(ends, scope) as is_late:
                seen, lines = horizon.search(ends, tokens, is_late, now=now, listener=listener)
            tell_keys(self._folder / f"left-{ends.name}.txt", lines)
            yield named(ends.name, seen)

    def there_again(self) -> Iterator[tuple[str, int, str]]:
        """By store, how many versions and uploads it lists under keys of movers' objects, or why it can't be asked.

        Only the book and the store are asked, for no row may be left that would tell of others.
        """
        for name in self._config.object_stores:
            self._book.refuse_lost(name)
            try:
                (ends,) = (one for one in self.ends if one.name == name)
                left = horizon.look(ends, lambda _, __: False)
            except StoreFault as fault:
                yield name, 0, str(fault)
            else:
                yield name, left.objects + left.versions + left.uploads, ""

    @contextmanager
    def _late(self, ends: Ends, scope: Scope) -> Iterator[horizon.IsLate]:
        """What says of a key that nobody froze whether it names a mover; asked of the homes, where these live now."""
        rules = self._config.object_stores[ends.name].objects
        with Claims(digest_key=self._key) as claims, sqlite_faults():
            if tells_people(rules):
                for home, store in self._homes.items():
                    with faults(store.name, "read who moved here"):
                        claims.add_people(people_at(store.connection, scope, home))

            def is_late(key: str, history: Sequence[ObjectVersion]) -> bool:
                told = {text for number, text in named_by(rules, key) if rules[number].disposition == "move"}
                told.update(*(texts for _, texts in labelled_by(rules, ends.source, history)))
                return any(text is not None and claims.who(text) is not None for text in told)

            yield is_late


def _told_people(ends: Ends, rules: Sequence[ObjectRule]) -> Iterator[tuple[bytes, str]]:
    """Whom keys and labels of the frozen objects name: the object's digest, and the person's key."""
    for history in histories(ends.source):
        entry = ends.entry(history[0].key)
        if entry is None or entry.public:
            continue
        frozen = [version for version in history if version.version_id in entry.versions]
        texts = {text for _, text in named_by(rules, history[0].key)}
        texts.update(*(values for _, values in labelled_by(rules, ends.source, frozen)))
        for text in texts:
            if text is not None:
                yield entry.key, text


def _refuse_nested(config: Config, source: str, homes: Sequence[str]) -> None:
    """Raise Refused where a home's folder is the source's, or lies in or around it, by whatever links."""
    here = config.stores[source]
    for name in homes:
        there = config.stores[name]
        if not isinstance(here, FolderRule) or not isinstance(there, FolderRule):
            continue
        one, other = Path(here.path).resolve(), Path(there.path).resolve()
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise Refused(f"stores {source} and {name} lie in one another; give home a folder of its own")


def refuse_unfit(ends: Ends) -> None:
    """Raise Refused where home can't keep what the source does, before anything is done."""
    if ends.source.versioning() not in KEPT:
        for store in ends.homes.values():
            store.versioning()
        return
    for home, store in ends.homes.items():
        if store.versioning() is not Versioning.ON:
            raise Refused(
                f"store {store.name}: {ends.name} keeps versions, and {home} would keep the newest only; turn "
                "versioning on there, or take a store that has it"
            )
