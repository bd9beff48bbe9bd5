"""A role that has what docs/privileges.md asks for to move and erase, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.attack.conftest import World, run


@contextmanager
def least(world: World, *tables: str) -> Iterator[str]:
    """Have the programme come to the source as that role, the owner of these tables; give its name."""
    database = str(conninfo_to_dict(world.source)["dbname"])
    role = f"least_{database}"
    run(world.source, f"CREATE ROLE {role} LOGIN PASSWORD 'throw-away' BYPASSRLS")
    try:
        run(world.source, f"GRANT CREATE ON DATABASE {database} TO {role}")
        run(world.source, f"GRANT SET ON PARAMETER session_replication_role, log_error_verbosity TO {role}")
        for table in tables:
            run(world.source, f"ALTER TABLE {table} OWNER TO {role}")
        dsn = make_conninfo(world.source, user=role, password="throw-away")
        world.programme.environment = {**world.programme.environment, "APP_DSN": dsn}
        yield role
    finally:
        run(world.source, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
