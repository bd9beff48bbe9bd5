"""`domicile monitor` has the checker judge what a log tells: no beginning of a true story rings, a false one does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from domicile.cli import program
from domicile.errors import BadFile, EvidenceFault
from domicile.evidence.codec import decode, encode
from domicile.evidence.keys import Signer
from domicile.evidence.publiclog import story
from domicile.evidence.publiclog.monitor import Alarm, Looked, State, look
from domicile.evidence.publiclog.place import Folder
from domicile.evidence.publiclog.story import approvals_of
from domicile.evidence.statement import Sealed
from domicile.evidence.tlog.log import Log
from domicile.evidence.tlog.merkle import Edge, hash_leaf
from domicile.evidence.tlog.policy import only_policy_lines, parse_policy
from domicile_audit import served
from domicile_audit.case import Case
from domicile_audit.log.container import check_keys, check_zip
from tests.vectors import bad_bytes, belied, make, rotations, successions
from tests.vectors import scenario as s
from tests.vectors.registry import DEFECTS

NOW = datetime(2026, 12, 1, tzinfo=UTC)
FIRST_OF_STATEMENTS = 8

GOOD = {name: (script, [s.ENGINE]) for name, script in make.good_scripts().items()} | {
    "keys-rotated": (rotations.rotated(), [s.ENGINE, rotations.ENGINE_2]),
    "approver-key-stolen": (rotations.stolen(), [s.ENGINE]),
    "log-key-lost": (rotations.lost(), [s.ENGINE, rotations.ENGINE_2]),
    "twice": (successions.twice(), [successions.FIRST, successions.SECOND, successions.THIRD]),
    **{name: (script, [s.ENGINE]) for name, (script, _) in belied.keys_lost().items()},
}

NOT_OVER = "a log that goes on: it has no certificate yet, or behind it what may come there"
NO_FILE = "a file of the bundle that no log has"
SILENT = {
    "certificate-missing": NOT_OVER,
    "certificate-not-last": NOT_OVER,
    "log-rolled-back-behind-its-certificate": NOT_OVER,
    "certificate-file-missing": NO_FILE,
    "certificate-file-of-another": NO_FILE,
    "key-that-nobody-handed-over-to": NO_FILE,
    "key-that-the-log-never-named": NO_FILE,
    "detached-predicate-of-nobody": NO_FILE,
}
RENAMED = "the-log-takes-another-name"
ELSEWHERE = {
    "erasure-after-the-certificate": 19,  # which was false where it stood
    "plan-of-other-approvers": 8,  # the keys of others are in keys/ of the bundle, and nowhere in the log
    "key-handed-to-another": 8,
    "a-key-of-nobody-changes": 8,
}


def put(folder: Path, files: Mapping[str, bytes]) -> Folder:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Folder(folder / "log")


def told(folder: Path, statements: list[Sealed], key: Signer = s.ENGINE) -> Folder:
    """A log that tells this."""
    beside = {f"log/detached/{sha256(one.detached)}.json": one.detached for one in statements if one.detached}
    return put(folder, s.log_files([one.envelope for one in statements], key) | beside)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def seen(place: Folder, state: State | None = None, trust: str = "", log: str = s.ENGINE.verifier.vkey) -> Looked:
    """A look by somebody whose policy that is; without one they know the log's first key."""
    text = (trust or f"log {log}\nquorum none\n").encode()
    policy = parse_policy(only_policy_lines(text))
    return look(place, policy, state, against={}, now=NOW, approvals=approvals_of(text, origin="trust"))


def stories(looked: Looked) -> list[Alarm]:
    return [alarm for alarm in looked.alarms if alarm.kind == "story"]


def kept(looked: Looked) -> State:
    """What a monitor would read back from its file."""
    assert looked.state is not None, looked.alarms
    return decode(encode(looked.state), State)


