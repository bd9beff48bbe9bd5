"""What a run keeps beside its log, when the power goes: what was promised is there, or gone for good (P5, P7, P8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from domicile.evidence import canaries
from domicile.evidence.commitments import Commitments, Committed, destroy_key
from domicile.evidence.keys import Signer, load_signer, save_signer
from domicile.evidence.ledger import Ledger
from domicile.evidence.receipts.keeping import Receipts
from domicile.evidence.tlog.log import Log
from domicile.host import Host, write_whole
from domicile.private import PrivateFile
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace
from tests.powerloss import Disk, Remains
from tests.receipts.test_keeping import stated
from tests.vectors import receipts as r
from tests.vectors import scenario as s

pytestmark = pytest.mark.crash
Left = Callable[[Disk], Iterator[tuple[Remains, Path]]]
TABLE = Committed(dataset="app.public.note", relation="public.note", rows="public.note", key="id")


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    (tmp_path / "disk").mkdir()
    return Disk(tmp_path / "disk")


@pytest.fixture
def left(tmp_path: Path) -> Left:
    def of(disk: Disk) -> Iterator[tuple[Remains, Path]]:
        """All that the watch noted, each laid out."""
        assert disk.remains
        for number, remains in enumerate(disk.remains):
            yield remains, remains.lay(tmp_path / f"left-{number}")

    return of


def test_the_watch_sees_what_nobody_synced(disk: Disk, left: Left) -> None:
    """Each way in which a careless writer loses a file is among what is left."""
    (disk.root / "old").write_bytes(b"old")
    with disk.watched():
        (disk.root / "new").write_bytes(b"new")
        (disk.root / "tmp").write_bytes(b"newer")
        (disk.root / "tmp").replace(disk.root / "old")
        disk.promise("all")
    places = [place for remains, place in left(disk) if remains.promised]
    found = [{(place / name).read_bytes() if (place / name).exists() else None for place in places}
             for name in ("old", "new")]  # fmt: skip
    assert [{b"old", b""}, {None, b""}] == found


def test_p5_a_long_statement_is_there_with_the_entry_that_names_it(disk: Disk, left: Left) -> None:
    ledger = Ledger.open(disk.root / "evidence", s.ENGINE)
    with disk.watched():
        for number in range(2):
            ledger.record(replace(s.plan(), not_proven=tuple(f"{number} open {n}" for n in range(9_000))))
            disk.promise(ledger.size)
    for remains, place in left(disk):
        log = Log.open(place / "evidence/log", s.ENGINE, size_min=remains.promised or 0)
        again = Ledger(place / "evidence", log, s.ENGINE)
        assert again.size == len([again.sealed(index).sha256 for index in range(again.size)])
        assert sorted(again.detached()) == sorted(name for name in again.detached() if again.detached()[name])


def test_p5_a_file_put_in_place_whole_is_the_old_one_or_the_new_one(disk: Disk, left: Left) -> None:
    path = disk.root / "plan.json"
    with disk.watched():
        for data in (b"one", b"another"):
            write_whole(path, data)
            disk.promise(data)
    wholes = [b"one", b"another"]
    for remains, place in left(disk):
        found = (place / "plan.json").read_bytes() if (place / "plan.json").exists() else None
        assert found in (wholes[wholes.index(remains.promised) :] if remains.promised else [None, b"one"])


def test_p5_a_new_file_is_there_whole_or_not_at_all(disk: Disk, left: Left) -> None:
    """A key that was cut off in the middle would be in the way of a new one, and open nothing."""
    words = canaries.invent("auditor", 3, Host())
    with disk.watched():
        save_signer(disk.root / "engine.key", s.ENGINE)
        disk.promise(1)
        canaries.save(disk.root / "words.json", words)
        disk.promise(2)
        canaries.save_seal(disk.root / "seal.json", words.seal)
        disk.promise(3)
    for remains, place in left(disk):
        known: Iterable[tuple[str, Callable[[Path], object], object]] = (
            ("engine.key", load_signer, s.ENGINE),
            ("words.json", canaries.load, words),
            ("seal.json", canaries.load_seal, words.seal),
        )
        for number, (name, load, expected) in enumerate(known, start=1):
            assert (place / name).exists() or number > (remains.promised or 0), remains.moment
            assert not (place / name).exists() or expected == load(place / name)


def test_p5_the_folders_of_a_programme_are_there_and_a_key_that_took_over_stays(disk: Disk, left: Left) -> None:
    workspace = Workspace(disk.root / "domicile.yaml")
    later = Signer(name=s.ENGINE.name, seed=bytes(32))
    with disk.watched():
        workspace.make()
        disk.promise("made")
        save_signer(workspace.key, s.ENGINE)
        ledger = Ledger.open(workspace.evidence, s.ENGINE)
        ledger.record(s.plan())
        save_signer(workspace.key_next, later)
        ledger.log.hand_over([b"a change of keys"], later)
        workspace.promote()
        disk.promise("promoted")
    for remains, place in left(disk):
        again = Workspace(place / "domicile.yaml")
        if remains.promised:
            assert all(path.is_dir() for path in (again.evidence, again.approvals, again.seals)), remains.moment
        if remains.promised == "promoted":
            assert (later, False) == (load_signer(again.key), again.key_next.exists())
            assert f"{later.verifier.vkey}\n" == again.public.read_text()


def test_p5_the_journal_has_what_was_put_and_not_what_was_forgotten(disk: Disk, left: Left) -> None:
    with disk.watched(), closing(Journal(disk.root / "journal.db")) as journal:
        for number in range(3):
            journal.put("number", number, int)
            disk.promise(number)
        journal.forget("number")
        disk.promise("forgotten")
    for remains, place in left(disk):
        with closing(Journal(place / "journal.db")) as journal:
            found = journal.get("number", int)
        if remains.promised == "forgotten":
            assert found is None
        elif remains.promised is not None:
            assert found is None or found >= remains.promised, remains.moment
            assert found is not None or remains.promised == 2


@pytest.mark.parametrize("wal", [True, False])
def test_p5_a_private_file_has_each_transaction_and_is_gone_when_it_was_forgotten(
    disk: Disk, left: Left, wal: bool
) -> None:
    tables = "CREATE TABLE IF NOT EXISTS line (number INTEGER)"
    with disk.watched():
        file = PrivateFile(disk.root / "objects.db", tables, wal=wal)
        for number in range(3):
            with file.transaction() as database:
                database.execute("INSERT INTO line VALUES (?)", (number,))
            disk.promise(number)
        file.forget()
        disk.promise("forgotten")
    for remains, place in left(disk):
        if remains.promised == "forgotten":
            assert [] == list(place.iterdir()), remains.moment
            continue
        gone = remains.promised == 2 and not (place / "objects.db").exists()
        with closing(PrivateFile(place / "objects.db", tables, wal=wal)) as again:
            found = [number for (number,) in again.rows("SELECT number FROM line ORDER BY number")]
        assert gone or found[: (remains.promised or 0) + 1] == list(range(len(found)))[: (remains.promised or 0) + 1]
        assert gone or remains.promised is None or len(found) > remains.promised, remains.moment


def test_p5_p8_commitments_are_there_before_rows_go_and_their_key_goes_for_good(disk: Disk, left: Left) -> None:
    path = disk.root / "erased.db"
    with disk.watched():
        with closing(Commitments.make(path, Host())) as commitments:
            for number in range(3):
                commitments.write(TABLE, [(f"{number}", False)])
                disk.promise(number)
        key = path.with_suffix(".key").read_bytes()
        destroy_key(path)
        disk.promise("destroyed")
    assert key not in disk.ever_synced()
    for remains, place in left(disk):
        path = place / "erased.db"
        if remains.promised == "destroyed":
            assert not path.with_suffix(".key").exists()
            continue
        if remains.promised == 2:  # the key is being destroyed
            assert path.exists()
            continue
        with closing(Commitments.make(path, Host())) as again:
            known = [again.fate("app.public.note", f"{number}") for number in range((remains.promised or -1) + 1)]
        assert {False} >= set(known), remains.moment


def test_p5_p8_receipts_are_there_when_they_are_stated_and_a_destroyed_nonce_is_not(disk: Disk, left: Left) -> None:
    people, key = r.people(20, "us"), bytes(range(32))
    with disk.watched(), closing(Receipts(disk.root / "receipts", key)) as receipts:
        receipts.make(((0, person) for person in people), stated, Host())
        disk.promise("made")
        nonce = receipts.find("7", [r.KIND]).nonce
        receipts.choose(["7"], [r.KIND], s.at(60))
        disk.promise("chosen")
        receipts.overwrite()
        disk.promise("overwritten")
        assert nonce not in disk.ever_synced()
        receipts.settle()
        receipts.forget()
        disk.promise("forgotten")
    for remains, place in left(disk):
        if remains.promised == "forgotten":
            assert [] == list(place.iterdir()), remains.moment
        elif remains.promised != "overwritten" or (place / "receipts/people.db").exists():
            with closing(Receipts(place / "receipts", key)) as again:
                _holds_together(again, remains, nonce, place)


def _holds_together(again: Receipts, remains: Remains, nonce: bytes, place: Path) -> None:
    """Whatever is committed can be found; who was promised to be chosen is, and what was to go is gone."""
    made = bool((place / "receipts").exists() and again.stated())
    assert made or remains.promised is None, remains.moment
    for number in range(1, 21 if made else 1):
        if number != 7:
            assert f"{number}" == again.find(f"{number}", [r.KIND]).person.key, remains.moment
    if remains.promised == "chosen":
        assert again.chosen() is not None
        again.overwrite()  # as the next run does
    if remains.promised in {"chosen", "overwritten"}:
        assert again.count() == 19
        assert nonce not in (place / "receipts/nonces").read_bytes(), remains.moment
