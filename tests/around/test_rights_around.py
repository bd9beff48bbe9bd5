"""What a role that may not begin a WAL segment can say of an archive: nothing better than is true."""

from __future__ import annotations

import pytest

from domicile.errors import Waiting
from tests.around.conftest import MOVER, Surround, Surrounded, holding
from tests.attack.least import least

SWITCH = "EXECUTE ON FUNCTION pg_switch_wal()"


@pytest.mark.parametrize("granted", ["at first", "when it is waited for", "when all is certified as it is"])
def test_p11_an_archive_is_held_while_old_wal_is_still_to_come(surrounded: Surround, granted: str) -> None:
    """The rows leave in the segment that the server writes, and it archives that one when all else is done."""
    made = surrounded(dumps=None)
    with least(made.world, "person", "note") as role:
        made.archiving.settle()
        if granted == "at first":
            made.world.at_source(f"GRANT {SWITCH} TO {role}")
        made.world.programme.clear()
        if granted != "at first":
            _refused(made, certified=granted == "when all is certified as it is")
            made.world.at_source(f"GRANT {SWITCH} TO {role}")
        made.world.programme.apply(yes=True)
        assert "erased-verified" == made.told()["wal/archived-wal"]
        made.archiving.settle()
        assert [] == holding(made.archiving.folder, MOVER)


def _refused(made: Surrounded, *, certified: bool) -> None:
    with pytest.raises(Waiting, match=r"wal/archived-wal: segment [0-9A-F]{24} isn't begun: .*GRANT .* pg_switch_wal"):
        made.world.programme.apply(yes=True)
    assert [] == holding(made.archiving.folder, MOVER)
    if certified:
        assert 0 == made.world.programme.command("certify").returncode
        assert "present" == made.told()["wal/archived-wal"]
        made.archiving.settle()
        assert holding(made.archiving.folder, MOVER)  # so it was
