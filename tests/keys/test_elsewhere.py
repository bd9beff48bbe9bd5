"""A key that another service of the file holds isn't gone; and no key goes where no rows were erased."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from domicile.errors import Waiting
from domicile.evidence.predicates import ErasurePredicate, KeyPhase, Phase
from domicile.evidence.told import KeyStanding, rows_erased
from domicile.run import Stage
from domicile.stores.keyservices import generation_of
from domicile.stores.postgres.copies import Treatment
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.programme import PERSON
from tests.attack.test_second_thoughts import RULES
from tests.keys.benches import REPLICA, TOKEN, Files
from tests.keys.test_conditions import BOUNDARY, Place, Told, place_of
from tests.keys.test_destroying import COPY, Locked, locked
from tests.servers import Databases

OBJECTS_ONLY = """
datasets:
  app.public.person: {rows: split, fields: {id: public, market: public, email: public}}
  app.public.note: {rows: none, reason: about nobody}
"""
Lock = Callable[..., Locked]


@pytest.fixture
def desk(tmp_path: Path) -> Files:
    """Another key service, of which no folder's key is."""
    root = tmp_path / "desk"
    root.mkdir()
    return Files(root)


@pytest.fixture
def lock(pg18: EmbeddedServer, database: Databases, tmp_path: Path, files: Files, desk: Files) -> Lock:
    """Make a world with an encrypted folder of dumps, and two key services."""
    services = f"  desk: {desk.rule()}\n  vault: {files.rule()}\n"

    def of(rules: str = RULES, stores: str = "") -> Locked:
        return locked(tmp_path, database(pg18), database(pg18), services, rules=rules, stores=stores)

    return of


def test_p11_a_key_that_another_service_holds_is_not_gone_and_p10_one_that_comes_back_there_is_found(
    lock: Lock, files: Files, desk: Files
) -> None:
    made = lock()
    programme, old, twin = made.world.programme, files.make("backups-us"), desk.make("backups-eu")
    assert generation_of(old) == generation_of(twin)
    made.dump("nightly.dump.cms", old)
    lies = desk.root / TOKEN / "backups-eu" / "1.pem"
    planned = " ".join(programme.command("plan").stdout.split())
    assert "key can't be destroyed" in planned
    assert "another copy of it lies in desk (" in planned
    programme.clear_again()
    programme.apply(until=Stage.ERASE, yes=True)
    made.dump("after.dump.cms", files.make("backups-us"))
    with pytest.raises(Waiting, match=r"another copy of it lies in desk \(\S+/backups-eu/1\.pem\); remove it there"):
        programme.apply(yes=True)
    secret = lies.read_bytes()
    lies.unlink()
    (desk.root / REPLICA).rename(desk.root / "away")
    with pytest.raises(Waiting, match=r"key service desk: \S+ can't be looked through"):
        programme.apply(yes=True)
    assert "erasure" == made.phases()[-1]
    assert files.service.copies([generation_of(old)])

    (desk.root / "away").rename(desk.root / REPLICA)
    programme.apply(yes=True)
    assert ("key-destroyed", True) == (made.told()[COPY][0], "no copy found in vault, desk;" in made.told()[COPY][1])
    assert 0 == programme.audit().returncode
    size = len(made.statements())
    (desk.root / REPLICA).rename(desk.root / "away")
    programme.apply()
    assert size == len(made.statements())
    (desk.root / "away").rename(desk.root / REPLICA)
    (desk.root / REPLICA / "restored.pem").write_bytes(secret)
    with pytest.raises(Waiting, match=r"a copy of it came back .* \(desk, \S+/restored\.pem\)"):
        programme.apply()
    assert 0 == programme.command("certify").returncode
    assert ["certificate", "key came back", "sweep", "certificate"] == made.phases()[-4:]
    assert "present" == made.told()[COPY][0]
    audited = programme.audit()
    assert 0 == audited.returncode, audited.stdout


def test_p2_where_only_objects_were_erased_no_key_goes(lock: Lock, files: Files, tmp_path: Path) -> None:
    media, away = tmp_path / "media", tmp_path / "media-ca"
    (media / "u").mkdir(parents=True)
    away.mkdir()
    for number in range(1, 21):
        (media / "u" / f"{number}.txt").write_bytes(b"a letter of person-%d@example.org" % number)
    stores = (
        f'  media: {{kind: files, location: here, path: {media}, objects: [{{pattern: "u/{{subject}}.txt", '
        "disposition: move}]}\n"
        f"  media-ca: {{kind: files, location: ca, path: {away}, home_of: media}}\n"
    )
    made = lock(PERSON + OBJECTS_ONLY, stores)
    programme, old = made.world.programme, files.make("backups-us")
    path = made.dump("nightly.dump.cms", old)
    programme.clear()
    programme.apply(until=Stage.ERASE, yes=True)
    told = made.statements()
    erasures = [one for one in told if isinstance(one, ErasurePredicate)]
    assert {("media", Phase.INTENT), ("media", Phase.OUTCOME)} == {(one.dataset, one.phase) for one in erasures}
    assert not rows_erased(told)
    for phase in Phase:  # a derived table that was emptied with them held rows
        emptied = [replace(one, emptied=("app.public.top",)) for one in erasures if one.phase is phase]
        assert (phase is Phase.OUTCOME) == rows_erased([*told, *emptied])
    made.dump("after.dump.cms", files.make("backups-us"))
    with pytest.raises(Waiting, match="no rows were erased, so the destruction of key backups-us would count for"):
        programme.apply(yes=True)
    assert "erasure" == made.phases()[-1]
    assert files.service.copies([generation_of(old)])
    assert 0 == programme.command("certify").returncode
    assert "present" == made.told()[COPY][0]
    assert 0 == programme.audit().returncode
    path.unlink()
    programme.apply(yes=True)
    assert "erased-unverified" == made.told()[COPY][0], made.told()
    audited = programme.audit()
    assert 0 == audited.returncode, audited.stdout


