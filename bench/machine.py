"""The facts of the machine that a reader needs to weigh the figures: no name, no address."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg
from cryptography.hazmat.backends.openssl.backend import backend


def facts(dsn: str | None = None) -> Mapping[str, str | int | float]:
    """Cores, memory, versions, the day, and how many others wanted the processors meanwhile.

    Without a server the versions are those of what signs and hashes.
    """
    bare: dict[str, str | int | float] = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count() or 0,
        "ram_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "load_average_5_min": round(os.getloadavg()[1], 1),
        "processor": _processor(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
    }
    if dsn is None:
        return {**bare, "cryptography": version("cryptography"), "openssl": backend.openssl_version_text()}
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT current_setting('server_version')").fetchone()
    return {
        **bare,
        "postgresql": str(row[0]) if row else "",
        "psycopg": version("psycopg"),
        "blake3": version("blake3"),
        "reladiff": version("reladiff"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
