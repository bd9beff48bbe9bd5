"""A restic repository of the source's machine: pruned by the tool after the erasure, restored, and searched."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from domicile import config
from domicile.config import load
from domicile.errors import BadFile, NotPermitted, Waiting
from domicile.evidence.predicates import SweepPredicate
from domicile.horizon.surroundings import Surroundings
from domicile.host import Host
from domicile.stores.around.restic.doctor import examine
from domicile.stores.postgres.doctor import Check
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from tests.around.conftest import MOVER, STAYER
from tests.around.restic import HOST, PASSWORD, Machine, machine
from tests.attack.conftest import World, run
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.servers import Databases


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A world whose source is dumped into a folder that restic backs up, as store `backups`."""

    world: World
    at: Machine

    def dump(self) -> None:
        """What the nightly job does first: dump the source, packed."""
        program = find_client("pg_dump", at_least_major=18)
        subprocess.run(
            [program, f"--dbname={self.world.source}", "--format=custom", f"--file={self.at.data}/app.dump"],
            check=True, capture_output=True,
        )  # fmt: skip

    def reasons(self) -> dict[str, tuple[str, str]]:
        """The verdict of each copy of the repository, and why."""
        with self.world.programme.opened() as opened:
            statements = [recorded.predicate for recorded in opened.ledger.statements()]
        return {
            copy.id.removeprefix("backups/"): (copy.verdict.value, copy.why)
            for copy in getattr(statements[-1], "copies", ())
            if copy.id.startswith("backups/")
        }  # fmt: skip

    def told(self) -> dict[str, str]:
        return {copy: verdict for copy, (verdict, _) in self.reasons().items()}

    def given_back(self) -> str:
        """All that is in the dumps of all snapshots, by restic and pg_restore themselves."""
        program, text = find_client("pg_restore", at_least_major=18), ""
        for name in self.at.snapshots():
            dump = self.at.restic("dump", name, f"{self.at.data}/app.dump", "--no-lock").stdout
            text += subprocess.run([program, "--file=-"], input=dump, check=True, capture_output=True).stdout.decode()
        return text


Keep = Callable[..., Kept]


