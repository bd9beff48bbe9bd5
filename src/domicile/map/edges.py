"""The edges of a database: those it declares, and those that names, types and sampled values suggest.

A suggested edge needs a name that says so (`rental_id`, `manager_staff_id`, `author_id` of a person) and equal
types; sampled values then confirm or drop it. From values alone only uuids are suggested: small integers are contained
in everything, a uuid is nowhere by chance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations

from domicile.catalogue import Catalogue, Column, ForeignKey, Table, TableName
from domicile.catalogue.samples import Containment, FieldName, Found, Questions, Samples
from domicile.map.words import listed, spelt, words
from domicile.reading import is_reading

SHARE_CONFIRMS = 0.95
SHARE_SUGGESTS = 0.5
VALUES_MIN = 3
CONTAINMENTS_MAX = 2_000
LISTS_MAX = 500
SIBLINGS_MAX = 4
# Roles that a person plays in a row of another's: `author_id` refers to people though no table is called authors.
PERSON_ROLES = listed(
    """
    author sender recipient receiver owner creator follower followee followed following viewer reader actor buyer seller
    payer payee user member customer client account person guest host invitee inviter referrer blocker blocked
    reporter reviewer uploader subscriber player patient student borrower renter holder friend requester
    assignee participant uploaded_by created_by updated_by modified_by deleted_by approved_by invited_by
    posted_by sent_by written_by
    """
)
# Who touched a row, not whose it is.
BOOKKEEPING_ROLES = listed(
    "updated_by modified_by deleted_by approved_by reviewed_by edited_by changed_by locked_by write_uid create_uid"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An edge child → parent as the map sees it."""

    child: TableName
    columns: tuple[str, ...]
    parent: TableName
    parent_columns: tuple[str, ...]
    declared: bool
    missing_on: tuple[TableName, ...] = ()
    nullable: bool = False
    copies: bool = False  # a history's: it says whose the row is, and nothing there needs the original
    found: Found | None = None
    told: str = ""  # by an importer's source, which then counts like a declaration
    when: str | None = None  # it holds only for child rows of which this is true: one target of a polymorphic pair
    searched: bool = False  # found by a search of the values, whatever the names say
    fold: bool = False  # compared without regard to case: e-mail addresses; a path may go over it, it is no edge

    @property
    def enforced(self) -> bool:
        """Whether the database holds it for every row."""
        return self.declared and not self.missing_on

    @property
    def confirmed(self) -> bool:
        """Whether the database or nearly all sampled values say so."""
        return self.declared or bool(self.told) or (self.found is not None and self.found.share >= SHARE_CONFIRMS)

    @property
    def bookkeeping(self) -> bool:
        """Whether it says who touched the row rather than whose it is."""
        return is_bookkeeping(self.columns[-1])

    @property
    def key(self) -> str:
        """Its key under `edges:`."""
        columns = ",".join(self.columns)
        return columns if self.when is None else f"{columns} when {self.when}"


def links(
    catalogue: Catalogue, samples: Samples, *, people: frozenset[TableName], told: tuple[Link, ...] = ()
) -> tuple[Link, ...]:
    """Return declared edges, those that importers told, and suggested ones that sampled values do not contradict.

    `people` are the tables that role names such as `author_id` may refer to. The order is fixed.
    """
    tables = {table.name: table for table in catalogue.tables}
    declared = [
        Link(
            child=key.child, columns=key.columns, parent=key.parent, parent_columns=key.parent_columns,
            declared=True, missing_on=key.missing_on if key.validated else (key.missing_on or (key.child,)),
            nullable=_nullable(tables[key.child], key.columns),
        )
        for key in catalogue.foreign_keys if key.parent in tables
    ]  # fmt: skip
    taken = {(link.child, column) for link in told for column in link.columns}
    suggested = [
        link
        for question in _candidates(catalogue, people)
        if (question.child, question.columns[0]) not in taken
        and (link := _confirm(question, tables[question.child], samples)) is not None
    ]
    seen = [replace(link, found=samples.containments.get(asking(link)) or link.found) for link in told]
    named = {(link.child, link.columns) for link in (*declared, *seen, *suggested)}
    valued: dict[tuple[TableName, tuple[str, ...]], Link] = {}
    for question in _by_value(catalogue):
        found = samples.containments.get(question)
        place = (question.child, question.columns)
        if place in named or place in valued or found is None or found.asked < VALUES_MIN:
            continue
        if found.share >= SHARE_CONFIRMS and (link := _confirm(question, tables[question.child], samples)) is not None:
            valued[place] = link
    suggested += valued.values()
    return tuple(sorted((*declared, *seen, *suggested), key=lambda link: (link.child, link.columns, link.parent)))


