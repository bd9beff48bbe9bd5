"""`domicile monitor` over changes of keys: it goes on by the log's own word, and by nobody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domicile.cli import program
from domicile.errors import EvidenceFault
from domicile.evidence import predicates as p
from domicile.evidence.codec import decode, encode
from domicile.evidence.keys import Signer, Verifier
from domicile.evidence.publiclog.holders import Before
from domicile.evidence.publiclog.monitor import Looked, State, look
from domicile.evidence.publiclog.place import Folder
from domicile.evidence.tlog.checkpoint import Checkpoint, sign_checkpoint
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import Tree, hash_leaf
from domicile.evidence.tlog.policy import Policy, parse_policy
from domicile.evidence.tlog.tile import encode_entries
from tests.vectors import receipts, rotations, successions, untrusted
from tests.vectors import scenario as s
from tests.vectors.successions import FIRST, SECOND, THIEF, THIRD

NOW = datetime(2026, 12, 1, tzinfo=UTC)
STORIES: dict[str, tuple[Callable[[], s.Script], list[Signer]]] = {
    "twice": (successions.twice, [FIRST, SECOND, THIRD]),
    "lost": (successions.lost, [FIRST, SECOND]),
    "approver and log": (rotations.rotated, [FIRST, SECOND]),
    "approver stolen": (rotations.stolen, [FIRST]),
}


def entries_of(script: s.Script) -> list[bytes]:
    return [sealed.envelope for sealed in script.play().values()]


def trusting(*logs: Signer | Verifier) -> Policy:
    keys = [log.verifier if isinstance(log, Signer) else log for log in logs]
    return parse_policy("".join(f"log {key.vkey}\n" for key in keys).encode() + b"quorum none\n")


def shown(folder: Path, entries: list[bytes], key: Signer) -> Folder:
    """A log of these entries whose head that key signed."""
    shutil.rmtree(folder / "log", ignore_errors=True)
    log = Log.create(folder / "log", key)
    log.append(entries)
    return Folder(folder / "log")


def head(entries: list[bytes], key: Signer) -> bytes:
    tree = Tree(hash_leaf(entry) for entry in entries)
    return sign_checkpoint(Checkpoint(origin=key.name, size=tree.size, root=tree.root()), key)


def seen(
    place: Folder, state: State | None = None, policy: Policy | None = None, against: Mapping[str, bytes] | None = None
) -> Looked:
    return look(place, policy or trusting(FIRST), state, against=against or {}, now=NOW)


def kinds(looked: Looked) -> list[str]:
    return [alarm.kind for alarm in looked.alarms]


def kept(looked: Looked) -> State:
    assert looked.state is not None, looked.alarms
    return decode(encode(looked.state), State)


def places(script: s.Script) -> list[int]:
    """After which numbers of statements the log is whole: votes for one change come in at once."""
    names = script.names()
    return [
        size for size in range(1, len(names) + 1)
        if size == len(names) or not names[size].startswith(("vote", "void")) or names[size].endswith(" 1")
    ]  # fmt: skip


def key_at(script: s.Script, size: int, keys: list[Signer]) -> Signer:
    """The key that signs a head of so many statements: each one's first statement stands right behind its change."""
    signers = [line.signer for line in script.lines]
    return [key for key in keys if signers.index(key) <= size][-1]


@pytest.mark.parametrize("name", STORIES)
def test_p9_a_monitor_goes_on_over_a_change_from_the_state_that_it_has(tmp_path: Path, name: str) -> None:
    make, keys = STORIES[name]
    script = make()
    entries = entries_of(script)
    state: State | None = None
    for size in places(script):
        key = key_at(script, size, keys)
        if script.lines[size - 1].name.startswith(("to ", "log hands")):
            assert key != script.lines[size - 1].signer  # the head that holds a change is the next key's
        looked = seen(shown(tmp_path, entries[:size], key), state)
        assert [] == kinds(looked), (size, looked.alarms)
        state = kept(looked)
        assert key.verifier.vkey == state.vkey
    assert state is not None
    assert [key.verifier.vkey for key in keys] == [*(one.vkey for one in state.before), state.vkey]


