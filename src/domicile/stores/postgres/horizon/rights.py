"""What the connected role may do to the horizon, what fails without it, and the statement that grants it."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from domicile.catalogue import TableName
from domicile.stores.postgres.copies import Right
from domicile.stores.postgres.files import missing_file_rights


def is_superuser(conn: psycopg.Connection) -> bool:
    """Whether the role is a superuser now."""
    row = conn.execute("SELECT current_setting('is_superuser')::boolean").fetchone()
    return bool(row and row[0])


def has_role(conn: psycopg.Connection, role: str) -> bool:
    """Whether the current role has the rights of a predefined role; False where the server doesn't know it."""
    row = conn.execute(
        "SELECT coalesce((SELECT pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = %s), false)", (role,)
    ).fetchone()
    return bool(row and row[0])


def may_execute(conn: psycopg.Connection, function: str) -> bool:
    """Whether the role may execute the function; False where the server doesn't have it."""
    row = conn.execute(
        "SELECT coalesce(has_function_privilege(to_regprocedure(%s), 'EXECUTE'), false)", (function,)
    ).fetchone()
    return bool(row and row[0])


def sees_sessions(conn: psycopg.Connection) -> bool:
    """Whether the role is shown what other sessions hold: without it `pg_stat_activity` says NULL, not nothing."""
    return is_superuser(conn) or has_role(conn, "pg_read_all_stats")


def may_recycle_wal(conn: psycopg.Connection) -> tuple[str, ...]:
    """Name what the role lacks to have old WAL segments removed and to see that they are."""
    functions = ("pg_switch_wal()", "pg_ls_waldir()", "pg_reload_conf()")
    missing = [function for function in functions if not may_execute(conn, function)]
    if not _may_set_wal_recycle(conn):
        missing.append("ALTER SYSTEM SET wal_recycle")
    if not may_checkpoint(conn):
        missing.append("CHECKPOINT")
    return tuple(missing)


def may_checkpoint(conn: psycopg.Connection) -> bool:
    """Whether the role may order a checkpoint."""
    return is_superuser(conn) or has_role(conn, "pg_checkpoint")


def may_rotate_log(conn: psycopg.Connection) -> tuple[str, ...]:
    """Name what the role lacks to have the logging collector begin other files, and to list them."""
    functions = ("pg_rotate_logfile()", "pg_current_logfile(text)", "pg_ls_logdir()")
    missing = [function for function in functions if not may_execute(conn, function)]
    if not (is_superuser(conn) or has_role(conn, "pg_read_all_settings")):
        missing.append("pg_read_all_settings")
    return tuple(missing)


