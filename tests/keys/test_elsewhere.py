"""A key that another service of the file holds isn't gone; and no key goes where no rows were erased."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from domicile.errors import Waiting
from domicile.evidence.predicates import ErasurePredicate, Phase
from domicile.run import Stage
from domicile.stores.keyservices import generation_of
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import World, run
from tests.attack.programme import PERSON, make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.keys.benches import REPLICA, TOKEN, Files
from tests.keys.test_destroying import COPY, Locked
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

    def of(rules: str = RULES, stores: str = "") -> Locked:
        source, home = database(pg18), database(pg18)
        run(source, SCHEMA)
        folder = tmp_path / "dumps"
        folder.mkdir()
        lines = (
            f"  dumps: {{kind: dumps, location: here, of: app, path: {folder}, removed_by: engine,\n"
            "    encrypted: {service: vault, key: backups-us, since: 2019-01-01}}\n"
            f"{stores}key_services:\n  desk: {desk.rule()}\n  vault: {files.rule()}\n"
        )
        programme = make(tmp_path / "programme", lines + rules, source=source, homes={"CA": home})
        return Locked(world=World(source=source, home=home, programme=programme), folder=folder)

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
    assert {"media"} == {
        one.dataset for one in made.statements() if isinstance(one, ErasurePredicate) and one.phase is Phase.OUTCOME
    }
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
