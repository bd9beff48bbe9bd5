"""The plan: what people sign. Pure: config, catalogue, survey and inventory → one file with a digest.

It holds counts and ids, never keys. `apply` refuses when the file, the programme's file or the catalogue is not what
the plan was made from (P4); the rows themselves may have grown meanwhile, and are frozen under the fence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from domicile import __version__
from domicile.catalogue import Catalogue, TableName
from domicile.config import Config
from domicile.config.rules import Disposition
from domicile.errors import BadFile, Refused, WorldChanged
from domicile.model import Derived, Finding, Manifest, Scope, Tally
from domicile.plan.silencing import Silenced, silenced
from domicile.proof import Copy

PLAN_BYTES_MAX = 64 * 1024 * 1024
# Measured on the short-video service of 300,000 rows, on 2 cores: bytes alone would say 4 s where it took 25.
COPY_BYTES_S = 60_000_000
SLICE_S = 0.2  # copied, compared, restored, erased
COPY_S = 0.1  # treated and searched
PASSES = 5  # copy, verify on both sides, restore and its read, erase's compare
WAY_ON = (
    "take the change back and run `domicile apply` again, or, while nothing is erased, `domicile abandon` the run and "
    "plan anew"
)
NOT_PROVEN = (
    "what lies below the file interface (free blocks of the file system, disks taken away) is not looked at",
    "copies made by people or programs that no store lists are not known",
    "rows that every home gets were copied as they were then; people who stay may have changed theirs since",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDataset:
    """One dataset as the plan prints it."""

    id: str
    rows: str
    home_rows: str
    path: str
    key: tuple[str, ...]
    rows_estimate: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDerived:
    """What is computed from datasets, and what becomes of it outside; at home it is made anew."""

    id: str
    of: tuple[str, ...]
    outside: str
    rows_estimate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Bytes that have to pass, at a rate, against the deadline; `fits` is None without a deadline."""

    bytes: int
    passes: int
    rate_bytes_s: int
    seconds: int
    ends_at: datetime
    deadline: date | None
    fits: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is going to be done, and everything that will stay as it is."""

    version: int
    engine: str
    programme: str
    made_at: datetime
    config_sha256: str
    catalogue_sha256: str
    source: str
    homes: dict[str, str]
    subjects: dict[str, int]
    datasets: tuple[PlannedDataset, ...]
    derived: tuple[PlannedDerived, ...]
    silenced: tuple[Silenced, ...]
    tallies: tuple[Tally, ...]
    slices: int
    findings: tuple[Finding, ...]
    copies: tuple[Copy, ...]
    approvals_threshold: int
    approvers: tuple[str, ...]
    forecast: Forecast
    not_proven: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What moves beside the rows: objects, as findings and in bytes."""

    findings: tuple[Finding, ...] = ()
    bytes: int = 0


_PLAN = TypeAdapter(Plan)


