"""restic itself, called: every step on a repository is one of its commands, never ours.

Its words stay here: they quote names of files and paths; what is told is a reason from a closed list. Nothing of our
own environment that speaks of a repository reaches it, and the password goes by the environment of the process alone.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Final, TypeVar

from domicile.errors import HostFault, NotPermitted, StoreFault
from domicile.stores.around.restic.listing import (
    ID,
    Snapshot,
    nothing_to_prune,
    parse_index,
    parse_number,
    parse_size,
    parse_snapshots,
)
from domicile.stores.around.running import os_user

PROGRAM: Final = "restic"
ANSWER_BYTES_MAX: Final = 512 * 1024 * 1024
WORDS_BYTES_MAX: Final = 64 * 1024
READ_SECONDS_MAX: Final = 3_600
WORK_SECONDS_MAX: Final = 7 * 24 * 3_600
FORGOTTEN_AT_ONCE: Final = 500
PRUNE: Final = ("prune", "--max-unused", "0")
"""Without the bound, restic leaves up to 5 % of what nobody refers to any more where it is."""
ONLY_READ: Final = ("--no-lock",)
"""For what looks and needs no data: it waits for nobody, and the right to write isn't needed."""
LOCKED: Final = (
    "another restic works on the repository (a backup, a prune?); wait for its end. If none runs any more, "
    "`restic unlock` takes its lock away"
)
_REASONS: Final = (
    (b"wrong password or no key found", "the password is wrong"),
    (b"Is there a repository at the following location", "there is no repository; check `repository`, and the mount"),
    (b"unable to open config file", "there is no repository; check `repository`, and the mount"),
    (b"permission denied", "a file of it can't be read or written: run as its owner, or root with `user`"),
    (b"no space left", "its disk is full; make room"),
    (b"read-only file system", "its disk is mounted to be read only"),
)
"""What restic says → what a person can do about it."""
_LOCKED_WORDS: Final = b"repository is already locked"
_Answer = TypeVar("_Answer")


