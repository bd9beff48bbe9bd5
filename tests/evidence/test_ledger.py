"""The ledger, the certificate and the bundle, as `run` uses them, and the checker's word on the result."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from domicile.certify import certify, roll_up
from domicile.errors import EvidenceFault, HostFault
from domicile.evidence import predicates as p
from domicile.evidence.bundle import make_bundle, trust_policy, write_bundle, zip_files
from domicile.evidence.ledger import COMING_AGAIN, Ledger
from domicile.evidence.statement import read_unverified, seal
from domicile.evidence.tlog.proof import check_proof, parse_proof
from domicile.evidence.told import CAME_BACK, ERASED_AGAIN
from domicile.proof import CopyVerdict, Verdict
from domicile.run import stating
from domicile_audit.checklist import audit
from domicile_audit.log.container import write_zip
from domicile_audit.trust.policy import read_policy
from tests.vectors import objects, unbacked
from tests.vectors import scenario as s

VERIFIED = [CopyVerdict(copy=id_, verdict=Verdict.ERASED_VERIFIED, why="searched, nothing found") for id_ in s.COPIES]


def played(folder: Path, *, upto: str = "sweep", script: s.Script | None = None) -> Ledger:
    """The good run, recorded as `run` records it."""
    ledger = Ledger.open(folder, s.ENGINE)
    play: dict[str, p.Predicate] = {}
    script = script or s.good()
    for name, sealed in script.play().items():
        predicate = s_read(sealed)
        play[name] = predicate
        if isinstance(predicate, p.ApprovalPredicate):
            ledger.admit(sealed.envelope)
        else:
            ledger.record(predicate)
        if name == upto:
            break
    return ledger


def s_read(sealed: object) -> p.Predicate:
    from domicile.evidence.statement import Sealed, read_unverified  # noqa: PLC0415

    assert isinstance(sealed, Sealed)
    return read_unverified(sealed)


def said(ledger: Ledger) -> list[p.Predicate]:
    return [recorded.predicate for recorded in ledger.statements()]


def test_a_run_recorded_certified_and_bundled_is_accepted(tmp_path: Path) -> None:
    ledger = played(tmp_path / "evidence")
    made = certify(said(ledger), VERIFIED, not_proven=["no witness"], issued_at=s.at(60))
    assert (Verdict.ERASED_VERIFIED, s.certificate().counts) == (made.verdict, made.counts)
    assert made.not_proven == (*s.plan().not_proven, "no witness")
    ledger.record(made)
    bundle = make_bundle(ledger, plan_file=s.PLAN_FILE, signer=s.ENGINE)
    policy = read_policy(trust_policy(s.ENGINE.verifier, s.plan().approvals).encode())
    report = audit(bundle, policy)
    assert (True, "erased-verified") == (report.accepted, report.verdict), report.reason
    assert bundle == make_bundle(Ledger.open(tmp_path / "evidence", s.ENGINE), plan_file=s.PLAN_FILE, signer=s.ENGINE)


def test_p11_a_bundle_without_a_certificate_is_refused_as_unfinished(tmp_path: Path) -> None:
    bundle = make_bundle(played(tmp_path / "evidence"), plan_file=s.PLAN_FILE, signer=s.ENGINE)
    report = audit(bundle)
    assert (False, 18) == (report.accepted, report.checks[-1].number)
    assert "no certificate" in (report.reason or "")


def test_the_two_zip_writers_agree_and_every_unzipper_reads_it(tmp_path: Path) -> None:
    files = {"a": b"1", "b/c.txt": bytes(1_000), "B": b"", "plan.json": b"{}"}
    made = zip_files(files)
    assert write_zip(files) == made
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        assert files == {name: archive.read(name) for name in archive.namelist()}
    write_bundle(tmp_path / "b.zip", made)
    assert made == (tmp_path / "b.zip").read_bytes()
    with pytest.raises(HostFault):
        write_bundle(tmp_path / "none" / "b.zip", made)


def test_a_bundle_of_another_plan_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(EvidenceFault, match="not the plan file"):
        make_bundle(played(tmp_path / "evidence"), plan_file=b"{}", signer=s.ENGINE)


def test_p5_the_same_statement_twice_is_one_entry(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "evidence", s.ENGINE)
    first = ledger.record(s.plan())
    again = ledger.record_all([s.plan(), s.cutover(), s.cutover()])
    assert [0, 0, 1, 1] == [first.index, *(r.index for r in again)]
    assert ledger.size == 2
    assert ledger.named(first.sha256) == first
    with pytest.raises(EvidenceFault):
        ledger.named("0" * 64)


@pytest.mark.parametrize("name", ["returns", "emptyings"])
def test_p7_what_comes_again_within_one_second_is_said_again(tmp_path: Path, name: str) -> None:
    """Erased rows come back, go, and come back: the last word counts, also where the clock shows the same second."""
    ledger = played(tmp_path / "evidence")
    if name == "returns":
        one, two = (
            stating.return_statement(s.PLAN, "app.public.note", 5, s.at(70), done=done) for done in (False, True)
        )
        elsewhere = stating.return_statement(s.PLAN, "app.public.other", 5, s.at(70), done=True)
    else:
        one, two = (
            stating.emptying_statement(s.PLAN, "app/totals", kind, s.at(70)) for kind in ("to be emptied", "emptied")
        )
        elsewhere = stating.emptying_statement(s.PLAN, "app/more", "emptied", s.at(70))
    size = ledger.size
    for predicate in (one, one, elsewhere, one, two, elsewhere, two, one, one, two):
        ledger.record(predicate)
    assert [one, elsewhere, two, one, two] == said(ledger)[size:]
    assert () == stating.still_returned(ledger.statements())
    kinds = {kind for turns in COMING_AGAIN for kind in turns}
    assert {
        CAME_BACK, ERASED_AGAIN, stating.TO_BE_EMPTIED, stating.EMPTIED, stating.TO_BE_REMOVED,
        stating.REMOVED,
    } == kinds  # fmt: skip
    again = Ledger.open(tmp_path / "evidence", s.ENGINE)
    again.record_all([one])
    assert said(again)[-1] == one
    assert (("app.public.note",) if name == "returns" else ()) == stating.still_returned(again.statements())


def test_p11_what_could_not_be_removed_this_time_is_the_last_word(tmp_path: Path) -> None:
    """Three went; three more came, were announced in the same words, and stayed; once more; then they went, too."""
    ledger = played(tmp_path / "evidence")
    announced, left, gone = (
        stating.removal_statement(s.PLAN, "dumps/files", things, done=done)
        for things, done in ((3, False), (0, False), (3, True))
    )
    size = ledger.size
    for predicate in (announced, announced, gone, announced, left, left):
        ledger.record(predicate)
    assert [announced, gone, announced, left] == said(ledger)[size:]
    assert ((), ("dumps/files",)) == told(ledger)
    for predicate in (announced, left, announced, gone, gone):
        ledger.record(predicate)
    assert [announced, left, announced, gone] == said(ledger)[size + 4 :]
    assert (("dumps/files",), ()) == told(ledger)


def told(ledger: Ledger) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which copies went by our hand, and of which something is left."""
    return stating.removed(ledger.statements()), stating.left_over(ledger.statements())


