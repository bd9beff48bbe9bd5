"""Reads a store's listing and says of each object whose it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from domicile.config.belongings import SUBJECT, ObjectRule, pattern_of
from domicile.model import Home
from domicile.objects.belonging import Belongs, Decision, decide
from domicile.objects.claims import Claim, Claims, key_digest
from domicile.stores.objects import ObjectStore, ObjectVersion, Upload
from domicile.stores.objects.copying import histories


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One object of the listing, all its versions, and what becomes of it."""

    key: bytes = field(repr=False)
    history: tuple[ObjectVersion, ...]
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorting:
    """What it takes to say whose a key is: the rules, what rows and people's keys claim, and the homes in order.

    `settled` says where somebody took an object of that digest home: it stays theirs when nothing tells so any more.
    """

    rules: Sequence[ObjectRule]
    claims: Claims
    homes: Sequence[Home]
    digest_key: bytes
    settled: Callable[[bytes], AbstractSet[Home]] | None = None

    def objects(self, store: ObjectStore) -> Iterator[Listed]:
        """Every object that the store lists."""
        for history in histories(store):
            key = key_digest(history[0].key, digest_key=self.digest_key)
            labels = labelled_by(self.rules, store, history)
            yield Listed(key=key, history=history, decision=self._decided(history[0].key, key, labels))

    def uploads(self, store: ObjectStore) -> Iterator[tuple[Upload, Decision]]:
        """Every incomplete upload, by the key that it would get."""
        for upload in store.uploads():
            yield upload, self._decided(upload.key, key_digest(upload.key, digest_key=self.digest_key))

    def awaited(self) -> Iterator[bytes]:
        """After `objects` was read: the keys that rows of movers name and under which nothing is there."""
        return self.claims.unmet_of_movers(
            number for number, rule in enumerate(self.rules) if rule.disposition == "move"
        )

    def _decided(self, key: str, digest: bytes, labels: Iterable[tuple[int, frozenset[str]]] = ()) -> Decision:
        told = {number: self._told(number, text) for number, text in named_by(self.rules, key)}
        told |= {number: self._together(number, texts) for number, texts in labels}
        decision = decide(self.rules, self.claims.of(digest), told, self.homes)
        if not decision.nobodys or self.settled is None or not (taken := self.settled(digest)):
            return decision
        homes = tuple(home for home in self.homes if home in taken)
        return Decision(belongs=Belongs.MOVES, homes=homes, leaves=True)

    def _together(self, number: int, texts: frozenset[str]) -> Claim | None:
        """What versions of one object tell together; nobody is not somebody who stays."""
        claims = [self._told(number, text) for text in texts]
        known = [claim for claim in claims if claim is not None]
        if not known:
            return None
        homes = frozenset[Home]().union(*(claim.homes for claim in known))
        return Claim(
            rule=number, homes=homes, stays=any(claim.stays for claim in known), nobody=len(known) < len(claims)
        )

    def _told(self, number: int, text: str | None) -> Claim | None:
        """What a key tells by a rule; None where the person it names is nobody."""
        if text is None:
            return Claim(rule=number, homes=frozenset(), stays=False)
        found = self.claims.who(text)
        if found is None:
            return None
        homes = frozenset(home for home in found if home is not None)
        return Claim(rule=number, homes=homes, stays=not homes)


def named_by(rules: Iterable[ObjectRule], key: str) -> Iterator[tuple[int, str | None]]:
    """The rules with a pattern that this key fits, by number, and the person's key in it where it tells one."""
    for number, rule in enumerate(rules):
        if rule.pattern is not None and (match := pattern_of(rule.pattern).fullmatch(key)):
            yield number, match["subject"] if SUBJECT in rule.pattern else None


def labelled_by(
    rules: Sequence[ObjectRule], store: ObjectStore, history: Sequence[ObjectVersion]
) -> Iterator[tuple[int, frozenset[str]]]:
    """The rules whose metadata or tag some version bears, by number, and its values; without them nothing is asked."""
    asked = [(number, rule) for number, rule in enumerate(rules) if rule.has_label]
    if not asked:
        return
    heads = [store.head(one.key, one.version_id) for one in history if not one.is_delete_marker]
    for number, rule in asked:
        values = frozenset(
            value
            for head in heads
            if head is not None
            for name, value in (head.traits.tags if rule.tag is not None else head.traits.metadata)
            if name == (rule.tag if rule.tag is not None else str(rule.metadata).lower())
        )
        if values:
            yield number, values
