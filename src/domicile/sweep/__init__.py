"""The sweep: looks for what should be gone, and says what each copy's verdict is.

`collect` reads the tokens at home, `without_common` drops those that others may bear, `sweep_server` searches files and
rows of a server, `sweep_folder` a folder of copies around it, `decide_all` judges. What a sweep can't see:
docs/horizon.md.
"""

from __future__ import annotations

from domicile.sweep.folder import sweep_folder
from domicile.sweep.forms import TokenClass
from domicile.sweep.rows import staying
from domicile.sweep.search import CopySearch, Finding, Gap, SearchResult
from domicile.sweep.server import encodings, sweep_server
from domicile.sweep.tokens import Limits, Source, TokenCounts, Tokens, collect, without_common
from domicile.sweep.verdict import decide, decide_all, roll_up

__all__ = [
    "CopySearch",
    "Finding",
    "Gap",
    "Limits",
    "SearchResult",
    "Source",
    "TokenClass",
    "TokenCounts",
    "Tokens",
    "collect",
    "decide",
    "decide_all",
    "encodings",
    "roll_up",
    "staying",
    "sweep_folder",
    "sweep_server",
    "without_common",
]
