"""A whole run with an encrypted folder of dumps: its key is destroyed, or it says why not; and one that comes back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from domicile.config.custody import CopiesRule
from domicile.errors import NoClearance, Waiting
from domicile.evidence.predicates import (
    CertificatePredicate,
    ErasurePredicate,
    FindingPredicate,
    KeyPhase,
    Predicate,
    SweepPredicate,
)
from domicile.run import Stage
from domicile.stores.keyservices import generation_of
from domicile.stores.keyservices.files import FileKeys
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import World, run
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.keys.benches import PIN, REPLICA, TOKEN, Files, Public, Tokens, encrypt
from tests.servers import Databases

COPY = "dumps/encrypted-files"
OTHERS = "dumps/other-files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A world whose folder of dumps is encrypted."""

    world: World
    folder: Path

    def dump(self, name: str, public: Public) -> Path:
        """Take a dump of the source, encrypted on its way."""
        program = find_client("pg_dump", at_least_major=18)
        made = subprocess.run(
            [program, f"--dbname={self.world.source}", "--format=custom"], check=True, capture_output=True
        )
        return encrypt(made.stdout, self.folder / name, public)

    def told(self) -> dict[str, tuple[str, str]]:
        """Verdict and reason of the folder's two copies, by the last certificate."""
        last = self.statements()[-1]
        assert isinstance(last, CertificatePredicate)
        return {copy.id: (copy.verdict.value, copy.why) for copy in last.copies if copy.id.startswith("dumps/")}

    def statements(self) -> list[Predicate]:
        with self.world.programme.opened() as opened:
            return [recorded.predicate for recorded in opened.ledger.statements()]

    def phases(self) -> list[str]:
        """What the log tells of the key, and where erasures, sweeps and certificates stand between."""
        keys = {phase.value for phase in KeyPhase}
        found = []
        for one in self.statements():
            if isinstance(one, ErasurePredicate | SweepPredicate | CertificatePredicate):
                found.append(type(one).__name__.removesuffix("Predicate").lower())
            elif isinstance(one, FindingPredicate) and one.kind in keys and one.where == COPY:
                found.append(one.kind)
        return [name for place, name in enumerate(found) if not place or found[place - 1] != name]


Lock = Callable[[Files | Tokens], Locked]


def locked(tmp_path: Path, source: str, home: str, services: str, *, rules: str = RULES, stores: str = "") -> Locked:
    """Make a world with an encrypted folder of dumps, and these key services and further stores."""
    run(source, SCHEMA)
    folder = tmp_path / "dumps"
    folder.mkdir()
    lines = (
        f"  dumps: {{kind: dumps, location: here, of: app, path: {folder}, removed_by: engine,\n"
        "    encrypted: {service: vault, key: backups-us, since: 2019-01-01}}\n"
        f"{stores}key_services:\n{services}"
    )
    programme = make(tmp_path / "programme", lines + rules, source=source, homes={"CA": home})
    programme.environment = {**programme.environment, "HSM_PIN": PIN}
    return Locked(world=World(source=source, home=home, programme=programme), folder=folder)


