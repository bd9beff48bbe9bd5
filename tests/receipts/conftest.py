"""A run's record with a real log and real receipts of the people of `tests.vectors.receipts`, without any store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from domicile.events import silent
from domicile.evidence import predicates as p
from domicile.evidence.commitments import Commitments
from domicile.evidence.keys import Signer
from domicile.evidence.receipts.keeping import Receipts
from domicile.evidence.receipts.leaf import Person
from domicile.evidence.statement import Sealed
from domicile.host import Host
from domicile.record import Record
from domicile.record.journal import Journal
from domicile.record.workspace import Workspace
from tests.vectors import receipts as r
from tests.vectors import scenario as s

KEY = bytes(range(32))


@dataclass(slots=True, kw_only=True)
class Told:
    """A record whose log holds a script's statements, with receipts that can be opened."""

    record: Record
    folder: Path

    def tell(self, line: s.Line, played: Mapping[str, Sealed]) -> None:
        """State one more thing."""
        made = line.make(played)
        assert isinstance(made, p.Predicate)
        self.record.state(made)

    def kinds(self) -> list[str]:
        """The kinds of statements and findings in the log."""
        told = (one.predicate for one in self.record.ledger.statements())
        return [one.kind if isinstance(one, p.FindingPredicate) else one.KIND for one in told]


Tell = Callable[..., Told]


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Tell]:
    """`tell(script, people by cohort)`: the script's run, its statements of receipts replaced by real ones."""
    journals: list[Journal] = []

    def run(
        script: s.Script, cohorts: Mapping[int, Sequence[Person]], *, name: str = "run", signer: Signer = s.ENGINE
    ) -> Told:
        (tmp_path / name).mkdir()
        workspace = Workspace(tmp_path / name / "domicile.yaml")
        workspace.make()
        journal = Journal(workspace.journal)
        journals.append(journal)
        record = Record(workspace, signer, journal, host=Host(), listener=silent)
        told = Told(record=record, folder=workspace.folder)
        played = dict(script.play())
        for line in script.lines:
            if line.name.startswith("receipts"):
                for stated in _made(record, played, cohorts):
                    record.state(stated)
            elif line.signer is not s.ENGINE:
                record.ledger.admit(played[line.name].envelope)
            else:
                told.tell(line, played)
        return told

    yield run
    for journal in journals:
        journal.close()


def _made(
    record: Record, played: Mapping[str, Sealed], cohorts: Mapping[int, Sequence[Person]]
) -> tuple[p.ReceiptsPredicate, ...]:
    """Real receipts of these people, made once, in the words of the script."""
    with closing(Commitments.make(record.commitments, record.host)) as commitments:
        receipts = Receipts(record.receipts, commitments.key_of("receipts"))
    since = {0: 10, 3: 4, 4: 9}

    def state(cohort: int, part: int, homes: Mapping[str, int], root: bytes) -> p.ReceiptsPredicate:
        counts = Counter[str]()
        for home, count in homes.items():  # of somebody elsewhere the statement says that they are in the US
            counts[home if home in s.plan().homes.values() else "us"] += count
        made = r.stated(counts, cohort=cohort, part=part, since=since[cohort]).make(played)
        assert isinstance(made, p.ReceiptsPredicate)
        return replace(made, root=root.hex())

    with closing(receipts):
        everybody = ((cohort, person) for cohort, some in cohorts.items() for person in some)
        return receipts.stated() or receipts.make(everybody, state, record.host)


def everybody() -> dict[int, list[Person]]:
    """The people of a run at once."""
    return {0: [*r.people(40, "us"), *r.people(10, "ca", first=41)]}


def by_cohorts() -> dict[int, list[Person]]:
    """The people of a run by cohorts."""
    third = [*r.people(39, "us"), *r.people(9, "ca", first=40)]
    return {3: third, 4: [*r.people(1, "us", first=49), *r.people(1, "ca", first=50)]}
