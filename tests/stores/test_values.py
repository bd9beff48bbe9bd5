"""Values come home bit by bit: every type, every odd name and shape of table, of a real server."""

# ruff: noqa: E501 - tables of values and of statements are read line by line
from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from domicile.model import DatasetScope, Home
from domicile.stores.postgres.server import EmbeddedServer
from tests.servers import Databases, Servers
from tests.stores import flow
from tests.stores.raw import RawBench

Make = Callable[..., RawBench]
CA = Home("ca")

# type, values as SQL literals; two neighbours are always two different values
TYPES: list[tuple[str, list[str]]] = [
    ("double precision", ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "'0'", "'1e-310'", "'0.1'", "'0.30000000000000004'", "NULL"]),
    ("real", ["'NaN'", "'-0'", "'0'", "'1e-45'", "'16777216'", "NULL"]),
    ("numeric", ["'NaN'", "'1.0'", "'1.00'", "'0'", "'1e-50'", "'123456789012345678901234567890.12'", "NULL"]),
    ("numeric(9,3)", ["'1.500'", "'-0.001'", "NULL"]),
    ("smallint", ["-32768", "0", "NULL"]),
    ("bigint", ["-9223372036854775808", "9223372036854775807", "NULL"]),
    ("boolean", ["true", "false", "NULL"]),
    ("text", ["''", "NULL", "'NULL'", r"E'\\N'", r"E'\\.'", r"E'\t\n\r\\'", r"E'\x01'", "'🙂 e\u0301'", "'🙂 é'", "' '"]),
    ("varchar(10)", ["''", "'a'", "'a '", "NULL"]),
    ("char(5)", ["'a'", "''", "NULL"]),
    ('"char"', ["'a'", r"'\001'", "NULL"]),
    ("name", ["'a'", "NULL"]),
    ("bytea", [r"'\x'", r"'\x00'", r"'\x00ff'", r"'\x5c4e'", "NULL"]),
    ("integer[]", ["'{}'", "'{NULL}'", "'{{1,2},{3,4}}'", "'[2:3]={1,2}'", "'{1,2}'", "NULL"]),
    ("text[]", ["""'{"",NULL,"NULL","a,b","{}","\\\\N"}'""", "'{}'", "NULL"]),
    ("double precision[]", ["'{NaN,-0,0}'", "'{NaN,0,0}'", "NULL"]),
    ("int4range", ["'empty'", "'[1,5)'", "'(,)'", "NULL"]),
    ("tstzrange", ["'[-infinity,infinity]'", "'(,2020-01-01 00:00+05:45)'", "NULL"]),
    ("jsonb", ["'null'", "'{}'", """'{"b": 1, "a": [1.0, 1.00]}'""", """'"a\\u00e9\\n"'""", "'1'", "'1.0'", "NULL"]),
    ("json", ["""'{"b":1, "a":1, "b":2}'""", """'{"b":1,"a":1,"b":2}'""", "NULL"]),
    ("timestamptz", ["'infinity'", "'-infinity'", "'2020-03-29 01:30:00.000001+01'", "'4713-01-01 00:00+00 BC'", "NULL"]),
    ("timestamp", ["'infinity'", "'2020-03-29 02:30'", "NULL"]),
    ("date", ["'infinity'", "'0001-01-01 BC'", "'5874897-12-31'", "NULL"]),
    ("time", ["'24:00'", "'00:00'", "NULL"]),
    ("timetz", ["'24:00+15:59'", "'08:00-15:59'", "NULL"]),
    ("interval", ["'1 mon'", "'30 days'", "'720:00'", "'-1 mon +1 day -00:00:00.000001'", "NULL"]),
    ("uuid", ["'00000000-0000-0000-0000-000000000000'", "NULL"]),
    ("inet", ["'10.0.0.1'", "'10.0.0.1/8'", "'::1'", "NULL"]),
    ("cidr", ["'10.0.0.0/8'", "NULL"]),
    ("macaddr", ["'08:00:2b:01:02:03'", "NULL"]),
    ("bit(3)", ["B'101'", "NULL"]),
    ("varbit", ["B''", "B'0'", "B'00'", "NULL"]),
    ("money", ["'12.34'", "'-0.01'", "NULL"]),
    ("point", ["'(0,-0)'", "'(NaN,Infinity)'", "NULL"]),
    ("polygon", ["'((0,0),(1,1),(1,0))'", "NULL"]),
    ("tsvector", ["'a:1A b:2'", "''", "NULL"]),
    ("pg_lsn", ["'16/B374D848'", "NULL"]),
    ("oid", ["4294967295", "NULL"]),
    ("xid8", ["'18446744073709551615'", "NULL"]),
    ("posint", ["1", "2", "NULL"]),
    ("mood", ["'sad'", "'it''s \"ok\", 🙂'", "NULL"]),
    ("mood[]", ["""'{sad,NULL}'""", "'{}'", "NULL"]),
    ("pair", ["ROW(1,'a')::pair", "ROW(NULL,'')::pair", "ROW(NULL,NULL)::pair", "NULL"]),
    ("pair[]", ["ARRAY[ROW(1,'\"')::pair]", "NULL"]),
    ('text COLLATE "C"', ["'a'", "'B'", "NULL"]),
]  # fmt: skip
SINCE_14 = [("int4multirange", ["'{}'", "'{[1,2),[5,9)}'", "NULL"]), ("numeric", ["'Infinity'", "'-Infinity'"])]
SINCE_17 = [("interval", ["'infinity'", "'-infinity'", "NULL"])]
OWN_TYPES = """
CREATE DOMAIN posint AS integer CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('sad', 'it''s "ok", 🙂');
CREATE TYPE pair AS (a integer, b text);
"""


