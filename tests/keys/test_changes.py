"""Keys that change hands: the rules in the engine, a kill in between, and the checker's word on what comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from domicile.errors import BadFile, EvidenceFault, Refused
from domicile.events import silent
from domicile.evidence import predicates as p
from domicile.evidence.bundle import lasting_approvers, make_bundle, trust_policy
from domicile.evidence.keyring import CHANGES_MAX, LOG, Keyring, Stated
from domicile.evidence.keys import Signer, Verifier, load_signer, parse_vkey
from domicile.evidence.ledger import Ledger, Recorded
from domicile.evidence.statement import Sealed, read_unverified, seal
from domicile.host import Host
from domicile.keeping import Changed, Keeping, Proposal
from domicile.record import Record
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace
from domicile.run import stating
from domicile_audit.checklist import audit
from domicile_audit.trust.policy import read_policy
from tests.vectors import rotations as r
from tests.vectors import scenario as s

PROGRAMME = "homecoming"
APPROVERS = {"operator": s.OPERATOR, "monitor": s.MONITOR, "counsel": r.COUNSEL}
NEXT = s.key("monitor.example/next")


class Place:
    """A programme's folder with a log in it, as a run leaves it, that goes on statement by statement."""

    def __init__(self, folder: Path) -> None:
        self.workspace = Workspace(folder / "domicile.yaml")
        self.workspace.make()
        self.script = s.good().set("plan", approvals=r.THREE)
        self.played: dict[str, Sealed] = {}
        self.keys = dict(APPROVERS)

    @contextmanager
    def opened(self, *, lost: bool = False) -> Iterator[Keeping]:
        with Keeping.opened(self.workspace, PROGRAMME, Host(), place=None, lost=lost) as keeping:
            yield keeping

    def ledger(self) -> Ledger:
        return Ledger.open(self.workspace.evidence, self.workspace.signer(PROGRAMME, Host()))

    def go_on(self, upto: str) -> None:
        """State what comes next, up to and with that line, each by whose key is in force."""
        ledger = self.ledger()
        for line in self.script.lines[len(self.played) :]:
            made = line.make(self.played)
            assert isinstance(made, p.Predicate)
            if isinstance(made, p.ApprovalPredicate):
                sealed = seal(made, self.keys[made.approver])
                recorded = ledger.admit(sealed.envelope)
            else:
                recorded = ledger.record(made)
            self.played[line.name] = ledger.sealed(recorded.index)
            if line.name == upto:
                return

    def bundle(self) -> bytes:
        ledger = self.ledger()
        return make_bundle(ledger, plan_file=s.PLAN_FILE, signer=self.workspace.signer(PROGRAMME, Host()))

    def revoke(self, who: str | None, voter: str, proposal: Proposal) -> Changed:
        with self.opened(lost=who is None) as keeping:
            return keeping.revoke(who, self.keys[voter], voter, proposal)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.go_on("approval operator")
    return made


def approvals(place: Place) -> list[Recorded]:
    return [one for one in place.ledger().statements() if isinstance(one.predicate, p.ApprovalPredicate)]


def counted(place: Place) -> list[str]:
    """Who approved, as the clearance asks."""
    journal = Journal(place.workspace.journal)
    signer = place.workspace.signer(PROGRAMME, Host())
    record = Record(place.workspace, signer, journal, host=Host(), listener=silent)
    given = list(record.approvals(place.played["equality"].sha256))
    journal.close()
    return given


def test_p2_an_approver_rotates_and_only_the_new_key_approves(place: Place) -> None:
    with place.opened() as keeping:
        done = keeping.rotate(s.MONITOR, "monitor.key", NEXT.verifier, "yearly")
        assert (None, s.MONITOR.verifier) != (done.at, keeping.ring.keys["monitor"])
    with pytest.raises(EvidenceFault, match=r"not signed by monitor\.example/next"):
        place.go_on("approval monitor")
    place.keys["monitor"] = NEXT
    place.go_on("certificate")
    report = audit(place.bundle())
    assert report.accepted, report.reason
    assert any("monitor was rotated" in line for line in report.proven)


