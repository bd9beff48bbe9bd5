"""Evidence that tells too much of a person (P8), or too little of what is left (P3, P11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from domicile import sweep
from domicile.errors import StoreFault
from domicile.events import Advanced, Event
from domicile.evidence.predicates import CertificatePredicate, SweepPredicate
from domicile.horizon import Horizon, Treated
from domicile.host import Host
from domicile.proof import Verdict
from domicile.record import Record
from tests.attack.conftest import World, Worlds
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


LOOSE = """
CREATE TABLE visit (person_id int, page text, at timestamptz DEFAULT now());
INSERT INTO visit SELECT 1 + i % 20, md5(i::text) FROM generate_series(1, 40) AS i;
"""
LOOSE_RULES = """  app.public.visit:
    rows: move
    path: [{via: person_id, to: app.public.person}]
    unenforced: follow
"""


def _last(made: World, kind: type[CertificatePredicate | SweepPredicate]) -> CertificatePredicate | SweepPredicate:
    with made.programme.opened() as run:
        stated = run.last(kind)
    assert stated
    assert isinstance(stated.predicate, kind)
    return stated.predicate


def _of_rows(certificate: CertificatePredicate) -> set[Verdict]:
    return {copy.verdict for copy in certificate.copies if "/live-rows:" in copy.id}


def test_p11_what_is_not_looked_for_is_said_and_tables_without_key_are_looked_for(world: Worlds) -> None:
    made = world(SCHEMA + LOOSE, RULES + LOOSE_RULES)
    made.programme.finish()
    sweep, certificate = _last(made, SweepPredicate), _last(made, CertificatePredicate)
    assert isinstance(sweep, SweepPredicate)
    assert isinstance(certificate, CertificatePredicate)
    assert sweep.tokens.searched >= 10 + 10 + 20  # e-mails, bodies that no stayer wrote, pages in a table without key
    (said,) = (line for line in certificate.not_proven if "not looked for, as" in line)
    for column in ("public.person.id", "public.visit.person_id", "public.visit.at"):
        assert column in said
    assert "public.person.email" not in said
    assert {Verdict.ERASED_VERIFIED} == _of_rows(certificate)


def test_p3_a_row_that_came_while_others_were_erased_is_present(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a superuser who switched the guard off and on again, when that table was done."""
    made = world(SCHEMA + LOOSE, RULES + LOOSE_RULES)
    made.programme.clear()
    heard = Record.listener

    def and_write(record: Record, event: Event) -> None:
        if isinstance(event, Advanced) and event.stage == "erase" and event.text == "app.public.person":
            made.at_source(
                "ALTER TABLE visit DISABLE TRIGGER USER; INSERT INTO visit VALUES (2, 'came late');"
                "ALTER TABLE visit ENABLE ALWAYS TRIGGER zzzz_domicile_guard;"
                "ALTER TABLE visit ENABLE ALWAYS TRIGGER zzzz_domicile_guard_after;"
                "ALTER TABLE visit ENABLE ALWAYS TRIGGER zzzz_domicile_guard_truncate"
            )
        heard(record, event)

    monkeypatch.setattr(Record, "listener", and_write)
    made.programme.apply(yes=True)
    certificate = _last(made, CertificatePredicate)
    assert isinstance(certificate, CertificatePredicate)
    assert Verdict.PRESENT is certificate.verdict
    assert {Verdict.PRESENT} == _of_rows(certificate)
    said = made.programme.audit()
    assert 0 == said.returncode, said.stdout
    assert "NOT EVERYTHING IS PROVEN ERASED" in said.stdout


def test_p9_a_clock_that_is_set_back_spoils_no_evidence(world: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is erased is erased; a bundle that no auditor accepts any more could not be mended."""
    minutes = count()
    start = datetime(2026, 11, 22, 12, tzinfo=UTC)
    monkeypatch.setattr(Host, "now", lambda _: start - timedelta(minutes=next(minutes)))
    made = world(SCHEMA, RULES)
    made.programme.finish()
    said = made.programme.audit()
    assert 0 == said.returncode, said.stdout


def _no_note_is_residue(made: World) -> None:
    certificate = _last(made, CertificatePredicate)
    assert isinstance(certificate, CertificatePredicate)
    assert {Verdict.ERASED_VERIFIED} == _of_rows(certificate)
    named = ("app/encrypted-files", "app/heap:public.note")
    assert {Verdict.ERASED_VERIFIED} == {copy.verdict for copy in certificate.copies if copy.id in named}


def test_p11_what_somebody_who_stays_writes_meanwhile_is_no_residue(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stayer writes the same words as a mover did, after the values were read and before the files are searched."""
    made = world(SCHEMA, RULES)
    words = "words that a mover wrote first"
    made.at_source(f"INSERT INTO note (person_id, body) VALUES (2, '{words}')")
    made.programme.clear()
    search = sweep.sweep_server

    def and_write(*given: object, **named: object) -> object:
        made.at_source(f"INSERT INTO note (person_id, body) VALUES (1, '{words}')")
        return search(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep, "sweep_server", and_write)
    made.programme.apply(yes=True)
    _no_note_is_residue(made)


def test_p11_what_somebody_who_stays_bore_and_changed_meanwhile_is_no_residue(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stayer's row said what a mover wrote, and was changed after the treatment: its dead version says it still."""
    made = world(SCHEMA, RULES)
    words = "words that a mover wrote first"
    made.at_source(f"INSERT INTO note (person_id, body) VALUES (2, '{words}'), (1, '{words}')")
    made.programme.clear()
    treat = Horizon.treat

    def and_change(*given: Any, **named: Any) -> Treated:
        treated = treat(*given, **named)
        made.at_source(f"UPDATE note SET body = 'other' WHERE body = '{words}'")
        return treated

    monkeypatch.setattr(Horizon, "treat", and_change)
    made.programme.apply(yes=True)
    _no_note_is_residue(made)