class Busy(StoreFault):
    """Somebody else's restic holds the repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """restic for one repository in a folder of this machine; as root it runs as the OS user `user`."""

    store: str
    repository: Path
    password: str = field(repr=False)
    user: str | None = None

    def version(self) -> str:
        """The program's own word."""
        words = self._ask("its version", ["version"]).decode(errors="replace").split()
        return " ".join(words[:2])[:60]

    def number(self) -> str:
        """The number that the repository got when it was made."""
        return self._parsed("what it is", ["cat", "config", *ONLY_READ], parse_number)

    def snapshots(self) -> tuple[Snapshot, ...]:
        """All snapshots, the oldest first."""
        return self._parsed("its snapshots", ["snapshots", "--json", *ONLY_READ], parse_snapshots)

    def indexed(self) -> frozenset[str]:
        """The packs that an index of the repository names."""
        listed = self._ask("its indexes", ["list", "index", *ONLY_READ]).decode(errors="replace").split()
        packs: frozenset[str] = frozenset()
        for name in listed:
            if ID.fullmatch(name):
                packs |= self._parsed("what an index names", ["cat", "index", name, *ONLY_READ], parse_index)
        return packs

    def size(self, snapshot: str) -> int:
        """How many bytes a restore of it takes."""
        command = ["stats", "--json", "--mode", "restore-size", snapshot, *ONLY_READ]
        return self._parsed("how large a snapshot is", command, parse_size)

    def is_pruned(self) -> bool:
        """Whether every byte of every indexed pack is of a snapshot that is listed."""
        return nothing_to_prune(self._ask("what is in use", [*PRUNE, "--dry-run"], seconds=WORK_SECONDS_MAX))

    def is_whole(self) -> bool:
        """Whether restic's `check` finds nothing wrong with indexes, packs and trees."""
        return self._run(["check"], out=subprocess.DEVNULL, seconds=WORK_SECONDS_MAX)[0] == 0

    def read_through(self, snapshot: str) -> bool:
        """Whether all of a snapshot can be read back: every byte of it, each held against its own digest."""
        return self._run(["dump", snapshot, "/"], out=subprocess.DEVNULL, seconds=WORK_SECONDS_MAX)[0] == 0

    def restore(self, snapshot: str, target: Path, *, lock: int) -> bool:
        """Restore one into an empty folder; False where something of it couldn't be.

        The open file `lock` stays open as long as the tool works, also without us.
        """
        command = ["restore", snapshot, "--target", str(target)]
        return self._run(command, out=subprocess.DEVNULL, seconds=WORK_SECONDS_MAX, lock=lock)[0] == 0

    def unlock(self) -> None:
        """Take away locks of which restic itself says that nobody holds them any more."""
        self._do("stale locks could not be taken away", ["unlock"])

    def forget(self, snapshots: Sequence[str]) -> None:
        """Take these snapshots, and no others, from the list; what they hold stays until `prune`."""
        names = iter(snapshots)
        while some := list(islice(names, FORGOTTEN_AT_ONCE)):
            self._do("snapshots could not be forgotten", ["forget", *some])

    def prune(self) -> None:
        """Remove everything that no snapshot refers to, to the last byte."""
        self._do("what is forgotten could not be pruned", [*PRUNE])

    def _parsed(self, what: str, arguments: Sequence[str], parse: Callable[[bytes], _Answer]) -> _Answer:
        try:
            return parse(self._ask(what, arguments))
        except ValueError as fault:
            raise StoreFault(f"store {self.store}: {fault}; is this restic 0.14 or newer?") from None

    def _do(self, failed: str, arguments: Sequence[str]) -> None:
        code, words = self._run(arguments, out=subprocess.DEVNULL, seconds=WORK_SECONDS_MAX)
        if code:
            raise StoreFault(f"store {self.store}: {failed}: {self._why(words)}")

    def _ask(self, what: str, arguments: Sequence[str], *, seconds: int = READ_SECONDS_MAX) -> bytes:
        with tempfile.TemporaryFile() as out:
            code, words = self._run(arguments, out=out, seconds=seconds)
            if code:
                raise NotPermitted(f"store {self.store}: restic doesn't tell {what}: {self._why(words)}")
            out.seek(0)
            answer = out.read(ANSWER_BYTES_MAX + 1)
        if len(answer) > ANSWER_BYTES_MAX:
            raise StoreFault(f"store {self.store}: restic's answer is larger than {ANSWER_BYTES_MAX} bytes")
        return answer

    def _why(self, words: bytes) -> str:
        found = next((reason for said, reason in _REASONS if said in words), "run it by hand to see why")
        return f"{found} (--repo={self.repository})"

    def _run(
        self, arguments: Sequence[str], *, out: IO[bytes] | int, seconds: int, lock: int | None = None
    ) -> tuple[int, bytes]:
        """Run the program; return its exit code and the beginning of its words. Busy where somebody holds a lock."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise HostFault(f"store {self.store}: no {PROGRAM} on this machine; install the one that fills it")
        user = self._os_user()
        with tempfile.TemporaryFile() as err:
            try:
                code = subprocess.run(
                    [program, f"--repo={self.repository}", "--no-cache", *arguments], stdin=subprocess.DEVNULL,
                    stdout=out, stderr=err, env=self._environment(user), cwd="/", timeout=seconds, check=False,
                    user=user.pw_uid if user else None, group=user.pw_gid if user else None,
                    extra_groups=os.getgrouplist(user.pw_name, user.pw_gid) if user else None,
                    pass_fds=() if lock is None else (lock,),
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                raise StoreFault(
                    f"store {self.store}: restic took longer than {seconds} s; look what it does"
                ) from None
            except OSError as fault:
                raise HostFault(f"store {self.store}: {program} can't be run: {fault.strerror}") from None
            err.seek(0)
            words = err.read(WORDS_BYTES_MAX)
        if code and _LOCKED_WORDS in words:
            raise Busy(f"store {self.store}: {LOCKED} (--repo={self.repository})")
        return code, words

    def _environment(self, user: pwd.struct_passwd | None) -> dict[str, str]:
        """Our environment without what it may say to restic, and with the password."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("RESTIC_")}  # noqa: TID251
        own |= {"LC_ALL": "C", "RESTIC_PASSWORD": self.password}
        return {**own, "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name} if user else own

    def _os_user(self) -> pwd.struct_passwd | None:
        """The user that the program is run as; None: ourselves. HostFault when that can't be."""
        return os_user(self.user, store=self.store, program="restic")

    def owner(self) -> tuple[int, int] | None:
        """User and group that what is restored must belong to; None: ourselves."""
        user = self._os_user()
        return (user.pw_uid, user.pw_gid) if user else None

    def refuse_other_owner(self) -> None:
        """Raise HostFault where files of ours would come into a repository of somebody else's."""
        user = self._os_user()
        ours = user.pw_uid if user else os.geteuid()
        try:
            theirs = self.repository.stat().st_uid
        except OSError:
            return  # restic says it better
        if ours != theirs:
            raise HostFault(
                f"store {self.store}: {self.repository} belongs to another OS user (number {theirs}); run as that "
                "user, or as root with `user`, so that its backups go on"
            )
