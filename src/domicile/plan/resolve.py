"""`domicile.yaml` + catalogue → `Scope`, or a refusal that lists all that is missing with the lines to add (P4).

Pure. The world is closed: every table of the source is a dataset of the file, every field of a dataset whose rows are
not private as a whole has a class, every hop is an edge that the database or the file declares.
"""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from domicile.catalogue import FOLDED, PLAIN, Catalogue, Column, ForeignKey, RelationKind, Table
from domicile.config import Config, dataset_id, split_dataset_id
from domicile.config.conditions import split_when
from domicile.config.people import EvidenceRule, SubjectRule
from domicile.config.rules import (
    Apart,
    ApartRule,
    DatasetRule,
    Disposition,
    EdgeRule,
    FieldClass,
    FieldRule,
    HomeRows,
    PathRule,
)
from domicile.errors import BadFile, Refused, Unclassed
from domicile.model import (
    Blank,
    DatasetId,
    DatasetScope,
    Edge,
    Evidence,
    Kind,
    MarketRule,
    Outside,
    Path,
    Scope,
)
from domicile.plan.comparing import compare_all, compare_key
from domicile.plan.deriving import derived, unclassed_views
from domicile.plan.hops import Hops, Tables, spell
from domicile.reading import check_pattern, is_reading, parse_reading

SHORT_EVIDENCE = "market"
LISTED_MAX = 200
WITHOUT_FIELDS = (Disposition.MOVE, Disposition.DERIVED)  # private as a whole


def resolve(config: Config, catalogue: Catalogue) -> Scope:
    """Bind the file to the source's catalogue.

    Raises:
        Unclassed: tables or fields without a class, with the lines to add.
        BadFile: the file names what the store doesn't hold, or a hop that is no edge.
    """
    missing = list(missing_lines(config, catalogue))
    if missing:
        shown = "\n".join(missing[:LISTED_MAX])
        more = f"\n… and {len(missing) - LISTED_MAX} more" if len(missing) > LISTED_MAX else ""
        raise Unclassed(
            f"{config.source}: not everything is classed; add to domicile.yaml and decide each line:\n{shown}{more}"
        )
    return _Resolver(config, catalogue).scope()


def missing_lines(config: Config, catalogue: Catalogue) -> Iterator[str]:
    """Yield the YAML lines that would class what the file doesn't: whole tables first, then fields, then stand-ins."""
    for table in catalogue.tables:
        name = dataset_id(config.source, table.name)
        rule = config.datasets.get(name)
        if rule is None:
            yield (
                f"datasets:\n  {name}: {{rows: ?}}   # move | split | public | derived | none; "
                f"about {table.rows_estimate} rows"
            )
            continue
        for column in _unclassed(rule, table):
            yield f"datasets.{name}.fields:\n    {column.name}: ?   # private | public ({column.type})"
        for column in _without_stand_in(rule, table, kept=_kept_columns(rule, table, catalogue)):
            yield (
                f"datasets.{name}.fields:\n    {column.name}: {{class: private, outside: ?}}"
                f"   # {column.type}, NOT NULL: what stands for it in a skeleton (a value, or token for text)"
            )
    yield from unclassed_views(config, catalogue)


def _unclassed(rule: DatasetRule, table: Table) -> Iterator[Column]:
    if rule.rows in WITHOUT_FIELDS or (rule.rows is Disposition.NONE and not rule.fields):
        return
    yield from (column for column in table.columns if column.name not in rule.fields)


def _kept_columns(rule: DatasetRule, table: Table, catalogue: Catalogue) -> frozenset[str]:
    """Columns that a skeleton keeps without being asked: keys and edges, declared or virtual."""
    kept = set(table.key)
    for columns in (split_when(text)[0] for text in rule.edges):
        if not is_reading(columns, table):
            kept.update(columns.split(","))
    for key in catalogue.foreign_keys:
        if key.child == table.name:
            kept.update(key.columns)
        if key.parent == table.name:
            kept.update(key.parent_columns)
    return frozenset(kept)


