"""Tells the operator, and nobody else, which keys a count or a place stands for: one private file a store (0600).

Evidence, log and errors name objects by letters that nobody else can turn back. Who has to mend a rule, or look at what
was left, needs the keys themselves; the file lies in the run's folder and is in no bundle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from domicile.errors import HostFault

KEYS_TOLD_MAX: Final = 1_000


def tell_keys(path: Path, lines: Iterable[tuple[str, str]]) -> bool:
    """Write what is told and the key, a line each, the first `KEYS_TOLD_MAX`; without any, remove the file."""
    chosen = list(islice(lines, KEYS_TOLD_MAX))
    try:
        path.unlink(missing_ok=True)
        if not chosen:
            return False
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.writelines(f"{told}\t{json.dumps(key)}\n" for told, key in chosen)
    except OSError as fault:
        raise HostFault(f"{path} can't be written ({fault.strerror}); check rights and space, then run again") from None
    return True