def questions(
    catalogue: Catalogue, *, people: frozenset[TableName] = frozenset(), told: tuple[Link, ...] = ()
) -> Questions:
    """Say what is worth reading of the rows: market values, kinds of polymorphic pairs, suggested edges."""
    tables = {table.name: table for table in catalogue.tables}
    lists = [name for table in catalogue.tables for name in _listed(table)]
    plain = [link for link in told if not any(is_reading(name, tables[link.child]) for name in link.columns)]
    asked = (*map(asking, plain), *_candidates(catalogue, people), *_siblings(catalogue), *_by_value(catalogue))
    return Questions(lists=tuple(lists[:LISTS_MAX]), containments=tuple(dict.fromkeys(asked))[:CONTAINMENTS_MAX])


def is_bookkeeping(column: str) -> bool:
    """Whether a column says who touched a row: `updated_by`, `last_post_user_id`; Odoo's `write_uid`."""
    return _role(column) in BOOKKEEPING_ROLES or words(column)[:1] == ("last",)


def is_touch(column: str) -> bool:
    """Whether a column says who did something to a row, `created_by` among them: it may or may not be theirs."""
    return is_bookkeeping(column) or words(column)[-1:] == ("by",) or words(column)[-2:] == ("by", "id")


def is_own_key(table: Table, column: Column) -> bool:
    """`patient_id` of `patient` names its own row, also where a profile has the same key."""
    noun = words(table.name.name)
    return column.category != "A" and words(column.name) in ((*noun, "id"), (*noun[-1:], "id"), ("id",))


def named_edges(catalogue: Catalogue) -> tuple[Containment, ...]:
    """The edges that names and types alone suggest, apart from those that say who touched a row."""
    return tuple(edge for edge in _candidates(catalogue, frozenset()) if not is_touch(edge.columns[-1]))


def asking(link: Link) -> Containment:
    """Return the question whether the values of an edge's columns are found in its parent."""
    return Containment(child=link.child, columns=link.columns, parent=link.parent, parent_columns=link.parent_columns)


def sharing(one: Link, other: Link) -> Containment:
    """Return the question which rows of a parent two children refer to: `staff.address_id` in `customer.address_id`."""
    return Containment(child=one.child, columns=one.columns, parent=other.child, parent_columns=other.columns)


def pairs(table: Table) -> Iterator[tuple[str, str]]:
    """Yield polymorphic pairs: (`commentable_type`, `commentable_id`)."""
    by_words = {words(column.name): column for column in table.columns}
    for name, column in by_words.items():
        if len(name) > 1 and name[-1] == "type" and column.category in "SE":
            other = by_words.get((*name[:-1], "id"))
            if other is not None:
                yield column.name, other.name


MARKET_WORDS = (
    "country",
    "nation",
    "market",
    "residence",
    "residency",
    "jurisdiction",
    "nationality",
    "region",
    "territory",
)


def says_market(name: str) -> bool:
    """Whether a field's name may be about the market of a person."""
    return any(word in words(name) for word in MARKET_WORDS)


def _listed(table: Table) -> Iterator[FieldName]:
    about = any(word in words(table.name.name) for word in MARKET_WORDS)
    for column in table.columns:
        if column.category in "SE" and (about or says_market(column.name)):
            yield table.name, column.name
    for kind, _ in pairs(table):
        yield table.name, kind


# ------------------------------------------------------------------------------------------------ suggestions


def _candidates(catalogue: Catalogue, people: frozenset[TableName]) -> Iterator[Containment]:
    targets = _targets(catalogue)
    declared = {(key.child, column) for key in catalogue.foreign_keys for column in key.columns}
    by_name = {table.name: table for table in catalogue.tables}
    names: dict[tuple[str, ...], list[Table]] = defaultdict(list)
    for table in catalogue.tables:
        names[words(table.name.name)].append(table)
    persons = [by_name[name] for name in sorted(people) if name in by_name and len(by_name[name].key) == 1]
    for table in catalogue.tables:
        typed = {column for pair in pairs(table) for column in pair}
        for column in table.columns:
            if (table.name, column.name) in declared or column.name in typed or is_own_key(table, column):
                continue
            yield from _parents_of(table, column, targets, persons)
        yield from _originals(table, names)


def _by_value(catalogue: Catalogue) -> Iterator[Containment]:
    """Ask of every uuid without a key whose it is: `tenant_id`, where the table is called organisations."""
    declared = {(key.child, column) for key in catalogue.foreign_keys for column in key.columns}
    targets = [
        table
        for table in catalogue.tables
        if len(table.key) == 1
        and (table.name, table.key[0]) not in declared
        and (key := table.column(table.key[0])) is not None
        and key.base == "uuid"
    ]
    for table in catalogue.tables:
        for column in table.columns:
            if column.base == "uuid" and (column.name,) != table.key and (table.name, column.name) not in declared:
                yield from (_question(table, column, target) for target in targets)


HISTORY_WORDS = listed("aud audit history hist archive archived version revision log old backup deleted journal")