@pytest.fixture
def lock(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Lock:
    """Make a world whose folder is encrypted by a key of this bench."""
    return lambda bench: locked(tmp_path, database(pg18), database(pg18), f"  vault: {bench.rule()}\n")


def _announce_early(made: Locked, public: Public) -> None:
    """P2: whoever asks for it, no key goes before something was erased under a clearance."""
    with made.world.programme.opened() as opened:
        folder = opened.config.around["dumps"]
        assert isinstance(folder, CopiesRule)
        assert folder.encrypted
        rule = folder.encrypted
        announce = opened.destroying.announcing("dumps", rule)
        with pytest.raises(NoClearance, match="no erasure of rows is in the log"):
            announce((generation_of(public),), KeyPhase.INTENT)


def _try_with_a_plain_dump_beside(made: Locked, path: Path) -> None:
    plain = made.folder / "between.dump"
    plain.write_bytes(b"PGDMP" + os.urandom(3000))
    os.utime(plain, (path.stat().st_mtime, path.stat().st_mtime))
    with pytest.raises(Waiting, match=r"between\.dump isn't encrypted as CMS EnvelopedData: a dump"):
        made.world.programme.apply(yes=True)
    plain.unlink()


def test_p3_the_key_goes_after_the_erasure_and_the_files_are_noise(lock: Lock, tokens: Tokens) -> None:
    made, bench = lock(tokens), tokens
    programme, old = made.world.programme, bench.make("backups-us")
    path = made.dump("nightly.dump.cms", old)
    shown = " ".join(programme.command("plan").stdout.split())
    assert "key to be destroyed" in shown
    assert "1 files (1 of them opened, to see) under 1 generations of key backups-us" in shown
    programme.clear_again()
    _announce_early(made, old)
    programme.apply(until=Stage.ERASE, yes=True)

    with pytest.raises(Waiting, match="no dump of what is left stands"):  # P1
        programme.apply(yes=True)
    stays = bench.make("backups-us")
    made.dump("after.dump.cms", stays)
    _try_with_a_plain_dump_beside(made, path)
    with pytest.raises(Waiting, match=r"1 files \(1 of them opened, to see\) .* would become unreadable; dry run"):
        programme.apply()
    assert bench.service.copies([generation_of(old)])
    assert "erasure" == made.phases()[-1]

    programme.apply(yes=True)
    assert path.exists()
    assert () == bench.service.copies([generation_of(old)])
    assert (generation_of(stays),) == bench.service.generations("backups-us")
    assert ["erasure", "key to be destroyed", "key destroyed", "sweep", "certificate"] == made.phases()  # P7
    told = made.told()
    assert "key-destroyed" == told[COPY][0]
    assert "by the operator's word all was encrypted since 2019-01-01" in told[COPY][1]
    assert "erased-verified" == told[OTHERS][0], told  # what the key opens that stays was searched decrypted
    audited = programme.audit()
    assert 0 == audited.returncode, audited.stdout
    assert COPY in audited.stdout
    log = (made.world.programme.folder / ".domicile" / "plan.json").read_text()
    assert PIN not in log.split()
    size = len(made.statements())
    programme.apply()
    assert size == len(made.statements())


def test_p5_an_end_between_intent_and_destruction_is_gone_on_with_and_a_key_that_comes_back_is_found(
    lock: Lock, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = lock(files)
    programme, old, stays = made.world.programme, files.make("backups-us"), files.make("backups-us")
    made.dump("nightly.dump.cms", old)
    path = files.root / TOKEN / "backups-us" / "1.pem"
    path.chmod(0o644)
    planned = " ".join(programme.command("plan").stdout.split())
    assert "key can't be destroyed" in planned
    assert "may be read by others (mode 0644)" in planned
    path.chmod(0o600)
    secret = (files.root / TOKEN / "backups-us" / "1.pem").read_bytes()
    programme.clear()
    programme.apply(until=Stage.ERASE, yes=True)
    made.dump("after.dump.cms", stays)

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FileKeys, "destroy", end)
    with pytest.raises(KeyboardInterrupt):
        programme.apply(yes=True)
    monkeypatch.undo()
    assert ["erasure", "key to be destroyed"] == made.phases()
    assert files.service.copies([generation_of(old)])
    programme.apply()  # it was announced: there is no way back, and no word is asked for again
    assert () == files.service.copies([generation_of(old)])
    assert ["erasure", "key to be destroyed", "key destroyed", "sweep", "certificate"] == made.phases()
    assert "key-destroyed" == made.told()[COPY][0]
    assert 0 == programme.audit().returncode

    restored = files.root / REPLICA / "restored.pem"  # P10: a copy was kept somewhere
    restored.write_bytes(secret)
    with pytest.raises(Waiting, match="a copy of it came back after it was destroyed"):
        programme.apply()
    assert 0 == programme.command("certify").returncode
    assert ["certificate", "key came back", "sweep", "certificate"] == made.phases()[-4:]
    verdict, why = made.told()[COPY]
    assert "present" == verdict
    assert "there was another one" in why
    audited = programme.audit()
    assert 0 == audited.returncode, audited.stdout
    assert "present" in audited.stdout
