"""After a restore: rows that were erased and came back are found by their commitments, and erased again.

A backup from before the erasure brings erased people back, wherever it is restored. The commitments were written before
the first row went; with them and the file's connection string alone the database is asked. What goes again is in the
log before it goes (P7), and the certificate that was the last word there no longer is: the next `domicile apply` treats
and sweeps the source anew, and states another one. Objects that came back are known by the book of the run, and told: a
person removes them, as they do everything in a bucket that was not compared under clearance, and `apply` waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from domicile.erase import order
from domicile.errors import Refused, Waiting
from domicile.evidence.commitments import Commitments, destroy_key, has_key
from domicile.model import Manifest, Scope
from domicile.objects import Objects
from domicile.objects.book import Book
from domicile.record import Record
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace
from domicile.run import again, stating
from domicile.stores.postgres.returning import NO_TABLE, Returned, committed, erase_found, erased_lines, find
from domicile.stores.postgres.session import application_path, connect, faults
from domicile.stores.postgres.source import PostgresSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectsBack:
    """Versions and incomplete uploads that a store lists under keys of movers' objects, or why it can't be asked."""

    store: str
    count: int
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What a look after a restore found, by dataset; `erased` says that the rows went again. Objects only come back."""

    found: tuple[Returned, ...]
    committed: int
    erased: bool
    objects: tuple[ObjectsBack, ...] = ()

    @property
    def rows(self) -> int:
        """All rows that came back."""
        return sum(one.rows for one in self.found)

    @property
    def unasked(self) -> tuple[Returned, ...]:
        """The datasets that can't be asked; one whose table isn't there has nothing to tell."""
        return tuple(one for one in self.found if one.missing and one.missing != NO_TABLE)

    @property
    def object_count(self) -> int:
        """All versions and uploads that are there again."""
        return sum(one.count for one in self.objects)


def commit(record: Record, source: PostgresSource, scope: Scope, manifest: Manifest) -> None:
    """Commit to every row that is about to be erased, once, before the first one goes; and state how many there are."""
    if record.journal.get("committed", int) is not None:
        return
    commitments = Commitments.make(record.commitments, record.host)
    try:
        with faults(source.name, "commit to the rows about to be erased"), application_path(source.connection):
            for name in dict.fromkeys(name for name, *_ in order(scope, manifest.slices)):
                dataset = scope.dataset(name)
                commitments.write(committed(source.connection, dataset), erased_lines(source.connection, dataset))
        count = len(commitments)
    finally:
        commitments.close()
    record.state(stating.commitment_statement(record.ledger.plan().plan, source.name, count))
    record.journal.put("committed", count, int)


def look(record: Record, dsn: str, *, store: str, yes: bool) -> Guarded:
    """Look for what came back into a database; with `yes` erase it again, all of it or nothing.

    Raise Refused when nothing was erased yet, or the key of the commitments was destroyed.
    """
    if not record.journal.get("erase_done", bool):
        raise Refused("the erasure isn't done: until then a restore brings nobody back who should be gone")
    commitments = Commitments.open(record.commitments)
    connection = connect(dsn, store=store)
    try:
        with faults(store, "look for rows that came back"):
            return _look(record, connection, commitments, yes=yes)
    finally:
        connection.close()
        commitments.close()


def _look(record: Record, connection: psycopg.Connection[Any], commitments: Commitments, *, yes: bool) -> Guarded:
    tables = tuple(commitments.tables())
    with application_path(connection), connection.transaction(force_rollback=not yes):
        found = find(connection, tables, commitments.fate, lock=yes)
        guarded = Guarded(found=found, committed=len(commitments), erased=yes and any(one.rows for one in found))
        if guarded.erased:
            again.forget_found(record.journal)  # first: what was swept before holds no longer, whatever becomes of this
            _state(record, found, done=False)
            erase_found(connection, tables)
    if guarded.erased:
        _state(record, found, done=True)
    elif yes:
        _close_returns(record)
    return guarded


def keep_or_forget(record: Record, objects: Objects, *, is_final: bool) -> None:
    """Keep the objects' book as long as a restore can be looked after, or somebody comes back for a copy."""
    record.journal.put("final", value=is_final, kind=bool)
    if is_final:
        objects.forget_under_way()
        if not has_key(record.commitments):
            objects.forget()


def look_at_objects(record: Record, objects: Objects, *, yes: bool) -> tuple[ObjectsBack, ...]:
    """Look for erased objects that are there again; with `yes` state it, so that the next `apply` looks at all anew."""
    found = tuple(
        ObjectsBack(store=name, count=count, missing=missing) for name, count, missing in objects.there_again()
    )
    back = [one for one in found if one.count]
    if yes and back:
        again.forget_found(record.journal)
        plan, moment = record.ledger.plan().plan, record.now()
        record.state_all([stating.objects_back_statement(plan, one.store, one.count, moment) for one in back])
    return found


def destroy(workspace: Workspace) -> None:
    """Destroy the key of the commitments, for good; where nothing is left to be done, the objects' book goes, too."""
    destroy_key(workspace.commitments)
    journal = Journal(workspace.journal)
    try:
        if journal.get("final", bool):
            Book(workspace.objects).forget()
    finally:
        journal.close()


def refuse_returned(record: Record) -> None:
    """Raise Waiting while the log tells of rows that came back, and not that they were erased again."""
    open_ones = stating.still_returned(record.ledger.statements())
    if open_ones:
        raise Waiting(
            f"{', '.join(open_ones)}: erased rows came back with a restore, and their erasure was broken off; run "
            "`domicile restore-guard --yes`, then `domicile apply --yes`"
        )


def _close_returns(record: Record) -> None:
    """State of returns whose erasure was broken off that nothing of them is there."""
    plan, moment = record.ledger.plan().plan, record.now()
    for dataset in stating.still_returned(record.ledger.statements()):
        record.state(stating.return_statement(plan, dataset, 0, moment, done=True))


def _state(record: Record, found: tuple[Returned, ...], *, done: bool) -> None:
    plan = record.ledger.plan().plan
    moment = record.now()
    record.state_all([
        stating.return_statement(plan, one.dataset, one.rows, moment, done=done) for one in found if one.rows
    ])  # fmt: skip
