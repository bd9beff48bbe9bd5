"""What of a changefeed stands in a database: both kinds' triggers, key-logs, queue, publication and slot.

All of it is a copy of keys, or keeps copies alive: a slot that is left behind holds the server's log back for ever. So
the inventory counts it, and the verdict asks the catalogue.
"""

from __future__ import annotations

from typing import Any

import psycopg

from domicile.stores.postgres.feed.published import PUBLICATION, unpublish
from domicile.stores.postgres.feed.standing import PREFIX, is_there, slot_name
from domicile.stores.postgres.feed.triggers import LOGS, detach_triggers, logged_tables
from domicile.stores.postgres.names import STAGING

REMAINS = """
SELECT 'slot ' || slot_name FROM pg_replication_slots
 WHERE database = current_database() AND starts_with(slot_name, %(prefix)s)
UNION ALL SELECT 'publication ' || pubname FROM pg_publication WHERE pubname = %(publication)s
UNION ALL SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass::text FROM pg_trigger
           WHERE tgname = ANY(%(triggers)s) AND tgparentid = 0
UNION ALL SELECT 'table ' || oid::regclass::text FROM pg_class
           WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind = 'r'
             AND relname ~ '^(k_[0-9a-f]{16}|feed_queue|feed_state)$'
ORDER BY 1
"""


def remains(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """Name what stands."""
    values = {"prefix": PREFIX, "publication": PUBLICATION, "triggers": list(LOGS), "schema": STAGING}
    return tuple(str(row[0]) for row in connection.execute(REMAINS, values).fetchall())


def detach(connection: psycopg.Connection[Any]) -> None:
    """Take triggers, publication and slot away, in the caller's transaction; the tables go with the schema.

    A slot is dropped at once, also where the transaction is taken back: there is no other way to drop one.
    """
    for table in logged_tables(connection):
        detach_triggers(connection, table)
    unpublish(connection)
    if is_there(connection):
        connection.execute("SELECT pg_drop_replication_slot(%s)", (slot_name(connection),))
