"""What stands while a move is under way: guards and lists on both sides, the source's feed, the homes' key-logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from domicile.host import Host
from domicile.model import Home, Scope, State
from domicile.stores.feed import Changefeed
from domicile.stores.postgres import fence, places
from domicile.stores.postgres.feed.followed import patiently
from domicile.stores.postgres.feed.triggers import TriggerFeed
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.live import back
from domicile.stores.postgres.live.people import People
from domicile.stores.postgres.session import Session, faults
from domicile.stores.postgres.source import PostgresSource


@dataclass(slots=True, kw_only=True)
class Standing:
    """One run's; `begin` and `settle_in` are safe to repeat, and give what stood before a kill its state again."""

    source: PostgresSource
    homes: Mapping[Home, PostgresHome]
    scope: Scope
    feed: Changefeed
    host: Host
    feeds_back: dict[Home, Changefeed] = field(default_factory=dict)
    _sessions: list[Session] = field(default_factory=list, init=False)

    @property
    def people(self) -> People:
        """The movers."""
        return People(source=self.source, homes=self.homes, scope=self.scope, host=self.host)

    def close(self) -> None:
        """Give the sessions of the ways back."""
        while self._sessions:
            self._sessions.pop().close()

    def leave(self) -> None:
        """Take away what followed and guarded: the feed at the source, logs and guards at the homes. Safe to repeat."""
        self.feed.end()
        for home, store in self.homes.items():
            self._feed_back(home).end()
            session = Session(store.dsn, store=store.name)
            self._sessions.append(session)
            for dataset in fence.guarded(self.scope):
                patiently(session, self.host, "take its guard away", partial(fence.remove, dataset=dataset))

    def begin(self, *, follow: bool) -> None:
        """Stand guards that refuse nobody yet, and begin the feed, or find both.

        Without `follow` the feed is left alone: who is brought back needs none, and it may be broken.
        """
        self.source.stand_fence(self.scope, state=State.MOVING)
        with faults(self.source.name, "list people"), self.source.connection.transaction():
            back.make_waiting(self.source.connection, self.scope)
            places.create(self.source.connection, store=self.source.name)
            places.record_all(self.source.connection, self.scope)
        if follow:
            self.feed.begin()

    def settle_in(self, home: Home) -> None:
        """At home: the list of its people, a guard that refuses writes before their time, the log of the way back."""
        store = self.homes[home]
        with faults(store.name, "stand its guard"):
            fence.install_at_home(store.connection, self.scope)
            places.create(store.connection, store=store.name)
        self._feed_back(home).begin()
        self.people.tell(home)

    def _feed_back(self, home: Home) -> Changefeed:
        """The home's key-log, in a session of its own."""
        if home not in self.feeds_back:
            session = Session(self.homes[home].dsn, store=self.homes[home].name)
            self._sessions.append(session)
            followed = [dataset for dataset in self.scope.datasets if dataset.decided]
            self.feeds_back[home] = TriggerFeed(session, followed, host=self.host)
        return self.feeds_back[home]
