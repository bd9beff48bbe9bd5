"""Makes the short-video service's database in an empty one: schema.sql and seed.sql, the same for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

HERE: Final = Path(__file__).resolve().parent
USERS: Final = 6_000
USERS_MIN: Final = 100
CANARY_MARKETS: Final = ("US", "CA", "AU", "NZ")


def create(dsn: str, *, users: int = USERS, seed: int = 1, canaries: Sequence[str] = ()) -> None:
    """Fill the empty database at `dsn` with about 50 rows for each of `users` people; the role is a superuser.

    `canaries` are words of letters and digits that nobody can guess. Each gets an account on top of `users`, in
    turn in the markets of CANARY_MARKETS, and stands in every private place. Raise ValueError for other words.
    """
    if users < USERS_MIN:
        raise ValueError(f"{users} people are too few for a service: {USERS_MIN} at least")
    if not all(word.isascii() and word.isalnum() for word in canaries):
        raise ValueError("a canary is a word of letters and digits")
    settings = {"users": str(users), "seed": str(seed), "canaries": ",".join(canaries)}
    with psycopg.connect(dsn) as connection:
        connection.execute(_script("schema.sql"))
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, true)", [f"shortvideo.{name}", value])
        connection.execute(_script("seed.sql"))


def _script(name: str) -> sql.SQL:
    return sql.SQL((HERE / name).read_text(encoding="utf-8"))
