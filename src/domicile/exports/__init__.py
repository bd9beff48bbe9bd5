"""Exports: what the log says, in the forms that auditors' tools read, and which clauses of a text it supports.

From the log alone: the same log gives the same bytes, and nothing in them is better than the log (P11) or more than it
(P8). `audited` asks the auditor's checker, and is the only module with an effect; `evidence` gathers, `holding` asks
what each kind of statement comes to, `packs` reads the mapping of clauses, `support` holds clauses against evidence,
`oscal` and `tables` write.
"""
