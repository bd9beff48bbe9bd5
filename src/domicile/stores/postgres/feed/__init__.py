"""Two changefeeds of a PostgreSQL database: a logical slot read over SQL, and triggers that write keys down.

followed   which datasets are followed, and what must stay as it was while they are
triggers   the key-log: row triggers; works at the source and at a home
slot       the server's own log of changes, read through a publication
standing   where its slot stands, and whether it can be trusted
published  which tables can stand in a publication, and the publication
pgoutput   the messages of a slot, strict
stream     what they say of the followed tables
batching   what is told from memory, and what goes to the queue
queue      keys on disk, where a transaction is larger than a batch
moments    transactions and the snapshots that show them
choosing   which of the two, and why
"""
