"""Checks 10 to 24, our own: whether the statements tell of a move and an erasure that may be believed."""