def test_p2_who_approved_and_then_took_a_new_key_is_trusted_by_the_old_one(place: Place) -> None:
    """So the policy that the operator hands out names the old one, and no two keys of one person."""
    place.go_on("clearance")
    with place.opened() as keeping:
        keeping.rotate(s.MONITOR, "monitor.key", NEXT.verifier, "yearly")
    place.go_on("certificate")
    log, rule = place.ledger().log.verifier, lasting_approvers(place.ledger())
    assert [key.verifier.vkey for key in APPROVERS.values()] == [one.vkey for one in rule.of]
    assert audit(place.bundle(), read_policy(trust_policy(log, rule).encode())).accepted
    present = trust_policy(log, place.ledger().approvers())
    assert "1 trusted approvals" in (audit(place.bundle(), read_policy(present.encode())).reason or "")


def test_p2_a_key_that_was_called_lost_is_no_line_of_the_policy(place: Place) -> None:
    proposal = Proposal(why="stolen with a laptop", new=NEXT.verifier)
    assert place.revoke("monitor", "operator", proposal).at is None
    assert place.revoke("monitor", "counsel", Proposal(why="")).at is not None
    named = [one.vkey for one in lasting_approvers(place.ledger()).of]
    assert [key.verifier.vkey for key in (s.OPERATOR, NEXT, r.COUNSEL)] == named


def test_p2_what_a_thief_approved_counts_for_nothing_once_others_say_so(place: Place) -> None:
    place.go_on("approval monitor")
    size = place.ledger().size
    proposal = Proposal(why="stolen with a laptop", new=NEXT.verifier, stands=size - 1)
    waits = place.revoke("monitor", "operator", proposal)
    assert (1, 2, None) == (waits.signed, waits.needed, waits.at)
    assert [False, False] == [one.void for one in approvals(place)]
    assert ["operator", "monitor"] == counted(place)
    assert size == place.ledger().size
    done = place.revoke("monitor", "counsel", Proposal(why=""))
    assert (2, size) == (done.signed, done.at)
    assert [False, True] == [one.void for one in approvals(place)]
    assert ["operator"] == counted(place)
    assert [] == list(place.workspace.key_changes.iterdir())
    with pytest.raises(EvidenceFault, match="without what a lost key signed, has 1 approvals"):
        _certified(place)
    place.keys["monitor"] = NEXT
    again = replace(place.script.lines[place.script.place("approval monitor")], name="approval again")
    place.script = place.script.after("approval monitor", again)
    place.script = place.script.signed(
        "clearance",
        s.Line("clearance", lambda play: s.clearance(play, ("approval operator", "approval again"))),
    )
    place.go_on("certificate")
    assert audit(place.bundle()).accepted


def _certified(place: Place) -> None:
    """The whole run on the thief's approval, in a copy of the folder: the checker says no."""
    copy = Place.__new__(Place)
    copy.__dict__ = {**place.__dict__, "played": dict(place.played)}
    folder = place.workspace.base.with_name("thief")
    shutil.copytree(place.workspace.base, folder)
    copy.workspace = Workspace(folder / "domicile.yaml")
    copy.go_on("certificate")
    report = audit(copy.bundle())
    raise EvidenceFault(report.reason or "accepted")


def test_p2_one_person_alone_or_about_themselves_revokes_nothing(place: Place) -> None:
    proposal = Proposal(why="stolen", new=NEXT.verifier)
    with pytest.raises(Refused, match="a key of their own"):
        place.revoke("monitor", "monitor", proposal)
    for _ in range(2):
        assert place.revoke("monitor", "operator", proposal).at is None
    with pytest.raises(Refused, match="others signed another change"):
        place.revoke("monitor", "counsel", Proposal(why="", new=s.STRANGER.verifier))
    with place.opened() as keeping, pytest.raises(Refused, match="names no approver"):
        keeping.revoke("monitor", s.STRANGER, "stranger.key", proposal)


