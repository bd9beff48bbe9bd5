"""A log as others see it: `place` reads one from a folder or a URL, `fsck` checks its files, `monitor` follows it.

`serve` hands the files out.
"""
