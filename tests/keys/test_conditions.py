"""Each condition for the destruction of a key has a file, a folder or a service that breaks it, and is refused."""

from __future__ import annotations

import dataclasses
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from domicile.evidence.predicates import KeyPhase
from domicile.evidence.told import KeyStanding
from domicile.stores.around import Boundary, Custody
from domicile.stores.around.conditions import Examination, Ground, Key, examine
from domicile.stores.around.encrypted import ENCRYPTED, OTHERS, Encrypted
from domicile.stores.around.encryption import Encryption
from domicile.stores.keyservices import KeyService, generation_of
from domicile.stores.keyservices import files as files_module
from domicile.stores.postgres.copies import Outcome, Treatment
from domicile.stores.postgres.pages import Geometry
from tests.keys.benches import REPLICA, TOKEN, Bench, Files, Public, encrypt, write

ERASED_AT = datetime(2026, 6, 1, tzinfo=UTC)
BOUNDARY = Boundary(erased_at=ERASED_AT, segment="000000010000000000000010")
BEFORE, AFTER = ERASED_AT - timedelta(days=100), ERASED_AT + timedelta(days=1)
PLAIN = b"INSERT INTO person VALUES ('person-2@example.org');\n" * 2000


@dataclass(slots=True, kw_only=True)
class Place:
    """An encrypted archive, one key with one generation, and another folder of the file."""

    folder: Path
    other: Path
    bench: Bench
    public: Public
    others: tuple[KeyService, ...] = ()
    rows_erased: bool = True

    def put(self, name: str, *publics: Public, at: datetime = BEFORE, folder: Path | None = None) -> Path:
        path = encrypt(PLAIN, (folder or self.folder) / name, *(publics or (self.public,)))
        return dated(path, at)

    def examine(self, boundary: Boundary | None = BOUNDARY, service: KeyService | None = None) -> Examination:
        key = self._key(service or self.bench.service)
        return examine(Encryption(store="wal", path=self.folder), key, self._ground(), boundary)

    def store(self, standing: KeyStanding | None = None, blocked: date | None = None) -> Encrypted:
        key, custody = self._key(self.bench.service), Custody(by_engine=True, blocked_until=blocked)
        return Encrypted("wal", self.folder, key=key, custody=custody, ground=self._ground(), standing=standing)

    def _key(self, service: KeyService) -> Key:
        return Key(service=service, name="backups-us", since=date(2019, 1, 1), others=self.others)

    def _ground(self) -> Ground:
        return Ground(database=None, major=18, rows_erased=self.rows_erased, elsewhere=[self.other])

    @property
    def name(self) -> str:
        return generation_of(self.public)


def dated(path: Path, at: datetime) -> Path:
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


@pytest.fixture
def place(files: Files, tmp_path: Path) -> Place:
    return place_of(files, tmp_path)


@pytest.fixture
def either(bench: Bench, tmp_path: Path) -> Place:
    return place_of(bench, tmp_path)


def place_of(bench: Bench, tmp_path: Path) -> Place:
    folder, other = tmp_path / "folder", tmp_path / "other"
    (folder / "deep").mkdir(parents=True)
    other.mkdir()
    made = Place(folder=folder, other=other, bench=bench, public=bench.make("backups-us"))
    for name in ("1.cms", "deep/2.cms"):
        made.put(name)
    return made


def test_where_all_holds_there_is_no_reason(either: Place) -> None:
    for boundary in (BOUNDARY, None):
        found = either.examine(boundary)
        assert () == found.reasons
        assert ["1.cms", "deep/2.cms"] == [file.name for file in found.old]
        assert ((either.name,), 1, 2) == (found.generations, len(found.copies), found.shown)


def _tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("base/1/1259")
        member.size = len(PLAIN)
        archive.addfile(member, io.BytesIO(PLAIN))


def _plain_in_the_middle(place: Place) -> None:
    """An envelope in one piece whose content isn't noise: somebody wrote a header before a dump."""
    path = encrypt(os.urandom(200_000), place.folder / "3.cms", place.public, options=())
    data = path.read_bytes()
    path.write_bytes(data[:100_000] + PLAIN[:20_000] + data[120_000:])
    dated(path, BEFORE)


