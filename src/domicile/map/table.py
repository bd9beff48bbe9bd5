"""The data map as a table: one row per dataset of a finished (or half-finished) `domicile.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from domicile.catalogue import Catalogue, Table, View
from domicile.config import Config, dataset_id
from domicile.config.rules import DatasetRule, Disposition, FieldClass, Hop


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many fields of a dataset are of which class."""

    private: int = 0
    public: int = 0
    excepted: int = 0
    unclassed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRow:
    """One dataset: `rows` is None when the file says nothing of it; sizes are the database's estimates."""

    dataset: str
    rows: Disposition | None
    rows_estimate: int
    bytes: int
    path: str
    fields: Counts
    open: int


def table(config: Config | None, catalogue: Catalogue) -> tuple[MapRow, ...]:
    """Join file and catalogue; datasets that the file doesn't know come first, as they stop the plan (P4)."""
    source = config.source if config else "app"
    rows = [_row(config, dataset_id(source, item.name), item) for item in catalogue.tables]
    rows += [_view(config, dataset_id(source, view.name), view) for view in catalogue.views if view.materialised]
    return tuple(sorted(rows, key=lambda row: (row.rows is not None, row.dataset)))


def class_of(rule: DatasetRule | None, column: str) -> FieldClass | None:
    """Return the class of a field: what the file says; in rows that move or are derived, private; else None."""
    if rule is None:
        return None
    if column in rule.fields:
        return rule.fields[column].cls
    if rule.rows in (Disposition.MOVE, Disposition.DERIVED):
        return FieldClass.PRIVATE
    return FieldClass.PUBLIC if rule.rows is Disposition.NONE and not rule.fields else None


def spell_path(hops: tuple[Hop, ...]) -> str:
    """Spell a path for people: `rental_id → customer_id`, `← app.public.customer.address_id`."""
    return " → ".join(_spell(hop) for hop in hops)


def _spell(hop: Hop) -> str:
    via = ",".join(hop.via)
    if hop.from_:
        return f"← {hop.from_}.{via}"
    return f"{via} ({hop.when})" if hop.when else via


def _row(config: Config | None, name: str, item: Table) -> MapRow:
    rule = config.datasets.get(name) if config else None
    classes = [class_of(rule, column.name) for column in item.columns]
    counts = Counts(
        private=classes.count(FieldClass.PRIVATE),
        public=classes.count(FieldClass.PUBLIC),
        excepted=classes.count(FieldClass.EXCEPTED),
        unclassed=classes.count(None),
    )
    return MapRow(
        dataset=name,
        rows=rule.rows if rule else None,
        rows_estimate=item.rows_estimate,
        bytes=item.bytes,
        path="; ".join(_paths(config, name, rule)),
        fields=counts,
        open=counts.unclassed + (rule is None),
    )


def _view(config: Config | None, name: str, view: View) -> MapRow:
    rule = config.datasets.get(name) if config else None
    return MapRow(
        dataset=name, rows=rule.rows if rule else None, rows_estimate=0, bytes=view.bytes,
        path=_spell_of(view.reads), fields=Counts(), open=int(rule is None),
    )  # fmt: skip


def _spell_of(names: Sequence[object]) -> str:
    """Spell what something is computed from: the first, and how many more."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"derived from {names[0]}{more}" if names else "derived"


def _paths(config: Config | None, name: str, rule: DatasetRule | None) -> Iterator[str]:
    if config is not None and any(name == kind.dataset for kind in config.kinds):
        yield "the subject"
    if rule is not None and rule.of:
        yield _spell_of(rule.of)
    if rule is not None:
        yield from (spell_path(way.path) for way in rule.paths)
