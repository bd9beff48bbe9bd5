"""Transactions, and the snapshots that show them.

The log of changes numbers transactions with 32 bits, a snapshot with 64. Nothing that a slot still holds is older than
half of all 32-bit numbers: the slot's own `catalog_xmin` keeps the server from giving numbers out that far. So the
number nearest to the snapshot is the one that is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

XIDS = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A snapshot: all before `least` is decided, nothing from `next` on is shown, and `open` in between is not."""

    text: str
    least: int
    next: int
    open: frozenset[int]

    def whole(self, xid: int) -> int:
        """The 64-bit number of a transaction of which the log tells 32 bits."""
        near = self.next - self.next % XIDS + xid
        if near - self.next > XIDS // 2:
            return near - XIDS
        return near + XIDS if self.next - near > XIDS // 2 else near

    def shows(self, xid: int) -> bool:
        """Whether the snapshot shows what this committed transaction wrote; `xid` with 64 bits."""
        return xid < self.next and xid not in self.open


def moment(snapshot: str) -> Moment:
    """Read the text of `pg_current_snapshot()`: `least:next:open,open,…`."""
    least, following, still_open = snapshot.split(":")
    found = frozenset(map(int, still_open.split(","))) if still_open else frozenset()
    return Moment(text=snapshot, least=int(least), next=int(following), open=found)