@pytest.fixture
def make_on(database: Databases) -> Iterator[Callable[[EmbeddedServer, str], RawBench]]:
    made: list[RawBench] = []

    def make(server: EmbeddedServer, script: str) -> RawBench:
        made.append(RawBench(script, lambda: database(server)))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def make(make_on: Callable[[EmbeddedServer, str], RawBench], pg18: EmbeddedServer) -> Make:
    return lambda script: make_on(pg18, script)


def _types_script(types: list[tuple[str, list[str]]]) -> str:
    script = OWN_TYPES
    for number, (kind, values) in enumerate(types):
        script += f"CREATE TABLE v{number} (id integer PRIMARY KEY, owner integer REFERENCES person, v {kind});\n"
        rows = ", ".join(f"({place}, 1, {value})" for place, value in enumerate(values))
        script += f"INSERT INTO v{number} VALUES {rows};\n"
    return script


@pytest.mark.parametrize("major", [13, 15, 18])
def test_p1_every_type_comes_home_as_it_was(
    servers: Servers, make_on: Callable[[EmbeddedServer, str], RawBench], major: int
) -> None:
    types = TYPES + (SINCE_14 if major >= 14 else []) + (SINCE_17 if major >= 17 else [])
    bench = make_on(servers.of(major), _types_script(types))
    manifest = flow.move(bench)
    pairs = flow.verify(bench, manifest)
    assert [pair.slice.id for pair in pairs if not pair.equal] == []
    for number in range(len(types)):
        wanted = bench.query("source", f"SELECT id, v::text, v IS NULL FROM v{number} ORDER BY id")
        assert (number, wanted) == (
            number,
            bench.query("ca", f"SELECT id, v::text, v IS NULL FROM v{number} ORDER BY id"),
        )
    flow.erase(bench, manifest)
    assert [bench.query("source", f"SELECT count(*) FROM v{number}") for number in range(len(types))] == [[(0,)]] * len(
        types
    )


def test_p1_a_value_that_became_its_neighbour_is_seen(make: Make) -> None:
    bench = make(_types_script(TYPES))
    manifest = flow.move(bench)
    for number, (kind, values) in enumerate(TYPES):
        piece = flow.slice_of(manifest, f"app.public.v{number}", "ca")
        seen = [flow.home_digest(bench.homes[CA], piece)]
        for place, other in enumerate(values[1:]):
            bench.execute("ca", f"UPDATE v{number} SET v = {other} WHERE id = {place}")
            seen.append(flow.home_digest(bench.homes[CA], piece))
        assert len(set(seen)) == len(values), kind