def _without_stand_in(rule: DatasetRule, table: Table, *, kept: frozenset[str]) -> Iterator[Column]:
    if rule.rows in WITHOUT_FIELDS:
        return
    for column in table.columns:
        field = rule.fields.get(column.name)
        bare = field and field.cls is FieldClass.PRIVATE and field.outside is None
        if bare and column.not_null and column.name not in kept and not column.generated:
            yield column


class _Resolver:
    def __init__(self, config: Config, catalogue: Catalogue) -> None:
        self.config = config
        self.catalogue = catalogue
        self.source = config.source
        self.derived = derived(config, catalogue)
        self.tables = Tables(config.source, catalogue, derived=frozenset(item.id for item in self.derived))
        self.people = {split_dataset_id(kind.dataset)[1]: DatasetId(kind.dataset) for kind in config.kinds}
        self.rows = {name: rule for name, rule in config.datasets.items() if self._here(name)}
        self.edges: dict[str, tuple[Edge, ...]] = {}
        self.hops = Hops(self.tables, self.edges)
        self.edges.update({name: self._edges_of(name) for name in self.rows})

    def scope(self) -> Scope:
        kinds = tuple(self._kind(number, rule) for number, rule in enumerate(self.config.kinds))
        datasets = [self._dataset(name, rule) for name, rule in self.rows.items()]
        self._refuse_untamed(datasets)
        edges = [edge for edges in self.edges.values() for edge in edges]
        scope = Scope(
            kinds=kinds,
            datasets=_parents_first(datasets, edges),
            edges=tuple(edges),
            derived=self.derived,
        )
        _check_skeletons(scope)
        return scope

    def _refuse_untamed(self, datasets: list[DatasetScope]) -> None:
        """Refuse what the erasure can't keep silent."""
        for dataset in datasets:
            table = self.catalogue.table(dataset.table)
            event = "DELETE" if dataset.moves else "UPDATE" if dataset.decided else None
            if table is None or event is None:
                continue
            loud = [item.name for item in table.triggers if item.enabled in ("A", "R") and event in item.events]
            loud += [item.name for item in table.rules if item.enabled in ("A", "R") and item.event.upper() == event]
            if loud:
                raise Refused(
                    f"{dataset.id}: {', '.join(loud)} fires ALWAYS or in replica mode, so also during the erasure; set "
                    "it to ENABLE (origin) for the time of the run"
                )

    def _here(self, name: str) -> bool:
        """Whether the dataset's rows are some to move or to leave; what is derived holds none of its own."""
        store, table = split_dataset_id(name)
        if store not in self.config.databases:
            raise BadFile(f"datasets.{name}: store {store} is not in `stores`, or no database")
        if store != self.source:
            raise BadFile(f"datasets.{name}: lies in store {store}; datasets are those of the source, {self.source}")
        if any(item.id == name for item in self.derived):
            return False
        if self.catalogue.table(table) is None:
            raise BadFile(f"datasets.{name}: the store holds no such table; remove it, or see `domicile map`")
        return True

    def _edges_of(self, name: str) -> tuple[Edge, ...]:
        table = self.tables.table(name, f"datasets.{name}")
        rules = list(self.config.datasets[name].edge_rules())
        edges = [self._declared(table, key, rules) for key in self.catalogue.foreign_keys if key.child == table.name]
        virtual = [self._virtual(name, table, columns, rule) for columns, rule in rules]
        return (*(edge for edge in edges if edge is not None), *virtual)

    def _declared(self, table: Table, key: ForeignKey, rules: list[tuple[str, EdgeRule]]) -> Edge | None:
        name = dataset_id(self.source, table.name)
        parent = dataset_id(self.source, key.parent)
        text = ",".join(key.columns)
        rule = self.config.datasets[name].edge_rule(text, parent)
        if rule is not None and (text, rule) in rules:
            rules.remove((text, rule))
        return Edge(
            name=key.name,
            child=DatasetId(name),
            columns=key.columns,
            parent=DatasetId(parent),
            parent_columns=key.parent_columns,
            enforced=key.validated and not key.missing_on,
            missing_on=key.missing_on,
            comparisons=compare_all(
                self.tables.table(parent, f"datasets.{name}"),
                key.parent_columns,
                table,
                key.columns,
                declared=key.comparisons,
            ),
            apart_home=(rule.apart if rule else ApartRule()).home,
            apart_source=(rule.apart if rule else ApartRule()).source,
        )

    def _virtual(self, name: str, table: Table, columns: str, rule: EdgeRule) -> Edge:
        where = f"datasets.{name}.edges.{columns}"
        if rule.to is None:
            raise BadFile(f"{where}: the database declares no such foreign key; name its parent with `to:`")
        parent = self.tables.table(rule.to, where)
        spelled, when = split_when(columns)
        if is_reading(spelled, table):
            if when is not None:
                raise BadFile(f"{where}: `when` goes with plain columns, not with references inside one")
            return self._virtual_reading(name, table, columns, rule)
        self.hops.check_when(table, when, where)
        names = tuple(spelled.split(","))
        for column in names:
            self.tables.column(table, column, where)
        key = rule.key or parent.key
        if len(key) != len(names):
            raise BadFile(f"{where}: {len(names)} columns can't refer to {len(key)}; give `key:`")
        for column in key:
            self.tables.column(parent, column, where)
        return Edge(
            name=f"virtual {columns}", child=DatasetId(name), columns=names, parent=DatasetId(rule.to),
            parent_columns=tuple(key), enforced=False, missing_on=table.leaves or (table.name,),
            comparisons=(FOLDED,) * len(names) if rule.fold else compare_all(parent, tuple(key), table, names),
            apart_home=rule.apart.home, apart_source=rule.apart.source, when=when,
        )  # fmt: skip

    def _virtual_reading(self, name: str, table: Table, text: str, rule: EdgeRule) -> Edge:
        where = f"datasets.{name}.edges.{text}"
        key = self.tables.one_key(self.tables.table(str(rule.to), where), rule.key, where)
        reading = parse_reading(text, table, refers_to=key, where=where, fold=rule.fold)
        return Edge(
            name=f"virtual {text}", child=DatasetId(name), columns=(reading.column,), parent=DatasetId(str(rule.to)),
            parent_columns=(key.name,), enforced=False, missing_on=table.leaves or (table.name,),
            apart_home=rule.apart.home, apart_source=rule.apart.source, reading=reading,
        )  # fmt: skip

    def _dataset(self, name: str, rule: DatasetRule) -> DatasetScope:
        where = f"datasets.{name}"
        table = self.tables.table(name, where)
        if table.kind is RelationKind.FOREIGN and rule.rows is not Disposition.NONE:
            raise BadFile(f"{where}: a foreign table holds another store's rows; map that store, or `rows: none`")
        for column in rule.fields:
            self.tables.column(table, column, f"{where}.fields")
        columns = tuple(column for column in table.columns if not column.generated)
        is_subject = table.name in self.people
        paths = tuple(self._path(table, way, where) for way in rule.paths)
        if is_subject:
            if paths or rule.rows not in (Disposition.MOVE, Disposition.SPLIT):
                raise BadFile(f"{where}: the subject's own dataset is `move` or `split` and has no path")
            paths = (Path(steps=(), text="itself", subject=DatasetId(name), certain=True),)
        private = tuple(column.name for column in table.columns if _class_of(rule, column.name) is FieldClass.PRIVATE)
        self._need_path(where, rule, paths, private)
        home_rows = rule.home or (HomeRows.NEEDED if rule.rows is Disposition.NONE else HomeRows.ALL)
        blanks = tuple(_blanks(rule, table, keys=self._keys(name, table), edges=self._edge_columns(name), where=where))
        _refuse_misplaced_exceptions(rule, where)
        if blanks and not table.key and rule.rows is not Disposition.MOVE:
            raise BadFile(f"{where}: {table.name} has no key, so private fields can't be told apart; use `rows: move`")
        return DatasetScope(
            id=DatasetId(name), table=table.name, partitioned=table.kind is RelationKind.PARTITIONED,
            rows=rule.rows, home_rows=home_rows, columns=columns, key=table.key, paths=paths, shared=rule.sharing,
            ownerless_stay=rule.ownerless is not None, blanks=blanks, private=private,
            unenforced_follow=rule.unenforced is not None,
            binary=all(column.binary for column in columns), bytes=table.bytes, key_comparisons=compare_key(table),
        )  # fmt: skip

    def _need_path(self, where: str, rule: DatasetRule, paths: tuple[Path, ...], private: tuple[str, ...]) -> None:
        if paths and rule.rows is Disposition.NONE:
            raise BadFile(f"{where}: `rows: none` holds nobody's data and has no path")
        if not paths and rule.rows in (Disposition.MOVE, Disposition.SPLIT):
            raise BadFile(f"{where}: `rows: {rule.rows}` needs a `path` to the subject")
        if not paths and private and rule.rows is Disposition.PUBLIC:
            raise BadFile(f"{where}: private fields ({', '.join(private)}) need a `path` to whose they are")

    def _keys(self, name: str, table: Table) -> frozenset[str]:
        """Columns that name the row for others: its key, and what edges refer to. A skeleton always keeps them."""
        kept = set(table.key)
        for edges in self.edges.values():
            for edge in edges:
                if edge.parent == name:
                    kept.update(edge.parent_columns)
        return frozenset(kept)

    def _edge_columns(self, name: str) -> frozenset[str]:
        """Columns that refer to other rows: a skeleton keeps them unless the file blanks them by name."""
        return frozenset(column for edge in self.edges[name] if not edge.reading for column in edge.columns)

    def _kind(self, number: int, rule: SubjectRule) -> Kind:
        where = "subject" if not number else f"other_subjects.{number - 1}"
        table = self.tables.table(rule.dataset, f"{where}.dataset")
        self.tables.column(table, rule.key, f"{where}.key")
        if (rule.key,) not in (table.primary_key, *table.unique_keys):
            raise BadFile(f"{where}.key: {rule.key} is not a unique key of {table.name}")
        policy = self.config.policy
        market = MarketRule(
            evidence=tuple(self._evidence(table, piece, f"{where}.market") for piece in rule.market.pieces),
            decide=rule.market.decide, homes=tuple(policy.homes.items()), unknown=policy.unknown_market,
            conflict=rule.market.conflict, as_of=rule.market.as_of,
        )  # fmt: skip
        return Kind(dataset=DatasetId(rule.dataset), key=rule.key, market=market)

    def _evidence(self, table: Table, piece: EvidenceRule, where: str) -> Evidence:
        where = where if piece.name == SHORT_EVIDENCE else f"{where}.evidence.{piece.name}"
        steps, end = self.hops.steps(table, piece.path, f"{where}.path") if piece.path else ((), table)
        for name in filter(None, (piece.date, piece.since, piece.until)):
            self.tables.column(end, name, where)
        field = self.tables.column(end, piece.field, where)
        self.hops.check_when(end, piece.when, f"{where}.when")
        if piece.match is not None:
            check_pattern(piece.match, f"{where}.match")
        return Evidence(
            name=piece.name, steps=steps, field=piece.field, comparison=field.equality or PLAIN, when=piece.when,
            pattern=piece.match, date=piece.date, since=piece.since,
            until=piece.until, values=tuple(piece.values.items()) if piece.values is not None else None,
        )  # fmt: skip

    def _path(self, table: Table, rule: PathRule, where: str) -> Path:
        hops = rule.path
        steps, end = self.hops.steps(table, hops, f"{where}.path")
        subject = self.people.get(end.name)
        if subject is None:
            people = " or ".join(str(name) for name in self.people)
            raise BadFile(f"{where}.path: {spell(hops)} ends at {end.name}, not at the subject {people}")
        return Path(
            steps=steps, text=spell(hops), subject=subject, certain=self.hops.certain(table, steps), shared=rule.shared
        )


