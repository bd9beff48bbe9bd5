"""`python -m bench.receipts`: everybody's receipts against the bare hashes that they consist of, for a million people.

The bare hashes are one SHA-256 over what each person's leaf commits to, and the hashes of the tree, in one loop of
Python over openings that stand ready. The engine counts each person's rows in the database, writes each leaf and its
nonce, and the tree, durably. Both run in a process of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from bench.apart import apart
from bench.machine import facts
from bench.pairing import Sample, interleave, ratio_of, speed
from bench.results import Figure, Part, Results, tell, write
from bench.world import EVENTS, HOME, Sizes, World, engine_of, made_world
from domicile.evidence.codec import dump_json, encode
from domicile.evidence.keys import Signer
from domicile.evidence.ledger import Ledger
from domicile.evidence.predicates import (
    ApprovalRule,
    ApproverKey,
    CertificatePredicate,
    Counts,
    JudgedCopy,
    Place,
    PlanPredicate,
    ReceiptsPredicate,
    Received,
)
from domicile.evidence.receipts.document import write_document
from domicile.evidence.receipts.keeping import Receipts
from domicile.evidence.receipts.leaf import Person, Rows, opening
from domicile.evidence.statement import seal
from domicile.host import Host
from domicile.model import Scope
from domicile.proof import Verdict
from domicile.stores.postgres.persons import counted_people
from domicile.stores.postgres.session import application_path
from domicile_audit.papers.paper import check

RESULTS = Path(__file__).resolve().parent / "results"
ENGINE, COUNTING, BARE = "engine", "counting in the database, and reading it", "bare hashes"
SECONDS_MAX = 3_600
COPIES, SAMPLED = 60, 1_000
PERSON = "app.public.person"
ALL = Counts(moved=10**9, deleted=10**9, blanked=10**9, kept=0)
MOMENT = datetime(2026, 11, 22, 10, tzinfo=UTC)
PLAN = hashlib.sha256(b"plan").hexdigest()
APPROVER = Signer(name="bench.example/approver", seed=hashlib.sha256(b"approver").digest())
AIM = 0.02
"""A million people in minutes: the bare hashes take some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a worker needs to know."""

    source_dsn: str
    scope: Scope
    folder: Path
    people: int


def engine(task: Task) -> int:
    """What the engine does between clearance and erasure."""
    return _make(task, Receipts(task.folder / "receipts", bytes(32)))


def counting(task: Task) -> int:
    """The part of it that is the database's: count, and read what was counted."""
    source = engine_of(task.source_dsn, "", task.scope).source
    with closing(source), application_path(source.connection):
        return sum(1 for _ in counted_people(source.connection, task.scope))


def bare(task: Task) -> int:
    """The hashes alone, over bytes as long as an opening."""
    rows = {PERSON: Rows(moved=1, deleted=0, blanked=1), EVENTS: Rows(moved=4, deleted=4, blanked=0)}
    body = dump_json(opening(Person(kind=PERSON, key="1000000", home=HOME, rows=rows)))
    level = [hashlib.sha256(number.to_bytes(32, "big") + body).digest() for number in range(task.people)]
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in level]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        above = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in pairs]
        level = above + level[2 * len(above) :]
    return task.people


def _make(task: Task, receipts: Receipts) -> int:
    source = engine_of(task.source_dsn, "", task.scope).source
    with closing(source), closing(receipts), application_path(source.connection):
        stated = receipts.make(counted_people(source.connection, task.scope), _stated, Host())
    return sum(home.subjects for one in stated for home in one.homes.values())


def _stated(cohort: int, part: int, homes: Mapping[str, int], root: bytes) -> ReceiptsPredicate:
    return ReceiptsPredicate(
        plan=PLAN, clearance=PLAN, cohort=cohort, part=part, home_since=MOMENT, counted_at=MOMENT,
        homes={home: Received(country="US", operator="Home Inc", subjects=count) for home, count in homes.items()},
        root=root.hex(),
    )  # fmt: skip


def measured(work: Callable[[Task], int], task: Task) -> Sample:
    """Run in a fresh process, on an empty folder."""
    shutil.rmtree(task.folder, ignore_errors=True)
    task.folder.mkdir()
    return apart(partial(partial, work), task, imports=__name__)


