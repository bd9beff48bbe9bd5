"""`domicile monitor`: the log of a real run followed from outside, and each alarm rung by what it is there for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from domicile.errors import EvidenceFault
from domicile.evidence.codec import decode, encode
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import ApprovalPredicate
from domicile.evidence.publiclog.monitor import Looked, State, look
from domicile.evidence.publiclog.place import Folder, Web, read_checkpoint
from domicile.evidence.publiclog.serve import application
from domicile.evidence.statement import Sealed, read_unverified, seal
from domicile.evidence.tlog.cosignature import cosign, cosigner_of
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.note import parse_note
from domicile.evidence.tlog.policy import Policy, parse_policy
from tests.cosigning.town import KEYS, listening
from tests.vectors import bad_bytes
from tests.vectors import scenario as s

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TRUST = f"log {s.ENGINE.verifier.vkey}\n"
ALONE = parse_policy(f"{TRUST}quorum none\n".encode())
WITNESSES = "".join(f"witness {name} {cosigner_of(key).vkey}\n" for name, key in KEYS.items())
TWO = parse_policy(f"{TRUST}{WITNESSES}group g 2 w1 w2 w3\nquorum g\n".encode())


def played(folder: Path, script: s.Script | None = None, *, upto: int | None = None) -> Ledger:
    """The good run, recorded as a run records it."""
    ledger = Ledger.open(folder, s.ENGINE)
    for sealed in list((script or s.good()).play().values())[ledger.size : upto]:
        predicate = read_unverified(sealed)
        if isinstance(predicate, ApprovalPredicate):
            ledger.admit(sealed.envelope)
        else:
            ledger.record(predicate)
    return ledger


def seen(folder: Path, state: State | None = None, policy: Policy = ALONE, **against: bytes) -> Looked:
    return look(Folder(folder / "log"), policy, state, against=against, now=NOW)


def kinds(looked: Looked) -> list[str]:
    return [alarm.kind for alarm in looked.alarms]


def kept(looked: Looked) -> State:
    """What a monitor would read back from its file."""
    assert looked.state is not None, looked.alarms
    return decode(encode(looked.state), State)


def logged(folder: Path, entries: list[bytes]) -> None:
    """A log that the engine's key signs over anything."""
    log = Log.open(folder / "log", s.ENGINE) if Log.exists(folder / "log") else Log.create(folder / "log", s.ENGINE)
    log.append(entries)


def test_a_run_is_followed_from_its_plan_to_its_certificate(tmp_path: Path) -> None:
    script = bad_bytes.large()  # one predicate lies outside of its entry
    looks: list[Looked] = []
    for upto in (1, 5, 5, None):
        played(tmp_path, script, upto=upto)
        looks.append(seen(tmp_path, kept(looks[-1]) if looks else None))
        assert [] == kinds(looks[-1])
        assert looks[-1].new == sum(looks[-1].kinds.values())
    assert [1, 4, 0, len(script.lines) - 5] == [looked.new for looked in looks]
    assert looks[-1].size == len(script.lines)
    assert looks[-1].kinds["certificate/v1"] == 1


def test_the_same_over_http(tmp_path: Path) -> None:
    ledger = played(tmp_path, bad_bytes.large())
    with listening(application(tmp_path / "log")) as url:
        looked = look(Web(url), ALONE, None, against={}, now=NOW)
    assert (ledger.size, []) == (looked.new, kinds(looked))


def test_a_rolled_back_log_is_an_alarm(tmp_path: Path) -> None:
    played(tmp_path, upto=5)
    shutil.copytree(tmp_path, tmp_path / "old")
    played(tmp_path, upto=7)
    state = kept(seen(tmp_path))
    looked = seen(tmp_path / "old", state)
    assert (["rollback"], None) == (kinds(looked), looked.state)
    assert "7 entries were seen here, now there are 5" in looked.alarms[0].text


