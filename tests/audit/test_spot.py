"""`domicile-audit spot-check` on real databases: what it finds there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from domicile.errors import Waiting
from domicile.run import Stage
from domicile.stores.postgres.programs import find_client
from domicile.stores.postgres.server import EmbeddedServer
from domicile_audit.spot.draw import draw
from domicile_audit.spot.opening import read_opening
from tests.attack.conftest import run
from tests.audit.handed import Capsys
from tests.audit.moved_rows import LIVE, METERS, NOTES, PERSONS, RULES, VISITS, Case, slices_of, small_slices, world
from tests.servers import databases_of


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


def test_p9_the_draw_of_a_report_is_that_of_its_log_and_seed(erased: Case, capsys: Capsys) -> None:
    assert 0 == erased.look(capsys, "--json", "--draws", "4")
    report: Any = json.loads(erased.said)
    drawn = [one["id"] for one in report["slices"]]
    every = list(erased.seen(capsys))
    assert drawn == list(draw(bytes.fromhex(report["root"]), report["seed"], sorted(every), 4)) == every[:4]


# -- homes where people live ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def living(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Moved in cohorts, closed, erased; a dump of the moment that was compared lies at home, and people live on."""
    folder = tmp_path_factory.mktemp("living")
    (folder / "dumps").mkdir()
    backups = f"  dumps: {{kind: dumps, location: ca, of: app-ca, path: {folder / 'dumps'}}}\n"
    with world(pg18, folder, "spot_living", backups + RULES + LIVE) as case:
        with small_slices():
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