def _originals(table: Table, names: Mapping[tuple[str, ...], list[Table]]) -> Iterator[Containment]:
    """What a history table keeps copies of: `customer_aud (id, rev)` → `customer (id)`."""
    stems = _stems(table.name)
    originals = [original for stem in stems for original in names.get(stem, ())]
    for original in sorted(originals, key=lambda found: (found.name.schema != table.name.schema, found.name))[:1]:
        pairs_ = [(table.column(name), original.column(name)) for name in original.key]
        if pairs_ and all(mine and its and mine.category == its.category for mine, its in pairs_):
            yield Containment(child=table.name, columns=original.key, parent=original.name, parent_columns=original.key)


def _stems(table: TableName) -> list[tuple[str, ...]]:
    """What a history table's name says that it is the history of: `customer_aud`, `audit_customer`."""
    parts = words(table.name)
    stems = [parts[:-1]] if parts[-1:] and parts[-1] in HISTORY_WORDS else []
    return stems + ([parts[1:]] if parts[:1] and parts[0] in HISTORY_WORDS else [])


def _siblings(catalogue: Catalogue) -> Iterator[Containment]:
    """Ask what children of one parent share, where a parent has few: addresses have, users and countries have not."""
    into: defaultdict[TableName, list[ForeignKey]] = defaultdict(list)
    for key in catalogue.foreign_keys:
        if key.child != key.parent and len(key.columns) == 1:
            into[key.parent].append(key)
    for keys in into.values():
        if len(keys) <= SIBLINGS_MAX:
            for one, other in permutations(keys, 2):
                yield Containment(
                    child=one.child, columns=one.columns, parent=other.child, parent_columns=other.columns
                )


def _targets(catalogue: Catalogue) -> dict[tuple[str, ...], list[Table]]:
    """Index tables with a single key column by the words that refer to them: (`staff`, `id`)."""
    targets: defaultdict[tuple[str, ...], list[Table]] = defaultdict(list)
    for table in catalogue.tables:
        if len(table.key) != 1:
            continue
        noun, key = words(table.name.name), words(table.key[0])
        spellings = {(*noun, "id"), (*noun, *key), (noun[-1], *key) if noun else key}
        if key != ("id",) and len(key) > 1:
            spellings.add(key)
        for spelling in spellings:
            targets[spelling].append(table)
    return dict(targets)


def _parents_of(
    table: Table, column: Column, targets: dict[tuple[str, ...], list[Table]], persons: list[Table]
) -> Iterator[Containment]:
    name = words(column.name)
    for start in range(len(name) - 1):
        found = [parent for parent in targets.get(name[start:], ()) if _fits(table, column, parent)]
        if found:
            yield _question(table, column, _nearest(table, found, noun=name[start:-1]))
            return
    if _is_person_role(column.name) and table.key != (column.name,):
        for parent in persons:
            if _fits(table, column, parent):
                yield _question(table, column, parent)


def _fits(table: Table, column: Column, parent: Table) -> bool:
    """Equal type families, not a table's own single key, not a number that counts."""
    key = parent.column(parent.key[0])
    own = table.name == parent.name and column.name == parent.key[0]
    return key is not None and not own and column.category == key.category and column.category != "B"


def _nearest(table: Table, parents: list[Table], *, noun: tuple[str, ...]) -> Table:
    """`user_id` refers to `users` rather than to a profile whose key it is, too."""

    def distance(parent: Table) -> tuple[object, ...]:
        return words(parent.name.name) != noun, parent.name.schema != table.name.schema, parent.name

    return min(parents, key=distance)


def _question(table: Table, column: Column, parent: Table) -> Containment:
    return Containment(child=table.name, columns=(column.name,), parent=parent.name, parent_columns=parent.key)


def _confirm(question: Containment, child: Table, samples: Samples) -> Link | None:
    found = samples.containments.get(question)
    if found is not None and found.asked and found.share < SHARE_SUGGESTS:
        return None
    return Link(
        child=question.child, columns=question.columns, parent=question.parent,
        parent_columns=question.parent_columns, declared=False, missing_on=child.leaves or (child.name,),
        nullable=_nullable(child, question.columns), copies=_copies(question),
        found=found if found and found.asked else None,
    )  # fmt: skip


def _copies(question: Containment) -> bool:
    return question.columns == question.parent_columns and words(question.parent.name) in _stems(question.child)


def _nullable(table: Table, columns: tuple[str, ...]) -> bool:
    return not all((column := table.column(name)) is not None and column.not_null for name in columns)


def _is_person_role(column: str) -> bool:
    """`author_id`, and `resource_owner_id`: the last word is the noun; `owner` alone or `created_by` need no `_id`."""
    role, name = _role(column), words(column)
    return role in PERSON_ROLES or (len(name) > 2 and name[-1] in ("id", "uuid") and name[-2] in PERSON_ROLES)


def _role(column: str) -> str:
    return spelt(column).strip("_").removesuffix("_id").removesuffix("_uuid")
