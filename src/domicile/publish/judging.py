"""Holds what the servers do against what the policy says may cross. Pure; a numbered checklist.

At each location, as a publisher:
 1. our publications are there, with the tables of the policy;
 2. no column of them is private or otherwise not the policy's; row filters and actions are those that we made;
 3. no other publication carries a private column or row (egress);
 4. no other logical slot reads the database: a slot sees every column, whatever a publication lists (egress).
As a receiver:
 5. our subscriptions are there, enabled, running, with `origin = none`, on our publications;
 6. each table of theirs is followed, and our trigger stands on it that gives arriving rows their stand-ins;
 7. nothing failed, and no password lies in the connection string;
 8. no other subscription writes into tables with private data.
Between two:
 9. the slot is there, its WAL is there, and it is not too far behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from domicile.catalogue import TableName
from domicile.publish.deciding import KEPT, OPEN
from domicile.publish.values import (
    Arrivals,
    Checked,
    Crossing,
    Observed,
    ObservedPublication,
    ObservedSlot,
    ObservedSubscription,
    ObservedTable,
    Published,
    Publishing,
    Remark,
)

ENGINE = "domicile"
"""The engine's own publication and slot: the changefeed, which the engine alone reads."""
READY = "r"
MISSED = "run `domicile publish drop --yes`, then `apply --yes --bring`: it brings the rows that are missing"
LAG_BYTES_MAX = 64 * 2**20
AGAIN = "run `domicile publish apply --yes`, which makes it anew"


def judge(publishing: Publishing, seen: Mapping[str, Observed]) -> Checked:
    """Say what is not as it should be, red remarks first, and how far behind each crossing is."""
    remarks = [
        Remark(kind=found.kind, location="", where=found.where, text=found.text, remedy=found.remedy or "", red=True)
        for found in publishing.undecided()
    ]
    for location in publishing.locations:
        remarks += _publisher(publishing, location, seen[location])
        remarks += _receiver(publishing, location, seen[location])
    lag: dict[str, int | None] = {}
    for crossing in publishing.crossings:
        slot = _slot(seen[crossing.publisher], crossing)
        lag[crossing.name] = slot.lag_bytes if slot else None
        if any(item.name == crossing.name for item in seen[crossing.receiver].subscriptions):
            remarks += _between(crossing, slot)
    return Checked(lag_bytes=lag, remarks=tuple(sorted(remarks, key=lambda remark: not remark.red)))


def _red(location: str, kind: str, where: str, text: str, remedy: str = AGAIN) -> Remark:
    return Remark(kind=kind, location=location, where=where, text=text, remedy=remedy, red=True)


def _late(location: str, kind: str, where: str, text: str, remedy: str) -> Remark:
    return Remark(kind=kind, location=location, where=where, text=text, remedy=remedy, red=False)


# -- 1 to 4 ------------------------------------------------------------------------------------------------------------


def _publisher(publishing: Publishing, location: str, seen: Observed) -> Iterator[Remark]:
    for name, deletes in ((OPEN, True), (KEPT, False)):
        wanted = {table.table: table for table in publishing.of(deletes=deletes)}
        found = next((item for item in seen.publications if item.name == name), None)
        if found is None and wanted:
            yield _red(location, "publication-missing", name, "the publication is not there")  # 1
        elif found is not None:
            yield from _publication(publishing, location, found, wanted)
    for other in seen.publications:
        if other.name not in (OPEN, KEPT, ENGINE):
            yield from (
                _red(
                    location, "foreign-publication", other.name, f"{table.table}: private data is published",
                    f"DROP PUBLICATION {other.name}, or class what it carries",
                )
                for table in other.tables
                if _carries(publishing, table)
            )  # fmt: skip  # 3
    yield from _foreign_slots(publishing, location, seen)


def _publication(
    publishing: Publishing, location: str, found: ObservedPublication, wanted: Mapping[TableName, Published]
) -> Iterator[Remark]:
    expected = {"insert", "update", "delete"} if found.name == OPEN else {"insert", "update"}
    if found.actions != expected or not found.via_root:
        yield _red(location, "altered", found.name, "it carries other kinds of changes than we made it for")  # 2
    there = {table.table: table for table in found.tables}
    for name in sorted(set(wanted) - set(there)):
        yield _red(location, "unpublished", f"{found.name} {name}", "the table is no longer published")  # 1
    for name, table in sorted(there.items()):
        private = sorted(_carries(publishing, table))
        if private:
            yield _red(
                location, "private-column", f"{found.name} {name}", f"PRIVATE data is published: {', '.join(private)}",
                "run `domicile publish apply --yes` now, and look at what the receivers got",
            )  # fmt: skip  # 2
        elif name not in wanted or table.columns != set(wanted[name].columns):
            yield _red(location, "altered", f"{found.name} {name}", "its columns are not those of the policy")  # 2
        filtered = name in wanted and wanted[name].where is not None
        if (table.where is not None) != filtered or (filtered and not found.as_made):
            yield _red(location, "altered", f"{found.name} {name}", "its row filter is not the policy's")  # 2


