"""Loops over bytes that Python is too slow for, as machine code: numba translates them when they are first called.

`compiled` (the only place that knows of numba), `patterns` (many strings at once), `spellings` (UTF-16, base64,
hexadecimal, places of hashes), `packed` (pglz, where packed values stand, records of WAL). They know nothing of stores
or tokens: arrays in, arrays out. Each has the same meaning as a slow twin in its test. ADR 0036.
"""