def test_p5_a_long_statement_is_on_the_disk_before_its_entry_and_a_lost_one_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    ledger = Ledger.open(folder, s.ENGINE)
    many = replace(s.plan(), not_proven=tuple(f"open {n}" for n in range(9_000)))
    recorded = ledger.record(many)
    assert many == Ledger.open(folder, s.ENGINE.verifier).statement(0).predicate
    [path] = (folder / "detached").iterdir()
    assert {path.stem} == set(ledger.detached())
    assert recorded.sha256 != path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes().replace(b"open 7", b"OPEN 7"))
    with pytest.raises(EvidenceFault):
        ledger.statement(0)
    path.unlink()
    with pytest.raises(EvidenceFault, match="can't be read"):
        ledger.statement(0)


def test_p1_what_was_equal_before_it_differed_is_said_again(tmp_path: Path) -> None:
    """The last comparison counts, and it may be word for word an earlier one."""
    ledger = played(tmp_path / "evidence", upto="equality")
    equal = s.equality(fenced=True)
    [first] = [one.index for one in ledger.statements() if one.predicate == equal]
    assert [first, first] == [one.index for one in ledger.record_all([equal, equal])]
    ledger.record_all([replace(equal, differences=1)])
    ledger.record_all([equal])
    ledger.record_all([equal])
    assert [equal, replace(equal, differences=1), equal] == said(ledger)[first:]