def _carries(publishing: Publishing, table: ObservedTable) -> frozenset[str]:
    """The private columns among those that are published; of a table that is private as a whole, all."""
    if table.table not in publishing.private:
        return frozenset()
    private = publishing.private[table.table]
    return table.columns if private is None else table.columns & private


def _foreign_slots(publishing: Publishing, location: str, seen: Observed) -> Iterator[Remark]:
    ours = {crossing.name for crossing in publishing.crossings if crossing.publisher == location}
    for slot in seen.slots:
        if slot.name not in ours and slot.name != ENGINE:
            yield _red(
                location, "foreign-slot", slot.name, f"a slot that is not ours ({slot.plugin}) reads every column here",
                "find its reader; if nobody answers for it: SELECT pg_drop_replication_slot(…)",
            )  # fmt: skip  # 4


# -- 5 to 8 ------------------------------------------------------------------------------------------------------------


def _receiver(publishing: Publishing, location: str, seen: Observed) -> Iterator[Remark]:
    mine = [crossing for crossing in publishing.crossings if crossing.receiver == location]
    by_name = {item.name: item for item in seen.subscriptions}
    for crossing in mine:
        found = by_name.get(crossing.name)
        if found is None:
            yield _red(location, "subscription-missing", crossing.name, f"nothing reads from {crossing.publisher}")  # 5
        else:
            yield from _subscription(publishing, location, found)
    for name in sorted(table.table for table in publishing.tables):
        state = seen.arrivals.get(name, Arrivals.MISSING)
        if state is not Arrivals.STANDS:
            yield _red(location, "arrivals", str(name), f"the trigger for arriving rows is {state.value}")  # 6
    for other in seen.subscriptions:
        private = sorted(str(name) for name in other.tables if name in publishing.private)
        if other.name not in {crossing.name for crossing in mine} and private:
            yield _red(
                location, "foreign-subscription", other.name,
                f"a subscription that is not ours brings private data: {', '.join(private[:3])}",
                f"find who made it; if nobody answers for it: DROP SUBSCRIPTION {other.name}",
            )  # fmt: skip  # 8


def _subscription(publishing: Publishing, location: str, found: ObservedSubscription) -> Iterator[Remark]:
    names = {name for name, deletes in ((OPEN, True), (KEPT, False)) if publishing.of(deletes=deletes)}
    if not found.enabled:
        yield _red(location, "disabled", found.name, "it is disabled: nothing arrives")  # 5
    elif not found.running:
        yield _red(
            location, "stopped", found.name, f"no worker runs; {found.errors} errors so far",
            "the server's log at this location says why; it is tried again every few seconds",
        )  # fmt: skip  # 5
    if found.origin != "none" or found.publications != names or found.slot != found.name:
        yield _red(
            location, "altered", found.name, "it reads other changes than we made it for: loops are possible"
        )  # 5
    for table in publishing.tables:
        state = found.tables.get(table.table)
        if state is None:
            yield _red(location, "unfollowed", f"{found.name} {table.table}", "the table is not followed")  # 6
        elif state != READY:
            yield _late(
                location, "not-ready", f"{found.name} {table.table}", f"state {state}", "wait, then check again"
            )  # 6
    if found.errors and found.running:
        yield _late(
            location, "errors", found.name, f"{found.errors} errors so far; it went on afterwards",
            "the server's log at this location tells them; pg_stat_reset_subscription_stats() there forgets them",
        )  # fmt: skip  # 7
    if found.password:
        yield _red(
            location, "password", found.name, "its connection string holds a password that superusers there read",
            "use `passfile=` or `service=`, then `domicile publish apply --yes`",
        )  # fmt: skip  # 7


# -- 9 -----------------------------------------------------------------------------------------------------------------


def _slot(seen: Observed, crossing: Crossing) -> ObservedSlot | None:
    return next((slot for slot in seen.slots if slot.name == crossing.name), None)


def _between(crossing: Crossing, slot: ObservedSlot | None) -> Iterator[Remark]:
    if slot is None:
        yield _red(
            crossing.publisher, "slot-missing", crossing.name,
            f"its slot is gone: changes of {crossing.publisher} were missed at {crossing.receiver}", MISSED,
        )  # fmt: skip
    elif slot.wal_status == "lost":
        yield _red(
            crossing.publisher, "slot-lost", crossing.name, "the server gave up WAL that was not read yet", MISSED,
        )  # fmt: skip
    elif slot.lag_bytes > LAG_BYTES_MAX:
        yield _late(
            crossing.publisher, "behind", crossing.name, f"{slot.lag_bytes // 2**20} MiB behind; WAL is kept for it",
            f"look at the worker at {crossing.receiver}, and at the link",
        )  # fmt: skip
