"""From the comparison under the fence to the erased rows: what is asked before a slice may leave, in its order (P2).

    equality → restores → approvals → clearance → erase

Holds no rule: `verify`, `cutover` and `erase` do. It joins them with the stores, the log and the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from domicile import cutover, erase, verify
from domicile.config import Config
from domicile.config.custody import CopiesRule, RepositoryRule
from domicile.config.policy import Approvals
from domicile.errors import BadFile, NoClearance, NotEqual, Waiting
from domicile.events import Advanced, Noted
from domicile.evidence.keys import Signer, parse_vkey
from domicile.evidence.predicates import (
    ApprovalRule,
    ApproverKey,
    ClearancePredicate,
    EqualityPredicate,
    ErasurePredicate,
)
from domicile.host import Host
from domicile.model import Form, Home, Manifest, Scope, Slice, State
from domicile.objects import Objects
from domicile.proof import Clearance, Equality, Erased, Measure, Restore
from domicile.record import Record
from domicile.run import carrying, guarding, receipting, sealed, stating
from domicile.stores import Living
from domicile.stores.around.dumps import Database, newest
from domicile.stores.around.pgbackrest.at_home import HomeRepository
from domicile.stores.around.pgbackrest.tool import Tool
from domicile.stores.postgres import restoring
from domicile.stores.postgres.copies import CopyKind, copy_id
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live.closing import Held
from domicile.stores.postgres.source import PostgresSource


@dataclass(frozen=True, slots=True, kw_only=True)
class _Restored:
    """What is being read of a restored backup, what that is in words, and how it was had."""

    measures: Iterable[Measure]
    what: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """The stores of a run, and its record."""

    record: Record
    source: PostgresSource
    homes: Mapping[Home, PostgresHome]
    config: Config
    host: Host
    objects: Objects
    living: Callable[[Slice], Living] | None = None
    """Where homes live already: what is asked of a home that is no longer what was compared."""

    def equality(self, scope: Scope, manifest: Manifest) -> tuple[Equality, str]:
        """The equality under the fence and its statement's digest; read now, or the one that already cleared."""
        kept = self._kept()
        if kept is not None:
            return kept
        equality = self.compare(scope, manifest)
        recorded = self.record.state(stating.equality_statement(self.record.ledger.plan().plan, equality))
        self.record.keep_equality(equality, recorded.sha256)
        cutover.refuse_unequal(equality)
        return equality, recorded.sha256

    def _kept(self) -> tuple[Equality, str] | None:
        """The equality that may clear, and its statement's digest."""
        stated = self.record.last(EqualityPredicate)
        kept = self.record.kept_equality(stated.sha256) if stated else None
        return None if kept is None or stated is None else (kept, stated.sha256)

    def compare(self, scope: Scope, manifest: Manifest) -> Equality:
        """Read both sides of every slice, under the fence."""
        refuse_open_fence(self.source)
        erased = self.source.erased()
        slices = [piece for piece in manifest.slices if piece.id not in erased]
        equality = self.read_both(self.source, self.homes, scope, slices)
        if not self.objects:
            return equality
        versions = sum(piece.rows for piece in self.objects.slices())
        with self.record.timed("verify", total=versions, unit="versions") as words:
            both = self.objects.compared(equality, self.record.listener, pinned=self._kept() is not None)
            differing = sum(not pair.equal for pair in both.private) - sum(not pair.equal for pair in equality.private)
            words[0] = f"{versions} versions of objects read at both ends, {differing} slices of them differ"
        return both

    def read_both(
        self, source: verify.Readable, homes: Mapping[Home, verify.Readable], scope: Scope, slices: Sequence[Slice]
    ) -> Equality:
        """Read these slices on both sides, and tell what came of it."""
        with self.record.timed("verify", total=sum(piece.rows for piece in slices)) as words:
            equality = verify.verify(
                source, homes, scope, slices, fenced=True, now=self.host.now(), listener=self.record.listener
            )
            differing = sum(not pair.equal for pair in equality.private)
            strays = sum(count for _, _, count in equality.strays)
            words[0] = f"{differing} of {len(equality.private)} private slices differ, {strays} strays"
        return equality

    def _restores(self, scope: Scope, manifest: Manifest, equality: Equality, sha256: str) -> tuple[Restore, ...]:
        """A restore of each home, done once for this equality."""
        whole = [piece for piece in manifest.slices if piece.form is Form.WHOLE]
        return tuple(self.restore(scope, home, whole, equality, sha256) for home in scope.homes)

    def restore(  # noqa: PLR0913, PLR0917 - a home, and what it is held against
        self, scope: Scope, home: Home, slices: Sequence[Slice], equality: Equality, sha256: str,
        moment: Held | None = None,
    ) -> Restore:  # fmt: skip
        """Restore a backup of this home (of the `moment` that is held, or of now) and read it, unless it was done.

        Of the slices those that are its own.
        """
        name = f"restore/{sha256}/{home}"
        kept = self.record.journal.get(name, Restore)
        if kept is not None:
            return kept
        mine = tuple(piece for piece in slices if piece.home == home)
        with self.record.timed("restore", total=sum(piece.rows for piece in mine)) as words:
            read = []
            with self._restored(scope, home, mine, moment) as restored:
                for measure in restored.measures:
                    read.append(measure)
                    self.record.listener(Advanced(stage="restore", units=measure.rows, bytes=measure.bytes))
            proven = cutover.prove_restore(equality, home, read)
            words[0] = f"{restored.what} of {home} was restored there and holds all {len(proven)} slices"
        restore = Restore(home=home, method=restored.method, done_at=self.record.now(), measures=proven)
        self.record.journal.put(name, restore, Restore)
        return restore

    def restores_from_wal(self, home: Home) -> bool:
        """Whether the home's own backup leads to any place of its WAL, and so has to be told one."""
        return isinstance(self.config.backups.get(self.homes[home].name), RepositoryRule)

    @contextmanager
    def _restored(
        self, scope: Scope, home: Home, slices: tuple[Slice, ...], moment: Held | None
    ) -> Iterator[_Restored]:
        """Give what is read of the home's own backup where the file names one, else of a dump of our own."""
        store = self.homes[home]
        source = self.source if moment is not None else None
        rule = self.config.backups.get(store.name)
        if isinstance(rule, RepositoryRule):
            tool = Tool(store=store.name, stanza=rule.stanza, config=Path(rule.config), user=rule.user)
            place = moment.place if moment is not None else store.place()
            repository = HomeRepository(store=store.name, dsn=store.dsn, tool=tool, scratch=Path(rule.scratch))
            with repository.restored(place or "") as (dsn, label):
                yield _Restored(
                    measures=store.read_restored(dsn, scope, home, slices, source=source),
                    what=f"the backup {label.label}", method=restoring.METHOD_OF_REPOSITORY,
                )  # fmt: skip
            return
        backup = None if rule is None else self._dump(home, rule, moment)
        kept = restoring.METHOD_OF_BACKUP if moment is None else restoring.METHOD_OF_MOMENT
        snapshot = None if moment is None else moment.moment
        yield _Restored(
            measures=store.prove_restore(scope, home, slices, moment=snapshot, source=source, backup=backup),
            what=f"the backup {backup.name}" if backup else "a backup", method=kept if backup else restoring.METHOD,
        )  # fmt: skip

    def _dump(self, home: Home, rule: CopiesRule, moment: Held | None) -> Path:
        """The newest dump in the home's own folder of backups.

        Of a home that lives on no dump but one of that very `moment` can hold what was compared: it is made there, and
        takes the place of the one of an earlier close.
        """
        store = self.homes[home]
        if moment is not None:
            path = Path(rule.path) / f"domicile-{self.config.programme.name}-{home}.dump"
            restoring.back_up(store.dsn, path, moment=moment.moment, store=store.name)
            return path
        info = store.connection.info
        database = Database(dsn=store.dsn, major=info.server_version // 10_000, name=info.dbname)
        return newest(store.name, Path(rule.path), database)

    def clearance(self, scope: Scope) -> Clearance:
        """Make (or find) the clearance; raise Waiting while approvals are missing (P2)."""
        manifest = self.source.frozen()
        if manifest is None:
            raise NoClearance("nothing is frozen, so nothing can be cleared")
        refuse_open_fence(self.source)
        equality, sha256 = self.equality(scope, manifest)
        cutover.refuse_nothing(equality)
        restores = self._restores(scope, manifest, equality, sha256)
        sealed.state_seals(self.record)
        given = self.record.approvals(sha256)
        rule = self.config.policy.approvals.erase
        stated = self.record.last(
            ClearancePredicate, lambda found: found.equality == sha256 and self._enough_count(rule, found)
        )
        self._tell_spoilt(rule)
        cutover.await_approvals(rule, tuple(given), equality_sha256=sha256)
        if stated is None:
            chosen = tuple(given[name] for name in rule.of if name in given)
            stated = self.record.state(
                stating.clearance_statement(
                    self.record.ledger.plan().plan, sha256, chosen, restores, cutover.cleared_ids(equality)
                )
            )
        return cutover.clear(equality, rule, tuple(given), restores, statement=stated.sha256)

    def _enough_count(self, rule: Approvals, clearance: ClearancePredicate) -> bool:
        """Whether as many of its approvals count as an erasure needs: those of a key that was lost are void."""
        return not cutover.missing_approvals(rule, self.record.who_approved(clearance))

    def _tell_spoilt(self, rule: Approvals) -> None:
        """Say so where something was announced or erased under a clearance that has too few approvals by now."""
        under = {
            one.predicate.clearance
            for one in self.record.ledger.statements()
            if isinstance(one.predicate, ErasurePredicate)
        }
        for sha256 in under:
            clearance = self.record.ledger.named(sha256).predicate
            if isinstance(clearance, ClearancePredicate) and not self._enough_count(rule, clearance):
                self.record.listener(
                    Noted(
                        text="an erasure was announced under a clearance that has too few approvals without the void "
                        "ones: the auditor refuses the bundle of this run for good. New approvals let the rest be "
                        "erased, and change nothing of that"
                    )
                )
                return

    def erase(self, scope: Scope, clearance: Clearance, *, yes: bool) -> None:
        """Erase what is cleared, group by group, each announced before and reported after (P7); without `yes`, wait."""
        manifest = self.source.frozen()
        if manifest is None:
            raise NoClearance("nothing is frozen, so nothing can be erased")
        self._refuse_other(clearance)
        groups = tuple(erase.order(scope, manifest.slices))
        if not yes:
            rows = sum(piece.delete + piece.blank for _, _, group in groups for piece in group)
            versions = sum(piece.delete for _, _, group in self.objects.leaving() for piece in group)
            derived = [str(item.id) for item in scope.derived if not item.view]
            also = f", and all rows of {', '.join(derived)}" if derived else ""
            also += f", and {versions} versions of objects" if versions else ""
            raise Waiting(
                f"cleared, and nothing erased yet: {rows} rows of {len({name for name, *_ in groups})} datasets{also}; "
                "`domicile erase` lists them, `domicile apply --yes` erases them"
            )
        if self.record.last(ErasurePredicate) is None:
            for piece in manifest.slices:
                if piece.blank:
                    self.source.rehearse(piece)
        guarding.commit(self.record, self.source, scope, manifest)
        receipting.make(self.record, self.source, scope, clearance, self.objects)
        plan = self.record.ledger.plan().plan
        told = stating.told_erased(self.record.ledger.statements())
        with self.record.timed("erase", total=sum(p.delete + p.blank for _, _, g in groups for p in g)) as words:
            rows = 0
            for dataset, home, group in groups:
                first = (dataset, home, group) == groups[0]
                emptied = _emptied(scope, self.source.name) if first else ()
                intent = stating.erasure_intent(plan, clearance, dataset, home, group, emptied=emptied)
                is_told = told.issuperset(piece.id for piece in group)  # under whatever clearance: for good
                if not is_told:
                    self.record.state(intent)
                if first:
                    self.source.empty_derived(scope)
                done = self._erase_group(group, clearance)
                rows += sum(item.deleted + item.blanked for item in done)
                if not is_told:
                    self.record.state(stating.erasure_outcome(intent, done))
            words[0] = f"{rows} rows deleted or blanked at the source, nothing else touched"
        carrying.erase(self.record, self.objects, clearance)
        self.record.journal.put("rows_left", self.source.remaining(), int)
        self.record.journal.put("erased_at", self.host.now(), datetime)
        self._lead_home(scope)
        self.record.journal.put("erase_done", value=True, kind=bool)

    def _refuse_other(self, clearance: Clearance) -> None:
        """Raise NoClearance where the objects' book is not what was cleared; before an erasure it is compared anew."""
        try:
            self.objects.refuse_other(clearance)
        except NoClearance:
            if self.living is not None:  # there is no other close after a clearance
                raise NoClearance(
                    "the book of objects (`objects.db` in the run's folder) is not what was cleared; nothing of them "
                    "is erased. Put it back from a copy of this run, then `domicile apply --yes`"
                ) from None
            if self.record.last(ErasurePredicate) is None:
                self.record.forget_equality()
            raise

    def _lead_home(self, scope: Scope) -> None:
        """From now on everybody lives at home. The directory says so; the source's last, as its word counts."""
        if not self.config.directory:
            return
        with self.source.transaction("write the directory"):
            self.source.record_places(scope, State.HOME)
            for home, store in self.homes.items():
                store.take_places(self.source, home)

    def _erase_group(self, group: Sequence[Slice], clearance: Clearance) -> tuple[Erased, ...]:
        try:
            return erase.erase_group(
                self.source, self.homes, group, clearance, listener=self.record.listener, living=self.living
            )
        except NotEqual as fault:
            if self.living is not None:  # what was cleared stays cleared: there is no other close after a clearance
                what = str(fault).rsplit("; run", maxsplit=1)[0]
                raise NotEqual(f"{what}; mend it there, then `domicile apply --yes` compares it again") from None
            if not self.source.erased():
                self.record.forget_equality()
            raise


def approval_rule(config: Config, signer: Signer, host: Host, *, base: Path) -> ApprovalRule:
    """Who may approve, each with a key of their own; raise BadFile when a key is missing, or two have the same."""
    rule, keys = config.policy.approvals.erase, config.policy.keys
    missing = [name for name in rule.of if name not in keys]
    if missing:
        raise BadFile(
            f"policy.keys: no key of {', '.join(missing)}; each runs `domicile keys new NAME`, "
            "add the lines that it prints"
        )
    lines = {name: _public_key(keys[name], host, base) for name in rule.of}
    publics = {parse_vkey(line).public for line in lines.values()}
    if len(publics) != len(lines):
        raise BadFile("policy.keys: two approvers have the same key; each needs a key of their own")
    if signer.verifier.public in publics:
        raise BadFile("policy.keys: an approver has the engine's key; each needs a key of their own")
    return ApprovalRule(
        threshold=rule.threshold, of=tuple(ApproverKey(name=name, vkey=line) for name, line in lines.items())
    )


def _public_key(text: str, host: Host, base: Path) -> str:
    """A key's line, given in the file itself or by reference."""
    line = host.secret(text, base=base) if text.startswith(("file:", "env:")) else text
    return parse_vkey(line).vkey


def refuse_open_fence(source: PostgresSource) -> None:
    """Raise NoClearance when somebody got, or could have got, past the fence."""
    if not source.is_fenced():
        raise NoClearance(
            "the fence was opened: a guard is missing, switched off or changed; nothing is erased. "
            "`domicile abandon` gives the run up"
        )
    late = source.late_rows()
    if late:
        raise NoClearance(
            f"{late} rows of movers came to the source past the fence, and are not at home; nothing is erased. "
            "`domicile abandon` gives the run up"
        )


def _emptied(scope: Scope, store: str) -> tuple[str, ...]:
    """The plan's copies that are emptied as the erasure begins (ADR 0019)."""
    return tuple(f"{store}/{copy_id(CopyKind.DERIVED_TABLE, item.table)}" for item in scope.derived if not item.view)
