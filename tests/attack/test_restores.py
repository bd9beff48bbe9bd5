"""A restore of an old backup: erased rows are known again and erased again, with nothing private at hand."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from domicile.errors import BadFile, Collateral, Refused, Waiting
from domicile.evidence.commitments import Commitments, Committed
from domicile.evidence.predicates import ErasurePredicate, FindingPredicate, Predicate
from domicile.host import Host
from domicile.run.guarding import Guarded
from domicile.stores.postgres.programs import find_client
from tests.attack.conftest import World, Worlds, run
from tests.attack.programme import PERSON
from tests.attack.test_second_thoughts import RULES, SCHEMA

ODD = """
CREATE TABLE "Order Line" (person_id int NOT NULL REFERENCES person, "No" int, what text,
    PRIMARY KEY (person_id, "No"));
INSERT INTO "Order Line" SELECT 1 + i % 20, i, 'thing ' || i FROM generate_series(1, 60) AS i;
CREATE TABLE visit (person_id int NOT NULL REFERENCES person, page text);
INSERT INTO visit SELECT 1 + i % 20, 'page ' || i FROM generate_series(1, 40) AS i;
CREATE TABLE video (id serial PRIMARY KEY, person_id int NOT NULL, title text, upload_ip text, device text NOT NULL);
INSERT INTO video (person_id, title, upload_ip, device)
    SELECT 1 + i % 20, 'video ' || i, '203.0.113.' || i, 'device-' || i FROM generate_series(1, 40) AS i;
"""
ODD_RULES = (
    PERSON
    + """
datasets:
  app.public.person: {rows: move}
  app.public.note: {rows: move, path: person_id}
  app.public."Order Line": {rows: move, path: person_id}
  app.public.visit: {rows: move, path: person_id}
  app.public.video:
    rows: split
    path: [{via: person_id, to: app.public.person}]
    unenforced: follow
    fields:
      id: public
      person_id: public
      title: public
      upload_ip: {class: private, outside: null}
      device: {class: private, outside: token}
