"""Objects in a move while people write: brought ahead, brought once more under a cohort's fence, back, and closed.

| step      | what happens to the objects                                                                           |
|-----------|-------------------------------------------------------------------------------------------------------|
| copy      | all that are movers' go home, or are public, while everybody writes; again with `follow` and the close |
| cohort    | those of its people, looked at whole before the fence; under it, those that changed since             |
| flip      | noted before it: from then on home is the authority for them                                          |
| roll back | what the cohort's people wrote at home goes back, before home's fence and under it                    |
| close     | frozen in the book, compared at both ends; `reopen` forgets that                                      |

An object store has no fence: the platform goes by the directory there as well. What it writes past that is brought, or
told, at the close (docs/stores.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg

from domicile.config.belongings import ANY, SUBJECT, ObjectRule
from domicile.errors import NotEqual, Refused, Unclassed, Unreachable, WorldChanged
from domicile.events import Advanced, Listener, Noted
from domicile.host import Host
from domicile.model import Home, Scope
from domicile.objects import moving, surveying
from domicile.objects.ahead import Came, Going, bring, strays
from domicile.objects.belonging import UNDECIDED, Belongs
from domicile.objects.carried import Carried, listing_of
from domicile.objects.claims import Claims, sqlite_faults
from domicile.objects.listing import Sorting, labelled_by, named_by
from domicile.objects.moving import Ends
from domicile.objects.naming import dataset_naming, tells_people
from domicile.objects.returning import Returned, bring_back
from domicile.objects.telling import tell_keys
from domicile.stores.objects import ObjectStore
from domicile.stores.objects.copying import copy_key, histories
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live.naming import people_of_cohort, rows_naming_now, rows_of_cohort
from domicile.stores.postgres.naming import people
from domicile.stores.postgres.session import faults
from domicile.stores.postgres.source import PostgresSource

GOES: Final = frozenset({"move", "public"})
PAGE: Final = 1_000
"""Objects that a store lists at a request. A listing of all is taken where it has fewer pages than there are people."""
LISTED_MAX: Final = 1_000_000_000
Breathe = Callable[[], None]
"""Called between two objects, so that whoever calls can do what is due meanwhile."""


@dataclass(slots=True, kw_only=True)
class UnderWay:
    """The object stores of a move under way."""

    ends: Callable[[], tuple[Ends, ...]]
    rules: Callable[[str], Sequence[ObjectRule]]
    source: PostgresSource
    homes: dict[Home, PostgresHome]
    carried: Carried
    folder: Path
    host: Host
    listener: Listener
    key: bytes = field(repr=False)
    _labelled: dict[tuple[str, int], list[tuple[str, Home]]] = field(default_factory=dict, init=False, repr=False)
    _unlike: dict[str, list[tuple[str, str]]] = field(default_factory=dict, init=False, repr=False)
    _undecided: dict[str, int] = field(default_factory=dict, init=False)
    _listed: dict[str, int] = field(default_factory=dict, init=False)
    """How many objects each store listed the last time."""

    # -- ahead -------------------------------------------------------------------------------------------------------

    def begin(self, *, refuse_unfit: Callable[[Ends], None]) -> None:
        """Look that each home can keep what comes, and is another place than the source."""
        for ends in self.ends():
            refuse_unfit(ends)
            moving.refuse_same(ends, self.host.entropy(16).hex())
            self.carried.begin(ends.name)

    def bring_all(self, scope: Scope, breathe: Breathe, *, until: Callable[[], bool] = lambda: False) -> None:
        """Bring all that goes home, and take back what doesn't any more; what differs at home is told, and left."""
        for ends in self.ends():
            self.carried.refuse_lost(ends.name)
            self._unlike[ends.name] = []
            undecided, complete, listed = list[tuple[str, str]](), True, 0
            with self._sorting(ends, scope) as sorting:
                for one in sorting.objects(ends.source):
                    if until():
                        complete = False
                        break
                    listed += 1
                    if one.decision.belongs in UNDECIDED:
                        undecided.append((one.decision.belongs.value, one.history[0].key))
                    for home in one.decision.homes:
                        sorting.claims.note_going(one.key, home)
                        public = one.decision.belongs is Belongs.PUBLIC
                        going = Going(key=one.history[0].key, history=one.history, home=home, public=public)
                        self._bring(ends, going, whole=True)
                    breathe()
                for home in ends.homes if complete else ():
                    self._take_back_strays(ends, home, sorting.claims)
            self._listed[ends.name] = listed if complete else LISTED_MAX
            self._tell(ends, undecided)

    def _bring(self, ends: Ends, going: Going, *, whole: bool) -> Came:
        came = bring(ends, self.carried, going, whole=whole)
        if came is Came.DIFFERS and not going.public:
            self._note_unlike(ends, "other at home", going.key)
        if came is Came.BROUGHT:
            size = sum(version.size for version in going.history)
            self.listener(Advanced(stage="objects", units=len(going.history), bytes=size, text=ends.name))
        return came

    def _take_back_strays(self, ends: Ends, home: Home, claims: Claims) -> None:
        unsettled = self.carried.unsettled(ends.name, home)
        keys = frozenset(key for key in unsettled if not claims.is_going(key, home))
        for going in strays(ends, home, keys):
            self._bring(ends, going, whole=True)

    @contextmanager
    def _sorting(self, ends: Ends, scope: Scope) -> Iterator[Sorting]:
        """What it takes to say whose each object is now."""
        rules, homes = self.rules(ends.name), tuple(home for home in scope.homes if home in ends.homes)
        with Claims(digest_key=self.key) as claims, sqlite_faults():
            with faults(self.source.name, "read which rows name objects"):
                for number, rule in enumerate(rules):
                    if rule.of is not None and rule.column is not None:
                        dataset = dataset_naming(scope, rule, where=f"stores.{ends.name}.objects.{number}")
                        claims.add(number, rule, rows_naming_now(self.source.connection, scope, dataset, rule.column))
                if tells_people(rules):
                    claims.add_people(people(self.source.connection, scope))
            yield Sorting(
                rules=rules, claims=claims, homes=homes, digest_key=self.key,
                settled=lambda key: self.carried.homes_of(ends.name, key),
            )  # fmt: skip

    def _note_unlike(self, ends: Ends, what: str, key: str) -> None:
        self._unlike.setdefault(ends.name, []).append((what, key))

    def _path(self, ends: Ends) -> Path:
        return self.folder / f"unlike-{ends.name}.txt"

    def _tell(self, ends: Ends, undecided: list[tuple[str, str]]) -> None:
        self._undecided[ends.name] = len(undecided)
        for name, found, what in (
            ("unlike", self._unlike.get(ends.name, []), "are other at home"),
            ("unruled", undecided, "came that no rule decides"),
        ):
            path = self.folder / f"{name}-{ends.name}.txt"
            if tell_keys(path, found):
                self.listener(Noted(text=f"{ends.name}: {len(found)} objects {what}; their keys are in {path}"))

    def _refuse_unlike(self, ends: Ends, what: str) -> None:
        """Raise NotEqual where objects were met that can't be brought."""
        unlike = self._unlike.get(ends.name, [])
        tell_keys(self._path(ends), unlike)
        if unlike:
            raise NotEqual(
                f"store {ends.name}: {len(unlike)} objects {what}; their keys are in {self._path(ends)}. Look which is "
                "right, remove the other, then run again"
            )

    # -- a cohort ----------------------------------------------------------------------------------------------------

    def bring_cohort(self, scope: Scope, number: int, breathe: Breathe, *, wait_s_max: float) -> None:
        """Bring the objects of a cohort's people before its fence; afterwards a look at them takes as long as it may.

        Raises NotEqual where home has another, Refused where a look at all of them takes longer than `wait_s_max`.
        """
        self.carried.unsettle(number)
        for ends in self.ends():
            self.carried.refuse_lost(ends.name)
            self._unlike[ends.name] = []
            self._find_labelled(ends, scope, number)
            for going in self._of_cohort(ends, scope, number):
                self._bring(ends, going, whole=True)
                breathe()
            self._refuse_unlike(ends, f"of cohort {number} are other at home than at the source")
        began_s = self.host.monotonic_s()
        looked, brought = self._look(scope, number, None)
        took_s = self.host.monotonic_s() - began_s
        if took_s > wait_s_max and not brought:
            raise Refused(
                f"cohort {number}: a look at its {len(looked)} objects takes {took_s:.1f} s, and its people would wait "
                f"so long; wait_s_max is {wait_s_max} s. Take smaller cohorts (`cutover.grow`), or let them wait longer"
            )

    def look(self, scope: Scope, number: int, deadline_s: float) -> int:
        """Under a cohort's fence: bring what changed of its objects, and note that home is their authority.

        Returns how many were brought. Raises Unreachable when the time is over, NotEqual as above.
        """
        looked, brought = self._look(scope, number, deadline_s)
        self.carried.settle(number, looked)
        return brought

    def _look(
        self, scope: Scope, number: int, deadline_s: float | None
    ) -> tuple[list[tuple[str, Home, bytes]], int]:  # fmt: skip
        looked, brought = list[tuple[str, Home, bytes]](), 0
        for ends in self.ends():
            self._unlike[ends.name] = []
            for going in self._of_cohort(ends, scope, number):
                if deadline_s is not None and self.host.monotonic_s() > deadline_s:
                    raise Unreachable(f"cohort {number}: the time was over while its objects were looked at")
                came = self._bring(ends, going, whole=False)
                brought += came is Came.BROUGHT
                if going.history and not going.public:
                    looked.append((ends.name, going.home, ends.digest_of(going.key)))
            self._refuse_unlike(ends, f"of cohort {number} are other at home than at the source")
        return looked, brought

    def unsettle(self, number: int) -> None:
        """The cohort isn't at home, or not any more."""
        self.carried.unsettle(number)

    def _of_cohort(self, ends: Ends, scope: Scope, number: int) -> Iterator[Going]:
        """What rows of a cohort's people, their keys and labels name, as the source lists it now; each once."""
        met: set[tuple[Home, bytes]] = set()
        for going in self._named(ends, scope, number):
            mark = (going.home, ends.digest_of(going.key))
            if mark not in met:
                met.add(mark)
                yield going

    def _named(self, ends: Ends, scope: Scope, number: int) -> Iterator[Going]:
        for key, home, public in self._by_rows(ends, scope, number, self.source.connection, self.source.name):
            yield Going(key=key, history=ends.source.history(key), home=home, public=public)
        yield from self._by_patterns(ends, scope, number)
        for key, home in self._labelled.get((ends.name, number), ()):
            yield Going(key=key, history=ends.source.history(key), home=home)

    def _by_rows(
        self, ends: Ends, scope: Scope, number: int, connection: psycopg.Connection[Any], store: str
    ) -> list[tuple[str, Home, bool]]:
        """The keys that rows of a cohort's people name: key, home, whether the object is public."""
        found = list[tuple[str, Home, bool]]()
        rules = self.rules(ends.name)
        for at, rule in enumerate(rules):
            if rule.of is None or rule.column is None or rule.disposition not in GOES:
                continue
            dataset = dataset_naming(scope, rule, where=f"stores.{ends.name}.objects.{at}")
            with faults(store, "read which rows of a cohort name objects"):
                for value, home in rows_of_cohort(connection, scope, dataset, rule.column, number):
                    key = rule.key_named(value)
                    if key is not None and home in ends.homes and _agree(rules, rule, key):
                        found.append((key, home, rule.disposition == "public"))
        return found

    def _by_patterns(self, ends: Ends, scope: Scope, number: int) -> Iterator[Going]:
        """What keys name a cohort's people: as the source lists it, and what home has and the source has not."""
        for prefix, rule, those in self._prefixes(ends, scope, number):
            met: set[bytes] = set()
            for history in histories(ends.source, prefix):
                home = self._whose(ends, rule, those, history[0].key)
                if home is not None:
                    met.add(ends.digest_of(history[0].key))
                    yield _going(history[0].key, history, home, rule)
            for home in sorted(set(those.values())):
                for key in _keys(ends.homes[home], prefix):
                    if self._whose(ends, rule, those, key) == home and ends.digest_of(key) not in met:
                        yield _going(key, ends.source.history(key), home, rule)

    def _prefixes(
        self, ends: Ends, scope: Scope, number: int
    ) -> Iterator[tuple[str, ObjectRule, Mapping[str, Home]]]:  # fmt: skip
        """Below which prefixes the objects lie whose keys name a cohort's people: by which rule, and whose."""
        rules = [rule for rule in self.rules(ends.name) if rule.pattern is not None and SUBJECT in rule.pattern]
        with faults(self.source.name, "read who is in a cohort"):
            found = list(people_of_cohort(self.source.connection, scope, number)) if rules else []
        those = {text: home for text, home in found if home in ends.homes}
        for rule in rules:
            before, _, after = str(rule.pattern).partition(SUBJECT)
            if rule.disposition not in GOES:
                continue
            if self._listed.get(ends.name, LISTED_MAX) < len(those) * PAGE:
                yield before, rule, those
                continue
            for text, home in those.items():
                yield before + text + after.partition(ANY)[0], rule, {text: home}

    def _whose(self, ends: Ends, rule: ObjectRule, those: Mapping[str, Home], key: str) -> Home | None:
        """The home of whom of them a key names by that rule, unless a rule about it says another disposition."""
        rules = self.rules(ends.name)
        if not _agree(rules, rule, key):
            return None
        told = (those.get(text or "") for at, text in named_by(rules, key) if rules[at] is rule)
        return next(told, None)

    def _find_labelled(self, ends: Ends, scope: Scope, number: int) -> None:
        """Read the whole listing for what bears a label of a cohort's people, where a rule asks for labels."""
        self._labelled[ends.name, number] = list(self._labelled_in(ends, ends.source, scope, number))

    def _labelled_in(self, ends: Ends, store: ObjectStore, scope: Scope, number: int) -> Iterator[tuple[str, Home]]:
        rules = self.rules(ends.name)
        if not any(rule.has_label and rule.disposition in GOES for rule in rules):
            return
        with Claims(digest_key=self.key) as claims, sqlite_faults():
            with faults(self.source.name, "read who is in a cohort"):
                claims.add_people(people_of_cohort(self.source.connection, scope, number))
            for history in histories(store):
                for at, texts in labelled_by(rules, store, history):
                    for text in texts if rules[at].disposition in GOES else ():
                        (home,) = claims.who(text) or (None,)
                        if home is not None and home in ends.homes:
                            yield history[0].key, home

    # -- back --------------------------------------------------------------------------------------------------------

    def bring_back(self, scope: Scope, number: int, *, fenced: bool) -> int:
        """Bring back what a cohort's people wrote at home; return how many objects that were.

        Raises NotEqual where the source has another than was brought home. What was removed at home is told. What no
        row of theirs names there any more is looked for while they are not `fenced`: that reads the source's listing.
        """
        count = 0
        for ends in self.ends():
            self.carried.refuse_lost(ends.name)
            self._unlike[ends.name], removed = [], list[tuple[str, str]]()
            for key, home, public in self._at_home(ends, scope, number, fenced=fenced):
                came = bring_back(ends, self.carried, key, home, public=public)
                count += came is Returned.BROUGHT
                if came is Returned.REMOVED_AT_HOME:
                    removed.append(("removed at home", key))
                if came is Returned.DIFFERS and not public:
                    self._note_unlike(ends, "other at the source than was brought home", key)
            self._refuse_unlike(ends, f"of cohort {number} were written at both ends")
            if not fenced:
                self._tell_removed(ends, removed)
        return count

    def _tell_removed(self, ends: Ends, removed: list[tuple[str, str]]) -> None:
        path = self.folder / f"removed-{ends.name}.txt"
        if tell_keys(path, removed):
            told = f"{ends.name}: {len(removed)} objects that were removed at home are at the source still"
            self.listener(Noted(text=f"{told}; their keys are in {path}"))

    def _at_home(
        self, ends: Ends, scope: Scope, number: int, *, fenced: bool
    ) -> Iterator[tuple[str, Home, bool]]:  # fmt: skip
        """What rows of a cohort's people at home, their keys and labels name there, and what they took home."""
        met: set[tuple[Home, bytes]] = set()
        for key, home, public in self._theirs_at_home(ends, scope, number):
            mark = (home, ends.digest_of(key))
            if mark not in met:
                met.add(mark)
                yield key, home, public
        taken = frozenset() if fenced else self.carried.settled_by(ends.name, number) - met
        for history in histories(ends.source) if taken else ():
            digest = ends.digest_of(history[0].key)
            yield from ((history[0].key, home, False) for home in ends.homes if (home, digest) in taken)

    def _theirs_at_home(self, ends: Ends, scope: Scope, number: int) -> Iterator[tuple[str, Home, bool]]:
        for home, store in self.homes.items():
            if home not in ends.homes:
                continue
            for key, theirs, public in self._by_rows(ends, scope, number, store.connection, store.name):
                if theirs == home:
                    yield key, home, public
            for key, theirs in self._labelled_in(ends, ends.homes[home], scope, number):
                if theirs == home:
                    yield key, home, False
        yield from self._by_patterns_at_home(ends, scope, number)

    def _by_patterns_at_home(self, ends: Ends, scope: Scope, number: int) -> Iterator[tuple[str, Home, bool]]:
        """What keys at home name a cohort's people."""
        for prefix, rule, those in self._prefixes(ends, scope, number):
            for home in sorted(set(those.values())):
                for key in _keys(ends.homes[home], prefix):
                    if self._whose(ends, rule, those, key) == home:
                        yield key, home, rule.disposition == "public"

    # -- the close ---------------------------------------------------------------------------------------------------

    def close(self, scope: Scope, breathe: Breathe) -> None:
        """Freeze what goes in the book, bring what is missing, and read both ends; what differs is in the book."""
        self.bring_all(scope, breathe)
        for ends in self.ends():
            if undecided := self._undecided[ends.name]:
                raise Unclassed(
                    f"store {ends.name}: {undecided} objects came since the plan that no rule decides; their keys are "
                    f"in {self.folder / f'unruled-{ends.name}.txt'}. Nothing is erased, and the way back is open: "
                    "remove or rename them, then `domicile apply --close` again"
                )
            self._unlike[ends.name] = []
            with self._sorting(ends, scope) as sorting:
                surveying.freeze(ends, sorting)
            try:
                self._copy_missing(ends, breathe)
                moving.compare_ends(ends, listener=self.listener, unlike=partial(self._differs, ends))
            except WorldChanged as fault:
                what = str(fault).partition(";")[0]
                raise WorldChanged(
                    f"{what}; somebody writes to objects of people who are at home. Nothing is erased, and the way "
                    "back is open: stop the writer, then `domicile apply --close` again"
                ) from None
            tell_keys(self._path(ends), self._unlike[ends.name])

    def _differs(self, ends: Ends, key: str) -> None:
        self._note_unlike(ends, "not at home as it is at the source", key)

    def _copy_missing(self, ends: Ends, breathe: Breathe) -> None:
        """Bring what was never brought, or came past the fence; what is other at home is left to the comparison."""
        for history in histories(ends.source):
            entry = ends.entry(history[0].key)
            versions = moving.frozen_ones(history, entry) if entry is not None else None
            if entry is None or versions is None:
                continue
            for home in ends.book.missing(ends.name, entry.key):
                line = self.carried.line(ends.name, home, entry.key)
                if line is not None and not line.stale and line.listing == listing_of(versions):
                    continue  # it came as it is, and both ends are read below
                try:
                    copy_key(ends.source, ends.homes[home], versions, digest_key=ends.digest_key)
                except NotEqual:
                    continue
            breathe()

    def told(self) -> str:
        """How many objects the last close found different, and where their keys are; nothing where there are none."""
        return "; ".join(
            f"store {ends.name}: {len(found)} objects of people who are at home are not there as the source has them "
            f"(their keys are in {self._path(ends)}): what was lost at home is put back there, what its people removed "
            "or replaced there is removed at the source"
            for ends in self.ends()
            if (found := self._unlike.get(ends.name))
        )


def _going(key: str, history: tuple[Any, ...], home: Home, rule: ObjectRule) -> Going:
    return Going(key=key, history=history, home=home, public=rule.disposition == "public")


def _keys(store: ObjectStore, prefix: str) -> Iterator[str]:
    for history in histories(store, prefix):
        yield history[0].key


def _agree(rules: Sequence[ObjectRule], rule: ObjectRule, key: str) -> bool:
    """Whether no pattern about a key says another disposition than a rule that is about it."""
    return all(rules[at].disposition == rule.disposition for at, _ in named_by(rules, key))