def _may_set_wal_recycle(conn: psycopg.Connection) -> bool:
    if is_superuser(conn):
        return True
    if conn.info.server_version < 150000:
        return False
    row = conn.execute("SELECT has_parameter_privilege('wal_recycle', 'ALTER SYSTEM')").fetchone()
    owner = conn.execute(
        "SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    return bool(row and row[0] and owner and owner[0])


def unowned(conn: psycopg.Connection, tables: Sequence[TableName]) -> tuple[TableName, ...]:
    """Name the tables that the role may not rewrite (it is neither owner nor superuser nor, from 17 on, maintainer)."""
    if is_superuser(conn) or has_role(conn, "pg_maintain"):
        return ()
    return tuple(table for table in tables if not _may_maintain(conn, table))


def _may_maintain(conn: psycopg.Connection, table: TableName) -> bool:
    row = conn.execute(
        "SELECT pg_has_role(c.relowner, 'USAGE'), c.oid::bigint FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s",
        (table.schema, table.name),
    ).fetchone()
    if row is None:
        return False
    if row[0] or conn.info.server_version < 170000:
        return bool(row[0])
    granted = conn.execute("SELECT has_table_privilege(%s::bigint::oid, 'MAINTAIN')", (row[1],)).fetchone()
    return bool(granted and granted[0])


def rights(conn: psycopg.Connection, *, datasets: Sequence[TableName] = ()) -> tuple[Right, ...]:
    """List every right that the horizon and the sweep want; without it, the copies named stay unverified."""
    version = conn.info.server_version
    role = conn.execute("SELECT current_user").fetchone()
    grantee = sql.Identifier(role[0] if role else "domicile").as_string(conn)
    superuser = is_superuser(conn)
    files = not missing_file_rights(conn)
    maintain = f"GRANT pg_maintain TO {grantee}" if version >= 170000 else f"ALTER ROLE {grantee} SUPERUSER"
    checkpoint = f"GRANT pg_checkpoint TO {grantee}" if version >= 150000 else f"ALTER ROLE {grantee} SUPERUSER"
    recycle = (
        f"GRANT ALTER SYSTEM ON PARAMETER wal_recycle TO {grantee}; GRANT EXECUTE ON FUNCTION pg_switch_wal(),"
        f" pg_ls_waldir(), pg_reload_conf() TO {grantee} -- and own the database"
        if version >= 150000
        else f"ALTER ROLE {grantee} SUPERUSER"
    )
    read_files = f"GRANT pg_read_server_files TO {grantee}; GRANT EXECUTE ON FUNCTION {_FILE_FUNCTIONS} TO {grantee}"
    read_rows = f"GRANT pg_read_all_data TO {grantee}" if version >= 140000 else f"ALTER ROLE {grantee} SUPERUSER"
    statistics_super = superuser or (version >= 170000 and has_role(conn, "pg_maintain"))
    reset = next((name for name in _RESETS if may_execute(conn, name)), None)
    return (
        Right(
            name="superuser",
            has=superuser,
            needed_for="everything below at once",
            grant_sql=f"ALTER ROLE {grantee} SUPERUSER",
        ),
        Right(
            name="read settings",
            has=superuser or has_role(conn, "pg_read_all_settings"),
            needed_for="finding data directory, archive and log settings",
            grant_sql=f"GRANT pg_monitor TO {grantee}",
        ),
        Right(
            name="see sessions",
            has=sees_sessions(conn),
            needed_for="naming who holds dead rows back",
            grant_sql=f"GRANT pg_monitor TO {grantee}",
        ),
        Right(
            name="rewrite tables",
            has=not unowned(conn, datasets),
            needed_for="dead tuples, TOAST and index pages (VACUUM FULL), materialised views",
            grant_sql=maintain,
        ),
        Right(
            name="rewrite statistics",
            has=statistics_super,
            needed_for="pg_statistic, extended statistics, large objects (VACUUM FULL of catalogues)",
            grant_sql=maintain,
        ),
        Right(name="checkpoint", has=may_checkpoint(conn), needed_for="unlinking old files, WAL", grant_sql=checkpoint),
        Right(
            name="recycle WAL",
            has=not may_recycle_wal(conn),
            needed_for="pg_wal and recycled segments",
            grant_sql=recycle,
        ),
        Right(
            name="read files", has=files, needed_for="the byte search where files aren't local", grant_sql=read_files
        ),
        Right(
            name="read all rows",
            has=superuser or has_role(conn, "pg_read_all_data"),
            needed_for="looking for side copies in every table",
            grant_sql=read_rows,
        ),
        Right(
            name="reset statement texts",
            has=superuser or reset is not None,
            needed_for="pg_stat_statements",
            grant_sql=f"GRANT EXECUTE ON FUNCTION {reset or _RESETS[0]} TO {grantee}",
        ),
        Right(
            name="rotate server log",
            has=not may_rotate_log(conn),
            needed_for="old log files, where the file says what becomes of them (`server_log`)",
            grant_sql=f"GRANT EXECUTE ON FUNCTION pg_rotate_logfile() TO {grantee}; GRANT pg_monitor TO {grantee}",
        ),
    )


_RESETS = ("pg_stat_statements_reset(oid,oid,bigint,boolean)", "pg_stat_statements_reset(oid,oid,bigint)")
_FILE_FUNCTIONS = (
    "pg_ls_dir(text,boolean,boolean), pg_stat_file(text,boolean), pg_read_binary_file(text,bigint,bigint,boolean)"
)
