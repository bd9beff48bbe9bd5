"""Names, texts and settings that collide with ours, or that a careless reader changes on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from domicile.run import Stage
from domicile.stores.postgres.server import EmbeddedServer
from tests.attack.conftest import Worlds, run
from tests.attack.programme import make
from tests.attack.test_collateral import NOTES, PEOPLE, RULES
from tests.servers import Databases

OURS: Final = (
    "n", "part", "form", "fate", "owner", "copies", "m", "d", "s", "h0", "k0", "round", "path", "home", "key", "value",
    "stays", "last", "row_hash", "new", "old", "x", "market", "best", "is", "%s", "{}", "a.b", 'q"u', " ", "ÅÄÖ 🦊", "$1",  # noqa: E501
)  # fmt: skip


def test_keys_may_have_any_name(world: Worlds) -> None:
    """A table and a child for each name, all in one world."""
    schema, rules = [PEOPLE], [RULES.partition("  app.public.note")[0]]
    for number, name in enumerate(OURS):
        column = '"' + name.replace('"', '""') + '"'
        parent, child = f"parent_{number}", f"child_{number}"
        schema.append(
            f"CREATE TABLE {parent} ({column} int, part2 int, person_id int NOT NULL REFERENCES person,"
            f" PRIMARY KEY ({column}, part2));"
            f"INSERT INTO {parent} SELECT i, i, 1 + i % 20 FROM generate_series(1, 40) AS i;"
            f"CREATE TABLE {child} ({column} int, part2 int, ref int PRIMARY KEY,"
            f" FOREIGN KEY ({column}, part2) REFERENCES {parent});"
            f"INSERT INTO {child} SELECT i, i, i FROM generate_series(1, 40) AS i;"
        )
        rules.append(
            f"  app.public.{parent}: {{rows: move, path: person_id}}\n"
            f"  app.public.{child}: {{rows: move, ownerless: stay, path: [{{via: [{json.dumps(name, ensure_ascii=False)}, part2]}}, person_id]}}\n"  # noqa: E501
        )
    made = world("".join(schema), "".join(rules))
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    for side in (made.at_source, made.at_home):
        for number in range(len(OURS)):
            assert [(20, 20)] == side(
                f"SELECT (SELECT count(*) FROM parent_{number}), (SELECT count(*) FROM child_{number})"
            )


def test_the_schema_comes_home_byte_for_byte(world: Worlds) -> None:
    """Line ends of other systems and of Unicode are characters like others, in defaults, labels and functions."""
    made = world(
        PEOPLE + NOTES + "ALTER TABLE note ADD mark text DEFAULT E'a\\u2028b\\u0085c\\x0cd\\x1ce\\r\\nf';"
        "CREATE TYPE mood AS ENUM (E'a\\u0085b', E'c\\u2028d'); ALTER TABLE note ADD mood mood DEFAULT E'a\\u0085b';"
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS E'SELECT\\r\\n''a\\u2028SET transaction_timeout''::text';"
        "CREATE FUNCTION g() RETURNS text LANGUAGE sql AS E'SELECT ''\\nSET transaction_timeout = 0;\\n\\\\restrict x\\n''::text'",  # noqa: E501
        RULES,
    )
    made.programme.clear()
    for query in (
        "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef ORDER BY 1",
        "SELECT proname, prosrc FROM pg_proc WHERE proname IN ('f', 'g') ORDER BY 1",
        "SELECT enumlabel::text FROM pg_enum ORDER BY enumsortorder",
    ):
        assert made.at_source(query) == made.at_home(query)


@pytest.mark.parametrize("at_home", [False, True])
def test_two_sides_may_have_two_encodings(
    pg18: EmbeddedServer, database: Databases, tmp_path: Path, *, at_home: bool
) -> None:
    plain, other = database(pg18), database(pg18)
    latin = make_conninfo(other, dbname=f"{conninfo_to_dict(other)['dbname']}_latin")
    run(
        pg18.dsn(),
        f"CREATE DATABASE {conninfo_to_dict(latin)['dbname']} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    source, home = (plain, latin) if at_home else (latin, plain)
    try:
        run(
            source,
            PEOPLE + NOTES + "UPDATE note SET body = 'café ' || id;"
            "CREATE TABLE visit (person_id int NOT NULL REFERENCES person, page text);"
            "INSERT INTO visit SELECT 1 + i % 20, 'café ' || i % 7 FROM generate_series(1, 100) AS i;",
        )
        rules = RULES + "  app.public.visit: {rows: move, path: person_id}\n"
        programme = make(tmp_path / "programme", rules, source=source, homes={"CA": home})
        programme.clear()
        programme.apply(yes=True, until=Stage.ERASE)
        assert [(50,)] == run(source, "SELECT count(*) FROM visit") == run(home, "SELECT count(*) FROM visit")
    finally:
        run(pg18.dsn(), f"DROP DATABASE {conninfo_to_dict(latin)['dbname']} WITH (FORCE)")


def test_settings_of_a_database_do_not_cut_the_engine_off(world: Worlds) -> None:
    """Time-outs that suit a web service, and commits that may be forgotten, are not for an erasure."""
    made = world(PEOPLE + NOTES, RULES)
    name = conninfo_to_dict(made.source)["dbname"]
    for setting in (
        "idle_session_timeout = '1s'",
        "transaction_timeout = '1s'",
        "lock_timeout = '1ms'",
        "synchronous_commit = off",
    ):
        made.at_source(f"ALTER DATABASE {name} SET {setting}")
    with made.programme.opened() as opened, psycopg.connect(made.source) as plain:
        assert ("1s",) == plain.execute("SHOW transaction_timeout").fetchone()
        shown = opened.source.connection.execute(
            "SELECT current_setting('idle_session_timeout'), current_setting('transaction_timeout'),"
            " current_setting('lock_timeout'), current_setting('synchronous_commit')"
        ).fetchone()
    assert ("0", "0", "0", "on") == shown
