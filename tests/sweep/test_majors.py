"""P3 on the majors that have no other test here: the same plants, the same treatment, nothing left."""

from __future__ import annotations

import pytest

from domicile.proof import Verdict
from domicile.stores.postgres.horizon import inventory
from domicile.sweep import decide_all
from tests.servers import own_server
from tests.sweep.plants import (
    DATASETS,
    connected,
    delete_rows,
    parameters_of,
    plant_schema,
    sweep_for_canary,
    treat_quickly,
)


@pytest.mark.parametrize("major", [13, 14, 16, 17])
def test_p3_nothing_is_left_on_any_major(major: int) -> None:
    with (
        own_server(f"major{major}", major=major, parameters=parameters_of(major)) as server,
        connected(server.dsn()) as conn,
    ):
        plant_schema(conn)
        before = sweep_for_canary(conn)
        delete_rows(conn)
        copies = inventory(conn, DATASETS)
        outcomes = treat_quickly(conn, copies)
        after = sweep_for_canary(conn)
        verdicts = {said.copy: said.verdict for said in decide_all(copies, outcomes, after, rows_erased=True)}
    assert {"heap:app.packed", "toast:app.outside", "statistics", "statement-texts", "wal", "large-objects"} <= {
        search.copy for search in before.copies if search.hits
    }
    assert 0 == after.hits
    assert {"dumps-and-backups", "free-blocks"} == {
        copy for copy, verdict in verdicts.items() if verdict is not Verdict.ERASED_VERIFIED
    }