def compare(world: World, folder: Path, sizes: Sizes, *, rounds: int) -> Part:
    """The engine, its database's part and the bare hashes, in turn."""
    task = Task(source_dsn=world.source_dsn, scope=world.scope, folder=folder, people=sizes.people)
    works = {BARE: bare, COUNTING: counting, ENGINE: engine}
    contenders = {name: partial(measured, work, task) for name, work in works.items()}
    done = interleave(contenders, rounds=rounds, before=lambda: None, tell=tell)
    engine_alone = [samples[BARE].seconds / (samples[ENGINE].seconds - samples[COUNTING].seconds) for samples in done]
    return Part(
        title=f"Receipts of {sizes.people:,} people",
        rounds=done,
        figures=(
            Figure(name=f"{ENGINE} / {BARE}", ratio=speed(done, ENGINE, against=BARE), target=AIM),
            Figure(name=f"({ENGINE} less its database's part) / {BARE}", ratio=ratio_of(engine_alone)),
            Figure(name=f"{COUNTING} / {BARE}", ratio=speed(done, COUNTING, against=BARE)),
        ),
    )


def sizes_of(folder: Path, people: int) -> tuple[dict[str, int], dict[str, float]]:
    """Bytes in the log, beside it and of a receipt, and how long receipts take to be written and checked."""
    receipts, signer = Receipts(folder / "receipts", bytes(32)), Signer(name="bench.example/log", seed=bytes(32))
    ledger = Ledger.open(folder / "evidence", signer)
    certificate = CertificatePredicate(
        plan=PLAN, verdict=Verdict.ERASED_VERIFIED, counts={PERSON: {HOME: ALL}, EVENTS: {HOME: ALL}}, not_proven=(),
        issued_at=MOMENT,
        copies=tuple(
            JudgedCopy(id=f"app/copy-{number}", verdict=Verdict.ERASED_VERIFIED, why="searched, and found nothing",
                       until=None)
            for number in range(COPIES)
        ),
    )  # fmt: skip
    ledger.record(
        PlanPredicate(
            plan=PLAN, programme="bench", engine="0", config_sha256=PLAN, made_at=MOMENT, deadline=None,
            homes={"US": HOME}, slices=(), copies=(), not_proven=(),
            locations={HOME: Place(country="US", operator="Home Inc")},
            approvals=ApprovalRule(threshold=1, of=(ApproverKey(name="approver", vkey=APPROVER.verifier.vkey),)),
        )
    )  # fmt: skip
    with closing(receipts):
        stated = receipts.stated()
        places = {one: place.index for one, place in zip(map(encode, stated), ledger.record_all(stated), strict=True)}
        last = ledger.record(certificate).index
        start, texts = time.monotonic(), []
        for key in _keys(people):
            leaf = receipts.find(key, receipts.kinds())
            place = places[encode(leaf.stated)]
            texts.append(write_document(
                ledger.log, leaf, stated=(place, ledger.sealed(place)), certificate=(last, ledger.sealed(last))
            ))  # fmt: skip
        written_s, start = time.monotonic() - start, time.monotonic()
        refused = sum(not check(text).accepted for text in texts)
    if refused:
        raise RuntimeError(f"{refused} of {len(texts)} receipts were refused")
    checked_s = time.monotonic() - start
    kept = sum(path.stat().st_size for path in (folder / "receipts").iterdir())
    return (
        {
            "bytes of the log for all": sum(len(seal(one, signer).envelope) for one in stated),
            "bytes kept beside it": kept, "bytes kept for each person": round(kept / people),
            "bytes of a receipt": max(map(len, texts)),
        },
        {
            f"writing {len(texts):,} receipts": written_s,
            f"checking {len(texts):,} receipts": checked_s,
        },
    )  # fmt: skip


def _keys(people: int) -> Iterator[str]:
    step = max(1, people // SAMPLED)
    return (str(number) for number in range(1, people + 1, step))


def main() -> None:
    """Make a source, freeze it, measure, write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.receipts", description=main.__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=4, help="rows of each person, on the average")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder for the results")
    given = parser.parse_args()
    sizes = Sizes(people=given.people, events=given.people * given.rows, share_percent=100)
    folder = Path(mkdtemp(prefix="domicile-bench-", dir="/var/tmp"))
    try:
        with made_world(sizes, major=18) as world:
            source = engine_of(world.source_dsn, world.home_dsn, world.scope).source
            with closing(source):
                source.stand_fence(world.scope)
                source.freeze(world.scope)
            part = compare(world, folder / "run", sizes, rounds=given.rounds)
            measured(engine, Task(
                source_dsn=world.source_dsn, scope=world.scope, folder=folder / "run", people=sizes.people,
            ))  # fmt: skip
            found, once_s = sizes_of(folder / "run", sizes.people)
            sizes_found = {"people": sizes.people, "rows of theirs": sizes.events, **found}
            results = Results(
                machine=facts(world.source_dsn), sizes=sizes_found, once_s=once_s, parts=(part,), memory={}
            )  # fmt: skip
    finally:
        shutil.rmtree(folder)
    for path in write(results, given.results, "receipts-postgresql-18"):
        print(path)


if __name__ == "__main__":
    main()
