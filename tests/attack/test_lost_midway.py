"""A key that is called lost while rows go: whose word still counts, and of what is told that it goes (P2, P7)."""

from __future__ import annotations

from typing import Final

import pytest

from domicile.errors import Waiting
from domicile.evidence.predicates import (
    ClearancePredicate,
    ErasurePredicate,
    Phase,
    ReceiptsPredicate,
)
from domicile.run import stating
from tests.attack.conftest import World, Worlds
from tests.attack.programme import PERSON, Programme, allow_one, call_lost

SCHEMA: Final = """
CREATE TABLE person (id int PRIMARY KEY, market text, email text);
INSERT INTO person
    SELECT i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, 'person' || i || '@example.test'
    FROM generate_series(1, 20) AS i;
CREATE TABLE visit (id int PRIMARY KEY, person_id int NOT NULL REFERENCES person, page text);
INSERT INTO visit SELECT i, 1 + i % 20, 'page ' || i % 7 FROM generate_series(1, 200) AS i;
CREATE TABLE totals (person_id int PRIMARY KEY REFERENCES person ON DELETE CASCADE, visits bigint);
INSERT INTO totals SELECT person_id, count(*) FROM visit GROUP BY person_id;
"""
RULES: Final = (
    PERSON + "datasets:\n  app.public.person: {rows: move}\n  app.public.visit: {rows: move, path: person_id}\n"
    "  app.public.totals: {rows: derived, of: [app.public.visit, app.public.person]}\n"
)
TOTALS: Final = "app/derived-table:public.totals"


class Killed(BaseException):
    """The end of a process."""


def _cleared(world: Worlds, *approvers: str) -> World:
    """A move that one approval clears, and that waits for nothing any more."""
    made = world(SCHEMA, RULES)
    allow_one(made.programme)
    made.programme.plan()
    with pytest.raises(Waiting):
        made.programme.apply()
    for name in approvers:
        _approve(made.programme, name)
    return made


def _approve(programme: Programme, name: str) -> None:
    said = programme.command("approve", "--key", f"{name}.key", "--role", name)
    assert 0 == said.returncode, said.stderr


def _cut_off(made: World, patch: pytest.MonkeyPatch, *, groups: int, at: str = "erasure_intent") -> None:
    """End the run as the next group is to be announced, or told, after so many."""
    announce, calls = getattr(stating, at), []

    def end(*given: object, **named: object) -> object:
        calls.append(given)
        if len(calls) > groups:
            raise Killed
        return announce(*given, **named)

    with patch.context() as patched:
        patched.setattr(stating, at, end)
        with pytest.raises(Killed):
            made.programme.apply(yes=True)


def _log(programme: Programme) -> tuple[list[str], list[ErasurePredicate]]:
    """The clearances, by their digests, and what is said of erasures."""
    with programme.opened() as run:
        all_ = tuple(run.ledger.statements())
    clearances = [one.sha256 for one in all_ if isinstance(one.predicate, ClearancePredicate)]
    return clearances, [one.predicate for one in all_ if isinstance(one.predicate, ErasurePredicate)]


def _phases(said: list[ErasurePredicate], clearance: str) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (one.dataset.removeprefix("app.public."), one.phase.value, one.emptied)
        for one in said
        if one.clearance == clearance
    ]


VISIT: Final = [("visit", "intent", (TOTALS,)), ("visit", "outcome", (TOTALS,))]
PERSONS: Final = [("person", "intent", ()), ("person", "outcome", ())]


def test_p2_p7_cut_off_midway_a_clearance_stands_as_long_as_enough_of_its_approvals_do(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _cleared(world, "operator", "monitor")
    _cut_off(made, monkeypatch, groups=1)
    assert [Phase.INTENT, Phase.OUTCOME] == [one.phase for one in _log(made.programme)[1]]
    call_lost(made.programme, "monitor")
    said = made.programme.command("apply", "--yes")
    assert 0 == said.returncode, said.stderr
    assert "refuses the bundle" not in said.stdout + said.stderr
    (clearance,), erasures = _log(made.programme)
    assert VISIT + PERSONS == _phases(erasures, clearance)
    assert [(10,)] == made.at_source("SELECT count(*) FROM person")
    audited = made.programme.audit()
    assert 0 == audited.returncode, audited.stdout


def test_p2_too_few_are_left_before_anything_is_announced_so_another_clearance_is_stated_and_accepted(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receipts were stated by then, and rest on the first one, as the other one rests on the restore of the first."""
    made = _cleared(world, "monitor")
    _cut_off(made, monkeypatch, groups=0)
    with made.programme.opened() as run:
        assert run.last(ReceiptsPredicate) is not None
    call_lost(made.programme, "monitor")
    with pytest.raises(Waiting, match="1 more of 2 approvals"):
        made.programme.apply(yes=True)
    _approve(made.programme, "operator")
    _cut_off(made, monkeypatch, groups=0, at="erasure_outcome")  # announced and gone, and not told yet
    made.programme.apply(yes=True)
    (_, clearance), erasures = _log(made.programme)
    assert VISIT + PERSONS == _phases(erasures, clearance)
    assert len(erasures) == len(VISIT + PERSONS)
    audited = made.programme.audit()
    assert 0 == audited.returncode, audited.stdout


def test_p2_p7_too_few_are_left_midway_so_what_is_gone_is_not_announced_anew_and_the_loss_is_told(
    world: Worlds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That something went on a thief's approval alone stays true, and is what the checker says; nothing else is."""
    made = _cleared(world, "monitor")
    _cut_off(made, monkeypatch, groups=1)
    call_lost(made.programme, "monitor")
    waits = made.programme.command("apply", "--yes")
    assert 14 == waits.returncode
    assert [(10,)] != made.at_source("SELECT count(*) FROM person")
    _approve(made.programme, "operator")
    for said in (waits, made.programme.command("apply", "--yes")):
        assert "refuses the bundle of this run for good" in " ".join((said.stdout + said.stderr).split())
    (before, clearance), erasures = _log(made.programme)
    assert VISIT == _phases(erasures, before)
    assert PERSONS == _phases(erasures, clearance)
    assert [(10,)] == made.at_source("SELECT count(*) FROM person")
    audited = made.programme.audit()
    assert 1 == audited.returncode
    assert "REFUSED at check 24" in audited.stdout
    assert "without what a lost key signed, has 0 approvals" in audited.stdout