def _class_of(rule: DatasetRule, column: str) -> FieldClass:
    field = rule.fields.get(column)
    if field is not None:
        return field.cls
    return FieldClass.PRIVATE if rule.rows is Disposition.MOVE else FieldClass.PUBLIC


def _blanks(
    rule: DatasetRule, table: Table, *, keys: frozenset[str], edges: frozenset[str], where: str
) -> Iterator[Blank]:
    for column in table.columns:
        field = rule.fields.get(column.name)
        if column.generated or _class_of(rule, column.name) is not FieldClass.PRIVATE:
            continue
        named = field is not None and "outside" in field.model_fields_set
        if named and column.name in keys:
            raise BadFile(f"{where}.fields.{column.name}: part of a key, which a skeleton keeps; remove `outside`")
        if named and column.name in edges and field is not None:
            _refuse_dangling(column, field, f"{where}.fields.{column.name}")
        if named or column.name not in keys | edges:
            yield _blank(column, field)


def _refuse_dangling(column: Column, field: FieldRule, where: str) -> None:
    """Refuse a stand-in of a referring column that can't refer to anything; that a literal does is counted later."""
    if field.outside == "token" or (field.outside is None and column.not_null):
        raise BadFile(
            f"{where}: refers to another row; what stands for it is a value that its parent holds, or null where the "
            "column may be null"
        )