def _stolen_header(place: Place) -> None:
    """Two envelopes whose wrapped keys were exchanged: each names the key, and neither is opened by it."""
    paths = [place.put(name) for name in ("3.cms", "4.cms")]
    first, second = (path.read_bytes() for path in paths)
    at = 200
    paths[0].write_bytes(first[:at] + second[at : at + 50] + first[at + 50 :])
    for path in paths:
        dated(path, BEFORE)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + PLAIN)


def _link(place: Place) -> None:
    target = place.put("target", folder=place.folder.parent)
    link = place.folder / "3.cms"
    link.symlink_to(target)
    os.utime(link, (BEFORE.timestamp(), BEFORE.timestamp()), follow_symlinks=False)


def _files(place: Place) -> Files:
    assert isinstance(place.bench, Files)
    return place.bench


BREAKS: dict[str, tuple[Callable[[Place], object], str]] = {
    "1 no such key": (lambda place: _files(place).place("backups-us").parent.rename(
        _files(place).root / TOKEN / "backups-ca"), "desk has no key backups-us"),
    "1 a weak key": (lambda place: place.put("3.cms", place.bench.make("backups-us", bits=1024)), "has 1024 bits"),
    "1 no answer": (lambda place: place.bench.lose_a_place(), "replica can't be looked through"),
    "2 before the day": (lambda place: place.put("3.cms", at=datetime(2018, 12, 31, tzinfo=UTC)),
                         "3.cms changed before 2019-01-01"),
    "2 before the key": (lambda place: dated(_files(place).root / TOKEN / "backups-us" / "1.pem", AFTER),
                         "1.cms is older than the service's copy of its key"),
    "3 an SQL dump": (lambda place: (place.folder / "3.sql").write_bytes(b"-- PostgreSQL database dump\n" + PLAIN),
                      "3.sql isn't encrypted as CMS EnvelopedData: a dump"),
    "3 a packed tar": (lambda place: _tar(place.folder / "3.cms"), "3.cms isn't encrypted as CMS"),
    "3 a text": (lambda place: (place.folder / "letter").write_bytes(PLAIN), "letter isn't encrypted as CMS"),
    "3 another form": (lambda place: (place.folder / "3.age").write_bytes(b"age-encryption.org/v1\n" + os.urandom(999)),
                       "3.age isn't encrypted as CMS"),
    "3 an empty file": (lambda place: (place.folder / "empty").touch(), "empty isn't encrypted as CMS"),
    "3 a link": (_link, "3.cms is no plain file"),
    "3 a tail": (lambda place: _append(place.folder / "1.cms"), "1.cms has something behind"),
    "4 another key": (lambda place: place.put("3.cms", place.bench.make("backups-ca")), "3.cms isn't opened by this"),
    "4 a second key": (lambda place: place.put("3.cms", place.public, place.bench.make("backups-ca")),
                       "3.cms is opened by another key as well"),
    "5 it packs": (_plain_in_the_middle, "3.cms holds something that packs"),
    "6 it doesn't open": (_stolen_header, "3.cms names this key, but isn't opened by it"),
    "7 others may read it": (lambda place: (_files(place).root / TOKEN / "backups-us" / "1.pem").chmod(0o644),
                             "may be read by others"),
    "8 a younger file": (lambda place: place.put("3.cms", at=AFTER), "shared key: 1 files made since the erasure"),
    "8 another folder": (lambda place: place.put("x.cms", folder=place.other), "shared key: it opens x.cms in"),
}  # fmt: skip


@pytest.mark.parametrize("case", BREAKS)
def test_p11_each_condition_is_asked(place: Place, case: str) -> None:
    change, word = BREAKS[case]
    change(place)
    for path in place.folder.iterdir():
        if path.is_file() and not path.is_symlink() and case[0] == "3":
            dated(path, BEFORE)
    reasons = place.examine().reasons
    assert any(word in reason for reason in reasons), reasons
    outcome, _ = place.store().destroy(BOUNDARY, allowed=True, announce=_nobody)
    assert Treatment.HELD is outcome.treatment
    assert "isn't destroyed: " in outcome.why


def _nobody(*_: object) -> None:
    raise AssertionError("something was announced")


def test_p11_a_key_that_can_be_exported_is_refused_by_either_service(bench: Bench, tmp_path: Path) -> None:
    made = place_of(bench, tmp_path)
    made.put("3.cms", bench.make_exportable("backups-us"))
    (reason, *_) = made.examine().reasons
    assert reason.startswith("its copy at")


def test_p11_a_service_whose_medium_may_keep_the_key_is_refused(either: Place) -> None:
    (reason,) = either.examine(service=either.bench.unforgetting()).reasons
    assert "`forgets: true`" in reason


