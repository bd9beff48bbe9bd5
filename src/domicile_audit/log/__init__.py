"""Checks 1 to 9, by the specs of others: from the bytes of a zip to signed statements in known shapes."""
