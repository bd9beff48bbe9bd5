"""PDF: every stream that FlateDecode packed is unpacked and searched (ISO 32000-1, 7.3.8 and 7.4.4).

Found by the words `stream` and by what follows, not by the cross-reference table: so streams of former revisions are
read, too. Text that is drawn in pieces, or by numbers of glyphs, is not put together.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from domicile.sweep.containers.kinds import Kind
from domicile.sweep.containers.opening import Opening
from domicile.sweep.containers.streams import IN_BYTES, OUT_BYTES, Damaged

WINDOW_BYTES = 1024 * 1024
DICTIONARY_BYTES_MAX = 4096
OVERLAP_BYTES = len(b"endstream\r\n")
_STREAM = re.compile(rb"(?<!end)stream(?:\r\n|\n|\r)")
_ENCRYPTED = re.compile(rb"/Encrypt[ \r\n<]")
_FLATE = re.compile(rb"/(?:FlateDecode|Fl)\b")
_OTHER = re.compile(rb"/(?:LZWDecode|LZW|ASCII85Decode|A85|ASCIIHexDecode|AHx|RunLengthDecode|RL|Crypt)\b")


def open_pdf(opening: Opening, file: BinaryIO, depth: int) -> None:
    """Unpack every packed stream of a PDF."""
    position, passed = 0, 0  # where the next window begins; up to where streams were unpacked
    while True:
        start = file.seek(max(position - DICTIONARY_BYTES_MAX, 0))
        window = file.read(WINDOW_BYTES + position - start)
        if _ENCRYPTED.search(window):
            opening.gap(Kind.PDF, "is encrypted")
        for found in _STREAM.finditer(window, position - start):
            if start + found.start() >= passed:
                before = window[max(found.start() - DICTIONARY_BYTES_MAX, 0) : found.start()]
                passed = _stream(opening, file, start + found.end(), depth, before=before)
        if len(window) < WINDOW_BYTES + position - start:
            return
        position = max(start + len(window) - OVERLAP_BYTES, passed)


def _stream(opening: Opening, file: BinaryIO, at: int, depth: int, *, before: bytes) -> int:
    """Unpack the stream that begins at a place, if it is packed; return where to look on."""
    dictionary = before[before.rfind(b"obj") + 1 :]
    inflated = _Inflated(file, at, opening)
    if inflated.plausible():
        opening.content(Kind.PDF, inflated.blocks(), depth + 1)
        if inflated.whole:
            return at + inflated.consumed
    elif _FLATE.search(dictionary):
        opening.gap(Kind.PDF, "holds a damaged or encrypted stream")
    if _OTHER.search(dictionary):
        opening.gap(Kind.PDF, "holds a stream packed in a way that nothing here unpacks")
    return at


class _Inflated:
    """One stream of deflate within a file."""

    def __init__(self, file: BinaryIO, at: int, opening: Opening) -> None:
        self._file = file
        self._at = at
        self._opening = opening
        self.consumed = 0
        self.whole = False

    def plausible(self) -> bool:
        """Whether the bytes there begin as zlib's do, and give something."""
        self._file.seek(self._at)
        head = self._file.read(1024)
        try:
            return bool(len(head) > 2 and zlib.decompressobj().decompress(head, 16))
        except zlib.error:
            return False

    def blocks(self) -> Iterator[bytes]:
        way = zlib.decompressobj()
        data = b""
        try:
            while not way.eof:
                if not data:
                    self._file.seek(self._at + self.consumed)
                    data = self._file.read(IN_BYTES)
                    if not data:
                        raise Damaged("holds a stream that is cut off")
                    self._opening.take(len(data))  # what is tried again and again is counted, too
                    self.consumed += len(data)
                unpacked = way.decompress(data, OUT_BYTES)
                data = way.unconsumed_tail
                if unpacked:
                    yield unpacked
        except zlib.error:
            raise Damaged("holds a damaged stream") from None
        self.consumed -= len(way.unused_data)
        self.whole = True
