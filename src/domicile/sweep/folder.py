"""The sweep of a folder of copies: every file in it, by the layout that its store gives it."""

from __future__ import annotations

from collections.abc import Sequence

from domicile.stores.around import Placing
from domicile.stores.postgres.copies import Copy
from domicile.stores.postgres.files import Files
from domicile.sweep.scan import Scan
from domicile.sweep.search import SearchResult, Tally
from domicile.sweep.tokens import Tokens


def sweep_folder(
    files: Files,
    placing: Placing,
    tokens: Tokens,
    copies: Sequence[Copy],
    *,
    encodings: tuple[Sequence[str], Sequence[str]],
) -> SearchResult:
    """Search every file for the tokens; each of `copies` is in the result, also one that has no file left.

    `encodings` are those of the server's databases: the ones that can be spelt, and the ones that can't. NotPermitted
    passes where the folder itself can't be listed; a file that can't be read is a gap of its copy.
    """
    known, strange = encodings
    tally = Tally(tokens.matcher(encodings=known))
    for copy in copies if strange else ():
        tally.gap(copy.id, "(encoding)", f"values in {', '.join(strange)} can't be spelt by this program")
    Scan(files, placing, tally).all()
    return SearchResult(tokens=tokens.counts, how=files.how, copies=tally.result([copy.id for copy in copies]))