def test_a_forked_log_is_an_alarm_and_goes_on_being_one(tmp_path: Path) -> None:
    played(tmp_path, upto=5)
    state = kept(seen(tmp_path))
    for size in (5, 9, None):
        fork = tmp_path / f"fork{size}"
        played(fork, s.good().set("plan", programme="another"), upto=size)
        looked = seen(fork, state)
        assert (["fork"], None) == (kinds(looked), looked.state), size


def test_broken_files_are_damage_and_no_fork(tmp_path: Path) -> None:
    played(tmp_path, upto=5)
    state = kept(seen(tmp_path))
    played(tmp_path)
    (bundle,) = (tmp_path / "log/tile/entries/000.p").glob("18")
    whole = bundle.read_bytes()
    bundle.write_bytes(whole.replace(b'"keyid"', b'"keyId"'))
    assert {"damaged", "statement"} == set(kinds(seen(tmp_path, state)))
    bundle.write_bytes(whole[:-1])
    assert ["damaged"] == kinds(seen(tmp_path, state))
    bundle.unlink()
    assert ["damaged"] == kinds(seen(tmp_path, state))
    bundle.write_bytes(whole)
    assert [] == kinds(seen(tmp_path, state))
    for path in (tmp_path / "log/checkpoint", tmp_path / "log/none"):
        path.write_bytes(b"x")
        with pytest.raises(EvidenceFault):
            seen(tmp_path, state)


def test_a_split_view_is_an_alarm_whoever_is_behind(tmp_path: Path) -> None:
    """Two people are shown two logs of one name, both signed by its key."""
    for name, script in (("a", s.good()), ("b", s.good().set("plan", programme="another"))):
        for upto in (3, 8):
            played(tmp_path / name / str(upto), script, upto=upto)
    heads = {
        (name, upto): read_checkpoint(Folder(tmp_path / name / str(upto) / "log")) for name in "ab" for upto in (3, 8)
    }
    state = kept(seen(tmp_path / "a/3"))
    for before in (None, state, kept(seen(tmp_path / "a/8"))):
        here = tmp_path / "a/8"
        assert [] == kinds(seen(here, before, other=heads["a", 3], same=heads["a", 8]))
        assert ["split"] == kinds(seen(here, before, other=heads["b", 8]))
        assert ["split"] == kinds(seen(here, before, other=heads["b", 3], same=heads["a", 3]))
    assert ["behind"] == kinds(seen(tmp_path / "a/3", None, other=heads["b", 8]))
    assert ["behind"] == kinds(seen(tmp_path / "a/3", None, other=heads["a", 8]))


def test_a_checkpoint_of_another_log_says_nothing_about_this_one(tmp_path: Path) -> None:
    played(tmp_path, upto=3)
    other = Log.create(tmp_path / "other", s.STRANGER)
    for data in (other.checkpoint_bytes, b"no checkpoint\n"):
        with pytest.raises(EvidenceFault):
            seen(tmp_path, None, other=data)
    state = kept(seen(tmp_path))
    with pytest.raises(EvidenceFault, match="another key"):
        seen(tmp_path, replace(state, vkey=s.STRANGER.verifier.vkey))


BAD: dict[str, tuple[int, Callable[[], Sealed]]] = {  # the check at which the checker refuses it, too
    "by a stranger": (8, lambda: seal(s.sweep(), s.STRANGER)),
    "no envelope": (8, lambda: Sealed(envelope=b"hello", detached=None)),
    "of no known type": (9, lambda: s.raw({"_type": "x"})),
    "of another plan": (10, lambda: seal(replace(s.sweep(), plan="0" * 64), s.ENGINE)),
    "a second plan": (10, lambda: seal(s.plan(), s.ENGINE)),
    "a predicate that is not there": (9, lambda: bad_bytes.large().play()["certificate"]),
    "an approval by nobody of the plan": (8, lambda: seal(_approval("stranger"), s.STRANGER)),
    "an approval in another's name": (8, lambda: seal(_approval("monitor"), s.STRANGER)),
    "an approval by the engine": (9, lambda: seal(_approval("monitor"), s.ENGINE)),
}