SHAPES: dict[str, str] = {
    "quoted and camelCase names, several schemas": """
        CREATE SCHEMA "My Schema"; CREATE SCHEMA "select";
        CREATE TABLE "My Schema"."userData" ("Id" integer PRIMARY KEY, owner integer REFERENCES person, "a.b" text, "q""q" text);
        CREATE TABLE "select"."from" ("where" integer, "order" text, owner integer, PRIMARY KEY ("where", "order"));
        CREATE TABLE "My Schema"."tab\tle" ("Ünï" integer PRIMARY KEY, owner integer, "%s" text, "{}" text);
        INSERT INTO "My Schema"."userData" VALUES (1, 1, 'x', 'y'), (2, 2, 'fr', NULL);
        INSERT INTO "select"."from" VALUES (1, 'a', 1), (1, 'b', 1), (2, 'a', 2);
        INSERT INTO "My Schema"."tab\tle" VALUES (1, 1, '%', '{}'), (2, 2, '%s', '{0}');
    """,
    "key columns named like our own": """
        CREATE TABLE k1 (part integer, n integer, form text, fate text, home text, owner integer, PRIMARY KEY (part, n, form));
        CREATE TABLE k2 (owner integer, copies integer, round integer, path text, PRIMARY KEY (owner, copies, round, path));
        CREATE TABLE k3 (slice text, rows integer, key integer, value text, owner integer, PRIMARY KEY (slice, rows, key, value));
        INSERT INTO k1 VALUES (1, 1, 'f', 'g', 'h', 1), (1, 2, 'f', NULL, NULL, 2);
        INSERT INTO k2 VALUES (1, 1, 1, 'p'), (2, 1, 1, 'p');
        INSERT INTO k3 VALUES ('a', 1, 1, 'v', 1), ('a', 1, 2, 'v', 2);
    """,
    "no key, with duplicates and nulls": """
        CREATE TABLE bag (owner integer, a text, b double precision);
        INSERT INTO bag VALUES (1,'x','NaN'),(1,'x','NaN'),(1,'x',NULL),(1,NULL,NULL),(1,NULL,NULL),(1,'','0'),(1,'','-0'),
            (2,'x','NaN'),(NULL,NULL,NULL);
    """,
    "no key and types without equality": """
        CREATE TABLE bag (owner integer, j json, p point, x xid);
        INSERT INTO bag VALUES (1,'{"a":1}','(1,2)','7'),(1,'{"a": 1}','(1,2)','7'),(1,NULL,NULL,NULL),(2,'{"a":1}','(1,2)','7');
    """,
    "a unique key instead of a primary one": """
        CREATE TABLE u (a integer NOT NULL, b text NOT NULL, owner integer, UNIQUE (a, b));
        INSERT INTO u VALUES (1, 'x', 1), (1, 'y', 1), (2, 'x', 2);
    """,
    "a unique key that may be null": """
        CREATE TABLE u (a integer UNIQUE, owner integer, t text);
        INSERT INTO u VALUES (1, 1, 'x'), (NULL, 1, 'y'), (NULL, 1, 'y'), (NULL, 2, 'y');
    """,
    "generated and identity columns": """
        CREATE TABLE g (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner integer, a integer,
            twice integer GENERATED ALWAYS AS (a * 2) STORED, b bigint GENERATED BY DEFAULT AS IDENTITY, s serial);
        INSERT INTO g (owner, a) VALUES (1, 1), (1, NULL), (2, 3);
    """,
    "dropped columns": """
        CREATE TABLE d (id integer PRIMARY KEY, gone text, owner integer, t text);
        INSERT INTO d VALUES (1, 'g', 1, 'x'), (2, 'g', 2, 'y');
        ALTER TABLE d DROP COLUMN gone; ALTER TABLE d ADD COLUMN later text DEFAULT 'late';
    """,
    "partitions, also below partitions and of another column order": """
        CREATE TABLE p (id integer, at date, owner integer REFERENCES person, t text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2020-02-01') TO ('2020-03-01') PARTITION BY HASH (id);
        CREATE TABLE p2a PARTITION OF p2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE p2b PARTITION OF p2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE SCHEMA old;
        CREATE TABLE old.p3 (t text, x integer, owner integer, at date NOT NULL, id integer NOT NULL);
        ALTER TABLE old.p3 DROP COLUMN x;
        ALTER TABLE p ATTACH PARTITION old.p3 DEFAULT;
        INSERT INTO p SELECT n, date '2020-01-15' + n * 10, 1 + n % 2, 't' || n FROM generate_series(1, 9) AS n;
    """,
    "partitions without key": """
        CREATE TABLE p (at date, owner integer, t text) PARTITION BY LIST (owner);
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
        CREATE TABLE p2 PARTITION OF p DEFAULT;
        INSERT INTO p VALUES ('2020-01-01', 1, 'a'), ('2020-01-01', 1, 'a'), ('2020-01-01', 2, 'a'), (NULL, NULL, NULL);
    """,
    "inheritance": """
        CREATE TABLE base (id integer PRIMARY KEY, owner integer, t text);
        CREATE TABLE heir (extra text, PRIMARY KEY (id)) INHERITS (base);
        INSERT INTO base VALUES (1, 1, 'base'), (2, 2, 'base');
        INSERT INTO heir VALUES (1, 1, 'heir', 'e'), (3, 1, 'heir', NULL), (4, 2, 'heir', NULL);
    """,
    "tables without rows": """
        CREATE TABLE e1 (id integer PRIMARY KEY, owner integer);
        CREATE TABLE e2 (owner integer, t text);
        CREATE TABLE e3 (t text);
        CREATE TABLE e4 (id integer, owner integer) PARTITION BY LIST (id);
    """,
    "keys of many kinds": """
        CREATE TABLE m1 (t text COLLATE "C", u uuid, owner integer, PRIMARY KEY (t, u));
        CREATE TABLE m2 (d timestamptz, owner integer, PRIMARY KEY (d));
        CREATE TABLE m3 (b bytea PRIMARY KEY, owner integer);
        CREATE TABLE m4 (f double precision PRIMARY KEY, owner integer);
        CREATE TABLE m5 (amount numeric PRIMARY KEY, owner integer);
        CREATE TABLE m6 (a integer[] PRIMARY KEY, owner integer);
        CREATE TABLE m7 (c char(5) PRIMARY KEY, owner integer);
        INSERT INTO m1 VALUES ('', '00000000-0000-0000-0000-000000000001', 1), ('a', '00000000-0000-0000-0000-000000000002', 1), ('B', '00000000-0000-0000-0000-000000000003', 2);
        INSERT INTO m2 VALUES ('infinity', 1), ('-infinity', 1), ('2020-01-01', 2);
        INSERT INTO m3 VALUES ('\\x', 1), ('\\x00', 1), ('\\x01', 2);
        INSERT INTO m4 VALUES ('NaN', 1), ('-Infinity', 1), ('-0', 1), ('1', 2);
        INSERT INTO m5 VALUES ('NaN', 1), ('1.00', 1), ('2', 2);
        INSERT INTO m6 VALUES ('{}', 1), ('{1,NULL}', 1), ('{2}', 2);
        INSERT INTO m7 VALUES ('a', 1), ('b', 2);
    """,
    "triggers, rules, defaults and checks that would change or refuse rows": """
        CREATE TABLE t (id integer PRIMARY KEY, owner integer, t text DEFAULT 'default',
            CHECK (t <> 'never') NOT VALID);
        CREATE TABLE seen (n integer);
        INSERT INTO t VALUES (1, 1, NULL), (2, 1, 'b'), (3, 2, 'c');
        CREATE FUNCTION noisy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (1);
            IF TG_OP = 'DELETE' THEN DELETE FROM public.t WHERE owner = 2; RETURN old; END IF;
            new.t = 'changed'; RETURN new; END $$;
        CREATE TRIGGER noisy BEFORE INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION noisy();
        CREATE TABLE r (id integer PRIMARY KEY, owner integer);
        INSERT INTO r VALUES (1, 1), (2, 2);
        CREATE RULE r_ins AS ON INSERT TO r DO INSTEAD NOTHING;
        CREATE RULE r_del AS ON DELETE TO r DO ALSO INSERT INTO seen VALUES (2);
    """,
    "row security that would hide rows": """
        CREATE TABLE s (id integer PRIMARY KEY, owner integer);
        INSERT INTO s VALUES (1, 1), (2, 2);
        ALTER TABLE s ENABLE ROW LEVEL SECURITY; ALTER TABLE s FORCE ROW LEVEL SECURITY;
        CREATE POLICY nobody ON s USING (false);
    """,
}  # fmt: skip


