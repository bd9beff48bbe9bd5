"""A clearance wants a backup at home that really holds what home holds: not missing, not old, not damaged (P2)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from domicile.config import load
from domicile.errors import BadFile, HostFault, NoClearance, Waiting
from domicile.evidence.predicates import ClearancePredicate
from domicile.run import Stage
from domicile.stores.postgres import restoring
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import World, run
from tests.attack.programme import make
from tests.attack.test_second_thoughts import RULES, SCHEMA
from tests.live.platform import CUTOVER, moving_world
from tests.live.platform import RULES as LIVE_RULES
from tests.servers import Databases


@pytest.fixture
def backed(pg18: EmbeddedServer, database: Databases, tmp_path: Path) -> tuple[World, Path]:
    """A world whose home has a folder of backups."""
    source, home = database(pg18), database(pg18)
    run(source, SCHEMA)
    folder = tmp_path / "backups"
    folder.mkdir()
    line = f"  backups-ca: {{kind: dumps, location: ca, of: app-ca, path: {folder}}}\n"
    programme = make(tmp_path / "programme", line + RULES, source=source, homes={"CA": home})
    return World(source=source, home=home, programme=programme), folder


def back_up(made: World, path: Path, *options: str) -> Path:
    """Have the real pg_dump back the home up."""
    program = find_client("pg_dump", at_least_major=18)
    subprocess.run([program, "--format=custom", f"--file={path}", *options, made.home], check=True, capture_output=True)
    return path


def test_p2_without_a_backup_at_home_or_with_another_databases_nothing_is_cleared(backed: tuple[World, Path]) -> None:
    made, folder = backed
    made.programme.plan()
    with pytest.raises(NoClearance, match="holds no dump of"):
        made.programme.apply()
    program = find_client("pg_dump", at_least_major=18)
    subprocess.run([program, "--format=custom", f"--file={folder / 'of-the-source.dump'}", made.source], check=True)
    with pytest.raises(NoClearance, match="holds no dump of"):
        made.programme.apply()
    assert [(20,)] == made.at_source("SELECT count(*) FROM person")


def test_p2_a_stale_backup_clears_nothing_and_a_new_one_does(backed: tuple[World, Path]) -> None:
    made, folder = backed
    made.programme.plan()
    made.programme.apply(until=Stage.TRANSFER)
    made.at_home("ALTER TABLE note DISABLE TRIGGER USER")
    kept = made.at_home("DELETE FROM note WHERE id = (SELECT max(id) FROM note) RETURNING id, person_id, body")
    back_up(made, folder / "stale.dump")
    values = ", ".join("'" + str(value) + "'" for value in kept[0])
    made.at_home(f"INSERT INTO note (id, person_id, body) OVERRIDING SYSTEM VALUE VALUES ({values})")
    with pytest.raises(NoClearance, match=r"stale\.dump|does not hold what home holds") as refused:
        made.programme.apply()
    assert "older than the fence, or damaged" in str(refused.value)
    back_up(made, folder / "fresh.dump")
    with pytest.raises(Waiting):
        made.programme.apply()
    made.programme.approve()
    made.programme.apply(yes=True)
    with made.programme.opened() as opened:
        cleared = [recorded.predicate for recorded in opened.ledger.statements()]
    (clearance,) = (one for one in cleared if isinstance(one, ClearancePredicate))
    assert "the newest dump of the home's own backups" in clearance.restore.method
    assert 0 == made.programme.audit().returncode


@pytest.mark.parametrize("compress", ["0", "gzip:6"])
def test_p2_a_backup_with_one_wrong_byte_clears_nothing(backed: tuple[World, Path], compress: str) -> None:
    """Unpacked it can be restored, and holds another value; packed it can't."""
    made, folder = backed
    made.programme.plan()
    made.programme.apply(until=Stage.TRANSFER)
    path = back_up(made, folder / "one.dump", f"--compress={compress}")
    whole = path.read_bytes()
    places = [match.start() for match in re.finditer(b"person-2@example", whole)]
    at = places[0] if places else whole.rindex(b"\x78\x9c") + 24  # in the last packed block of rows
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(NoClearance):
        made.programme.apply()
    path.write_bytes(whole)
    with pytest.raises(Waiting):
        made.programme.apply()


