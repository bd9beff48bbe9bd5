"""Every compiled loop called once: what is compiled at its first call takes longer than a property test may."""

from __future__ import annotations

import numpy as np

from domicile.native.packed import records_with_packed_images
from domicile.stores.postgres.compression import Method, unpack
from domicile.stores.postgres.pages import carve_compressed
from domicile.sweep import TokenClass, Tokens


def translate_loops() -> None:
    """Call them."""
    matcher = Tokens({b"somebody@example.org": TokenClass.EMAIL}).matcher()
    assert [] == list(matcher.find("letters".encode("utf-16-le") + b"0123456789abcdef" * 3))
    assert b"abababab" == unpack(Method.PGLZ, bytes([0b100]) + b"ab" + bytes([0x03, 0x02]), 8).data
    assert [] == list(carve_compressed(b"\0" * 64, block=64, aligned=True))
    places = np.empty(1, np.int64)
    assert 0 == records_with_packed_images(np.frombuffer(bytes(64), np.uint8), 0, 0x1C, 64, places)[0]
