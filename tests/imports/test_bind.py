"""What a source says, held against the database: taken exactly, or on the list with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from domicile.catalogue import Catalogue, Column, ForeignKey, RelationKind, Table, TableName
from domicile.catalogue.samples import KindAnswer, Samples
from domicile.config import load
from domicile.map import Frame, draft, imports
from domicile.map.imports.categories import kind_of_category
from domicile.map.imports.interchange import Imported
from domicile.map.vocabulary import ENTRIES, Weight
from domicile.plan.resolve import resolve

KINDS = {
    "int": ("integer", "N"),
    "text": ("text", "S"),
    "uuid": ("uuid", "U"),
    "jsonb": ("jsonb", "U"),
    "int[]": ("integer[]", "A"),
}


def table(name: str, *, unique: tuple[tuple[str, ...], ...] = (), **columns: str) -> Table:
    schema, _, plain = name.rpartition(".")
    made = tuple(
        Column(
            name=each, position=number, type=KINDS[kind][0], base=KINDS[kind][0], category=KINDS[kind][1],
            not_null=True, binary=True,
        )
        for number, (each, kind) in enumerate(columns.items(), 1)
    )  # fmt: skip
    return Table(
        name=TableName(schema=schema or "public", name=plain), kind=RelationKind.TABLE, columns=made,
        primary_key=("id",), unique_keys=unique,
    )  # fmt: skip


TABLES = (
    table("people", id="int", code="text", email="text", country="text", unique=(("code",),)),
    table(
        "orders",
        id="int",
        who="int",
        who_text="text",
        who_uuid="uuid",
        email="text",
        code="text",
        ids="int[]",
        j="jsonb",
    ),
    table("shop", id="int", who="int"),
    table("a.twice", id="int"),
    table("b.twice", id="int"),
    table("public.thrice", id="int"),
    table("a.thrice", id="int"),
    table("kinds", id="int", app="text", model="text"),
    table("note", id="int", kind="int", kind_text="text", about="int"),
)
DECLARED = ForeignKey(
    name="fk", child=TableName(schema="public", name="shop"), columns=("who",),
    parent=TableName(schema="public", name="people"), parent_columns=("id",),
)  # fmt: skip
CATALOGUE = Catalogue(
    version=180000, database="d", system_id="1", encoding="UTF8", tables=TABLES, foreign_keys=(DECLARED,)
)


def edge(child: str, via: str, parent: str, **more: Any) -> dict[str, Any]:
    return {"child": {"name": child}, "via": tuple(via.split(",")), "parent": {"name": parent}, "source": "S", **more}


def bound(*edges: dict[str, Any], **more: Any) -> imports.Bound:
    imported = Imported.model_validate({"source": "Tool", "edges": edges, **more})
    return imports.bind([imported], CATALOGUE, {})


@pytest.mark.parametrize(
    ("said", "key", "parent"),
    [
        (edge("orders", "who", "people"), "who", "id"),
        (edge("orders", "code", "people", key=("code",)), "code", "code"),
        (edge("orders", "ids", "people"), "ids[]", "id"),
        (edge("orders", "ids[]", "people"), "ids[]", "id"),
        (edge("orders", "who_text", "people"), "who_text ~ ^(.+)$", "id"),
        (edge("orders", "j->who", "people"), "j->who", "id"),
        (edge("people", "id", "orders", key=("who",), undirected=True), "who", "id"),
        (edge("people", "id", "orders", key=("j->who",), undirected=True), "j->who", "id"),
        (edge("orders", "email", "people", key=("email",)), "email", "email"),
    ],
)
def test_an_edge_is_spelt_so_that_it_compares_with_its_key(said: dict[str, Any], key: str, parent: str) -> None:
    made = bound(said)
    assert () == made.notes
    assert [(key, (parent,), "orders", "people")] == [
        (link.key, link.parent_columns, link.child.name, link.parent.name) for link in made.links
    ]
    assert "Tool: S" == made.links[0].told


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (edge("orders", "who", "nothing"), "no table nothing in this database"),
        (edge("orders", "nothing", "people"), "public.orders has no column nothing"),
        (edge("orders", "who", "people", key=("nothing",)), "public.people has no column nothing"),
        (edge("orders", "who,code", "people"), r"2 columns can't refer to 1"),
        (edge("orders", "who,code", "people", key=("id", "email", "code")), r"2 columns can't refer to 3"),
        (edge("orders", "who_uuid", "people"), r"who_uuid (uuid) can't be compared with public.people.id (integer)"),
        (edge("orders", "who,who_uuid", "people", key=("id", "code")), "can't be compared"),
        (edge("orders", "j", "people"), "can't be compared"),
        (edge("orders", "who->x", "people"), "holds neither an array nor JSON"),
        (edge("orders", "code ~ x", "people"), "exactly one group"),
        (edge("orders", "email", "people", key=("email",), undirected=True), "neither public.orders.email nor"),
        (edge("orders", "who", "twice"), "several tables are called twice; name the schema"),
        (edge("note", "about", "people", when="nothing = 1"), "not a column of the dataset"),
        (edge("note", "about", "people", when="pg_sleep(9) = 1"), "compare the row's own columns"),
        (edge("note", "about", "people", when="kind = (SELECT 1)"), "compare the row's own columns"),
        (edge("note", "about", "people", when="kind = 1; DROP TABLE note"), "must be one condition"),
    ],
)
def test_what_cannot_be_said_is_listed_with_its_reason(said: dict[str, Any], reason: str) -> None:
    made = bound(said)
    assert ((), ()) == (made.links, made.hops)
    (note,) = made.notes
    assert note.startswith("Tool: S: ")
    assert reason in note


def test_a_declared_edge_is_not_said_twice() -> None:
    assert imports.NOTHING == bound(edge("shop", "who", "people"))


def test_a_column_that_refers_to_two_tables_is_an_edge_to_the_first() -> None:
    made = bound(edge("orders", "who", "people"), edge("orders", "who", "shop"), edge("orders", "who", "people"))
    assert ["people"] == [link.parent.name for link in made.links]
    assert [("shop", None)] == [(hop.link.parent.name, hop.when) for hop in made.hops]
    assert 1 == len(made.notes)
    beside = bound(edge("shop", "who", "orders"))
    assert ((), ["orders"]) == (beside.links, [hop.link.parent.name for hop in beside.hops])


def test_a_table_without_schema_is_the_public_one_of_several() -> None:
    made = bound(edge("orders", "who", "thrice"))
    assert ["public"] == [link.parent.schema for link in made.links]
    named = bound(edge("orders", "who", "twice") | {"parent": {"schema": "b", "name": "twice"}})
    assert ["b"] == [link.parent.schema for link in named.links]


@pytest.mark.parametrize(
    ("said", "hop"),
    [
        (edge("orders", "code", "people", key=("code",)), ("code", ("code",), None)),
        (edge("orders", "j->who", "people", key=("code",)), ("j->who", ("code",), None)),
        (edge("orders", "code", "people", key=("code",), when="who > 1"), ("code", ("code",), "who > 1")),
        (edge("orders", "who", "people", when="who > 1"), ("who", None, "who > 1")),
    ],
)
def test_a_path_refers_to_the_columns_that_the_source_named(
    said: dict[str, Any], hop: tuple[str, tuple[str, ...] | None, str | None]
) -> None:
    frame = Frame(markets={"CA": "ca"}, subject=TableName(schema="public", name="people"))
    made = load(draft(CATALOGUE, Samples(), frame=frame, bound=bound(said)).text.encode())
    firsts = [way.path[0] for way in made.datasets["app.public.orders"].paths]
    assert hop in [(",".join(each.via), each.key, each.when) for each in firsts]
    scope = resolve(made, CATALOGUE)
    (orders,) = [dataset for dataset in scope.datasets if dataset.table.name == "orders"]
    assert (hop[1] or ("id",)) in [path.steps[0].to_columns for path in orders.paths]


# ------------------------------------------------------------------------------------------------ kinds of pairs


def pair(column: str, *, certain: bool) -> Imported:
    lookup = {
        "column": column, "table": {"name": "kinds"}, "key": "id", "where": {"app": "shop", "model": "order"},
        "certain": certain,
    }  # fmt: skip
    return Imported.model_validate({"source": "Tool", "edges": (edge("note", "about", "orders", lookup=lookup),)})


@pytest.mark.parametrize(
    ("column", "certain", "used", "when"),
    [
        ("kind", True, False, '"kind" = 7'),
        ("kind", False, True, '"kind" = 7'),
        ("kind", False, None, '"kind" = 7'),  # not read in time: rather too many ways than too few
        ("kind_text", True, True, "\"kind_text\" = '7'"),
        ("kind", False, False, None),
    ],
)
def test_a_kind_is_what_the_database_says(column: str, certain: bool, used: bool | None, when: str | None) -> None:
    source = pair(column, certain=certain)
    (question,) = imports.kind_questions([source], CATALOGUE)
    assert (("app", "shop"), ("model", "order")) == question.where
    made = imports.bind([source], CATALOGUE, {question: KindAnswer(value="7", used=used)})
    assert ([when] if when else []) == [hop.when for hop in made.hops]
    assert bool(made.notes) == (when is None)


def test_a_kind_without_an_answer_is_left_out_and_counted() -> None:
    made = imports.bind([pair("kind", certain=True)], CATALOGUE, {})
    assert ((), ("public.note (S): 1 kinds that no row names today are left out",)) == (made.hops, made.notes)


def test_a_kind_that_could_not_be_read_is_listed() -> None:
    source = pair("kind", certain=False)
    (question,) = imports.kind_questions([source], CATALOGUE)
    made = imports.bind([source], CATALOGUE, {question: KindAnswer(value=None, used=None)})
    assert ((), ("Tool: S: the kind of its pair could not be read from public.kinds",)) == (made.hops, made.notes)


def test_a_kind_that_cannot_be_looked_up_is_listed() -> None:
    source = pair("nothing", certain=True)
    assert () == imports.kind_questions([source], CATALOGUE)
    assert ("Tool: S: the kind of its pair can't be looked up in this database",) == (
        imports.bind([source], CATALOGUE, {}).notes
    )


# ------------------------------------------------------------------------------------------------ fields


def test_fields_that_are_not_there_are_listed_and_the_first_source_counts() -> None:
    given = [
        {"table": {"name": "people"}, "name": "email", "category": "user.contact.email", "source": "one"},
        {"table": {"name": "people"}, "name": "email", "category": "system.operations", "source": "two"},
        {"table": {"name": "people"}, "name": "nothing", "category": "user", "source": "three"},
        {"table": {"name": "people"}, "name": "code", "words": "telephone", "source": "four"},
    ]
    made = bound(fields=tuple(given))
    people = TableName(schema="public", name="people")
    assert "user.contact.email" == made.kinds[people, "email"].category
    assert {(people, "code"): "telephone"} == made.words
    assert ("Tool: three: no column people.nothing in this database",) == made.notes


@pytest.mark.parametrize(
    ("category", "weight"),
    [
        ("user.contact.email", Weight.STRONG), ("user.name.first", Weight.PERSON), ("user.name.nick", Weight.PERSON),
        ("user.contact.address.street", Weight.PLACE), ("user.unique_id", Weight.PLAIN), ("user", Weight.STRONG),
        ("user.biometric", Weight.STRONG), ("system.operations", Weight.TECHNICAL), ("anything", Weight.STRONG),
    ],
)  # fmt: skip
def test_a_category_weighs_like_its_vocabulary_or_its_branch(category: str, weight: Weight) -> None:
    assert weight is kind_of_category(category, why="").weight


def test_every_category_of_the_vocabulary_keeps_its_own_weight() -> None:
    first = {entry.category: entry for entry in reversed(ENTRIES) if entry.category}
    assert {name: entry.weight for name, entry in first.items()} == {
        name: kind_of_category(name, why="").weight for name in first
    }
