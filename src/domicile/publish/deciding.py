"""Decides what may cross, by which columns, from where to where; what can't be said safely is refused with a remedy.

Published are rows of `public` datasets and the public columns of `split` ones, where every home gets them. The rule is
closed: a column crosses only if the file calls it public; nothing crosses that is computed (it is computed anew), and
no row for which the policy would need more than its key to tell whether it may.

What PostgreSQL asks (15 and later: https://www.postgresql.org/docs/current/logical-replication-col-lists.html and
-row-filter.html): the columns that name the row for UPDATE and DELETE, its replica identity, are in the column list,
and a row filter reads no others. A publication against this makes the *application's* own UPDATEs fail at the
publisher, so all of it is asked before anything is made.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping

from domicile.catalogue import TableName
from domicile.config import Config
from domicile.config.conditions import condition_columns, parse_condition
from domicile.config.policy import PublicRule
from domicile.config.rules import Disposition, FieldClass, HomeRows
from domicile.errors import BadFile, Refused
from domicile.model import Blank, DatasetScope, Finding, Outside, Scope
from domicile.publish.values import Crossing, Published, Publishing, Sight, SightedTable

OPEN = "domicile_open"
"""The publication of datasets that hold nothing private: inserts, updates and deletions cross."""
KEPT = "domicile_public"
"""The publication of the public columns of rows that have, or may have, a private half: no deletion crosses."""
VERSION_MIN = 160_000
SLUG_CHARACTERS_MAX = 18


def decide(scope: Scope, config: Config, sights: Mapping[str, Sight]) -> Publishing:
    """Say what crosses between the locations of `sights`; raise Refused when the policy does not ask for it."""
    rule = config.policy.public
    if rule is None or not rule.replicate:
        raise Refused(
            "policy.public: the file does not say that the public part is replicated; if it shall be, add "
            "`public: {replicate: true, connections: {…}}` to `policy`"
        )
    source = config.stores[config.source].location
    locations = (source, *(home for home in scope.homes if home != source))
    deciders = [
        _Decider(dataset, config, rule, {name: sights[name] for name in locations}) for dataset in scope.datasets
    ]
    wanted = [decider for decider in deciders if decider.crosses]
    tables = tuple(decider.published() for decider in wanted)
    crossings = tuple(
        Crossing(publisher=one, receiver=other, name=_name(config.programme.name, one, other))
        for one in locations
        for other in locations
        if one != other
    )
    findings = [finding for decider in deciders for finding in decider.findings()]
    findings += _servers(locations, sights, rule)
    findings += _operators(crossings, config, rule)
    _refuse_idle_filters(rule, tables)
    return Publishing(
        locations=locations, tables=tables, crossings=crossings, private=_private(scope, config),
        findings=tuple(findings),
    )  # fmt: skip


def _name(programme: str, publisher: str, receiver: str) -> str:
    """A name that PostgreSQL takes for a subscription and for its slot (small letters, digits, _; 63 characters)."""
    whole = hashlib.sha256(f"domicile publish\x00{programme}\x00{publisher}\x00{receiver}".encode()).hexdigest()[:6]
    parts = (re.sub(r"[^a-z0-9]+", "_", name.lower())[:SLUG_CHARACTERS_MAX] for name in (receiver, publisher))
    return "domicile_{}_from_{}_{}".format(*parts, whole)


def _private(scope: Scope, config: Config) -> Mapping[TableName, frozenset[str] | None]:
    """Which tables hold private data: rows that move as a whole, and the columns of others that the file keeps back."""
    found: dict[TableName, frozenset[str] | None] = {}
    for dataset in scope.datasets:
        if dataset.moves:
            found[dataset.table] = None
        else:
            fields = config.datasets[dataset.id].fields
            back = {name for name, field in fields.items() if field.cls is not FieldClass.PUBLIC}
            if back | set(dataset.private):
                found[dataset.table] = frozenset(back | set(dataset.private))
    for derived in scope.derived:
        if not derived.view:
            found[derived.table] = None
    return found


class _Decider:
    """One dataset: whether and how it crosses, and what stands against it."""

    def __init__(self, dataset: DatasetScope, config: Config, rule: PublicRule, sights: Mapping[str, Sight]) -> None:
        self.dataset = dataset
        self.where = f"datasets.{dataset.id}"
        self.fields = config.datasets[dataset.id].fields
        self.filter = rule.only.get(dataset.id)
        self.sights = sights
        self.tables = {name: sight.tables.get(dataset.table) for name, sight in sights.items()}
        self.crosses = dataset.rows in (Disposition.PUBLIC, Disposition.SPLIT) and dataset.home_rows is HomeRows.ALL

    def published(self) -> Published:
        here = next((table for table in self.tables.values() if table is not None), None)
        return Published(
            dataset=self.dataset.id, table=self.dataset.table, columns=self._columns(),
            identity=here.identity if here else (), kept_back=self._kept_back(), stand_ins=self._stand_ins(),
            where=self.filter, deletes=not (self._kept_back() or self.dataset.private or self.dataset.owned),
            partitioned=self.dataset.partitioned, shapes={column.name: column for column in self.dataset.columns},
        )  # fmt: skip

    def _columns(self) -> tuple[str, ...]:
        named = {name for name, field in self.fields.items() if field.cls is FieldClass.PUBLIC}
        return tuple(column.name for column in self.dataset.columns if column.name in named - set(self.dataset.private))

    def _kept_back(self) -> tuple[str, ...]:
        crossing = set(self._columns())
        return tuple(column.name for column in self.dataset.columns if column.name not in crossing)

    def _stand_ins(self) -> tuple[Blank, ...]:
        blanks = {blank.column: blank for blank in self.dataset.blanks}
        return tuple(blanks.get(name, Blank(column=name, outside=Outside.NULL)) for name in self._kept_back())

    def findings(self) -> Iterator[Finding]:
        if not self.crosses:
            yield from self._left_out()
            return
        yield from self._unclassed()
        yield from self._ways()
        for location, table in self.tables.items():
            if table is None:
                yield self._finding(
                    "receiver-lacks", f"{location} has no such table", "make it there, as the source has it"
                )
            else:
                yield from self._identity(location, table)
                yield from self._shape(location, table)
        yield from self._filter()
        if not self.published().deletes:
            yield self._finding(
                "deletes", "deletions don't cross, as the other half of the row may lie there; mark rows", None
            )

    def _left_out(self) -> Iterator[Finding]:
        if self.dataset.rows in (Disposition.PUBLIC, Disposition.SPLIT):
            words = {
                HomeRows.NOTHING: "`home: nothing`: it stays at the source",
                HomeRows.NEEDED: "`home: needed`: a row's key doesn't tell which are needed; `home: all` publishes it",
            }
            yield self._finding("left-out", words[self.dataset.home_rows], None)

    def _unclassed(self) -> Iterator[Finding]:
        for column in self.dataset.columns:
            if column.name not in self.fields:
                yield self._finding(
                    "unclassed",
                    f"{column.name} has no class",
                    f"add `{column.name}: public` or `private` to its fields",
                )

    def _ways(self) -> Iterator[Finding]:
        """A row that arrives without the columns that lead to its person would be nobody's, and unguarded."""
        crossing = set(self._columns())
        for path in self.dataset.paths:
            step = path.steps[0] if path.steps else None
            needed = {*step.columns, *condition_columns(step.when)} if step and not step.down else set()
            for name in sorted(needed - crossing):
                yield self._finding(
                    "path-private", f"the path {path.text} begins at {name}, which is not public",
                    f"class {name} `public`, or make the dataset `rows: move`",
                )  # fmt: skip

    def _identity(self, location: str, table: SightedTable) -> Iterator[Finding]:
        place = f"at {location} "
        if table.identity_full:
            yield self._finding(
                "identity-full", f"{place}REPLICA IDENTITY FULL names a row by all its columns, private ones too",
                "ALTER TABLE … REPLICA IDENTITY DEFAULT there, with a primary key",
            )  # fmt: skip
        elif not table.identity:
            yield self._finding(
                "no-identity", f"{place}nothing names its rows: there its UPDATEs would fail once it is published",
                "give it a primary key, or ALTER TABLE … REPLICA IDENTITY USING INDEX over a unique key without nulls",
            )  # fmt: skip
        for name in sorted(set(table.identity) - set(self._columns())):
            yield self._finding(
                "identity-private", f"{place}its rows are named by {name}, which is not public or is computed",
                "name them by public columns: REPLICA IDENTITY USING INDEX over another unique key",
            )  # fmt: skip
        if table.odd_leaves:
            yield self._finding(
                "identity-leaves", f"{place}{len(table.odd_leaves)} partitions name rows otherwise than their root",
                f"give {', '.join(map(str, table.odd_leaves[:3]))} the replica identity of the root",
            )  # fmt: skip
        first = next(item for item in self.tables.values() if item is not None)
        if table.identity and first.identity and set(table.identity) != set(first.identity):
            yield self._finding(
                "identity-differs", f"{place}its rows are named by other columns than elsewhere",
                "give the table the same key at all locations",
            )  # fmt: skip

    def _shape(self, location: str, table: SightedTable) -> Iterator[Finding]:
        for name in self._columns():
            column, own = table.column(name), next(item for item in self.dataset.columns if item.name == name)
            if column is None or column.generated:
                yield self._finding(
                    "receiver-lacks", f"{location} has no plain column {name}", "make it there, as the source has it"
                )
            elif column.type != own.type:
                yield self._finding(
                    "types-differ", f"{name} is {own.type} at the source and {column.type} at {location}",
                    "make the types the same",
                )  # fmt: skip
        blanks = {blank.column: blank for blank in self._stand_ins()}
        for column in table.columns:
            if column.generated or not column.not_null or column.name in self._columns():
                continue
            blank = blanks.get(column.name)
            if blank is None or blank.outside is Outside.NULL:
                yield self._finding(
                    "no-stand-in", f"{column.name} may not be null at {location} and stays back; nothing stands for it",
                    f"say what does: `{column.name}: {{class: private, outside: …}}`",
                )  # fmt: skip

    def _filter(self) -> Iterator[Finding]:
        if self.filter is None:
            return
        place = f"policy.public.only.{self.dataset.id}"
        parse_condition(self.filter, columns=frozenset(item.name for item in self.dataset.columns), where=place)
        over = condition_columns(self.filter) - frozenset(self.published().identity)
        if over:
            yield Finding(
                kind="filter", where=place, count=1,
                text=f"a row filter sees only what names the row when it changes, not {', '.join(sorted(over))}",
                remedy="compare columns of the key only, or leave the dataset out: `home: nothing`",
            )  # fmt: skip

    def _finding(self, kind: str, text: str, remedy: str | None) -> Finding:
        return Finding(kind=kind, where=self.where, count=1, text=text, remedy=remedy, dataset=self.dataset.id)