def whole_sizes(script: s.Script) -> list[int]:
    """After which numbers of statements the log is whole: votes for one change come in at once."""
    names = script.names()
    return [
        size for size in range(1, len(names) + 1)
        if size == len(names) or not names[size].startswith("vote") or names[size].endswith(" 1")
    ]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_p9_no_beginning_of_a_true_log_rings(tmp_path: Path, name: str) -> None:
    """Followed from statement to statement, and each beginning of it seen for the first time."""
    script, keys = GOOD[name]
    played, signers = list(script.play().values()), [line.signer for line in script.lines]
    state: State | None = None
    for size in whole_sizes(script):
        key = [key for key in keys if signers.index(key) <= size][-1]
        place = told(tmp_path / str(size), played[:size], key)
        looks = [seen(place, before) for before in (None, state)]
        assert [(), ()] == [looked.alarms for looked in looks], (size, script.names()[size - 1])
        state = kept(looks[-1])
        assert size == state.judged


STATED = [name for name, one in DEFECTS.items() if one.check >= FIRST_OF_STATEMENTS]


@pytest.mark.parametrize("name", STATED)
def test_p9_a_false_log_rings_at_its_check(tmp_path: Path, name: str) -> None:
    case = Case(data=(make.BAD / f"{name}.zip").read_bytes(), policy=None)
    check_zip(case)
    check_keys(case)
    place, first = put(tmp_path, case.files), case.chains[0][0].vkey
    if name == RENAMED:
        with pytest.raises(EvidenceFault, match="is of a log that the policy does not name"):
            seen(place, log=first)
        return
    looked = seen(place, log=first)
    rung = stories(looked)
    if name in SILENT:
        assert [] == rung
        return
    assert ([ELSEWHERE.get(name, DEFECTS[name].check)], None) == ([one.check for one in rung], looked.state)
    assert name in ELSEWHERE or DEFECTS[name].reason in rung[0].text


def test_every_exception_is_a_bundle() -> None:
    assert {*SILENT, *ELSEWHERE, RENAMED} <= set(STATED)


@pytest.mark.parametrize(
    ("policy", "check"), [("right", None), ("another-approver", 14), ("three-approvals", 14), ("one-witness", None)]
)
def test_p2_approvals_count_by_the_policys_keys(tmp_path: Path, policy: str, check: int | None) -> None:
    """One that asks for a quorum rings for that, and its approvers count all the same."""
    place = told(tmp_path, list(s.good().play().values()))
    looked = seen(place, trust=(make.FOLDER / "policies" / f"{policy}.txt").read_text())
    assert [check] * (check is not None) == [one.check for one in stories(looked)]
    assert (policy == "one-witness") == ("quorum" in {one.kind for one in looked.alarms})


UNTRUSTED = {
    "approved-by-keys-that-hand-on-to-the-true-ones": 14,
    "log-key-called-lost-by-keys-that-hand-on-to-the-true-ones": 24,
}


@pytest.mark.parametrize("name", UNTRUSTED)
def test_p2_approvers_of_a_forger_ring_for_whoever_knows_the_true_ones(tmp_path: Path, name: str) -> None:
    case = Case(data=(make.UNTRUSTED / f"{name}.zip").read_bytes(), policy=None)
    check_zip(case)
    place = put(tmp_path, case.files)
    trust = (make.FOLDER / "policies" / "right.txt").read_text()
    assert [UNTRUSTED[name]] == [one.check for one in stories(seen(place, trust=trust))]


def hasty() -> s.Script:
    """It clears after one approval; until then it is the good run."""
    cleared = s.Line("clearance", lambda play: s.clearance(play, ("approval operator",)))
    return s.good().signed("clearance", cleared)


