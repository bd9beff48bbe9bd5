"""File and catalogue bound into a scope, or everything that is missing, listed (P4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domicile import config
from domicile.catalogue import Catalogue, Column, ForeignKey, RelationKind, Table, TableName
from domicile.config.rules import Apart
from domicile.errors import BadFile, Unclassed
from domicile.model import DatasetId, Holds, KeyKind, Outside, Reading, Scope, Step
from domicile.plan.resolve import resolve

HEAD = """
version: 1
programme: {name: homecoming}
policy: {homes: {CA: ca}, approvals: {erase: {threshold: 1, of: [operator]}}}
locations: {sg: {country: SG, operator: Origin}, ca: {country: CA, operator: Home}}
stores:
  app: {kind: postgresql, location: sg, dsn: env:A}
  app-ca: {kind: postgresql, location: ca, dsn: env:B, home_of: app}
subject: {dataset: app.public.person, key: id, market: {field: country}}
datasets:
"""
PERSON = "  app.public.person: {rows: move}\n"
NOTE = "  app.public.note: {rows: move, path: person_id}\n"
TAG = "  app.public.tag: {rows: public, fields: {id: public, label: public}}\n"


def name(text: str) -> TableName:
    return TableName(schema="public", name=text)


def column(text: str, kind: str = "integer", *, required: bool = False) -> Column:
    category = "S" if kind == "text" else "D" if kind == "date" else "N"
    return Column(
        name=text, position=1, type=kind, base=kind, category=category, not_null=required, binary=True, length_max=None
    )


def table(text: str, *columns: Column, key: tuple[str, ...] = ("id",)) -> Table:
    return Table(name=name(text), kind=RelationKind.TABLE, columns=columns, primary_key=key)


WORLD = Catalogue(
    version=18,
    database="d",
    system_id="1",
    encoding="UTF8",
    tables=(
        table("person", column("id", required=True), column("country", "text"), column("email", "text")),
        table("note", column("id", required=True), column("person_id"), column("written", "date", required=True)),
        table("tag", column("id", required=True), column("label", "text")),
    ),
    foreign_keys=(
        ForeignKey(
            name="note_person",
            child=name("note"),
            columns=("person_id",),
            parent=name("person"),
            parent_columns=("id",),
        ),
    ),
)


def scope_of(datasets: str, world: Catalogue = WORLD) -> Scope:
    return resolve(config.load((HEAD + datasets).encode()), world)


def test_a_whole_file_resolves_with_parents_first() -> None:
    scope = scope_of(NOTE + TAG + PERSON)
    names = [str(dataset.id) for dataset in scope.datasets]
    assert names.index("app.public.person") < names.index("app.public.note")
    assert [("note_person", True)] == [(edge.name, edge.enforced) for edge in scope.edges]


def test_p4_a_table_nobody_classed_is_listed_with_the_line_to_add() -> None:
    with pytest.raises(Unclassed, match=r"app\.public\.tag: \{rows: \?\}"):
        scope_of(PERSON + NOTE)


def test_p4_a_column_nobody_classed_is_listed_with_the_line_to_add() -> None:
    with pytest.raises(Unclassed, match=r"label: \?"):
        scope_of(PERSON + NOTE + TAG.replace(", label: public", ""))


def test_p4_rows_that_are_private_as_a_whole_need_no_fields() -> None:
    assert ("id", "country", "email") == scope_of(PERSON + NOTE + TAG).dataset(DatasetId("app.public.person")).private


def test_p4_a_private_field_that_cannot_be_null_asks_for_its_stand_in() -> None:
    split = (
        "  app.public.note: {rows: split, path: person_id, fields: {id: public, person_id: public, written: private}}\n"
    )
    with pytest.raises(Unclassed, match=r"written: \{class: private, outside: \?\}"):
        scope_of(PERSON + split + TAG)
    filled = split.replace("written: private", "written: {class: private, outside: '1970-01-01'}")
    blanks = scope_of(PERSON + filled + TAG).dataset(DatasetId("app.public.note")).blanks
    assert [("written", Outside.LITERAL, "1970-01-01")] == [(b.column, b.outside, b.literal) for b in blanks]


@pytest.mark.parametrize(
    ("datasets", "words"),
    [
        (PERSON + NOTE + TAG + "  app.public.gone: {rows: move, path: x}\n", "holds no such table"),
        (PERSON + TAG + "  app.public.note: {rows: move}\n", "needs a `path`"),
        (PERSON + TAG + "  app.public.note: {rows: move, path: written}\n", "is no foreign key"),
        (PERSON + TAG + "  app.public.note: {rows: move, path: nothing}\n", "has no column nothing"),
        (
            PERSON + NOTE + "  app.public.tag: {rows: none, reason: r, path: [{via: id, to: app.public.person}]}\n",
            "holds nobody's data",
        ),
        ("  app.public.person: {rows: move, path: [{via: id, to: app.public.person}]}\n" + NOTE + TAG, "has no path"),
        (
            "  app.public.person: {rows: public, fields: {id: public, country: public, email: public}}\n" + NOTE + TAG,
            "is `move` or `split`",
        ),
        (
            PERSON + TAG + "  app.public.note: {rows: move, path: {via: person_id, to: app.public.tag}}\n",
            "not at the subject",
        ),
        (PERSON + NOTE + TAG.replace("label: public", "label: private"), "need a `path`"),
        (PERSON + NOTE + TAG + "  other.public.x: {rows: move}\n", "store other is not in `stores`"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_words(datasets: str, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        scope_of(datasets)


def test_the_subjects_key_must_be_unique() -> None:
    loose = replace(WORLD, tables=(replace(WORLD.tables[0], primary_key=("email",)), *WORLD.tables[1:]))
    with pytest.raises(BadFile, match="not a unique key"):
        scope_of(PERSON + NOTE + TAG, loose)


def test_a_reference_without_a_key_in_the_database_is_declared_in_the_file() -> None:
    bare = replace(WORLD, foreign_keys=())
    virtual = "  app.public.note: {rows: move, path: person_id, edges: {person_id: {to: app.public.person}}}\n"
    (edge,) = scope_of(PERSON + virtual + TAG, bare).edges
    assert (False, (name("note"),)) == (edge.enforced, edge.missing_on)


def test_columns_that_refer_to_several_tables_have_a_rule_for_each() -> None:
    several = "edges: {person_id: [{to: app.public.person, apart: skeleton}, {to: app.public.tag, apart: whole}]}"
    note = "  app.public.note: {rows: move, path: [{via: person_id, to: app.public.person}], " + several + "}\n"
    edges = scope_of(PERSON + note + TAG).edges
    assert {
        ("app.public.person", "note_person", Apart.SKELETON), ("app.public.tag", "virtual person_id", Apart.WHOLE)
    } == {(edge.parent, edge.name, edge.apart_home) for edge in edges}  # fmt: skip


@pytest.mark.parametrize(
    "several", ["[{to: app.public.person}, {to: app.public.person}]", "[{}, {to: app.public.tag}]"]
)
def test_of_several_rules_each_names_its_own_parent(several: str) -> None:
    note = "  app.public.note: {rows: move, path: person_id, edges: {person_id: " + several + "}}\n"
    with pytest.raises(BadFile, match=r"edges\.person_id: of several each names its own parent"):
        scope_of(PERSON + note + TAG)


@pytest.mark.parametrize(("via", "many"), [("person_id", True), ("id", False)])
def test_a_reverse_hop_may_lead_to_several_unless_it_is_unique_and_is_never_certain(via: str, many: bool) -> None:
    reverse = f"  app.public.tag: {{rows: move, path: [{{from: app.public.note, via: {via}, key: id}}, person_id]}}\n"
    (path,) = scope_of(PERSON + NOTE + reverse).dataset(DatasetId("app.public.tag")).paths
    assert (many, False) == (path.many, path.certain)


BY_CITY = "  app.public.note: {rows: move, path: [{via: place, to: app.public.person, key: city}]}\n"
CITIES = replace(
    WORLD,
    tables=(
        replace(WORLD.tables[0], columns=(*WORLD.tables[0].columns, column("city", "text"))),
        replace(WORLD.tables[1], columns=(*WORLD.tables[1].columns, column("place", "text"))),
        WORLD.tables[2],
    ),
)


@pytest.mark.parametrize(
    ("change", "many"),
    [
        ({}, True),
        ({"unique_keys": (("country", "city"),)}, True),
        ({"unique_keys": (("city",),)}, False),
        ({"unique_keys": (("city",),), "children": (name("vip"),)}, True),
    ],
)
def test_a_hop_to_columns_that_are_not_unique_may_lead_to_several(change: dict[str, Any], many: bool) -> None:
    person, note, tag = CITIES.tables
    world = replace(CITIES, tables=(replace(person, **change), note, tag))
    (path,) = scope_of(PERSON + BY_CITY + TAG, world).dataset(DatasetId("app.public.note")).paths
    assert many == path.many


def test_what_a_foreign_key_refers_to_is_unique() -> None:
    key = replace(WORLD.foreign_keys[0], name="by_city", columns=("place",), parent_columns=("city",))
    world = replace(CITIES, foreign_keys=(*CITIES.foreign_keys, key))
    (path,) = scope_of(PERSON + BY_CITY + TAG, world).dataset(DatasetId("app.public.note")).paths
    assert not path.many


def test_a_market_over_columns_that_are_not_unique_may_be_told_by_several_rows() -> None:
    by_city = HEAD.replace(
        "market: {field: country}", "market: {path: [{via: city, to: app.public.tag, key: label}], field: label}"
    )
    assert not is_single(resolve(config.load((by_city + PERSON + NOTE + TAG).encode()), CITIES))


def test_a_key_is_never_blanked_and_a_reference_only_by_what_its_parent_holds() -> None:
    keyed = "  app.public.note: {rows: move, path: person_id, fields: {id: {class: private, outside: 0}}}\n"
    with pytest.raises(BadFile, match="part of a key"):
        scope_of(PERSON + keyed + TAG)
    token = "  app.public.note: {rows: move, path: person_id, fields: {person_id: {class: private, outside: token}}}\n"
    with pytest.raises(BadFile, match="refers to another row"):
        scope_of(PERSON + token + TAG)
    null = token.replace("outside: token", "outside: null")
    assert "person_id" in {b.column for b in scope_of(PERSON + null + TAG).dataset(DatasetId("app.public.note")).blanks}


def test_an_exception_keeps_a_field_outside_only_where_its_row_stays() -> None:
    excepted = HEAD.replace(
        "operator]}}}",
        "operator]}}, exceptions: [{id: e1, purpose: p, recipient: r, approvers: [a], until: 2099-01-01}]}",
    )
    moved = "  app.public.note: {rows: move, path: person_id, fields: {written: {class: excepted, exception: e1}}}\n"
    with pytest.raises(BadFile, match="exception"):
        resolve(config.load((excepted + PERSON + moved + TAG).encode()), WORLD)


BELOW = (
    table("home", column("person_id", required=True), column("land", "text"), key=("person_id",)),
    table("book", column("id", required=True), column("person_id"), column("land", "text"), column("kind", "text")),
)
BELOW_WORLD = replace(WORLD, tables=(*WORLD.tables, *BELOW))
REST = PERSON + NOTE + TAG + "".join(f"  app.public.{text}: {{rows: none, reason: r}}\n" for text in ("home", "book"))


def market_of(market: str) -> Scope:
    text = HEAD.replace("{field: country}", market) + REST
    return resolve(config.load(text.encode()), BELOW_WORLD)


def is_single(scope: Scope) -> bool:
    return not any(step.many for piece in scope.kinds[0].market.evidence for step in piece.steps)


def test_a_market_told_by_a_row_of_the_same_key_is_single() -> None:
    assert is_single(market_of("{path: [{from: app.public.home, via: person_id}], field: land}"))
    assert is_single(market_of("{field: country}"))


def test_a_market_told_by_rows_that_may_be_many_is_not() -> None:
    scope = market_of(
        "{path: [{from: app.public.book, via: person_id}], field: land, when: \"kind = 'home'\", conflict: stay}"
    )
    market = scope.kinds[0].market
    assert (False, "kind = 'home'", "stay") == (is_single(scope), market.evidence[0].when, market.conflict)


def test_what_holds_in_a_conflict_is_a_known_market() -> None:
    with pytest.raises(BadFile, match=r"market\.conflict: DE is neither"):
        market_of("{path: [{from: app.public.book, via: person_id}], field: land, conflict: DE}")
    with pytest.raises(BadFile, match=r"subject\.market\.when.*names nothing"):
        market_of("{path: [{from: app.public.book, via: person_id}], field: land, when: \"nothing = 'x'\"}")


def _sole(path: str, world: Catalogue) -> bool:
    note = f"  app.public.note: {{rows: move, path: {path}, shared: each}}\n"
    return scope_of(note + TAG + PERSON, world).dataset(DatasetId("app.public.note")).sole


def _with_reference(kind: str) -> Catalogue:
    """The world without its foreign key, and the note's reference of that type."""
    person, note, tag = WORLD.tables
    note = replace(note, columns=(note.columns[0], column("person_id", kind), *note.columns[2:]))
    return replace(WORLD, tables=(person, note, tag), foreign_keys=())


