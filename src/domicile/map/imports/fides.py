"""fideslang datasets → imported edges, categories, and our own rules where an export of ours brought them.

A reference joins two fields and says which one is asked first, not which one refers: it is undirected here, and the
keys of the database decide. Nested fields become references inside a column: `payload->actor->id`, `items[]->user_id`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from domicile.config.rules import DatasetRule, FieldRule
from domicile.config.tree import Tree
from domicile.errors import BadFile
from domicile.map.imports.fideslang import Collection, Dataset, FidesField, FidesFile, Reference
from domicile.map.imports.interchange import Imported, ImportedEdge, ImportedField, Said, TableRef
from domicile.model import EACH

HINT = "fideslang's dataset resource, and docs/importers.md"
SOURCE = "fides"
ARRAY = "[]"


def read_fides(tree: Tree, *, key: str | None = None) -> Imported:
    """Read the datasets of a file, or the one called `key`."""
    parsed = tree.model(FidesFile, hint=HINT)
    datasets = tuple(item for item in parsed.dataset if key in (None, item.fides_key))
    if not datasets:
        known = ", ".join(item.fides_key for item in parsed.dataset[:10])
        raise BadFile(f"{tree.origin}: holds no dataset {key}; it holds {known}")
    _refuse_twice(tree.origin, datasets)
    reading = _Reading(
        tables={(one.fides_key, each.name): _table(one, each) for one in datasets for each in one.collections}
    )
    for dataset in datasets:
        reading.dataset(dataset)
    return Imported(
        source=SOURCE, edges=tuple(reading.edges), fields=tuple(reading.fields), unsaid=tuple(reading.unsaid),
        said=_said(tree.origin, datasets),
    )  # fmt: skip


def _refuse_twice(origin: str, datasets: tuple[Dataset, ...]) -> None:
    seen: dict[TableRef, str] = {}
    for dataset in datasets:
        for collection in dataset.collections:
            other = seen.setdefault(_table(dataset, collection), dataset.fides_key)
            if other != dataset.fides_key:
                raise BadFile(
                    f"{origin}: {other} and {dataset.fides_key} both have a collection {collection.name}; name the "
                    f"dataset of this database: fides:{origin}#{dataset.fides_key}"
                )


def _table(dataset: Dataset, collection: Collection) -> TableRef:
    namespace = dataset.our.namespace
    return TableRef(schema=namespace.schema_ if namespace else None, name=collection.name)


# ------------------------------------------------------------------------------------------------ edges and fields


@dataclass(slots=True, kw_only=True)
class _Reading:
    tables: dict[tuple[str, str], TableRef]
    edges: list[ImportedEdge] = field(default_factory=list)
    fields: list[ImportedField] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)

    def dataset(self, dataset: Dataset) -> None:
        for collection in dataset.collections:
            where = f"{dataset.fides_key}.{collection.name}"
            self.unsaid += [f"{where}: {line}" for line in _unused(collection)]
            for item in collection.fields:
                self.field(_table(dataset, collection), item, where=where)

    def field(self, table: TableRef, item: FidesField, *, where: str) -> None:
        told = f"{where}.{item.name}"
        found = [category for _, one in _inside(item, "") for category in one.data_categories or ()]
        category = next((name for name in found if name.startswith("user")), found[0] if found else None)
        others = sorted(set(found) - {category})
        if others:
            self.unsaid.append(f"{told}: also {', '.join(others)}; a field has one category here")
        if category is not None:
            self.fields.append(ImportedField(table=table, name=item.name, category=category, source=told))
        if item.description:
            self.fields.append(ImportedField(table=table, name=item.name, words=item.description[:200], source=told))
        for path, one in _inside(item, ""):
            self.unsaid += [f"{told}: {line}" for line in _unused_of(one)]
            for reference in one.meta.references or ():
                self.reference(table, path, reference, told=told)

    def reference(self, table: TableRef, path: str, reference: Reference, *, told: str) -> None:
        collection, _, name = reference.field.partition(".")
        parent = self.tables.get((reference.dataset, collection))
        if parent is None or not name:
            target = f"{reference.dataset}.{reference.field}"
            self.unsaid.append(f"{told}: refers to {target}, which is no field of a dataset that was read")
            return
        self.edges.append(
            ImportedEdge(
                child=table, via=(path,), parent=parent, key=("->".join(name.split(".")),), undirected=True,
                source=told,
            )
        )  # fmt: skip


def _inside(item: FidesField, before: str) -> Iterator[tuple[str, FidesField]]:
    """Yield the field and all that lies in it, with their spelling."""
    path = f"{before}->{item.name}" if before else item.name
    path += EACH if (item.meta.data_type or "").endswith(ARRAY) else ""
    yield path, item
    for each in item.fields or ():
        yield from _inside(each, path)


def _unused(collection: Collection) -> Iterator[str]:
    meta = collection.meta
    if meta.masking_strategy_override is not None:
        yield "masking_strategy_override: rows are erased here, or blanked where `rows: split` says so"
    if meta.after or meta.erase_after:
        yield "after, erase_after: the order follows from the edges here"
    if meta.skip_processing:
        yield "skip_processing: every table has a disposition here; `rows: none` with a reason says: nobody's data"


def _unused_of(item: FidesField) -> Iterator[str]:
    if item.meta.masking_strategy_override is not None:
        yield "masking_strategy_override: what stands for a field outside is `outside` here"
    if item.meta.identity:
        yield f"identity {item.meta.identity}: requests begin there; here people are those of `subject`"
    if item.meta.read_only:
        yield "read_only: a field is moved and erased here whatever the application may write"


# ------------------------------------------------------------------------------------------------ our own rules


def _said(origin: str, datasets: tuple[Dataset, ...]) -> Said | None:
    ours = [dataset for dataset in datasets if dataset.our.domicile]
    stores = {dataset.our.domicile.store for dataset in ours if dataset.our.domicile}
    if not stores:
        return None
    if len(stores) > 1:
        raise BadFile(f"{origin}: exports of the stores {', '.join(sorted(stores))}; name one dataset with #KEY")
    people = [one.our.domicile for one in ours if one.our.domicile and one.our.domicile.subject]
    rules = [_rule(collection) for dataset in ours for collection in dataset.collections]
    return Said(
        store=stores.pop(), subject=people[0].subject if people else None,
        other_subjects=people[0].other_subjects if people else (), datasets=dict(filter(None, rules)),
    )  # fmt: skip


def _rule(collection: Collection) -> tuple[str, DatasetRule] | None:
    ours = collection.meta.domicile
    if ours is None:
        return None
    fields = {item.name: rule for item in collection.fields if (rule := _field_rule(item)) is not None}
    said = ours.rule.model_dump(by_alias=True, exclude_unset=True)
    given = {name: rule.model_dump(by_alias=True, exclude_unset=True) for name, rule in fields.items()}
    return ours.dataset, DatasetRule.model_validate(said | ({"fields": given} if given else {}))


def _field_rule(item: FidesField) -> FieldRule | None:
    """Our rule of a field; a category that was changed in the fideslang file since is the one that counts."""
    rule = item.meta.domicile
    if rule is None or not item.data_categories or rule.category in item.data_categories:
        return rule
    said = rule.model_dump(by_alias=True, exclude_unset=True)
    return FieldRule.model_validate(said | {"category": item.data_categories[0]})