"""
)


def dump(made: World, path: Path) -> Path:
    """Have the real pg_dump write the source as it is."""
    program = find_client("pg_dump", at_least_major=18)
    subprocess.run([program, "--format=c", f"--file={path}", made.source], check=True, capture_output=True)
    return path


def restore(dsn: str, path: Path) -> None:
    """Put a dump in the place of what is there, as an operator would."""
    name = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(make_conninfo(dsn, dbname="postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    program = find_client("pg_restore", at_least_major=18)
    subprocess.run([program, "--exit-on-error", f"--dbname={dsn}", path], check=True, capture_output=True)


def look(made: World, *, yes: bool = False) -> Guarded:
    with made.programme.opened() as opened:
        return opened.look_after_restore(dsn=None, yes=yes)


def stated(made: World) -> list[Predicate]:
    with made.programme.opened() as opened:
        return [recorded.predicate for recorded in opened.ledger.statements()]


def test_p3_who_came_back_with_an_old_dump_is_found_and_erased_again(world: Worlds, tmp_path: Path) -> None:
    made = world(SCHEMA, RULES)
    path = dump(made, tmp_path / "old.dump")
    made.programme.finish()
    quiet = made.programme.command("restore-guard")
    assert (0, True) == (quiet.returncode, "none of" in quiet.stdout)
    restore(made.source, path)
    dry = made.programme.command("restore-guard", "--json")
    assert 1 == dry.returncode
    told = json.loads(dry.stdout)
    movers = made.at_source("SELECT (SELECT count(*) FROM person WHERE market = 'CA'), count(*) FROM note"
                            " WHERE person_id IN (SELECT id FROM person WHERE market = 'CA')")  # fmt: skip
    assert {"app.public.person": movers[0][0], "app.public.note": movers[0][1]} == {
        item["dataset"]: item["deleted"] for item in told["datasets"]
    }
    assert [(20,)] == made.at_source("SELECT count(*) FROM person")  # a dry run
    done = made.programme.command("restore-guard", "--yes")
    assert 0 == done.returncode, done.stderr
    assert "domicile apply" in done.stdout
    assert [(10, 20)] == made.at_source("SELECT (SELECT count(*) FROM person), (SELECT count(*) FROM note)")
    assert [(0,)] == made.at_source("SELECT count(*) FROM person WHERE market = 'CA'")

    refused = made.programme.audit()  # P10: the certificate of before is no longer the last word
    assert refused.returncode
    assert "the certificate is not the last statement" in refused.stdout + refused.stderr
    made.programme.apply()
    assert 0 == made.programme.audit().returncode
    kinds = [one.kind for one in stated(made) if isinstance(one, FindingPredicate)]
    assert ["committed", "came back", "came back", "erased again", "erased again"] == kinds
    assert "certificate/v1" == stated(made)[-1].KIND
    assert 2 == sum(one.KIND == "certificate/v1" for one in stated(made))


def test_p3_rows_of_every_kind_are_known_again(world: Worlds, tmp_path: Path) -> None:
    """Quoted names, a composite key, no key at all, private fields of a row that stays."""
    made = world(SCHEMA + ODD, ODD_RULES)
    path = dump(made, tmp_path / "old.dump")
    made.programme.finish()
    tables = ("person", "note", '"Order Line"', "visit", "video")
    after = {table: made.at_source(f"SELECT count(*) FROM {table}") for table in tables}
    private = "SELECT count(*) FROM video WHERE upload_ip IS NOT NULL OR device LIKE 'device-%'"
    blank = made.at_source(private)
    assert 0 == look(made).rows
    restore(made.source, path)
    assert blank != made.at_source(private)
    found = look(made, yes=True)
    assert found.erased
    assert {"app.public.video"} == {one.dataset for one in found.found if one.blanked}
    assert after == {table: made.at_source(f"SELECT count(*) FROM {table}") for table in tables}
    assert blank == made.at_source(private)
    assert 0 == look(made).rows


def test_p1_nothing_goes_that_a_row_which_stays_refers_to(world: Worlds, tmp_path: Path) -> None:
    made = world(SCHEMA, RULES)
    made.at_source("CREATE TABLE gone (person_id int REFERENCES person)")
    made.at_source("INSERT INTO gone VALUES (2)")
    path = dump(made, tmp_path / "old.dump")
    made.at_source("DROP TABLE gone")
    made.programme.finish()
    restore(made.source, path)
    with pytest.raises(Collateral, match=r"1 rows of public\.gone that were never erased refer"):
        look(made, yes=True)
    assert [(20,)] == made.at_source("SELECT count(*) FROM person")
    assert 10 < look(made).rows
    made.at_source("DROP TABLE gone")
    with pytest.raises(Waiting, match="restore-guard"):  # P11: what was found before the restore is no verdict now
        made.programme.apply(yes=True)
    assert made.programme.command("certify").returncode
    assert look(made, yes=True).erased


def test_p5_broken_off_before_its_commit_it_is_done_again(
    world: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _broken_off(world, tmp_path, monkeypatch)
    assert [(20,)] == made.at_source("SELECT count(*) FROM person")
    assert look(made, yes=True).erased
    assert [(10,)] == made.at_source("SELECT count(*) FROM person")


def test_p11_what_came_back_and_went_by_hand_is_looked_for_before_it_is_called_gone(
    world: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _broken_off(world, tmp_path, monkeypatch)
    made.at_source("DELETE FROM note USING person WHERE person_id = person.id AND market = 'CA'")
    made.at_source("DELETE FROM person WHERE market = 'CA'")
    with pytest.raises(Waiting, match="restore-guard"):
        made.programme.apply(yes=True)
    assert 0 == look(made, yes=True).rows
    made.programme.apply(yes=True)
    assert 0 == made.programme.audit().returncode


def _broken_off(world: Worlds, folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world of which an old dump was restored, and the erasure of who came back was broken off; apply waits."""
    made = world(SCHEMA, RULES)
    path = dump(made, folder / "old.dump")
    made.programme.finish()
    restore(made.source, path)

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as ended:
        ended.setattr("domicile.run.guarding.erase_found", end)
        with pytest.raises(KeyboardInterrupt):
            look(made, yes=True)
    with pytest.raises(Waiting, match="restore-guard"):
        made.programme.apply(yes=True)
    return made


