"""Our rules as fideslang: an import brings back what was exported, whatever the names are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domicile.catalogue import Catalogue, Column, ForeignKey, RelationKind, Table, TableName
from domicile.catalogue.samples import Samples
from domicile.config import Config, dataset_id, load, split_dataset_id
from domicile.config.tree import load_tree
from domicile.map import Frame, draft, imports
from domicile.map.imports.fides import read_fides
from domicile.map.imports.interchange import Said
from domicile.map.imports.saying import renamed

STORE = "app"
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
TABLES = st.builds(TableName, schema=NAMES, name=NAMES)
IDS = TABLES.map(lambda table: dataset_id(STORE, table))
SHARED = st.sampled_from(("each", "first", "any"))


def some(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


UP = some(
    {"via": st.lists(NAMES, min_size=1, max_size=2)}, to=IDS, key=st.lists(NAMES, min_size=1, max_size=2), when=NAMES
)
DOWN = some({"via": NAMES, "from": IDS})
PATHS = st.lists(st.one_of(NAMES, UP, DOWN), min_size=1, max_size=3)
OUTSIDE = st.one_of(st.none(), NAMES, st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False))
FIELDS = st.one_of(
    st.sampled_from(("private", "public")),
    some({"class": st.sampled_from(("private", "public"))}, category=NAMES, outside=OUTSIDE),
    st.just({"class": "excepted", "exception": "tax"}),
)
APART = st.sampled_from(("refuse", "skeleton", "whole"))
EDGES = some(
    {}, to=IDS, key=st.lists(NAMES, min_size=1, max_size=2), apart=st.one_of(APART, some({}, home=APART, source=APART))
)
WAYS = st.one_of(PATHS, some({"path": PATHS}, shared=SHARED))
SUBJECTS = some({"by": st.lists(WAYS, min_size=1, max_size=3)}, shared=SHARED)
RULES = st.one_of(
    some({"rows": st.sampled_from(("move", "split"))}, path=PATHS, shared=SHARED, ownerless=st.just("stay"),
         unenforced=st.just("follow"), fields=st.dictionaries(NAMES, FIELDS, max_size=3),
         edges=st.dictionaries(NAMES, EDGES, max_size=2)),
    some({"rows": st.just("move"), "subjects": SUBJECTS}),
    some({"rows": st.just("none"), "reason": NAMES}, home=st.sampled_from(("all", "needed", "nothing"))),
    some({"rows": st.just("public"), "fields": st.dictionaries(NAMES, FIELDS, max_size=3)}),
)  # fmt: skip
MARKETS = st.one_of(
    some({"field": NAMES}, path=PATHS, values=st.dictionaries(NAMES, NAMES, max_size=2)),
    some(
        {
            "evidence": st.lists(
                some({"name": st.just("x"), "field": NAMES}, path=PATHS, match=NAMES), min_size=1, max_size=1
            )
        }
    ),
)
PEOPLE = some({"dataset": IDS, "key": NAMES, "market": MARKETS})


def config_of(people: list[dict[str, Any]], rules: dict[str, Any]) -> Config:
    others = {item["dataset"]: item for item in people[1:] if item["dataset"] != people[0]["dataset"]}
    exception = {"id": "tax", "purpose": "tax", "recipient": "office", "approvers": ["a"], "until": "2027-01-01"}
    return Config.model_validate(
        {
            "version": 1, "programme": {"name": "p"}, "subject": people[0], "other_subjects": list(others.values()),
            "policy": {
                "homes": {"CA": "ca"}, "approvals": {"erase": {"threshold": 1, "of": ["a"]}}, "exceptions": [exception]
            },
            "locations": {"sg": {"country": "SG", "operator": "o"}, "ca": {"country": "CA", "operator": "h"}},
            "stores": {
                STORE: {"kind": "postgresql", "location": "sg", "dsn": "env:A"},
                "home": {"kind": "postgresql", "location": "ca", "dsn": "env:B", "home_of": STORE},
            },
            "datasets": rules,
        }
    )  # fmt: skip


def catalogue_of(config: Config) -> Catalogue:
    """The tables of every other dataset, with its fields as columns."""
    tables = []
    for name, rule in list(config.datasets.items())[::2]:
        columns = tuple(
            Column(name=field, position=number, type="text", base="text", category="S", not_null=False, binary=True)
            for number, field in enumerate(dict.fromkeys((*rule.fields, *rule.edges)), 1)
        )
        key = (columns[0].name,) if columns else ()
        tables.append(Table(name=split_dataset_id(name)[1], kind=RelationKind.TABLE, columns=columns, primary_key=key))
    return Catalogue(version=180000, database="d", system_id="1", encoding="UTF8", tables=tuple(tables))


def again(text: str) -> imports.Imported:
    return read_fides(load_tree(text.encode(), origin="export.yml", remedy=""))


@given(
    people=st.lists(PEOPLE, min_size=1, max_size=2), rules=st.dictionaries(IDS, RULES, max_size=4), known=st.booleans()
)
def test_import_of_an_export_is_what_was_exported(
    people: list[dict[str, Any]], rules: dict[str, Any], known: bool
) -> None:
    config = config_of(people, {people[0]["dataset"]: {"rows": "move"}, **rules})
    empty = Catalogue(version=180000, database="d", system_id="1", encoding="UTF8", tables=())
    text = imports.export_fides(config, catalogue_of(config) if known else empty)
    assert all(line.isprintable() for line in text.splitlines())
    said = again(text).said
    assert said is not None
    assert config.datasets == said.datasets
    assert (STORE, config.subject, config.other_subjects) == (said.store, said.subject, said.other_subjects)
    # and what an import reads, the draft writes, and the file reads, is the same again
    assert said == renamed(renamed(said, "other"), STORE)
    assert all(name.startswith("other.") for name in renamed(said, "other").datasets)


PUBLIC = "public"


def column(name: str, base: str = "integer", category: str = "N") -> Column:
    return Column(name=name, position=1, type=base, base=base, category=category, not_null=True, binary=True)


def shop() -> tuple[Config, Catalogue]:
    people, visit, address = (TableName(schema=PUBLIC, name=name) for name in ("people", "visit", "address"))
    config = config_of(
        [{"dataset": "app.public.people", "key": "id", "market": {"field": "country"}}],
        {
            "app.public.people": {
                "rows": "move", "fields": {"email": {"class": "private", "category": "user.contact.email"}}
            },
            "app.public.address": {"rows": "move", "path": [{"from": "app.public.people", "via": "address_id"}]},
            "app.public.visit": {
                "rows": "move", "path": [{"via": "log->actors[]->id", "to": "app.public.people"}],
                "edges": {"log->actors[]->id": {"to": "app.public.people"}, "ids[]": {"to": "app.public.people"},
                          "note ~ ^(\\d+)$": {"to": "app.public.people"}},
            },
        },
    )  # fmt: skip
    tables = (
        Table(name=address, kind=RelationKind.TABLE, columns=(column("id"),), primary_key=("id",)),
        Table(
            name=people, kind=RelationKind.TABLE, primary_key=("id",),
            columns=(column("id"), column("email", "text", "S"), column("address_id")),
        ),
        Table(
            name=visit, kind=RelationKind.TABLE, primary_key=("id",),
            columns=(
                column("id"), column("log", "jsonb", "U"), column("ids", "integer[]", "A"), column("note", "text", "S"),
            ),
        ),
    )  # fmt: skip
    key = ForeignKey(name="fk", child=people, columns=("address_id",), parent=address, parent_columns=("id",))
    return config, Catalogue(
        version=180000, database="d", system_id="1", encoding="UTF8", tables=tables, foreign_keys=(key,)
    )


def test_an_export_says_in_fideslangs_words_what_it_has_words_for() -> None:
    config, catalogue = shop()
    parsed = load_tree(imports.export_fides(config, catalogue).encode(), origin="e", remedy="").plain
    assert isinstance(parsed, dict)
    (dataset,) = parsed["dataset"]
    collections = {each["name"]: {item["name"]: item for item in each["fields"]} for each in dataset["collections"]}
    email = collections["people"]["email"]
    assert ["user.contact.email"] == email["data_categories"]
    assert "string" == email["fides_meta"]["data_type"]
    assert collections["people"]["id"]["fides_meta"]["primary_key"]
    # an address is found by who lives there
    to_address = {"dataset": "app_public", "field": "address.id", "direction": "to"}
    assert [to_address] == collections["people"]["address_id"]["fides_meta"]["references"]
    (actors,) = collections["visit"]["log"]["fields"]
    assert "object[]" == actors["fides_meta"]["data_type"]
    from_people = {"dataset": "app_public", "field": "people.id", "direction": "from"}
    assert [from_people] == actors["fields"][0]["fides_meta"]["references"]
    assert "integer[]" == collections["visit"]["ids"]["fides_meta"]["data_type"]
    assert [from_people] == collections["visit"]["ids"]["fides_meta"]["references"]
    assert "references" not in collections["visit"]["note"]["fides_meta"]


def test_without_our_own_key_the_references_still_come_back() -> None:
    config, catalogue = shop()
    text = imports.export_fides(config, catalogue)
    imported = again(text)
    assert {("log->actors[]->id",), ("ids[]",), ("address_id",)} == {edge.via for edge in imported.edges}
    bound = imports.bind([imported], catalogue, {})
    assert {"log->actors[]->id", "ids[]"} == {link.key for link in bound.links}  # address_id is declared
    assert () == bound.notes


def test_a_category_that_was_changed_in_the_export_counts() -> None:
    config, catalogue = shop()
    text = imports.export_fides(config, catalogue).replace("- user.contact.email", "- user.contact.phone_number")
    said = again(text).said
    assert said is not None
    assert "user.contact.phone_number" == said.datasets["app.public.people"].fields["email"].category
    assert config.datasets["app.public.visit"] == said.datasets["app.public.visit"]


@pytest.mark.parametrize("store", ["app", "other"])
def test_a_draft_from_an_export_has_its_rules(store: str) -> None:
    config, catalogue = shop()
    bound = imports.bind([again(imports.export_fides(config, catalogue))], catalogue, {})
    made = load(draft(catalogue, Samples(), frame=Frame(store=store, markets={"CA": "ca"}), bound=bound).text.encode())
    assert isinstance(bound.said, Said)
    assert renamed(bound.said, store).datasets == made.datasets
    assert f"{store}.public.people" == made.subject.dataset
