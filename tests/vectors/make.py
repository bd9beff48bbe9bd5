"""Write the golden bundles: `python -m tests.vectors.make`. A test makes them again and compares every byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from domicile.evidence import predicates as p
from domicile.evidence.bundle import trust_policy
from domicile.evidence.keys import Verifier
from domicile.proof import Verdict
from tests.vectors import (
    bad_bytes,
    bad_stories,
    belied,
    contradictions,
    hostile,
    keyless,
    leaves,
    live,
    near_misses,
    objects,
    receipts,
    rotations,
    spot,
    successions,
    unbacked,
    untrusted,
    witnessed,
)
from tests.vectors import scenario as s
from tests.vectors.registry import DEFECTS

REGISTERED = (
    bad_bytes,
    bad_stories,
    belied,
    contradictions,
    hostile,
    keyless,
    leaves,
    live,
    near_misses,
    objects,
    receipts,
    rotations,
)  # importing them fills DEFECTS

FOLDER = Path(__file__).parent
GOOD = FOLDER / "good"
BAD = FOLDER / "bad"
UNWITNESSED = FOLDER / "unwitnessed"
UNTRUSTED = FOLDER / "untrusted"
SUFFIXES = ("zip", "txt", "tlog-proof", "text", "binary", "key", "json")


def all_files() -> dict[Path, bytes]:
    """Every file of this folder that is made."""
    bundles = {GOOD / f"{name}.zip": s.bundle_of(script) for name, script in good_scripts().items()}
    bundles |= {GOOD / f"{name}.zip": data for name, data in rotations.good_bundles().items()}
    bundles |= {GOOD / f"{name}.zip": data for name, data in belied.good_bundles().items()}
    policies = {FOLDER / "policies" / f"{name}.txt": text.encode() for name, text in policy_texts().items()}
    bad = {BAD / f"{name}.zip": defect.make() for name, defect in DEFECTS.items()}
    bundles[GOOD / "cosigned.zip"] = witnessed.good()
    unwitnessed = {UNWITNESSED / f"{name}.zip": data for name, data in witnessed.unwitnessed().items()}
    strangers = {UNTRUSTED / f"{name}.zip": data for name, data in untrusted.bundles().items()}
    papers = successions.files(FOLDER / "papers") | leaves.files(FOLDER / "papers")
    return bundles | policies | bad | unwitnessed | strangers | papers | spot.files(FOLDER / "spot")


def good_scripts() -> dict[str, s.Script]:
    """Runs that are accepted, as evidence, whatever their verdict."""
    return {
        "all-erased": s.good(),
        "detached-predicate": bad_bytes.large(),
        "backup-blocked": _judged("app/encrypted-files", Verdict.BLOCKED_UNTIL, until=True),
        "key-destroyed": s.key_destroyed(),
        "key-destroyed-and-more-found": _more_found(),
        "copy-held-with-residue": _found("app/encrypted-files", Verdict.HELD, rows=0),
        "rows-found-and-said": _found("app/live", Verdict.PRESENT, rows=5),
        "copy-unknown": _judged("app/statistics", Verdict.UNKNOWN, until=False),
        "nothing-erased-yet": stopped_before_the_erasure("approval", "clearance"),
        "cleared-and-nothing-erased-yet": stopped_before_the_erasure(),
        "receipts-destroyed-after-the-sweep": receipts.destroyed_last(),
        "live-run": live.live(),
        "live-run-on-its-way": live.not_frozen(),
        "objects-one-locked": objects.objects(),
        "objects-lock-is-over": objects.lock_is_over(),
        "key-destroyed-before-a-lock-was-over": near_misses.objects_went_last(),
        "compared-again": contradictions.compared_again(),
        "residue-left-out-and-unknown": contradictions.left_out_and_unknown(),
        "key-destroyed-since-it-was-read": contradictions.key_destroyed_since(),
        "key-destroyed-and-rows-back-and-searched-since": keyless.rows_back_and_searched_since(),
        "rows-back-and-then-its-key-destroyed": keyless.rows_back_and_destroyed_since(),
        "key-destroyed-and-not-read-since": contradictions.key_destroyed_and_not_read_since(),
        "receipts": receipts.at_once(),
        "receipts-and-a-slice-that-stays": contradictions.receipts_and_a_slice_that_stays(),
        "receipts-and-cleared-anew": unbacked.receipts_and_cleared_anew(),
        "receipts-of-one-home": contradictions.receipts_of_one_home(),
        "odd-and-true": contradictions.odd_and_true(),
        "one-approval-is-enough": s.good().set("plan", approvals=replace(s.plan().approvals, threshold=1)),
        "rows-left-and-said-by-their-table": unbacked.rows_left_and_said_by_their_table(),
        "objects-back-and-unknown": unbacked.objects_back_and_unknown(),
        "objects-back-and-searched-since": unbacked.objects_back_and_searched_since(),
        "receipts-in-parts": receipts.in_parts(),
        "receipts-in-cohorts": receipts.in_cohorts(),
        **belied.good_scripts(),
    }


def policy_texts() -> dict[str, str]:
    """Trust policies: the right one, three that don't trust this bundle, and some that ask for witnesses."""
    rule = s.plan().approvals
    engine = s.ENGINE.verifier
    stranger = p.ApproverKey(name="stranger", vkey=s.STRANGER.verifier.vkey)
    return {
        "right": trust_policy(engine, rule),
        "another-log": trust_policy(Verifier(name=engine.name, public=s.STRANGER.verifier.public), rule),
        "another-approver": trust_policy(engine, p.ApprovalRule(threshold=2, of=(rule.of[0], stranger))),
        "three-approvals": trust_policy(engine, p.ApprovalRule(threshold=3, of=(*rule.of, stranger))),
        "monitor-must": _must(trust_policy(engine, rule), "monitor.example+"),
        "stranger-must": _must(
            trust_policy(engine, p.ApprovalRule(threshold=2, of=(*rule.of, stranger))), "stranger.example+"
        ),
        **witnessed.policies(),
    }


