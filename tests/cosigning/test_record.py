"""P7 with witnesses: what is stated is published before `state` returns, and a kill between the steps loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from domicile.errors import EvidenceFault, NoQuorum
from domicile.events import Event, Noted
from domicile.evidence.cosigning.asking import Witnesses
from domicile.evidence.ledger import Ledger
from domicile.evidence.tlog.log import Log
from domicile.host import Host
from domicile.record import Record
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace
from tests.cosigning.town import LOG, asked, witness
from tests.vectors import scenario as s

NOWHERE = "http://127.0.0.1:1"


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it happens."""


@contextmanager
def recording(folder: Path, witnesses: Witnesses | None, heard: list[Event] | None = None) -> Iterator[Record]:
    """The record of a programme, as a run opens it."""
    workspace = Workspace(folder / "domicile.yaml")
    with workspace.locked():
        journal = Journal(workspace.journal)
        try:
            yield Record(
                workspace, LOG, journal, host=Host(), listener=(heard if heard is not None else []).append,
                witnesses=witnesses,
            )  # fmt: skip
        finally:
            journal.close()


def published(folder: Path) -> int:
    """How many statements anybody else can see."""
    return Ledger.open(Workspace(folder / "domicile.yaml").evidence, LOG.verifier).size


def test_p7_what_is_stated_is_published_when_state_returns(tmp_path: Path) -> None:
    with witness("w1", tmp_path) as one, recording(tmp_path, asked({"w1": one}, "1")) as record:
        for number, predicate in enumerate((s.plan(), s.cutover(), s.equality(fenced=True)), start=1):
            assert number - 1 == record.state(predicate).index
            assert number == published(tmp_path)
        assert 1 == record.state(s.cutover()).index
        assert 3 == record.ledger.size


def test_p7_without_a_quorum_state_does_not_return_and_keeps_what_was_stated(tmp_path: Path) -> None:
    with witness("w1", tmp_path) as one, recording(tmp_path, asked({"w1": one}, "1")) as record:
        record.state(s.plan())
    with recording(tmp_path, asked({"w1": NOWHERE}, "1")) as record:
        for _ in range(2):  # the second time it is in the log already, and still not published
            with pytest.raises(NoQuorum):
                record.state(s.cutover())
        assert (2, 1) == (record.ledger.size, published(tmp_path))
    with witness("w1", tmp_path) as one, recording(tmp_path, asked({"w1": one}, "1")) as record:
        assert 1 == record.state(s.cutover()).index
        assert (2, 2) == (record.ledger.size, published(tmp_path))


def test_what_can_be_taken_back_waits_for_nobody(tmp_path: Path) -> None:
    heard: list[Event] = []
    with witness("w1", tmp_path) as one, recording(tmp_path, asked({"w1": one}, "1")) as record:
        record.state(s.plan())
    with recording(tmp_path, asked({"w1": NOWHERE}, "1", wait_s_max=600), heard) as record:
        record.tell_all([s.cutover()])
        assert [0.0] == [record.witnesses.host.monotonic_s() if record.witnesses else 1.0]
        assert any(isinstance(event, Noted) and "not published yet" in event.text for event in heard)
        assert (2, 1) == (record.ledger.size, published(tmp_path))


def _killed(*_: object, **__: object) -> None:
    raise Killed


def _after(effect: Callable[..., object]) -> Callable[..., object]:
    def killed(*args: object, **kwargs: object) -> None:
        effect(*args, **kwargs)
        raise Killed

    return killed


PLACES = {
    "before the append": ("domicile.evidence.tlog.log.Log.append", None),
    "after the append": ("domicile.evidence.tlog.log.Log.append", Log.append),
    "after the journal": ("domicile.evidence.cosigning.asking.Witnesses.cosign", None),
    "after the cosignatures": ("domicile.evidence.cosigning.asking.Witnesses.cosign", Witnesses.cosign),
    "before it is published": ("domicile.evidence.tlog.log.Log.publish", None),
    "after it is published": ("domicile.evidence.tlog.log.Log.publish", Log.publish),
}


@pytest.mark.crash
@pytest.mark.parametrize("place", PLACES)
def test_p5_p7_killed_between_the_steps_the_next_run_ends_the_same(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, effect = PLACES[place]
    with witness("w1", tmp_path) as one, witness("w2", tmp_path) as two:
        urls = {"w1": one, "w2": two}
        with recording(tmp_path, asked(urls, "all")) as record:
            record.state(s.plan())
        with monkeypatch.context() as patch, recording(tmp_path, asked(urls, "all")) as record:
            patch.setattr(name, _killed if effect is None else _after(effect))
            with pytest.raises(Killed):
                record.state(s.cutover())
        with recording(tmp_path, asked(urls, "all")) as record:
            record.publish()
            assert record.ledger.size == published(tmp_path) == (1 if place == "before the append" else 2)
            record.state(s.equality(fenced=True))
            assert record.ledger.size == published(tmp_path)
            record.publish()
        with recording(tmp_path, None) as record:
            assert record.ledger.log.is_published


def test_a_folder_that_was_put_back_is_refused_by_the_journal_before_a_witness_is_asked(tmp_path: Path) -> None:
    with witness("w1", tmp_path) as one, recording(tmp_path, asked({"w1": one}, "1")) as record:
        record.state(s.plan())
    with pytest.raises(NoQuorum), recording(tmp_path, asked({"w1": NOWHERE}, "1")) as record:
        record.state(s.cutover())
    Workspace(tmp_path / "domicile.yaml").evidence.joinpath("log.pending").unlink()
    with pytest.raises(EvidenceFault, match="the journal knows 2"), recording(tmp_path, asked({"w1": NOWHERE}, "1")):
        pass


def test_a_fresh_date_is_asked_for_by_hand(tmp_path: Path) -> None:
    with witness("w1", tmp_path) as one, recording(tmp_path, asked({"w1": one}, "1")) as record:
        record.publish(anew=True)
        record.state(s.plan())
        checkpoint = record.ledger.log.checkpoint_bytes
    with witness("w2", tmp_path) as two, recording(tmp_path, asked({"w2": two}, "1")) as record:
        record.publish()
        assert checkpoint == record.ledger.log.checkpoint_bytes
        record.publish(anew=True)
        assert b"w2.example" in record.ledger.log.checkpoint_bytes


def test_without_witnesses_nothing_of_it_is_there(tmp_path: Path) -> None:
    with recording(tmp_path, None) as record:
        record.state(s.plan())
        record.tell_all([s.cutover()])
        record.publish(anew=True)
        assert 2 == published(tmp_path)
    evidence = Workspace(tmp_path / "domicile.yaml").evidence
    assert ["log"] == [path.name for path in evidence.iterdir()]
    assert b"\xe2\x80\x94 " in (head := (evidence / "log/checkpoint").read_bytes())
    assert 1 == head.count(b"\xe2\x80\x94 ")
