"""Server logs: the collector's files from before the end of a treatment, of the source and of its standbys.

The server begins other files first; those that it wrote before go then, by the hand that the file names. Only what
`log_directory` and `log_filename` tell is the collector's; never a current file, a link, or one that the server lists
otherwise than it lies here. What is about to go is in the log before it goes (P7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg

from domicile.config import Config
from domicile.config.custody import ServerLogRule
from domicile.errors import NotPermitted, Waiting
from domicile.events import Listener, Noted
from domicile.horizon.standbys import Standbys
from domicile.host import Host
from domicile.model import Finding
from domicile.stores.around import Custody
from domicile.stores.around.folder import Folder
from domicile.stores.postgres.copies import CopyKind, Outcome, Treatment
from domicile.stores.postgres.horizon.logs import LogFile, Rotated, local_folder, log_files, old_files, rotate
from domicile.stores.postgres.horizon.rights import may_rotate_log
from domicile.stores.postgres.session import faults
from domicile.stores.postgres.source import PostgresSource

COPY = CopyKind.SERVER_LOG.value
NOT_TOLD = "the server doesn't tell which log file it writes, so none could be spared"


class Removing(Protocol):
    """Told of a copy, how many things of it go, whether they are gone now, and of which they are."""

    def __call__(self, copy: str, things: int, done: bool, *, made: str = "") -> None:
        """State it."""
        ...


class ServerLogs:
    """The logs of which the file says what becomes of them."""

    def __init__(
        self, source: PostgresSource, config: Config, *, standbys: Standbys, host: Host, listener: Listener
    ) -> None:
        self._source = source
        self._config = config
        self._standbys = standbys
        self._host = host
        self._listener = listener
        self._rules = {
            name: rule.server_log
            for name, rule in config.databases.items()
            if rule.server_log and (name == config.source or name in config.standbys)
        }

    def method(self, store: str, otherwise: str) -> str:
        """What a plan says of this store's log."""
        rule = self._rules.get(store)
        if rule is None:
            return otherwise
        return self._custody(rule).method(
            "log files from before the end of the treatment", " once the server has begun others"
        )

    def foreseen(self) -> Iterator[Finding]:
        """Why old log files won't go by the engine's hand, as far as that is known before."""
        for store, rule in self._rules.items():
            with self._opened(store, "look for its log") as conn:
                why = self._unreachable(conn, store, rule) if rule.removed_by == "engine" else None
            if why:
                yield Finding(
                    kind="log stays", where=f"{store}/{COPY}", count=1, rule="server_log",
                    text=f"the engine can't remove log files: {why}",
                    remedy="remove them by hand after the erasure; `apply` waits for it",
                )  # fmt: skip

    def leaving(self) -> dict[str, tuple[str, ...]]:
        """By copy, the files that lie there now and that the engine would remove after the erasure."""
        found = {}
        for store, rule in self._rules.items():
            if rule.removed_by == "engine" and not self._custody(rule).blocked_until:
                with self._opened(store, "list its log") as conn:
                    if not may_rotate_log(conn):
                        found[f"{store}/{COPY}"] = tuple(item.name for item in log_files(conn) or ())
        return found

    def rotate(self, outcomes: Mapping[str, Sequence[Outcome]], kept: Mapping[str, Rotated]) -> dict[str, Rotated]:
        """Have each server begin other files, unless `kept` tells that it did; those whose log can't be seen don't."""
        done = dict(kept)
        for store in self._rules:
            if store in done or not any(_is_open(item, done, store) for item in outcomes.get(store, ())):
                continue
            with self._opened(store, "rotate its log") as conn:
                made = None if may_rotate_log(conn) else rotate(conn)
            if made is not None:
                done[store] = made
        return done

    def treat(
        self, store: str, outcomes: Sequence[Outcome], rotated: Mapping[str, Rotated], *, removing: Removing, yes: bool
    ) -> tuple[Outcome, ...]:
        """The store's outcomes, that of its log as it is now: with `yes` what is the engine's to remove is removed."""
        rule = self._rules.get(store)
        if rule is None or not any(item.copy == COPY for item in outcomes):
            return tuple(outcomes)
        with self._opened(store, "treat its log") as conn:
            return tuple(
                self._treat(conn, store, rule, rotated.get(store), removing=removing, yes=yes)
                if _is_open(item, rotated, store)
                else item
                for item in outcomes
            )

    def _treat(  # noqa: PLR0913 - one server's log, and what may be done to it
        self, conn: psycopg.Connection[Any], store: str, rule: ServerLogRule, rotated: Rotated | None, *,
        removing: Removing, yes: bool,
    ) -> Outcome:  # fmt: skip
        if rotated is None:
            missing = may_rotate_log(conn)
            why = f"the role lacks {', '.join(missing)}" if missing else NOT_TOLD
            return Outcome(copy=COPY, treatment=Treatment.NOT_PERMITTED, why=why, remedy="see `domicile doctor`")
        old = old_files(conn, rotated)
        if not old:
            return self._none_left(conn, rotated)
        made = f"{len(old)} log files from before {_spelt(rotated.at)}"
        by_hand = f"remove them where the server runs, first {old[0].name}; then `domicile apply` again"
        if until := self._custody(rule).blocked_until:
            why = f"{made}, to be kept until {until}"
            return Outcome(copy=COPY, treatment=Treatment.BLOCKED, why=why, until=until)
        if rule.removed_by == "operator":
            return Outcome(copy=COPY, treatment=Treatment.HELD, why=f"{made}, still there", remedy=by_hand)
        if doubt := self._unreachable(conn, store, rule):
            return Outcome(copy=COPY, treatment=Treatment.HELD, why=f"{made}: {doubt}", remedy=by_hand)
        if not yes:
            remedy = "`domicile apply --yes` removes them"
            return Outcome(copy=COPY, treatment=Treatment.HELD, why=f"{made}, still there", remedy=remedy)
        reasons = self._remove(conn, store, old, rotated, removing=removing)
        if reasons:
            why = f"{len(reasons)} of {made} could not be removed: {next(iter(reasons.values()))}"
            return Outcome(copy=COPY, treatment=Treatment.HELD, why=why, remedy=by_hand)
        return Outcome(copy=COPY, treatment=Treatment.DONE, why=f"{made}, removed{_goes_on(rotated)}")

    @staticmethod
    def _none_left(conn: psycopg.Connection[Any], rotated: Rotated) -> Outcome:
        """Of a log of which no older file is there: there was none, or somebody took it."""
        if log_files(conn) is None:
            why = "log_filename gives names that can't be told from others', so none is called the collector's"
            return Outcome(copy=COPY, treatment=Treatment.OBSERVED, why=f"{why}; the search decides")
        if not rotated.older:
            why = f"no older log file lay there{_goes_on(rotated)}; the search decides"
            return Outcome(copy=COPY, treatment=Treatment.OBSERVED, why=why)
        why = f"{rotated.older} log files from before {_spelt(rotated.at)} are gone{_goes_on(rotated)}"
        return Outcome(copy=COPY, treatment=Treatment.GONE, why=why)

    def _remove(
        self, conn: psycopg.Connection[Any], store: str, old: Sequence[LogFile], rotated: Rotated, *, removing: Removing
    ) -> dict[str, str]:
        """Remove the files, said before and after (P7); those that are left, by the server's own list, and why."""
        found = local_folder(conn, sql_only=False)
        if found is None:
            raise RuntimeError("a folder that can't be reached was asked for before")
        folder = Folder(store=store, path=found[0])
        made = f"log files last written before {_spelt(rotated.at)}"
        self._listener(Noted(text=f"{store}: {len(old)} old log files are being removed"))
        removing(f"{store}/{COPY}", len(old), False, made=made)  # noqa: FBT003 - Removing's shape
        reasons = {item.name: _other(folder.path / item.name, item) or folder.remove(item.name) for item in old}
        folder.sync()
        there = {item.name for item in old_files(conn, rotated)}
        left = {name: why or "it is still there" for name, why in reasons.items() if why or name in there}
        removing(f"{store}/{COPY}", 0, not left, made=made)
        return left

    def _unreachable(self, conn: psycopg.Connection[Any], store: str, rule: ServerLogRule) -> str | None:
        """Why the engine can't, or shouldn't, remove files from this server's folder."""
        found = local_folder(conn, sql_only=self._config.databases[store].files == "sql")
        if found is None:
            return "their folder isn't reached from here, and the server has no function that removes files"
        if not found[1] and not rule.alone:
            return "their folder lies outside of the data directory, and the file doesn't say `alone`"
        try:
            Folder(store=store, path=found[0]).refuse_missing()
        except NotPermitted as fault:
            return str(fault)
        return None

    def refuse_waiting(self, outcomes: Mapping[str, Sequence[Outcome]], rotated: Mapping[str, Rotated]) -> None:
        """Raise Waiting while old log files lie there that somebody can remove."""
        for store in self._rules:
            for item in outcomes.get(store, ()):
                waited = {Treatment.HELD, Treatment.NOT_PERMITTED} if store in rotated else {Treatment.NOT_PERMITTED}
                if item.copy == COPY and item.treatment in waited:
                    raise Waiting(
                        f"{store}/{COPY}: {item.why}; to do: {item.remedy}. `domicile certify` certifies it as it is: "
                        "`present` or `unknown`"
                    )

    def judged(self, store: str, outcomes: Sequence[Outcome], removed: Sequence[str]) -> tuple[Outcome, ...]:
        """The same, where what is gone from this store's log is done if the log of the run tells that we removed it."""
        return tuple(
            replace(item, treatment=Treatment.DONE)
            if item.copy == COPY and item.treatment is Treatment.GONE and f"{store}/{COPY}" in removed
            else item
            for item in outcomes
        )

    def _custody(self, rule: ServerLogRule) -> Custody:
        day = rule.keep_until
        until = day if day and self._host.now().date() < day else None
        return Custody(by_engine=rule.removed_by == "engine", blocked_until=until)

    @contextmanager
    def _opened(self, store: str, what: str) -> Iterator[psycopg.Connection[Any]]:
        if store != self._source.name:
            with self._standbys.opened(store, what) as conn:
                yield conn
            return
        with faults(store, what):
            yield self._source.connection


def _is_open(outcome: Outcome, rotated: Mapping[str, Rotated], store: str) -> bool:
    """Whether this is a log that is ours to treat: of a server that was treated, which writes it where it is searched.

    That of a standby that lags, or is none any more, is left alone.
    """
    untreated = outcome.treatment in {Treatment.OBSERVED, Treatment.NOT_PERMITTED}
    return outcome.copy == COPY and (untreated or store in rotated)


def _other(path: Path, listed: LogFile) -> str | None:
    """Why a file here isn't the one that the server lists; None when it is, or is gone."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if (status.st_size, int(status.st_mtime)) == (listed.bytes, int(listed.written_at.timestamp())):
        return None
    return "it isn't the file that the server lists"


def _goes_on(rotated: Rotated) -> str:
    return f"; the server goes on in {rotated.goes_on_in}, older lines and all" if rotated.goes_on_in else ""


def _spelt(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"