@pytest.mark.parametrize("script", SHAPES.values(), ids=SHAPES.keys())
def test_p1_every_shape_of_table_moves_and_leaves_the_others(make: Make, script: str) -> None:
    bench = make(script)
    wanted = {
        str(dataset.table): bench.query("source", _select(dataset, "owner = 1" if dataset.paths else "true"))
        for dataset in bench.scope.datasets[1:]
    }
    stayed = {
        str(dataset.table): bench.query("source", _select(dataset, "owner IS DISTINCT FROM 1"))
        for dataset in bench.scope.datasets[1:]
        if dataset.paths
    }
    manifest = flow.move(bench)
    assert [pair.slice.id for pair in flow.verify(bench, manifest) if not pair.equal] == []
    assert flow.strays(bench) == {}
    found = {str(dataset.table): bench.query("ca", _select(dataset, "true")) for dataset in bench.scope.datasets[1:]}
    assert found == wanted
    measures = list(bench.homes[CA].prove_restore(bench.scope, CA, manifest.slices))
    assert [measure.digest for measure in measures] == [pair.home.digest for pair in flow.verify(bench, manifest)]
    flow.erase(bench, manifest)
    left = {
        str(dataset.table): bench.query("source", _select(dataset, "true"))
        for dataset in bench.scope.datasets[1:]
        if dataset.paths
    }
    assert left == stayed


