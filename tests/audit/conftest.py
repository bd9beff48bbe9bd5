"""Worlds of rows in which the spot check's tests look; whoever changes one puts it back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domicile.errors import Waiting
from domicile.run import Stage
from domicile.stores.postgres.server import EmbeddedServer
from tests.audit.moved_rows import RULES, Case, small_slices, world


@pytest.fixture(scope="package")
def compared(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Moved at once and compared, waiting for approvals; nothing is erased."""
    with world(pg18, tmp_path_factory.mktemp("compared"), "spot_compared", RULES) as case:
        with small_slices():
            case.programme.plan()
            with pytest.raises(Waiting):
                case.programme.apply()
        case.hand_over()
        case.open_tables()
        yield case


@pytest.fixture(scope="package")
def erased(pg18: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """The same, erased."""
    with world(pg18, tmp_path_factory.mktemp("erased"), "spot_erased", RULES) as case:
        with small_slices():
            case.programme.clear()
            case.programme.apply(until=Stage.ERASE, yes=True)
        case.hand_over()
        case.open_tables()
        yield case
