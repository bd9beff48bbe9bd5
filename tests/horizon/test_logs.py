"""The collector's files: known by their names alone, and begun anew by the server."""

from __future__ import annotations

import pytest

from domicile.stores.postgres.horizon.logs import names_of


@pytest.mark.parametrize(
    ("pattern", "name", "is_one"),
    [
        ("postgresql-%Y-%m-%d_%H%M%S.log", "postgresql-2026-11-30_003501.log", True),
        ("postgresql-%Y-%m-%d_%H%M%S.log", "postgresql-2026-11-30_003501.csv", True),
        ("postgresql-%Y-%m-%d_%H%M%S.log", "postgresql-2026-11-30_003501.json", True),
        ("postgresql-%Y-%m-%d_%H%M%S.log", "postgresql-2026-11-30_003501.log.gz", False),
        ("postgresql-%Y-%m-%d_%H%M%S.log", "postgresql-2026-11-30_003501.log.csv", False),
        ("postgresql-%Y-%m-%d_%H%M%S.log", "postgresql-2026-11-30.log", False),
        ("postgresql-%Y-%m-%d_%H%M%S.log", "a-postgresql-2026-11-30_003501.log", False),
        ("postgresql-%a.log", "postgresql-Mon.log", True),
        ("postgresql-%a.log", "postgresql-MON.log", False),
        ("server.log", "server.log", True),
        ("server.log", "server_log", False),
        ("server.log", "server.log.1", False),
        ("server", "server.csv", True),
        ("a.b%%c.log", "a.b%c.log", True),
        ("a.b%%c.log", "axb%c.log", False),
    ],
)  # fmt: skip
def test_a_file_is_the_collectors_by_its_whole_name(pattern: str, name: str, is_one: bool) -> None:
    names = names_of(pattern)
    assert names is not None
    assert is_one is (names.fullmatch(name) is not None)


@pytest.mark.parametrize("pattern", ["server-%s.log", "server-%Q", "server%", "logs/server.log", ""])
def test_names_that_cannot_be_told_from_others_are_not_guessed(pattern: str) -> None:
    assert names_of(pattern) is None
