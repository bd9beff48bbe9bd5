"""A run that moves people while everybody writes: the order of its stages up to the clearance.

    begin → draft → copy → follow ⇄ cohorts home ⇄ cohorts back → close

`run` goes on from there as after a move all at once. Everything here may be killed and called again (P5): the source's
marks, people's states, the journal and the log say what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from domicile.config import Config, CutoverRule
from domicile.cutover.cohorts import Cohort, Rule, Way
from domicile.errors import BadFile, FeedBroken, Refused, Undecided, Waiting, WorldChanged
from domicile.events import Noted
from domicile.evidence.predicates import ApprovalRule, ClearancePredicate
from domicile.host import Host
from domicile.model import Home, Manifest, Scope, Slice
from domicile.objects import refuse_unfit
from domicile.plan.document import Plan
from domicile.proof import Copy, Fence
from domicile.record import Record
from domicile.run import stating
from domicile.run.clearing import Clearing
from domicile.run.closing import Closing
from domicile.run.moving import Moving
from domicile.stores import Living
from domicile.stores.feed import FeedKind
from domicile.stores.postgres.feed.choosing import AUTO, make_feed
from domicile.stores.postgres.feed.followed import followed
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live.standing import Standing
from domicile.stores.postgres.session import Session, faults
from domicile.stores.postgres.source import PostgresSource

LAY_BY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who is to go next: these people, so many, or a share of all; by none of them the file's own rule."""

    keys: tuple[str, ...] = ()
    people: int | None = None
    share: float | None = None


