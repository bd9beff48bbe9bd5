"""The run: the only place that knows the order of the stages. It joins them, and holds none of their rules.

    plan → fence → freeze → transfer → verify → restore → approvals → clear → erase → horizon → sweep → certify

What was done is known from three places that survive a kill: the stores' own marks (in the transaction of the work),
the log (statements), and the journal (secrets, counts, times). Each stage looks there first, so `apply` may be killed
anywhere and begun again (P5). Intent is in the log before an irreversible effect, the outcome after it (P7).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from domicile import cutover, erase, stating, verify
from domicile.bundle import make_bundle, write_bundle
from domicile.certify import certify
from domicile.config import Config
from domicile.errors import BadFile, NoClearance, NotEqual, Refused, Undecided, Waiting, WorldChanged
from domicile.events import Advanced, Began, Ended, Event, Listener, Noted, silent
from domicile.horizon import Horizon, Judged
from domicile.host import Host
from domicile.journal import Journal
from domicile.keys import parse_vkey
from domicile.ledger import Ledger, Recorded
from domicile.model import Clearance, Copy, Equality, Erased, Fence, Form, Home, Manifest, Restore, Scope, Slice
from domicile.plan.document import (
    PLAN_BYTES_MAX,
    Plan,
    decode_plan,
    encode_plan,
    make_plan,
    refuse_changed_world,
)
from domicile.plan.resolve import resolve
from domicile.predicates import (
    ApprovalPredicate,
    ApprovalRule,
    ApproverKey,
    CertificatePredicate,
    ClearancePredicate,
    EqualityPredicate,
    ErasurePredicate,
    Predicate,
)
from domicile.stores.postgres import restoring
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.source import PostgresSource
from domicile.transfer import transfer
from domicile.workspace import Workspace

Kind = TypeVar("Kind", bound=Predicate)


class Stage(StrEnum):
    """Where `apply --until` may stop."""

    TRANSFER = "transfer"
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
        self._heard = listener
        self._passed: dict[str, tuple[int, int]] = {}
        self.journal = Journal(workspace.journal)
        self.key = bytes.fromhex(self.journal.once("digest_key", str, lambda: host.entropy(32).hex()))
        self.source = PostgresSource(self._dsn(config.source), key=self.key, name=config.source, host=host)
        self.homes = {
            Home(location): PostgresHome(self._dsn(name), key=self.key, name=name, host=host)
            for location, name in config.home_stores.items()
        }
        self.signer = workspace.signer(config.programme.name, host)
        self.ledger = Ledger.open(workspace.evidence, self.signer, size_min=self.journal.get("log_size", int) or 0)

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
        self.source.close()
        for store in self.homes.values():
            store.close()
        self.journal.close()

    def _dsn(self, store: str) -> str:
        return self.host.secret(self.config.stores[store].dsn, base=self.workspace.base)

    def listener(self, event: Event) -> None:
        """Pass an event on, and keep count of what passed in each stage."""
        if isinstance(event, Advanced):
            units, size = self._passed.get(event.stage, (0, 0))
            self._passed[event.stage] = (units + event.units, size + event.bytes)
        self._heard(event)

    # -- what was done -------------------------------------------------------------------------------------------

    def last(self, kind: type[Kind], accept: Callable[[Kind], bool] = lambda _: True) -> Recorded | None:
        """The last statement of that kind in the log, or None."""
        found = None
        for recorded in self.ledger.statements():
            if isinstance(recorded.predicate, kind) and accept(recorded.predicate):
                found = recorded
        return found

    def _state(self, predicate: Predicate) -> Recorded:
        return self._state_all([predicate])[0]

    def _state_all(self, predicates: Iterable[Predicate]) -> list[Recorded]:
        recorded = self.ledger.record_all(predicates)
        self.journal.put("log_size", self.ledger.size, int)
        return recorded

    def _now(self) -> datetime:
        """The time, and never before one that was stated: a clock that was set back would spoil the evidence."""
        now, latest = self.host.now(), self.journal.get("latest", datetime)
        now = max(now, latest) if latest else now
        self._remember(now)
        return now

    def _remember(self, stated: datetime) -> None:
        latest = self.journal.get("latest", datetime)
        if latest is None or stated > latest:
            self.journal.put("latest", stated, datetime)

    @contextmanager
    def _timed(self, stage: str, *, total: int = 0, unit: str = "rows") -> Iterator[list[str]]:
        self.listener(Began(stage=stage, total=total, unit=unit))
        start, words = self.host.monotonic_s(), [""]
        yield words
        seconds = self.host.monotonic_s() - start
        times = self.journal.get("seconds", dict[str, float]) or {}
        times[stage] = times.get(stage, 0.0) + seconds
        self.journal.put("seconds", times, dict[str, float])
        if stage in self._passed:
            passed = self.journal.get("passed", dict[str, tuple[int, int]]) or {}
            self.journal.put("passed", {**passed, stage: self._passed[stage]}, dict[str, tuple[int, int]])
        self.listener(Ended(stage=stage, text=words[0], seconds=seconds))

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
        self._approvers()
        with self._timed("plan") as words:
            catalogue = self.source.catalogue()
            scope = resolve(self.config, catalogue)
            for store in self.homes.values():
                store.refuse_unless_empty()
            manifest = self.source.survey(scope)
            copies = self._copies(scope)
            plan = make_plan(self.config, self.config_bytes, catalogue, scope, manifest, copies, now=self._now())
            words[0] = f"{sum(plan.subjects.values())} subjects, {plan.slices} slices, {len(copies)} copies"
        from domicile.stores.postgres.staging import refuse_undecided  # noqa: PLC0415

        refuse_undecided(manifest)
        self.workspace.write(self.workspace.plan, encode_plan(plan))
        return plan

    def _horizon(self, scope: Scope) -> Horizon:
        return Horizon(self.source, scope, self.config, listener=self.listener)

    def _copies(self, scope: Scope) -> tuple[Copy, ...]:
        return self._horizon(scope).inventory()

    def _approvers(self) -> ApprovalRule:
        rule, keys = self.config.policy.approvals.erase, self.config.policy.keys
        missing = [name for name in rule.of if name not in keys]
        if missing:
            raise BadFile(
                f"policy.keys: no key of {', '.join(missing)}; each runs `domicile keys new NAME`, "
                "add the lines that it prints"
            )
        lines = {name: self._public_key(keys[name]) for name in rule.of}
        publics = {parse_vkey(line).public for line in lines.values()}
        if len(publics) != len(lines):
            raise BadFile("policy.keys: two approvers have the same key; each needs a key of their own")
        if self.signer.verifier.public in publics:
            raise BadFile("policy.keys: an approver has the engine's key; each needs a key of their own")
        return ApprovalRule(
            threshold=rule.threshold, of=tuple(ApproverKey(name=name, vkey=line) for name, line in lines.items())
        )

    def _public_key(self, text: str) -> str:
        """A key's line, given in the file itself or by reference."""
        line = self.host.secret(text, base=self.workspace.base) if text.startswith(("file:", "env:")) else text
        return parse_vkey(line).vkey

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

    def apply(self, *, until: Stage = Stage.CERTIFY, yes: bool = False) -> None:
        """Drive all stages to `until`; stop with Waiting where a person has to decide.

        Nothing is erased without `yes`.
        """
        self._refuse_given_up()
        plan, plan_bytes = self.load_plan()
        if self.last(CertificatePredicate) is not None:
            self.listener(Noted(text="finished before; nothing to do"))
            self._write_bundle(plan_bytes)
            return
        catalogue = self.source.catalogue()
        refuse_changed_world(plan, self.config_bytes, catalogue)
        scope = resolve(self.config, catalogue)
        self._bind(scope)
        if not self.journal.get("erase_done", bool):
            if not self._move(scope, plan, plan_bytes, until):
                return
            self._erase(scope, until=until, yes=yes)
            if until in (Stage.CLEAR, Stage.ERASE):
                return
        judged = self._sweep(scope)
        if until is Stage.SWEEP:
            return
        self._certify(judged, plan_bytes)

    def _bind(self, scope: Scope) -> None:
        self.source.bind(scope)
        for store in self.homes.values():
            store.bind(scope)

    def _move(self, scope: Scope, plan: Plan, plan_bytes: bytes, until: Stage) -> bool:
        """Fence, freeze, transfer, verify; False when that is all that was asked for."""
        for store in self.homes.values():
            store.reach()
        self._hold(plan_bytes)
        fence = self._fence(scope, plan)
        manifest = self._freeze(scope, plan)
        self._state_plan(plan, plan_bytes, manifest, scope)
        self._transfer(scope, manifest)
        self._state(stating.cutover_statement(self.ledger.plan().plan, fence))
        if until is Stage.TRANSFER:
            return False
        self.equality(scope, manifest)
        return until is not Stage.VERIFY

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

    def _fence(self, scope: Scope, plan: Plan) -> Fence:
        with self._timed("fence") as words:
            fence = self.source.stand_fence(scope)
            fence = replace(fence, fenced_at=max(fence.fenced_at, plan.made_at))
            self._remember(fence.fenced_at)
            words[0] = f"{sum(count for _, count in fence.subjects)} subjects; others waited {fence.wait_ms} ms"
        self.journal.put("fence", fence, Fence)
        return fence

    def _freeze(self, scope: Scope, plan: Plan) -> Manifest:
        token_key = bytes.fromhex(self.journal.once("token_key", str, lambda: self.host.entropy(32).hex()))
        with self._timed("freeze") as words:
            try:
                manifest = self.source.freeze(scope, token_key)
            except Undecided:
                self.source.drop_staging()
                self.journal.put("plan", "", str)
                raise
            words[0] = f"{sum(piece.rows for piece in manifest.slices)} rows in {len(manifest.slices)} slices"
        self.journal.put("manifest", manifest, Manifest)
        refuse_changed_world(plan, self.config_bytes, self.source.catalogue())
        return manifest

    def _state_plan(self, plan: Plan, plan_bytes: bytes, manifest: Manifest, scope: Scope) -> None:
        if self.ledger.size:
            return
        sha256 = _sha256(plan_bytes)
        predicate = stating.plan_statement(
            sha256, plan, self.config, manifest, copies=self._copies(scope), approvals=self._approvers()
        )
        self._state_all([predicate, *stating.finding_statements(sha256, manifest)])

    def _transfer(self, scope: Scope, manifest: Manifest) -> None:
        shares = len(scope.homes) + 1
        with self._timed("transfer", total=sum(piece.rows for piece in manifest.slices)) as words:
            rows = 0
            for share, home in enumerate(scope.homes, start=1):
                slices = [piece for piece in manifest.slices if piece.home == home]
                measures = transfer(
                    self.source, self.homes[home], scope, home, slices, share=share, shares=shares,
                    listener=self.listener,
                )  # fmt: skip
                done = {measure.slice: measure for measure in measures}
                self._state_all(stating.transfer_statements(self.ledger.plan().plan, home, slices, done))
                rows += sum(measure.rows for measure in measures)
            self.source.limit_sequences(shares=shares)
            words[0] = f"{rows} rows at home"

    # -- verify --------------------------------------------------------------------------------------------------

    def equality(self, scope: Scope, manifest: Manifest) -> tuple[Equality, str]:
        """The equality under the fence and its statement's digest; read now, or the one that already cleared."""
        stated = self.last(EqualityPredicate)
        kept = self.journal.get("equality", Equality)
        if (
            kept is not None
            and stated is not None
            and self.journal.get("equality_sha256", str) == stated.sha256
            and kept.clears
        ):
            return kept, stated.sha256
        equality = self.compare(scope, manifest)
        recorded = self._state(stating.equality_statement(self.ledger.plan().plan, equality))
        self.journal.put("equality", replace(equality, differences=()), Equality)
        self.journal.put("equality_sha256", recorded.sha256, str)
        cutover.refuse_unequal(equality)
        return equality, recorded.sha256

    def compare(self, scope: Scope, manifest: Manifest) -> Equality:
        """Read both sides of every slice, under the fence."""
        self._refuse_open_fence()
        erased = self.source.erased()
        slices = [piece for piece in manifest.slices if piece.id not in erased]
        with self._timed("verify", total=sum(piece.rows for piece in slices)) as words:
            equality = verify.verify(
                self.source, self.homes, scope, slices, fenced=True, now=self.host.now(),
                listener=self.listener,
            )  # fmt: skip
            differing = sum(not pair.equal for pair in equality.private)
            strays = sum(count for _, _, count in equality.strays)
            words[0] = f"{differing} of {len(equality.private)} private slices differ, {strays} strays"
        return equality

    def _refuse_open_fence(self) -> None:
        """Raise NoClearance when somebody got, or could have got, past the fence."""
        if not self.source.is_fenced():
            raise NoClearance(
                "the fence was opened: a guard is missing, switched off or changed; nothing is erased. "
                "`domicile abandon` gives the run up"
            )
        late = self.source.late_rows()
        if late:
            raise NoClearance(
                f"{late} rows of movers came to the source past the fence, and are not at home; nothing is erased. "
                "`domicile abandon` gives the run up"
            )

    def under_way(self) -> tuple[Scope, Manifest]:
        """Scope and frozen manifest of the run, for `verify` and `status`; raise Refused when nothing is frozen."""
        plan, _ = self.load_plan()
        catalogue = self.source.catalogue()
        refuse_changed_world(plan, self.config_bytes, catalogue)
        scope = resolve(self.config, catalogue)
        self._bind(scope)
        manifest = self.source.frozen()
        if manifest is None:
            raise Refused("nothing is frozen yet, or all is erased; see `domicile status`")
        return scope, manifest

    # -- clear and erase -----------------------------------------------------------------------------------------

    def _restores(self, scope: Scope, manifest: Manifest, equality: Equality, sha256: str) -> tuple[Restore, ...]:
        """A restore of each home, done once for this equality."""
        return tuple(self._restore(scope, manifest, equality, sha256, home) for home in scope.homes)

    def _restore(self, scope: Scope, manifest: Manifest, equality: Equality, sha256: str, home: Home) -> Restore:
        name = f"restore/{sha256}/{home}"
        kept = self.journal.get(name, Restore)
        if kept is not None:
            return kept
        slices = tuple(piece for piece in manifest.slices if piece.home == home and piece.form is Form.WHOLE)
        with self._timed("restore", total=sum(piece.rows for piece in slices)) as words:
            read = []
            for measure in self.homes[home].prove_restore(scope, home, slices):
                read.append(measure)
                self.listener(Advanced(stage="restore", units=measure.rows, bytes=measure.bytes))
            proven = cutover.prove_restore(equality, home, read)
            words[0] = f"a backup of {home} was restored there and holds all {len(proven)} slices"
        restore = Restore(home=home, method=restoring.METHOD, done_at=self._now(), measures=proven)
        self.journal.put(name, restore, Restore)
        return restore

    def approvals(self, equality_sha256: str) -> dict[str, str]:
        """Take what approvers left into the log; approver → digest of the approval, for this equality only."""
        for envelope in self.workspace.approval_files():
            self.ledger.admit(envelope)
        self.journal.put("log_size", self.ledger.size, int)
        return {
            recorded.predicate.approver: recorded.sha256
            for recorded in self.ledger.statements()
            if isinstance(recorded.predicate, ApprovalPredicate) and recorded.predicate.equality == equality_sha256
        }

    def clearance(self, scope: Scope) -> Clearance:
        """Make (or find) the clearance; raise Waiting while approvals are missing (P2)."""
        manifest = self.source.frozen()
        if manifest is None:
            raise NoClearance("nothing is frozen, so nothing can be cleared")
        self._refuse_open_fence()
        equality, sha256 = self.equality(scope, manifest)
        restores = self._restores(scope, manifest, equality, sha256)
        given = self.approvals(sha256)
        rule = self.config.policy.approvals.erase
        cutover.await_approvals(rule, tuple(given), equality_sha256=sha256)
        chosen = tuple(given[name] for name in rule.of if name in given)
        stated = self.last(ClearancePredicate, lambda found: found.equality == sha256) or self._state(
            stating.clearance_statement(
                self.ledger.plan().plan, sha256, chosen, restores, cutover.cleared_ids(equality)
            )
        )
        return cutover.clear(equality, rule, tuple(given), restores, statement=stated.sha256)

    def _erase(self, scope: Scope, *, until: Stage, yes: bool) -> None:
        clearance = self.clearance(scope)
        if until is Stage.CLEAR:
            return
        manifest = self.source.frozen()
        if manifest is None:
            raise NoClearance("nothing is frozen, so nothing can be erased")
        groups = tuple(erase.order(scope, manifest.slices))
        if not yes:
            rows = sum(piece.delete + piece.blank for _, _, group in groups for piece in group)
            raise Waiting(
                f"cleared, and nothing erased yet: {rows} rows of {len({name for name, *_ in groups})} datasets; "
                "`domicile erase` lists them, `domicile apply --yes` erases them"
            )
        if self.last(ErasurePredicate) is None:
            for piece in manifest.slices:
                if piece.blank:
                    self.source.rehearse(piece)
        plan = self.ledger.plan().plan
        with self._timed("erase", total=sum(p.delete + p.blank for _, _, g in groups for p in g)) as words:
            rows = 0
            for dataset, home, group in groups:
                intent = stating.erasure_intent(plan, clearance, dataset, home, group)
                self._state(intent)
                done = self._erase_group(group, clearance)
                rows += sum(item.deleted + item.blanked for item in done)
                self._state(stating.erasure_outcome(intent, done))
            words[0] = f"{rows} rows deleted or blanked at the source, nothing else touched"
        self.journal.put("rows_left", self.source.remaining(), int)
        self.journal.put("erase_done", value=True, kind=bool)

    def _erase_group(self, group: Sequence[Slice], clearance: Clearance) -> tuple[Erased, ...]:
        try:
            return erase.erase_group(self.source, self.homes, group, clearance, listener=self.listener)
        except NotEqual:
            if not self.source.erased():
                self.journal.put("equality_sha256", "", str)  # what changed is compared, and approved, anew
            raise

    # -- sweep and certify ---------------------------------------------------------------------------------------

    def _sweep(self, scope: Scope) -> Judged:
        kept = self.journal.get("judged", Judged)
        if kept is not None and self.journal.get("sweep_stated", bool):
            return kept
        self.source.drop_staging()
        horizon = self._horizon(scope)
        planned = tuple(copy.id for copy in self.ledger.plan().copies)
        with self._timed("horizon", total=len(planned), unit="copies") as words:
            outcomes = horizon.treat()
            words[0] = f"{len(outcomes)} copies treated or looked at"
        with self._timed("sweep") as words:
            seed = int.from_bytes(self.key[:8], "big")
            judged = horizon.search(
                self.homes, outcomes, planned=planned, seed=seed, canaries=self._canaries(),
                rows_left=self.journal.get("rows_left", int) or 0, now=self._now(), plan=self.ledger.plan().plan,
            )  # fmt: skip
            words[0] = f"{judged.sweep.tokens.searched} values looked for, {judged.hits} copies hold some"
        self.journal.put("judged", judged, Judged)
        self._state(judged.sweep)
        self.journal.put("sweep_stated", value=True, kind=bool)
        return judged

    def _canaries(self) -> tuple[str, ...]:
        reference = self.config.policy.canaries
        if reference is None:
            return ()
        text = self.host.secret(reference, base=self.workspace.base)
        return tuple(line.strip() for line in text.splitlines() if line.strip())

    def _certify(self, judged: Judged, plan_bytes: bytes) -> None:
        with self._timed("certify") as words:
            certificate = certify(
                [recorded.predicate for recorded in self.ledger.statements()], judged.verdicts,
                not_proven=judged.not_proven, issued_at=self._now(),
            )  # fmt: skip
            self._state(certificate)
            self._write_bundle(plan_bytes)
            words[0] = f"verdict {certificate.verdict.value}"

    def _write_bundle(self, plan_bytes: bytes) -> None:
        write_bundle(self.workspace.bundle, make_bundle(self.ledger, plan_file=plan_bytes, signer=self.signer))

    # -- giving up -----------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """Give the run up while nothing is erased.

        Release the fence, drop the staging, keep the homes for people to look at. Raise Refused once an erasure was
        announced.
        """
        if self.last(ErasurePredicate) is not None:
            raise Refused("an erasure was announced in the log; this run can only be finished: `domicile apply`")
        self._bind(resolve(self.config, self.source.catalogue()))
        self.source.refuse_foreign_staging()
        if self.ledger.size:
            self.journal.put("given_up", value=True, kind=bool)
        self.source.unlimit_sequences()
        self.source.drop_staging()
        self.journal.put("plan", "", str)

    def _refuse_given_up(self) -> None:
        """Raise Refused once a run of which the log tells was abandoned: what was approved, was under its fence."""
        if self.journal.get("given_up", bool):
            raise Refused(f"this run was given up; move {self.workspace.folder} away, empty the homes, and plan anew")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
