"""What fuzzing by coverage begins with: the golden bundles, good and bad, and the parts they are made of."""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from domicile.errors import DomicileError
from domicile.evidence.codec import Json, dump_json, encode, load_json
from domicile.evidence.predicates import ReceiptsPredicate
from domicile.evidence.publiclog.monitor import look
from domicile.evidence.publiclog.place import Folder as Place
from domicile.evidence.receipts.document import write_document
from domicile.evidence.receipts.keeping import Leaf
from domicile.evidence.receipts.leaf import commit
from domicile.evidence.statement import Sealed, parse_envelope
from domicile.evidence.tlog.cosignature import cosigner_of
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.policy import parse_policy
from domicile.evidence.tlog.tile import TILE_WIDTH, decode_entries
from domicile.evidence.tlog.witness import AddCheckpoint, format_request
from domicile_audit.case import Case
from domicile_audit.checklist import judge
from domicile_audit.spot.draw import draw
from domicile_audit.spot.sample import Looked, Sample, compared, write_sample
from tests.fuzz import bundles
from tests.vectors import bad_bytes, make, receipts, rotations, witnessed
from tests.vectors import scenario as s

SEED = "drand quicknet 14213370"


@cache
def accepted_bundles() -> frozenset[bytes]:
    """All that a checker without a policy may accept of what is signed in this folder."""
    golden = (path.read_bytes() for path in make.FOLDER.glob("*/*.zip") if path.parent != make.BAD)
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
    people = [*receipts.people(40, "us", first=0), *receipts.people(10, "ca", first=0)]
    tree, commitments = receipts.tree(people)
    told = receipts.at_once().play()
    names = list(told)
    one = people[7]
    place = commitments.index(commit(one, receipts.nonce(one)))
    stated = receipts.EVERYBODY.make(told)
    assert isinstance(stated, ReceiptsPredicate)
    leaf = Leaf(person=one, nonce=receipts.nonce(one), place=place, path=tree.inclusion(place), stated=stated)
    with tempfile.TemporaryDirectory() as folder:
        log = Log.create(Path(folder) / "log", s.ENGINE)
        log.append([sealed.envelope for sealed in told.values()])
        places = {one: (names.index(one), told[one]) for one in (receipts.ONE, "certificate")}
        return write_document(log, leaf, stated=places[receipts.ONE], certificate=places["certificate"])


@cache
def played() -> dict[str, Sealed]:
    """The statements of the good run."""
    return bundles.good_plays()[0]


@cache
def small_log() -> dict[str, bytes]:
    """The files of a small log, below its folder."""
    files = bundles.log_files([sealed.envelope for sealed in played().values()], s.ENGINE)
    return {path.removeprefix("log/"): data for path, data in files.items()}


@cache
def receipt() -> bytes:
    """A proof that one of them is in the log."""
    with tempfile.TemporaryDirectory() as folder:
        log = Log.create(Path(folder) / "log", s.ENGINE)
        log.append([sealed.envelope for sealed in played().values()])
        return log.receipt(5)


@cache
def request() -> bytes:
    """A log's request to a witness that saw half of it."""
    tree = small_tree()
    old = tree.size // 2
    return format_request(AddCheckpoint(old=old, path=tree.consistency(old), checkpoint=small_log()["checkpoint"]))


@cache
def small_tree() -> Tree:
    return Tree(hash_leaf(sealed.envelope) for sealed in played().values())


@cache
def cosigned_note() -> bytes:
    """A checkpoint that three witnesses cosigned."""
    files = witnessed.cosigned(s.files_of(s.good()), witnessed.WITNESSES)
    return files["log/checkpoint"]


@cache
def answer() -> bytes:
    """What a witness says to a request it likes."""
    return b"\n".join(cosigned_note().split(b"\n")[-4:])


def golden_policies() -> list[bytes]:
    """Trust policies."""
    return [path.read_bytes() for path in sorted((make.FOLDER / "policies").glob("*.txt"))]


