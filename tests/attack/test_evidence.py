"""What a person's values could come out through (P8)."""

from __future__ import annotations

import pytest

from domicile.errors import StoreFault
from tests.attack.conftest import Worlds
from tests.attack.test_second_thoughts import RULES, SCHEMA

FUSSY = """
CREATE FUNCTION fussy(address text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
    IF current_database() LIKE '%domicile_restore' THEN RAISE EXCEPTION 'bad address %', address; END IF;
    RETURN true; END $$;
ALTER TABLE person ADD CHECK (fussy(email));
"""


def test_p8_a_restore_that_fails_on_a_value_does_not_tell_it(world: Worlds) -> None:
    made = world(SCHEMA + FUSSY, RULES)
    with pytest.raises(StoreFault, match="restore for the proof failed") as fault:
        made.programme.clear()
    assert "example.org" not in str(fault.value)
    assert "P0001" in str(fault.value)