def _refuse_misplaced_exceptions(rule: DatasetRule, where: str) -> None:
    for name, field in rule.fields.items():
        if field.cls is FieldClass.EXCEPTED and rule.rows in (Disposition.MOVE, Disposition.NONE):
            raise BadFile(
                f"{where}.fields.{name}: an exception keeps a field outside; the rows of `{rule.rows}` have none there"
            )


def _blank(column: Column, field: FieldRule | None) -> Blank:
    outside = field.outside if field else None
    if outside == "token":
        email = bool(field and field.category and "email" in field.category)
        return Blank(column=column.name, outside=Outside.TOKEN, literal="@outside.invalid" if email else None)
    if outside is not None:
        text = str(outside).lower() if isinstance(outside, bool) else str(outside)
        return Blank(column=column.name, outside=Outside.LITERAL, literal=text)
    if column.not_null and column.category == "S":
        return Blank(column=column.name, outside=Outside.TOKEN)
    return Blank(column=column.name, outside=Outside.NULL)


def _check_skeletons(scope: Scope) -> None:
    """Refuse a skeleton rule on a dataset in which a NOT NULL private field has nothing to stand for it."""
    lines: list[str] = []
    for dataset in scope.datasets:
        if not _may_be_skeleton(scope, dataset):
            continue
        columns = {column.name: column for column in dataset.columns}
        for blank in dataset.blanks:
            column = columns[blank.column]
            if blank.outside is Outside.NULL and column.not_null:
                rule = f"{column.name}: {{class: private, outside: ?}}   # {column.type}"
                lines.append(f"datasets.{dataset.id}.fields:\n    {rule}")
    if lines:
        shown = "\n".join(dict.fromkeys(lines))
        raise Unclassed(f"skeletons need a value for private fields that can't be null; add:\n{shown}")


def _may_be_skeleton(scope: Scope, dataset: DatasetScope) -> bool:
    if not dataset.moves:
        return dataset.home_rows is not HomeRows.NOTHING
    return any(
        edge.parent == dataset.id and Apart.SKELETON in (edge.apart_home, edge.apart_source) for edge in scope.edges
    )


def _parents_first(datasets: list[DatasetScope], edges: list[Edge]) -> tuple[DatasetScope, ...]:
    """Order datasets so that parents precede children; the members of a cycle stand together, by name."""
    by_id = {dataset.id: dataset for dataset in datasets}
    graph: nx.DiGraph[DatasetId] = nx.DiGraph()
    graph.add_nodes_from(by_id)
    graph.add_edges_from((edge.parent, edge.child) for edge in edges if edge.parent in by_id)
    groups = nx.condensation(graph)
    names = {number: sorted(groups.nodes[number]["members"]) for number in groups.nodes}
    order = nx.lexicographical_topological_sort(groups, key=lambda number: names[number][0])
    return tuple(by_id[name] for number in order for name in names[number])