@cache
def opening() -> bytes:
    """An audit key."""
    table: Json = {
        "schema": "public", "table": "note", "only": True, "binary": True, "columns": ["id", "body"], "key": ["id"],
        "private": {"body": None},
    }  # fmt: skip
    stretch: Json = {"dataset": "app.public.note", "part": "ca", "form": "whole", "after": 0, "upto": 812}
    return dump_json({
        "format": "urn:domicile:audit-key/v1", "plan": s.PLAN, "key": s.digest("key"),
        "datasets": {"app.public.note": table}, "slices": {"app.public.note/ca/whole/0": stretch},
    })  # fmt: skip


@cache
def sample() -> bytes:
    """The report of a spot check that drew two slices of the first good bundle, one of them wrong; without its end."""
    case = Case(data=bundles.good_bundles()[0], policy=None)
    judge(case)
    drawn = draw(case.root, SEED, compared(case), 2)
    looked = (Looked(drawn[0], 3, "same", "gone", "as stated"), Looked(drawn[1], 3, "changed since", "left", "not so"))
    report = write_sample(Sample(case.root.hex(), SEED, looked), bounds=["home: 2"], not_shown=["much"])
    return report.removesuffix("\n").encode()


def notes() -> list[bytes]:
    """Checkpoints."""
    return [*files_named("log/checkpoint"), cosigned_note()]


def keys() -> list[bytes]:
    """Lines of keys."""
    return [data.removesuffix(b"\n") for data in files_named("keys/")]


def cosigners() -> list[bytes]:
    """Lines of keys of witnesses."""
    return [cosigner_of(key).vkey.encode() for key in witnessed.WITNESSES.values()]


@cache
def logs() -> tuple[bytes, ...]:
    """Folders of logs, each as JSON of paths below the log and bytes in hex; one has predicates beside it."""
    whole = {name: data.hex() for name, data in small_log().items()}
    large = bad_bytes.large().play().values()
    beside = {f"../detached/{name(one.detached)}.json": one.detached.hex() for one in large if one.detached}
    files = bundles.log_files([one.envelope for one in large], s.ENGINE)
    with_beside = {path.removeprefix("log/"): data.hex() for path, data in files.items()} | beside
    pending = {**whole, "../log.pending": whole["checkpoint"]}
    return tuple(bundles.dump(dict(one)) for one in (whole, with_beside, pending, {"checkpoint": whole["checkpoint"]}))


def followed() -> tuple[bytes, ...]:
    """Those, and logs whose keys change hands."""
    folders = []
    for script, key in ((rotations.rotated(), rotations.ENGINE_2), (rotations.lost(), rotations.ENGINE_2)):
        files = bundles.log_files([one.envelope for one in script.play().values()], key)
        folders.append(bundles.dump({path.removeprefix("log/"): data.hex() for path, data in files.items()}))
    return (*logs(), *folders)


@cache
def state() -> bytes:
    """What a monitor remembers who has followed the log over a change of its key."""
    played = list(rotations.rotated().play().values())
    with tempfile.TemporaryDirectory() as folder:
        log = Log.create(Path(folder) / "log", rotations.ENGINE_2)
        log.append([one.envelope for one in played])
        policy = parse_policy(f"log {s.ENGINE.verifier.vkey}\nquorum none\n".encode())
        looked = look(Place(Path(folder) / "log"), policy, None, against={}, now=s.at(100))
    assert looked.state is not None
    return encode(looked.state)


def name(data: bytes) -> str:
    """The SHA-256, as digits."""
    return hashlib.sha256(data).hexdigest()


@cache
def detached() -> tuple[bytes, bytes]:
    """A statement that leaves its predicate outside, and that predicate."""
    sealed = next(one for one in bad_bytes.large().play().values() if one.detached)
    assert sealed.detached is not None
    return sealed.envelope, sealed.detached
