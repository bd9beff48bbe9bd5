"""Lines of the manifest ↔ frames, for the way from the source to a home."""

from __future__ import annotations

from dataclasses import astuple

from domicile.errors import StoreFault
from domicile.model import DatasetId, Fate, Form, Home
from domicile.stores.memory.closure import Line
from domicile.stores.memory.values import decode, encode


def write_line(line: Line) -> bytes:
    """One line as a frame."""
    return encode([str(item) if isinstance(item, (Form, Fate)) else item for item in astuple(line)])


def read_line(frame: bytes) -> Line:
    """Read what `write_line` wrote; raise StoreFault when it is anything else."""
    match decode(frame):
        case [str(dataset), bytes(key), str(part), str(form), int(n), str(fate), owner, bool(owned), int(copies)]:
            return Line(
                dataset=DatasetId(dataset), key=key, part=part, form=Form(form), n=n, fate=Fate(fate),
                owner=None if owner is None else Home(str(owner)), owned=owned, copies=copies,
            )  # fmt: skip
    raise StoreFault("a frame is not a line of the manifest; the stream was changed on its way")