@pytest.mark.parametrize("name", STORIES)
def test_p9_a_monitor_that_begins_behind_a_change_needs_one_key_that_leads_there(tmp_path: Path, name: str) -> None:
    make, keys = STORIES[name]
    place = shown(tmp_path, entries_of(make()), keys[-1])
    for key in keys:
        looked = seen(place, None, trusting(key))
        assert ([], keys[-1].verifier.vkey) == (kinds(looked), kept(looked).vkey)
    for stranger in (THIEF, s.STRANGER):
        with pytest.raises(EvidenceFault, match="get the policy of this log"):
            seen(place, None, trusting(stranger))


def test_p9_a_trusted_key_that_strangers_call_lost_leads_nowhere(tmp_path: Path) -> None:
    """A thief's log is handed on to the trusted key, which the thief's own approvers call lost."""
    place = shown(tmp_path, entries_of(successions.by_keys_handed_on()), THIRD)
    assert [] == kinds(seen(place, None, trusting(THIEF)))
    with pytest.raises(EvidenceFault, match="get the policy of this log"):
        seen(place, None, trusting(FIRST))


CHANGE = successions.after().names()[-2]
FORGED: dict[str, Callable[[], s.Script]] = {
    "signed by a thief": lambda: successions.forged(successions.after(), CHANGE, as_if=FIRST),
    "by a thief": lambda: successions.not_its_own(successions.after(), CHANGE, THIEF),
    "by the next key": lambda: successions.not_its_own(successions.after(), CHANGE, SECOND),
    "of another log": lambda: successions.after().set(CHANGE, root=s.digest("another log")),
    "of another place": lambda: successions.after().set(CHANGE, stands=3),
    "lost by the key itself": successions.given_up_by_a_thief,
    "lost by one": lambda: successions.lost(s.OPERATOR),
    "lost by votes apart": successions.votes_apart,
    "lost by a forged vote": lambda: successions.forged(successions.lost(), "vote 1", as_if=s.OPERATOR),
}


@pytest.mark.parametrize("name", FORGED)
def test_p9_a_forged_change_is_an_alarm_and_the_key_stays(tmp_path: Path, name: str) -> None:
    entries = entries_of(FORGED[name]())
    state = kept(seen(shown(tmp_path, entries[:9], FIRST)))
    for before in (None, state):
        looked = seen(shown(tmp_path, entries, SECOND), before)
        wanted = {"statement", "story"} if name == "lost by votes apart" else {"statement", "story", "key"}
        assert (wanted, None) == (set(kinds(looked)), looked.state), looked.alarms


def test_p9_votes_that_are_too_few_at_the_end_are_an_alarm(tmp_path: Path) -> None:
    script = successions.lost()
    size = script.place("vote 1") + 1
    looked = seen(shown(tmp_path, entries_of(script)[:size], FIRST))
    assert (["statement", "story"], True) == (kinds(looked), "1 of 2" in looked.alarms[0].text)
    assert 24 == looked.alarms[1].check


def test_p9_a_key_that_the_log_never_named_is_an_alarm(tmp_path: Path) -> None:
    entries = entries_of(receipts.at_once())
    state = kept(seen(shown(tmp_path, entries, FIRST)))
    for key in (SECOND, THIEF):
        for before, more in ((state, entries), (None, entries)):
            looked = seen(shown(tmp_path, more, key), before)
            assert (["key"], None) == (kinds(looked), looked.state)
            assert f"not signed by {FIRST.verifier.keyid}" in looked.alarms[0].text


def test_p9_the_old_key_signs_no_head_behind_its_change(tmp_path: Path) -> None:
    entries = entries_of(successions.after())
    state = kept(seen(shown(tmp_path, entries[:-1], SECOND)))
    for size in (len(entries) - 1, len(entries)):
        for before in (None, state):
            looked = seen(shown(tmp_path, entries[:size], FIRST), before)
            assert ["key"] == kinds(looked), size
    stated = entries_of(successions.not_its_own(successions.after(), "certificate anew", FIRST))
    assert ["statement", "story"] == kinds(seen(shown(tmp_path, stated, SECOND), state))


def test_p9_a_rollback_over_the_change_and_a_fork_from_before_it_are_alarms(tmp_path: Path) -> None:
    entries = entries_of(successions.after())
    size = len(entries) - 2
    state = kept(seen(shown(tmp_path, entries, SECOND)))
    assert ["rollback"] == kinds(seen(shown(tmp_path, entries[:size], FIRST), state))
    assert ["rollback", "key"] == kinds(seen(shown(tmp_path, entries[:size], SECOND), state))
    thief = entries_of(successions.anew(successions.anew(receipts.at_once(), FIRST), FIRST, "again"))
    thief.append(thief[-1])
    assert {"fork", "key", "statement"} == set(kinds(seen(shown(tmp_path, thief, FIRST), state)))
    assert {"fork", "statement"} == set(kinds(seen(shown(tmp_path, thief, SECOND), state)))


