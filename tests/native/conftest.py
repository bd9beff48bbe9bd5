"""What is compiled at its first call takes longer than a property test may: it is called before."""

from __future__ import annotations

import numpy as np
import pytest

from domicile.native.packed import unpack_pglz
from domicile.sweep import TokenClass, Tokens


@pytest.fixture(scope="package", autouse=True)
def _translated() -> None:
    matcher = Tokens({b"somebody@example.org": TokenClass.EMAIL}).matcher()
    assert [] == list(matcher.find("letters".encode("utf-16-le") + b"0123456789abcdef" * 3))
    assert (0, True) == unpack_pglz(np.frombuffer(b"", np.uint8), np.empty(0, np.uint8))
