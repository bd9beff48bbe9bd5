"""What an auditor gives to `domicile-audit spot-check`: the key, rights, and questions that are none."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domicile.errors import BadFile
from domicile.stores.postgres.server import EmbeddedServer
from domicile_audit.__main__ import main
from domicile_audit.spot.opening import read_opening
from tests.attack.conftest import run

# -- the key -------------------------------------------------------------------------------------------------------
from tests.audit.handed import FORBIDDING, SEED, Capsys
from tests.audit.moved_rows import Case
from tests.servers import ROOT
from tests.vectors import make as vectors


def test_p8_the_audit_key_is_for_one_reader_and_says_what_it_allows(compared: Case) -> None:
    assert 0o600 == stat.S_IMODE(compared.key.stat().st_mode)
    with pytest.raises(BadFile, match="exists already"):
        compared.command("audit-key", "--to", str(compared.key))
    other = compared.programme.folder / "other.key"
    assert "for the auditor, not for the public" in " ".join(compared.command("audit-key", "--to", str(other)).split())
    assert compared.key.read_bytes() == other.read_bytes()
    other.unlink()
    told = json.loads(compared.key.read_bytes())
    rest = json.dumps({name: value for name, value in told.items() if name not in ("key", "plan")})  # these are hex
    assert [] == [value for value in ("e22", "d22", "h22", "line") if value in rest]


def test_a_wrong_key_is_refused_and_where_the_home_lies_about_it_every_digest_differs(
    compared: Case, capsys: Capsys, tmp_path: Path
) -> None:
    value = json.loads(compared.key.read_text())
    value["key"] = f"{int(value['key'][0], 16) ^ 1:x}{value['key'][1:]}"
    wrong = tmp_path / "wrong.key"
    wrong.write_text(json.dumps(value))
    assert 2 == compared.look(capsys, key=wrong)
    assert "home ca was filled by a run of another key" in compared.said
    mark = read_opening(wrong.read_bytes()).run_mark
    run(compared.home, f"INSERT INTO domicile.mark VALUES ('{mark}')")
    assert 1 == compared.look(capsys, key=wrong)
    assert "WRONG: 13 of 13 drawn slices" in compared.said
    run(compared.home, f"DELETE FROM domicile.mark WHERE name = '{mark}'")


def test_an_audit_key_of_another_plan_or_of_no_shape_is_refused(
    compared: Case, erased: Case, capsys: Capsys, tmp_path: Path
) -> None:
    assert 2 == compared.look(capsys, key=erased.key)
    assert "of another plan than the bundle" in compared.said
    whole = compared.key.read_bytes()
    for number, bad in enumerate((b"", b"{}", b"[" * 99_999, whole[:-9], whole.replace(b'"whole"', b'"skeleton"'))):
        path = tmp_path / f"{number}.key"
        path.write_bytes(bad)
        assert 2 == compared.look(capsys, key=path), number
    value = json.loads(whole)
    value["slices"].pop(next(iter(value["slices"])))
    (tmp_path / "less.key").write_text(json.dumps(value))
    assert 2 == compared.look(capsys, key=tmp_path / "less.key")
    assert "does not tell how slice" in compared.said
    for lie in ({"part": "us"}, {"dataset": "app.public.visit"}):
        value = json.loads(whole)
        value["slices"]["app.public.meter/ca/whole/0"] |= lie
        (tmp_path / "lie.key").write_text(json.dumps(value))
        assert 2 == compared.look(capsys, key=tmp_path / "lie.key")
        assert "does not tell how slice app.public.meter/ca/whole/0 was read" in compared.said
    value = json.loads(whole)
    value["datasets"]["app.public.note"]["table"] = "meter"
    (tmp_path / "table.key").write_text(json.dumps(value))
    assert 2 == compared.look(capsys, key=tmp_path / "table.key")
    assert "from another table, public.meter" in compared.said


def test_p1_hints_that_lie_give_another_digest(compared: Case, capsys: Capsys, tmp_path: Path) -> None:
    """A column that is left out, another stretch, another form: the digest binds them all."""
    slice_id = "app.public.meter/ca/whole/0"
    lies: list[tuple[str, str, dict[str, Any]]] = [
        ("datasets", "app.public.meter", {"columns": ["id", "person_id"]}), ("slices", slice_id, {"after": 1}),
        ("slices", slice_id, {"form": "shared"}), ("datasets", "app.public.meter", {"binary": False}),
    ]  # fmt: skip
    for number, (where, name, lie) in enumerate(lies):
        value = json.loads(compared.key.read_text())
        value[where][name] |= lie
        path = tmp_path / f"{number}.key"
        path.write_text(json.dumps(value))
        assert 1 == compared.look(capsys, "--json", key=path), lie
        seen = {one["id"]: one["home"] for one in json.loads(compared.said)["slices"]}
        assert "differs" == seen[slice_id]
        if "columns" in lie:
            assert "no digest covers home's column kind" in compared.said


# -- rights, and questions that are none ---------------------------------------------------------------------------


@pytest.fixture
def auditor(pg18: EmbeddedServer) -> Iterator[str]:
    """A role that may log in, and nothing else."""
    run(pg18.dsn(), "CREATE ROLE spot_auditor LOGIN PASSWORD 'throw-away'")
    yield "spot_auditor"
    run(pg18.dsn(), "DROP ROLE spot_auditor")


def test_a_role_that_may_only_read_is_enough_and_one_that_may_not_is_told_what_it_lacks(
    erased: Case, capsys: Capsys, auditor: str
) -> None:
    theirs = {name: make_conninfo(dsn, user=auditor, password="throw-away") for name, dsn in (("ca", erased.home),)}
    source = make_conninfo(erased.source, user=auditor, password="throw-away")
    assert 2 == erased.look(capsys, homes=theirs, source=source)
    assert "home ca: permission denied for schema domicile" in erased.said
    assert "GRANT USAGE ON SCHEMA" in erased.said
    run(
        erased.home, f"GRANT pg_read_all_data TO {auditor}; ALTER ROLE {auditor} SET default_transaction_read_only = on"
    )
    assert 0 == erased.look(capsys, homes=theirs, source=source), erased.said
    for place in (erased.home, erased.source):  # rows that a policy hides would be neither found nor missed
        run(place, "ALTER TABLE meter ENABLE ROW LEVEL SECURITY")
        assert 2 == erased.look(capsys, homes=theirs, source=source)
        assert "row-level security" in erased.said
        run(place, "ALTER TABLE meter DISABLE ROW LEVEL SECURITY")
    with psycopg.connect(theirs["ca"]) as connection, pytest.raises(psycopg.Error):
        connection.execute("UPDATE person SET email = NULL")


def test_p8_nothing_of_home_is_sent_to_the_source(erased: Case, capsys: Capsys, pg18: EmbeddedServer) -> None:
    """Keys of people who left would come into the memory, and maybe the log, of a server that is to be rid of them."""
    start = pg18.log_path.stat().st_size
    source = make_conninfo(erased.source, options="-c log_statement=all")
    assert 0 == erased.look(capsys, source=source)
    with pg18.log_path.open("rb") as log:
        log.seek(start)
        heard = [line.partition("statement: ")[2] for line in log.read().decode().splitlines()]
    asked = [line for line in heard if line.startswith("COPY (SELECT")]
    assert 13 == len(asked)
    assert 4 == len(set(asked))  # a whole table at a time, whoever is drawn


def test_a_question_that_is_none_is_told_apart(compared: Case, capsys: Capsys, pg18: EmbeddedServer) -> None:
    dead = "host=127.0.0.1 port=1 dbname=x password=not-to-be-seen"
    for homes, said in (
        ({}, "give --home ca=DSN"),
        ({"ca": dead}, "home ca: no connection"),
        ({"ca": "no connection string; password=not-to-be-seen"}, "home ca: this is no connection string"),
        ({"ca": make_conninfo(pg18.dsn(), dbname="none")}, 'no connection (database "none" does not exist)'),
        ({"ca": "env:NO_SUCH_VARIABLE"}, "there is no such variable"),
        ({"ca": pg18.dsn()}, "is it the right database"),
        ({"ca": compared.source}, "is it the right database"),
    ):
        assert 2 == compared.look(capsys, homes=homes), said
        assert said in compared.said
        assert "not-to-be-seen" not in compared.said
    assert 2 == compared.look(capsys, "--draws", "0")
    assert 2 == compared.look(capsys, "--lines", "ca")


def test_a_bundle_that_does_not_hold_is_refused_before_any_store_is_asked(
    compared: Case, capsys: Capsys, tmp_path: Path
) -> None:
    words = ["--key", str(compared.key), "--seed", SEED, "--home", "ca=env:NONE"]
    bad = Path(vectors.__file__).parent / "bad"
    for name, number in (("equality-with-a-differing-digest", 13), ("certificate-not-last", 18), ("tile-altered", 6)):
        assert 1 == main(["spot-check", str(bad / f"{name}.zip"), *words])
        assert f"REFUSED: the bundle, at check {number}" in capsys.readouterr().out
    good = Path(vectors.__file__).parent / "good" / "all-erased.zip"
    with pytest.raises(SystemExit, match="2"):
        main(["spot-check", str(good), *words])
    assert "of another plan" in capsys.readouterr().err
    assert 1 == main([str(compared.bundle)])  # what is not finished is no evidence, though it may be looked at
    assert "REFUSED at check 18" in capsys.readouterr().out


def test_p9_neither_program_needs_the_engine_and_the_checker_needs_no_driver(compared: Case) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "CA": compared.home}
    good = str(Path(vectors.__file__).parent / "good" / "all-erased.zip")
    spot = ["spot-check", str(compared.bundle), "--key", str(compared.key), "--seed", SEED, "--home", "ca=env:CA"]
    said = []
    for words, forbidden, code in (([good], ("domicile", "psycopg", "blake3"), 3), (spot, ("domicile",), 0)):
        done = subprocess.run(
            [sys.executable, "-c", f"FORBIDDEN = {forbidden!r}\n{FORBIDDING}", *words], env=environment, text=True,
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert (code, "") == (done.returncode, done.stderr)
        said.append(done.stdout)
    assert "source: nobody looked there" in said[-1]


# -- what it does, and says of itself ------------------------------------------------------------------------------

TOUCHED: Final = "SELECT is_called FROM domicile.touched"
TOUCHING: Final = """
CREATE SEQUENCE domicile.touched;
CREATE FUNCTION domicile.touch() RETURNS boolean VOLATILE LANGUAGE plpgsql
    AS $$ BEGIN PERFORM nextval('domicile.touched'); RETURN true; END $$;