def make_plan(  # noqa: PLR0913, PLR0917 - everything a plan is made of
    config: Config,
    config_bytes: bytes,
    catalogue: Catalogue,
    scope: Scope,
    manifest: Manifest,
    copies: Sequence[Copy],
    *,
    outside: Sequence[Finding] = (),
    beside: Beside | None = None,
    now: datetime,
) -> Plan:
    """Put together what the survey counted and the inventory lists.

    `beside` is what was counted in object stores, `outside` what was found beyond the file.
    """
    beside = beside or Beside()
    refuse_expired(config, now.date())
    refuse_private_keys(config, scope)
    sizes = {table.name: (table.rows_estimate, table.bytes) for table in catalogue.tables}
    datasets = tuple(
        PlannedDataset(
            id=dataset.id, rows=dataset.rows.value, home_rows=dataset.home_rows.value,
            path=" | ".join(path.text for path in dataset.paths), key=dataset.key,
            rows_estimate=sizes[dataset.table][0], bytes=sizes[dataset.table][1],
        )
        for dataset in scope.datasets
    )  # fmt: skip
    return Plan(
        version=1,
        engine=__version__,
        programme=config.programme.name,
        made_at=now,
        config_sha256=hashlib.sha256(config_bytes).hexdigest(),
        catalogue_sha256=catalogue_sha256(catalogue),
        source=config.source,
        homes=dict(config.policy.homes),
        subjects={str(home): count for home, count in manifest.subjects},
        datasets=datasets,
        derived=tuple(_planned_derived(item, sizes) for item in scope.derived),
        silenced=silenced(scope, catalogue),
        tallies=manifest.tallies,
        slices=len(manifest.slices),
        findings=(*manifest.findings, *beside.findings, *outside),
        copies=tuple(copies),
        approvals_threshold=config.policy.approvals.erase.threshold,
        approvers=config.policy.approvals.erase.of,
        forecast=forecast(
            datasets, manifest, config.programme.deadline, copies=len(copies), beside_bytes=beside.bytes, now=now
        ),
        not_proven=(
            *NOT_PROVEN,
            *_excepted(config),
            *_directory(config, scope),
            *_unlogged(catalogue, scope),
            *(f"{finding.where}: {finding.text}" for finding in outside),
        ),
    )


def _planned_derived(item: Derived, sizes: Mapping[TableName, tuple[int, int]]) -> PlannedDerived:
    return PlannedDerived(
        id=str(item.id), of=tuple(map(str, item.of)), outside="refreshed" if item.view else "emptied",
        rows_estimate=max(sizes.get(item.table, (0, 0))[0], 0),
    )  # fmt: skip


def refuse_expired(config: Config, today: date) -> None:
    """Raise Refused when a field is excepted under an exception whose end has passed."""
    used = {field.exception for rule in config.datasets.values() for field in rule.fields.values()}
    for exception in config.policy.exceptions:
        if exception.id in used and exception.until < today:
            raise Refused(
                f"policy.exceptions: {exception.id} ended on {exception.until}; class its fields anew, or have it "
                "approved again"
            )


def refuse_private_keys(config: Config, scope: Scope) -> None:
    """Raise Refused when a directory is to keep outside what the file calls private: the subject's key."""
    if config.directory:
        for name in _private_keys(scope):
            raise Refused(
                f"directory: it keeps the key of everybody who moves at the source, and {name} is private; class it "
                f"public in datasets.{name.rpartition('.')[0]}.fields, or leave `directory` out"
            )


def _private_keys(scope: Scope) -> list[str]:
    return [f"{kind.dataset}.{kind.key}" for kind in scope.kinds if kind.key in scope.dataset(kind.dataset).private]


def _directory(config: Config, scope: Scope) -> Iterator[str]:
    """What the directory keeps outside, in words."""
    if config.keeps_directory:
        why = config.directory.purpose if config.directory else "a move by cohorts led requests by it, and leaves it"
        private = "".join(f" ({name}, which the file calls private)" for name in _private_keys(scope))
        yield (
            f"{config.source}/directory keeps the key of everybody who moves{private}, their home's location and "
            f"whether they live there, nothing else of them: {why}"
        )


def _excepted(config: Config) -> Iterator[str]:
    """What stays outside under an exception, in words."""
    exceptions = {exception.id: exception for exception in config.policy.exceptions}
    for name, rule in config.datasets.items():
        for column, field in rule.fields.items():
            if field.exception:
                found = exceptions[field.exception]
                yield (
                    f"{name}.{column} stays outside under exception {found.id} until {found.until}: {found.purpose} "
                    f"(for {found.recipient}; approved by {', '.join(found.approvers)})"
                )


def _unlogged(catalogue: Catalogue, scope: Scope) -> Iterator[str]:
    """Tables that a crash of a server empties: what is at home may go without anybody's doing."""
    for table in catalogue.tables:
        if table.unlogged and any(dataset.table == table.name and dataset.moves for dataset in scope.datasets):
            yield f"{table.name} is unlogged, at home too: a crash of the server there empties it"


