"""`domicile-audit spot-check` on real databases: what it finds, what it leaves open, and what it needs."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domicile.cli import program
from domicile.errors import BadFile, Waiting
from domicile.run import Stage
from domicile.stores.postgres import staging
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from domicile_audit.__main__ import main
from domicile_audit.draw import draw
from domicile_audit.opening import read_opening
from tests.attack.conftest import run
from tests.attack.programme import PERSON, Programme, make
from tests.servers import ROOT, databases_of
from tests.vectors import make as vectors

SEED: Final = "drand quicknet 14213370"
SLICE_ROWS: Final = 7
SCHEMA: Final = r"""
CREATE TYPE mood AS ENUM ('fine', 'poor');
CREATE EXTENSION ltree;
CREATE TABLE person (id bigint PRIMARY KEY, market text, handle text, email text, device text NOT NULL);
INSERT INTO person SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'h' || i, NULLIF('e' || i, 'e4'),
    CASE WHEN i = 6 THEN 'unknown' ELSE 'd' || i END FROM generate_series(1, 40) AS i;
CREATE TABLE note (person_id bigint REFERENCES person, name ltree, mood mood, at timestamptz, share float8, body text,
    shout text GENERATED ALWAYS AS (upper(body)) STORED, PRIMARY KEY (person_id, name));
INSERT INTO note SELECT p.id, ('n.' || i)::ltree, 'fine', '2020-08-01Z'::timestamptz + i * '1 day'::interval, i / 3.0,
    CASE WHEN i > 1 THEN E'line\nof \\ ' || p.id END FROM person AS p, generate_series(1, 2) AS i;
CREATE TABLE visit (person_id bigint REFERENCES person, page text, doc jsonb);
INSERT INTO visit SELECT p.id, 'page', '{"a": 1}' FROM person AS p, generate_series(1, 3);
CREATE TABLE meter (id int PRIMARY KEY, person_id bigint REFERENCES person, kind text) PARTITION BY RANGE (id);
CREATE TABLE meter_low PARTITION OF meter FOR VALUES FROM (0) TO (20);
CREATE TABLE meter_high PARTITION OF meter DEFAULT;
INSERT INTO meter SELECT i, i, 'k' FROM person AS p(i);
"""
RULES: Final = (
    PERSON
    + """
datasets:
  app.public.person:
    rows: split
    fields:
      id: public
      market: public
      handle: public
      email: private
      device: {class: private, outside: unknown}
  app.public.note: {rows: move, path: person_id}
  app.public.visit: {rows: move, path: person_id}
  app.public.meter: {rows: move, path: person_id}
