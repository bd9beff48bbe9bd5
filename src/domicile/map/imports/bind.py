"""What sources say + catalogue → edges, categories and notes that a draft can use. Pure.

A source may be older than the database, or about another one: what is not there is noted, never taken on trust. An
edge that can't be said exactly is noted, too: an edge that holds for more rows than its source meant would touch rows
of somebody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from domicile.catalogue import Catalogue, Column, ForeignKey, Table, TableName
from domicile.catalogue.samples import FieldName, KindAnswer, KindQuestion
from domicile.config.conditions import parse_condition
from domicile.errors import BadFile
from domicile.map.edges import Link
from domicile.map.imports.categories import kind_of_category
from domicile.map.imports.interchange import Imported, ImportedEdge, ImportedField, ImportedTable, Said, TableRef
from domicile.map.kinds import Kind
from domicile.map.ways import Hop
from domicile.model import EACH
from domicile.reading import INTEGERS, TEXTS, WHOLE_TEXT, is_reading, parse_reading

PREFERRED_SCHEMA = "public"
QUESTIONS_MAX = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What sources add to a draft; empty without any."""

    links: tuple[Link, ...] = ()
    hops: tuple[Hop, ...] = ()
    kinds: Mapping[FieldName, Kind] = field(default_factory=dict)
    words: Mapping[FieldName, str] = field(default_factory=dict)
    called: Mapping[TableName, str] = field(default_factory=dict)
    said: Said | None = None
    notes: tuple[str, ...] = ()

    def widened(self, catalogue: Catalogue) -> Catalogue:
        """Return the catalogue as if the database had declared the edges, for whoever counts and asks."""
        keys = tuple(
            ForeignKey(
                name=link.told, child=link.child, columns=link.columns, parent=link.parent,
                parent_columns=link.parent_columns,
            )
            for link in (*self.links, *(hop.link for hop in self.hops))
            if (table := catalogue.table(link.child)) and not any(is_reading(name, table) for name in link.columns)
        )  # fmt: skip
        return replace(catalogue, foreign_keys=(*catalogue.foreign_keys, *keys))


NOTHING = Bound()


def kind_questions(imported: Sequence[Imported], catalogue: Catalogue) -> tuple[KindQuestion, ...]:
    """Say which kinds of polymorphic pairs to look up in the database, each once."""
    tables = _Tables(catalogue)
    asked = [
        question
        for source in imported
        for edge in source.edges
        if (question := _question(edge, tables)) is not None
    ]  # fmt: skip
    return tuple(dict.fromkeys(asked))[:QUESTIONS_MAX]


def bind(imported: Sequence[Imported], catalogue: Catalogue, answers: Mapping[KindQuestion, KindAnswer]) -> Bound:
    """Bind the sources to the database, in order; the first one that says something of a field or an edge counts."""
    binding = _Binding(tables=_Tables(catalogue), answers=answers)
    for source in imported:
        for edge in source.edges:
            binding.edge(source.source, edge)
        for item in source.fields:
            binding.field(source.source, item)
        for named in source.tables:
            binding.table(named)
        binding.notes += [f"{source.source}: {line}" for line in source.unsaid]
    said = [source.said for source in imported if source.said is not None]
    return Bound(
        links=tuple(binding.links.values()), hops=tuple(binding.hops.values()), kinds=binding.kinds,
        words=binding.words, called=binding.called, said=said[0] if said else None, notes=tuple(binding.all_notes()),
    )  # fmt: skip


