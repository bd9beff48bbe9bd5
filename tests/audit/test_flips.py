"""P9: one flipped bit anywhere in a good bundle is refused, with a reason and never with a fault of the checker."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pytest

from domicile.evidence.bundle import pack
from domicile_audit.checklist import audit
from tests.vectors import make
from tests.vectors.scenario import ENGINE

GOOD = (Path(make.__file__).parent / "good" / "all-erased.zip").read_bytes()
SEED = 20261122


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def test_p9_one_bit_flipped_in_any_byte_is_refused() -> None:
    chance = random.Random(SEED)  # noqa: S311  (a seeded test)
    for place in range(len(GOOD)):
        report = audit(flipped(GOOD, place, chance.randrange(8)))
        assert not report.accepted, f"seed {SEED}: byte {place}"
        assert report.reason


def test_p9_a_bundle_cut_anywhere_is_refused() -> None:
    for place in range(0, len(GOOD), 53):
        assert not audit(GOOD[:place]).accepted, f"cut at {place}"


def files() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist() if info.filename != "manifest.json"}


@pytest.mark.parametrize("name", sorted(files()))
def test_p9_one_bit_flipped_in_a_file_is_refused_even_if_the_engine_signs_the_manifest_again(name: str) -> None:
    chance = random.Random(SEED)  # noqa: S311  (a seeded test)
    whole = files()
    places = sorted(chance.sample(range(len(whole[name])), min(60, len(whole[name]))))
    for place in places:
        bent = {**whole, name: flipped(whole[name], place, chance.randrange(8))}
        report = audit(pack(bent, ENGINE))
        assert not report.accepted, f"seed {SEED}: {name} byte {place}"
        assert report.checks[-1].number != 3, "the manifest was signed again, so a deeper check has to refuse"


def test_the_bundle_itself_is_accepted() -> None:
    assert audit(GOOD).accepted
    assert audit(pack(files(), ENGINE)).accepted
