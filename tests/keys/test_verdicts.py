"""When a copy may be called key-destroyed: never beside a hit, and never without the log."""

from __future__ import annotations

import dataclasses

import pytest

from domicile.certify import certify
from domicile.errors import EvidenceFault
from domicile.evidence.predicates import CertificatePredicate, FindingPredicate, JudgedCopy, KeyPhase, Predicate
from domicile.evidence.told import CAME_BACK, ERASED_AGAIN, KeyStanding, key_finding, keys_told
from domicile.proof import CopyVerdict, Verdict
from domicile.stores.postgres.copies import Copy, CopyKind, Outcome, Treatment
from domicile.sweep import CopySearch, Finding, Gap, TokenClass, decide
from domicile.sweep.containers.kinds import sealed
from domicile.sweep.search import View
from domicile.sweep.verdict import Question
from tests.vectors import scenario as s

COPY = Copy(
    id="encrypted-files", kind=CopyKind.ENCRYPTED_FILES, relation=None, method="", observable=True, why=""
)  # fmt: skip
GONE = Outcome(copy=COPY.id, treatment=Treatment.KEY_DESTROYED, why="all copies destroyed")
SEARCHED = CopySearch(copy=COPY.id, files=3, gaps=(Gap(copy=COPY.id, path="1.cms", why="encrypted as CMS"),))
HIT = Finding(
    copy=COPY.id, path="1.cms", offset=0, view=View.RAW, token_class=TokenClass.EMAIL, count=1
)  # fmt: skip
QUESTION = Question(tokens_searched=10, sampled=False, rows_erased=True)


def test_p11_key_destroyed_needs_the_destruction_and_a_search_without_a_hit() -> None:
    assert Verdict.KEY_DESTROYED is decide(COPY, GONE, SEARCHED, QUESTION).verdict
    found = dataclasses.replace(SEARCHED, hits=1, distinct=1, findings=(HIT,))
    assert Verdict.PRESENT is decide(COPY, GONE, found, QUESTION).verdict
    for treatment in set(Treatment) - {Treatment.KEY_DESTROYED}:
        outcome = dataclasses.replace(GONE, treatment=treatment)
        assert Verdict.KEY_DESTROYED is not decide(COPY, outcome, SEARCHED, QUESTION).verdict


def test_p11_an_encrypted_file_that_nobody_opens_is_a_gap_wherever_it_lies() -> None:
    """Without that, a file in a folder would be called searched in full."""
    for head in ("308006092a864886f70d010703a080", "3083092 9d006092a864886f70d010703a083"):
        assert "encrypted as CMS" == sealed(bytes.fromhex(head.replace(" ", "")) + bytes(99))
    assert sealed(bytes.fromhex("308006092a864886f70d010702a080") + bytes(99)) is None  # signed only


def _statements(*phases: KeyPhase) -> list[Predicate]:
    """The run of the vectors as the engine states it, up to its sweep."""
    played: list[Predicate] = [s.plan(), s.equality(fenced=True)]
    for line in s.good().lines:
        if line.name.startswith("outcome"):
            made = line.make(s.good().play())
            assert isinstance(made, Predicate)
            played.append(made)
    return [*played, *(s.key_told(phase) for phase in phases), s.sweep()]


@pytest.mark.parametrize(
    "phases", [(), (KeyPhase.INTENT,), (KeyPhase.INTENT, KeyPhase.OUTCOME, KeyPhase.CAME_BACK)]
)  # fmt: skip
def test_p11_no_certificate_says_more_of_a_key_than_the_log(phases: tuple[KeyPhase, ...]) -> None:
    verdicts = [
        CopyVerdict(copy=copy, verdict=Verdict.KEY_DESTROYED if copy == s.KEYED else Verdict.ERASED_VERIFIED, why="")
        for copy in s.COPIES
    ]
    told = certify(_statements(*s.KEY_PHASES), verdicts, not_proven=(), issued_at=s.at(60))
    assert Verdict.KEY_DESTROYED is told.verdict
    with pytest.raises(
        EvidenceFault, match="the log doesn't tell that the key of copy app/encrypted-files was destroyed"
    ):
        certify(_statements(*phases), verdicts, not_proven=(), issued_at=s.at(60))


