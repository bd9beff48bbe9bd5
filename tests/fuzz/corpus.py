"""What fuzzing by coverage begins with: the golden bundles, good and bad, and the parts they are made of."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from domicile.codec import load_json
from domicile.errors import DomicileError
from domicile.predicates import ReceiptsPredicate
from domicile.receipts.document import write_document
from domicile.receipts.keeping import Leaf
from domicile.receipts.leaf import commit
from domicile.statement import parse_envelope
from domicile.tlog.log import Log
from domicile.tlog.tile import TILE_WIDTH, decode_entries
from tests.fuzz import bundles
from tests.vectors import make, receipts
from tests.vectors import scenario as s


@cache
def accepted_bundles() -> frozenset[bytes]:
    """All that a checker without a policy may accept of what is signed in this folder."""
    golden = (path.read_bytes() for folder in (make.GOOD, make.UNWITNESSED) for path in folder.glob("*.zip"))
    return frozenset((*golden, *bundles.good_bundles()))


@cache
def golden_bundles() -> tuple[bytes, ...]:
    """Every golden bundle, the bad ones, too; the shortest first."""
    return tuple(sorted({path.read_bytes() for path in make.FOLDER.glob("*/*.zip")}, key=lambda one: (len(one), one)))


@cache
def _files() -> tuple[tuple[str, bytes], ...]:
    """Path and bytes of every file in a golden bundle that a library for zips opens; each once."""
    found: dict[tuple[str, bytes], None] = {}
    for bundle in golden_bundles():
        try:
            with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
                found |= dict.fromkeys((info.filename, archive.read(info)) for info in archive.infolist()[:100])
        except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError):  # as its defect wants it
            continue
    return tuple(found)


def files_named(start: str) -> list[bytes]:
    """The files of golden bundles whose path begins so."""
    return sorted({data for name, data in _files() if name.startswith(start)}, key=lambda one: (len(one), one))


@cache
def envelopes() -> tuple[bytes, ...]:
    """The statements of golden bundles, each in its envelope."""
    found: dict[bytes, None] = {}
    for name, data in _files():
        if name.startswith("log/tile/entries/"):
            found |= dict.fromkeys(entries_of(name, data))
    return tuple(sorted(found))


def entries_of(path: str, data: bytes) -> tuple[bytes, ...]:
    """The entries in a file of that path; none where it can't be read."""
    last = path.rpartition("/")[2]
    try:
        return decode_entries(data, width=int(last) if ".p/" in path else TILE_WIDTH)
    except (DomicileError, ValueError):
        return ()


def predicates() -> Iterator[bytes]:
    """The predicates of those statements, in their one spelling, and those that lie beside a log."""
    yield from files_named("detached/")
    for envelope in envelopes():
        try:
            whole = load_json(parse_envelope(envelope).payload)
        except DomicileError:
            continue
        if isinstance(whole, dict):
            yield bundles.dump(whole.get("predicate"))


@cache
def person() -> bytes:
    """A person's receipt, as `receipts.at_once` has one for each."""
    people = [*receipts.people(40, "us"), *receipts.people(10, "ca")]
    tree, commitments = receipts.tree(people)
    played = receipts.at_once().play()
    names = list(played)
    one = people[7]
    place = commitments.index(commit(one, receipts.nonce(one)))
    stated = receipts.EVERYBODY.make(played)
    assert isinstance(stated, ReceiptsPredicate)
    leaf = Leaf(person=one, nonce=receipts.nonce(one), place=place, path=tree.inclusion(place), stated=stated)
    with tempfile.TemporaryDirectory() as folder:
        log = Log.create(Path(folder) / "log", s.ENGINE)
        log.append([sealed.envelope for sealed in played.values()])
        told, judged = (names.index(name) for name in (receipts.ONE, "certificate"))
        return write_document(
            log, leaf, stated=(told, played[receipts.ONE]), certificate=(judged, played["certificate"])
        )