class Counting(Folder):
    """A folder that says what was read in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read_paths: list[str] = []

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        self.read_paths.append(path)
        return super().read(path, bytes_max=bytes_max)


def test_a_log_is_judged_anew_when_it_has_grown_and_only_then(tmp_path: Path) -> None:
    played = list(s.good().play().values())
    told(tmp_path, played[:9])
    state = kept(seen(Folder(tmp_path / "log")))
    place = Counting(tmp_path / "log")
    assert 9 == kept(seen(place, state)).judged
    assert ["checkpoint", "tile/entries/000.p/9"] == place.read_paths  # the edge, and not all of it once more
    told(tmp_path, s.entries_of(hasty())[:10])
    for _ in range(2):  # nothing is remembered of a look that rang, so it rings again
        looked = seen(place, state)
        assert ([14], None) == ([one.check for one in looked.alarms], looked.state)


def test_a_state_of_before_stories_were_judged_has_its_log_judged_once(tmp_path: Path) -> None:
    """The program's own files: an alarm's kind, its check and reason, and an exit code like any other alarm's."""
    trust, state = tmp_path / "trust.txt", tmp_path / "seen.json"
    trust.write_text(f"log {s.ENGINE.verifier.vkey}\nquorum none\n")
    arguments = ["monitor", str(tmp_path / "log"), "--trust", str(trust), "--state", str(state)]
    told(tmp_path, s.entries_of(s.good())[:9])
    assert 0 == CliRunner().invoke(program("monitor"), arguments).exit_code
    size = 10
    told(tmp_path, s.entries_of(hasty())[:size])
    old = json.loads(state.read_bytes()) | {"edge": _edge(tmp_path / "log", size), "size": size}
    assert 9 == old.pop("judged")
    state.write_text(json.dumps(old, sort_keys=True, separators=(",", ":")))
    before = state.read_bytes()
    for _ in range(2):
        done = CliRunner().invoke(program("monitor"), [*arguments, "--json"])
        (alarm,) = json.loads(done.stdout)["alarms"]
        assert (1, "story", 14) == (done.exit_code, alarm["kind"], alarm["check"])
        assert "1 approvals, the plan wants 2" in alarm["text"]
        assert before == state.read_bytes()
    done = CliRunner().invoke(program("monitor"), arguments)
    assert (1, True) == (done.exit_code, "ALARM story: check 14, approvals: " in done.stdout)


def _edge(log: Path, size: int) -> list[str]:
    """What a monitor remembers of a log that it did not judge."""
    edge = Edge()
    for entry in Log.open(log, s.ENGINE.verifier).entries():
        edge.append(hash_leaf(entry))
    assert size == edge.size
    return [node.hex() for node in edge.nodes]


def test_p10_a_certificate_that_was_false_where_it_stood_rings_although_the_log_went_on(tmp_path: Path) -> None:
    early = s.good().moved("certificate", before="sweep").set("certificate", issued_at=s.at(45))
    place = told(tmp_path, s.entries_of(early))
    assert [19] == [one.check for one in seen(place).alarms]
    played = s.entries_of(early)
    told(tmp_path / "mended", played[:-2])
    state = replace(kept(seen(Folder(tmp_path / "mended/log"))), judged=len(played) - 1)
    assert () == seen(place, state).alarms  # it rang when it was new, and a person told the monitor to go on


def test_a_log_that_no_bundle_holds_rings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = list(bad_bytes.large().play().values())
    place = told(tmp_path, played)
    length = sum(len(one.envelope) + len(one.detached or b"") for one in played)
    monkeypatch.setattr(story, "STORY_BYTES_MAX", length)
    assert () == seen(place).alarms
    monkeypatch.setattr(story, "STORY_BYTES_MAX", length - 1)
    looked = seen(place)
    assert ([("story", None)], None) == ([(one.kind, one.check) for one in looked.alarms], looked.state)
    assert "no bundle holds" in looked.alarms[0].text


def test_p9_a_checker_that_fails_is_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(served, "check_keys", fail)
    (alarm,) = seen(told(tmp_path, s.entries_of(s.good()))).alarms
    assert ("story", None) == (alarm.kind, alarm.check)
    assert "the checker failed (ZeroDivisionError)" in alarm.text


@pytest.mark.parametrize("line", ["approvals 3", "approver x", "approvals two", "approvals 1\napprovals 1"])
def test_a_policy_whose_approvers_cant_be_read_is_no_policy(line: str) -> None:
    approver = f"approver {s.OPERATOR.verifier.vkey}\n"
    with pytest.raises(BadFile, match=r"trust\.txt: "):
        approvals_of(f"log {s.ENGINE.verifier.vkey}\n{approver}{line}\n".encode(), origin="trust.txt")


def test_a_policy_of_witnesses_alone_says_nothing_of_approvals() -> None:
    log, approver = (key.verifier.vkey for key in (s.ENGINE, s.OPERATOR))
    assert approvals_of(f"log {log}\nquorum none\n".encode(), origin="trust.txt") is None
    found = approvals_of(f"approvals 1\nlog {log}\n  approver {approver}\nfresh 3\n".encode(), origin="trust.txt")
    assert found is not None
    assert (1, frozenset([approver])) == (found.threshold, found.approvers)