def _select(dataset: DatasetScope, condition: str) -> str:
    only = "" if dataset.partitioned else "ONLY "
    table = f'"{dataset.table.schema}"."{dataset.table.name}"'
    return f"SELECT x::text FROM {only}{table} AS x WHERE {condition} ORDER BY 1"


def test_generated_columns_are_made_again_at_home(make: Make) -> None:
    bench = make(SHAPES["generated and identity columns"])
    flow.move(bench)
    assert bench.query("ca", "SELECT id, a, twice, b, s FROM g ORDER BY 1") == [(1, 1, 2, 1, 1), (2, None, None, 2, 2)]


def test_sequences_at_home_and_source_never_meet(make: Make) -> None:
    bench = make("CREATE SEQUENCE q; SELECT nextval('q'), nextval('q');" + SHAPES["generated and identity columns"])
    flow.move(bench)
    home = bench.query("ca", "SELECT nextval('q') FROM generate_series(1, 50)")
    source = bench.query("source", "SELECT nextval('q') FROM generate_series(1, 50)")
    assert not {row[0] for row in home} & ({row[0] for row in source} | {1, 2})
    bench.execute("ca", "INSERT INTO g (owner, a) VALUES (1, 5)")
    bench.execute("source", "INSERT INTO g (owner, a) VALUES (2, 5)")
    assert bench.query("ca", "SELECT max(id), max(b), max(s) FROM g") != bench.query(
        "source", "SELECT max(id), max(b), max(s) FROM g"
    )


def test_materialised_views_at_home_show_what_is_there(make: Make) -> None:
    bench = make("CREATE MATERIALIZED VIEW mv AS SELECT country, count(*) FROM person GROUP BY 1;"
                 "CREATE MATERIALIZED VIEW a_view_of_it AS SELECT * FROM mv;")  # fmt: skip
    flow.move(bench)
    assert bench.query("ca", "SELECT * FROM mv") == [("CA", 1)]
    assert bench.query("ca", "SELECT * FROM a_view_of_it") == [("CA", 1)]


LARGE = """
CREATE TABLE large (id integer PRIMARY KEY, owner integer, t text, b bytea, j jsonb);
INSERT INTO large SELECT 1, 1, string_agg(md5(n::text), ''), decode(string_agg(md5((-n)::text), ''), 'hex'),
    jsonb_build_object('k', string_agg(md5((n * 7)::text), '')) FROM generate_series(1, {lines}) AS n;
INSERT INTO large SELECT 2, 1, repeat('a', {lines}), NULL, NULL;
"""


def _digest_of_large(bench: RawBench, place: str) -> list[tuple[object, ...]]:
    return bench.query(place, "SELECT id, md5(t), md5(b), md5(j::text), length(t), length(b) FROM large ORDER BY id")


def test_p1_values_of_tens_of_megabytes(make: Make) -> None:
    bench = make(LARGE.format(lines=1_000_000))  # 32 MB text, 16 MB bytes, 32 MB jsonb
    wanted = _digest_of_large(bench, "source")
    manifest = flow.move(bench)
    assert wanted[0][4] == 32_000_000
    assert _digest_of_large(bench, "ca") == wanted
    assert all(pair.equal for pair in flow.verify(bench, manifest))
    bench.execute(
        "ca", "UPDATE large SET b = set_byte(b, length(b) - 1, (get_byte(b, length(b) - 1) + 1) % 256) WHERE id = 1"
    )
    assert [pair.slice.dataset for pair in flow.verify(bench, manifest) if not pair.equal] == ["app.public.large"]


@pytest.mark.slow
def test_p1_a_value_of_two_hundred_megabytes(make: Make) -> None:
    bench = make(
        "CREATE TABLE large (id integer PRIMARY KEY, owner integer, b bytea);"
        "ALTER TABLE large ALTER b SET STORAGE EXTERNAL;"
        "INSERT INTO large SELECT 1, 1, decode(repeat(string_agg(md5(n::text), ''), 125), 'hex')"
        " FROM generate_series(1, 100000) AS n;"
    )
    assert bench.query("source", "SELECT length(b) FROM large") == [(200_000_000,)]
    wanted = bench.query("source", "SELECT md5(b) FROM large")
    manifest = flow.move(bench)
    assert bench.query("ca", "SELECT md5(b) FROM large") == wanted
    flow.erase(bench, manifest)
    assert bench.query("source", "SELECT count(*) FROM large") == [(0,)]