class _Tables:
    """Tables by the names that sources give them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.by_name = {table.name: table for table in catalogue.tables}
        self.declared = {(key.child, key.columns): key.parent for key in catalogue.foreign_keys}
        self.edges = {(key.child, key.columns, key.parent) for key in catalogue.foreign_keys}

    def find(self, ref: TableRef) -> Table | None:
        """Return the table, or None when there is none, or several that may be meant."""
        if ref.schema_ is not None:
            return self.by_name.get(TableName(schema=ref.schema_, name=ref.name))
        found = [table for name, table in self.by_name.items() if name.name == ref.name]
        public = [table for table in found if table.name.schema == PREFERRED_SCHEMA]
        return (public or found)[0] if len(found) == 1 or public else None

    def why(self, ref: TableRef) -> str:
        """Say why a reference finds no table."""
        if ref.schema_ is None and any(name.name == ref.name for name in self.by_name):
            return f"several tables are called {ref}; name the schema"
        return f"no table {ref} in this database"


def _question(edge: ImportedEdge, tables: _Tables) -> KindQuestion | None:
    if edge.lookup is None:
        return None
    child, table = tables.find(edge.child), tables.find(edge.lookup.table)
    wanted = (edge.lookup.key, *edge.lookup.where)
    if child is None or table is None or child.column(edge.lookup.column) is None:
        return None
    if any(table.column(name) is None for name in wanted):
        return None
    return KindQuestion(
        child=child.name, column=edge.lookup.column, table=table.name, key=edge.lookup.key,
        where=tuple(sorted(edge.lookup.where.items())),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ends:
    """Both ends of an edge, found in the catalogue."""

    child: Table
    via: tuple[str, ...]
    parent: Table
    key: tuple[str, ...]


class _Unsayable(Exception):
    """The edge can't be taken over; the text is the reason."""


