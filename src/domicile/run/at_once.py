"""A move of all people at once: fenced, frozen, copied, so that both sides can be compared as they stand.

The other form is `live`. What follows (compare, restore, clear, erase) is the same of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from domicile.config import Config
from domicile.errors import Unclassed, Undecided, WorldChanged
from domicile.evidence.codec import encode
from domicile.evidence.predicates import ApprovalRule, CutoverPredicate
from domicile.model import Home, Manifest, Scope, State
from domicile.objects import Objects
from domicile.plan.document import Plan, refuse_changed_world
from domicile.proof import Copy, Fence
from domicile.record import Record
from domicile.run import carrying, stating
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.source import PostgresSource
from domicile.transfer import transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOnce:
    """The move, with its stores and its record."""

    record: Record
    source: PostgresSource
    homes: Mapping[Home, PostgresHome]
    config: Config
    config_bytes: bytes
    objects: Objects

    def bring(
        self, scope: Scope, plan: Plan, sha256: str, *, copies: Callable[[], tuple[Copy, ...]], approvals: ApprovalRule
    ) -> Manifest:
        """Fence, freeze, state the plan whose file has this SHA-256, copy; return what was frozen. Safe to repeat."""
        fence = self._fence(scope, plan)
        manifest = self._freeze(scope, plan)
        if not self.record.ledger.size:
            stated = stating.plan_statement(
                sha256, plan, self.config, self.objects.joined(manifest), copies=copies(), approvals=approvals
            )
            self.record.state_all([stated, *stating.finding_statements(sha256, manifest)])
        self._transfer(scope, manifest)
        self._cut_over(fence)
        return manifest

    def _cut_over(self, fence: Fence) -> None:
        """State the fence once: nobody comes into it or out of it, so another one on the same plan is an attack."""
        cut = stating.cutover_statement(self.record.ledger.plan().plan, fence)
        stated = self.record.last(CutoverPredicate)
        if stated is not None and encode(stated.predicate) != encode(cut):
            raise WorldChanged(
                "the fence at the source is not the one in the log: of other people, or another moment; nothing is "
                "erased. Look who changed the schema `domicile`; `domicile abandon` gives the run up"
            )
        self.record.state(cut)

    def _fence(self, scope: Scope, plan: Plan) -> Fence:
        stood = self.record.journal.get("fence", Fence)
        with self.record.timed("fence") as words:
            if self.config.directory:
                self.source.make_directory()
            fence = self.source.stand_fence(scope)
            if stood is None:
                self.source.record_places(scope, State.FENCED)
            fence = replace(fence, fenced_at=max(fence.fenced_at, plan.made_at))
            self.record.remember(fence.fenced_at)
            waited = f"stands since {fence.fenced_at:%H:%M:%S} UTC" if stood else f"others waited {fence.wait_ms} ms"
            words[0] = f"{sum(count for _, count in fence.subjects)} subjects; {waited}"
        self.record.journal.put("fence", fence, Fence)
        return fence

    def _freeze(self, scope: Scope, plan: Plan) -> Manifest:
        with self.record.timed("freeze") as words:
            try:
                manifest = self.source.freeze(scope)
                self.objects.freeze(scope, begun=bool(self.record.ledger.size))
            except (Undecided, Unclassed):
                self.source.forget_movers()
                self.source.drop_staging()
                self.objects.forget()
                self.record.journal.put("plan", "", str)
                raise
            words[0] = f"{sum(piece.rows for piece in manifest.slices)} rows in {len(manifest.slices)} slices"
        self.record.journal.put("manifest", manifest, Manifest)
        refuse_changed_world(plan, self.config_bytes, self.source.catalogue())
        return manifest

    def _transfer(self, scope: Scope, manifest: Manifest) -> None:
        shares = len(scope.homes) + 1
        with self.record.timed("transfer", total=sum(piece.rows for piece in manifest.slices)) as words:
            rows = 0
            for share, home in enumerate(scope.homes, start=1):
                slices = [piece for piece in manifest.slices if piece.home == home]
                measures = transfer(
                    self.source, self.homes[home], scope, home, slices, share=share, shares=shares,
                    listener=self.record.listener,
                )  # fmt: skip
                done = {measure.slice: measure for measure in measures}
                carrying.state_brought(self.record, home, slices, done)
                rows += sum(measure.rows for measure in measures)
            self.source.limit_sequences(shares=shares)
            words[0] = f"{rows} rows at home"
        carrying.bring(self.record, self.objects, scope.homes)
