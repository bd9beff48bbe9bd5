"""The command line with numbered points at which it dies, as a power cut would end it (SIGKILL), or waits.

Points stand just before and just after every effect that outlives the process: a commit, a statement outside of a
transaction that is not a read, a line of the journal, an append to the log, a file put in place. What happens inside a
transaction that is never committed leaves nothing, so the point before its commit stands for all of it.

`CRASH_AT=N` dies at the Nth point; `PAUSE_AT=N` prints it and waits for a line on standard input; `POINTS=FILE` writes
each point's name as it passes. Slices are small, so that there are many.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.transaction import BaseTransaction

from domicile.cli import main
from domicile.evidence.ledger import Ledger
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace
from domicile.stores.postgres import staging

READS: Final = re.compile(r"\s*(SELECT|WITH|BEGIN|SET|SHOW|ROLLBACK|ANALYZE)\b", re.IGNORECASE)
NAME_CHARS_MAX: Final = 60
SLICE_ROWS_MAX: Final = 40

_passed = 0


def point(name: str) -> None:
    """Pass a point, or wait or die there."""
    global _passed  # noqa: PLW0603 - one process, one count
    _passed += 1
    if "POINTS" in os.environ:
        with Path(os.environ["POINTS"]).open("a", encoding="utf-8") as out:
            out.write(f"{_passed} {name}\n")
    if _passed == int(os.environ.get("PAUSE_AT", "0")):
        sys.stdout.write(f"paused at {name}\n")
        sys.stdout.flush()
        sys.stdin.readline()
    if _passed == int(os.environ.get("CRASH_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner: type, method: str, naming: Callable[..., str | None]) -> None:
    """Put a point before and after each call of a method, with the name that `naming` gives; None is no point."""
    plain = getattr(owner, method)

    def counted(*arguments: Any, **options: Any) -> Any:
        name = naming(*arguments, **options)
        if name is None:
            return plain(*arguments, **options)
        point(f"before {name}")
        result = plain(*arguments, **options)
        point(f"after {name}")
        return result

    setattr(owner, method, counted)


def _statement(connection: psycopg.Connection[Any], query: Any, *_: Any, **__: Any) -> str | None:
    text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else query.as_string()
    inside = connection.info.transaction_status == TransactionStatus.INTRANS
    if READS.match(text) or (inside and text != "COMMIT"):
        return None
    return f"{connection.info.dbname[:6]}: " + " ".join(text.split())[:NAME_CHARS_MAX]


def _kinds(_: Any, stated: Any) -> str:
    return "log " + ",".join(sorted({predicate.KIND for predicate, _ in stated}))


if __name__ == "__main__":
    vars(staging)["SLICE_ROWS_MAX"] = SLICE_ROWS_MAX
    around(psycopg.Connection, "execute", _statement)
    around(BaseTransaction, "_commit_gen", lambda *_: "the commit of a block")
    around(Journal, "put", lambda _, name, *__, **___: f"journal {name}")
    around(Ledger, "_append", _kinds)
    around(Workspace, "write", lambda _, path, *__: f"file {path.name}")
    main()
