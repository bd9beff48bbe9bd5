"""The audit key's lines of objects: what was drawn is found by its number, and no byte may be another."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Final

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from domicile.evidence import predicates as p
from domicile.proof import Verdict
from domicile.run.disclosing import object_lines
from domicile_audit.case import Case
from domicile_audit.checklist import judge
from domicile_audit.spot.listed import read_listed
from domicile_audit.spot.opening import Opening
from domicile_audit.spot.sample import Kept, kept_objects
from tests.vectors import objects as o
from tests.vectors import scenario as s

KEY: Final = bytes(range(32))
SLICE: Final = "media/ca/objects"
Objects = list[tuple[bytes, bool, list[bytes]]]
HASH: Final = st.binary(min_size=32, max_size=32)
OBJECTS: Final = st.lists(
    st.tuples(HASH, st.booleans(), st.lists(HASH, min_size=1, max_size=4)), min_size=1, max_size=6,
    unique_by=lambda one: one[0],
).map(sorted)  # fmt: skip


def kept(objects: Objects) -> Kept:
    """What the log says of them; the digest as docs/evidence.md has it."""
    said = b"domicile objects of a slice v1\x00"
    for key, _, versions in objects:
        hexes = b"\x00".join(version.hex().encode() for version in versions)
        said += key + b"+" + blake3(b"domicile object v1\x00" + hexes, key=KEY).digest()
    return Kept(
        id=SLICE, store="media", home="ca", rows=sum(len(versions) for *_, versions in objects),
        leaving=sum(len(versions) for _, leaves, versions in objects if leaves),
        digest=blake3(said, key=KEY).hexdigest(), erased=None,
    )  # fmt: skip


def opening(count: int) -> Opening:
    return Opening(plan="00" * 32, key=KEY, tables={}, stretches={}, listed={SLICE: count})


def lines(objects: Objects) -> bytes:
    told = ((key, leaves, [version.hex() for version in versions]) for key, leaves, versions in objects)
    return b"".join(object_lines(told))


@settings(max_examples=60, deadline=None)
@given(OBJECTS, st.data())
def test_p9_what_is_drawn_is_found_by_its_number_and_one_other_byte_is_refused(
    objects: Objects, data: st.DataObject
) -> None:
    every = [
        (key, place, version.hex(), leaves)
        for key, leaves, versions in objects
        for place, version in enumerate(versions)
    ]
    drawn = data.draw(st.sets(st.integers(0, len(every) - 1)))
    logged, held = kept(objects), lines(objects)
    names = [f"{SLICE}#{number}" for number in sorted(drawn)]
    found = read_listed(io.BytesIO(held), opening(len(objects)), {SLICE: logged}, names)[SLICE]
    told = {one.id: (key, one.place, one.digest, one.leaves) for key, things in found.items() for one in things}
    assert {f"{SLICE}#{number}": every[number] for number in drawn} == told
    at, by = data.draw(st.integers(0, len(held) - 1)), data.draw(st.integers(1, 255))
    bent = held[:at] + bytes([held[at] ^ by]) + held[at + 1 :]
    with pytest.raises(ValueError, match=r"cut, or is none|not those of the log"):
        read_listed(io.BytesIO(bent), opening(len(objects)), {SLICE: logged}, names)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 5))
def test_p9_of_whatever_bytes_nothing_but_a_refusal_comes_out(data: bytes, count: int) -> None:
    logged = replace(kept([(KEY, True, [KEY])]), digest="00" * 32)
    with pytest.raises(ValueError, match="audit key"):
        read_listed(io.BytesIO(data), opening(count), {SLICE: logged}, [])


def test_p11_of_a_slice_that_all_stays_nobody_expects_that_the_source_is_still_equal() -> None:
    """Others go on writing there; nothing of it is ever stated as erased. Before the erasure both ends are compared."""
    stays = p.PlannedSlice(id=o.ID, dataset="media", home="us", rows=o.ROWS, erase=p.EraseCounts(delete=0, blank=0))
    certificate = o.certified(Verdict.ERASED_VERIFIED, gone=0)
    script = (
        o.objects()
        .set("plan", slices=(*s.plan().slices, stays))
        .without(o.INTENT, o.OUTCOME)
        .signed("certificate", s.Line("certificate", lambda _: certificate))
    )
    case = Case(s.bundle_of(script), None)
    report = judge(case)
    assert report.accepted, report.reason
    assert (0, 0) == ((found := kept_objects(case)[o.ID]).leaving, found.erased)
    case.statements = [one for one in case.statements if one.kind != "erasure/v1"]
    case.by_kinds.clear()
    assert kept_objects(case)[o.ID].erased is None
