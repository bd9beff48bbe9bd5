"""The close of a live move: everybody is at home, and both sides are compared as of one moment of each home.

    nobody comes any more → everybody home → objects frozen, compared
      → each home's moment held, brought back → freeze → compare → restore

It is what the fence is for a move all at once: a clearance rests on the equality that is made here (P1, P2). Homes
live on meanwhile; what changes there later stands in their key-logs, and the erasure leaves it out of the comparison.
The way back is shut from the freeze on, and open again once the freeze is taken back (`reopen`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from domicile import cutover
from domicile.errors import DomicileError, NotEqual, Refused
from domicile.events import Noted
from domicile.evidence.predicates import ClearancePredicate, EqualityPredicate
from domicile.host import Host
from domicile.model import Home, Manifest, Scope, Slice
from domicile.proof import Equality, Fence, Restore
from domicile.record import Record
from domicile.run import stating
from domicile.run.clearing import Clearing, refuse_open_fence
from domicile.run.moving import Moving
from domicile.stores import Living, Snapshot
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live import closing
from domicile.stores.postgres.live.closing import Held
from domicile.stores.postgres.live.follower import Follower
from domicile.stores.postgres.live.standing import Standing
from domicile.stores.postgres.source import PostgresSource

WRITERS_S_MAX = 60.0
DIFFERENCES_TOLD = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A home as `verify` asks for it: the one view that is held."""

    view: Snapshot

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Give the view that is held."""
        yield self.view


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """The stores of a run, its record, and the move."""

    record: Record
    source: PostgresSource
    homes: Mapping[Home, PostgresHome]
    moving: Moving
    clearing: Clearing
    key: bytes
    host: Host

    @property
    def is_closed(self) -> bool:
        """Whether an equality of this close stands, with a restore of each home."""
        stated = self.record.last(EqualityPredicate)
        if stated is None or self.record.kept_equality(stated.sha256) is None or self.source.frozen() is None:
            return False
        return all(self.record.journal.get(f"restore/{stated.sha256}/{home}", Restore) for home in self.homes)

    def close(self, scope: Scope, standing: Standing) -> None:
        """Compare and prove, or find that it was done; raises NotEqual, and then the way back is open again."""
        if self.is_closed:
            for home, store in self.homes.items():
                store.take_manifest(scope, home, self.source)  # a kill may have come before homes kept it
            return
        if not self._close_once(scope, standing, again=True):
            self._close_once(scope, standing, again=False)

    def _close_once(self, scope: Scope, standing: Standing, *, again: bool) -> bool:
        """Close; False where that has to be begun once more, which `again` allows."""
        self.reopen()
        self.record.journal.put("closing", value=True, kind=bool)
        try:
            self.source.let_nobody_come()
            standing.people.await_writers(self.host.monotonic_s() + WRITERS_S_MAX)
            self.moving.everybody(standing)
            self.moving.close_objects(standing)
            for store in self.homes.values():
                store.forget_manifest(scope)
            return self._close(scope, standing, again=again)
        except BaseException:
            self.record.forget_equality()
            with suppress(DomicileError):  # cut off here, the next run does it
                self.reopen()
            raise

    def _close(self, scope: Scope, standing: Standing, *, again: bool) -> bool:
        follower = self.moving.follower(standing)
        with ExitStack() as stack:
            held: dict[Home, Held] = {}
            with self.record.timed("close") as words:
                for home, store in self.homes.items():
                    held[home], snapshot = stack.enter_context(
                        closing.moment_of(store, scope, self.key, at_rest=self.clearing.restores_from_wal(home))
                    )
                    follower.return_until(home, held[home].connection, snapshot)
                manifest = self.source.freeze(scope, refine=partial(closing.refine, held=held))
                for home, moment in held.items():
                    self.homes[home].take_manifest(scope, home, self.source, within=moment.connection)
                leaving = tuple(piece for piece in manifest.slices if piece.leaves)
                words[0] = f"{sum(piece.rows for piece in leaving)} rows in {len(leaving)} slices"
            self.record.journal.put("manifest", manifest, Manifest)
            refuse_open_fence(self.source)
            moments = {home: Moment(view=moment.view) for home, moment in held.items()}
            equality = self.clearing.read_both(self.source, moments, scope, leaving)
            if again and self._return_kept(scope, follower, held, equality):
                return False
            equality = self.clearing.objects.paired(equality)
            sha256 = self._state(manifest, equality)
            self._refuse_unequal(equality)
            for home, moment in held.items():
                self.clearing.restore(scope, home, leaving, equality, sha256, moment)
        return True

    def _return_kept(self, scope: Scope, follower: Follower, held: Mapping[Home, Held], equality: Equality) -> int:
        """Bring back what people of one home have together, and that home alone; return how many rows."""
        rows = 0
        for name, home, count in equality.strays:
            if count:
                came = closing.return_kept(follower, held[home], scope, scope.dataset(name), home)
                if came:
                    self.record.listener(
                        Noted(
                            text=f"{name}: {came} rows at {home} were deleted at the source by one of their people, "
                            "and not by another; they are there again, and both sides are compared anew"
                        )
                    )
                rows += came
        return rows

    def _refuse_unequal(self, equality: Equality) -> None:
        """Raise NotEqual, and name keys to whoever looks on, unless the equality clears."""
        for found in equality.differences[:DIFFERENCES_TOLD]:
            self.record.listener(Noted(text=f"{found.kind} {found.dataset} at {found.home}: {', '.join(found.key)}"))
        try:
            cutover.refuse_unequal(equality, of_objects=(self.moving.objects.told() if self.moving.objects else ""))
        except NotEqual as fault:
            found_ones = str(fault).split(": `domicile verify`", maxsplit=1)[0]
            raise NotEqual(
                f"{found_ones}. Nothing is erased, and the way back is open again. Home is the authority for what is "
                "its people's: mend it there, then `domicile apply --close` compares anew"
            ) from None

    def _state(self, manifest: Manifest, equality: Equality) -> str:
        """Say what was frozen, since when nobody's writes are taken at the source, and what was compared."""
        plan, now = self.record.ledger.plan().plan, self.record.now()
        fence = Fence(position=equality.position, fenced_at=now, subjects=manifest.subjects, wait_ms=0)
        *_, recorded = self.record.state_all(
            [
                stating.freeze_statement(
                    plan, self.clearing.objects.joined(manifest), position=equality.position, frozen_at=now
                ),
                stating.cutover_statement(plan, fence),
                stating.equality_statement(plan, equality),
            ]
        )
        self.record.keep_equality(equality, recorded.sha256)
        return recorded.sha256

    def reopen(self) -> None:
        """Take a freeze back: its equality clears nothing any more, and people may be brought back.

        Raises Refused once something was cleared.
        """
        if self.record.last(ClearancePredicate) is not None:
            raise Refused("an erasure was cleared: home is the only authority from then on, and there is no way back")
        self.record.forget_equality()
        self.source.unfreeze()
        self.clearing.objects.reopen()
        self.record.journal.put("closing", value=False, kind=bool)

    @property
    def is_broken_off(self) -> bool:
        """Whether a close began and came to no end: its freeze stands, or its guards let nobody come."""
        return bool(self.record.journal.get("closing", bool)) and not self.is_closed

    def living(self, standing: Standing, scope: Scope, piece: Slice) -> Living:
        """What the erasure asks of the home of a slice, as it is then."""
        store, feed = self.homes[piece.home], standing.feeds_back[piece.home]
        return closing.living(store, scope, self.key, feed, piece)
