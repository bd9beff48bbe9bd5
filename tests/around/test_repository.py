"""One stanza of a real repository, called as the run calls it: what is old, what goes, what is held, what is said."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from domicile.errors import DomicileError, HostFault, NotPermitted, StoreFault
from domicile.stores.around import Boundary, Custody
from domicile.stores.around.pgbackrest import Repository
from domicile.stores.around.pgbackrest.contents import RepositoryFiles
from domicile.stores.around.pgbackrest.tool import Tool
from domicile.stores.postgres.copies import Outcome, Treatment
from domicile.stores.postgres.files import ServerFile, Unread
from domicile.stores.postgres.programs import server_user
from tests.around.repository import STANZA, Backed, Repositories, backed_server, folder_of_repository
from tests.servers import DISTRIBUTION_MAJOR

ENGINE = Custody(by_engine=True)
VALUE = b"a-value-that-is-told-from-all-others"
ODD = os.fsdecode(b'odd "\xff\n\\ name.txt')


@pytest.fixture(scope="module")
def backed() -> Iterator[Backed]:
    """One server and repository for all tests here, with a row that is looked for."""
    with backed_server() as made:
        made.run("CREATE TABLE kept (body text)")
        made.run(f"INSERT INTO kept VALUES ('{VALUE.decode()}')")
        made.run("CHECKPOINT")
        yield made


@dataclass(slots=True, kw_only=True)
class Told:
    """What was announced, in order."""

    said: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def __call__(self, copy: str, names: Sequence[str]) -> None:
        self.said.append((copy, tuple(names)))


def tool_of(at: Repositories, *, config: Path | None = None, stanza: str = STANZA) -> Tool:
    user = server_user()
    return Tool(store="backups", stanza=stanza, config=config or at.config, user=user.name if user else None)


def store(
    backed: Backed, *, custody: Custody = ENGINE, config: Path | None = None, system: int = 0,
    planned: Sequence[str] = (),
) -> Repository:  # fmt: skip
    """The repository as a store of the source; `system` is another cluster's number."""
    number = system or backed.run("SELECT system_identifier FROM pg_control_system()")[0][0]
    return Repository(
        "backups", tool_of(backed.at, config=config), system=number, custody=custody, scratch=backed.at.scratch,
        now=lambda: datetime.now(UTC), planned=planned,
    )  # fmt: skip