def test_a_key_that_is_given_up_signs_no_more_and_has_no_successor(place: Place) -> None:
    with place.opened() as keeping:
        done = keeping.give_up(r.COUNSEL, "counsel.key", Proposal(why="left the firm", new=NEXT.verifier))
        assert done.change.new is None
        with pytest.raises(Refused, match="names no approver"):
            keeping.give_up(r.COUNSEL, "counsel.key", Proposal(why="again"))
    assert ["operator", "monitor"] == [one.name for one in place.ledger().approvers().of]
    place.go_on("certificate")
    assert audit(place.bundle()).accepted


@pytest.mark.parametrize("times", [1, 2])
def test_p9_what_the_engine_stated_before_its_key_changed_is_not_stated_again(place: Place, times: int) -> None:
    """A run that goes on says again what it said, dated as then: twice in the log, the bundle was refused for good."""
    for upto in ("clearance", "intent app.public.users us")[:times]:
        place.go_on(upto)
        with place.opened() as keeping:
            keeping.rotate_log("yearly", None)
    size = place.ledger().size
    said = [
        one
        for one in place.ledger().statements()
        if not isinstance(one.predicate, p.ApprovalPredicate | p.KeyPredicate)
        and one.predicate != s.equality(fenced=False)  # the earlier comparison: after a later one it would be news
    ]
    again = [place.ledger().record(one.predicate) for one in said]
    assert (said, size) == (again, place.ledger().size)
    assert said == place.ledger().record_all(one.predicate for one in said)
    place.go_on("certificate")
    assert audit(place.bundle()).accepted


def test_p7_what_comes_again_is_said_again_also_by_the_next_key(place: Place) -> None:
    place.go_on("clearance")
    one, two = (
        stating.emptying_statement(s.PLAN, "app/totals", kind, s.at(70)) for kind in ("to be emptied", "emptied")
    )
    other = replace(one, where="app/more")
    place.ledger().record_all([one])
    place.ledger().record_all([two])
    with place.opened() as keeping:
        keeping.rotate_log("yearly", None)
        size = keeping.ledger.size
        for predicate in (two, one, one, two, other, one, one):
            keeping.ledger.record(predicate)
        assert [one, two, other, one] == [said.predicate for said in keeping.ledger.statements()][size:]
        keeping.rotate_log("yearly", None)
        size = keeping.ledger.size
        keeping.ledger.record_all([one, other])
        assert size == keeping.ledger.size


def test_p9_the_logs_key_rotates_in_the_middle_and_the_log_keeps_its_name(place: Place) -> None:
    first = place.ledger().log.verifier
    place.go_on("intent app.public.users us")
    with place.opened() as keeping:
        keeping.rotate_log("yearly", None)
    place.go_on("certificate")
    now = place.ledger().log.verifier
    assert (first.name, True) == (now.name, first != now)
    assert now == parse_vkey(place.workspace.public.read_text().strip())
    assert not place.workspace.key_next.exists()
    for key in (first, now):
        text = trust_policy(key, place.ledger().approvers())
        assert audit(place.bundle(), read_policy(text.encode())).accepted
    assert now.keyid in audit(place.bundle()).proven[0]


def test_p9_a_lost_log_key_is_replaced_by_the_approvers_without_it(place: Place) -> None:
    first = place.ledger().log.verifier
    place.workspace.key.unlink()
    with pytest.raises(EvidenceFault, match="not signed by"):
        place.ledger()
    place.workspace.key.unlink()
    assert place.revoke(None, "operator", Proposal(why="disk lost")).at is None
    done = place.revoke(None, "counsel", Proposal(why=""))
    assert (first.vkey, place.ledger().log.verifier.vkey) == (done.change.key, done.change.new)
    place.go_on("certificate")
    report = audit(place.bundle())
    assert report.accepted, report.reason
    assert 2 == sum("of the log was revoked" in line for line in report.proven)