def _approval(name: str) -> ApprovalPredicate:
    play = s.good().play()
    made = next(
        read_unverified(sealed) for sealed in play.values() if isinstance(read_unverified(sealed), ApprovalPredicate)
    )
    assert isinstance(made, ApprovalPredicate)
    return replace(made, approver=name)


@pytest.mark.parametrize("name", BAD)
def test_an_entry_that_is_no_statement_is_an_alarm_and_goes_on_being_one(tmp_path: Path, name: str) -> None:
    """The log's own key signed it, witnesses cosigned it: what it says is the monitor's to read."""
    played(tmp_path, upto=3)
    state = kept(seen(tmp_path))
    check, make = BAD[name]
    logged(tmp_path, [make().envelope])
    for _ in range(2):
        looked = seen(tmp_path, state)
        assert (["statement", "story"], None) == (kinds(looked), looked.state)
        assert "entry 3: " in looked.alarms[0].text
        assert check == looked.alarms[1].check
    logged(tmp_path, [seal(s.cutover(), s.ENGINE).envelope])
    assert ["statement", "story"] == kinds(seen(tmp_path, state))


def test_a_log_that_does_not_begin_with_its_plan_is_an_alarm(tmp_path: Path) -> None:
    logged(tmp_path, [seal(s.cutover(), s.ENGINE).envelope, seal(s.plan(), s.ENGINE).envelope])
    assert ["statement", "statement", "story"] == kinds(seen(tmp_path))


# ----------------------------------------------------------------------------------------- witnesses and age
def cosigned_at(folder: Path, **when: datetime) -> None:
    log = Ledger.open(folder, s.ENGINE, cosigned=True).log
    text = parse_note(log.head_bytes).text
    log.publish([cosign(text, KEYS[name], time=int(at.timestamp())) for name, at in when.items()])


def test_a_head_without_its_quorum_is_an_alarm(tmp_path: Path) -> None:
    played(tmp_path, upto=3)
    cosigned_at(tmp_path, w1=NOW)
    looked = seen(tmp_path, None, TWO)
    assert (["quorum"], None) == (kinds(looked), looked.state)
    cosigned_at(tmp_path, w1=NOW, w3=NOW)
    looked = seen(tmp_path, None, TWO)
    assert ([], {"w1": NOW, "w3": NOW}) == (kinds(looked), looked.cosigned_at)


def aged(folder: Path, state: State | None, policy: Policy, hours: float, *, now: datetime = NOW) -> Looked:
    return look(Folder(folder / "log"), policy, state, against={}, now=now, older_than=timedelta(hours=hours))


def test_a_head_is_as_old_as_the_latest_quorum_of_cosignatures(tmp_path: Path) -> None:
    played(tmp_path, upto=3)
    ago = {hours: NOW - timedelta(hours=hours) for hours in (1, 5, 9)}
    cosigned_at(tmp_path, w1=ago[1], w2=ago[5], w3=ago[9])
    assert [[], ["old"]] == [kinds(aged(tmp_path, None, TWO, hours)) for hours in (5.1, 4.9)]
    cosigned_at(tmp_path, w1=NOW + timedelta(hours=1), w2=NOW + timedelta(hours=1))
    assert ["old"] == kinds(aged(tmp_path, None, TWO, 24))
    assert "after now" in aged(tmp_path, None, TWO, 24).alarms[0].text


def test_without_witnesses_a_head_is_as_old_as_what_was_last_added(tmp_path: Path) -> None:
    played(tmp_path, upto=3)
    state = kept(aged(tmp_path, None, ALONE, 2))
    later = NOW + timedelta(hours=3)
    assert ["old"] == kinds(aged(tmp_path, state, ALONE, 2, now=later))
    assert [] == kinds(aged(tmp_path, state, ALONE, 4, now=later))
    played(tmp_path, upto=4)
    assert [] == kinds(aged(tmp_path, state, ALONE, 2, now=later))