def test_p1_a_row_has_one_owner_at_most_where_the_databases_own_keys_say_so() -> None:
    assert _sole("person_id", WORLD)
    assert _sole("[{via: person_id, to: app.public.person}]", _with_reference("integer"))


def test_p1_a_hop_to_no_key_or_by_another_types_equality_may_lead_to_several() -> None:
    assert not _sole("[{via: written_by, to: app.public.person, key: country}]", _written_by_country())
    assert not _sole("[{via: person_id, to: app.public.person}]", _with_reference("numeric"))


def _written_by_country() -> Catalogue:
    person, note, tag = WORLD.tables
    return replace(WORLD, tables=(person, replace(note, columns=(*note.columns, column("written_by", "text"))), tag))


# -- references inside columns -----------------------------------------------------------------------------------

BAGS = replace(
    WORLD,
    tables=(
        *WORLD.tables,
        table(
            "bag",
            column("id", required=True),
            replace(column("ids", "integer[]"), category="A"),
            column("payload", "jsonb"),
            column("body", "text"),
            column("odd[]", "text"),
        ),
    ),
)


def path_of(via: str, key: str = "") -> Step:
    bag = f"  app.public.bag: {{rows: move, path: [{{via: '{via}', to: app.public.person{key}}}]}}\n"
    return scope_of(PERSON + NOTE + TAG + bag, BAGS).dataset(DatasetId("app.public.bag")).paths[0].steps[0]