"""
)
LIVE: Final = "cutover: {pause: never, grow: [1.0], wait_s_max: 20}\n"
PERSONS, NOTES, VISITS, METERS = 20, 40, 60, 20


@dataclass(slots=True, kw_only=True)
class Case:
    """A moved world, and what its auditor holds."""

    programme: Programme
    source: str
    home: str
    said: str = field(default="")

    @property
    def bundle(self) -> Path:
        return self.programme.folder / "so-far.zip"

    @property
    def key(self) -> Path:
        return self.programme.folder / "audit.key"

    def hand_over(self) -> None:
        """Bundle, key and policy, by the commands that a person types; then guards at the source are switched off.

        Who owns its tables can do so, and then writes past them; these tests do.
        """
        self.command("audit-bundle", "--to", str(self.bundle))
        self.command("audit-key", "--to", str(self.key))
        (self.programme.folder / "trust.txt").write_text(self.command("log", "policy"))
        for table in ("person", "note", "visit", "meter"):
            run(self.source, f"ALTER TABLE {table} DISABLE TRIGGER USER")

    def command(self, *words: str) -> str:
        """Run a command here; what it says."""
        heard = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(heard):
            for name, value in self.programme.environment.items():
                patch.setenv(name, value)
            patch.chdir(self.programme.folder)
            program(words[0])(list(words), standalone_mode=False)
        return heard.getvalue()

    def look(
        self, capsys: pytest.CaptureFixture[str], *more: str, homes: Mapping[str, str] | None = None,
        source: str | None = None, key: Path | None = None,
    ) -> int:  # fmt: skip
        """Run the spot check of this world; what it says is kept."""
        given = {"ca": self.home} if homes is None else homes
        words = ["spot-check", str(self.bundle), "--trust", str(self.programme.folder / "trust.txt")]
        words += ["--key", str(key or self.key), "--seed", SEED, "--source", source or self.source, *more]
        words += [word for name, dsn in given.items() for word in ("--home", f"{name}={dsn}")]
        try:
            code = main(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
        heard = capsys.readouterr()
        self.said = heard.out + heard.err
        assert "Traceback" not in self.said
        return code

    def seen(self, capsys: pytest.CaptureFixture[str], *more: str, code: int = 0) -> dict[str, tuple[str, str]]:
        """Each drawn slice, as it was seen at home and at the source."""
        assert code == self.look(capsys, "--json", *more), self.said
        return {one["id"]: (one["home"], one["source"]) for one in json.loads(self.said)["slices"]}


@contextmanager
def world(server: EmbeddedServer, folder: Path, name: str, rules: str) -> Iterator[Case]:
    with databases_of(server, [f"{name}_source", f"{name}_home"]) as dsns:
        source, home = dsns[f"{name}_source"], dsns[f"{name}_home"]
        run(source, SCHEMA)
        yield Case(programme=make(folder, rules, source=source, homes={"CA": home}), source=source, home=home)


@pytest.fixture(scope="module")
def small_slices() -> Iterator[None]:
    """So that a small world has many of them."""
    patch = pytest.MonkeyPatch()
    patch.setattr(staging, "SLICE_ROWS_MAX", SLICE_ROWS)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def compared(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory, small_slices: None) -> Iterator[Case]:
    """Moved at once and compared, waiting for approvals; nothing is erased. Whoever changes it puts it back."""
    with world(pg18, tmp_path_factory.mktemp("compared"), "spot_compared", RULES) as case:
        case.programme.plan()
        with pytest.raises(Waiting):
            case.programme.apply()
        case.hand_over()
        yield case


@pytest.fixture(scope="module")
def erased(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory, small_slices: None) -> Iterator[Case]:
    """The same, erased. Whoever changes it puts it back."""
    with world(pg18, tmp_path_factory.mktemp("erased"), "spot_erased", RULES) as case:
        case.programme.clear()
        case.programme.apply(until=Stage.ERASE, yes=True)
        case.hand_over()
        yield case


def slices_of(seen: Mapping[str, object], table: str) -> list[str]:
    return [id_ for id_ in seen if id_.startswith(f"app.public.{table}/")]


Capsys = pytest.CaptureFixture[str]


def test_p1_before_the_approvals_both_sides_are_what_the_log_says(compared: Case, capsys: Capsys) -> None:
    seen = compared.seen(capsys)
    assert {("same", "same")} == set(seen.values())
    counts = {table: len(slices_of(seen, table)) for table in ("person", "note", "visit", "meter")}
    assert {"person": 3, "note": 6, "visit": 1, "meter": 3} == counts
    assert PERSONS + NOTES + VISITS + METERS == sum(one["rows"] for one in json.loads(compared.said)["slices"])
    assert 0 == compared.look(capsys)
    assert "NOTHING WRONG FOUND" in compared.said
    assert "at most 0 of 13 (0.0 %) are wrong, at 95 %" in compared.said
    assert "there is no certificate yet" in compared.said


def test_p3_after_the_erasure_the_source_has_none_of_it(erased: Case, capsys: Capsys) -> None:
    seen = erased.seen(capsys)
    assert (13, {("same", "gone")}) == (len(seen), set(seen.values()))


ALTERED = {
    "note": ("body = 'forged' WHERE body IS NULL AND person_id = 22", "body = NULL WHERE body = 'forged'"),
    "person": ("device = 'forged' WHERE id = 22", "device = 'd22' WHERE id = 22"),
    "meter": ("kind = 'forged' WHERE id = 22", "kind = 'k' WHERE id = 22"),
}


@pytest.mark.parametrize("table", ALTERED)
def test_p1_one_row_that_was_altered_at_home_is_found_when_it_is_drawn(
    compared: Case, capsys: Capsys, table: str
) -> None:
    there, back = ALTERED[table]
    run(compared.home, f"UPDATE {table} SET {there}")
    try:
        seen = compared.seen(capsys, code=1)
        (wrong,) = [id_ for id_, (home, _) in seen.items() if home == "differs"]
        assert wrong in slices_of(seen, table)
        order = list(seen)
        assert 1 == compared.look(capsys, "--draws", str(order.index(wrong) + 1))
        assert "WRONG: 1 of " in compared.said
        if order.index(wrong):
            assert 0 == compared.look(capsys, "--draws", str(order.index(wrong)))
    finally:
        run(compared.home, f"UPDATE {table} SET {back}")
    assert 0 == compared.look(capsys)


def test_p1_a_row_that_home_lost_or_one_of_equal_rows_is_found(compared: Case, capsys: Capsys) -> None:
    run(compared.home, "DELETE FROM visit WHERE ctid = (SELECT max(ctid) FROM visit)")
    seen = compared.seen(capsys, code=1)
    assert [("differs", "same")] == [seen[id_] for id_ in slices_of(seen, "visit")]
    assert f"{VISITS - 1} of {VISITS} rows found at home" in compared.said
    assert 12 == list(seen.values()).count(("same", "same"))
    run(compared.home, "INSERT INTO visit SELECT person_id, page, doc FROM visit GROUP BY 1, 2, 3 HAVING count(*) < 3")
    assert 0 == compared.look(capsys)


def test_p1_a_source_that_was_never_equal_is_found_before_anybody_approves(compared: Case, capsys: Capsys) -> None:
    """The engine's word for the source is checked by the auditor's own reading of it."""
    run(compared.source, "UPDATE meter SET kind = 'x' WHERE id = 40")
    seen = compared.seen(capsys, code=1)
    assert [("same", "differs")] == [one for one in seen.values() if one != ("same", "same")]
    run(compared.source, "UPDATE meter SET kind = 'k' WHERE id = 40")


LEFT = {
    "meter": ("INSERT INTO meter VALUES (40, 1, 'another')", "DELETE FROM meter WHERE id = 40"),
    "note": (
        "INSERT INTO note (person_id, name) VALUES (40, 'n.2')",
        "DELETE FROM note WHERE person_id = 40",
    ),
    "visit": (
        "INSERT INTO visit VALUES (40, 'page', '{\"a\": 1}')",
        "DELETE FROM visit WHERE person_id = 40",
    ),
    "person": ("UPDATE person SET email = 'e40' WHERE id = 40", "UPDATE person SET email = NULL WHERE id = 40"),
}  # fmt: skip


@pytest.mark.parametrize("table", LEFT)
def test_p3_a_row_or_a_private_value_that_is_left_at_the_source_is_found(
    erased: Case, capsys: Capsys, table: str
) -> None:
    there, back = LEFT[table]
    run(erased.source, there)
    try:
        seen = erased.seen(capsys, code=1)
        (found,) = [id_ for id_, (_, outside) in seen.items() if outside == "left"]
        assert found in slices_of(seen, table)
        assert ("same", "left") == seen[found]
        assert "1 of " in erased.said
    finally:
        run(erased.source, back)
    assert 0 == erased.look(capsys)


def test_p11_lines_that_let_fewer_rows_leave_than_the_log_are_found(erased: Case, capsys: Capsys) -> None:
    """Whoever calls a row kept, so that nobody looks for it at the source, breaks the count that is in the log."""
    opening = read_opening(erased.key.read_bytes())
    lines = f"domicile.{opening.stretches['app.public.meter/ca/whole/0'].lines_table}"
    run(erased.home, f"UPDATE {lines} SET fate = 'keep' WHERE n = 3")
    seen = erased.seen(capsys, code=1)
    assert ("differs", "gone") == seen["app.public.meter/ca/whole/0"]
    assert "another number of rows leave than the log" in erased.said
    run(erased.home, f"UPDATE {lines} SET fate = 'delete' WHERE n = 3")
    assert 0 == erased.look(capsys)


# -- the key -------------------------------------------------------------------------------------------------------


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


def test_p1_a_column_at_home_that_no_digest_covers_is_found(compared: Case, capsys: Capsys) -> None:
    """An engine that hashed less than there is would call the rest equal, too."""
    run(compared.home, "ALTER TABLE meter ADD COLUMN beside text")
    seen = compared.seen(capsys, code=1)
    assert slices_of(seen, "meter") == sorted(
        (id_ for id_, one in seen.items() if one == ("differs", "same")), key=list(seen).index
    )
    assert 3 == len(slices_of(compared.seen(capsys, "--lived-in"), "meter"))
    run(compared.home, "ALTER TABLE meter DROP COLUMN beside")


@pytest.mark.parametrize("side", ["home", "source"])
def test_p11_a_view_in_the_place_of_a_table_is_not_believed(compared: Case, capsys: Capsys, side: str) -> None:
    dsn = compared.home if side == "home" else compared.source
    run(dsn, "ALTER TABLE note RENAME TO hidden; CREATE VIEW note AS TABLE hidden")
    assert 2 == compared.look(capsys)
    assert "public.note is no table here" in compared.said
    run(dsn, "DROP VIEW note; ALTER TABLE hidden RENAME TO note")


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
    forbid = (
        "import sys\n"
        "def hook(event, args):\n"
        "    if event == 'import' and args[0].split('.')[0] in FORBIDDEN: sys.exit(f'forbidden: {args[0]}')\n"
        "sys.addaudithook(hook)\n"
        "from domicile_audit.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "CA": compared.home}
    good = str(Path(vectors.__file__).parent / "good" / "all-erased.zip")
    spot = ["spot-check", str(compared.bundle), "--key", str(compared.key), "--seed", SEED, "--home", "ca=env:CA"]
    said = []
    for words, forbidden, code in (([good], ("domicile", "psycopg", "blake3"), 3), (spot, ("domicile",), 0)):
        done = subprocess.run(
            [sys.executable, "-c", f"FORBIDDEN = {forbidden!r}\n{forbid}", *words], env=environment, text=True,
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert (code, "") == (done.returncode, done.stderr)
        said.append(done.stdout)
    assert "source: nobody looked there" in said[-1]


# -- homes where people live ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def living(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory, small_slices: None) -> Iterator[Case]:
    """Moved in cohorts, closed, erased; a dump of the moment that was compared lies at home, and people live on."""
    folder = tmp_path_factory.mktemp("living")
    (folder / "dumps").mkdir()
    backups = f"  dumps: {{kind: dumps, location: ca, of: app-ca, path: {folder / 'dumps'}}}\n"
    with world(pg18, folder, "spot_living", backups + RULES + LIVE) as case:
        case.programme.plan()
        with case.programme.opened() as started, pytest.raises(Waiting):
            started.apply(close=True)
        case.programme.approve()
        case.programme.apply(until=Stage.ERASE, yes=True)
        case.hand_over()
        run(case.home, "UPDATE person SET email = 'new' WHERE id = 22; DELETE FROM note WHERE person_id = 22")
        yield case


def test_p11_what_people_changed_since_is_left_open_only_if_the_auditor_says_so(living: Case, capsys: Capsys) -> None:
    seen = living.seen(capsys, "--lived-in")
    changed = [id_ for id_, (home, _) in seen.items() if home == "changed since"]
    assert {"person", "note"} == {id_.split("/")[0].rpartition(".")[2] for id_ in changed}
    assert {"gone"} == {outside for _, outside in seen.values()}
    assert any("/private/" in id_ for id_ in seen)
    bounds = json.loads(living.said)["bounds"]
    assert f"{len(changed)} undecided and counted as wrong: at most {len(changed)} of {len(seen)}" in bounds[0]
    assert 1 == living.look(capsys)


def test_p1_a_backup_of_the_moment_is_equal_whatever_people_changed_since(
    living: Case, capsys: Capsys, pg18: EmbeddedServer
) -> None:
    (dump,) = (living.programme.folder / "dumps").glob("*.dump")
    with databases_of(pg18, ["spot_restored"]) as restored:
        subprocess.run(
            [find_client("pg_restore", at_least_major=18), "--no-owner", f"--dbname={restored['spot_restored']}", dump],
            check=True, capture_output=True,
        )  # fmt: skip
        homes = {"ca": restored["spot_restored"]}
        assert 2 == living.look(capsys, homes=homes)
        assert "is it the right database, and of this run?" in living.said
        assert 0 == living.look(capsys, "--json", "--lines", f"ca={living.home}", homes=homes), living.said
        seen = {(one["home"], one["source"]) for one in json.loads(living.said)["slices"]}
        assert {("same", "gone")} == seen
        run(homes["ca"], "UPDATE note SET body = 'forged' WHERE person_id = 40 AND body IS NULL")
        assert 1 == living.look(capsys, "--lines", f"ca={living.home}", homes=homes)


def test_p9_the_draw_of_a_report_is_that_of_its_log_and_seed(erased: Case, capsys: Capsys) -> None:
    assert 0 == erased.look(capsys, "--json", "--draws", "4")
    report: Any = json.loads(erased.said)
    drawn = [one["id"] for one in report["slices"]]
    every = list(erased.seen(capsys))
    assert drawn == list(draw(bytes.fromhex(report["root"]), report["seed"], sorted(every), 4)) == every[:4]


# -- what it writes, and by which seed it draws --------------------------------------------------------------------


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