def test_p8_a_file_whose_name_may_tell_of_a_person_is_not_named(place: Place) -> None:
    (place.folder / "person-2@example.org.sql").write_bytes(PLAIN)
    (reason,) = place.examine(None).reasons
    assert reason.startswith("a file whose name isn't told isn't encrypted")


def test_wal_is_old_by_its_segment_and_not_by_its_date(place: Place) -> None:
    place.put("00000001000000000000000F.cms", at=AFTER)
    place.put("000000010000000000000010.cms", place.bench.make("backups-us"), at=BEFORE)
    found = place.examine()
    assert () == found.reasons
    assert ["00000001000000000000000F.cms", "1.cms", "deep/2.cms"] == [file.name for file in found.old]
    assert (place.name,) == found.generations  # the one of what stays isn't among them


# -- the destruction -------------------------------------------------------------------------------------------------


class Told(list[tuple[tuple[str, ...], KeyPhase]]):
    """What was announced."""

    def __call__(self, generations: tuple[str, ...], phase: KeyPhase) -> None:
        self.append((generations, phase))


def _done(outcome: Outcome) -> bool:
    return outcome.treatment is Treatment.KEY_DESTROYED


def test_p7_the_key_goes_when_all_holds_and_is_announced_before_and_after(either: Place) -> None:
    stays = either.bench.make("backups-us")
    told = Told()
    outcome, others = either.store().destroy(BOUNDARY, allowed=False, announce=told)
    assert ([], Treatment.HELD) == (told, outcome.treatment)
    assert "2 files (2 of them opened, to see)" in outcome.why
    outcome, others = either.store().destroy(BOUNDARY, allowed=True, announce=told)
    assert [((either.name,), KeyPhase.INTENT), ((either.name,), KeyPhase.OUTCOME)] == told
    assert _done(outcome)
    assert (OTHERS, Treatment.OBSERVED) == (others.copy, others.treatment)
    assert "by the operator's word all was encrypted since 2019-01-01 and its keys lie in these 2" in outcome.why
    assert (generation_of(stays),) == either.bench.service.generations("backups-us")


def test_p11_no_key_of_an_archive_goes_while_old_wal_is_still_to_come(place: Place) -> None:
    _files(place)
    outcome, _ = place.store().destroy(dataclasses.replace(BOUNDARY, awaited=True), allowed=True, announce=_nobody)
    assert Treatment.HELD is outcome.treatment
    assert "isn't begun" in outcome.why
    assert "pg_switch_wal()" in (outcome.remedy or "")


def test_p5_what_was_announced_is_finished_and_what_is_done_is_done(either: Place) -> None:
    told = Told()
    intent = KeyStanding(generations=(either.name,), phase=KeyPhase.INTENT)
    for _ in range(2):  # before the destruction, and after it but before it was stated
        outcome, _ = either.store(intent).destroy(BOUNDARY, allowed=False, announce=told)
        assert _done(outcome)
    outcome, _ = either.store(dataclasses.replace(intent, phase=KeyPhase.OUTCOME)).destroy(
        BOUNDARY, allowed=False, announce=_nobody
    )
    assert _done(outcome)
    assert [KeyPhase.OUTCOME] * 2 == [phase for _, phase in told]


def test_p11_what_a_service_could_not_destroy_is_looked_for_and_held(place: Place) -> None:
    """Absence isn't inferred from a call that returned."""
    files = _files(place)
    path = files.root / TOKEN / "backups-us" / "1.pem"
    write(path, files_module._load(path.read_bytes(), pem=True), rsa.generate_private_key(65537, 2048))  # type: ignore[arg-type]
    told, intent = Told(), KeyStanding(generations=(place.name,), phase=KeyPhase.INTENT)
    outcome, _ = place.store(intent).destroy(BOUNDARY, allowed=True, announce=told)
    assert ([], Treatment.HELD) == (told, outcome.treatment)
    assert "a copy of it is still there" in outcome.why


def test_an_empty_folder_is_told_by_the_plan_as_it_is(place: Place) -> None:
    for path in (place.folder / "1.cms", place.folder / "deep" / "2.cms"):
        path.unlink()
    assert ((), (), 0) == (place.examine(None).reasons, place.examine(None).old, place.examine(None).shown)
    _files(place).place("backups-us").parent.rename(_files(place).root / TOKEN / "backups-ca")
    assert ("desk has no key backups-us",) == place.examine(None).reasons


