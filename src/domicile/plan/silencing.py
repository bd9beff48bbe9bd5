"""What the schema would do of its own when rows go, and what becomes of it during the erasure (ADR 0006). Pure.

The erasure runs with the application's triggers, rules and foreign-key actions switched off, asks itself what the keys
would have asked, and counts afterwards that nothing else changed. What can't be switched off refuses the plan before
this is asked (`resolve`). So everything here is silent; the plan names it, because somebody relies on each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from domicile.catalogue import Catalogue, OnDelete, Table
from domicile.config.rules import Apart
from domicile.model import DatasetScope, Scope

ACTIONS = (OnDelete.CASCADE, OnDelete.SET_NULL, OnDelete.SET_DEFAULT)
FIRES_OF_OLD = ("O",)  # enabled as usual: in sessions that replicate, it is silent


class Would(StrEnum):
    """What would have acted."""

    CASCADE = "cascade"
    SET_NULL = "set null"
    SET_DEFAULT = "set default"
    TRIGGER = "trigger"
    RULE = "rule"
    ROW_SECURITY = "row security"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silenced:
    """One thing that would act on the dataset's erasure: its name, and whom or what it would have touched."""

    dataset: str
    would: Would
    name: str
    touches: str


def silenced(scope: Scope, catalogue: Catalogue) -> tuple[Silenced, ...]:
    """List it for every dataset of which rows are deleted or blanked, and for the tables that are emptied."""
    found = []
    for dataset in scope.datasets:
        table = catalogue.table(dataset.table)
        if table is not None and dataset.decided:
            found += [*_of_dataset(catalogue, dataset, table)]
            if dataset.moves and _leaves_skeletons(scope, dataset):
                found += [*_triggers(str(dataset.id), table, "UPDATE")]
    for item in scope.derived:
        table = catalogue.table(item.table)
        if table is not None and not item.view:
            found += [*_triggers(str(item.id), table, "TRUNCATE")]
    return tuple(found)


def _of_dataset(catalogue: Catalogue, dataset: DatasetScope, table: Table) -> Iterator[Silenced]:
    event = "DELETE" if dataset.moves else "UPDATE"
    if dataset.moves:
        for key in catalogue.foreign_keys:
            if key.parent == table.name and key.on_delete in ACTIONS:
                yield Silenced(
                    dataset=str(dataset.id), would=Would(key.on_delete.value), name=key.name,
                    touches=f"{key.child} ({', '.join(key.columns)})",
                )  # fmt: skip
    yield from _triggers(str(dataset.id), table, event)
    for rule in table.rules:
        if rule.enabled in FIRES_OF_OLD and rule.event.upper() == event:
            yield Silenced(dataset=str(dataset.id), would=Would.RULE, name=rule.name, touches=f"on {event.lower()}")
    if table.row_security:
        yield Silenced(
            dataset=str(dataset.id), would=Would.ROW_SECURITY, name=table.name.name,
            touches="policies that would hide rows: the role reads past them, or every read fails",
        )  # fmt: skip


def _leaves_skeletons(scope: Scope, dataset: DatasetScope) -> bool:
    """Whether rows that others need stay as skeletons, which is an update."""
    return any(edge.parent == dataset.id and edge.apart_source is Apart.SKELETON for edge in scope.edges)


def _triggers(dataset: str, table: Table, event: str) -> Iterator[Silenced]:
    for item in table.triggers:
        if item.enabled in FIRES_OF_OLD and event in item.events:
            yield Silenced(
                dataset=dataset, would=Would.TRIGGER, name=item.name,
                touches=f"{item.timing.lower()} {event.lower()}, runs {item.function}",
            )  # fmt: skip