def test_the_newest_of_several_is_taken(backed: tuple[World, Path]) -> None:
    made, folder = backed
    made.programme.plan()
    made.programme.apply(until=Stage.TRANSFER)
    old = back_up(made, folder / "z-old.dump")
    old.write_bytes(old.read_bytes()[:-100])
    os.utime(old, (1_000_000_000, 1_000_000_000))
    back_up(made, folder / "a-new.dump")
    with pytest.raises(Waiting):
        made.programme.apply()


def _flipped(path: Path) -> None:
    whole = path.read_bytes()
    at = whole.rindex(b"\x78\x9c") + 24  # in the last packed block of rows
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])


def test_p2_a_home_that_lives_on_is_backed_up_as_of_the_moment_that_was_compared(
    pg18: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backups"
    line = f"  backups-us: {{kind: dumps, location: us, of: app-us, path: {folder}}}\n"
    with moving_world(pg18, tmp_path / "programme", "backed", cutover=CUTOVER, rules=line + LIVE_RULES) as world:
        with pytest.raises(HostFault, match="can't be written: No such file"):
            world.run.apply(close=True, yes=True)
        folder.mkdir()
        back_up_whole = restoring.back_up

        def back_up_damaged(dsn: str, path: Path, *, moment: str, store: str) -> None:
            back_up_whole(dsn, path, moment=moment, store=store)
            _flipped(path)

        monkeypatch.setattr(restoring, "back_up", back_up_damaged)
        with pytest.raises(NoClearance, match="can't be restored"):
            world.run.apply(close=True, yes=True)
        monkeypatch.undo()
        with pytest.raises(Waiting, match="approvals"):
            world.run.apply(close=True, yes=True)
        (path,) = folder.iterdir()
        assert "domicile-attack-us.dump" == path.name
        assert 0o600 == path.stat().st_mode & 0o777
        first = path.read_bytes()
        world.live.roll_back(world.scope, 1)
        with pytest.raises(Waiting, match="approvals"):
            world.run.apply(close=True, yes=True)
        assert first != path.read_bytes()
        world.programme.approve_in(world.run)
        world.run.apply(close=True, yes=True)
        (cleared,) = [
            one.predicate for one in world.run.ledger.statements() if isinstance(one.predicate, ClearancePredicate)
        ]
        assert restoring.METHOD_OF_MOMENT in cleared.restore.method
        assert [path] == list(folder.iterdir())
    assert 0 == world.programme.audit().returncode


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{kind: dumps, location: here, of: app-ca, path: /b}", "here is not ca, where app-ca is: no backup at home"),
        ("{kind: archive, location: ca, of: app-ca, path: /b}", "backups of a home are `dumps` or `pgbackrest`"),
        ("{kind: dumps, location: ca, of: app-ca, path: /b, removed_by: engine}", "are for what has to go"),
        ("{kind: dumps, location: ca, of: other, path: /b}", "neither app, which data leaves, nor a home of it"),
        ("{kind: dumps, location: here, of: app, path: b}", "is not absolute"),
        ("{kind: tapes, location: here, of: app, path: /b}", "tapes"),
        (
            "{kind: dumps, location: here, of: app, path: /b, removed_by: me}",
            ":16: stores.folder.removed_by: Input should",
        ),
        ("{kind: dumps, location: here, of: app}", ":16: stores.folder.path: Field required"),
    ],
)
def test_p4_a_folder_that_can_be_no_backup_is_refused_by_the_file(tmp_path: Path, line: str, said: str) -> None:
    programme = make(tmp_path, f"  folder: {line}\n{RULES}", source="", homes={"CA": ""})
    with pytest.raises(BadFile) as refused:
        load((programme.folder / "domicile.yaml").read_bytes())
    assert said in str(refused.value)


def test_two_stores_never_share_a_file(tmp_path: Path) -> None:
    lines = (
        "  dumps: {kind: dumps, location: here, of: app, path: /srv/b}\n"
        "  wal: {kind: archive, location: here, of: app, path: /srv/b/wal}\n"
    )
    programme = make(tmp_path, lines + RULES, source="", homes={"CA": ""})
    with pytest.raises(BadFile, match="lies in, or around, the path of dumps"):
        load((programme.folder / "domicile.yaml").read_bytes())
