"""A run whose key is gone and that still found something goes on, to a certificate that the auditor's checker takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from domicile.run import Stage
from tests.attack.conftest import run
from tests.keys.benches import Files
from tests.keys.test_destroying import COPY, Lock, Locked, lock

__all__ = ["lock"]


@pytest.fixture
def named(lock: Lock, files: Files) -> tuple[Locked, Path]:
    """An old encrypted dump that bears an address in its name: its key is gone, and a search found the name."""
    made = lock(files)
    old, stays = files.make("backups-us"), files.make("backups-us")
    path = made.dump("person-2@example.org.dump.cms", old)
    made.world.programme.clear()
    made.world.programme.apply(until=Stage.ERASE, yes=True)
    made.dump("after.dump.cms", stays)
    made.world.programme.apply(yes=True)
    assert "present" == made.told()[COPY][0]
    assert 0 == made.world.programme.audit().returncode
    return made, path


def test_p11_a_name_that_was_found_after_the_key_was_gone_leaves_the_copy_unknown(named: tuple[Locked, Path]) -> None:
    made, path = named
    path.rename(path.with_name("nightly.dump.cms"))
    made.world.programme.apply(yes=True)
    assert "unknown" == made.told()[COPY][0]
    assert "found something in it since that was announced" in made.told()[COPY][1]
    assert 0 == made.world.programme.audit().returncode


def test_p10_where_nothing_is_left_to_search_for_what_was_found_stands(named: tuple[Locked, Path]) -> None:
    """Everybody closes their account at home: a search for nothing takes nothing back, and stops nobody."""
    made, path = named
    path.rename(path.with_name("nightly.dump.cms"))
    run(made.world.home, "DELETE FROM note; DELETE FROM person")
    made.world.programme.apply(yes=True)
    assert "present" == made.told()[COPY][0]
    assert 0 == made.world.programme.audit().returncode
