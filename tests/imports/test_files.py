"""Files of other tools: what they say is in the draft, what has no word here is listed, what is wrong is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from domicile.config import tree
from domicile.errors import BadFile
from domicile.map import imports
from domicile.map.imports.expressions import plain_condition, spell_expression
from domicile.map.imports.interchange import TableRef
from domicile.stores.postgres.server import EmbeddedServer
from tests.imports.drafting import Initiated, init, load_script
from tests.servers import Databases

Draft = Callable[[str], Initiated]


@pytest.fixture
def draft(database: Databases, pg18: EmbeddedServer, tmp_path: Path) -> Draft:
    def made(source: str) -> Initiated:
        dsn = database(pg18)
        load_script(dsn, "shop.sql")
        return init(dsn, tmp_path, source)

    return made


# ------------------------------------------------------------------------------------------------ fideslang


def test_fides_references_are_edges_whichever_side_names_them(draft: Draft) -> None:
    made = draft("fides:fides_shop.yml")
    assert made.code == 0
    # said at customer.id_of_first_order → orders.customer_id: neither is a key
    assert "neither public.customer.id_of_first_order nor public.orders.customer_id is a key" in made.text
    assert "app.public.address" == made.rule("public.customer").edges["address_id"][0].to
    assert len(made.catalogue.tables) == len(made.scope().datasets)


def test_fides_nested_fields_are_references_inside_columns(draft: Draft) -> None:
    made = draft("fides:fides_shop.yml")
    edges = {key: edge.to for key, edge in made.rule("public.event").edge_rules()}
    assert {
        "payload->actor->id": "app.public.customer", "payload->items[]->order": "app.public.orders",
        "members[]": "app.public.customer",
    } == edges  # fmt: skip
    assert ("members[]", "app.public.customer", None) in [way[0] for way in made.hops("public.event")]


def test_fides_categories_class_the_fields(draft: Draft) -> None:
    fields = draft("fides:fides_shop.yml").rule("public.customer").fields
    assert "user.contact.email" == fields["email"].category
    assert "user.unique_id" == fields["id"].category


def test_what_fides_says_of_masking_and_order_is_listed(draft: Draft) -> None:
    text = draft("fides:fides_shop.yml").text
    for line in (
        "app.customer: after, erase_after: the order follows from the edges here",
        "app.customer.email: masking_strategy_override: what stands for a field outside is `outside` here",
        "app.customer.email: also user.account.username; a field has one category here",
        "app.customer.email: identity email: requests begin there",
    ):
        assert f"#  - fides: {line}" in text


def read(tmp_path: Path, text: str | bytes, *, spec: str = "fides:{}") -> imports.Imported:
    file = tmp_path / "given.yml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return imports.read(spec.format(file), interpreter=imports.Interpreter(python="", environment={}))


def field_of(more: str) -> str:
    return f"dataset:\n- fides_key: a\n  collections:\n  - name: t\n    fields:\n    - name: f\n      {more}\n"


BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, f"more than {tree.NODES_MAX} values once its aliases are expanded"),
        ("dataset: &d\n- fides_key: a\n  collections: *d\n", r"given\.yml:3: \*d stands inside of what it names"),
        ("a: " + "[" * 200 + "]" * 200, "nests deeper|not YAML"),
        ("x" * (10 * 1024 * 1024), "larger than"),
        (b"\xff\xfe\x00", "is not YAML"),
        ("- a", "holds no mapping"),
        ("a: b: c", "is not YAML: line 1"),
        ("a: 1\na: 2", "is not YAML"),
        ("dataset: []", "dataset"),
        ("dataset: 7", r"given\.yml:1: dataset"),
        ("datasets: []", r"given\.yml:1: datasets: no such key here"),
        (field_of("nome: x"), r"given\.yml:7: .*nome: no such key here"),
        (field_of("data_categories: 7"), r"given\.yml:7: .*data_categories"),
        (field_of("fides_meta: {references: [{dataset: a}]}"), r"given\.yml:7: .*references\.0\.field"),
        (field_of("fides_meta: {references: {a: b}}"), "references"),
        (field_of("fields: [7]"), r"fields\.0"),
        (field_of("fides_meta: {domicile: {class: secret}}"), "class"),
    ],
    ids=range(17),
)
def test_a_hostile_or_wrong_file_is_one_clear_refusal(text: str | bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=reason) as raised:
        read(tmp_path, text)
    assert "given.yml" in str(raised.value)
    assert len(str(raised.value)) < 3_000


def test_a_right_file_of_the_same_shape_is_read(tmp_path: Path) -> None:
    imported = read(tmp_path, field_of("data_categories: [user.contact.email]"))
    assert [("f", "user.contact.email")] == [(item.name, item.category) for item in imported.fields]


TWO = """dataset:
- {fides_key: one, collections: [{name: t, fields: [{name: a, data_categories: [user]}]}]}
- {fides_key: two, collections: [{name: t, fields: [{name: b}]}]}
"""


def test_the_same_collection_in_two_datasets_asks_which_one(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="one and two both have a collection t"):
        read(tmp_path, TWO)
    assert 1 == len(read(tmp_path, TWO, spec="fides:{}#one").fields)
    with pytest.raises(BadFile, match="holds no dataset three; it holds one, two"):
        read(tmp_path, TWO, spec="fides:{}#three")


def test_a_reference_to_what_was_not_read_is_listed(tmp_path: Path) -> None:
    imported = read(
        tmp_path, field_of("fides_meta: {references: [{dataset: other, field: t.x}, {dataset: a, field: t}]}")
    )
    assert () == imported.edges
    assert ["other.t.x", "a.t"] == [line.split("refers to ")[1].split(",")[0] for line in imported.unsaid]


# ------------------------------------------------------------------------------------------------ Greenmask


def test_greenmask_virtual_references_are_edges(draft: Draft) -> None:
    made = draft("greenmask:greenmask_shop.yml")
    assert made.code == 0
    assert "app.public.customer" == made.rule("public.orders").edges["customer_id"][0].to
    assert "app.public.customer" == made.rule("public.event").edges["payload->actor->id"][0].to
    assert [
        [("about", "app.public.customer", "\"t\" = 'customer'")],
        [
            ("about", "app.public.orders", '("t" = \'order\') AND ("id" > 0)'),
            ("customer_id", "app.public.customer", None),
        ],
    ] == made.hops("public.comments")
    assert "the expression coalesce(public.event.id, 0) has no spelling here" in made.text
    assert len(made.catalogue.tables) == len(made.scope().datasets)


REFERENCE = "dump: {{virtual_references: [{{schema: s, name: t, references: [{{schema: s, name: p, {}}}]}}]}}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dump: {}", "virtual_references"),
        ("{}", "dump"),
        (REFERENCE.format("columns: []"), "columns"),
        (REFERENCE.format("columns: [{name: a, expression: b}]"), "either `name` or `expression`"),
        (REFERENCE.format("columns: [{}]"), "either `name` or `expression`"),
        (REFERENCE.format("columns: [{name: a}], colour: red"), "colour: no such key here"),
        (REFERENCE.format("columns: [{name: a}], polymorphic_exprs: 7"), "polymorphic_exprs"),
    ],
)
def test_a_wrong_greenmask_file_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=reason):
        read(tmp_path, text, spec="greenmask:{}")
    good = read(tmp_path, REFERENCE.format("columns: [{name: a}]"), spec="greenmask:{}")
    assert [("a",)] == [edge.via for edge in good.edges]


T = TableRef(schema="public", name="t")


@pytest.mark.parametrize(
    ("expression", "spelling"),
    [
        ("a", "a"),
        ("A", "a"),
        ('"A"', "A"),
        ("public.t.a::uuid", "a"),
        ("CAST(t.a AS bigint)", "a"),
        ("(public.t.data ->> 'order_id')::INT", "data->order_id"),
        ("data -> 'a' -> 'b' ->> 'c'", "data->a->b->c"),
        ("data #>> '{a,b}'", "data->a->b"),
        ("data['a']['b']", "data->a->b"),
        ("jsonb_extract_path_text(data, 'a', 'b')", "data->a->b"),
        ("unnest(ids)", "ids[]"),
        ("jsonb_array_elements_text(data -> 'ids')", "data->ids[]"),
        ("(jsonb_array_elements(data -> 'items') ->> 'user')::bigint", "data->items[]->user"),
        (r"substring(k from '^user:(\d+)$')", r"k ~ ^user:(\d+)$"),
        # what means something else here, or nothing
        ("other.a", None),
        ("private.t.a", None),
        ("data -> 0 ->> 'id'", None),
        ("data #>> '{a,0}'", None),
        ("data ->> ''", None),
        ("data ->> 'a->b'", None),
        ("ids[1]", None),
        (r"substring(k from 'user:(\d+)')", None),
        ("lower(a)", None),
        ("a + 1", None),
        ("coalesce(a, b)", None),
        ("(select 1)", None),
        ("a; drop table t", None),
        ("not (sql", None),
        ("a" * 3_000, None),
        ("(" * 1_000 + "a" + ")" * 1_000, None),
    ],
)
def test_an_expression_is_spelt_exactly_or_not_at_all(expression: str, spelling: str | None) -> None:
    assert spelling == spell_expression(expression, T)


@pytest.mark.parametrize(
    ("condition", "plain"),
    [
        ("public.t.kind = 'x'", "\"kind\" = 'x'"),
        ("t.kind IN ('x', 'y') AND a IS NULL", "\"kind\" IN ('x', 'y') AND \"a\" IS NULL"),
        ("other.kind = 'x'", None),
        ("kind", None),
        ("kind = 'x'; select 1", None),
    ],
)
def test_a_condition_is_about_the_table_alone(condition: str, plain: str | None) -> None:
    assert plain == plain_condition(condition, T)
