"""People's states, in the source and in their homes: who is chosen, fenced, at home, or brought back.

The source's word counts; a home's list follows it. Between the two words both guards refuse, so that there are never
two authorities: a flip tells the source first (which refuses from the fence on), then home (which takes writes then).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from domicile.host import Host
from domicile.model import Home, Kind, Scope, State
from domicile.stores.postgres import places, writers
from domicile.stores.postgres.home import PostgresHome
from domicile.stores.postgres.names import movers_of, staged
from domicile.stores.postgres.session import faults, number, run
from domicile.stores.postgres.source import PostgresSource


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The movers of one run; `host` is the clock that waits are measured by."""

    source: PostgresSource
    homes: Mapping[Home, PostgresHome]
    scope: Scope
    host: Host

    # -- looking ---------------------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many movers there are."""
        return self._count("true")

    def left(self) -> int:
        """How many are not at home yet."""
        return self._count("s.state <> 'home'")

    def fenced_cohort(self) -> int | None:
        """The cohort that was chosen, or fenced, and never came home: a run that was killed goes on with it."""
        found = [cohort for cohort in self._numbers(sql.SQL("min(s.cohort)"), "s.state <> 'home'") if cohort]
        return min(found, default=None)

    def of(self, cohort: int) -> tuple[tuple[Home, int], ...]:
        """The cohort's people by home."""
        counts: dict[Home, int] = {}
        for kind in self.scope.kinds:
            query = sql.SQL("SELECT home, count(*) FROM {} WHERE cohort = {} GROUP BY 1 ORDER BY 1").format(
                movers_of(kind.dataset), sql.Literal(cohort)
            )
            with faults(self.source.name, "count a cohort"):
                for home, people in run(self.source.connection, query):
                    counts[Home(home)] = counts.get(Home(home), 0) + int(people)
        return tuple(sorted(counts.items()))

    def states_of(self, cohort: int) -> set[State]:
        """The states that the cohort's people are in."""
        found: set[State] = set()
        for kind in self.scope.kinds:
            query = sql.SQL("SELECT DISTINCT state FROM {} WHERE cohort = {}").format(
                movers_of(kind.dataset), sql.Literal(cohort)
            )
            with faults(self.source.name, "look at a cohort's states"):
                found |= {State(state) for (state,) in run(self.source.connection, query)}
        return found

    def homes_of(self, cohort: int) -> tuple[Home, ...]:
        """The homes to which the cohort's people go."""
        return tuple(home for home, _ in self.of(cohort))

    def waiting(self, keys: tuple[str, ...]) -> int:
        """How many of the people of these keys are to go and in no cohort yet."""
        found = 0
        with faults(self.source.name, "look for people"):
            for kind in self.scope.kinds:
                query = sql.SQL("SELECT count(*) FROM {} AS s WHERE s.state = 'moving' AND s.key::text = ANY(%s)")
                row = self.source.connection.execute(query.format(movers_of(kind.dataset)), [list(keys)]).fetchone()
                found += int(row[0]) if row else 0
        return found

    def _count(self, condition: LiteralString) -> int:
        return sum(self._numbers(sql.SQL("count(*)"), condition))

    def _numbers(self, wanted: sql.SQL, condition: LiteralString) -> list[int]:
        """The number wanted of each kind's people `s`."""
        with faults(self.source.name, "look at people's states"):
            return [
                number(
                    self.source.connection,
                    sql.SQL("SELECT {} FROM {} AS s WHERE {}").format(
                        wanted, movers_of(kind.dataset), sql.SQL(condition)
                    ),
                )
                for kind in self.scope.kinds
            ]

    # -- choosing --------------------------------------------------------------------------------------------------

    def choose(self, cohort: int, *, keys: tuple[str, ...], size: int | None) -> int | None:
        """Put people into a cohort: those of these keys, or so many of those who wait; None where there are none.

        Who is chosen of those who wait depends on nothing but the cohort's number and their keys.
        """
        chosen = 0
        with faults(self.source.name, "choose a cohort"), self.source.connection.transaction():
            for kind in self.scope.kinds:
                chosen += self._choose(kind, cohort, keys, None if size is None else size - chosen)
        return cohort if chosen else None

    def _choose(self, kind: Kind, cohort: int, keys: tuple[str, ...], size: int | None) -> int:
        movers = movers_of(kind.dataset)
        wanted = sql.SQL("y.key::text = ANY(%s)") if keys else sql.SQL("true")
        query = sql.SQL(
            "UPDATE {movers} AS s SET cohort = {cohort} WHERE s.key IN (SELECT y.key FROM {movers} AS y"
            " WHERE y.state = 'moving' AND y.cohort IS NULL AND {wanted} ORDER BY md5(y.key::text || {seed})"
            " LIMIT {size})"
        ).format(
            movers=movers, cohort=sql.Literal(cohort), wanted=wanted, seed=sql.Literal(f"/{cohort}"),
            size=sql.Literal(size) if size is not None else sql.SQL("ALL"),
        )  # fmt: skip
        return self.source.connection.execute(query, [list(keys)] if keys else None).rowcount

    def dissolve(self, cohort: int) -> None:
        """Let the cohort's people wait again, in no cohort."""
        with faults(self.source.name, "dissolve a cohort"), self.source.connection.transaction():
            for kind in self.scope.kinds:
                query = sql.SQL("UPDATE {} SET cohort = NULL WHERE cohort = {} AND state = 'moving'")
                run(self.source.connection, query.format(movers_of(kind.dataset), sql.Literal(cohort)))

    # -- moving ----------------------------------------------------------------------------------------------------

    def move(self, cohort: int, state: LiteralString) -> None:
        """Say at the source that the cohort's people, who are not at home, are in this state."""
        self._say(cohort, state, of="s.state <> 'home'")

    def flip_home(self, cohort: int) -> None:
        """From now on home is the authority: the source says so first, then home takes writes."""
        self._say(cohort, "home", of="s.state = 'fenced'")
        self._tell_cohort(cohort)

    def fence_at_home(self, cohort: int) -> None:
        """Nobody writes what is the cohort's at home any more; the source refuses already."""
        for home, store in self.homes.items():
            del home
            with faults(store.name, "fence a cohort"), store.connection.transaction():
                for kind in self.scope.kinds:
                    query = sql.SQL("UPDATE {} SET state = 'fenced' WHERE cohort = {} AND state = 'home'")
                    run(store.connection, query.format(movers_of(kind.dataset), sql.Literal(cohort)))
        with faults(self.source.name, "tell the directory"), self.source.connection.transaction():
            for kind in self.scope.kinds:
                mine = sql.SQL("s.cohort = {}").format(sql.Literal(cohort))
                places.record(self.source.connection, kind, where=mine, state=State.FENCED)

    def unfence_at_home(self, cohort: int) -> None:
        """Who was to be brought back goes on living at home."""
        with faults(self.source.name, "tell the directory"), self.source.connection.transaction():
            for kind in self.scope.kinds:
                mine = sql.SQL("s.cohort = {}").format(sql.Literal(cohort))
                places.record(self.source.connection, kind, where=mine)
        self._tell_cohort(cohort)

    def flip_back(self, cohort: int) -> None:
        """From now on the source is the authority again."""
        self._say(cohort, "moving", of="s.state = 'home'")
        self._tell_cohort(cohort)

    def _say(self, cohort: int, state: LiteralString, *, of: LiteralString) -> None:
        connection = self.source.connection
        mine = sql.SQL("s.cohort = {}").format(sql.Literal(cohort))
        with faults(self.source.name, f"say that a cohort is {state}"), connection.transaction():
            for kind in self.scope.kinds:
                query = sql.SQL("UPDATE {} AS s SET state = {} WHERE {} AND {}").format(
                    movers_of(kind.dataset), sql.Literal(state), mine, sql.SQL(of)
                )
                run(connection, query)
                places.record(connection, kind, where=mine)

    def tell_homes(self) -> None:
        """Bring every home's list of its people up to the source's; who is fenced there is not home's yet."""
        for home in self.homes:
            self.tell(home)

    def tell(self, home: Home) -> None:
        """The same for one home."""
        store = self.homes[home]
        with faults(store.name, "bring its list of people up"), store.connection.transaction():
            for kind in self.scope.kinds:
                self._tell(store.connection, home, kind)
            places.copy_home(self.source.connection, store.connection, home)

    def _tell_cohort(self, cohort: int) -> None:
        """Tell each home of the cohort's people alone: they wait meanwhile, and a home may have millions."""
        for home in self.homes_of(cohort):
            store = self.homes[home]
            with faults(store.name, "tell it of a cohort"), store.connection.transaction():
                for kind in self.scope.kinds:
                    self._bring_lines(store.connection, home, kind, cohort)
                    mine = sql.SQL("s.cohort = {}").format(sql.Literal(cohort))
                    places.copy_some(self.source.connection, store.connection, home, kind, where=mine)

    def _tell(self, target: psycopg.Connection[Any], home: Home, kind: Kind) -> None:
        arriving = self._bring_lines(target, home, kind, None)
        gone = sql.SQL("DELETE FROM {} AS s WHERE s.key NOT IN (SELECT key FROM {})")
        run(target, gone.format(movers_of(kind.dataset), arriving))

    def _bring_lines(
        self, target: psycopg.Connection[Any], home: Home, kind: Kind, cohort: int | None
    ) -> sql.Identifier:
        """Bring lines of the source's list, all or a cohort's, into home's; return the table in which they came."""
        movers = movers_of(kind.dataset)
        arriving = staged("arriving", kind.dataset, "pg_temp")  # of each kind: all are told in one transaction
        mine = sql.SQL("true") if cohort is None else sql.SQL("cohort = {}").format(sql.Literal(cohort))
        with faults(self.source.name, "read its list of people"):
            people = run(
                self.source.connection,
                sql.SQL(
                    "SELECT key::text, CASE state WHEN 'home' THEN 'home' ELSE 'moving' END, cohort FROM {}"
                    " WHERE home = {} AND {}"
                ).format(movers, sql.Literal(home), mine),
            )
        run(
            target,
            sql.SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT key, state, cohort FROM {} AS s WHERE false"
            ).format(arriving, movers),
        )
        copying = sql.SQL("COPY {} FROM STDIN").format(arriving)
        with target.cursor() as cursor, cursor.copy(copying.as_bytes(target)) as copy:
            for line in people:
                copy.write_row(line)
        run(
            target,
            sql.SQL(
                "INSERT INTO {} AS s (key, home, state, cohort) SELECT key, {}, state, cohort FROM {}"
                " ON CONFLICT (key) DO UPDATE SET state = excluded.state, cohort = excluded.cohort"
                " WHERE (s.state, s.cohort) IS DISTINCT FROM (excluded.state, excluded.cohort)"
            ).format(movers, sql.Literal(home), arriving),
        )
        return arriving

    # -- waiting ---------------------------------------------------------------------------------------------------

    def await_writers(self, deadline: float) -> int:
        """Wait for transactions at the source that may have passed the guard; milliseconds."""
        with faults(self.source.name, "wait for writers"):
            return writers.await_writers(self.source.connection, self.scope, host=self.host, deadline=deadline)

    def await_writers_at_home(self, cohort: int, deadline: float) -> int:
        """The same at the cohort's homes."""
        waited = 0
        for home in self.homes_of(cohort):
            store = self.homes[home]
            with faults(store.name, "wait for writers"):
                waited += writers.await_writers(store.connection, self.scope, host=self.host, deadline=deadline)
        return waited