@pytest.fixture
def keep(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> Iterator[Keep]:
    """Make a world whose source's machine is backed up; `rule` is added to the store's line."""
    with machine() as at:

        def of(rule: str = "removed_by: engine") -> Kept:
            source, home = database(pg18), database(pg18)
            run(source, SCHEMA)
            line = (
                f"  backups: {{kind: restic, location: here, of: app, repository: {at.repository}, hosts: [{HOST}], "
                f"paths: [{at.data}], scratch: {at.scratch}, password: 'file:secret', {rule}}}\n"
            )
            programme = make(tmp_path / "programme", line + RULES, source=source, homes={"CA": home})
            (programme.folder / "secret").write_text(PASSWORD + "\n")
            made = Kept(world=World(source=source, home=home, programme=programme), at=at)
            made.dump()
            return made

        yield of


def test_p3_a_value_in_an_old_snapshot_is_gone_and_what_is_left_is_restored_and_clean(keep: Keep) -> None:
    made = keep()
    old = made.at.back_up()
    assert MOVER.decode() in made.given_back()
    made.world.programme.clear()
    with made.world.programme.opened() as opened:
        (own,) = (copy for copy in opened.load_plan()[0].copies if copy.id == f"backups/snapshot:{old[:8]}")
    assert "by restic's forget and prune once a younger one holds the same paths" in own.method
    assert own.method.endswith(f"of {made.at.data}")
    with pytest.raises(Waiting, match="no younger snapshot that can be read from end to end holds all its paths"):
        made.world.programme.apply(yes=True)
    assert [old] == made.at.snapshots()
    made.dump()
    young = made.at.back_up()
    made.world.programme.apply(yes=True)
    assert [young] == made.at.snapshots()
    assert MOVER.decode() not in made.given_back()
    assert STAYER.decode() in made.given_back()
    told = made.told()
    assert {f"snapshot:{old[:8]}", "packs", "other-files"} == set(told)
    assert {"erased-verified"} == set(told.values()), made.reasons()
    with made.world.programme.opened() as opened:
        (swept,) = (one.predicate for one in opened.ledger.statements() if isinstance(one.predicate, SweepPredicate))
        assert PASSWORD not in str([one.predicate for one in opened.ledger.statements()])
    (others,) = (copy for copy in swept.copies if copy.id == "backups/other-files")
    assert f"{young[:8]} restored by restic 0." in others.method
    assert [] == list(made.at.scratch.iterdir())
    assert 0 == made.world.programme.audit().returncode
    made.world.programme.apply(yes=True)  # a second run does nothing
    assert [young] == made.at.snapshots()


def test_p3_a_snapshot_that_comes_back_after_the_treatment_is_found(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody lays an older copy of the repository over it while the run is at its end."""
    made = keep()
    old = made.at.back_up()
    kept = made.at.keep("kept")
    made.world.programme.clear()
    with pytest.raises(Waiting):
        made.world.programme.apply(yes=True)
    made.dump()
    made.at.back_up()
    original = Surroundings.treat

    def treat_and_bring_back(*given: object, **named: object) -> object:
        outcomes = original(*given, **named)  # type: ignore[arg-type]
        shutil.copytree(kept, made.at.repository, dirs_exist_ok=True)
        return outcomes

    with monkeypatch.context() as patched:
        patched.setattr(Surroundings, "treat", treat_and_bring_back)
        made.world.programme.apply(yes=True)
    verdict, why = made.reasons()[f"snapshot:{old[:8]}"]
    assert "present" == verdict
    assert "email" in why
    assert 0 == made.world.programme.audit().returncode


def test_p11_what_the_operator_keeps_is_present_and_found_in_the_packed_dump(keep: Keep) -> None:
    made = keep("removed_by: operator")
    old = made.at.back_up()
    made.world.programme.clear()
    with pytest.raises(Waiting, match=f"forget {old[:8]}`, `restic .* prune --max-unused 0`, then `domicile apply`"):
        made.world.programme.apply(yes=True)
    certified = made.world.programme.command("certify")
    verdict, why = made.reasons()[f"snapshot:{old[:8]}"]
    assert "present" == verdict, certified.stderr
    assert "email" in why
    assert "app.dump" in why
    assert "present" == made.told()["packs"]


def _checks(made: Kept) -> list[Check]:
    folder = made.world.programme.folder
    parsed, _ = config.read(folder / "domicile.yaml")
    return list(examine(parsed, Host(environment={}), folder))


def test_p4_a_repository_that_cannot_be_opened_stops_the_plan_and_the_doctor_says_so(keep: Keep) -> None:
    made = keep()
    made.at.back_up()
    secret = made.world.programme.folder / "secret"
    checks = _checks(made)
    assert {True} == {check.holds for check in checks}
    assert checks[0].what.startswith("restic 0.")
    assert "1 snapshots, 1 of the source's machine" == checks[1].what
    secret.write_text("hearsay")
    with pytest.raises(NotPermitted, match="the password is wrong"):
        made.world.programme.plan()
    (check,) = (check for check in _checks(made) if not check.holds)
    assert "the password is wrong" in check.remedy
    secret.unlink()
    with pytest.raises(BadFile, match="secret can't be read"):
        made.world.programme.plan()
    (check,) = _checks(made)
    assert check.holds is False
    secret.write_text(PASSWORD)
    made.at.repository.rename(made.at.folder / "away")
    with pytest.raises(NotPermitted, match="there is no repository"):
        made.world.programme.plan()
    doctor = made.world.programme.command("doctor")
    assert 1 == doctor.returncode
    assert "there is no repository" in " ".join(doctor.stdout.split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("of: app-ca", "backups of a home are `dumps` or `pgbackrest`"),
        ("of: app, repository: repo", "stores.backups.repository: repo is not absolute"),
        ("of: app, scratch: tmp", "stores.backups.scratch: tmp is not absolute"),
        ("of: app, paths: [srv]", "stores.backups.paths: srv is not absolute"),
        ("of: app, hosts: []", "stores.backups.hosts"),
        ("of: app, stanza: app", "stores.backups.stanza"),
    ],
)
def test_p4_a_repository_that_can_be_none_is_refused_by_the_file(tmp_path: Path, line: str, said: str) -> None:
    own = {"location": "here", "repository": "/srv/restic", "hosts": "[db-1]", "password": "env:RESTIC"}
    own |= dict(part.split(": ", 1) for part in line.split(", "))
    body = ", ".join(f"{key}: {value}" for key, value in own.items())
    programme = make(tmp_path, f"  backups: {{kind: restic, {body}}}\n{RULES}", source="", homes={"CA": ""})
    with pytest.raises(BadFile) as refused:
        load((programme.folder / "domicile.yaml").read_bytes())
    assert said in str(refused.value)
