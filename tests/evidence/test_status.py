"""What `status` says of a live move, from its log: never of slices that nobody named, nor of what is void."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from domicile.config.policy import Approvals
from domicile.evidence import predicates as p
from domicile.evidence.ledger import Ledger, Recorded
from domicile.run import Run
from domicile.status import Status, read_status
from tests.evidence.test_ledger import played
from tests.vectors import live
from tests.vectors import scenario as s


def status_of(ledger: Ledger, folder: Path) -> Status:
    """The status of a run that has this log, and of its stores nothing: `status` asks none."""

    def last(kind: type[p.Predicate], accept: object = None) -> Recorded | None:
        del accept
        return next((one for one in reversed([*ledger.statements()]) if isinstance(one.predicate, kind)), None)

    rule = Approvals(threshold=2, of=("operator", "monitor"))
    run = SimpleNamespace(
        ledger=ledger, last=last, given_up=False, record=SimpleNamespace(approvals=lambda _: {}),
        journal=SimpleNamespace(get=lambda *_: None), workspace=SimpleNamespace(plan=folder, folder=folder),
        config=SimpleNamespace(policy=SimpleNamespace(approvals=SimpleNamespace(erase=rule))),
    )  # fmt: skip
    return read_status(cast("Run", run))


@pytest.mark.parametrize(
    ("upto", "lines"),
    [
        ("plan", ["no slices are frozen yet; plan {plan}…"]),
        ("1 home", ["at home, by 1 cohort: 2 subjects", "no slices are frozen yet; plan {plan}…"]),
        ("3 home", ["at home, by 3 cohorts: 50 subjects", "no slices are frozen yet; plan {plan}…"]),
        ("first freeze", ["at home, by 3 cohorts: 50 subjects", "frozen: 119 private rows in 1 slices; plan {plan}…"]),
        ("1 source", ["at home, by 3 cohorts: 48 subjects", "no slices are frozen yet; plan {plan}…"]),
        ("freeze", ["at home, by 4 cohorts: 50 subjects", "frozen: 190 private rows in 3 slices; plan {plan}…"]),
    ],
)
def test_a_live_run_tells_who_is_at_home_and_what_is_frozen(tmp_path: Path, upto: str, lines: list[str]) -> None:
    status = status_of(played(tmp_path / "evidence", script=live.live(), upto=upto), tmp_path)
    assert [line.format(plan=s.PLAN[:16]) for line in lines] == list(status.lines)
    assert status.next == "domicile apply"


def test_p11_an_equality_that_is_void_is_not_told_and_one_that_stands_is(tmp_path: Path) -> None:
    first = status_of(played(tmp_path / "a", script=live.live(), upto="first equality"), tmp_path)
    assert any(line.endswith("all equal") for line in first.lines)
    again = status_of(played(tmp_path / "b", script=live.live(), upto="equality"), tmp_path)
    assert any(line.endswith("all equal") for line in again.lines)
    void = status_of(played(tmp_path / "c", script=live.live(), upto="4 home"), tmp_path)
    assert not any("equal" in line for line in void.lines)


def test_a_run_at_once_tells_what_it_told(tmp_path: Path) -> None:
    status = status_of(played(tmp_path / "evidence", upto="equality"), tmp_path)
    assert status.lines[:2] == (
        f"frozen: 190 private rows in 3 slices; plan {s.PLAN[:16]}…",
        "at home, and fenced since 2026-11-22 10:10 UTC: 50 subjects",
    )