@pytest.mark.parametrize(
    ("via", "column", "holds", "steps", "pattern"),
    [
        ("ids[]", "ids", Holds.ARRAY, ("[]",), None),
        ("payload->actor->id", "payload", Holds.JSONB, ("actor", "id"), None),
        ("payload->items[]->by", "payload", Holds.JSONB, ("items", "[]", "by"), None),
        ("body->who", "body", Holds.JSON, ("who",), None),
        ("body->who ~ (\\d+)$", "body", Holds.JSON, ("who",), "(\\d+)$"),
        ("body ~ user:(\\d+), ->", "body", Holds.TEXT, (), "user:(\\d+), ->"),
        ("odd[] ~ (.+)", "odd[]", Holds.TEXT, (), "(.+)"),
    ],
)
def test_a_reference_inside_a_column_is_read(
    via: str, column: str, holds: Holds, steps: tuple[str, ...], pattern: str | None
) -> None:
    step = path_of(via)
    expected = Reading(column=column, holds=holds, steps=steps, pattern=pattern, kind=KeyKind.INTEGER)
    assert (expected, True) == (step.reading, step.many)
    assert via == expected.spelled


def test_a_column_that_is_called_like_that_is_meant_first() -> None:
    step = path_of("odd[]", ", key: country")
    assert (None, ("odd[]",)) == (step.reading, step.columns)