@dataclass(slots=True, kw_only=True)
class Live:
    """The stores of a run, its record, and what the file says of cohorts."""

    record: Record
    source: PostgresSource
    homes: Mapping[Home, PostgresHome]
    config: Config
    clearing: Clearing
    rule: CutoverRule
    key: bytes
    host: Host
    _standing: Standing | None = field(default=None, init=False)
    _sessions: list[Session] = field(default_factory=list, init=False)
    _moving: Moving | None = field(default=None, init=False)

    def end(self) -> None:
        """Give sessions back."""
        if self._moving is not None:
            self._moving.close()
        if self._standing is not None:
            self._standing.close()
        while self._sessions:
            self._sessions.pop().close()

    @property
    def moving(self) -> Moving:
        """The move."""
        if self._moving is None:
            rule = Rule(
                canaries=self.rule.canaries, grow=self.rule.grow, wait_s_max=self.rule.wait_s_max,
                nice_ratio=self.rule.nice_ratio,
            )  # fmt: skip
            objects = self.clearing.objects
            self._moving = Moving(
                record=self.record, source=self.source, homes=self.homes, rule=rule, host=self.host,
                objects=objects.under_way(self.record.listener) if objects else None,
            )  # fmt: skip
        return self._moving

    @property
    def closing(self) -> Closing:
        """Its close."""
        return Closing(
            record=self.record,
            source=self.source,
            homes=self.homes,
            moving=self.moving,
            clearing=self.clearing,
            key=self.key,
            host=self.host,
        )

    # -- standing --------------------------------------------------------------------------------------------------

    def stand(self, scope: Scope, *, follow: bool = True) -> Standing:
        """Stand guards that refuse nobody yet, begin the feed; or find what stands, and finish what a kill left.

        Without `follow` the feed may be broken: people can be brought back all the same.
        """
        if self._standing is not None:
            return self._standing
        session = Session(self.source.dsn, store=self.source.name)
        self._sessions.append(session)
        feed = make_feed(
            FeedKind(self.rule.feed) if self.rule.feed != AUTO else AUTO, session, followed(scope), host=self.host,
            retained_mib_max=self.rule.retained_mib_max,
        )  # fmt: skip
        follow = follow and not self._is_cleared  # a feed that ended must not begin as if nothing had passed it
        self._standing = standing = self.moving.begin(scope, feed, follow=follow)
        if self._is_brought:
            for home in self.homes:
                self.homes[home].bind(scope)
                standing.settle_in(home)
            self.moving.settle(standing)
            closing = self.closing
            self.moving.back = not closing.is_closed
            if closing.is_broken_off:
                closing.reopen()
        return standing

    def find(self, scope: Scope, *, follow: bool = True) -> Standing:
        """The move that is under way; raises Refused where none is, or nobody can go home yet."""
        if not self._is_brought or not self.source.fence_stands():
            raise Refused("no move is under way, or its rows are not at home yet; `domicile apply` begins it")
        return self.stand(scope, follow=follow)

    @property
    def _is_brought(self) -> bool:
        return bool(self.record.journal.get("brought", bool))

    # -- the stages ------------------------------------------------------------------------------------------------

    def bring(
        self, scope: Scope, plan: Plan, sha256: str, *, copies: Callable[[], tuple[Copy, ...]], approvals: ApprovalRule
    ) -> Standing:
        """Begin, draft, state the plan, copy, and complete the homes."""
        standing = self.stand(scope, follow=not self.closing.is_closed)
        if self._is_brought:
            return standing
        self._keep_fence()
        if self.moving.objects is not None:
            self.moving.objects.begin(refuse_unfit=refuse_unfit)
        with self.record.timed("draft") as words:
            try:
                manifest = self.source.draft(scope)
            except Undecided:
                self._take_down(standing)
                raise
            words[0] = f"{sum(piece.rows for piece in manifest.slices)} rows in {len(manifest.slices)} slices"
        self.record.journal.put("manifest", manifest, Manifest)
        if not self.record.ledger.size:
            stated = stating.plan_statement(
                sha256, plan, self.config, manifest, copies=copies(), approvals=approvals, live=True
            )
            self.record.remember(plan.made_at)
            self.record.state_all([stated, *stating.finding_statements(sha256, manifest)])
        self.moving.bring(standing, manifest)
        self.record.journal.put("brought", value=True, kind=bool)
        return standing

    def _keep_fence(self) -> None:
        fence = self.source.standing_fence()
        if fence is not None:
            self.record.journal.put("fence", replace(fence, wait_ms=0), Fence)

    def _take_down(self, standing: Standing) -> None:
        """Leave nothing of a move that could not begin."""
        standing.feed.end()
        self.source.forget_movers()
        self.source.drop_staging()
        self.record.journal.put("plan", "", str)

    def take_home(self, standing: Standing) -> None:
        """Take everybody home, cohort by cohort; raises Waiting where the file wants a person to look first."""
        if not self.moving.back:
            return
        left = self.moving.everybody(standing, pause=self.rule.pause)
        if left:
            last = self.moving.cohorts()[-1]
            raise Waiting(
                f"cohort {last.number} is at home ({last.people} people, each waited {last.wait_ms} ms), {left} are "
                "left; look at the service, then `domicile apply` again, or `domicile rollback --cohort "
                f"{last.number}`. `cutover.pause: never` in the file doesn't stop here"
            )

    def close(self, scope: Scope, standing: Standing, *, yes: bool) -> None:
        """End the move; without `yes`, wait."""
        if not yes and not self.closing.is_closed:
            left = standing.people.left()
            came = f", {left} came meanwhile and go with the next `domicile apply`" if left else ""
            home = "all " * (not left) + str(standing.people.count() - left)
            raise Waiting(
                f"{home} people live at home{came}, and the way back is open: what they do there flows to the source. "
                "`domicile follow` keeps it flowing, `domicile apply --close` compares both sides and shuts it"
            )
        self.closing.close(scope, standing)
        self.moving.back = False
        self._lay_by(standing)

    def _lay_by(self, standing: Standing) -> None:
        """While approvals are awaited nobody reads the source's feed: it holds nothing of the server's log back.

        Only a close that is taken back needs it once more, so a broken one stops nothing here.
        """
        if self._is_cleared:
            return
        try:
            standing.feed.lay_by()
        except (FeedBroken, WorldChanged) as fault:
            self.record.listener(Noted(text=f"{fault} (`domicile rollback` still brings people back)"))

    def cleared(self) -> None:
        """There is no way back any more: what followed the source ends, and holds nothing back while rows go."""
        if self._standing is not None:
            self._standing.feed.end()

    def _refuse_cleared(self) -> None:
        if self._is_cleared:
            raise Refused("an erasure was cleared: home is the only authority from then on, and there is no way back")

    @property
    def _is_cleared(self) -> bool:
        return self.record.last(ClearancePredicate) is not None

    def living(self, scope: Scope) -> Callable[[Slice], Living]:
        """What the erasure asks of homes that live on."""
        standing = self.stand(scope)
        return lambda piece: self.closing.living(standing, scope, piece)

    def leave(self, scope: Scope) -> None:
        """All is erased: nothing is followed or guarded any more.

        The sessions of the steps end as well, and ours drops its temporary tables: they hold what passed, deleted and
        not gone.
        """
        self.stand(scope, follow=False).leave()
        self.moving.close()
        with faults(self.source.name, "drop the session's temporary tables"):
            self.source.connection.execute("DISCARD TEMP")

    # -- by hand ---------------------------------------------------------------------------------------------------

    def cut_over(self, scope: Scope, chosen: Chosen) -> Cohort:
        """Take one cohort home. Raises Refused when nobody is left, or none of those who were named."""
        standing = self.find(scope)
        if not self.moving.back:
            raise Refused("the move is closed: everybody is at home")
        if chosen == Chosen():
            if not standing.people.left():
                raise Refused("everybody is at home")
            return self.moving.next_cohort(standing)
        people = chosen.people
        if chosen.share is not None:
            people = max(1, round(standing.people.count() * chosen.share))
        return self.moving.chosen_cohort(standing, size=people, keys=chosen.keys)

    def roll_back(self, scope: Scope, number: int) -> Cohort:
        """Bring one cohort back; Refused once something was cleared, or where that cohort isn't at home."""
        self._refuse_cleared()
        standing = self.find(scope, follow=False)
        last = next((one for one in reversed(self.moving.cohorts()) if one.number == number), None)
        if last is None or last.way is not Way.HOME:
            known = ", ".join(str(one.number) for one in self.at_home()) or "none"
            raise Refused(f"cohort {number} is not at home; at home are: {known}")
        if not self.moving.back:
            self.closing.reopen()
            self.moving.back = True
        with self.record.timed("roll back") as words:
            cohort = self.moving.roll_back(standing, number)
            words[0] = f"cohort {number}: {cohort.people} people, each waited {cohort.wait_ms} ms"
        return cohort

    def at_home(self) -> tuple[Cohort, ...]:
        """The cohorts that are at home now, in the order of their numbers."""
        last = {cohort.number: cohort for cohort in self.moving.cohorts() if cohort.way is not Way.RELEASED}
        return tuple(one for _, one in sorted(last.items()) if one.way is Way.HOME)

    def follow(self, scope: Scope, *, until: Callable[[], bool]) -> None:
        """Keep both sides up to each other until told otherwise."""
        self._refuse_cleared()
        standing = self.find(scope)
        with self.record.timed("follow") as words:
            if self.moving.back:
                self.moving.follow(standing, until=until)
            while not until():
                self._lay_by(standing)
                self.host.pause(LAY_BY_S)
            lag = standing.feed.lag()
            words[0] = f"{standing.people.left()} people still to go, {lag.rows} changes wait"

    def abandon(self, scope: Scope) -> None:
        """Give the move up: refused while people live at home, as what they did there would be lost."""
        at_home = self.at_home() if self._is_brought else ()
        if at_home:
            named = ", ".join(str(cohort.number) for cohort in at_home)
            raise Refused(f"people live at home (cohorts {named}); `domicile rollback` each of them first")
        self.stand(scope, follow=False).leave()


def cohort_of(text: str) -> Chosen:
    """Read `--cohort`: `next`, a share such as `1%`, a number of people, or their keys as `key:42,43`."""
    if text in {"", "next"}:
        return Chosen()
    if text.startswith("key:"):
        keys = tuple(part for part in text.removeprefix("key:").split(",") if part)
        if keys:
            return Chosen(keys=keys)
    elif text.endswith("%"):
        share = _number(text[:-1])
        if share is not None and 0 < share <= 100:
            return Chosen(share=share / 100)
    elif text.isdecimal() and int(text) > 0:
        return Chosen(people=int(text))
    raise BadFile(f"--cohort {text!r}: write `next`, `1%`, a number of people, or `key:42,43`")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
