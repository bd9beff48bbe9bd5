"""P1 and P2: nothing is erased without approvals, a restore and equality; and what changed since is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from domicile.errors import NoClearance, NotEqual
from domicile.evidence.keys import Signer, load_signer, save_signer
from domicile.evidence.predicates import ApprovalPredicate, Scope
from domicile.evidence.statement import seal
from tests.main.conftest import Begin
from tests.main.programme import APPROVERS, Programme, run, value
from tests.main.questions import rows


def left(programme: Programme) -> dict[str, int]:
    return {name: rows(programme.source)[name] for name in ("customer", "invoice", "invoice_line")}


ALL = {"customer": 59, "invoice": 412, "invoice_line": 2240}
GONE = {"customer": 51, "invoice": 356, "invoice_line": 1936}


@pytest.mark.parametrize("words", [["apply", "--yes"], ["erase", "--yes"], ["apply", "--yes", "--until", "erase"]])
def test_p2_no_flag_erases_without_approvals(waiting: Programme, words: list[str]) -> None:
    said = waiting.cli(*words, code=14).text
    assert "operator, monitor" in said
    assert "domicile approve --key" in said
    assert ALL == left(waiting)
    waiting.cli("sweep", code=14)
    waiting.cli("certify", code=14)
    assert ALL == left(waiting)


def test_p2_one_of_two_is_not_enough_also_twice(waiting: Programme) -> None:
    first = waiting.cli("approve", "--key", "operator.key", "--json").json()
    assert (1, 2) == (first["given"], first["threshold"])
    assert 1 == waiting.cli("approve", "--key", "operator.key", "--json").json()["given"]
    folder = waiting.made / "approvals"
    (only,) = folder.glob("*.json")
    shutil.copy(only, folder / "monitor-again.json")
    assert "needs 1 more" in waiting.cli("apply", "--yes", code=14).text
    assert ALL == left(waiting)
    waiting.cli("approve", "--key", "monitor.key")
    waiting.cli("apply", "--yes", "--until", "erase")
    assert GONE == left(waiting)


def test_p2_a_key_that_the_plan_does_not_name_approves_nothing(waiting: Programme) -> None:
    waiting.cli("keys", "new", "stranger")
    assert "names no approver" in waiting.cli("approve", "--key", "stranger.key", code=1).text
    # Also one that calls itself by a name of the plan.
    save_signer(waiting.folder / "false.key", Signer(name="monitor", seed=b"f" * 32))
    waiting.cli("approve", "--key", "false.key", code=1)
    waiting.cli("approve", "--key", "operator.key")
    waiting.cli("apply", "--yes", code=14)
    assert ALL == left(waiting)


def test_p2_the_engines_own_key_approves_nothing(waiting: Programme) -> None:
    waiting.cli("approve", "--key", str(waiting.made / "engine.key"), code=1)
    assert ALL == left(waiting)


def test_p2_a_forged_approval_is_refused(waiting: Programme) -> None:
    """The operator's approval, with the monitor's name written over it."""
    waiting.cli("approve", "--key", "operator.key")
    (given,) = (waiting.made / "approvals").glob("*.json")
    envelope = json.loads(given.read_text(encoding="utf-8"))
    envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"][::-1]
    given.with_name("monitor-forged.json").write_text(json.dumps(envelope), encoding="utf-8")
    waiting.cli("apply", "--yes", code=50)
    assert ALL == left(waiting)
    given.with_name("monitor-forged.json").unlink()
    waiting.cli("approve", "--key", "monitor.key")
    waiting.cli("apply", "--yes", "--until", "erase")
    assert GONE == left(waiting)


def test_p2_approvals_of_another_plan_do_not_count(waiting: Programme) -> None:
    """Both have signed; then the run is given up and waiting again: what they signed is not what is there now."""
    waiting.approve()
    kept = {path.name: path.read_bytes() for path in (waiting.made / "approvals").glob("*.json")}
    assert 2 == len(kept)
    waiting.cli("abandon", "--yes")
    shutil.rmtree(waiting.made)
    _empty(waiting.homes["ca"])
    waiting.move()
    for name, data in kept.items():
        (waiting.made / "approvals" / name).write_bytes(data)
    answer = waiting.cli("apply", "--yes", code=50)
    assert "another plan" in answer.text
    assert ALL == left(waiting)


def test_p2_approvals_of_another_equality_do_not_count(waiting: Programme) -> None:
    """Both sign with their own keys, over this plan, but over a statement that is not this comparison."""
    log = waiting.cli("log", "list", "--json").json()
    _, size, root, *_ = (waiting.made / "evidence" / "log" / "checkpoint").read_text().splitlines()
    other = next(one["sha256"] for one in log if "transfer" in one["kind"])
    for name in APPROVERS:
        signer = load_signer(waiting.folder / f"{name}.key")
        approval = ApprovalPredicate(
            plan=hashlib.sha256((waiting.made / "plan.json").read_bytes()).hexdigest(), approver=name, role="approver",
            scope=Scope.ERASE, equality=other, approved_at=datetime(2026, 1, 1, tzinfo=UTC), stands=int(size),
            root=base64.b64decode(root).hex(),
        )  # fmt: skip
        (waiting.made / "approvals" / f"{name}.json").write_bytes(seal(approval, signer).envelope)
    waiting.cli("apply", "--yes", code=14)
    assert ALL == left(waiting)
    waiting.approve()
    waiting.cli("apply", "--yes", "--until", "erase")
    assert GONE == left(waiting)


def test_p2_who_checked_another_log_signs_nothing(waiting: Programme) -> None:
    """The root that an auditor's tools print is the one that is signed, also when the log has grown since."""
    _, size, root, *_ = (waiting.made / "evidence" / "log" / "checkpoint").read_text().splitlines()
    seen = base64.b64decode(root).hex()
    for wrong, why in (("0" * 64, "has not had"), (seen[:15], "--root"), ("not a root at all", "--root")):
        assert why in waiting.cli("approve", "--key", "monitor.key", "--root", wrong, code=1).text
    assert not list((waiting.made / "approvals").glob("*.json"))
    waiting.cli("approve", "--key", "operator.key")
    told = waiting.cli("approve", "--key", "monitor.key", "--root", f"{seen[:16]}…", "--json").json()
    assert (int(size), seen) == (told["stands"], told["root"])
    waiting.cli("apply", "--yes", "--until", "erase")
    assert GONE == left(waiting)


