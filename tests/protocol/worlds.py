"""The worlds that the search walks through; `python -m tests.protocol.worlds` walks through the largest.

Each holds one thing that can go wrong, so that it can be small; the largest holds them together, with one write a row.
"""

from __future__ import annotations

import sys
from typing import Final

from tests.protocol.model import STAYER, Cell, World
from tests.protocol.search import explore

ANN, BEN = 0, 1


def _row(name: str, *owners: int, writes_max: int) -> Cell:
    return Cell(name=name, key=name, owners=owners, writes_max=writes_max)


ALONE: Final = World(people=("Ann",), cells=(_row("Ann's row", ANN, writes_max=2),))
OLD_SNAPSHOTS: Final = World(people=("Ann",), cells=ALONE.cells, old_snapshots=True)
SPLIT: Final = World(
    people=("Ann",),
    cells=(
        Cell(name="the private half of Ann's row", key="Ann's row", owners=(ANN,)),
        Cell(name="the public half of Ann's row", key="Ann's row", owners=(ANN,), public=True),
    ),
)
STAYERS_TOO: Final = World(people=("Ann",), cells=(_row("Ann's and a stayer's row", ANN, STAYER, writes_max=3),))
SHARED: Final = World(people=("Ann", "Ben"), cells=(_row("Ann's and Ben's row", ANN, BEN, writes_max=3),))
TOGETHER: Final = World(
    people=("Ann", "Ben"),
    cells=(
        _row("Ann's row", ANN, writes_max=1),
        _row("Ben's row", BEN, writes_max=1),
        _row("Ann's and Ben's row", ANN, BEN, writes_max=1),
    ),
)
LARGEST: Final = World(
    people=TOGETHER.people, cells=(*TOGETHER.cells, _row("Ann's and a stayer's row", ANN, STAYER, writes_max=1))
)

WORLDS: Final = {
    "one person": ALONE,
    "transactions with old snapshots": OLD_SNAPSHOTS,
    "a split row": SPLIT,
    "a row shared with a stayer": STAYERS_TOO,
    "a row of two movers": SHARED,
    "two movers and all their rows": TOGETHER,
}


if __name__ == "__main__":
    found = explore(LARGEST)
    sys.stdout.write(f"{found}\n")
    sys.exit(1 if found.wrong else 0)
