"""Applications whose databases declare no key: drafted from their code, and moved like hand-written SQL says."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from domicile.errors import BadFile
from domicile.map.imports.programs import Interpreter, ask_program
from domicile.stores.postgres.server import EmbeddedServer
from tests.imports.drafting import APPLICATIONS, init, load_script
from tests.main.programme import Programme
from tests.servers import Databases

SHOP = "sqlalchemy:sqlalchemy_shop:Base.metadata"
DJANGO = "django:django_shop.settings"


@pytest.fixture
def shop(database: Databases, pg18: EmbeddedServer) -> Callable[[str], str]:
    def made(name: str) -> str:
        dsn = database(pg18)
        load_script(dsn, f"{name}.sql")
        return dsn

    return made


# ------------------------------------------------------------------------------------------------ the draft


def test_sqlalchemy_keys_and_joins_are_the_drafts_edges(shop: Callable[[str], str], tmp_path: Path) -> None:
    made = init(shop("sqlalchemy_shop"), tmp_path, SHOP)
    assert made.code == 0
    assert [
        [("o,pos", "app.public.line", None), ("o", "app.public.purchase", None), ("p", "app.public.people", None)]
    ] == (made.hops("public.parcel"))
    assert [
        [("about", "app.public.people", "\"kind\" = 'p'")],
        [("about", "app.public.purchase", "\"kind\" = 'o'"), ("p", "app.public.people", None)],
    ] == made.hops("public.note")
    assert [[("by", "app.public.people", None)]] == made.hops("public.visit")
    assert [[("who", "app.public.people", None)]] == made.hops("public.likes")
    assert "app.public.product" == made.rule("public.likes").edges["what"][0].to
    assert "app.public.people" == made.rule("public.people").edges["brought_by"][0].to
    assert "user.contact.email" == made.rule("public.people").fields["m"].category
    assert "user.name" == made.rule("public.people").fields["n"].category
    assert "# from SQLAlchemy: sqlalchemy_shop.Order.placed" in made.text
    assert len(made.catalogue.tables) == len(made.scope().datasets)


def test_a_join_that_cannot_be_said_is_reported_and_makes_no_edge(shop: Callable[[str], str], tmp_path: Path) -> None:
    made = init(shop("sqlalchemy_shop"), tmp_path, SHOP)
    assert "#  - SQLAlchemy: sqlalchemy_shop.Visit.written: its join asks for more" in made.text
    assert "Visit.written: its join asks for more" in made.said
    assert {"by"} == set(made.rule("public.visit").edges)


def test_django_keys_generic_relations_and_link_tables_are_the_drafts_edges(
    shop: Callable[[str], str], tmp_path: Path
) -> None:
    made = init(shop("django_shop"), tmp_path, DJANGO)
    assert made.code == 0
    assert "app.public.party" == made.config.subject.dataset  # called Person in the code
    reference = "object_id ~ ^(.+)$"  # text there, a number in the parents
    holder = ("h", "app.public.party", None)
    assert [
        [(reference, "app.public.party", '"content_type_id" = 7')],
        [(reference, "app.sales.basket", '"content_type_id" = 9'), holder],
        [(reference, "app.public.item", '"content_type_id" = 11'), ("x", "app.sales.basket", None), holder],
    ] == made.hops("public.remark")
    assert [[("basket_id", "app.sales.basket", None), holder]] == made.hops("sales.basket_tags")
    assert "user.contact.email" == made.rule("public.party").fields["a"].category
    assert "# from Django: django_shop.models.Remark.target" in made.text
    assert len(made.catalogue.tables) == len(made.scope().datasets)


def test_a_kind_that_no_row_names_is_left_out_and_counted(shop: Callable[[str], str], tmp_path: Path) -> None:
    made = init(shop("django_shop"), tmp_path, DJANGO)
    assert "public.remark (django_shop.models.Remark.target): 2 kinds that no row names today are left out" in made.text
    assert "app.public.tag" not in {hop[1] for way in made.hops("public.remark") for hop in way}


def test_without_a_source_the_same_database_has_no_such_edges(shop: Callable[[str], str], tmp_path: Path) -> None:
    made = init(shop("sqlalchemy_shop"), tmp_path)
    assert made.code == 0
    assert "app.public.parcel: {rows: ?}" in made.text or not made.rule("public.parcel").paths


def test_an_edge_that_the_rows_contradict_is_marked(shop: Callable[[str], str], tmp_path: Path) -> None:
    dsn = shop("sqlalchemy_shop")
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE visit SET by = by + 1000")
    made = init(dsn, tmp_path, SHOP)
    assert "unsure: only 0 of 40 sampled values are in public.people" in made.text


def test_two_sources_go_together_and_the_first_counts(shop: Callable[[str], str], tmp_path: Path) -> None:
    made = init(shop("django_shop"), tmp_path, DJANGO, SHOP)
    assert made.code == 0
    assert (
        "sqlalchemy_shop.Order.placed: no table purchase in this database; no table people in this database"
        in made.text
    )


# ------------------------------------------------------------------------------------------------ the move

CANADIANS = "SELECT nr FROM people WHERE country = 'CA'"
PURCHASES = f"SELECT nr FROM purchase WHERE p IN ({CANADIANS})"
SHOP_ROWS = {
    "people": f"WHERE nr IN ({CANADIANS})",
    "purchase": f"WHERE p IN ({CANADIANS})",
    "line": f"WHERE o IN ({PURCHASES})",
    "parcel": f"WHERE o IN ({PURCHASES})",
    "likes": f"WHERE who IN ({CANADIANS})",
    "note": f"WHERE (kind = 'p' AND about IN ({CANADIANS})) OR (kind = 'o' AND about IN ({PURCHASES}))",
    "visit": f"WHERE by IN ({CANADIANS})",
}
PARTY = "SELECT id FROM party WHERE country = 'CA'"
BASKETS = f"SELECT id FROM sales.basket WHERE h IN ({PARTY})"
ITEMS = f"SELECT id FROM item WHERE x IN ({BASKETS})"
DJANGO_ROWS = {
    "party": f"WHERE id IN ({PARTY})",
    "sales.basket": f"WHERE h IN ({PARTY})",
    "sales.basket_tags": f"WHERE basket_id IN ({BASKETS})",
    "item": f"WHERE x IN ({BASKETS})",
    "remark": f"WHERE (content_type_id = 7 AND object_id::bigint IN ({PARTY}))"
    f" OR (content_type_id = 11 AND object_id::bigint IN ({ITEMS}))",
}


def count(dsn: str, table: str, where: str = "") -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(sql.SQL(f"SELECT count(*) FROM {table} {where}")).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("name", "spec", "rows", "people"),
    [("sqlalchemy_shop", SHOP, SHOP_ROWS, "people"), ("django_shop", DJANGO, DJANGO_ROWS, "party")],
    ids=["sqlalchemy", "django"],
)
def test_the_plan_accepts_the_draft_as_it_is_and_home_gets_what_sql_says(
    name: str, spec: str, rows: dict[str, str], people: str, shop: Callable[[str], str], database: Databases,
    pg18: EmbeddedServer, tmp_path: Path,
) -> None:  # fmt: skip
    source = shop(name)
    expected = {table: count(source, table, where) for table, where in rows.items()}
    programme = Programme(folder=tmp_path, source=source, homes={"ca": database(pg18)})
    for item in (f"{name}.py", name):
        if (APPLICATIONS / item).is_dir():
            shutil.copytree(APPLICATIONS / item, tmp_path / item)
        elif (APPLICATIONS / item).exists():
            shutil.copy(APPLICATIONS / item, tmp_path / item)
    programme.draft({"CA": "ca"}, sources=(spec,))
    programme.cli("plan")
    programme.cli("apply", "--until", "transfer")
    at_home = {table: count(programme.homes["ca"], table) for table in rows}
    # those who brought or mentored a Canadian stand at home as skeletons, and are no Canadians
    at_home[people] = count(programme.homes["ca"], people, "WHERE country = 'CA'")
    assert expected == at_home
    assert all(expected.values())


# ------------------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("sqlalchemy:nothing_here:Base.metadata", "ModuleNotFoundError: No module named 'nothing_here'"),
        ("sqlalchemy:sqlalchemy_shop:Nothing", "AttributeError"),
        ("sqlalchemy:json:dumps", "is no MetaData and has none"),
        ("django:nothing_here.settings", "ModuleNotFoundError: No module named 'nothing_here'"),
        ("fides:nothing_here.yml", "can't be read"),
        ("greenmask:", "write fides:FILE"),
        ("rails:app", "write fides:FILE"),
    ],
)
def test_a_source_that_cannot_be_read_is_said_in_one_line_and_nothing_is_written(
    source: str, reason: str, tmp_path: Path
) -> None:
    made = init("postgresql://nobody@127.0.0.1:1/none", tmp_path, source)
    assert BadFile.exit_code == made.code
    assert reason in " ".join(made.said.split())
    assert "Traceback" not in made.said
    assert made.text == ""


def python(program: str = sys.executable, *, seconds_max: float = 60) -> Interpreter:
    return Interpreter(python=program, environment={"PATH": os.environ["PATH"]}, seconds_max=seconds_max)


@pytest.mark.parametrize(
    ("program", "reason"), [("/nonexistent/python", "can't be started"), ("/bin/true", "ended without an answer")]
)
def test_another_interpreter_that_is_none_is_said(program: str, reason: str) -> None:
    with pytest.raises(BadFile, match=reason):
        ask_program("sqlalchemy", "json:dumps", interpreter=python(program))


def test_an_application_that_never_ends_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "sqlalchemy_probe.py").write_text("while True: pass")
    with pytest.raises(BadFile, match="longer than 1 s"):
        ask_program("sqlalchemy", "x:y", interpreter=python(seconds_max=1), probes=tmp_path)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('{"version": 2, "source": "x"}', "version"),
        ('{"version": 1, "source": "x", "more": 1}', "more"),
        ('{"version": 1, "source": "x", "edges": [{"child": "t"}]}', r"edges\.0"),
        ("[" * 100_000, "without an answer"),
        ("[]", "can't be read"),
        ('{"failed": "line one\\nPassword: x"}', "line one;"),
    ],
)
def test_an_answer_is_checked_as_strictly_as_a_file(answer: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "sqlalchemy_probe.py").write_text(f"print({answer!r})")
    with pytest.raises(BadFile, match=reason) as raised:
        ask_program("sqlalchemy", "x:y", interpreter=python(), probes=tmp_path)
    assert "Password" not in str(raised.value)