def test_the_journals_size_guards_against_a_log_that_was_put_back_or_lost(tmp_path: Path) -> None:
    ledger = played(tmp_path / "evidence", upto="cutover")
    assert ledger.size == Ledger.open(tmp_path / "evidence", s.ENGINE, size_min=ledger.size).size
    with pytest.raises(EvidenceFault):
        Ledger.open(tmp_path / "evidence", s.ENGINE, size_min=ledger.size + 1)
    shutil.rmtree(tmp_path / "evidence")
    with pytest.raises(EvidenceFault, match="is missing"):
        Ledger.open(tmp_path / "evidence", s.ENGINE, size_min=1)


def test_a_reader_records_nothing(tmp_path: Path) -> None:
    played(tmp_path / "evidence", upto="plan")
    with pytest.raises(EvidenceFault, match="reading only"):
        Ledger.open(tmp_path / "evidence", s.ENGINE.verifier).record(s.cutover())


def test_a_receipt_of_a_statement_is_checked_offline(tmp_path: Path) -> None:
    ledger = played(tmp_path / "evidence")
    receipt = parse_proof(ledger.receipt(4))
    head = check_proof(receipt, entry=ledger.sealed(4).envelope, verifier=s.ENGINE.verifier)
    assert (ledger.size, ledger.log.root) == (head.size, head.root)


