"""What a spot check saw, as a value and as JSON; and what may be drawn: the slices of the equality that counts.

Written by `domicile-audit spot-check --json`, read again by `domicile-audit --spot`. Ids, counts and outcomes only.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from domicile_audit.case import Case, Refused, Statement
from domicile_audit.certificate import erased
from domicile_audit.draw import SEED_CHARS_MAX, at_most, draw
from domicile_audit.shape import COUNT, HEX, TEXT, misfit, text

FORMAT: Final = "urn:domicile:spot-check/v1"
SAMPLE_BYTES_MAX: Final = 64 * 1024 * 1024
SAME, DIFFERS, CHANGED, GONE, LEFT, UNSEEN = "same", "differs", "changed since", "gone", "left", "not looked at"
WRONG: Final = frozenset({DIFFERS, LEFT})
LOOKED: Final = {
    "id": TEXT,
    "rows": COUNT,
    "home": text(f"{SAME}|{DIFFERS}|{CHANGED}"),
    "source": text(f"{SAME}|{DIFFERS}|{GONE}|{LEFT}|{UNSEEN}"),
    "why": TEXT,
}
SHAPE: Final = {"format": text(FORMAT), "root": HEX, "seed": text(chars_max=SEED_CHARS_MAX), "slices": [LOOKED]}


@dataclass(frozen=True, slots=True)
class Compared:
    """A slice that may be drawn: dataset, home, rows, both digests, and what was erased of it (None: not yet)."""

    dataset: str
    home: str
    rows: int
    source_digest: str
    home_digest: str
    erased: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of one slice, at its home and at the source; `why` says it in words."""

    id: str
    rows: int
    home: str
    source: str
    why: str


@dataclass(frozen=True, slots=True)
class Bound:
    """Of a side: how many slices were looked at, were wrong, were not decided, and are wrong at most of how many."""

    looked: int
    wrong: int
    undecided: int
    at_most: int
    of: int

    @property
    def percent(self) -> float:
        """The share that may be wrong."""
        return 100 * self.at_most / self.of if self.of else 0.0

    def __str__(self) -> str:
        """In words."""
        open_ones = f", {self.undecided} undecided and counted as wrong" if self.undecided else ""
        return (
            f"{self.looked} of {self.of} slices drawn, {self.wrong} wrong{open_ones}: "
            f"at most {self.at_most} of {self.of} ({self.percent:.1f} %) are wrong, at 95 %"
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """A spot check: of the log with this root (hex), by this seed."""

    root: str
    seed: str
    slices: tuple[Looked, ...]

    def at_home(self, population: int) -> Bound:
        """What it says of the homes. What changed since is not decided, and counts as wrong."""
        wrong = sum(one.home == DIFFERS for one in self.slices)
        undecided = sum(one.home == CHANGED for one in self.slices)
        return _bound(population, len(self.slices), wrong, undecided)

    def at_source(self, population: int) -> Bound | None:
        """What it says of the source; None where nobody looked."""
        seen = [one.source for one in self.slices if one.source != UNSEEN]
        return _bound(population, len(seen), sum(one in WRONG for one in seen), 0) if seen else None

    @property
    def wrong(self) -> tuple[Looked, ...]:
        """The slices that are not as the log says."""
        return tuple(one for one in self.slices if {one.home, one.source} & WRONG)

    def refuse_other(self, case: Case) -> None:
        """Raise ValueError unless it is a draw from this log."""
        if self.root != case.root.hex():
            raise ValueError("the spot check is of another log, or of this one at another size")
        if [one.id for one in self.slices] != list(draw(case.root, self.seed, compared(case), len(self.slices))):
            raise ValueError("the spot check looked at other slices than its seed draws")


def _bound(population: int, looked: int, wrong: int, undecided: int) -> Bound:
    return Bound(looked, wrong, undecided, at_most(population, looked, wrong + undecided), population)


def compared(case: Case) -> dict[str, Compared]:
    """The slices of rows of the equality that a clearance rests on, or, without one, of the last under the fence.

    Of slices of objects none: no digest of theirs is made from rows.
    """
    gone = erased(case)
    equal = {part["id"]: part for part in _equality(case).predicate["slices"]}
    return {
        id_: Compared(
            named["dataset"], named["home"], equal[id_]["rows"], equal[id_]["source"], equal[id_]["home"], gone.get(id_)
        )
        for id_, named in case.slices.items()
        if id_ in equal and named["dataset"] not in case.object_stores
    }  # fmt: skip


def _equality(case: Case) -> Statement:
    for clearance in case.of("clearance/v1")[-1:]:
        return case.named(clearance.predicate["equality"], "equality/v1", clearance)
    fenced = [one for one in case.of("equality/v1") if one.predicate["fenced"] and one.index > case.last_step.index]
    if not fenced:
        raise Refused("nothing was compared under a fence yet, so there is nothing to draw from")
    return fenced[-1]


def write_sample(sample: Sample) -> dict[str, Any]:
    """The sample as JSON's values."""
    return {"format": FORMAT, **asdict(sample)}


def read_sample(data: bytes) -> Sample:
    """Read a sample; ValueError unless it fits. More than the sample may stand in the same object."""
    if len(data) > SAMPLE_BYTES_MAX:
        raise ValueError(f"longer than {SAMPLE_BYTES_MAX} bytes")
    found = json.loads(data.decode())
    value = {key: found[key] for key in SHAPE if key in found} if isinstance(found, dict) else found
    wrong = misfit(value, SHAPE)
    if wrong is not None:
        raise ValueError(f"no report of a spot check, at {wrong}")
    slices: Sequence[Any] = value["slices"]
    return Sample(value["root"], value["seed"], tuple(Looked(**one) for one in slices))