def catalogue_sha256(catalogue: Catalogue) -> str:
    """The digest of the shape that a plan is bound to."""
    return hashlib.sha256(catalogue.digest_text().encode()).hexdigest()


def forecast(  # noqa: PLR0913 - what is to pass, by when, and at which rate
    datasets: Sequence[PlannedDataset],
    manifest: Manifest,
    deadline: date | None,
    *,
    copies: int,
    beside_bytes: int = 0,
    now: datetime,
    rate_bytes_s: int = COPY_BYTES_S,
) -> Forecast:
    """Bytes of the slices (by each dataset's mean row) times the passes that the promises ask for, at the rate.

    Those of objects go with them: `beside_bytes`. And what each slice and each copy costs however small it is.
    """
    width = {dataset.id: dataset.bytes / max(dataset.rows_estimate, 1) for dataset in datasets}
    size = round(sum(piece.rows * width[piece.dataset] for piece in manifest.slices)) + beside_bytes
    fixed = len(manifest.slices) * SLICE_S + copies * COPY_S
    seconds = size * PASSES // rate_bytes_s + round(fixed) + 1
    ends_at = now + timedelta(seconds=seconds)
    fits = None if deadline is None else ends_at.date() <= deadline
    return Forecast(
        bytes=size, passes=PASSES, rate_bytes_s=rate_bytes_s, seconds=seconds, ends_at=ends_at, deadline=deadline,
        fits=fits,
    )  # fmt: skip


def bytes_by_home(plan: Plan) -> dict[str, int]:
    """Bytes of the rows that go to each home, by each dataset's mean row; public rows go to all."""
    width = {dataset.id: dataset.bytes / max(dataset.rows_estimate, 1) for dataset in plan.datasets}
    everywhere = sum(dataset.bytes for dataset in plan.datasets if dataset.rows is not Disposition.MOVE)
    found = dict.fromkeys(dict.fromkeys(plan.homes.values()), everywhere)
    for tally in plan.tallies:
        found[str(tally.home)] += round((tally.whole + tally.supporting) * width.get(tally.dataset, 0))
    return {home: round(size) for home, size in found.items()}


def encode_plan(plan: Plan) -> bytes:
    """Write the plan's file."""
    return _PLAN.dump_json(plan, indent=1) + b"\n"


def decode_plan(data: bytes, *, origin: str = "plan.json") -> Plan:
    """Read a plan's file; raise BadFile unless it is one of this version, spelt as `encode_plan` spells it."""
    if len(data) > PLAN_BYTES_MAX:
        raise BadFile(f"{origin} is larger than {PLAN_BYTES_MAX} bytes; run `domicile plan` again")
    try:
        plan = _PLAN.validate_json(data)
    except ValidationError as fault:
        where = ".".join(str(part) for part in fault.errors()[0]["loc"])
        raise BadFile(f"{origin} is not a plan ({where or 'not JSON'}); run `domicile plan` again") from None
    if encode_plan(plan) != data:
        raise BadFile(f"{origin} was edited; a plan is made, not written: run `domicile plan` again")
    return plan


def refuse_changed_world(plan: Plan, config_bytes: bytes, catalogue: Catalogue) -> None:
    """Raise WorldChanged when the programme's file or the source's shape is not the plan's (P4)."""
    if hashlib.sha256(config_bytes).hexdigest() != plan.config_sha256:
        raise WorldChanged(f"domicile.yaml changed since the plan was made; {WAY_ON}")
    if catalogue_sha256(catalogue) != plan.catalogue_sha256:
        raise WorldChanged(
            f"store {plan.source}: tables, columns, keys or triggers changed since the plan was made; {WAY_ON}"
        )
    if plan.engine != __version__:
        raise WorldChanged(
            f"the plan was made by engine {plan.engine}, this is {__version__}; run `domicile plan` again"
        )
