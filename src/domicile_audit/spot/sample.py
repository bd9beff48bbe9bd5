"""What a spot check saw, as a value and as JSON; and what may be drawn: the slices of the equality that counts.

Of slices of objects the versions are drawn, each by its number in the slice: `media/ca/objects#17`. They are a
population of their own.

Written by `domicile-audit spot-check --json`, read again by `domicile-audit --spot`. Ids, counts and outcomes only.
Nobody signs it: it is the word of whoever hands it over.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from domicile_audit.case import Case, Refused, Statement
from domicile_audit.log.shape import COUNT, HEX, TEXT, misfit, read_json, text, write_json
from domicile_audit.spot.draw import SEED_CHARS_MAX, at_most, draw

FORMAT: Final = "urn:domicile:spot-check/v1"
SAMPLE_BYTES_MAX: Final = 64 * 1024 * 1024
SAME, DIFFERS, CHANGED, GONE, LEFT, UNSEEN = "same", "differs", "changed since", "gone", "left", "not looked at"
STAYS, KEPT, NUMBER = "stays", "kept", "#"
WRONG: Final = frozenset({DIFFERS, LEFT})
SLICES, VERSIONS = "slices", "versions of objects"
LOOKED: Final = {
    "id": TEXT,
    "rows": COUNT,
    "home": text(f"{SAME}|{DIFFERS}|{CHANGED}"),
    "source": text(f"{SAME}|{DIFFERS}|{GONE}|{LEFT}|{STAYS}|{KEPT}|{UNSEEN}"),
    "why": TEXT,
}
SHAPE: Final = {
    "format": text(FORMAT), "root": HEX, "seed": text(chars_max=SEED_CHARS_MAX), "slices": [LOOKED],
    "objects": [LOOKED], "bounds": [TEXT], "not_shown": [TEXT], "exit_code": COUNT,
}  # fmt: skip


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
class Kept:
    """A slice of objects whose versions may be drawn: store, home, how many versions, and how many of them leave.

    One digest for all of it, and how many versions were erased (None: not yet).
    """

    id: str
    store: str
    home: str
    rows: int
    leaving: int
    digest: str
    erased: int | None


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen of one slice, or version of an object, at its home and at the source; `why` says it in words."""

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
    unit: str = SLICES

    @property
    def percent(self) -> float:
        """The share that may be wrong."""
        return 100 * self.at_most / self.of if self.of else 0.0

    def __str__(self) -> str:
        """In words."""
        open_ones = f", {self.undecided} undecided and counted as wrong" if self.undecided else ""
        return (
            f"{self.looked} of {self.of} {self.unit} drawn, {self.wrong} wrong{open_ones}: "
            f"at most {self.at_most} of {self.of} ({self.percent:.1f} %) are wrong, at 95 %"
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """A spot check: of the log with this root (hex), by this seed; `objects` are empty where nobody looked at any."""

    root: str
    seed: str
    slices: tuple[Looked, ...]
    objects: tuple[Looked, ...] = ()

    def at_home(self, case: Case) -> tuple[Bound, ...]:
        """What it says of the homes, of slices and of versions of objects. What changed since counts as wrong."""
        return tuple(
            _bound(of, unit, [one.home for one in some]) for some, of, unit in self._looks(case)
        )  # fmt: skip

    def at_source(self, case: Case) -> tuple[Bound, ...]:
        """What it says of the source; nothing of what nobody looked at there."""
        return tuple(
            _bound(of, unit, seen)
            for some, of, unit in self._looks(case)
            if (seen := [one.source for one in some if one.source != UNSEEN])
        )

    def _looks(self, case: Case) -> Iterator[tuple[tuple[Looked, ...], int, str]]:
        """What was looked at, of how many, of what."""
        if self.slices:
            yield self.slices, len(compared(case)), SLICES
        if self.objects:
            yield self.objects, sum(one.rows for one in kept_objects(case).values()), VERSIONS

    @property
    def wrong(self) -> tuple[Looked, ...]:
        """The slices and versions that are not as the log says."""
        return tuple(one for one in (*self.slices, *self.objects) if {one.home, one.source} & WRONG)

    def refuse_other(self, case: Case) -> None:
        """Raise ValueError unless it is a draw from this log."""
        if self.root != case.root.hex():
            raise ValueError("the spot check is of another log, or of this one at another size")
        for looked, ids in ((self.slices, compared(case)), (self.objects, numbered(kept_objects(case)))):
            if [one.id for one in looked] != list(draw(case.root, self.seed, ids, len(looked))):
                raise ValueError("the spot check looked at other slices than its seed draws")


def _bound(population: int, unit: str, seen: Sequence[str]) -> Bound:
    wrong, undecided = sum(one in WRONG for one in seen), sum(one in (CHANGED, KEPT) for one in seen)
    return Bound(len(seen), wrong, undecided, at_most(population, len(seen), wrong + undecided), population, unit)


def compared(case: Case) -> dict[str, Compared]:
    """The slices of rows of the equality that a clearance rests on, or, without one, of the last under the fence."""
    gone = case.gone
    equal = {part["id"]: part for part in _equality(case).predicate["slices"]}
    return {
        id_: Compared(
            named["dataset"], named["home"], equal[id_]["rows"], equal[id_]["source"], equal[id_]["home"], gone.get(id_)
        )
        for id_, named in case.slices.items()
        if id_ in equal and named["dataset"] not in case.object_stores
    }  # fmt: skip


def kept_objects(case: Case) -> dict[str, Kept]:
    """The slices of objects of the same equality; their digest is the source's, which a clearance wants equal."""
    if not case.object_stores:
        return {}
    gone, has_begun = case.gone, bool(case.of("erasure/v1"))
    equal = {part["id"]: part for part in _equality(case).predicate["slices"]}
    found = {}
    for id_, named in sorted(case.slices.items()):
        if id_ in equal and named["dataset"] in case.object_stores:
            leaving, part = named["erase"]["delete"], equal[id_]
            stated = id_ in gone or (has_begun and not leaving)  # of what all stays nothing is ever stated
            went = sum(gone.get(id_, (0, 0))) if stated else None
            found[id_] = Kept(id_, named["dataset"], named["home"], part["rows"], leaving, part["source"], went)
    return found


def numbered(kept: Mapping[str, Kept]) -> Iterator[str]:
    """The versions of these slices, by their numbers."""
    return (f"{one.id}{NUMBER}{number}" for one in kept.values() for number in range(one.rows))


def _equality(case: Case) -> Statement:
    for clearance in case.of("clearance/v1")[-1:]:
        return case.basis(clearance)
    fenced = [one for one in case.of("equality/v1") if one.predicate["fenced"] and one.index > case.last_step.index]
    if not fenced:
        raise Refused("nothing was compared under a fence yet, so there is nothing to draw from")
    return fenced[-1]


def write_sample(sample: Sample, *, bounds: Sequence[str], not_shown: Sequence[str]) -> str:
    """The report: JSON in its one spelling, and the end of the line."""
    words = {"bounds": list(bounds), "not_shown": list(not_shown), "exit_code": int(bool(sample.wrong))}
    return write_json({"format": FORMAT, **asdict(sample), **words}) + "\n"


def read_sample(data: bytes) -> Sample:
    """Read a report; ValueError unless it is one, byte for byte as `spot-check --json` prints it."""
    if len(data) > SAMPLE_BYTES_MAX:
        raise ValueError(f"longer than {SAMPLE_BYTES_MAX} bytes")
    if not data.endswith(b"\n"):
        raise ValueError("the report of the spot check has no end, so it may be cut")
    value = read_json(data[:-1], "the report of the spot check")
    wrong = misfit(value, SHAPE)
    if wrong is not None:
        raise ValueError(f"no report of a spot check, at {wrong}")
    slices, objects = (tuple(Looked(**one) for one in value[name]) for name in ("slices", "objects"))
    return Sample(value["root"], value["seed"], slices, objects)