@dataclass(slots=True, kw_only=True)
class _Binding:
    tables: _Tables
    answers: Mapping[KindQuestion, KindAnswer]
    links: dict[tuple[TableName, tuple[str, ...]], Link] = field(default_factory=dict)
    hops: dict[tuple[TableName, tuple[str, ...], TableName, str | None], Hop] = field(default_factory=dict)
    kinds: dict[FieldName, Kind] = field(default_factory=dict)
    words: dict[FieldName, str] = field(default_factory=dict)
    called: dict[TableName, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    idle: Counter[str] = field(default_factory=Counter)

    # -------------------------------------------------------------------------------------------- edges

    def edge(self, source: str, edge: ImportedEdge) -> None:
        told = f"{source}: {edge.source}"
        try:
            ends = self._ends(edge)
            if ends is None:
                missing = [ref for ref in dict.fromkeys((edge.child, edge.parent)) if self.tables.find(ref) is None]
                self.notes.append(f"{told}: {'; '.join(map(self.tables.why, missing))}")
                return
            self._take(told, edge, ends)
        except (_Unsayable, BadFile) as fault:
            self.notes.append(f"{told}: {str(fault).removeprefix(_WHERE)}")

    def _ends(self, edge: ImportedEdge) -> _Ends | None:
        child, parent = self.tables.find(edge.child), self.tables.find(edge.parent)
        if child is None or parent is None:
            return None
        ends = _Ends(child=child, via=edge.via, parent=parent, key=edge.key or parent.key)
        return _spelt(_directed(ends) if edge.undirected else ends)

    def _take(self, told: str, edge: ImportedEdge, ends: _Ends) -> None:
        child, parent = ends.child.name, ends.parent.name
        if edge.when is None and edge.lookup is None and (child, ends.via, parent) in self.tables.edges:
            return  # the database says it itself
        link = Link(
            child=child, columns=ends.via, parent=parent, parent_columns=ends.key, declared=False,
            missing_on=ends.child.leaves or (child,), nullable=_nullable(ends), told=told,
        )  # fmt: skip
        if edge.when is not None or edge.lookup is not None:
            self._polymorphic(edge, ends, link)
        elif self._is_taken(link):
            self.hops.setdefault((child, ends.via, parent, None), Hop(link=link))
            self.notes.append(f"{told}: {link.key} refers to another table, too; a path may go over it, it is no edge")
        else:
            self.links.setdefault((child, ends.via), link)

    def _is_taken(self, link: Link) -> bool:
        """Whether the same columns refer to another table already; `edges` holds one parent for each."""
        place = (link.child, link.columns)
        return place in self.tables.declared or (place in self.links and self.links[place].parent != link.parent)

    def _polymorphic(self, edge: ImportedEdge, ends: _Ends, link: Link) -> None:
        when = edge.when
        if edge.lookup is not None:
            when = self._looked_up(edge, ends)
            if when is None:
                return
        parse_condition(str(when), columns=frozenset(column.name for column in ends.child.columns), where=_WHERE[:-2])
        self.hops.setdefault((link.child, link.columns, link.parent, when), Hop(link=replace(link, when=when)))

    def _looked_up(self, edge: ImportedEdge, ends: _Ends) -> str | None:
        """The condition on a kind whose value the database gave; None for kinds that no row has."""
        question = _question(edge, self.tables)
        if question is None or edge.lookup is None:
            raise _Unsayable("the kind of its pair can't be looked up in this database")
        answer, name = self.answers.get(question), f"{ends.child.name} ({edge.source})"
        if answer is None or (answer.used is False and not edge.lookup.certain):
            self.idle[name] += 1
            return None
        if answer.value is None:
            raise _Unsayable(f"the kind of its pair could not be read from {question.table}")
        column = ends.child.column(question.column)
        number = column is not None and column.base in INTEGERS
        quoted = answer.value if number else "'" + answer.value.replace("'", "''") + "'"
        return f'"{question.column.replace(chr(34), chr(34) * 2)}" = {quoted}'

    # -------------------------------------------------------------------------------------------- fields

    def field(self, source: str, item: ImportedField) -> None:
        table = self.tables.find(item.table)
        if table is None or table.column(item.name) is None:
            if item.category is not None:
                self.notes.append(f"{source}: {item.source}: no column {item.table}.{item.name} in this database")
            return
        if item.category is not None:
            why = f"{source}: {item.source} is {item.category}"
            self.kinds.setdefault((table.name, item.name), kind_of_category(item.category, why=why))
        if item.words is not None:
            self.words.setdefault((table.name, item.name), item.words)

    def table(self, named: ImportedTable) -> None:
        table = self.tables.find(named.table)
        if table is not None:
            self.called.setdefault(table.name, named.name)

    def all_notes(self) -> Iterator[str]:
        """The notes, each once; kinds without rows last."""
        yield from dict.fromkeys(self.notes)
        for name, count in self.idle.items():
            yield f"{name}: {count} kinds that no row names today are left out"


_WHERE = "the source: "


# ------------------------------------------------------------------------------------------------ ends


def _directed(ends: _Ends) -> _Ends:
    """Decide which of two fields refers: the one that is no key refers to the one that is."""
    if _is_key(ends.parent, ends.key):
        return ends
    if _is_key(ends.child, ends.via):
        return _Ends(child=ends.parent, via=ends.key, parent=ends.child, key=ends.via)
    both = f"{ends.child.name}.{','.join(ends.via)} nor {ends.parent.name}.{','.join(ends.key)}"
    raise _Unsayable(f"neither {both} is a key, so which one refers isn't known; write the path yourself")


def _is_key(table: Table, columns: tuple[str, ...]) -> bool:
    return columns in (table.primary_key, *table.unique_keys)


def _spelt(ends: _Ends) -> _Ends:
    """Spell what refers so that it compares with the key: an array as its elements, a text key by its text."""
    if len(ends.via) != len(ends.key):
        raise _Unsayable(f"{len(ends.via)} columns can't refer to {len(ends.key)} of {ends.parent.name}")
    for name in ends.key:
        if ends.parent.column(name) is None:
            raise _Unsayable(f"{ends.parent.name} has no column {name}")
    if len(ends.via) == 1:
        return replace(ends, via=(_one(ends, ends.via[0]),))
    for ours, theirs in zip(ends.via, ends.key, strict=True):
        _check_types(_column(ends.child, ours), _column(ends.parent, theirs), ends)
    return ends


def _one(ends: _Ends, text: str) -> str:
    key = _column(ends.parent, ends.key[0])
    column = ends.child.column(text)
    if column is not None and column.category == "A":
        text, column = text + EACH, None
    if column is not None and column.category == "S" and key.base not in TEXTS and key.category != "S":
        text, column = text + WHOLE_TEXT, None
    if column is not None:
        _check_types(column, key, ends)
    elif is_reading(text, ends.child):
        parse_reading(text, ends.child, refers_to=key, where=_WHERE[:-2])
    else:
        raise _Unsayable(f"{ends.child.name} has no column {text}")
    return text


def _column(table: Table, name: str) -> Column:
    column = table.column(name)
    if column is None:
        raise _Unsayable(f"{table.name} has no column {name}")
    return column


def _check_types(ours: Column, theirs: Column, ends: _Ends) -> None:
    if ours.category != theirs.category or (ours.category not in "NS" and ours.base != theirs.base):
        raise _Unsayable(
            f"{ends.child.name}.{ours.name} ({ours.type}) can't be compared with {ends.parent.name}.{theirs.name} "
            f"({theirs.type})"
        )


def _nullable(ends: _Ends) -> bool:
    return not all((column := ends.child.column(name)) is not None and column.not_null for name in ends.via)
