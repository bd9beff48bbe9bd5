"""Makes the short-video service's database in an empty one: schema.sql and seed.sql, the same for the same numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

HERE: Final = Path(__file__).resolve().parent
USERS: Final = 6_000
USERS_MIN: Final = 100
PASSWORDS: Final = 50
CANARY_MARKETS: Final = ("US", "CA", "AU", "NZ")


def create(
    dsn: str, *, users: int = USERS, seed: int = 1, canaries: Sequence[str] = (), passwords: int = PASSWORDS
) -> None:
    """Fill the empty database at `dsn` with about 50 rows for each of `users` people; the role is a superuser.

    `canaries` are words of letters and digits that nobody can guess. Each gets an account on top of `users`, in
    turn in the markets of CANARY_MARKETS, and stands in every private place. Raise ValueError for other words.
    The first `passwords` people can log in with `clip-<id>`; nobody knows the others' passwords.
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
        _give_passwords(connection, min(passwords, users), seed)


def password_hash(password: str, salt: bytes) -> str:
    """Return what is kept of a password: `scrypt$<salt>$<hash>`, in hex."""
    return f"scrypt${salt.hex()}${hashlib.scrypt(password.encode(), salt=salt, n=2**12, r=8, p=1).hex()}"


def _give_passwords(connection: psycopg.Connection, people: int, seed: int) -> None:
    """Triggers rest, as they do for the seed: a made-up world has no history."""
    connection.execute("SET LOCAL session_replication_role = replica")
    salts = {number: hashlib.sha256(f"{seed}/{number}".encode()).digest()[:16] for number in range(1, people + 1)}
    connection.cursor().executemany(
        "UPDATE app.users SET password_hash = %s WHERE id = %s",
        [(password_hash(f"clip-{number}", salt), number) for number, salt in salts.items()],
    )


def _script(name: str) -> sql.SQL:
    return sql.SQL((HERE / name).read_text(encoding="utf-8"))