def _must(policy: str, key: str) -> str:
    """The same where nothing may be erased without the holder of that key."""
    lines = [f"{line} must" if line.startswith(f"approver {key}") else line for line in policy.splitlines()]
    return "".join(f"{line}\n" for line in lines)


def _judged(copy: str, verdict: Verdict, *, until: bool) -> s.Script:
    copies = tuple(
        p.JudgedCopy(id=c.id, verdict=verdict, why="kept by rule", until=s.at(9_999) if until else None)
        if c.id == copy
        else c
        for c in s.certificate().copies
    )
    return s.good().set("certificate", copies=copies, verdict=verdict)


def _found(copy: str, verdict: Verdict, *, rows: int) -> s.Script:
    """The sweep found something, and the certificate says so."""
    swept = tuple(
        p.SweptCopy(id=c.id, method=c.method, bytes=c.bytes, hits=3, residue=2) if c.id == copy else c
        for c in s.sweep().copies
    )
    script = _judged(copy, verdict, until=False)
    return script.set("sweep", copies=swept, rows=p.SweptRows(datasets=2, hits=rows))


def _more_found() -> s.Script:
    """Of the copy whose key was destroyed something else was found meanwhile."""
    more = p.FindingPredicate(plan=s.PLAN, kind="note", where=s.KEYED, count=1, text="a folder of another owner")
    return s.key_destroyed().before("sweep", s.Line("note", lambda _: more))


def stopped_before_the_erasure(*without: str) -> s.Script:
    """A run in which nothing was erased yet, and the certificate says so; and `without` these statements."""
    dropped = ("intent", "outcome", *without)
    names = [name for name in s.good().names() if name.startswith(dropped)]
    counts = {
        dataset: {home: p.Counts(moved=c.moved, deleted=0, blanked=0, kept=c.moved) for home, c in homes.items()}
        for dataset, homes in s.certificate().counts.items()
    }
    copies = tuple(
        p.JudgedCopy(id=c.id, verdict=Verdict.PRESENT, why="not erased yet", until=None) for c in s.certificate().copies
    )
    script = s.good().without(*names, "sweep")
    return script.set("certificate", copies=copies, counts=counts, verdict=Verdict.PRESENT)


def main() -> None:
    """Write what is made, and remove what is no longer made."""
    files = all_files()
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for path in {path for suffix in SUFFIXES for path in FOLDER.rglob(f"*.{suffix}")} - files.keys():
        path.unlink()


if __name__ == "__main__":
    main()
