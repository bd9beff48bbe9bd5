"""The move while people write: begin, copy, follow, and cut over cohort by cohort, with a way back.

    begin → copy → follow ⇄ cut over (objects → fence → writers end → drain → compare → objects → flip)
                          ⇅
                       roll back

Holds no rule of its own: `cohorts` says how many go, the stores say who and what. What is done is known from people's
states in the source, from marks in the stores, and from the journal; so each step may be killed and begun again (P5).
A cohort that went, home or back, is noted before its states change and stated in the log after; `settle` finishes what
a kill came between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from domicile.config.rules import Pause
from domicile.cutover import cohorts
from domicile.cutover.cohorts import Cohort, LagPoint, Rule, Way
from domicile.engine import Nice
from domicile.errors import DomicileError, NotEqual, Refused, Unreachable
from domicile.events import Advanced, Noted
from domicile.host import Host
from domicile.model import Home, Manifest, Scope, State
from domicile.objects.underway import UnderWay
from domicile.record import Record
from domicile.run import stating
from domicile.stores.feed import Changefeed
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live.follower import Follower, Stepped
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.live.standing import Standing
from domicile.stores.postgres.source import PostgresSource
from domicile.transfer import copy

TRIES_MAX = 20
STEPS_MAX = 100_000
LATE_COHORTS_MAX = 50
"""How many cohorts of newcomers are taken home in one go: who comes after them goes with the next run, or the close."""
PAUSE_S = 0.2
BREATHING_S = 1.0
"""How long rows wait, at most, while objects are brought; one object is brought whole."""
LAG_POINTS_MAX = 2_000
CATCH_UP_KEYS = 2_000
COHORTS = tuple[Cohort, ...]
LAG = tuple[LagPoint, ...]


@dataclass(slots=True, kw_only=True)
class Moving:
    """The stores of a run, and its record."""

    record: Record
    source: PostgresSource
    homes: Mapping[Home, PostgresHome]
    rule: Rule
    host: Host
    back: bool = True
    """Whether what changes at home is brought back; not from the close on."""
    objects: UnderWay | None = None
    """The objects of the same people, where the file names stores of them."""
    _follower: Follower | None = field(default=None, init=False)
    _last_step_s: float = field(default=0.0, init=False)
    _breathed_s: float = field(default=0.0, init=False)

    def close(self) -> None:
        """Give sessions back."""
        if self._follower is not None:
            self._follower.close()
            self._follower = None

    # -- begin, draft, copy ----------------------------------------------------------------------------------------

    def begin(self, scope: Scope, feed: Changefeed, *, follow: bool = True) -> Standing:
        """Stand guards that refuse nobody yet, begin the feed (to `follow` it), and note when; safe to repeat."""
        standing = Standing(source=self.source, homes=self.homes, scope=scope, feed=feed, host=self.host)
        with self.record.timed("follow") as words:
            standing.begin(follow=follow)
            words[0] = f"{standing.people.count()} people are to go home"
        return standing

    def bring(self, standing: Standing, manifest: Manifest) -> int:
        """Copy the draft's slices home, index them, catch up, and complete the homes; return how many rows went."""
        scope, rows = standing.scope, 0
        shares, nice = len(scope.homes) + 1, self._nice()
        with self.record.timed("transfer", total=sum(piece.rows for piece in manifest.slices)) as words:
            for home in scope.homes:
                store = self.homes[home]
                store.prepare(scope, home, self.source)
                nice.rest()
                done = dict(store.loaded())
                pieces = [piece for piece in manifest.slices if piece.home == home and piece.id not in done]
                rows += sum(measure.rows for measure in done.values())
                for piece, measure in copy(self.source, store, pieces, nice=self._nice()):
                    rows += measure.rows
                    self.record.listener(
                        Advanced(stage="transfer", units=measure.rows, bytes=measure.bytes, text=piece.dataset)
                    )
                nice = self._nice()
                store.index(scope)
                nice.rest()
                standing.settle_in(home)
            follower = self.follower(standing)
            self._until_complete(follower)
            for share, home in enumerate(scope.homes, start=1):
                nice = self._nice()
                self.homes[home].finish(scope, home, share=share, shares=shares)
                nice.rest()
            self.source.limit_sequences(shares=shares)
            words[0] = f"{rows} rows at home"
        self.bring_objects(standing)
        return rows

    def bring_objects(self, standing: Standing, *, until: Callable[[], bool] = lambda: False) -> None:
        """Bring objects home ahead of their people; rows are followed meanwhile."""
        if self.objects is not None:
            with self.record.timed("objects", unit="versions"):
                self.objects.bring_all(standing.scope, self._resting(standing), until=until)

    def close_objects(self, standing: Standing) -> None:
        """Freeze the objects of everybody who is at home, and read them at both ends."""
        if self.objects is not None:
            with self.record.timed("objects", unit="versions") as words:
                self.objects.close(standing.scope, self._breathing(standing))
                words[0] = "frozen, and read at both ends"

    def _breathing(self, standing: Standing) -> Callable[[], None]:
        """What is called between two objects: a step, where the last is some time ago."""
        follower = self.follower(standing)

        def breathe() -> None:
            if self.host.monotonic_s() - self._breathed_s > BREATHING_S:
                self.step(follower)
                self._breathed_s = self.host.monotonic_s()

        return breathe

    def _resting(self, standing: Standing) -> Callable[[], None]:
        """The same where nobody waits: with a rest for each object. Rests bring no step nearer, work does."""
        follower, nice, worked_s = self.follower(standing), self._nice(), 0.0

        def breathe() -> None:
            nonlocal worked_s
            worked_s += nice.rest()
            if worked_s > BREATHING_S:
                self.step(follower)
                worked_s = 0.0

        return breathe

    def _nice(self) -> Nice:
        return Nice(self.rule.nice_ratio, self.host)

    def follower(self, standing: Standing) -> Follower:
        """The sessions of the steps."""
        if self._follower is None:
            self._follower = Follower(
                source=self.source, homes=self.homes, feed=standing.feed, feeds_back=standing.feeds_back,
                scope=standing.scope,
            )  # fmt: skip
        return self._follower

    # -- following -------------------------------------------------------------------------------------------------

    def step(self, follower: Follower, *, cohort: int | None = None, repair: bool = False) -> Stepped:
        """One step back for each home where people live, then one forth; tell how far behind it was.

        Back first: of a row of two people, one of whom is at home, what they wrote there must not be overwritten.
        """
        for home in follower.homes if self.back else ():
            if follower.is_lived_in(home):
                follower.step_back(home)
        done = follower.step(cohort=cohort, repair=repair)
        self._note(done)
        if done.unlike and cohort is None:
            first = done.unlike[0]
            raise NotEqual(
                f"{first.dataset}: {first.home} did not hold what was just brought there ({first.home_rows} rows for "
                f"{first.source_rows}); somebody else writes there. `domicile status` tells more"
            )
        return done

    def _until_complete(self, follower: Follower) -> None:
        nice = self._nice()
        for _ in range(STEPS_MAX):
            complete = self.step(follower).complete
            nice.rest()
            if complete:
                return
        raise Unreachable("the source changes faster than its changes come home; look at the machine, then run again")

    def catch_up(self, follower: Follower) -> None:
        """Step until little is left: what then comes under a fence is little, too."""
        for _ in range(STEPS_MAX):
            done = self.step(follower)
            if done.complete and done.keys <= CATCH_UP_KEYS:
                return

    def follow(self, standing: Standing, *, until: Callable[[], bool]) -> None:
        """Keep homes up to the source while somebody decides; `until` is asked between the steps."""
        follower, nice = self.follower(standing), self._nice()
        self.bring_objects(standing, until=until)
        while not until():
            done = self.step(follower)
            nice.rest()
            if not done.keys:
                self.host.pause(PAUSE_S)

    def _note(self, done: Stepped) -> None:
        now = self.host.now()
        began = self.record.journal.once("followed_since", type(now), lambda: now)
        behind = max(0.0, (now - done.oldest).total_seconds()) if done.oldest else 0.0
        point = LagPoint(at_s=(now - began).total_seconds(), changes=done.changes, behind_s=behind)
        self.record.listener(Advanced(stage="follow", units=done.changes, text=f"{behind:.1f} s behind"))
        if not done.changes and point.at_s - self._last_step_s < 1.0:
            return
        self._last_step_s = point.at_s
        points = self.record.journal.get("lag", LAG) or ()
        if len(points) >= LAG_POINTS_MAX:
            points = points[::2]
        self.record.journal.put("lag", (*points, point), LAG)

    # -- cutting over ----------------------------------------------------------------------------------------------

    def cut_over(self, standing: Standing, *, size: int | None = None, keys: tuple[str, ...] = ()) -> Cohort:
        """Take one cohort home: these people, or so many of those who are left. Raises Refused when nobody is."""
        people = standing.people
        number = people.fenced_cohort()
        if number is None:
            number = people.choose(self._next_number(), keys=keys, size=size)
        else:
            people.move(number, "moving")  # a run was killed: nobody waits while all of it is looked at again
        if number is None:
            raise Refused("everybody is at home" if not keys else "none of these people is waiting to go home")
        follower = self.follower(standing)
        self._bring_objects_of(standing, number)
        why = ""
        for tried in range(1, TRIES_MAX + 1):
            cohort = self._try(standing, follower, number, tried)
            self._keep(cohort)
            if cohort.way is Way.HOME:
                self._state()
                return cohort
            why = cohort.why
            self.host.pause(PAUSE_S * tried)
        people.dissolve(number)
        raise Unreachable(
            f"cohort {number}: let go {TRIES_MAX} times, nobody of it is fenced now. The last time: {why}; try again"
        )

    def _bring_objects_of(self, standing: Standing, number: int) -> None:
        """Bring the objects of a cohort's people before it is fenced; where they are too many, it is no cohort."""
        if self.objects is None:
            return
        breathe = self._breathing(standing)
        try:
            self.objects.bring_cohort(standing.scope, number, breathe, wait_s_max=self.rule.wait_s_max)
        except Refused:
            standing.people.dissolve(number)
            raise

    def _try(self, standing: Standing, follower: Follower, number: int, tried: int) -> Cohort:
        """Fence, wait for writers, drain, compare, flip; let go when the time is over or something differs."""
        people = standing.people
        self.catch_up(follower)
        found = self.step(follower, cohort=number, repair=True)
        if found.unlike:
            self.record.listener(Noted(text=f"cohort {number}: {len(found.unlike)} datasets differed, brought again"))
        self.catch_up(follower)  # once more: comparing took its time, and what came meanwhile would be drained fenced
        began_s = self.host.monotonic_s()
        deadline = began_s + self.rule.wait_s_max
        fenced_at, steps = self.record.now(), list[Stepped]()
        people.move(number, "fenced")
        awaited, why, position = 0, "", ""
        try:
            awaited = people.await_writers(deadline)
            position, why = self._drain(follower, number, deadline, steps)
            if self.objects is not None and not why:
                self.objects.look(standing.scope, number, deadline)
        except Unreachable as fault:
            why = str(fault)
        except BaseException:
            with suppress(DomicileError):  # cut off here, the next run does it
                self._let_go(people, number)
            raise
        if why:
            self._let_go(people, number)
        cohort = Cohort(
            number=number, way=Way.RELEASED if why else Way.HOME, subjects=people.of(number), fenced_at=fenced_at,
            position=position, wait_ms=self._since(began_s), awaited_ms=awaited,
            rows=sum(done.rows + done.gone for done in steps), why=f"{why} (try {tried})" if why else "",
        )  # fmt: skip
        if not why:
            self._announce(cohort)
            people.flip_home(number)
            cohort = replace(cohort, wait_ms=self._since(began_s))
        for done in steps:  # not before: who is fenced waits for no note
            self._note(done)
        return cohort

    def _let_go(self, people: People, number: int) -> None:
        people.move(number, "moving")
        if self.objects is not None:
            self.objects.unsettle(number)

    def _since(self, began_s: float) -> int:
        return round((self.host.monotonic_s() - began_s) * 1000)

    def _announce(self, cohort: Cohort) -> None:
        """Note what is about to become of a cohort, with its wait so far."""
        self.record.journal.put("flipping", (cohort,), COHORTS)

    def settle(self, standing: Standing) -> None:
        """Finish what a kill came between: states that changed and were not noted, cohorts that were not stated."""
        people = standing.people
        for cohort in self.record.journal.get("flipping", COHORTS) or ():
            states = people.states_of(cohort.number)  # none of one that went back, once it is dissolved
            went = states == {State.HOME} if cohort.way is Way.HOME else states <= {State.MOVING}
            if went and cohort.way is Way.SOURCE:
                people.dissolve(cohort.number)
                if self.objects is not None:
                    self.objects.unsettle(cohort.number)
            if went:
                self._keep(cohort)
        self.record.journal.put("flipping", (), COHORTS)
        self._state()

    def _state(self) -> None:
        """Have every cohort that went in the log; those that stand there keep their place."""
        gone = [cohort for cohort in self.cohorts() if cohort.way is not Way.RELEASED]
        if gone:
            plan = self.record.ledger.plan().plan
            self.record.tell_all(stating.cohort_statement(plan, cohort) for cohort in gone)

    def _drain(self, follower: Follower, number: int, deadline: float, steps: list[Stepped]) -> tuple[str, str]:
        """Bring what is left under the fence, in `steps`; return the position, and why it may not go on."""
        while True:
            with follower.in_haste(deadline - self.host.monotonic_s()):
                done = follower.step()
            steps.append(done)
            if done.unlike:
                return "", f"{done.unlike[0].dataset} was not at home as it was brought"
            if done.astray:
                return "", f"{done.astray} people came into another market just then"
            if self.host.monotonic_s() > deadline:
                return "", f"cohort {number}: the drain took longer than {self.rule.wait_s_max} s"
            if done.complete:
                return self.source.position(), ""

    def roll_back(self, standing: Standing, number: int) -> Cohort:
        """Bring one cohort back to the source, with all that it did at home."""
        people, follower = standing.people, self.follower(standing)
        homes = people.homes_of(number)
        for home in follower.homes:
            if follower.is_lived_in(home):
                follower.step_back(home)
        with follower.bringing_back(number, homes):
            for home in homes:
                follower.return_shared(home, number)
        objects = 0 if self.objects is None else self.objects.bring_back(standing.scope, number, fenced=False)
        began_s, fenced_at = self.host.monotonic_s(), self.record.now()
        people.fence_at_home(number)
        rows = 0
        try:
            awaited = people.await_writers_at_home(number, began_s + self.rule.wait_s_max)
            for home in homes:
                complete = False
                while not complete:
                    with follower.in_haste(self.rule.wait_s_max), follower.bringing_back(number, homes):
                        done = follower.step_back(home)
                    complete, rows = done.complete, rows + done.rows + done.gone
            if self.objects is not None:
                objects += self.objects.bring_back(standing.scope, number, fenced=True)
        except BaseException:
            with suppress(DomicileError):  # cut off here, the next run does it
                people.unfence_at_home(number)
            raise
        cohort = Cohort(
            number=number, way=Way.SOURCE, subjects=people.of(number), fenced_at=fenced_at,
            position=self.source.position(), wait_ms=self._since(began_s), awaited_ms=awaited, rows=rows,
        )  # fmt: skip
        self._announce(cohort)
        people.flip_back(number)
        cohort = replace(cohort, wait_ms=self._since(began_s))
        people.dissolve(number)
        if self.objects is not None:
            self.objects.unsettle(number)
            self.record.listener(Noted(text=f"cohort {number}: {objects} objects were brought back"))
        self._keep(cohort)
        self._state()
        return cohort

    def _next_number(self) -> int:
        return max((cohort.number for cohort in self.cohorts()), default=0) + 1

    def _keep(self, cohort: Cohort) -> None:
        self.record.journal.put("cohorts", (*self.cohorts(), cohort), COHORTS)
        self.record.journal.put("flipping", (), COHORTS)

    def cohorts(self) -> COHORTS:
        """What became of the cohorts so far."""
        return self.record.journal.get("cohorts", COHORTS) or ()

    def everybody(self, standing: Standing, *, pause: Pause = Pause.NEVER) -> int:
        """Take people home, canaries first, then cohorts that grow as the rule says; return how many are left.

        Stops where the rule wants a person to look first: after the first cohort of all, or after each. Where people
        keep coming, it ends once as many are home as there were, and some cohorts more.
        """
        self._until_complete(self.follower(standing))
        nice, due, late = self._nice(), standing.people.left(), 0
        while (left := standing.people.left()) and late < LATE_COHORTS_MAX:
            cohort = self.next_cohort(standing)
            nice.rest()
            due -= cohort.people
            late += due < 0
            left = standing.people.left()
            if not left:
                self._until_complete(self.follower(standing))
            elif pause is Pause.EACH or (pause is Pause.FIRST and cohort.number == 1):
                return left
        return 0

    def next_cohort(self, standing: Standing) -> Cohort:
        """Take the cohort home whose turn it is."""
        gone = sum(cohort.way is Way.HOME for cohort in self.cohorts())
        keys = self.rule.canaries if not gone else ()
        total = standing.people.count()
        size = cohorts.size_of(max(0, gone - bool(self.rule.canaries)), self.rule.grow, total)
        if keys and not standing.people.waiting(keys):
            self.record.listener(Noted(text="none of the canaries that the file names is to go home"))
            keys = ()
        return self.chosen_cohort(standing, size=None if keys else size, keys=keys)

    def chosen_cohort(self, standing: Standing, *, size: int | None = None, keys: tuple[str, ...] = ()) -> Cohort:
        """Take these people home, or so many, and tell of it."""
        with self.record.timed("cut over") as words:
            cohort = self.cut_over(standing, size=size, keys=keys)
            words[0] = f"cohort {cohort.number}: {cohort.people} people, each waited {cohort.wait_ms} ms"
        return cohort