def test_p2_nothing_to_approve_before_the_comparison(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    begun.cli("approve", "--key", "operator.key", code=13)
    begun.cli("apply", "--until", "transfer")
    begun.cli("approve", "--key", "operator.key", code=13)
    begun.cli("apply", "--until", "verify")
    begun.cli("approve", "--key", "operator.key")


def test_p2_a_restore_that_fails_erases_nothing(programme: Begin) -> None:
    """The home's role may not make the scratch database, so no restore is proven."""
    begun = programme("chinook", {"CA": "ca"})
    home, database = begun.homes["ca"], value(begun.homes["ca"], "SELECT current_database()")
    run(home, f"CREATE ROLE {database}_owner LOGIN PASSWORD 'throw-away'")
    try:
        run(home, f"ALTER DATABASE {database} OWNER TO {database}_owner")
        begun.homes["ca"] = make_conninfo(home, user=f"{database}_owner")
        begun.cli("plan")
        said = begun.cli("apply", code=42).text
        assert "CREATEDB" in said or "create" in said
        for name in APPROVERS:
            begun.cli("approve", "--key", f"{name}.key")
        begun.cli("apply", "--yes", code=42)
        assert ALL == left(begun)
        run(home, f"ALTER ROLE {database}_owner CREATEDB")
        begun.cli("apply", "--yes", "--until", "erase")
        assert GONE == left(begun)
    finally:
        with psycopg.connect(home, autocommit=True) as admin:
            admin.execute(f"REASSIGN OWNED BY {database}_owner TO postgres".encode())
            admin.execute(f"DROP ROLE {database}_owner".encode())


def test_p2_without_yes_nothing_is_erased(waiting: Programme) -> None:
    waiting.approve()
    assert "--yes" in waiting.cli("apply", code=14).text
    said = waiting.cli("erase").text
    assert "dry run" in said
    assert "304" in said
    assert ALL == left(waiting)


LINE = "(SELECT min(invoice_line_id) FROM invoice_line JOIN invoice USING (invoice_id) WHERE customer_id = 14)"
ROWS = {
    "the last to be erased": ("customer", "UPDATE customer SET company = 'changed' WHERE customer_id = 14"),
    "the first to be erased": ("invoice_line", f"UPDATE invoice_line SET quantity = 7 WHERE invoice_line_id = {LINE}"),
    "a row that is missing": ("invoice_line", f"DELETE FROM invoice_line WHERE invoice_line_id = {LINE}"),
}  # fmt: skip


@pytest.mark.parametrize("side", ["home", "source"])
@pytest.mark.parametrize("table", ROWS)
def test_p1_a_slice_that_changed_after_the_comparison_is_not_erased(waiting: Programme, side: str, table: str) -> None:
    waiting.approve()
    name, change = ROWS[table]
    dsn = waiting.homes["ca"] if side == "home" else waiting.source
    before = left(waiting)
    # At the source somebody with every right goes through the engine's own door.
    door = "SET LOCAL domicile.pass = 'on'; INSERT INTO domicile.pass VALUES (pg_current_xact_id()::text); "
    shut = "; DELETE FROM domicile.pass"
    run(dsn, change if side == "home" else door + change + shut)
    counted = left(waiting)
    waiting.cli("apply", "--yes", code=20)
    assert counted[name] == left(waiting)[name]
    assert left(waiting)["customer"] == before["customer"]
    # It stays refused, whatever is asked; and the way out is the one that the message names.
    waiting.cli("apply", "--yes", code=20)
    waiting.cli("erase", "--yes", code=20)
    assert counted[name] == left(waiting)[name]


def test_p1_a_fence_that_was_opened_meanwhile_proves_nothing(waiting: Programme) -> None:
    waiting.approve()
    run(waiting.source, "ALTER TABLE customer DISABLE TRIGGER USER")
    assert "fence" in waiting.cli("apply", "--yes", code=13).text
    assert ALL == left(waiting)


def test_p1_after_a_repair_it_is_compared_and_approved_anew(waiting: Programme) -> None:
    waiting.approve()
    home = waiting.homes["ca"]
    run(home, "UPDATE invoice_line SET quantity = 7 WHERE invoice_line_id % 2 = 0")
    waiting.cli("apply", "--yes", code=20)
    assert ALL == left(waiting)
    assert waiting.cli("verify", "--json", code=20).out
    waiting.cli("verify", "--repair")
    waiting.cli("apply", "--yes", code=14)  # what they approved was the comparison before
    assert ALL == left(waiting)
    waiting.approve()
    waiting.cli("apply", "--yes", "--until", "erase")
    assert GONE == left(waiting)
    assert 1 == value(home, "SELECT max(quantity) FROM invoice_line")


def test_p1_rows_at_home_that_nobody_sent_are_a_difference(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    begun.cli("apply", "--until", "transfer")
    run(begun.homes["ca"], "INSERT INTO customer (customer_id, first_name, last_name, email) VALUES (0, 'x', 'y', 'z')")
    begun.cli("apply", code=20)
    found = begun.cli("verify", "--json", code=20).json()
    assert {"app.public.customer/ca": 1} == found["strays"]
    begun.cli("verify", "--repair")
    begun.cli("apply", code=14)
    assert 8 == value(begun.homes["ca"], "SELECT count(*) FROM customer")


def test_p1_once_an_erasure_began_a_repair_removes_nothing_at_home(waiting: Programme) -> None:
    """People live at home by then, and what they write there is nowhere else."""
    waiting.approve()
    waiting.cli("apply", "--yes", "--until", "erase")
    home = waiting.homes["ca"]
    run(home, "INSERT INTO customer (customer_id, first_name, last_name, email) VALUES (0, 'x', 'y', 'z')")
    assert "left alone" in waiting.cli("verify", "--repair", code=20).text
    assert 9 == value(home, "SELECT count(*) FROM customer")


def _empty(dsn: str) -> None:
    run(dsn, "DROP SCHEMA public CASCADE; DROP SCHEMA IF EXISTS domicile CASCADE; CREATE SCHEMA public")


def test_p2_a_key_called_lost_between_clearance_and_erasure_is_replaced_by_another_approval(programme: Begin) -> None:
    """Nothing was erased yet, so enough others may approve; the clearance that is void counts for nothing."""
    made = programme("chinook", {"CA": "ca"})
    own = made.cli("keys", "new", "counsel", "--json").json()["vkey"]
    text = made.file.read_text()
    text = re.sub(r"of: \[([^\]]*)\]", r"of: [\1, counsel]", text)
    text = re.sub(r"(\n +)(monitor: \"[^\n]*)", rf'\1\2\1counsel: "{own}"', text, count=1)
    made.file.write_text(text)
    made.move()
    compared = next(one["index"] for one in made.cli("log", "list", "--json").json() if "equality" in one["kind"])
    made.approve()
    assert "cleared, and nothing erased yet" in made.cli("apply", code=14).text
    made.cli("keys", "revoke", "--key", "monitor.key", "--why", "stolen", "--stands", str(compared + 1))
    assert "needs 1 more" in made.cli("apply", "--yes", code=14).text
    assert ALL == left(made)
    made.cli("approve", "--key", "counsel.key")
    made.cli("apply", "--yes")
    assert GONE == left(made)
    told = made.audit("--json").json()
    assert told["accepted"], told["reason"]


FIRST_LINE = (
    "invoice_line_id = (SELECT min(invoice_line_id) FROM invoice_line JOIN invoice USING (invoice_id) "
    "WHERE billing_country = 'Canada')"
)
PAST_THE_FENCE = """
ALTER TABLE invoice_line DISABLE TRIGGER USER;
DELETE FROM invoice_line WHERE {};
DO $$ DECLARE guard text; BEGIN
    FOR guard IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'invoice_line'::regclass AND NOT tgisinternal LOOP
        EXECUTE format('ALTER TABLE invoice_line ENABLE ALWAYS TRIGGER %I', guard);
    END LOOP;
END $$
"""


def test_p1_rows_that_both_ends_lost_are_not_called_equal(programme: Begin) -> None:
    """Somebody gets past the fence, as a superuser can, and home is made the same: fewer rows than were frozen."""
    made = programme("chinook", {"CA": "ca"})
    made.cli("plan")
    made.cli("apply", "--until", "transfer")
    run(made.source, PAST_THE_FENCE.format(FIRST_LINE))
    run(made.homes["ca"], f"DELETE FROM invoice_line WHERE {FIRST_LINE}")
    said = made.cli("apply", code=NotEqual.exit_code).text
    assert "1 slices have other rows at the source than were frozen, first app.public.invoice_line/ca/" in said
    made.cli("approve", "--key", "operator.key", code=NoClearance.exit_code)
    made.cli("apply", "--yes", code=NotEqual.exit_code)
    assert "erasure" not in made.cli("log", "list").text
