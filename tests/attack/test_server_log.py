"""P8: what the source's server writes into its own log because of us: no secret, and no row of anybody."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psycopg
import pytest

from domicile.errors import DomicileError
from domicile.run import Stage
from tests.attack.conftest import run
from tests.attack.programme import PERSON, make
from tests.servers import HASTY, create_database, own_server

TALKATIVE: Final = {
    **HASTY, "logging_collector": "on", "log_directory": "log", "log_statement": "all",
    "log_min_duration_statement": "0", "log_parameter_max_length": "-1", "log_parameter_max_length_on_error": "-1",
}  # fmt: skip
SCHEMA: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text, email text, CHECK (email IS NOT NULL OR id = 0));
INSERT INTO person SELECT i, (ARRAY['CA', 'SG'])[1 + i % 2], 'zebra-' || i || '@example.test'
    FROM generate_series(1, 9) AS i;
CREATE TABLE visit (person_id int NOT NULL REFERENCES person, page text);
INSERT INTO visit SELECT 1 + i % 9, 'walrus-' || i FROM generate_series(1, 30) AS i;
"""
SPLIT: Final = (
    PERSON
    + """
datasets:
  app.public.person: {rows: split, fields: {id: public, market: public, email: {class: private, outside: HOW}}}
  app.public.visit: {rows: move, path: person_id}
"""
)


@pytest.mark.parametrize("how", ["token", "null"])
def test_p8_the_servers_log_learns_neither_the_secret_nor_a_row(tmp_path: Path, how: str) -> None:
    """`null` breaks a CHECK, whose own message quotes the whole row."""
    with own_server("talkative", parameters=TALKATIVE) as server:
        source, home = create_database(server, "app"), create_database(server, "app_ca")
        run(source, SCHEMA)
        for log in (server.data_directory / "log").iterdir():
            log.write_bytes(b"")  # what the application itself said
        programme = make(tmp_path / "programme", SPLIT.replace("HOW", how), source=source, homes={"CA": home})
        if how == "token":
            programme.clear()
            secrets = run(source, "SELECT secret FROM domicile.token")
            programme.apply(yes=True, until=Stage.ERASE)
        else:
            secrets = []
            with pytest.raises(DomicileError, match="person_check"):
                programme.clear()
        said = b"".join(log.read_bytes() for log in (server.data_directory / "log").iterdir())
        with pytest.raises(psycopg.errors.CheckViolation):
            run(source, "UPDATE person SET email = NULL")
        others = b"".join(log.read_bytes() for log in (server.data_directory / "log").iterdir())
    assert b"Failing row contains" in others  # what any other session's error leaves there
    assert b"gen_random_uuid" in said  # the log is really that talkative
    assert b"Failing row contains" not in said
    assert b"zebra-" not in said
    assert b"walrus-" not in said
    for (text,) in secrets:
        assert 64 == len(text)
        assert text.encode() not in said