def _servers(locations: tuple[str, ...], sights: Mapping[str, Sight], rule: PublicRule) -> Iterator[Finding]:
    needed = len(locations) - 1
    for name in locations:
        sight = sights[name]
        if sight.version < VERSION_MIN:
            yield _at(
                name, "version", f"PostgreSQL {sight.version // 10_000} can't tell own changes from those that arrived",
                "upgrade to 16: column lists need 15, `origin = none` against loops needs 16",
            )  # fmt: skip
        if not sight.logical:
            yield _at(name, "wal-level", "wal_level is not logical", "set wal_level = logical and restart the server")
        if not sight.superuser:
            yield _at(
                name, "role", "a subscription of a role that is no superuser keeps its password in the database",
                "let the store's dsn name a superuser for `publish apply` and `publish drop`",
            )  # fmt: skip
        if sight.slots_free < needed:
            yield _at(
                name,
                "slots",
                f"{sight.slots_free} replication slots are free, {needed} needed",
                "raise max_replication_slots",
            )
        if sight.workers < needed:
            yield _at(
                name, "workers", f"{sight.workers} workers may bring changes, {needed} needed",
                "raise max_logical_replication_workers",
            )  # fmt: skip
        if name not in rule.connections:
            yield _at(
                name, "connection", "nothing says how the other locations' servers reach this one",
                f"add policy.public.connections.{name}: a reference to `host=… dbname=… user=… passfile=…`",
            )  # fmt: skip


def _operators(crossings: tuple[Crossing, ...], config: Config, rule: PublicRule) -> Iterator[Finding]:
    """A subscriber logs in with a role that may replicate, and such a role can read more than what is published."""
    for receiver in dict.fromkeys(crossing.receiver for crossing in crossings):
        operator = config.locations[receiver].operator
        strange = [
            crossing.publisher
            for crossing in crossings
            if crossing.receiver == receiver and config.locations[crossing.publisher].operator != operator
        ]
        if strange and receiver not in rule.trusted:
            yield _at(
                receiver, "replication-role",
                f"{operator} would hold a role at {', '.join(strange)} that can replicate everything there",
                f"publish from a database without private data, or accept it: policy.public.trusted: [{receiver}]",
            )  # fmt: skip


def _refuse_idle_filters(rule: PublicRule, tables: tuple[Published, ...]) -> None:
    for name in sorted(set(rule.only) - {str(table.dataset) for table in tables}):
        raise BadFile(f"policy.public.only.{name}: the dataset is not published; remove the line")


def _at(location: str, kind: str, text: str, remedy: str) -> Finding:
    return Finding(kind=kind, where=f"locations.{location}", count=1, text=text, remedy=remedy)