def boundary(backed: Backed) -> Boundary:
    """All that was written so far is older."""
    backed.run("SELECT pg_switch_wal()")
    backed.run("SELECT pg_logical_emit_message(false, 'x', 'x')")
    (row,) = backed.run("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    return Boundary(erased_at=datetime.now(UTC), segment=str(row[0]))


def by_copy(outcomes: Sequence[Outcome]) -> dict[str, Treatment]:
    return {item.copy: item.treatment for item in outcomes}


def content(files: RepositoryFiles) -> dict[str, bytes]:
    """Every file that a search sees, read at the moment when it is shown; there are no gaps."""
    found = {}
    for entry in files.walk():
        assert isinstance(entry, ServerFile), entry
        found[entry.path] = files.read(entry.path, 0, entry.size) or b""
    return found


def digest(folder: Path) -> str:
    """What lies in a folder, by another program."""
    done = subprocess.run(
        ["bash", "-c", "find . -type f | sort | xargs sha256sum | sha256sum"], cwd=folder, capture_output=True,
        check=True, text=True,
    )  # fmt: skip
    return done.stdout


def some_backup(backed: Backed) -> str:
    """A backup that is there already, or a new one."""
    listed = backed.at.backups()
    return listed[-1].label if listed else backed.at.back_up("full")


def test_p11_the_archived_wal_of_a_repository_is_held_while_old_wal_is_still_to_come(backed: Backed) -> None:
    some_backup(backed)
    edge = Boundary(erased_at=datetime(2020, 1, 1, tzinfo=UTC), segment="000000010000000000000000")
    come, to_come = (
        by_copy(store(backed).treat(replace(edge, awaited=awaited), announce=Told())) for awaited in (False, True)
    )
    assert Treatment.GONE is come["archived-wal"]
    assert come | {"archived-wal": Treatment.HELD} == to_come


def test_p5_killed_between_the_new_backup_and_the_expiry_the_next_run_goes_on(
    backed: Backed, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = backed.at.back_up("full")
    kept = backed.at.folder / "kept"
    shutil.copytree(backed.at.repository / "backup" / STANZA / full, kept)
    edge = boundary(backed)
    increment = backed.at.back_up("incr")  # begun after the boundary, but most of its files are the old one's
    copies = {f"base-backup:{full}", f"base-backup:{increment}"}
    assert {full, increment} <= set(store(backed).old(edge))
    made = store(backed)
    assert made.has_to_remove(edge)
    baseline = made.make_baseline(edge)
    with pytest.raises(StoreFault, match="verified just now"):  # P1: by this very run
        store(backed).treat(edge, announce=Told())

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made.treat(edge, announce=end)
    assert {full, increment, baseline} <= {one.label for one in backed.at.backups()}  # nothing unannounced goes (P7)
    with monkeypatch.context() as patched:  # after the first backup went
        expire = Tool.expire

        def expire_and_end(self: Tool, label: str | None, repository: int, *, fulls: int) -> None:
            expire(self, label, repository, fulls=fulls)
            raise KeyboardInterrupt

        patched.setattr(Tool, "expire", expire_and_end)
        told = Told()
        with pytest.raises(KeyboardInterrupt):
            made.treat(edge, announce=told)
    assert copies <= {name for name, names in told.said if names}

    told = Told()
    resumed = store(backed)
    assert baseline == resumed.make_baseline(edge)  # the one that stands is taken
    outcomes = resumed.treat(edge, announce=told)
    assert [baseline] == [one.label for one in backed.at.backups()]
    # Gone: the backup that went before the kill took all others along, and the log says by whose hand.
    assert set(by_copy(outcomes).values()) <= {Treatment.DONE, Treatment.GONE, Treatment.OBSERVED}
    assert {name for name, names in told.said if names} == {name for name, names in told.said if not names}
    again = Told()
    assert not store(backed).has_to_remove(edge)
    outcomes = store(backed).treat(edge, announce=again)
    assert [] == again.said
    assert Treatment.GONE is by_copy(outcomes)["archived-wal"]  # by whose hand it went, only the log tells
    _put_back(backed, full, kept, edge, stays=baseline)


def _put_back(backed: Backed, full: str, kept: Path, edge: Boundary, *, stays: str) -> None:
    """Where no list names it: an operator has to see to it; by the engine's hand it is listed again, and goes."""
    folder = backed.at.repository / "backup" / STANZA / full
    backed.at.put_back(kept, folder)
    shutil.rmtree(kept)
    (own,) = (copy for copy in store(backed).inventory() if copy.id == f"base-backup:{full}")
    assert "isn't in its list" in own.why
    held = store(backed, custody=Custody(by_engine=False)).treat(edge, announce=Told())
    assert Treatment.HELD is by_copy(held)[f"base-backup:{full}"]
    engine = store(backed)
    assert engine.has_to_remove(edge)
    engine.make_baseline(edge)
    engine.treat(edge, announce=Told())
    assert not folder.exists()
    assert [stays] == [one.label for one in backed.at.backups()]


def test_the_operator_is_waited_for_and_what_has_to_be_kept_is_blocked(backed: Backed) -> None:
    full = some_backup(backed)
    edge = boundary(backed)
    held = store(backed, custody=Custody(by_engine=False)).treat(edge, announce=Told())
    assert {Treatment.HELD, Treatment.OBSERVED} == set(by_copy(held).values())
    (own,) = (item for item in held if item.copy == f"base-backup:{full}")
    assert own.remedy
    assert f"expire --set={full}" in own.remedy
    day = date(2999, 1, 1)
    custody = Custody(by_engine=True, blocked_until=day)
    blocked = store(backed, custody=custody).treat(edge, announce=Told())
    assert not store(backed, custody=custody).has_to_remove(edge)
    assert () == store(backed, custody=custody).old(edge)
    assert {day} == {item.until for item in blocked if item.treatment is Treatment.BLOCKED}
    assert {f"base-backup:{full}", "archived-wal"} <= {
        item.copy for item in blocked if item.treatment is Treatment.BLOCKED
    }
    assert full in {one.label for one in backed.at.backups()}


def test_p1_another_clusters_stanza_is_never_touched(backed: Backed) -> None:
    full = some_backup(backed)
    edge = boundary(backed)
    foreign = store(backed, system=12345)
    with pytest.raises(StoreFault, match="cluster with another number"):
        foreign.refuse_foreign()
    assert not foreign.has_to_remove(edge)
    told = Told()
    outcomes = foreign.treat(edge, announce=told)
    assert {Treatment.HELD} == set(by_copy(outcomes).values())
    assert [] == told.said
    assert full in {one.label for one in backed.at.backups()}


def test_p1_without_a_new_backup_that_is_verified_no_old_one_goes(
    backed: Backed, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = some_backup(backed)
    edge, made = boundary(backed), store(backed)
    path = backed.at.folder / "lock" / f"{STANZA}-backup.lock"
    with path.open("w") as lock:
        backed.at.own(path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreFault, match="no older one is expired: another pgBackRest works on this stanza"):
            made.make_baseline(edge)
    path.unlink()
    with monkeypatch.context() as patched:
        locked = replace(made._tool.read(), is_locked=True)
        patched.setattr(Tool, "read", lambda _: locked)
        with pytest.raises(StoreFault, match="a backup or expiry of stanza app is running"):
            made.refuse_foreign()
    back_up = Tool.back_up

    def back_up_and_damage(self: Tool) -> None:
        back_up(self)
        label = backed.at.backups()[-1].label
        bundle = max((backed.at.repository / "backup" / STANZA / label / "bundle").iterdir())
        data = bundle.read_bytes()
        bundle.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])

    with monkeypatch.context() as patched:
        patched.setattr(Tool, "back_up", back_up_and_damage)
        with pytest.raises(StoreFault, match=r"doesn't call the new backup .* valid, so no older one is expired"):
            made.make_baseline(edge)
    damaged = backed.at.backups()[-1].label
    assert full in {one.label for one in backed.at.backups()}
    # A damaged backup can't be restored whole: a gap, and its files are looked through as they are.
    with closing(store(backed).files()) as files:
        seen = list(files.walk())
    gaps = {entry.path for entry in seen if isinstance(entry, Unread)}
    assert gaps == {f"{damaged}/restored"}
    assert f"{damaged}/bundle/1" in {entry.path for entry in seen}
    backed.at.tool(f"--set={damaged}", "expire")


@contextmanager
def tablespace(backed: Backed) -> Iterator[Path]:
    """A table in a tablespace, and a file with an odd name in the repository; give the tablespace's folder."""
    space = backed.at.folder / "space"
    space.mkdir()
    backed.at.own(space)
    odd = backed.at.repository / "backup" / STANZA / ODD
    odd.write_bytes(b"x" + VALUE)
    backed.at.own(odd)
    backed.run(f"CREATE TABLESPACE apart LOCATION '{space}'")
    backed.run(f"CREATE TABLE there TABLESPACE apart AS SELECT '{VALUE.decode()}'::text AS body")
    try:
        yield space
    finally:
        odd.unlink()
        backed.run("DROP TABLE there")
        backed.run("DROP TABLESPACE apart")


def test_p3_a_backup_is_restored_whole_and_nowhere_else(backed: Backed) -> None:
    """Packed, with a tablespace, under a configuration that would leave out databases and follow links."""
    config = backed.at.folder / "other.conf"
    leaving_out = "[global:restore]\ndb-include=nothing\nlink-all=y\ntablespace-map-all=/nowhere\n"
    config.write_text(backed.at.config.read_text() + leaving_out)
    made = store(backed, config=config)
    with tablespace(backed) as space:
        backed.at.tool("--type=full", "--start-fast", "--no-expire-auto", "--compress-type=gz", "--no-repo1-bundle",
                       "backup")  # fmt: skip
        label = backed.at.backups()[-1].label
        assert not [name for name in backed.at.holding(VALUE) if label in name]  # packed: no byte search sees it
        before = digest(space)
        with closing(made.files()) as files:
            found = content(files)
            assert 1 == len(list(backed.at.scratch.iterdir()))
            how = made.how(files)
        assert before == digest(space)
    holding = {path for path, data in found.items() if VALUE in data}
    assert {path for path in holding if path.startswith(f"{label}/restored/pg_tblspc/")}
    assert {path for path in holding if path.startswith(f"{label}/restored/base/")}
    assert {path for path in holding if path.startswith(f"archive/{DISTRIBUTION_MAJOR}-1/")}
    packed = {path for path in found if path.startswith(f"{label}/pg_data")}
    assert {f"{label}/pg_data/tablespace_map.gz"} == packed  # all others aren't read a second time, as they are
    assert any(path.startswith(f"{label}/backup.manifest") for path in found)
    assert any("backup.history" in path for path in found)
    assert f"backup/{STANZA}/{ODD}" in holding
    assert [] == list(backed.at.scratch.iterdir())
    assert f"{label} restored by pgBackRest 2." in how[f"base-backup:{label}"]


def test_p11_what_cannot_be_read_is_refused_by_the_plan_and_unknown_later(backed: Backed) -> None:
    edge, config = boundary(backed), backed.at.folder / "unread.conf"
    text = backed.at.config.read_text()
    planned = ["archived-wal", "base-backup:20200101-000000F", "other-files"]
    with folder_of_repository() as other:
        cases = {
            "gone": (text.replace(str(backed.at.repository), "/nowhere"), "holds no stanza app, or isn't there"),
            "empty": (text.replace(str(backed.at.repository), str(other.repository)), "holds no stanza app"),
            "stray": ("repo1-cipher-pass=word-of-mouth\n" + text, "its configuration can't be parsed"),
            "second": (text.replace("[app]", f"repo2-path={other.repository}\n[app]"), "only one can be treated"),
        }
        for name, (lines, said) in cases.items():
            config.write_text(lines)
            with pytest.raises(DomicileError, match=said) as refused:
                store(backed, config=config).inventory()
            assert "word-of-mouth" not in str(refused.value), name
            if name == "second":
                continue
            outcomes = store(backed, config=config, planned=planned).treat(edge, announce=Told())
            assert dict.fromkeys(planned, Treatment.NOT_PERMITTED) == by_copy(outcomes)
            assert planned == [copy.id for copy in store(backed, config=config, planned=planned).inventory()]
    config.unlink()
    with pytest.raises(NotPermitted, match="a file isn't there"):
        store(backed, config=config).inventory()


def test_p8_an_encrypted_repository_without_its_pass_phrase_says_so_and_tells_nothing(backed: Backed) -> None:
    edge = boundary(backed)
    cipher = "repo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=word-of-mouth\n"
    with folder_of_repository() as at:
        at.write_config(backed.server.data_directory, backed.server.port, extra=cipher)
        text = at.config.read_text().replace(f"{at.folder}/socket", f"{backed.at.folder}/socket")
        at.config.write_text(text)
        at.tool("stanza-create")
        at.tool("--type=full", "--start-fast", "--no-archive-check", "backup")
        with closing(store(backed, config=at.config).files()) as files:
            found = content(files)
        assert any(VALUE in data for path, data in found.items() if "/restored/base/" in path)
        assert all(not data.startswith(b"Salted__") for data in found.values())
        for lines in (text.replace("word-of-mouth", "hearsay"), text.replace(cipher, "")):
            at.config.write_text(lines)
            with pytest.raises(NotPermitted, match="the pass phrase in its configuration is missing or wrong") as said:
                store(backed, config=at.config).inventory()
            assert said.value.__cause__ is None
            assert not {"word-of-mouth", "hearsay", "Salted"} & set(str(said.value).split())
            outcomes = store(backed, config=at.config, planned=["other-files"]).treat(edge, announce=Told())
            assert [("other-files", Treatment.NOT_PERMITTED)] == list(by_copy(outcomes).items())


def test_another_stanza_of_the_sources_cluster_stops_the_plan_and_is_never_touched(backed: Backed) -> None:
    text = backed.at.config.read_text()
    backed.at.write_config(backed.server.data_directory, backed.server.port, stanzas=(STANZA, "twin"))
    try:
        backed.at.tool("stanza-create", stanza="twin")
        before = digest(backed.at.repository / "backup" / "twin")
        with pytest.raises(StoreFault, match="stanza twin of the same repository is of the source's cluster, too"):
            store(backed).refuse_foreign()
        made = store(backed, custody=Custody(by_engine=False))
        outcomes = {item.copy: item for item in made.treat(boundary(backed), announce=Told())}
        assert Treatment.HELD is outcomes["other-files"].treatment
        assert before == digest(backed.at.repository / "backup" / "twin")
    finally:
        for top in ("backup", "archive"):
            shutil.rmtree(backed.at.repository / top / "twin")
        backed.at.config.write_text(text)
    store(backed).refuse_foreign()


def test_without_the_program_or_as_root_without_a_user_nothing_begins(
    backed: Backed, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = store(backed)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "which", lambda _: None)
        with pytest.raises(HostFault, match="no pgbackrest on this machine"):
            made.inventory()
    with monkeypatch.context() as patched:
        patched.setattr(os, "geteuid", lambda: 0)
        with pytest.raises(HostFault, match="as root, say which OS user"):
            Tool(store="backups", stanza=STANZA, config=backed.at.config).refuse_root()
    nobody = Tool(store="backups", stanza=STANZA, config=backed.at.config, user="no-such-user-here")
    with pytest.raises(HostFault, match="no OS user no-such-user-here"):
        nobody.read()


def test_too_little_room_for_a_restore_is_said_before_it_begins(
    backed: Backed, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_backup(backed)
    usage = shutil.disk_usage(backed.at.scratch)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with closing(store(backed).files()) as files, pytest.raises(HostFault, match="has 1000 free; make room there"):
        list(files.walk())
    assert [] == list(backed.at.scratch.iterdir())
