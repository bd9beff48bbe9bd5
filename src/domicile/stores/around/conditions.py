"""What has to hold before a key is destroyed for a folder that is encrypted under it. A numbered checklist (P11).

 1  the service answers, has the key, and each generation is strong enough
 2  no file changed before the day since when all was encrypted, or before the service had its generation
 3  every file is an envelope from its first byte to its last: no dump, WAL, archive or text, no link
 4  each is opened by generations of this key, and by no other key
 5  what an envelope holds doesn't pack, as nothing that is encrypted does
 6  the service really opens them: up to SHOWN_MAX of them, spread over all
 7  of no copy of those generations can there be another one: the service has no doubt, no other of the file has one
 8  nothing that stays is opened by those generations: no younger file, none in another folder of the file
 9  of a folder of dumps: a dump of what is left stands, opened by a generation that stays, and pg_restore reads it (P1)

Without a boundary, for the plan, all files are old, 9 isn't asked, and only PLANNED_MAX files are read whole. What is
the operator's word stands in the outcome: that all was encrypted since that day, that the service's keys lie nowhere
else, and that a medium forgets.
"""

from __future__ import annotations

import os
import re
import subprocess
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from domicile.errors import DomicileError, HostFault, NotPermitted, StoreFault
from domicile.stores.around import Boundary
from domicile.stores.around.encryption import Encryption, Opened, content_key, listed
from domicile.stores.around.enveloped import NoEnvelope, content, plaintext
from domicile.stores.around.recognising import kind_of
from domicile.stores.keyservices import BITS_MIN, GENERATIONS_MAX, KeyCopy, KeyService
from domicile.stores.postgres.programs import find_client

SHOWN_MAX: Final = 200
PLANNED_MAX: Final = 20
PROBED_MAX: Final = 8
PACKED_RATIO_MIN: Final = 0.98
PACKED_BYTES: Final = 16 * 1024
PACKED_BYTES_MIN: Final = 1024
RESTORE_SECONDS_MAX: Final = 24 * 3600
SEGMENT: Final = re.compile(r"(?P<segment>[0-9A-F]{24})(?:\.|$)")
_DATABASE: Final = re.compile(rb"^;\s+dbname: (.*)$", re.MULTILINE)
_LAST: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The key of a folder, and since when all in it was encrypted, by the file's word.

    `others` are the other key services of the file: none of them may hold a copy of it.
    """

    service: KeyService
    name: str
    since: date
    others: Sequence[KeyService] = ()

    def copies(self, generations: Collection[str]) -> tuple[str, ...]:
        """Tell every copy of these generations in all services, with its place.

        Where none is found, and a service doesn't answer, its fault is raised: that is no absence.
        """
        found: list[str] = []
        faults: list[DomicileError] = []
        for service in (self.service, *self.others):
            try:
                found += [f"{service.name}, {copy.place}" for copy in service.copies(generations)]
            except (NotPermitted, StoreFault, HostFault) as fault:
                faults.append(fault)
        if faults and not found:
            raise faults[0]
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a folder stands among: whether it holds dumps (of which database) or WAL, and the other folders.

    `rows_erased`: the log tells that rows were; a key goes for nothing else (P2).
    """

    database: str | None
    major: int
    rows_erased: bool
    elsewhere: Sequence[Path] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found: old files, their generations, all copies of these, how many files were opened, why it can't be.

    No reasons: the key may go.
    """

    key: str
    old: tuple[Opened, ...]
    generations: tuple[str, ...]
    copies: tuple[KeyCopy, ...]
    shown: int
    reasons: tuple[str, ...]

    @property
    def told(self) -> str:
        """What destroying the key does, in words."""
        return (
            f"{len(self.old)} files ({self.shown} of them opened, to see) under {len(self.generations)} generations of "
            f"key {self.key} in {len(self.copies)} copies"
        )


def is_old(file: Opened, boundary: Boundary | None, ground: Ground) -> bool:
    """Whether a file is from before the boundary: WAL by its segment's name, all else by its last change."""
    if boundary is None:
        return True
    match = SEGMENT.match(file.name.rpartition("/")[2])
    if ground.database is None and match:
        return match["segment"] < boundary.segment
    return file.changed_at < boundary.erased_at


