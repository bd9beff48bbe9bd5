"""What is computed from datasets: tables that a job fills, materialised views (ADR 0019). Pure.

Neither goes home: its rows are made there by the same job, or by a refresh. At the source they hold, or may hold, what
they were computed from; so after the erasure a view is refreshed and a table is emptied.
"""

from __future__ import annotations

from collections.abc import Iterator

from domicile.catalogue import Catalogue, RelationKind, Table, View
from domicile.config import Config, dataset_id, split_dataset_id
from domicile.config.rules import DatasetRule, Disposition
from domicile.errors import BadFile, Refused
from domicile.model import DatasetId, Derived


def unclassed_views(config: Config, catalogue: Catalogue) -> Iterator[str]:
    """Yield the YAML lines that would class the materialised views of which the file says nothing (P4)."""
    for view in catalogue.views:
        name = dataset_id(config.source, view.name)
        if view.materialised and name not in config.datasets:
            reads = ", ".join(map(str, view.reads)) or "no table"
            yield f"datasets:\n  {name}: {{rows: derived}}   # a materialised view of {reads}: refreshed on both sides"


def derived(config: Config, catalogue: Catalogue) -> tuple[Derived, ...]:
    """Bind the file's derived datasets to the catalogue.

    Raises:
        BadFile: the file says of them what isn't so.
        Refused: a trigger would fire while one is emptied.
    """
    found = []
    for name, rule in config.datasets.items():
        store, table = split_dataset_id(name)
        view = catalogue.materialised(table) if store == config.source else None
        if view is not None:
            found.append(_of_view(config, name, rule, view))
        elif rule.rows is Disposition.DERIVED:
            found.append(_of_table(config, catalogue, name, rule))
    return tuple(found)


def _of_view(config: Config, name: str, rule: DatasetRule, view: View) -> Derived:
    if rule.rows is not Disposition.DERIVED:
        raise BadFile(f"datasets.{name}: a materialised view is computed; write `rows: derived`")
    reads = tuple(DatasetId(dataset_id(config.source, table)) for table in view.reads)
    strange = sorted(set(rule.of or ()) - set(reads))
    if strange:
        raise BadFile(
            f"datasets.{name}.of: it doesn't read {', '.join(strange)}; leave `of` out: the catalogue knows that it "
            f"reads {', '.join(reads) or 'no table'}"
        )
    return Derived(id=DatasetId(name), table=view.name, of=reads, view=True)


def _of_table(config: Config, catalogue: Catalogue, name: str, rule: DatasetRule) -> Derived:
    where = f"datasets.{name}"
    if any(kind.dataset == name for kind in config.kinds):
        raise BadFile(f"{where}: the subject's own dataset is `move` or `split`")
    table = catalogue.table(split_dataset_id(name)[1])
    if table is None:
        raise BadFile(f"{where}: the store holds no such table; remove it, or see `domicile map`")
    if not rule.of:
        raise BadFile(f"{where}: name the datasets that it is computed from: `of: [{config.kinds[0].dataset}]`")
    if table.kind not in (RelationKind.TABLE, RelationKind.PARTITIONED):
        raise BadFile(f"{where}: `rows: derived` is for tables and materialised views; this is a {table.kind}")
    if table.children:
        raise BadFile(
            f"{where}: {', '.join(map(str, table.children))} inherit from it and would be emptied with it; class it as "
            "they are"
        )
    _refuse_referred(config, catalogue, name, table)
    _refuse_loud(where, table)
    return Derived(id=DatasetId(name), table=table.name, of=tuple(map(DatasetId, rule.of)), view=False)


def _refuse_referred(config: Config, catalogue: Catalogue, name: str, table: Table) -> None:
    """Refuse to empty what other rows need; among derived tables that are emptied together, too."""
    for key in catalogue.foreign_keys:
        if key.parent == table.name and key.child != table.name:
            child = dataset_id(config.source, key.child)
            raise BadFile(
                f"datasets.{name}: {child} refers to it by {key.name}, so it can't be emptied; class its rows by a "
                "`path`, or, where they hold nobody's data, `rows: none`"
            )


def _refuse_loud(where: str, table: Table) -> None:
    """Refuse what the emptying can't keep silent."""
    loud = [item.name for item in table.triggers if item.enabled in ("A", "R") and "TRUNCATE" in item.events]
    if loud:
        raise Refused(
            f"{where}: {', '.join(loud)} fires ALWAYS or in replica mode, so also while it is emptied; set it to "
            "ENABLE (origin) for the time of the run"
        )
