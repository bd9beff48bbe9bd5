"""The role that docs/privileges.md asks for is enough to move and erase; where a server lacks more, it is told."""

from __future__ import annotations

import json

import pytest
from psycopg.conninfo import conninfo_to_dict

from domicile.errors import NotPermitted
from domicile.run import Stage
from tests.attack.conftest import World, Worlds
from tests.attack.least import least
from tests.attack.test_second_thoughts import RULES, SCHEMA


def _missing(made: World) -> list[str]:
    """What `doctor` says that a run would stop for."""
    said = json.loads(made.programme.command("doctor", "--json").stdout)
    return [check["what"] for check in said if check["holds"] is False]


def test_p2_who_may_not_have_rows_counted_erases_none_until_they_are(world: Worlds) -> None:
    """Without the count nobody knows whether a row beside went; where it is on, no right to set it is needed."""
    made = world(SCHEMA, RULES)
    database = conninfo_to_dict(made.source)["dbname"]
    with least(made, "person", "note"):
        made.at_source(f"ALTER DATABASE {database} SET track_counts = off")
        made.programme.clear()
        with pytest.raises(NotPermitted, match="track_counts"):
            made.programme.apply(until=Stage.ERASE, yes=True)
        assert [(20,)] == made.at_source("SELECT count(*) FROM person")
        assert ["counts the rows that are touched (track_counts)"] == _missing(made)
        made.at_source(f"ALTER DATABASE {database} RESET track_counts")
        assert [] == _missing(made)
        made.programme.apply(until=Stage.ERASE, yes=True)
        assert [(10,)] == made.at_source("SELECT count(*) FROM person")