def test_p5_a_kill_between_the_log_and_the_key_file_loses_neither(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.opened() as keeping, monkeypatch.context() as killed:
        admit = Ledger.admit_change
        killed.setattr(Ledger, "admit_change", lambda *given: _kill(admit(*given)))
        with pytest.raises(KeyboardInterrupt):
            keeping.rotate_log("yearly", None)
    assert place.workspace.key_next.exists()
    new = load_signer(place.workspace.key_next).verifier
    assert new == place.ledger().log.verifier  # opened with the key that took over
    assert new == load_signer(place.workspace.key).verifier


def test_p5_a_kill_before_the_log_changed_leaves_the_old_key_and_the_same_next_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.ledger().log.verifier
    with place.opened() as keeping, monkeypatch.context() as killed:
        killed.setattr(Ledger, "admit_change", _kill)
        with pytest.raises(KeyboardInterrupt):
            keeping.rotate_log("yearly", None)
    following = load_signer(place.workspace.key_next).verifier
    assert first == place.ledger().log.verifier
    with place.opened() as keeping:
        keeping.rotate_log("yearly", None)
    assert following == place.ledger().log.verifier


def _kill(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": s.STRANGER.verifier.vkey}, "not the one in force"),
        ({"root": s.digest("another")}, "another log"),
        ({"stands": 1}, "another log"),
        ({"stands": 99}, "another log"),
        ({"new": None}, "names no new one"),
        ({"new": s.OPERATOR.verifier.vkey}, "was used before"),
        ({"new": s.MONITOR.verifier.vkey}, "was used before"),
        ({"what": p.KeyChange.REVOKED}, "can't name a new key"),
        ({"plan": s.digest("another plan")}, "no change of a key of this programme"),
        ({"approver": "counsel", "key": r.COUNSEL.verifier.vkey}, "signed by the wrong ones"),
    ],
    ids=str,
)
def test_p2_the_engine_takes_no_change_that_the_checker_would_refuse(
    place: Place, change: dict[str, object], reason: str
) -> None:
    with place.opened() as keeping:
        size = keeping.ledger.size
        right = p.KeyPredicate(
            plan=s.PLAN, what=p.KeyChange.ROTATED, approver="monitor", key=s.MONITOR.verifier.vkey,
            new=NEXT.verifier.vkey, since=s.at(3), stands=size, root=keeping.ledger.log.root.hex(), why="yearly",
        )  # fmt: skip
        with pytest.raises(EvidenceFault, match=reason):
            keeping.ledger.admit_change([seal(replace(right, **change), s.MONITOR).envelope])  # type: ignore[arg-type]
        assert size == keeping.ledger.size
        assert 1 == len(keeping.ledger.admit_change([seal(right, s.MONITOR).envelope]))


def test_p9_votes_on_the_logs_key_are_void_once_the_log_grew_under_them(place: Place) -> None:
    """Who vouches for a log vouches for what was in it; whoever has the stolen key may have added to it since."""
    first = place.revoke(None, "operator", Proposal(why="stolen"))
    place.go_on("approval monitor")
    again = place.revoke(None, "counsel", Proposal(why="stolen"))
    assert (None, 1, first.change.stands + 1) == (again.at, again.signed, again.change.stands)
    done = place.revoke(None, "monitor", Proposal(why=""))
    assert (2, place.ledger().size - 2) == (done.signed, done.at)
    assert first.change.new == place.ledger().log.verifier.vkey


def test_a_holder_changes_keys_as_often_as_a_bundle_can_number() -> None:
    def change(number: int) -> Stated:
        old, new = (s.key(f"monitor.example/{turn}") for turn in (number, number + 1))
        said = p.KeyPredicate(
            plan=s.PLAN, what=p.KeyChange.ROTATED, approver="monitor", key=old.verifier.vkey,
            new=new.verifier.vkey, since=s.at(3), stands=1, root=bytes(32).hex(), why="x",
        )  # fmt: skip
        return Stated(index=number + 1, keyid=old.verifier.keyid, predicate=said)

    ring = Keyring(
        threshold=1, keys={LOG: s.ENGINE.verifier, "monitor": s.key("monitor.example/0").verifier},
        root_at=lambda _: bytes(32),
    )  # fmt: skip
    for number in range(CHANGES_MAX):
        ring.take(change(number))
    with pytest.raises(EvidenceFault, match="99 times"):
        ring.take(change(CHANGES_MAX))