@pytest.mark.parametrize(
    ("via", "words"),
    [
        ("ids->x", "is an array"),
        ("ids[]->x", "is an array"),
        ("id->x", "holds neither an array nor JSON"),
        ("nothing->x", "names no column"),
        ("payload->", "can't be read"),
        ("body ~ no group", "exactly one group"),
        ("body ~ (a)(b)", "exactly one group"),
        ("body ~ (", "can't be read"),
        ("body ~ (" + "x" * 500 + ")", "longer than"),
    ],
)
def test_a_reference_that_can_t_be_read_is_refused(via: str, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        path_of(via)


def test_a_private_column_that_holds_references_is_blanked_in_a_skeleton() -> None:
    bag = (
        "  app.public.bag:\n    rows: split\n    path: [{via: 'payload->id', to: app.public.person}]\n"
        "    edges: {'payload->id': {to: app.public.person}}\n"
        "    fields: {id: public, ids: public, payload: private, body: public, 'odd[]': public}\n"
    )
    scope = scope_of(PERSON + NOTE + TAG + bag, BAGS)
    assert ["payload"] == [blank.column for blank in scope.dataset(DatasetId("app.public.bag")).blanks]
    (edge,) = [edge for edge in scope.edges if edge.reading]
    assert ("datasets.app.public.bag.edges.payload->id", False) == (edge.where, edge.enforced)


# -- kinds of people, and evidence -------------------------------------------------------------------------------


def test_a_path_may_end_at_any_kind_of_people() -> None:
    text = HEAD.replace(
        "datasets:", "other_subjects: [{dataset: app.public.tag, key: id, market: {field: label}}]\ndatasets:"
    )
    datasets = PERSON + NOTE + "  app.public.tag: {rows: move}\n"
    scope = resolve(config.load((text + datasets).encode()), WORLD)
    assert ["app.public.person", "app.public.tag"] == [kind.dataset for kind in scope.kinds]
    assert "app.public.tag" == scope.dataset(DatasetId("app.public.tag")).paths[0].subject


def test_two_kinds_of_people_are_not_one() -> None:
    again = "other_subjects: [{dataset: app.public.person, key: id, market: {field: country}}]\ndatasets:"
    with pytest.raises(BadFile, match="named twice"):
        config.load((HEAD.replace("datasets:", again) + PERSON).encode())


EVIDENCE = (
    "{evidence: [{name: own, field: country}, {name: notes, path: [{from: app.public.note, via: person_id}],"
    " field: written, date: written}], decide: latest}"
)


def test_evidence_may_lie_in_rows_that_refer_to_the_person() -> None:
    text = HEAD.replace("{field: country}", EVIDENCE)
    scope = resolve(config.load((text + PERSON + NOTE + TAG).encode()), WORLD)
    own, notes = scope.kinds[0].market.evidence
    assert ((), True, "written") == (own.steps, notes.steps[0].many, notes.date)


@pytest.mark.parametrize(
    ("market", "words"),
    [
        ("{}", "either `field`"),
        ("{field: country, evidence: [{name: a, field: country}]}", "either `field`"),
        ("{path: note_id, evidence: [{name: a, field: country}]}", "stand with each piece"),
        ("{evidence: [{name: a, field: country}, {name: a, field: email}]}", "same name"),
        ("{evidence: [{name: a, field: country}], decide: latest}", "needs a `date`"),
        ("{evidence: [{name: a, field: country, since: email}]}", "as_of"),
        ("{field: country, conflict: nowhere}", "neither `stay`"),
    ],
)
def test_evidence_that_can_t_decide_is_refused(market: str, words: str) -> None:
    with pytest.raises(BadFile, match=words):
        config.load((HEAD.replace("{field: country}", market) + PERSON).encode())


def test_evidence_of_a_column_that_is_not_there_is_refused() -> None:
    text = HEAD.replace("{field: country}", "{evidence: [{name: own, field: land}]}")
    with pytest.raises(BadFile, match=r"subject\.market\.evidence\.own: public\.person has no column land"):
        resolve(config.load((text + PERSON + NOTE + TAG).encode()), WORLD)