def test_p1_an_announced_key_that_is_in_use_since_then_is_held(place: Place) -> None:
    intent = KeyStanding(generations=(place.name,), phase=KeyPhase.INTENT)
    younger = place.put("3.cms", at=AFTER)
    outcome, _ = place.store(intent).destroy(BOUNDARY, allowed=True, announce=_nobody)
    assert Treatment.HELD is outcome.treatment
    assert "1 files made since the erasure are encrypted under it" in outcome.why
    younger.unlink()
    outcome, _ = place.store(intent).destroy(BOUNDARY, allowed=True, announce=Told())
    assert _done(outcome)


def test_p11_a_key_that_comes_back_is_told_and_never_again_called_destroyed(place: Place) -> None:
    path = _files(place).root / TOKEN / "backups-us" / "1.pem"
    kept = path.read_bytes()
    assert () == place.bench.service.destroy([place.name])
    restored = _files(place).root / REPLICA / "backup-of-the-disk.pem"
    restored.write_bytes(kept)
    told, done = Told(), KeyStanding(generations=(place.name,), phase=KeyPhase.OUTCOME)
    outcome, _ = place.store(done).destroy(BOUNDARY, allowed=True, announce=told)
    assert [((place.name,), KeyPhase.CAME_BACK)] == told
    assert Treatment.HELD is outcome.treatment
    assert restored.exists()  # it is evidence
    restored.unlink()
    back = dataclasses.replace(done, phase=KeyPhase.CAME_BACK)
    outcome, _ = place.store(back).destroy(BOUNDARY, allowed=True, announce=_nobody)
    assert Treatment.UNSEEN is outcome.treatment


def test_p11_a_service_that_does_not_answer_any_more_leaves_it_unknown(place: Place) -> None:
    place.bench.lose_a_place()
    done = KeyStanding(generations=(place.name,), phase=KeyPhase.OUTCOME)
    outcome, _ = place.store(done).destroy(BOUNDARY, allowed=True, announce=_nobody)
    assert Treatment.UNSEEN is outcome.treatment


def test_p11_what_has_to_be_kept_is_blocked_and_the_key_stands(place: Place) -> None:
    outcome, _ = place.store(blocked=date(2030, 1, 1)).destroy(BOUNDARY, allowed=True, announce=_nobody)
    assert (Treatment.BLOCKED, date(2030, 1, 1)) == (outcome.treatment, outcome.until)
    assert place.bench.service.copies([place.name])


def test_p11_a_folder_that_somebody_emptied_is_not_called_destroyed(place: Place) -> None:
    for path in (place.folder / "1.cms", place.folder / "deep" / "2.cms"):
        path.unlink()
    outcome, _ = place.store().destroy(BOUNDARY, allowed=True, announce=_nobody)
    assert Treatment.GONE is outcome.treatment


def test_what_a_key_opens_that_stays_is_searched_decrypted_and_the_rest_is_told_apart(place: Place) -> None:
    stays = place.bench.make("backups-us")
    place.put("young.cms", stays, at=AFTER)
    place.put("foreign.cms", rsa.generate_private_key(65537, 2048).public_key(), at=AFTER)
    (place.folder / "note.txt").write_bytes(b"a note")
    store = place.store(KeyStanding(generations=(place.name,), phase=KeyPhase.OUTCOME))
    copies = {path: store.placing(Geometry()).place(path).copy for path in
              ("1.cms", "deep/2.cms", "young.cms", "foreign.cms", "note.txt")}  # fmt: skip
    assert (
        dict.fromkeys(("1.cms", "deep/2.cms"), ENCRYPTED)
        | dict.fromkeys(("young.cms", "foreign.cms", "note.txt"), OTHERS)
        == copies
    )
    opened = store.files()
    sizes = {entry.path: getattr(entry, "size", None) for entry in opened.walk()}
    assert len(PLAIN) == sizes["young.cms"]
    assert (place.folder / "1.cms").stat().st_size == sizes["1.cms"]
    for offset, length in ((0, 100), (50_000, 70), (10, 5), (len(PLAIN) - 3, 50), (len(PLAIN), 9), (0, len(PLAIN))):
        assert PLAIN[offset : offset + length] == opened.read("young.cms", offset, length)
    assert (place.folder / "foreign.cms").read_bytes()[:99] == opened.read("foreign.cms", 0, 99)