def examine(files: Encryption, key: Key, ground: Ground, boundary: Boundary | None) -> Examination:
    """Go through the list; faults of the service or of a folder are reasons, too."""
    found = listed(files)
    old = tuple(file for file in found if is_old(file, boundary, ground))
    young = tuple(file for file in found if not is_old(file, boundary, ground))
    none = Examination(key=key.name, old=old, generations=(), copies=(), shown=0, reasons=())
    if not old and boundary is not None:
        return none
    try:
        return _Asking(files=files, key=key, ground=ground, asked=boundary is not None).answer(old, young)
    except (NotPermitted, StoreFault, HostFault) as fault:
        return Examination(key=key.name, old=old, generations=(), copies=(), shown=0, reasons=(str(fault),))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    files: Encryption
    key: Key
    ground: Ground
    asked: bool

    def answer(self, old: tuple[Opened, ...], young: tuple[Opened, ...]) -> Examination:
        service = self.key.service
        own = service.generations(self.key.name)
        used = tuple(sorted({name for file in old if file.envelope for name in file.envelope.generations} & set(own)))
        copies = service.copies(used)
        reasons = [*self._of_key(own, used, copies), *_first(self._of_files(old, own, copies))]
        sample = old[:: -(-len(old) // (SHOWN_MAX if self.asked else PLANNED_MAX)) or 1]
        if not reasons:
            last = dict[str, bytes]()
            reasons += _first(self._looked_into(old if self.asked else sample, last))
            reasons += [] if reasons else _first(self._opened(sample, used, last))
        reasons += [*_doubtful(copies), *self._elsewhere(used), *self._in_use(young, used)]
        if not reasons and self.asked and self.ground.database is not None:
            reasons += self._without_another(young, set(own) - set(used))
        return Examination(
            key=self.key.name, old=old, generations=used, copies=copies, shown=len(sample), reasons=tuple(reasons)
        )  # fmt: skip

    def _of_key(self, own: Sequence[str], used: Sequence[str], copies: Sequence[KeyCopy]) -> Iterator[str]:
        """Check 1."""
        if not own:
            yield f"{self.key.service.name} has no key {self.key.name}"
        if len(used) > GENERATIONS_MAX:
            yield f"its files are encrypted under more than {GENERATIONS_MAX} generations"
        for copy in copies:
            if copy.bits < BITS_MIN:
                yield f"generation {copy.generation} has {copy.bits} bits, fewer than {BITS_MIN}: it may be broken"
                return

    def _of_files(
        self, old: Sequence[Opened], own: Sequence[str], copies: Sequence[KeyCopy]
    ) -> Iterator[tuple[Opened, str]]:
        """Checks 2 to 4, of each file the first that fails."""
        since = datetime.combine(self.key.since, time(), UTC)
        held = dict[str, datetime]()
        for copy in copies:
            if copy.held_since:
                held[copy.generation] = min(copy.held_since, held.get(copy.generation, copy.held_since))
        for file in old:
            envelope = file.envelope
            if envelope is None:
                yield file, f"{file.fault}{self._as_what(file)}"  # 3
            elif not envelope.generations & set(own):
                yield file, "isn't opened by this key"  # 4
            elif envelope.strange or not envelope.generations <= set(own):
                yield file, "is opened by another key as well"  # 4
            elif file.changed_at < since:
                yield file, f"changed before {self.key.since}, since when all is said to be encrypted"  # 2
            elif any(held[name] > file.changed_at for name in envelope.generations if name in held):
                yield file, "is older than the service's copy of its key: there was another one, or it was plain"  # 2

    def _as_what(self, file: Opened) -> str:
        try:
            kind = kind_of(self.files.path / file.name)
        except OSError:
            return ""
        return f": a {kind.value.replace('-', ' ')}" if kind else ""

    def _looked_into(self, old: Sequence[Opened], last: dict[str, bytes]) -> Iterator[tuple[Opened, str]]:
        """Checks 3 and 5: read each whole; `last` gets the end of what it holds."""
        for file in old:
            if file.envelope is None:
                continue
            try:
                last[file.name], packs = self._read(file)
                if packs:
                    yield file, "holds something that packs, so it isn't encrypted"
            except NoEnvelope as fault:
                yield file, str(fault)
            except OSError as fault:
                yield file, f"can't be read ({fault.strerror})"

    def _read(self, file: Opened) -> tuple[bytes, bool]:
        """Read the content of a file; return its end, and whether anything in it packs."""
        assert file.envelope
        last, packs = b"", False
        with (self.files.path / file.name).open("rb") as handle:
            for block in content(handle, file.envelope):
                last = (last + block[-_LAST:])[-_LAST:]
                packs = packs or _packs(block)
        return last, packs

    def _opened(
        self, sample: Sequence[Opened], used: Collection[str], last: dict[str, bytes]
    ) -> Iterator[tuple[Opened, str]]:
        """Check 6."""
        for file in sample:
            assert file.envelope
            key = content_key(self.key.service, file.envelope, used)
            if key is None or not _ends_well(key, file.envelope.iv, last[file.name]):
                yield file, "names this key, but isn't opened by it"

    def _elsewhere(self, used: Collection[str]) -> Iterator[str]:
        """Check 7, of the other services, whatever a generation is called there."""
        for service in self.key.others if used else ():
            for copy in service.copies(used)[:1]:
                yield (
                    f"another copy of it lies in {service.name} ({copy.place}); remove it there, or name that place in "
                    f"{self.key.service.name} alone"
                )

    def _in_use(self, young: Sequence[Opened], used: Collection[str]) -> Iterator[str]:
        """Check 8."""
        users = [file for file in young if file.envelope and file.envelope.generations & set(used)]
        if users:
            yield (
                f"shared key: {len(users)} files made since the erasure are encrypted under the same generation, first "
                f"{users[0].told}; make a new generation for what stays"
            )
        for folder in self.ground.elsewhere:
            for file in listed(Encryption(store=self.files.store, path=folder)):
                if file.envelope and file.envelope.generations & set(used):
                    yield f"shared key: it opens {file.told} in {folder} as well"
                    break

    def _without_another(self, young: Sequence[Opened], living: Collection[str]) -> Iterator[str]:
        """Check 9: none of the newest is a dump of this database, under a generation that stays."""
        candidates = [file for file in young if file.envelope and file.envelope.generations & set(living)]
        newest = sorted(candidates, key=lambda file: file.changed_at, reverse=True)[:PROBED_MAX]
        if not any(self._is_dump(file, living) for file in newest):
            yield (
                "no dump of what is left stands in the folder, made since the erasure and encrypted under a generation "
                f"that stays (of {len(candidates)} such files, pg_restore reads none as one of this database)"
            )

    def _is_dump(self, file: Opened, living: Collection[str]) -> bool:
        assert file.envelope
        key = content_key(self.key.service, file.envelope, living)
        if key is None:
            return False
        path = self.files.path / file.name
        listing = self._restore(path, file, key, "--list")
        match = _DATABASE.search(listing) if listing is not None else None
        if match is None or match[1].decode(errors="replace") != self.ground.database:
            return False
        return self._restore(path, file, key, f"--file={os.devnull}") is not None

    def _restore(self, path: Path, file: Opened, key: bytes, option: str) -> bytes | None:
        """Have pg_restore read a dump from a pipe, decrypted on the way; what it says, None when it fails."""
        assert file.envelope
        program = find_client("pg_restore", at_least_major=self.ground.major)
        with subprocess.Popen(
            [str(program), option], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as running, path.open("rb") as handle:  # fmt: skip
            assert running.stdin
            assert running.stdout
            whole = True
            try:
                for block in plaintext(handle, file.envelope, key):
                    running.stdin.write(block)
                running.stdin.close()
            except BrokenPipeError:
                pass  # it has read what it wanted
            except (NoEnvelope, OSError):
                whole = False
                running.kill()
            said = running.stdout.read()
            return said if running.wait(RESTORE_SECONDS_MAX) == 0 and whole else None


def _doubtful(copies: Sequence[KeyCopy]) -> Iterator[str]:
    """Check 7."""
    for copy in copies:
        for doubt in copy.doubts:
            yield f"its copy at {copy.place} {doubt}"


def _first(wrong: Iterator[tuple[Opened, str]] | Sequence[tuple[Opened, str]]) -> list[str]:
    """One reason for all files with the same fault: the first of them, and how many."""
    by_why: dict[str, list[Opened]] = {}
    for file, why in wrong:
        by_why.setdefault(why, []).append(file)
    return [
        f"{found[0].told} {why}" + (f", and {len(found) - 1} others" if len(found) > 1 else "")
        for why, found in by_why.items()
    ]


def _packs(block: bytes) -> bool:
    """Whether a part of it packs; the last part may be too short to tell."""
    parts = (block[at : at + PACKED_BYTES] for at in range(0, len(block), PACKED_BYTES))
    return any(
        len(zlib.compress(part, 1)) < len(part) * PACKED_RATIO_MIN for part in parts if len(part) >= PACKED_BYTES_MIN
    )


def _ends_well(key: bytes, iv: bytes, last: bytes) -> bool:
    """Whether the last block ends with a padding (RFC 5652, 6.3)."""
    before = last[:-16] if len(last) == _LAST else iv
    decryptor = Cipher(algorithms.AES(key), modes.CBC(before)).decryptor()
    clear = decryptor.update(last[-16:])
    return 1 <= clear[-1] <= 16 and clear.endswith(bytes([clear[-1]]) * clear[-1])