def test_a_restore_beside_the_source_and_one_with_other_tables(
    world: Worlds, tmp_path: Path, database: Worlds, pg18: object
) -> None:
    made = world(SCHEMA, RULES)
    path = dump(made, tmp_path / "old.dump")
    made.programme.finish()
    beside = str(database(pg18))  # type: ignore[arg-type, call-arg]
    restore(beside, path)
    run(beside, "DROP TABLE note; ALTER TABLE person RENAME COLUMN id TO other_id")
    (made.programme.folder / "beside").write_text(beside)
    shown = made.programme.command("restore-guard", "--dsn", "file:beside")
    assert 1 == shown.returncode
    assert "not asked: app.public.person: its columns aren't those that were erased from" in " ".join(
        shown.stdout.split()
    )
    run(beside, "ALTER TABLE person RENAME COLUMN other_id TO id")
    done = made.programme.command("restore-guard", "--dsn", "file:beside", "--yes")
    assert 0 == done.returncode, done.stderr
    assert [(10,)] == run(beside, "SELECT count(*) FROM person")


def test_p7_every_row_is_committed_to_before_the_first_one_goes(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.finish()
    kinds = [one.kind if isinstance(one, FindingPredicate) else one.KIND for one in stated(made)]
    assert kinds.index("committed") < kinds.index(ErasurePredicate.KIND)
    (finding,) = (one for one in stated(made) if isinstance(one, FindingPredicate) and one.kind == "committed")
    erased = [one for one in stated(made) if isinstance(one, ErasurePredicate) and one.phase.value == "outcome"]
    assert finding.count == sum(piece.deleted + piece.blanked for one in erased for piece in one.slices)


def test_before_the_erasure_and_without_the_key_it_refuses(world: Worlds) -> None:
    made = world(SCHEMA, RULES)
    made.programme.clear()
    with pytest.raises(Refused, match="the erasure isn't done"):
        look(made)
    made.programme.apply(yes=True)
    refused = made.programme.command("restore-guard", "--destroy-key")
    assert (1, True) == (refused.returncode, "--yes" in refused.stderr)
    assert 0 == look(made).rows
    assert 0 == made.programme.command("restore-guard", "--destroy-key", "--yes").returncode
    with pytest.raises(Refused, match="was destroyed"):
        look(made)


TABLE = Committed(dataset="app.public.person", relation="public.person", rows="public.person", key="ROW(d.id)::text")


def test_p8_commitments_tell_nothing_without_their_key(tmp_path: Path) -> None:
    kept = [
        Commitments.make(tmp_path / name / "erased.db", Host()) for name in ("one", "two") if _folder(tmp_path / name)
    ]
    for one in kept:
        assert 2 == one.write(TABLE, [("(1)", False), ("(2)", True)])
        assert [False, True, None] == [one.fate(TABLE.dataset, key) for key in ("(1)", "(2)", "(3)")]
        assert one.fate("app.public.other", "(1)") is None
        assert (TABLE,) == tuple(one.tables())
        one.close()
    lines = []
    for name in ("one", "two"):
        with sqlite3.connect(tmp_path / name / "erased.db") as database:
            lines.append({bytes(body) for (body,) in database.execute("SELECT commitment FROM erased")})
    assert not lines[0] & lines[1]  # the same rows under another key
    assert 0o600 == (tmp_path / "one" / "erased.key").stat().st_mode & 0o777


def test_a_key_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    Commitments.make(tmp_path / "erased.db", Host()).close()
    (tmp_path / "erased.key").write_bytes(b"short")
    with pytest.raises(BadFile, match="not a key of ours"):
        Commitments.open(tmp_path / "erased.db")


@pytest.mark.parametrize("body", ["[" * 100_000, "{", "[]", "null", '{"dataset": "app.public.person"}'])
def test_a_table_that_is_none_of_ours_is_refused(tmp_path: Path, body: str) -> None:
    with closing(Commitments.make(tmp_path / "erased.db", Host())) as kept:
        kept.write(TABLE, [("(1)", False)])
        with sqlite3.connect(tmp_path / "erased.db") as database:
            database.execute("UPDATE committed SET body = ?", (body,))
        database.close()
        with pytest.raises(BadFile, match="can't be read; restore it from a copy"):
            tuple(kept.tables())


def _folder(path: Path) -> bool:
    path.mkdir()
    return True
