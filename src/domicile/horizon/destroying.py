"""Keys and the log: opens the key services of the file, joins encrypted folders with what the log tells of their keys.

What is about to be destroyed is stated before, and that no copy was found after it (P7). A key that was destroyed and
is there again is stated, too: from then on the certificate isn't the last word (P10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from domicile.config import Config
from domicile.config.custody import CopiesRule, EncryptedRule, FileKeysRule
from domicile.errors import HostFault, NoClearance, NotPermitted, StoreFault
from domicile.events import Noted
from domicile.evidence.predicates import KeyPhase, Predicate
from domicile.evidence.told import KeyStanding, key_finding, keys_told, rows_erased
from domicile.host import Host
from domicile.model import Finding
from domicile.record import Record
from domicile.stores.around import Custody
from domicile.stores.around.conditions import Ground, Key
from domicile.stores.around.dumps import Database
from domicile.stores.around.encrypted import ENCRYPTED, AnnounceKey, Encrypted
from domicile.stores.keyservices import KeyService
from domicile.stores.keyservices.files import FileKeys
from domicile.stores.keyservices.tokens import Place, TokenKeys

TEXT_CHARS_MAX: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Destroying:
    """The key services of one programme, and its log; `base` is the folder that references are relative to."""

    config: Config
    record: Record
    host: Host
    base: Path

    def service(self, name: str) -> KeyService:
        """Open a key service; BadFile where its pin isn't there."""
        rule = self.config.key_services[name]
        if isinstance(rule, FileKeysRule):
            return FileKeys(name, Path(rule.path), copies=tuple(map(Path, rule.copies)), forgets=rule.forgets)
        pin = self.host.secret(rule.pin, base=self.base)
        place = Place(module=rule.module, token=rule.token, copies=rule.copies, pin=pin)
        return TokenKeys(name, place, forgets=rule.forgets)

    def folder(
        self, name: str, rule: CopiesRule, encrypted: EncryptedRule, *, database: Database, custody: Custody
    ) -> Encrypted:
        """An encrypted folder, what the log tells, and all services of the file: none of them may keep its key."""
        told = self._statements()
        others = [
            Path(store.path) for other, store in self.config.stores.items()
            if isinstance(store, CopiesRule) and other != name
        ]  # fmt: skip
        ground = Ground(
            database=database.name if rule.kind == "dumps" else None, major=database.major,
            rows_erased=rows_erased(told), elsewhere=tuple(others),
        )  # fmt: skip
        key = Key(
            service=self.service(encrypted.service), name=encrypted.key, since=encrypted.since,
            others=tuple(self.service(other) for other in self.config.key_services if other != encrypted.service),
        )  # fmt: skip
        standing = keys_told(told).get(f"{name}/{ENCRYPTED}")
        return Encrypted(name, Path(rule.path), key=key, custody=custody, ground=ground, standing=standing)

    def announcing(self, store: str, encrypted: EncryptedRule) -> AnnounceKey:
        """State what becomes of the key of a folder; NoClearance where no rows were erased under one (P2)."""

        def announce(generations: tuple[str, ...], phase: KeyPhase) -> None:
            if phase is not KeyPhase.CAME_BACK and not rows_erased(self._statements()):
                raise NoClearance(
                    f"store {store}: no erasure of rows is in the log, so key {encrypted.key} isn't destroyed; "
                    "`domicile certify` goes on without"
                )
            self._state(f"{store}/{ENCRYPTED}", encrypted, KeyStanding(generations=generations, phase=phase))

        return announce

    def _statements(self) -> list[Predicate]:
        return [one.predicate for one in self.record.ledger.statements()]

    def _state(self, copy: str, encrypted: EncryptedRule, standing: KeyStanding) -> None:
        key = f"key {encrypted.key} of {encrypted.service}"
        self.record.state(key_finding(self.record.ledger.plan().plan, copy, key, standing))

    def foreseen(self, store: Encrypted) -> Finding:
        """What the plan says of a folder: what its key's destruction will do, or why it can't be destroyed as it is."""
        found = store.examine(None)
        where = f"{store.name}/{ENCRYPTED}"
        if found.reasons:
            return Finding(
                kind="key can't be destroyed", where=where, count=len(found.reasons), rule="encrypted",
                text="; ".join(found.reasons)[:TEXT_CHARS_MAX],
                remedy="mend that before the erasure; as it is, the copy stays `present`",
            )  # fmt: skip
        text = (
            f"{found.told}: they become unreadable with it; that there is no other copy of it, is the operator's word"
        )
        return Finding(kind="key to be destroyed", where=where, count=len(found.old), text=text, rule="encrypted")

    def look_again(self, back_it_is: Callable[[], None]) -> bool:
        """Whether a key that was destroyed is there again, in any service; stated once, after `back_it_is` was called.

        A service that doesn't answer is noted.
        """
        back = False
        for copy, encrypted, standing in self._gone():
            if any(self._holds(name, copy, standing) for name in self.config.key_services):
                back_it_is()
                back = True
                came_back = KeyStanding(generations=standing.generations, phase=KeyPhase.CAME_BACK)
                self._state(copy, encrypted, came_back)
        return back

    def _holds(self, service: str, copy: str, standing: KeyStanding) -> bool:
        try:
            return bool(self.service(service).copies(standing.generations))
        except (NotPermitted, StoreFault, HostFault) as fault:
            self.record.listener(Noted(text=f"{copy}: whether its key came back, can't be seen: {fault}"))
            return False

    def _gone(self) -> Iterator[tuple[str, EncryptedRule, KeyStanding]]:
        """The copies whose keys were destroyed, by the log, and didn't come back since."""
        told = keys_told(self._statements())
        for name, rule in self.config.around.items():
            standing = told.get(f"{name}/{ENCRYPTED}")
            if isinstance(rule, CopiesRule) and rule.encrypted and standing and standing.phase is KeyPhase.OUTCOME:
                yield f"{name}/{ENCRYPTED}", rule.encrypted, standing
