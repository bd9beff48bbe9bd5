"""P6: while the fence stands, whoever stays writes as before; whoever moves is refused, and told why."""

from __future__ import annotations

import psycopg
import pytest

from tests.main.conftest import Begin
from tests.main.programme import Programme, run, value

# Customer 1 lives in Brazil, 2 in Germany; 3 in Canada.
FENCED = "domicile: this row belongs to a person who is being moved home; write there"
STAYERS_WRITE = {
    "insert": "INSERT INTO invoice VALUES (5000, 1, now(), null, null, null, null, null, 9.99)",
    "insert a child": "INSERT INTO invoice_line SELECT 9000, invoice_id, 1, 0.99, 1 FROM invoice"
    " WHERE customer_id = 1 LIMIT 1",
    "update": "UPDATE customer SET phone = '1' WHERE customer_id = 1",
    "update many": "UPDATE invoice SET total = total + 1 WHERE customer_id IN (1, 2, 4, 5)",
    "update the key of a reference": "UPDATE invoice SET customer_id = 2 WHERE customer_id = 1",
    "delete": "DELETE FROM invoice_line WHERE invoice_id IN (SELECT invoice_id FROM invoice WHERE customer_id = 1)",
    "a new person": "INSERT INTO customer (customer_id, first_name, last_name, email, country)"
    " VALUES (700, 'New', 'Person', 'new@example.invalid', 'Brazil')",
    "move between countries that stay": "UPDATE customer SET country = 'Norway' WHERE customer_id = 1",
    "public data": "UPDATE track SET unit_price = 1.23 WHERE track_id = 1",
    "upsert": "INSERT INTO customer (customer_id, first_name, last_name, email) VALUES (1, 'a', 'b', 'c')"
    " ON CONFLICT (customer_id) DO UPDATE SET phone = '2'",
    "copy": "WITH gone AS (DELETE FROM invoice_line WHERE invoice_id IN (SELECT invoice_id FROM invoice"
    " WHERE customer_id = 2) RETURNING *) INSERT INTO invoice_line SELECT invoice_line_id + 20000, invoice_id,"
    " track_id, unit_price, quantity FROM gone",
}  # fmt: skip
MOVERS_WRITE = {
    "insert": "INSERT INTO invoice VALUES (5000, 3, now(), null, null, null, null, null, 9.99)",
    "insert a child": "INSERT INTO invoice_line SELECT 9000, invoice_id, 1, 0.99, 1 FROM invoice"
    " WHERE customer_id = 3 LIMIT 1",
    "update": "UPDATE customer SET phone = '1' WHERE customer_id = 3",
    "update among others": "UPDATE customer SET phone = '1'",
    "hand a row to a mover": "UPDATE invoice SET customer_id = 3 WHERE customer_id = 1",
    "take a row from a mover": "UPDATE invoice SET customer_id = 1 WHERE customer_id = 3",
    "delete": "DELETE FROM invoice_line WHERE invoice_id IN (SELECT invoice_id FROM invoice WHERE customer_id = 3)",
    "become a stayer": "UPDATE customer SET country = 'Norway' WHERE customer_id = 3",
    "become a mover": "UPDATE customer SET country = 'Canada' WHERE customer_id = 1",
    "a new mover": "INSERT INTO customer (customer_id, first_name, last_name, email, country)"
    " VALUES (700, 'New', 'Person', 'new@example.invalid', 'Canada')",
    "as a replica": "SET LOCAL session_replication_role = replica;"
    " UPDATE customer SET phone = '1' WHERE customer_id = 3",
}  # fmt: skip


def written(programme: Programme, statement: str) -> None:
    """Do it and take it back, in a transaction as the application's are."""
    with psycopg.connect(programme.source) as connection:
        try:
            connection.execute(statement.encode())
        finally:
            connection.rollback()


def test_p6_who_stays_writes_and_who_moves_is_refused(waiting: Programme) -> None:
    for statement in STAYERS_WRITE.values():
        written(waiting, statement)
    for name, statement in MOVERS_WRITE.items():
        with pytest.raises(psycopg.Error) as caught:
            written(waiting, statement)
        assert FENCED == caught.value.diag.message_primary, name
        assert "DM001" == caught.value.sqlstate
        assert "@" not in str(caught.value)


def test_p6_what_is_read_is_as_ever(waiting: Programme) -> None:
    assert 59 == value(waiting.source, "SELECT count(*) FROM customer")
    assert 8 == value(waiting.source, "SELECT count(*) FROM customer WHERE country = 'Canada'")


def test_p6_what_others_wrote_meanwhile_stays_and_the_run_goes_on(waiting: Programme) -> None:
    for name in ("insert", "insert a child", "update", "a new person", "public data", "copy"):
        run(waiting.source, STAYERS_WRITE[name])
    waiting.approve()
    waiting.cli("apply", "--yes", "--until", "erase")
    assert 59 - 8 + 1 == value(waiting.source, "SELECT count(*) FROM customer")
    assert 412 - 56 + 1 == value(waiting.source, "SELECT count(*) FROM invoice")
    assert 2240 - 304 + 1 == value(waiting.source, "SELECT count(*) FROM invoice_line")
    assert ("1", 8) == (
        value(waiting.source, "SELECT phone FROM customer WHERE customer_id = 1"),
        value(waiting.homes["ca"], "SELECT count(*) FROM customer"),
    )


def test_p6_after_the_run_the_fence_is_gone(waiting: Programme) -> None:
    """The guard leaves with the rows; what an application writes then is its own affair."""
    waiting.approve()
    waiting.cli("apply", "--yes")
    written(waiting, MOVERS_WRITE["a new mover"])
    assert 0 == value(waiting.source, "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal")
    assert 0 == value(waiting.source, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'domicile%'")


def test_p6_giving_up_gives_everything_back(waiting: Programme) -> None:
    waiting.cli("abandon")
    with pytest.raises(psycopg.Error):
        written(waiting, MOVERS_WRITE["update"])
    waiting.cli("abandon", "--yes")
    for statement in MOVERS_WRITE.values():
        written(waiting, statement)
    assert 59 == value(waiting.source, "SELECT count(*) FROM customer")


def test_p6_the_wait_of_others_is_measured_and_told(programme: Begin) -> None:
    begun = programme("chinook", {"CA": "ca"})
    begun.cli("plan")
    said = begun.cli("apply", "--until", "transfer").err
    assert "others waited" in said
    again = begun.cli("apply", "--until", "transfer").err
    assert "others waited" not in again
    assert "stands since" in again
