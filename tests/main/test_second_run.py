"""P5 and P7: a finished plan does nothing again; each stop goes on where it was, in the same log."""

from __future__ import annotations

import hashlib

from tests.main.conftest import Begin, Moves
from tests.main.programme import Programme, ask, value
from tests.main.questions import rows


def log_bytes(programme: Programme) -> dict[str, str]:
    files = (path for path in (programme.made / "evidence").rglob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def content(dsn: str) -> dict[str, int]:
    return {name: hash(frozenset(ask(dsn, f"SELECT t::text FROM {name} AS t"))) for name in rows(dsn)}


def test_p5_a_second_run_of_a_finished_plan_does_nothing(moved: Moves) -> None:
    result = moved("northwind", "Canada")
    finished = result.programme
    log, bundle = log_bytes(finished), (finished.made / "bundle.zip").read_bytes()
    sides = content(result.source), content(result.home)
    for words in (["apply"], ["apply", "--yes"], ["certify"], ["sweep"]):
        assert "nothing to do" in finished.cli(*words).err
    assert log == log_bytes(finished)
    assert bundle == (finished.made / "bundle.zip").read_bytes()
    assert sides == (content(result.source), content(result.home))
    assert "finished" in finished.cli("plan", code=1).text
    assert "can only be finished" in finished.cli("abandon", "--yes", code=1).text


def test_p5_apply_again_adds_nothing_while_it_waits(waiting: Programme) -> None:
    kinds = waiting.statements()
    waiting.cli("apply", code=14)
    waiting.cli("apply", code=14)
    assert kinds == waiting.statements()


def test_p5_stage_by_stage_is_the_same_as_at_once(waiting: Programme) -> None:
    waiting.approve()
    waiting.cli("apply", "--until", "clear")
    assert 59 == value(waiting.source, "SELECT count(*) FROM customer")
    waiting.cli("erase", "--yes")
    assert 51 == value(waiting.source, "SELECT count(*) FROM customer")
    waiting.cli("sweep")
    waiting.cli("certify")
    assert "ACCEPTED" in waiting.audit().out


def test_p7_intent_stands_before_each_erasure_and_the_outcome_after_it(moved: Moves) -> None:
    kinds = moved("chinook", "Canada").programme.statements()
    short = [kind.rsplit("/", 2)[-2] for kind in kinds]
    assert "plan" == short[0]
    assert "certificate" == short[-1]
    assert 2 * 3 == short.count("erasure")  # three datasets, each announced and then told
    assert 2 == short.count("approval")
    assert max(i for i, kind in enumerate(short) if kind == "approval") < short.index("clearance")
    assert short.index("clearance") < short.index("erasure")


def test_p7_the_whole_flow_in_processes_of_its_own(programme: Begin) -> None:
    """The same by the real program, each command a process: nothing lives in memory between them."""
    begun = programme("northwind", {"DE": "de"}, major=17)
    begun.process("plan")
    begun.process("apply", code=14)
    begun.process("approve", "--key", "operator.key")
    begun.process("approve", "--key", "monitor.key")
    begun.process("apply", "--yes")
    assert 11 == value(begun.homes["de"], "SELECT count(*) FROM customers")
    assert 80 == value(begun.source, "SELECT count(*) FROM customers")
    assert "ACCEPTED" in begun.audit().out