def test_p2_a_single_vote_does_not_come_into_the_log(place: Place) -> None:
    with place.opened() as keeping:
        log = keeping.ledger.log
        vote = p.KeyPredicate(
            plan=s.PLAN, what=p.KeyChange.REVOKED, approver="monitor", key=s.MONITOR.verifier.vkey,
            new=NEXT.verifier.vkey, since=s.at(3), stands=log.size, root=log.root.hex(), why="stolen",
        )  # fmt: skip
        one, other = (seal(vote, key).envelope for key in (s.OPERATOR, r.COUNSEL))
        with pytest.raises(EvidenceFault, match="signed by 1 of 2"):
            keeping.ledger.admit_change([one])
        assert 2 == len(keeping.ledger.admit_change([one, other]))


def test_p9_the_logs_key_does_not_change_behind_less_than_all_of_the_log(place: Place) -> None:
    """A change that speaks of less would say that what follows doesn't stand, and it would."""
    with place.opened() as keeping:
        log = keeping.ledger.log
        following = Signer(name=log.origin, seed=NEXT.seed)
        change = p.KeyPredicate(
            plan=s.PLAN, what=p.KeyChange.ROTATED, approver=None, key=log.verifier.vkey,
            new=following.verifier.vkey, since=s.at(3), stands=log.size - 1, root=log.root_at(log.size - 1).hex(),
            why="yearly",
        )  # fmt: skip
        envelope = seal(change, place.workspace.signer(PROGRAMME, Host())).envelope
        with pytest.raises(EvidenceFault, match="another place in it"):
            keeping.ledger.admit_change([envelope], following)


def test_a_log_goes_on_only_with_the_key_that_was_named(place: Place) -> None:
    with place.opened() as keeping:
        log = keeping.ledger.log
        other = Signer(name=log.origin, seed=s.STRANGER.seed)
        change = p.KeyPredicate(
            plan=s.PLAN, what=p.KeyChange.ROTATED, approver=None, key=log.verifier.vkey,
            new=Verifier(name=log.origin, public=NEXT.verifier.public).vkey, since=s.at(3), stands=log.size,
            root=log.root.hex(), why="yearly",
        )  # fmt: skip
        envelope = seal(change, place.workspace.signer(PROGRAMME, Host())).envelope
        for signer in (None, other):
            with pytest.raises(EvidenceFault, match="open that key for it"):
                keeping.ledger.admit_change([envelope], signer)
        with pytest.raises(EvidenceFault, match="a log keeps its name"):
            log.hand_over([b"entry"], s.STRANGER)


def test_nothing_is_changed_before_there_is_a_log_or_without_a_word_why(tmp_path: Path, place: Place) -> None:
    empty = Workspace(tmp_path / "other" / "domicile.yaml")
    empty.base.mkdir()
    with pytest.raises(Refused, match="no log yet"), Keeping.opened(empty, PROGRAMME, Host(), place=None):
        pass
    with place.opened() as keeping, pytest.raises(Refused, match="say why"):
        keeping.rotate(s.MONITOR, "monitor.key", NEXT.verifier, "")
    place.workspace.public.unlink()
    with pytest.raises(BadFile, match=r"copy keys/log\.vkey"), place.opened(lost=True):
        pass


def test_an_approval_that_is_in_the_log_may_be_left_in_its_folder_when_its_key_goes(place: Place) -> None:
    """`apply` takes in what lies in the folder again and again."""
    place.go_on("approval monitor")
    envelope = place.played["approval monitor"].envelope
    with place.opened() as keeping:
        keeping.rotate(s.MONITOR, "monitor.key", NEXT.verifier, "yearly")
    ledger = place.ledger()
    assert ledger.named(place.played["approval monitor"].sha256) == ledger.admit(envelope)
    assert isinstance(read_unverified(ledger.sealed(ledger.size - 1)), p.KeyPredicate)
