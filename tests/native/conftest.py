"""The loops of these tests are compiled before the first of them."""

from __future__ import annotations

import pytest

from tests.translated import translate_loops


@pytest.fixture(scope="package", autouse=True)
def _translated() -> None:
    translate_loops()