def test_p9_what_others_were_shown_is_held_against_the_key_of_its_size(tmp_path: Path) -> None:
    entries = entries_of(successions.after())
    size = len(entries) - 2
    place = shown(tmp_path, entries, SECOND)
    other = [*entries[: size - 1], b"another", *entries[size:]]
    for before in (None, kept(seen(place))):
        assert [] == kinds(seen(place, before, against={"a": head(entries[:size], FIRST), "b": head(entries, SECOND)}))
        for data, kind in (
            (head(entries, FIRST), "key"), (head(entries[: size + 1], FIRST), "key"),
            (head(entries[:size], SECOND), "key"), (head(entries, THIEF), "key"),
            (head(other, SECOND), "split"), (head(other, FIRST), "split"), (head(other[:size], FIRST), "split"),
            (head([*entries, b"more"], SECOND), "behind"), (head([*entries, b"more"], THIRD), "behind"),
        ):  # fmt: skip
            assert [kind] == kinds(seen(place, before, against={"other": data}))


def test_p9_a_state_goes_on_with_a_policy_of_any_of_its_keys_and_no_other(tmp_path: Path) -> None:
    place = shown(tmp_path, entries_of(successions.twice()), THIRD)
    state = kept(seen(place))
    for key in (FIRST, SECOND, THIRD):
        assert [] == kinds(seen(place, state, trusting(key)))
    with pytest.raises(EvidenceFault, match="get the policy of this log"):
        seen(place, state, trusting(THIEF))


def test_p9_who_may_vote_is_said_by_the_plan_that_was_seen(tmp_path: Path) -> None:
    """A thief's approvers call the key lost, and the place serves a plan that names them in place of the true one."""
    script = receipts.at_once()
    votes = rotations.votes(None, FIRST, SECOND, untrusted.POSED, untrusted.POSED_TOO, stands=len(script.lines))
    true = entries_of(successions.anew(s.Script((*script.lines, *votes)), SECOND))
    keys = (("operator", untrusted.POSED), ("monitor", untrusted.POSED_TOO))
    of = tuple(p.ApproverKey(name=name, vkey=key.verifier.vkey) for name, key in keys)
    posed = p.ApprovalRule(threshold=2, of=of)
    served = [entries_of(script.set("plan", approvals=posed))[0], *true[1:]]
    state = kept(seen(shown(tmp_path, true[: len(script.lines)], FIRST)))
    place = shown(tmp_path, true, SECOND)
    (bundle,) = (tmp_path / "log/tile/entries/000.p").iterdir()
    for entries, why, more in ((true, "keys: ", "story"), (served, "not those that were seen", "damaged")):
        bundle.write_bytes(encode_entries(entries))
        looked = seen(place, state)
        assert ({"statement", "key", more}, None) == (set(kinds(looked)), looked.state)
        assert any(why in alarm.text for alarm in looked.alarms)


def test_a_state_of_before_keys_were_followed_is_read(tmp_path: Path) -> None:
    """The program's own files: the state of an earlier version, then the key's change, told as the new `log` line."""
    entries = entries_of(successions.after())
    state, trust = tmp_path / "seen.json", tmp_path / "trust.txt"
    trust.write_text(f"log {FIRST.verifier.vkey}\nquorum none\n")
    arguments = ["monitor", str(tmp_path / "log"), "--trust", str(trust), "--state", str(state), "--json"]
    shown(tmp_path, entries[:-2], FIRST)
    assert 0 == CliRunner().invoke(program("monitor"), arguments).exit_code
    old = json.loads(state.read_bytes())
    assert [] == old.pop("before")
    state.write_text(json.dumps(old, sort_keys=True, separators=(",", ":")))
    shown(tmp_path, entries, SECOND)
    done = CliRunner().invoke(program("monitor"), arguments)
    assert (0, SECOND.verifier.vkey) == (done.exit_code, json.loads(done.stdout)["log"])
    until = len(entries) - 1
    assert decode(state.read_bytes(), State).before == (Before(vkey=FIRST.verifier.vkey, until=until, rotated=True),)
    shown(tmp_path, entries, FIRST)
    assert 1 == CliRunner().invoke(program("monitor"), arguments).exit_code