ALTER TABLE domicile.mark RENAME TO mark_kept;
CREATE VIEW domicile.mark AS SELECT * FROM domicile.mark_kept WHERE domicile.touch();
"""
UNTOUCHED: Final = (
    "DROP VIEW domicile.mark; ALTER TABLE domicile.mark_kept RENAME TO mark; DROP FUNCTION domicile.touch;"
    " DROP SEQUENCE domicile.touched"
)


def test_p4_what_would_write_is_refused_even_where_the_role_may(compared: Case, capsys: Capsys) -> None:
    """A sequence keeps what was taken from it, whatever becomes of the transaction: taking it back is not enough."""
    run(compared.home, TOUCHING)
    try:
        assert 2 == compared.look(capsys), compared.said
        assert "home ca: ReadOnlySqlTransaction [SQLSTATE 25006]" in compared.said
        with psycopg.connect(compared.home) as connection:
            assert (False,) == connection.execute(TOUCHED).fetchone()
            assert (True,) == connection.execute("SELECT domicile.touch()").fetchone()  # the role may
            assert (True,) == connection.execute(TOUCHED).fetchone()
    finally:
        run(compared.home, UNTOUCHED)
    assert 0 == compared.look(capsys)


def test_p11_it_draws_by_the_seed_of_the_policy_and_by_no_other(compared: Case, capsys: Capsys, tmp_path: Path) -> None:
    policy = tmp_path / "agreed.txt"
    policy.write_text((compared.programme.folder / "trust.txt").read_text() + "seed agreed:14213370\n")
    words = ["spot-check", str(compared.bundle), "--key", str(compared.key), "--home", f"ca={compared.home}"]
    agreed, told = ["--trust", str(policy)], ("--json", "--draws", "4")
    drawn: dict[int, Any] = {}
    for more in (["--seed", "agreed:14213370"], ["--seed", "agreed:14213370", *agreed], agreed):
        assert 0 == main([*words, *more, *told])
        report = json.loads(capsys.readouterr().out)
        assert "agreed:14213370" == report["seed"]
        drawn[len(drawn)] = report["slices"]
    assert drawn[0] == drawn[1] == drawn[2]
    for more, said in (
        (["--seed", SEED, *agreed], "your policy agrees on the seed 'agreed:14213370'"),
        ([], "give the text to draw by, or a policy (--trust) with a line `seed TEXT`"),
        (["--trust", str(compared.programme.folder / "trust.txt")], "with a line `seed TEXT`"),
    ):
        assert 2 == main([*words, *more, *told])
        assert said in json.loads(capsys.readouterr().out)["error"]


def test_p11_the_report_says_what_it_does_not_show_of_itself(compared: Case, capsys: Capsys) -> None:
    assert 0 == compared.look(capsys)
    text = compared.said
    assert 0 == compared.look(capsys, "--json")
    for line in (
        "that the seed was not known before the log's head, and not picked among many",
        "that this report was not written by hand: nobody signed it",
    ):
        assert line in text
        assert any(line in one for one in json.loads(compared.said)["not_shown"])
    assert json.dumps(json.loads(compared.said), sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n" == (
        compared.said
    )