@pytest.fixture
def place(files: Files, desk: Files, tmp_path: Path) -> Place:
    """An encrypted archive; another service, which doesn't hold its key."""
    made = place_of(files, tmp_path)
    made.others = (desk.service,)
    return made


def _nobody(*_: object) -> None:
    raise AssertionError("something was announced")


def _standing(place: Place, phase: KeyPhase) -> KeyStanding:
    return KeyStanding(generations=(place.name,), phase=phase)


@pytest.mark.parametrize("phase", [None, KeyPhase.INTENT, KeyPhase.OUTCOME])
def test_p11_another_service_that_holds_it_or_does_not_answer_keeps_it_from_being_called_destroyed(
    place: Place, desk: Files, phase: KeyPhase | None
) -> None:
    """Before it is announced, after that, and after it is gone; whatever it is called there."""
    told = Told()
    standing = None if phase is None else _standing(place, phase)
    if phase is KeyPhase.OUTCOME:
        assert () == place.bench.service.destroy([place.name])
    assert place.name == generation_of(desk.make("of-somebody-else"))
    outcome, _ = place.store(standing).destroy(BOUNDARY, allowed=True, announce=told)
    assert Treatment.HELD is outcome.treatment
    assert "/of-somebody-else/1.pem" in outcome.why
    assert ([KeyPhase.CAME_BACK] if phase is KeyPhase.OUTCOME else []) == [one for _, one in told]
    assert desk.service.copies([place.name])  # it is for somebody else, and not ours to destroy
    assert (phase is None) == bool(place.bench.service.copies([place.name]))
    for path in (desk.root / TOKEN / "of-somebody-else").iterdir():
        path.unlink()
    desk.lose_a_place()
    outcome, _ = place.store(standing).destroy(BOUNDARY, allowed=True, announce=_nobody)
    assert (Treatment.UNSEEN if standing else Treatment.HELD) is outcome.treatment
    assert "key service desk: " in outcome.why


def test_p11_a_copy_that_is_made_while_the_key_is_destroyed_is_seen_before_that_is_stated(
    place: Place, desk: Files
) -> None:
    told = list[KeyPhase]()

    def announce(_: tuple[str, ...], phase: KeyPhase) -> None:
        told.append(phase)
        desk.make("copied-meanwhile")

    outcome, _ = place.store().destroy(BOUNDARY, allowed=True, announce=announce)
    assert ([KeyPhase.INTENT], Treatment.HELD) == (told, outcome.treatment)
    assert "a copy of it is still there (desk, " in outcome.why
    (desk.root / TOKEN / "copied-meanwhile" / "1.pem").unlink()
    outcome, _ = place.store(_standing(place, KeyPhase.INTENT)).destroy(BOUNDARY, allowed=False, announce=Told())
    assert Treatment.KEY_DESTROYED is outcome.treatment


def test_what_another_service_holds_under_the_same_name_is_another_key(place: Place, desk: Files) -> None:
    stays = place.bench.make("backups-us")
    for _ in range(2):
        desk.make("backups-us")
    (desk.root / TOKEN / "backups-us" / "1.pem").unlink()
    assert generation_of(stays) in desk.service.generations("backups-us")
    assert () == place.examine().reasons
    assert () == place.examine(None).reasons


@pytest.mark.parametrize("phase", [None, *KeyPhase])
def test_p2_without_rows_erased_no_key_goes_and_none_that_went_counts(place: Place, phase: KeyPhase | None) -> None:
    place.rows_erased = False
    standing = None if phase is None else _standing(place, phase)
    if phase in {KeyPhase.OUTCOME, KeyPhase.CAME_BACK}:
        place.bench.service.destroy([place.name])
    before = place.bench.service.copies([place.name])
    outcome, _ = place.store(standing).destroy(BOUNDARY, allowed=True, announce=_nobody)
    wanted = Treatment.UNSEEN if phase is KeyPhase.CAME_BACK else Treatment.HELD
    assert (wanted, before) == (outcome.treatment, place.bench.service.copies([place.name]))


def test_p10_a_copy_that_came_back_is_told_though_another_service_does_not_answer(place: Place, desk: Files) -> None:
    told = Told()
    desk.lose_a_place()
    outcome, _ = place.store(_standing(place, KeyPhase.OUTCOME)).destroy(BOUNDARY, allowed=True, announce=told)
    assert (Treatment.HELD, [((place.name,), KeyPhase.CAME_BACK)]) == (outcome.treatment, told)