def an_approval(ledger: Ledger, **changes: str) -> p.ApprovalPredicate:
    [equality] = [r for r in ledger.statements() if isinstance(r.predicate, p.EqualityPredicate) and r.predicate.fenced]
    given = p.ApprovalPredicate(
        plan=s.PLAN,
        approver="operator",
        role="operator",
        scope=p.Scope.ERASE,
        equality=equality.sha256,
        approved_at=s.at(20),
        stands=ledger.size,
        root=ledger.log.root.hex(),
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def test_p2_an_approval_is_admitted_from_its_approver_only(tmp_path: Path) -> None:
    ledger = played(tmp_path / "evidence", upto="equality")
    given = an_approval(ledger)
    refused = {
        "is wrong|not signed by": seal(given, s.MONITOR),
        "no approver": seal(replace(given, approver="minister"), s.OPERATOR),
        "another plan": seal(replace(given, plan="1" * 64), s.OPERATOR),
        "no statement of that SHA-256": seal(replace(given, equality="2" * 64), s.OPERATOR),
        "another statement": seal(s.cutover(), s.OPERATOR),
        "another log than this": seal(replace(given, root="3" * 64), s.OPERATOR),
        "another log": seal(replace(given, stands=given.stands + 1), s.OPERATOR),
        "given for another log": seal(
            replace(given, stands=ledger.size - 1, root=ledger.log.root_at(ledger.size - 1).hex()), s.OPERATOR
        ),
    }
    for reason, sealed in refused.items():
        with pytest.raises(EvidenceFault, match=reason):
            ledger.admit(sealed.envelope)
    size = ledger.size
    assert ledger.admit(seal(given, s.OPERATOR).envelope).index == size
    assert ledger.admit(seal(given, s.OPERATOR).envelope).index == size
    assert given == ledger.statement(size).predicate


# ----------------------------------------------------------------------------------------- certify
def certified(predicates: list[p.Predicate], verdicts: list[CopyVerdict]) -> p.CertificatePredicate:
    return certify(predicates, verdicts, not_proven=(), issued_at=s.at(60))


@pytest.fixture
def run(tmp_path: Path) -> list[p.Predicate]:
    return said(played(tmp_path / "evidence"))


def test_the_roll_up_is_the_worst_of_every_pair() -> None:
    order = ["erased-verified", "key-destroyed", "erased-unverified", "blocked-until", "held", "unknown", "present"]
    for one, best in enumerate(order):
        for other, worst in enumerate(order[one:], start=one):
            assert worst == roll_up([Verdict(best), Verdict(worst)]) == roll_up([Verdict(worst), Verdict(best)]), other
    assert roll_up([]) is Verdict.UNKNOWN


def judged(copy: int, verdict: Verdict, until: datetime | None = None) -> list[CopyVerdict]:
    return [replace(v, verdict=verdict, until=until) if n == copy else v for n, v in enumerate(VERIFIED)]


def test_p3_a_verdict_needs_what_it_says(run: list[p.Predicate]) -> None:
    swept = run[-1]
    assert isinstance(swept, p.SweepPredicate)
    dirty = replace(swept, copies=(replace(swept.copies[0], hits=2, residue=1), *swept.copies[1:]))
    found_rows = replace(swept, rows=p.SweptRows(datasets=2, hits=1))
    nothing = p.SweptTokens(searched=0, not_searchable=0, canaries=0)
    unverified = [replace(v, verdict=Verdict.ERASED_UNVERIFIED) for v in VERIFIED]
    narrow = replace(swept, rows=p.SweptRows(datasets=1, hits=1))
    for reason, predicates, verdicts in (
        ("not swept", run[:-1], VERIFIED),
        ("not swept", [*run[:-2], swept, run[-2]], VERIFIED),
        ("not swept", [*run[:-1], replace(swept, copies=swept.copies[1:])], VERIFIED),
        (
            "not swept",
            [*run[:-1], replace(swept, tokens=nothing)],
            VERIFIED,
        ),
        ("rows by query", [*run[:-1], found_rows], VERIFIED),
        ("rows by query", [*run[:-1], found_rows, replace(swept, rows=p.SweptRows(datasets=1, hits=0))], VERIFIED),
        ("not swept", [*run[:-1], replace(swept, copies=tuple(replace(c, bytes=0) for c in swept.copies))], VERIFIED),
        (
            "not swept",
            [*run, p.FindingPredicate(plan=s.PLAN, kind="came back", where="x", count=1, text="y")],
            VERIFIED,
        ),
        ("rows by query", [*run, narrow], unverified),
        (
            "nothing was erased",
            [r for r in run if not isinstance(r, p.ErasurePredicate | p.SweepPredicate)],
            [replace(unverified[0], verdict=Verdict.PRESENT), *unverified[1:]],
        ),
        (
            "nothing was erased",
            [
                replace(r, slices=()) if isinstance(r, p.ErasurePredicate) else r
                for r in run
                if not isinstance(r, p.SweepPredicate)
            ],
            [replace(unverified[0], verdict=Verdict.PRESENT), *unverified[1:]],
        ),
        ("not erased as planned", [r for r in run if not isinstance(r, p.ErasurePredicate)], VERIFIED),
        ("a date goes with", run, judged(0, Verdict.BLOCKED_UNTIL)),
        ("a date goes with", run, judged(0, Verdict.HELD, s.at(999))),
        ("without one verdict", run, VERIFIED[:-1]),
        ("without one verdict", run, [*VERIFIED, VERIFIED[0]]),
        ("begin with a plan", run[1:], VERIFIED),
    ):
        with pytest.raises(EvidenceFault, match=reason):
            certified(predicates, verdicts)
    assert certified([*run[:-1], dirty], judged(0, Verdict.PRESENT)).verdict is Verdict.PRESENT
    assert certified([*run[:-1], dirty, swept], VERIFIED).verdict is Verdict.ERASED_VERIFIED


def test_p11_what_was_found_and_not_searched_again_is_present_whatever_is_said_of_it(run: list[p.Predicate]) -> None:
    """Nobody is stopped by it, and nothing is called better than it is: the next run treats it again."""
    swept = run[-1]
    assert isinstance(swept, p.SweepPredicate)
    dirty = replace(swept, copies=(replace(swept.copies[0], hits=2, residue=1), *swept.copies[1:]))
    dirty_log = replace(swept, copies=(swept.copies[0], replace(swept.copies[1], hits=1, residue=1), *swept.copies[2:]))
    clean_others = replace(swept, copies=swept.copies[1:])
    nothing = p.SweptTokens(searched=0, not_searchable=0, canaries=0)
    unverified = [replace(v, verdict=Verdict.ERASED_UNVERIFIED) for v in VERIFIED]
    for copy, predicates, verdicts in (
        (0, [*run[:-1], dirty], VERIFIED),
        (0, [*run[:-1], dirty, clean_others], judged(0, Verdict.ERASED_UNVERIFIED)),
        (1, [*run[:-1], dirty_log], judged(1, Verdict.UNKNOWN)),
        (0, [*run[:-1], dirty, replace(swept, tokens=nothing)], unverified),
        (0, [*run[:-1], replace(dirty, tokens=nothing)], unverified),
    ):
        made = certified(predicates, verdicts)
        found = next(one for one in made.copies if one.id == VERIFIED[copy].copy)
        assert (Verdict.PRESENT, Verdict.PRESENT) == (found.verdict, made.verdict)
        assert found.why.endswith("; an earlier search found something in it")


def test_p11_objects_that_somebody_else_removed_are_present_until_this_programme_goes_on() -> None:
    """A lock was lifted, and the versions removed by hand: they are gone, and nothing in the log says so."""
    said = [read_unverified(one) for one in objects.objects().play().values()]
    run = [made for made in said if not isinstance(made, p.CertificatePredicate)]
    verdicts = [replace(VERIFIED[0], copy=one.id, verdict=Verdict.ERASED_VERIFIED) for one in _planned(run).copies]
    made = certified(run, verdicts)
    assert {"media/objects"} == {one.id for one in made.copies if one.verdict is Verdict.PRESENT}
    blocked = [replace(one, verdict=Verdict.HELD) if one.copy == "media/locked-versions" else one for one in verdicts]
    assert Verdict.HELD is certified(run, blocked).verdict


def test_p11_of_objects_that_came_back_nothing_is_called_erased_before_they_are_searched_again() -> None:
    play = objects.lock_is_over().play()
    run = [made for made in map(read_unverified, play.values()) if not isinstance(made, p.CertificatePredicate)]
    *before, swept = run
    back = [p.FindingPredicate(plan=s.PLAN, kind="objects came back", where=where, count=1, text="y") for where in "ab"]
    mine, other = replace(back[0], where="media"), back[1]
    verdicts = [replace(VERIFIED[0], copy=one.id, verdict=Verdict.ERASED_UNVERIFIED) for one in _planned(run).copies]
    for statements, verdict in (
        ([*run, mine], Verdict.UNKNOWN),
        ([*before, mine, swept], Verdict.ERASED_UNVERIFIED),
        ([*run, other], Verdict.ERASED_UNVERIFIED),
    ):
        made = certified(statements, verdicts)
        assert [verdict] == [one.verdict for one in made.copies if one.id == "media/objects"]
        assert {Verdict.ERASED_UNVERIFIED} == {one.verdict for one in made.copies if one.id != "media/objects"}


def test_p11_rows_that_are_left_are_told_by_the_copy_of_their_own_table() -> None:
    said = [read_unverified(one) for one in unbacked.rows_left_and_said_by_their_table().play().values()]
    *run, certificate = said
    assert isinstance(certificate, p.CertificatePredicate)
    verdicts = [CopyVerdict(copy=one.id, verdict=one.verdict, why=one.why) for one in certificate.copies]
    assert Verdict.PRESENT is certified(run, verdicts).verdict
    turned = {Verdict.PRESENT: Verdict.ERASED_VERIFIED, Verdict.ERASED_VERIFIED: Verdict.PRESENT}
    others = [
        replace(one, verdict=turned[one.verdict]) if one.copy.startswith("app/live:") else one for one in verdicts
    ]
    with pytest.raises(EvidenceFault, match="not erased as planned"):
        certified(run, others)


def _planned(run: list[p.Predicate]) -> p.PlanPredicate:
    assert isinstance(run[0], p.PlanPredicate)
    return run[0]


def test_p11_what_was_found_in_live_rows_and_not_looked_at_again_is_present(run: list[p.Predicate]) -> None:
    swept = run[-1]
    assert isinstance(swept, p.SweepPredicate)
    for place, verdict in ((0, Verdict.PRESENT), (1, Verdict.UNKNOWN), (3, Verdict.PRESENT)):
        dirty = [replace(c, hits=2, residue=1) if n == place else c for n, c in enumerate(swept.copies)]
        others = replace(swept, copies=tuple(c for n, c in enumerate(swept.copies) if n != place))
        made = certified([*run[:-1], replace(swept, copies=tuple(dirty)), others], judged(place, Verdict.UNKNOWN))
        assert (verdict, verdict) == (made.verdict, made.copies[place].verdict)


def test_p11_what_was_kept_until_a_day_that_is_over_is_present(run: list[p.Predicate]) -> None:
    for until, verdict, left in (
        (s.at(61), Verdict.BLOCKED_UNTIL, s.at(61)),
        (s.at(60), Verdict.PRESENT, None),
        (s.at(9), Verdict.PRESENT, None),
    ):
        made = certified(run, judged(1, Verdict.BLOCKED_UNTIL, until))
        assert (verdict, verdict, left) == (made.verdict, made.copies[1].verdict, made.copies[1].until)
        assert ("that day has come" in made.copies[1].why) == (left is None)


def test_p11_the_worst_copy_is_the_verdict_of_the_whole(run: list[p.Predicate]) -> None:
    until = datetime(2027, 1, 1, tzinfo=UTC)
    assert certified(run, judged(1, Verdict.UNKNOWN)).verdict is Verdict.UNKNOWN
    made = certified(run, judged(1, Verdict.BLOCKED_UNTIL, until))
    assert (Verdict.BLOCKED_UNTIL, until) == (made.verdict, made.copies[1].until)


def test_counts_are_those_of_the_statements_even_when_nothing_was_erased(run: list[p.Predicate]) -> None:
    present = [replace(v, verdict=Verdict.PRESENT) for v in VERIFIED]
    early = [r for r in run if not isinstance(r, p.ErasurePredicate | p.SweepPredicate)]
    counts = certified(early, present).counts
    assert {"us": 120, "ca": 30} == {home: c.moved for home, c in counts["app.public.messages"].items()}
    assert [(0, 0, 40)] == [(c.deleted, c.blanked, c.kept) for c in counts["app.public.users"].values()]
    differs = replace(s.equality(fenced=True), slices=(replace(s.equality(fenced=True).slices[0], home="2" * 64),))
    assert certified([*early, differs], present).counts["app.public.messages"]["us"].moved == 0
    more = replace(differs, slices=(replace(s.equality(fenced=True).slices[0], rows=121),))
    assert certified([*early, more], present).counts["app.public.messages"]["us"].moved == 0
    unfenced = [r for r in early if not (isinstance(r, p.EqualityPredicate) and r.fenced)]
    assert certified(unfenced, present).counts["app.public.users"]["us"].moved == 0