def test_p7_what_is_told_of_a_key_is_read_back() -> None:
    generations = ("a1" * 20, "b2" * 20)
    for phase in KeyPhase:
        standing = KeyStanding(generations=generations, phase=phase)
        assert {"dumps/encrypted-files": standing} == keys_told(
            [key_finding(s.PLAN, "dumps/encrypted-files", "key backups-us of hsm", standing)]
        )


@pytest.mark.parametrize("since", [(), (KeyPhase.INTENT,), s.KEY_PHASES])
def test_p11_no_certificate_calls_anything_gone_whose_key_came_back(since: tuple[KeyPhase, ...]) -> None:
    """Also where it was destroyed once more: there was a copy of it that nobody knew, and may be another."""
    log = _statements(*KeyPhase, *since)

    def certified(verdict: Verdict) -> CertificatePredicate:
        said = [
            CopyVerdict(copy=copy, verdict=verdict if copy == s.KEYED else Verdict.ERASED_VERIFIED, why="")
            for copy in s.COPIES
        ]
        return certify(log, said, not_proven=(), issued_at=s.at(60))

    for verdict in (Verdict.ERASED_VERIFIED, Verdict.ERASED_UNVERIFIED, Verdict.KEY_DESTROYED):
        with pytest.raises(EvidenceFault, match="key of copy app/encrypted-files"):
            certified(verdict)
    assert Verdict.UNKNOWN is certified(Verdict.UNKNOWN).verdict


def test_p11_a_key_that_went_before_rows_came_back_says_nothing_of_what_is_newer() -> None:
    """They may be in the copy under the next key: it is searched first, or that key goes, too."""
    back = [
        FindingPredicate(plan=s.PLAN, kind=kind, where="app.public.messages", count=3, text="")
        for kind in (CAME_BACK, ERASED_AGAIN)
    ]
    keys = [s.key_told(phase) for phase in s.KEY_PHASES]
    narrower = dataclasses.replace(s.sweep(), copies=tuple(one for one in s.sweep().copies if one.id != s.KEYED))
    said = [
        CopyVerdict(
            copy=copy, verdict=Verdict.KEY_DESTROYED if copy == s.KEYED else Verdict.ERASED_UNVERIFIED, why="it went"
        )
        for copy in s.COPIES
    ]

    def certified(*log: Predicate) -> JudgedCopy:
        made = certify(log, said, not_proven=(), issued_at=s.at(60))
        return next(one for one in made.copies if one.id == s.KEYED)

    gone = _statements(*s.KEY_PHASES)
    for log in ([*gone, *back], [*gone, back[0]], [*gone, *back, narrower]):
        told = certified(*log)
        assert (Verdict.UNKNOWN, "it went; rows came back since its key went: run `domicile apply`") == (
            told.verdict, told.why,
        )  # fmt: skip
    for log in (
        gone,
        [*gone, *back, s.sweep()],
        [*_statements(), *back, *keys],
        [*_statements(), *back, *keys, narrower],
    ):
        assert Verdict.KEY_DESTROYED is certified(*log).verdict


def test_p11_a_copy_that_could_be_read_after_its_key_was_announced_is_not_closed() -> None:
    """What a search found in it in between opens with something else, or lies beside it unencrypted."""
    first, second = (s.key_told(phase) for phase in s.KEY_PHASES)
    dirty = dataclasses.replace(
        s.sweep(),
        copies=tuple(
            dataclasses.replace(one, hits=1, residue=1) if one.id == s.KEYED else one for one in s.sweep().copies
        ),
    )
    said = [
        CopyVerdict(
            copy=copy, verdict=Verdict.KEY_DESTROYED if copy == s.KEYED else Verdict.ERASED_VERIFIED, why="it went"
        )
        for copy in s.COPIES
    ]
    run = _statements()[:-1]
    for log, verdict in (
        ([*run, dirty, first, second, s.sweep()], Verdict.KEY_DESTROYED),
        ([*run, first, dirty, second, s.sweep()], Verdict.UNKNOWN),
        ([*run, first, second, dirty, s.sweep()], Verdict.UNKNOWN),
        ([*run, first, second, dirty], Verdict.PRESENT),
    ):
        assert verdict is certify(log, said, not_proven=(), issued_at=s.at(60)).verdict
