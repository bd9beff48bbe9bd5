"""Receipts: what went home of one person, committed to under a nonce that can be destroyed (ADR 0038).

`leaf` is the commitment, `trees` the Merkle trees over them, `keeping` the private folder with the nonces, `document`
the file that a person is given.
"""
