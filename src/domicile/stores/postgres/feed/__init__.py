"""Two changefeeds of a PostgreSQL database: a logical slot read over SQL, and triggers that write keys down.

followed   which datasets are followed, and what must stay as it was while they are
triggers   the key-log: row triggers; works at the source and at a home
slot       the server's own log of changes, and a key-log for the tables that can't stand in a publication
pgoutput   the messages of a slot, as bytes and back, strict
moments    transactions and the snapshots that show them
choose     which of the two, and why
"""
