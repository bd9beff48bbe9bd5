"""The folder of a programme: where the plan, the journal, the evidence and what comes of them lie.

```
domicile.yaml
.domicile/           0700
  plan.json          what was planned, with its digest
  journal.db         private record (0600)
  erased.db, .key    keyed commitments to what was erased, and their key (0600); see `domicile restore-guard`
  receipts/          people's receipts: nonces, and rows by keyed digests of people's keys (0600); gone with that key
  objects.db         which objects go where, by keyed digests of their keys (0600); gone with that key
  objects-under-way.db   which came home while people write (0600); gone with the certificate
  unruled-STORE.txt, left-, unlike-, removed-   keys that the operator has to look at (0600); in no bundle
  engine.key         signs statements and checkpoints, or says where the key lies that does (0600)
  engine.pub         its public half; engine.key.next is a key that is about to take over
  evidence/          the log (public), and predicates too large for an entry
  approvals/         what approvers signed
  key-changes/       what approvers signed of keys that are lost, as long as too few did
  seals/             seals of canaries; once opened, the words (0600)
  bundle.zip         everything the auditor needs
  felt.json          what somebody beside the engine measured of the service; shown in the report
  report.html
```
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from domicile.errors import BadFile, EvidenceFault, HostFault, Refused
from domicile.evidence.keys import (
    KEY_TEXT_CHARS_MAX,
    SEED_BYTES,
    Signer,
    Verifier,
    load_signer,
    load_verifier,
    save_signer,
)
from domicile.evidence.signers import Place, open_place, read_place, write_place
from domicile.evidence.tlog.checkpoint import open_checkpoint
from domicile.host import Host, sync_folder, write_whole

FOLDER = ".domicile"
APPROVALS_MAX = 64
APPROVAL_BYTES_MAX = 64 * 1024


class Workspace:
    """Paths beside a `domicile.yaml`; nothing is made before it is needed."""

    def __init__(self, config_path: Path) -> None:
        self.config_path = config_path
        self.base = config_path.resolve().parent
        self.folder = self.base / FOLDER
        self.plan = self.folder / "plan.json"
        self.journal = self.folder / "journal.db"
        self.key = self.folder / "engine.key"
        self.key_next = self.folder / "engine.key.next"
        self.public = self.folder / "engine.pub"
        self.commitments = self.folder / "erased.db"
        self.receipts = self.folder / "receipts"
        self.objects = self.folder / "objects.db"
        self.objects_under_way = self.folder / "objects-under-way.db"
        self.evidence = self.folder / "evidence"
        self.approvals = self.folder / "approvals"
        self.key_changes = self.folder / "key-changes"
        self.seals = self.folder / "seals"
        self.bundle = self.folder / "bundle.zip"
        self.felt = self.folder / "felt.json"
        self.report = self.folder / "report.html"

    def make(self) -> None:
        """Make the folder, for its owner only."""
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self.approvals.mkdir(mode=0o700, exist_ok=True)
            self.seals.mkdir(mode=0o700, exist_ok=True)
            self.evidence.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self.base)
            sync_folder(self.folder)
        except OSError as fault:
            raise HostFault(f"{self.folder} can't be made ({fault.strerror}); check rights and space") from None

    def write(self, path: Path, data: bytes) -> None:
        """Put a file in place whole, or not at all."""
        try:
            write_whole(path, data)
        except OSError as fault:
            raise HostFault(f"{path} can't be written ({fault.strerror}); check rights and space") from None

    def read(self, path: Path, *, bytes_max: int, remedy: str) -> bytes:
        """Read a file whole; raise BadFile with the remedy when it is not there or too large."""
        try:
            with path.open("rb") as source:
                data = source.read(bytes_max + 1)
        except OSError as fault:
            raise BadFile(f"{path} can't be read ({fault.strerror}); {remedy}") from None
        if len(data) > bytes_max:
            raise BadFile(f"{path} is larger than {bytes_max} bytes; {remedy}")
        return data

    def signer(self, programme: str, host: Host, place: Place | None = None) -> Signer:
        """The engine's key, made when first needed, or opened where the file said that it lies when that was.

        A key that took over since (docs/keys.md) is the one from then on, whatever the file says.
        """
        self.promote()
        name = f"domicile/{programme}"
        if not self.key.exists():
            self.begin_key(self.key, name, host, place)
        found = self._key_at(self.key, name, host)
        if not self.public.exists():
            self.write(self.public, f"{found.verifier.vkey}\n".encode())
        return found

    def begin_key(self, path: Path, name: str, host: Host, place: Place | None) -> None:
        """Make a new key, or note where a given one lies, whole or not at all."""
        if place is None:
            save_signer(path, Signer(name=name, seed=host.entropy(SEED_BYTES)))
            return
        verifier = open_place(place, name=name, host=host, base=self.base).verifier
        self.write(path, write_place(place, verifier).encode())

    def next_signer(self, programme: str, host: Host) -> Signer:
        """The key that is about to take over."""
        return self._key_at(self.key_next, f"domicile/{programme}", host)

    def log_verifier(self) -> Verifier:
        """The public half of the engine's key, whether the key itself can be had or not."""
        self.promote()
        if not self.public.exists():
            raise BadFile(
                f"{self.public} is missing, so nobody can say which key is the log's; before the first `domicile plan` "
                "there is none, later copy keys/log.vkey of the last bundle there"
            )
        return load_verifier(self.public)

    def _key_at(self, path: Path, name: str, host: Host) -> Signer:
        held = read_place(self._key_line(path))
        if held is None:
            return load_signer(path)
        return open_place(held[0], name=name, host=host, base=self.base, verifier=held[1])

    def promote(self) -> None:
        """End a change of the engine's key that may have been broken off, if the log is signed by the next one."""
        if not self.key_next.exists():
            return
        held = read_place(self._key_line(self.key_next))
        verifier = load_signer(self.key_next).verifier if held is None else held[1]
        try:
            open_checkpoint((self.evidence / "log" / "checkpoint").read_bytes(), verifier)
        except (EvidenceFault, OSError):
            return
        self.write(self.public, f"{verifier.vkey}\n".encode())
        with suppress(FileNotFoundError):  # another command ended the change meanwhile
            self.key_next.replace(self.key)
        sync_folder(self.folder)

    def _key_line(self, path: Path) -> str:
        data = self.read(path, bytes_max=KEY_TEXT_CHARS_MAX * 4, remedy="restore it from its safe copy")
        return data.decode("ascii", "replace")

    def approval_files(self) -> Iterator[tuple[Path, bytes]]:
        """What approvers signed and left here, each with its place; raise BadFile when that can't be."""
        return self._signed(self.approvals)

    def key_change_files(self) -> Iterator[tuple[Path, bytes]]:
        """What approvers signed of lost keys and left here, each with its place; raise BadFile when that can't be."""
        return self._signed(self.key_changes)

    def _signed(self, folder: Path) -> Iterator[tuple[Path, bytes]]:
        paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
        if len(paths) > APPROVALS_MAX:
            raise BadFile(f"{folder} holds {len(paths)} files, at most {APPROVALS_MAX} are read; remove some")
        for path in paths:
            yield path, self.read(path, bytes_max=APPROVAL_BYTES_MAX, remedy="remove it")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second engine out for as long as this one works."""
        self.make()
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Refused(f"another domicile works in {self.folder}; wait for it, or end it") from None
            yield
        finally:
            os.close(handle)
