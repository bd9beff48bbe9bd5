"""Commands of exports: OSCAL, CSV, and the packs that say which clauses statements support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from domicile.cli.common import DEFAULT_FILE, FileOption, JsonOption, opened
from domicile.cli.show import Screen, plain, verdict
from domicile.errors import HostFault, Refused
from domicile.evidence.bundle import make_bundle
from domicile.evidence.predicates import CertificatePredicate
from domicile.exports.audited import ask
from domicile.exports.bundled import opened_bundle
from domicile.exports.evidence import Evidence, read_evidence
from domicile.exports.holding import holdings
from domicile.exports.oscal import assessment_results
from domicile.exports.packs import ReadPack, choose
from domicile.exports.support import State, supports
from domicile.exports.tables import tables
from domicile.host import write_whole
from domicile.plan.document import PLAN_BYTES_MAX
from domicile.run import Run

export = typer.Typer(
    help="The log in the forms that auditors' tools read, and which clauses it supports.", no_args_is_help=True
)
PackOption = Annotated[
    list[str] | None,
    typer.Option("--pack", help="A pack's id or file, again for more; without it, all packs of Domicile."),
]
UnfinishedOption = Annotated[
    bool, typer.Option("--unfinished", help="Export a run without a certificate, and say so on every finding.")
]


BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="Export what this bundle holds; then no programme is needed.")
]
PolicyOption = Annotated[
    Path | None, typer.Option("--trust", metavar="POLICY", help="With --bundle: whose keys count, else its own.")
]


def register(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.add_typer(export, name="export")


@export.command(name="oscal")
def oscal(
    to: Annotated[Path, typer.Option(help="The file to write.")] = Path("assessment-results.json"),
    pack: PackOption = None,
    unfinished: UnfinishedOption = False,
    bundle: BundleOption = None,
    trust: PolicyOption = None,
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Write OSCAL assessment results (NIST, JSON, 1.2.3): findings with a target status, never better than the log.

    Example: domicile export oscal --to results.json --pack gdpr; domicile export oscal --bundle b.zip --trust p.txt
    """
    screen, packs = Screen(as_json=as_json), choose(pack or [])
    with _read(screen, file, bundle, trust, unfinished=unfinished) as evidence:
        _write(to, assessment_results(evidence, packs))
    _tell(screen, evidence, packs, written=[to])


@export.command(name="csv")
def tables_(
    to: Annotated[Path, typer.Option(help="The folder to write into; it is made if it is not there.")] = Path("export"),
    pack: PackOption = None,
    unfinished: UnfinishedOption = False,
    bundle: BundleOption = None,
    trust: PolicyOption = None,
    file: FileOption = DEFAULT_FILE,
    as_json: JsonOption = False,
) -> None:
    """Write tables as CSV: run, copies, slices, statements, kinds, counts, cohorts, clauses, not-proven.

    Example: domicile export csv --to tables
    """
    screen, packs = Screen(as_json=as_json), choose(pack or [])
    with _read(screen, file, bundle, trust, unfinished=unfinished) as evidence:
        made = tables(evidence, packs)
        try:
            to.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise HostFault(f"{to} can't be made ({fault.strerror}); name another folder with --to") from None
        for name, data in made.items():
            _write(to / name, data)
    _tell(screen, evidence, packs, written=[to / name for name in made])


@export.command(name="packs")
def packs_(pack: PackOption = None, as_json: JsonOption = False) -> None:
    """List packs and their clauses, and check a pack of your own.

    Example: domicile export packs --pack ours.yaml
    """
    screen, chosen = Screen(as_json=as_json), choose(pack or [])
    for one in chosen:
        mine = one.pack
        screen.say(f"{plain(mine.id)} {plain(mine.version)}: {plain(mine.text)}\n{plain(mine.source)}")
        screen.table(
            f"what a run can support of {plain(mine.title)}",
            ("clause", "says", "statements", "copies"),
            (
                (
                    plain(clause.reference), plain(clause.says), plain(", ".join(clause.supported_by.statements)),
                    ", ".join(clause.supported_by.verdicts) or "–",
                )
                for clause in mine.clauses
            ),
        )  # fmt: skip
        for left in mine.not_covered:
            screen.say(f"not covered: {plain(left.reference)}: {plain(left.why)}")
    screen.value([{"sha256": one.sha256, **one.pack.model_dump(mode="json")} for one in chosen])


@contextmanager
def _read(
    screen: Screen, file: Path, bundle: Path | None, trust: Path | None, *, unfinished: bool
) -> Iterator[Evidence]:
    """The evidence of a bundle, or of the programme here."""
    if bundle is None and trust is not None:
        raise Refused("--trust says whose keys of a bundle count; give that bundle with --bundle")
    if bundle is None:
        with opened(file, screen) as run:
            yield _evidence(run, unfinished=unfinished)
        return
    with opened_bundle(bundle, trust=trust) as (ledger, audit):
        yield read_evidence(ledger, audit=audit, unfinished=unfinished)


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as fault:
        raise HostFault(f"{path} can't be written ({fault.strerror}); check rights and space") from None


def _evidence(run: Run, *, unfinished: bool) -> Evidence:
    if not run.ledger.size:
        raise Refused("nothing was done yet, so the log is empty; `domicile plan`, then `domicile apply`")
    audit = ask(_bundle(run)) if run.last(CertificatePredicate) else None
    return read_evidence(run.ledger, audit=audit, unfinished=unfinished)


def _bundle(run: Run) -> bytes:
    plan = run.workspace.read(run.workspace.plan, bytes_max=PLAN_BYTES_MAX, remedy="put it back from the bundle")
    return make_bundle(run.ledger, plan_file=plan, signer=run.signer)


def _tell(screen: Screen, evidence: Evidence, packs: tuple[ReadPack, ...], *, written: list[Path]) -> None:
    found = supports(evidence, holdings(evidence), [one.pack for one in packs])
    satisfied = Counter(one.pack.id for one in found if one.state is State.SATISFIED)
    copies = sum(1 for copy in evidence.copies if copy.satisfied)
    for path in written:
        screen.say(f"written: {plain(str(path))}")
    for one in packs:
        screen.say(f"{plain(one.pack.id)}: {satisfied[one.pack.id]} of {len(one.pack.clauses)} clauses are supported")
    for doubt in evidence.doubts:
        screen.say(f"the certificate is not believed: {plain(doubt)}")
    word = verdict(evidence.facts.judgement.verdict)
    note = "" if evidence.finished else "; the run is not finished, so nothing is satisfied"
    screen.say(f"{copies} of {len(evidence.copies)} copies are erased and verified; the whole: {word}{note}")
    screen.value(
        {
            "written": [str(path) for path in written],
            "finished": evidence.finished,
            "audit": evidence.audit.says if evidence.audit else None,
            "doubts": list(evidence.doubts),
            "verdict": evidence.facts.judgement.verdict.value,
            "copies": {"satisfied": copies, "of": len(evidence.copies)},
            "clauses": {
                one.pack.id: {"supported": satisfied[one.pack.id], "of": len(one.pack.clauses)} for one in packs
            },
        }
    )
