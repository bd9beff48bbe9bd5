"""The run: the only place that knows the order of the stages. It joins them, and holds none of their rules.

    plan → fence → freeze → transfer → verify → restore → approvals → clear → erase → horizon → sweep → certify

With `cutover:` in the file, `live` takes the place of the stages up to the restore: people go home in cohorts.

What was done is known from three places that survive a kill: the stores' own marks (in the transaction of the work),
the log (statements), and the journal (secrets, counts, times). Each stage looks there first, so `apply` may be killed
anywhere and begun again (P5). Intent is in the log before an irreversible effect, the outcome after it (P7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from domicile.config import Config
from domicile.errors import Refused, WorldChanged
from domicile.events import Listener, silent
from domicile.evidence.bundle import make_bundle, write_bundle
from domicile.evidence.cosigning.asking import witnesses_of
from domicile.evidence.predicates import (
    ApprovalRule,
    CertificatePredicate,
    ErasurePredicate,
    Predicate,
)
from domicile.evidence.signers import Place
from domicile.horizon import Horizon, Judged, Treated
from domicile.horizon.destroying import Destroying
from domicile.horizon.logs import ServerLogs
from domicile.horizon.standbys import Standbys
from domicile.horizon.surroundings import Surroundings
from domicile.host import Host
from domicile.model import Home, Manifest, Scope
from domicile.objects import Objects
from domicile.plan.document import (
    PLAN_BYTES_MAX,
    Plan,
    decode_plan,
    encode_plan,
    make_plan,
    refuse_changed_world,
)
from domicile.plan.resolve import resolve
from domicile.proof import Copy
from domicile.record import Record
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace
from domicile.run import again, carrying, guarding, receipting, sealed, stating
from domicile.run.at_once import AtOnce
from domicile.run.clearing import Clearing, approval_rule
from domicile.run.guarding import Guarded
from domicile.run.live import Live
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.source import PostgresSource
from domicile.stores.postgres.staging import refuse_undecided

Kind = TypeVar("Kind", bound=Predicate)


class Stage(StrEnum):
    """Where `apply --until` may stop."""

    TRANSFER = "transfer"
    CUTOVER = "cutover"
    VERIFY = "verify"
    CLEAR = "clear"
    ERASE = "erase"
    SWEEP = "sweep"
    CERTIFY = "certify"


class Run:
    """One programme's work, from its `domicile.yaml`. Use `opened()`; it keeps a second engine out."""

    def __init__(
        self, workspace: Workspace, config: Config, config_bytes: bytes, *, host: Host, listener: Listener = silent
    ) -> None:
        self.workspace = workspace
        self.config = config
        self.config_bytes = config_bytes
        self.host = host
        self.journal = Journal(workspace.journal)
        self.key = bytes.fromhex(self.journal.once("digest_key", str, lambda: host.entropy(32).hex()))
        self.source = PostgresSource(
            self._dsn(config.source), key=self.key, name=config.source, host=host, programme=config.programme.name
        )
        self.homes = {
            Home(location): PostgresHome(self._dsn(name), key=self.key, name=name)
            for location, name in config.home_stores.items()
        }
        held = None if config.signing is None else Place(uri=config.signing.key, secret=config.signing.secret)
        self.signer = workspace.signer(config.programme.name, host, held)
        self.record = Record(
            workspace, self.signer, self.journal, host=host, listener=listener,
            witnesses=witnesses_of(config.witnesses, host, own=self.signer.verifier),
        )  # fmt: skip
        self.ledger, self.last = self.record.ledger, self.record.last
        self.destroying = Destroying(config=config, record=self.record, host=host, base=workspace.base)
        self.objects = Objects(config, self.source, self.homes, key=self.key, host=host, workspace=workspace)
        self.clearing = Clearing(
            record=self.record, source=self.source, homes=self.homes, config=config, host=host, objects=self.objects
        )
        self.at_once = AtOnce(
            record=self.record, source=self.source, homes=self.homes, config=config, config_bytes=config_bytes,
            objects=self.objects,
        )  # fmt: skip
        self.live: Live | None = None
        if config.cutover is not None:
            self.live = Live(
                record=self.record, source=self.source, homes=self.homes, config=config, clearing=self.clearing,
                rule=config.cutover,
                key=self.key, host=host,
            )  # fmt: skip

    @classmethod
    @contextmanager
    def opened(
        cls, workspace: Workspace, config: Config, config_bytes: bytes, *, host: Host, listener: Listener = silent
    ) -> Iterator[Run]:
        """Open the programme's folder for this engine alone."""
        with workspace.locked():
            run = cls(workspace, config, config_bytes, host=host, listener=listener)
            try:
                yield run
            finally:
                run.close()

    def close(self) -> None:
        """Give sessions and files back."""
        if self.live is not None:
            self.live.end()
        self.source.close()
        for store in self.homes.values():
            store.close()
        self.objects.close()
        self.journal.close()

    def _dsn(self, store: str) -> str:
        return self.host.secret(self.config.databases[store].dsn, base=self.workspace.base)

    # -- plan ----------------------------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Make the plan and save it; an unfinished run forbids a new one."""
        self._refuse_given_up()
        self.source.refuse_foreign_staging()
        if self.last(CertificatePredicate) is not None:
            raise Refused(
                f"this programme is finished; its evidence is in {self.workspace.folder}. "
                "Move that folder away to begin another"
            )
        if self.ledger.size or self.source.fence_stands():
            raise Refused("a run is under way; `domicile apply` goes on with it, `domicile abandon` gives it up")
        self.approvers()
        self.objects.forget()
        with self.record.timed("plan") as words:
            catalogue = self.source.catalogue()
            scope = resolve(self.config, catalogue)
            for store in self.homes.values():
                store.refuse_unless_empty()
            manifest = self.source.survey(scope, beside=self.objects.survey(scope))
            self.objects.count()
            horizon = self._horizon(scope)
            copies = horizon.inventory()
            plan = make_plan(
                self.config, self.config_bytes, catalogue, scope, manifest, copies, outside=horizon.outside(),
                beside=self.objects.planned(), now=self.record.now(),
            )  # fmt: skip
            words[0] = f"{sum(plan.subjects.values())} subjects, {plan.slices} slices, {len(copies)} copies"
        refuse_undecided(manifest)
        self.objects.refuse_undecided()
        self.journal.put("plan", "", str)  # the one that an `apply` held whose fence never came to stand
        self.workspace.write(self.workspace.plan, encode_plan(plan))
        return plan

    def _horizon(self, scope: Scope) -> Horizon:
        listener = self.record.listener
        standbys = Standbys(self.source, self.config, host=self.host, listener=listener, base=self.workspace.base)
        return Horizon(
            self.source, scope, self.config, listener=listener, standbys=standbys,
            logs=ServerLogs(self.source, self.config, standbys=standbys, host=self.host, listener=listener),
            around=Surroundings(
                self.source, self.config, host=self.host, listener=listener, keys=self.destroying
            ),
            objects=self.objects,
        )  # fmt: skip

    def logs_leaving(self, scope: Scope) -> Mapping[str, tuple[str, ...]]:
        """By copy, the log files that the engine would remove after the erasure."""
        return self._horizon(scope).logs_leaving()

    def _copies(self, scope: Scope) -> tuple[Copy, ...]:
        return self._horizon(scope).inventory()

    def approvers(self) -> ApprovalRule:
        """Who may approve, by the file; raise BadFile when a key is missing."""
        return approval_rule(self.config, self.signer, self.host, base=self.workspace.base)

    def load_plan(self) -> tuple[Plan, bytes]:
        """Read the saved plan; raise when there is none, or when the file is not the one the log speaks of."""
        kept = self.journal.get("plan", str)
        if kept and not self.workspace.plan.exists():
            self.workspace.write(self.workspace.plan, kept.encode())
        data = self.workspace.read(self.workspace.plan, bytes_max=PLAN_BYTES_MAX, remedy="run `domicile plan` first")
        if self.ledger.size and self.ledger.plan().plan != _sha256(data):
            raise WorldChanged(
                f"{self.workspace.plan} is not the plan of this run; restore it from the bundle or a copy"
            )
        return decode_plan(data), data

    # -- apply ---------------------------------------------------------------------------------------------------

    def apply(
        self, *, until: Stage = Stage.CERTIFY, yes: bool = False, close: bool = False, as_it_is: bool = False
    ) -> None:
        """Drive all stages to `until`; stop with Waiting where a person has to decide.

        Nothing is erased, and no key destroyed, without `yes`, and a move under way is not ended without `close`. What
        a person still has to remove from around the source is waited for, unless it is to be judged `as_it_is`.
        """
        self._refuse_given_up()
        self.record.publish()
        plan, plan_bytes = self.load_plan()
        if self._is_certified() and not again.begins_again(
            self.record, self.destroying, may_treat=yes and not as_it_is
        ):
            self._write_bundle(plan_bytes)
            return
        catalogue = self.source.catalogue()
        refuse_changed_world(plan, self.config_bytes, catalogue)
        scope = resolve(self.config, catalogue)
        self._bind(scope)
        if not self.journal.get("erase_done", bool):
            self.source.refuse_foreign_staging()  # before anything is made or noted
            moved = (
                self._move(scope, plan, plan_bytes, until)
                if self.live is None
                else self._move_live(self.live, scope, plan, plan_bytes, until, close=close)
            )
            if not moved:
                return
            clearance = self.clearing.clearance(scope)
            if self.live is not None:
                self.live.cleared()
            if until is Stage.CLEAR:
                return
            self.clearing.erase(scope, clearance, yes=yes)
            if until is Stage.ERASE:
                return
        judged = self._sweep(scope, as_it_is=as_it_is, yes=yes)
        if until is Stage.SWEEP:
            return
        self._certify(judged, plan_bytes)

    def _is_certified(self) -> bool:
        """Whether a certificate is the last word: nothing came back since."""
        size = self.ledger.size
        return bool(size) and isinstance(self.ledger.statement(size - 1).predicate, CertificatePredicate)

    def _bind(self, scope: Scope) -> None:
        self.source.bind(scope)
        for store in self.homes.values():
            store.bind(scope)

    def _move(self, scope: Scope, plan: Plan, plan_bytes: bytes, until: Stage) -> bool:
        """Fence, freeze, transfer, verify; False when that is all that was asked for."""
        for store in self.homes.values():
            store.reach()
        self._hold(plan_bytes)
        manifest = self.at_once.bring(
            scope, plan, _sha256(plan_bytes), copies=lambda: self._copies(scope), approvals=self.approvers()
        )
        if until is Stage.TRANSFER:
            return False
        self.clearing.equality(scope, manifest)
        return until not in {Stage.CUTOVER, Stage.VERIFY}  # all at once they are one

    def _move_live(  # noqa: PLR0913 - what, by which plan, and how far
        self, live: Live, scope: Scope, plan: Plan, plan_bytes: bytes, until: Stage, *, close: bool
    ) -> bool:
        """Copy, take people home, close; False when that is all that was asked for."""
        for store in self.homes.values():
            store.reach()
        self._hold(plan_bytes)
        standing = live.bring(
            scope, plan, _sha256(plan_bytes), copies=lambda: self._copies(scope), approvals=self.approvers()
        )
        if until is Stage.TRANSFER:
            return False
        live.take_home(standing)
        if until is Stage.CUTOVER:
            return False
        live.close(scope, standing, yes=close)
        self.clearing = replace(self.clearing, living=live.living(scope))
        return until is not Stage.VERIFY

    def moving(self) -> tuple[Live, Scope]:
        """The move under way and its scope, for commands by hand; Refused where the file moves all at once."""
        self._refuse_given_up()
        if self.live is None:
            raise Refused("the file has no `cutover:` section: it moves all people at once, by `domicile apply`")
        self.source.refuse_foreign_staging()
        plan, _ = self.load_plan()
        catalogue = self.source.catalogue()
        refuse_changed_world(plan, self.config_bytes, catalogue)
        scope = resolve(self.config, catalogue)
        self._bind(scope)
        return self.live, scope

    def _hold(self, plan_bytes: bytes) -> None:
        """Keep the plan that a fence is stood for; raise WorldChanged when it was stood for another."""
        plan = plan_bytes.decode()
        kept = self.journal.get("plan", str)
        if kept and kept != plan:
            raise WorldChanged(
                f"{self.workspace.plan} is not the plan that the fence was stood for; put that one back, or "
                "`domicile abandon` the run and plan anew"
            )
        self.journal.put("plan", plan, str)

    def under_way(self) -> tuple[Scope, Manifest]:
        """Scope and frozen manifest of the run, for `verify` and `status`; raise Refused when nothing is frozen."""
        plan, _ = self.load_plan()
        self.source.refuse_foreign_staging()
        catalogue = self.source.catalogue()
        refuse_changed_world(plan, self.config_bytes, catalogue)
        scope = resolve(self.config, catalogue)
        self._bind(scope)
        manifest = self.source.frozen()
        if manifest is None:
            raise Refused("nothing is frozen yet, or all is erased; see `domicile status`")
        return scope, manifest

    # -- sweep and certify ---------------------------------------------------------------------------------------

    def _sweep(self, scope: Scope, *, as_it_is: bool, yes: bool) -> Judged:
        guarding.refuse_returned(self.record)
        kept = self.journal.get("judged", Judged)
        if kept is not None and self.journal.get("sweep_stated", bool):
            return kept
        if self.live is not None and self.source.fence_stands():
            self.live.leave(scope)
        self.source.drop_staging()
        if yes:
            carrying.go_on(self.record, self.objects)
        horizon = self._horizon(scope)
        planned = tuple(copy.id for copy in self.ledger.plan().copies)
        canaries = self._canaries()
        horizon.ask(self.homes, seed=int.from_bytes(self.key[:8], "big"), canaries=canaries)
        treated = self._treat(horizon, planned, yes=yes, as_it_is=as_it_is)
        if not as_it_is:
            horizon.refuse_waiting(treated)
            sealed.refuse_unopened(self.record)
        with self.record.timed("sweep") as words:
            judged = horizon.search(
                treated, planned=planned, canaries=len(set(canaries)),
                removed=stating.removed(self.ledger.statements()), left=stating.left_over(self.ledger.statements()),
                rows_left=self.journal.get("rows_left", int) or 0, now=self.record.now(), plan=self.ledger.plan().plan,
            )  # fmt: skip
            words[0] = f"{judged.sweep.tokens.searched} values looked for, {judged.hits} copies hold some"
        self.journal.put("judged", judged, Judged)
        self.record.state(judged.sweep)
        self.journal.put("sweep_stated", value=True, kind=bool)
        return judged

    def _treat(self, horizon: Horizon, planned: Sequence[str], *, yes: bool, as_it_is: bool) -> Treated:
        """Treat the horizon: its server once, as people may take days over what lies around it."""
        kept = self.journal.get("treated", Treated)
        with self.record.timed("horizon", total=len(planned), unit="copies") as words:
            erased_at = self.journal.get("erased_at", datetime) or self.record.now()
            emptied = () if kept and kept.server else again.emptied_again(self.record, yes=yes, as_it_is=as_it_is)
            treated = horizon.treat(
                erased_at=erased_at, removing=self._removing, planned=planned, before=kept, yes=yes,
                spare=() if yes else emptied,
                keep=lambda so_far: self.journal.put("treated", so_far, Treated),
            )  # fmt: skip
            if yes:
                again.state_emptied(self.record, emptied)
            words[0] = f"{treated.copies} copies treated or looked at"
        if treated.boundary is not None or treated.rotated:
            self.journal.put("treated", treated, Treated)
        return treated

    def _removing(self, copy: str, things: int, done: bool, *, made: str = "") -> None:
        """State what goes from a folder before it goes, and that it is gone (P7)."""
        self.record.state(stating.removal_statement(self.ledger.plan().plan, copy, things, done=done, made=made))

    def _canaries(self) -> tuple[str, ...]:
        reference = self.config.policy.canaries
        text = self.host.secret(reference, base=self.workspace.base) if reference else ""
        own = (line.strip() for line in text.splitlines())
        return (*filter(None, own), *sealed.opened_words(self.record))

    def _certify(self, judged: Judged, plan_bytes: bytes) -> None:
        with self.record.timed("certify") as words:
            open_still = (*judged.not_proven, *sealed.not_opened(self.record))
            certificate = again.certified(self.record, judged, open_still)
            self.record.state(certificate)
            guarding.keep_or_forget(self.record, self.objects, is_final=again.is_final(certificate))
            self._write_bundle(plan_bytes)
            words[0] = f"verdict {certificate.verdict.value}"

    def _write_bundle(self, plan_bytes: bytes) -> None:
        self.record.publish()
        write_bundle(self.workspace.bundle, make_bundle(self.ledger, plan_file=plan_bytes, signer=self.signer))

    # -- after a restore -----------------------------------------------------------------------------------------

    def look_after_restore(self, *, dsn: str | None, yes: bool) -> Guarded:
        """Look for erased rows that a restore brought back, at the source or where the reference `dsn` leads."""
        self.record.publish()
        store = self.config.source
        target = self._dsn(store) if dsn is None else self.host.secret(dsn, base=self.workspace.base)
        with self.record.timed("restore-guard") as words:
            guarded = guarding.look(self.record, target, store=store if dsn is None else dsn, yes=yes)
            if dsn is None:
                guarded = replace(guarded, objects=guarding.look_at_objects(self.record, self.objects, yes=yes))
            words[0] = f"{guarded.rows} of {guarded.committed} erased rows came back"
            words[0] += f", {guarded.object_count} versions of objects" if guarded.objects else ""
        if guarded.erased or (yes and guarded.object_count):
            # So that nobody goes on handing out a certificate that no longer holds (P10).
            self._write_bundle(self.load_plan()[1])
        return guarded

    # -- receipts ------------------------------------------------------------------------------------------------

    def receipt(self, key: str, *, kind: str = "") -> bytes:
        """The receipt of the person of that key."""
        receipting.finish(self.record)
        self._certify_again()
        return receipting.receipt(self.record, key, kind=kind)

    def destroy_receipts(self, keys: Sequence[str] | None, *, kind: str = "") -> int:
        """Destroy the nonces of these people's receipts, or of all; return how many."""
        count = receipting.destroy(self.record, keys, kind=kind)
        self._certify_again()
        return count

    def _certify_again(self) -> None:
        """Have the certificate as the last word again, where nothing but receipts was destroyed since."""
        certificate = receipting.standing_certificate(tuple(self.ledger.statements()))
        judged = self.journal.get("judged", Judged)
        if certificate is not None and judged is not None and not self._is_certified():
            self.record.remember(certificate.issued_at + timedelta(seconds=1))  # or it would be the same statement
            self._certify(judged, self.load_plan()[1])

    def destroy_commitments(self) -> int:
        """Destroy the key of the commitments, and with it all receipts; return how many of those."""
        count = self.destroy_receipts(None) if receipting.count(self.record) else 0
        guarding.destroy(self.workspace)
        return count

    # -- giving up -----------------------------------------------------------------------------------------------

    def abandon(self) -> bool:
        """Give the run up while nothing is erased; False when nothing is under way.

        Release the fence, drop the staging, keep the homes for people to look at. Raise Refused once an erasure was
        announced.
        """
        if self.last(ErasurePredicate) is not None:
            raise Refused("an erasure was announced in the log; this run can only be finished: `domicile apply`")
        self._bind(resolve(self.config, self.source.catalogue()))
        self.source.refuse_foreign_staging()
        if not self.source.fence_stands():
            return False
        if self.live is not None:
            self.live.abandon(resolve(self.config, self.source.catalogue()))
        if self.ledger.size:  # before the fence goes, so that nobody goes on without one
            self.journal.put("given_up", value=True, kind=bool)
        self.source.unlimit_sequences()
        self.source.forget_movers()
        self.source.drop_staging()
        self.objects.forget()
        self.journal.put("plan", "", str)
        return True

    @property
    def given_up(self) -> bool:
        """Whether `abandon` ended this run after its log had begun."""
        return bool(self.journal.get("given_up", bool))

    def _refuse_given_up(self) -> None:
        """Raise Refused once a run of which the log tells was abandoned: what was approved, was under its fence."""
        if self.given_up:
            raise Refused(f"this run was given up; move {self.workspace.folder} away, empty the homes, and plan anew")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
