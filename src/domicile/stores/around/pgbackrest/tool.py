"""pgBackRest itself, called: every step on a repository is one of its commands, never ours.

So every kind of repository (a folder, a host, a bucket), compression and encryption that it knows is served alike. Its
words stay here: they can quote what it couldn't read, a line of its configuration with the pass phrase in it, or
values; what is told is its error code.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from domicile.errors import HostFault, NotPermitted, StoreFault
from domicile.stores.around.pgbackrest.stanza import (
    NO_BACKUPS,
    NO_DATA,
    NO_PATH,
    OK,
    Stanza,
    Stored,
    parse,
    parse_listing,
)
from domicile.stores.around.running import os_user

PROGRAM: Final = "pgbackrest"
ANSWER_BYTES_MAX: Final = 512 * 1024 * 1024
READ_SECONDS_MAX: Final = 3_600
WORK_SECONDS_MAX: Final = 7 * 24 * 3_600
NEVER: Final = "9999999"
"""As a retention: nothing goes by itself."""
LOCKED: Final = 50
WORDS: Final = {
    29: "its configuration can't be parsed",
    31: "its configuration has an option that is wrong here",
    32: "its configuration has a value that is wrong",
    37: "its configuration lacks an option (the stanza's pg1-path?)",
    38: "its configuration and the cluster don't fit",
    41: "a file can't be opened or isn't there",
    LOCKED: "another pgBackRest works on this stanza; wait for its end",
    53: "a folder of the repository can't be opened: are the rights missing?",
    55: "a file isn't there (its configuration?)",
    56: "the database can't be reached as its configuration says",
    57: "the database refused a query",
    58: "the database refused a query",
    62: "it was stopped for this stanza: `pgbackrest start`",
    75: "there is no such backup",
    82: "WAL did not arrive in the archive in time: look at archive_command",
    95: "decryption failed: is the pass phrase (repo1-cipher-pass) right?",
    102: "its repository isn't there",
}
"""Error codes of pgBackRest (`error.yaml`) that a person can do something about."""
_VALID: Final = re.compile(r"^\s*backup: (?P<label>\S+), status: (?P<status>\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """pgBackRest for one stanza in one repository; as root it runs as the OS user `user`."""

    store: str
    stanza: str
    config: Path
    user: str | None = None

    def version(self) -> str:
        """The program's own word."""
        return self._ask("its version", ["version"], bare=True).decode(errors="replace").strip()[:60]

    def stanzas(self) -> tuple[Stanza, ...]:
        """All stanzas of the repository, also those that can't be read."""
        answer = self._ask("the stanzas", ["--output=json", "info"], anonymous=True)
        try:
            return parse(answer)
        except ValueError as fault:
            raise NotPermitted(
                f"store {self.store}: {fault}: the repository is encrypted and the pass phrase in its configuration is "
                "missing or wrong, or this program is older than 2.45"
            ) from None

    def read(self) -> Stanza:
        """The stanza; NotPermitted where the repository can't be read, StoreFault where it holds no such stanza."""
        found = next((one for one in self.stanzas() if one.name == self.stanza), None)
        if found is None or found.code in {NO_PATH, NO_DATA}:
            raise NotPermitted(
                f"store {self.store}: the repository that {self.config} names holds no stanza {self.stanza}, or isn't "
                "there; check `stanza` and `config`, and that the repository is mounted or reachable from here"
            )
        if len(found.repositories) != 1:
            raise StoreFault(
                f"store {self.store}: {self.config} names {len(found.repositories)} repositories for stanza "
                f"{self.stanza}, and only one can be treated; give a configuration and a store for each of them"
            )
        if found.code not in {OK, NO_BACKUPS}:
            raise NotPermitted(
                f"store {self.store}: stanza {self.stanza} can't be read (status {found.code}): the repository is "
                "encrypted and the pass phrase in its configuration is missing or wrong, it is damaged, or the rights "
                f"are missing; run `pgbackrest --config={self.config} --stanza={self.stanza} info` to see why"
            )
        return found

    def listing(self, folder: str) -> tuple[Stored, ...]:
        """Every file below a folder of the repository."""
        answer = self._ask("the repository's files", ["--output=json", "--recurse", "repo-ls", folder])
        try:
            return parse_listing(answer, folder=folder)
        except ValueError as fault:
            raise StoreFault(f"store {self.store}: {fault}; is this pgBackRest 2.45 or newer?") from None

    def fetch(self, path: str, target: Path) -> bool:
        """Copy one file of the repository, decrypted where it is encrypted; False when it can't be had."""
        with target.open("wb") as out:
            return self._run(["--log-level-file=off", "repo-get", path], out=out, seconds=READ_SECONDS_MAX) == 0

    def restore(self, label: str, target: Path, *, lock: int, until: str | None = None) -> int:
        """Restore one backup into an empty folder and nowhere else; return 0 or the error code.

        What a configuration may say of links, tablespaces and databases to leave out doesn't count: all of the backup
        comes, and all of it below `target`. The open file `lock` stays open as long as the tool works, also without us.
        With `until` a server that is started on it recovers to just before that place of the WAL, and lives from there.
        """
        recovery = ["--type=none"]
        if until is not None:
            recovery = ["--type=lsn", f"--target={until}", "--target-exclusive", "--target-action=promote"]
        options = [
            f"--set={label}", f"--pg1-path={target}/data", f"--tablespace-map-all={target}/tablespaces",
            *recovery, "--archive-mode=off", "--no-delta", "--no-link-all", "--log-level-file=off",
            "--reset-link-map", "--reset-db-include", "--reset-db-exclude", "--reset-recovery-option",
            "--reset-pg1-host",
        ]  # fmt: skip
        return self._run([*options, "restore"], out=subprocess.DEVNULL, seconds=WORK_SECONDS_MAX, lock=lock)

    def restore_command(self, target: Path) -> str:
        """What a server started on such a restore fetches WAL with; it leaves a spool of the configuration's alone."""
        words = [
            PROGRAM, f"--config={self.config}", f"--stanza={self.stanza}", f"--pg1-path={target}/data",
            "--reset-pg1-host", "--no-archive-async", "--log-level-file=off", "archive-get",
        ]  # fmt: skip
        return f'{shlex.join(words).replace("%", "%%")} %f "%p"'

    def start(self, command: Sequence[str | Path], *, lock: int) -> subprocess.Popen[bytes]:
        """Start another program with this one's user, pass phrases and silence; it ends when we do."""
        user = self._os_user()
        guard = shutil.which("setpriv")
        ending = [guard, "--pdeathsig", "QUIT"] if guard else []
        try:
            return subprocess.Popen(
                [*ending, *map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env=_environment(user), cwd="/", start_new_session=True,
                user=user.pw_uid if user else None, group=user.pw_gid if user else None, extra_groups=_groups(user),
                pass_fds=(lock,),
            )  # fmt: skip
        except OSError as fault:
            raise HostFault(f"store {self.store}: {command[0]} can't be run: {fault.strerror}") from None

    def back_up(self) -> None:
        """Take a full backup. Nothing is expired by it, and nothing of one that was broken off goes into it."""
        options = ["--type=full", "--start-fast", "--no-expire-auto", "--no-resume"]
        self._do("a new full backup could not be taken, so no older one is expired", [*options, "backup"])

    def verify(self, label: str) -> bool:
        """Whether the tool has read all files of that backup and found them right."""
        told = self._ask("whether the new backup is whole", ["--output=text", "--verbose", "verify"]).decode(
            errors="replace"
        )
        return {match["label"]: match["status"] for match in _VALID.finditer(told)}.get(label) == "valid"

    def adopt(self, repository: int) -> None:
        """Have backups that lie in the repository without being listed listed; nothing goes."""
        self._do("the list of backups could not be brought up to date", [*_keeping(repository, NEVER), "expire"])

    def expire(self, label: str | None, repository: int, *, fulls: int) -> None:
        """Expire one backup and what depends on it (None: none), and the WAL before the last `fulls` full backups."""
        chosen = [] if label is None else [f"--set={label}"]
        self._do(f"{label or 'WAL'} could not be expired", [*_keeping(repository, str(fulls)), *chosen, "expire"])

    def _do(self, failed: str, arguments: Sequence[str]) -> None:
        code = self._run(arguments, out=subprocess.DEVNULL, seconds=WORK_SECONDS_MAX)
        if code:
            raise StoreFault(f"store {self.store}: {failed}: {self._why(code)}")

    def _ask(self, what: str, arguments: Sequence[str], *, bare: bool = False, anonymous: bool = False) -> bytes:
        with tempfile.TemporaryFile() as out:
            code = self._run(arguments, out=out, seconds=READ_SECONDS_MAX, bare=bare, anonymous=anonymous)
            if code:
                raise NotPermitted(f"store {self.store}: pgBackRest doesn't tell {what}: {self._why(code)}")
            out.seek(0)
            answer = out.read(ANSWER_BYTES_MAX + 1)
        if len(answer) > ANSWER_BYTES_MAX:
            raise StoreFault(f"store {self.store}: pgBackRest's answer is larger than {ANSWER_BYTES_MAX} bytes")
        return answer

    def _why(self, code: int) -> str:
        words = WORDS.get(code, "run it by hand to see why")
        return f"{words} (pgBackRest's error {code}; --config={self.config} --stanza={self.stanza})"

    def _run(  # noqa: PLR0913 - a program, its ends, and how it is called
        self, arguments: Sequence[str], *, out: IO[bytes] | int, seconds: int, bare: bool = False,
        anonymous: bool = False, lock: int | None = None,
    ) -> int:  # fmt: skip
        """Run the program; return its exit code. What it says beside its answer is thrown away (P8)."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise HostFault(
                f"store {self.store}: no {PROGRAM} on this machine; install the one that fills the repository"
            )
        where = [] if bare else [f"--config={self.config}", "--log-level-console=off", "--log-level-stderr=off"]
        which = [] if bare or anonymous else [f"--stanza={self.stanza}"]
        user = self._os_user()
        try:
            return subprocess.run(
                [program, *where, *which, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL,
                env=_environment(user), cwd="/", timeout=seconds, check=False, user=user.pw_uid if user else None,
                group=user.pw_gid if user else None, extra_groups=_groups(user),
                pass_fds=() if lock is None else (lock,),
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            raise StoreFault(
                f"store {self.store}: pgBackRest took longer than {seconds} s; look what it does"
            ) from None
        except OSError as fault:
            raise HostFault(f"store {self.store}: {program} can't be run: {fault.strerror}") from None

    def _os_user(self) -> pwd.struct_passwd | None:
        """The user that the program is run as; None: ourselves. HostFault when that can't be."""
        return os_user(self.user, store=self.store, program="pgBackRest")

    def owner(self) -> tuple[int, int] | None:
        """User and group that what is restored must belong to; None: ourselves."""
        user = self._os_user()
        return (user.pw_uid, user.pw_gid) if user else None

    def refuse_root(self) -> None:
        """Raise HostFault where files of root's would come into a repository of somebody else's."""
        if os.geteuid() == 0 and self.user is None:
            raise HostFault(
                f"store {self.store}: as root, say which OS user the repository belongs to (`user:`), so that no file "
                "in it becomes root's and the archive goes on"
            )


def _keeping(repository: int, fulls: str) -> list[str]:
    """Retentions by which nothing but WAL before the last `fulls` full backups goes; a configuration's don't count."""
    rule = f"repo{repository}-retention"
    return [
        f"--{rule}-full={NEVER}", f"--{rule}-full-type=count", f"--{rule}-diff={NEVER}", f"--{rule}-archive={fulls}",
        f"--{rule}-archive-type=full", f"--reset-{rule}-history",
    ]  # fmt: skip


def _environment(user: pwd.struct_passwd | None) -> dict[str, str]:
    """Our environment, as the program may get pass phrases by it; as another user, with that user's home."""
    own = {**os.environ, "LC_ALL": "C"}  # noqa: TID251
    return {**own, "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name} if user else own


def _groups(user: pwd.struct_passwd | None) -> list[int] | None:
    return os.getgrouplist(user.pw_name, user.pw_gid) if user else None
