"""One database with all that makes a move go wrong, moved in one run; asserted with hand-written SQL on both sides."""

from __future__ import annotations

from typing import Final

from domicile.run import Stage
from tests.attack.conftest import Worlds

LONG: Final = "t" * 63
"""As long as a name may be."""
SCHEMA: Final = f"""
CREATE EXTENSION citext;
CREATE SCHEMA "Über Schema";
CREATE DOMAIN "Über Schema".positive AS numeric CHECK (value > 0);
CREATE TYPE mood AS ENUM ('sad', 'so,so', 'h"appy''');
CREATE TYPE "Pair" AS ("First" int, "se""cond" text, at timestamptz[]);
CREATE TABLE "Über Schema"."Person" (gone1 int, "Market" text, "Id" citext PRIMARY KEY, gone2 text, "order" int);
ALTER TABLE "Über Schema"."Person" DROP gone1, DROP gone2;
INSERT INTO "Über Schema"."Person" ("Id", "Market", "order")
    SELECT 'p' || i, CASE WHEN i % 2 = 0 THEN 'CA' ELSE 'SG' END, i FROM generate_series(1, 20) AS i;

CREATE TABLE "Values" (n int, part int, "Owner" citext REFERENCES "Über Schema"."Person", f8 float8, f4 float4, num
    numeric,
    ts timestamptz, d date, iv interval, e text, ints int[], texts text[][], r numrange, mr datemultirange, b bytea,
    j jsonb, js json, p "Über Schema".positive, m mood, ms mood[], c "Pair", cs "Pair"[], ch char(5), bits bit(3),
    PRIMARY KEY (part, n));
INSERT INTO "Values" SELECT i, -i, CASE WHEN i % 7 = 0 THEN NULL ELSE 'P' || 1 + i % 20 END,
    (ARRAY['NaN', '-0', 'Infinity', '-Infinity', '1e-310']::float8[])[1 + i % 5],
    (ARRAY['NaN', '-0', 'Infinity']::float4[])[1 + i % 3],
    (ARRAY['NaN', 'Infinity', '-Infinity', '1.000', '1e200']::numeric[])[1 + i % 5],
    (ARRAY['infinity', '-infinity', '4713-01-01 BC', '2020-02-29 23:59:59.999999+00']::timestamptz[])[1 + i % 4],
    (ARRAY['infinity', '-infinity', '0044-03-15 BC']::date[])[1 + i % 3],
    '-1 mon +30 days -00:00:00.000001', (ARRAY['', '🦊👩‍👩‍👧 ', E'\\\\.', E'\\t\\n\\r\\\\N', NULL])[1 + i % 5],
    (ARRAY['{{}}', '{{1,NULL}}', NULL])[1 + i % 3]::int[], '[0:0][2:3]={{{{"a,b",NULL}}}}', '(,1.50]',
    '{{[2020-01-01,2020-02-01),(2021-01-01,)}}',
    '\\x00ff0a5c', '{{"a": [1.0, null, "\\u00e9"]}}', '{{"b":1, "b":  2}}', 1.10, 'so,so', '{{sad,NULL}}',
    ROW(i, 'x"y,', '{{infinity,NULL}}')::"Pair", ARRAY[NULL, ROW(NULL, '', NULL)]::"Pair"[], 'a', '101'
    FROM generate_series(1, 60) AS i;

CREATE TABLE "select" ("from" citext REFERENCES "Über Schema"."Person", "where" text);
INSERT INTO "select" SELECT 'p' || 1 + i % 20, 'same' FROM generate_series(1, 40) AS i, generate_series(1, 3);

CREATE TABLE "cycle_a" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner citext NOT NULL REFERENCES
    "Über Schema"."Person", b int NOT NULL);
CREATE TABLE "cycle_b" (id int PRIMARY KEY, a int REFERENCES cycle_a, a2 int NOT NULL REFERENCES cycle_a DEFERRABLE
    INITIALLY DEFERRED);
ALTER TABLE cycle_a ADD FOREIGN KEY (b) REFERENCES cycle_b DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO cycle_a (owner, b) SELECT 'P' || i, i FROM generate_series(1, 20) AS i;
INSERT INTO cycle_b SELECT i, CASE WHEN i % 3 = 0 THEN i END, i FROM generate_series(1, 20) AS i;
COMMIT;

CREATE TABLE {LONG} (n int, part text, form text, fate text, owner citext REFERENCES "Über Schema"."Person",
    copies int GENERATED ALWAYS AS (n * 2) STORED, key_1 int, row_hash text, PRIMARY KEY (part, copies, n))
    PARTITION BY LIST (part);
CREATE TABLE x1 (copies int GENERATED ALWAYS AS (n * 2) STORED NOT NULL, gone int, owner citext, part text NOT NULL,
    n int NOT NULL, fate text, row_hash text, key_1 int, form text);
ALTER TABLE x1 DROP gone;
ALTER TABLE {LONG} ATTACH PARTITION x1 FOR VALUES IN ('one');
CREATE TABLE x2 PARTITION OF {LONG} DEFAULT PARTITION BY RANGE (n);
CREATE TABLE x3 PARTITION OF x2 DEFAULT;
INSERT INTO {LONG} (n, part, owner, key_1) SELECT i, CASE WHEN i % 3 = 0 THEN 'one' ELSE 'Zwei' END, 'p' || 1 + i %
    20, NULL
    FROM generate_series(1, 80) AS i;

CREATE TABLE base (id int PRIMARY KEY, owner citext REFERENCES "Über Schema"."Person");
CREATE TABLE heir (extra text, PRIMARY KEY (id), FOREIGN KEY (owner) REFERENCES "Über Schema"."Person") INHERITS (base);
INSERT INTO base SELECT i, 'p' || i FROM generate_series(1, 20) AS i;
INSERT INTO heir SELECT i, 'p' || 21 - i, 'heir' FROM generate_series(1, 20) AS i;
CREATE TABLE hangs (id int PRIMARY KEY, base int REFERENCES base);
INSERT INTO hangs SELECT i, i FROM generate_series(1, 20) AS i;

CREATE TABLE nothing (id int PRIMARY KEY, owner citext REFERENCES "Über Schema"."Person");
CREATE TABLE large (owner citext PRIMARY KEY REFERENCES "Über Schema"."Person", b bytea);
ALTER TABLE large ALTER b SET STORAGE EXTERNAL;
INSERT INTO large SELECT 'P2', decode(repeat(string_agg(md5(i::text), ''), 40), 'hex') FROM generate_series(1,
    100000) AS i;
"""
RULES: Final = f"""
subject:
  dataset: app."Über Schema".Person
  key: Id
  market: {{field: Market}}
datasets:
  app."Über Schema".Person: {{rows: move}}
  app.public.Values: {{rows: move, ownerless: stay, path: Owner}}
  app.public.select: {{rows: move, ownerless: stay, path: from}}
  app.public.cycle_a: {{rows: move, path: owner}}
  app.public.cycle_b: {{rows: move, path: [a2, owner]}}
  app.public.{LONG}: {{rows: move, ownerless: stay, path: owner}}
  app.public.base: {{rows: move, ownerless: stay, path: owner}}
  app.public.heir: {{rows: move, ownerless: stay, path: owner}}
  app.public.hangs: {{rows: move, ownerless: stay, path: [base, owner]}}
  app.public.nothing: {{rows: move, ownerless: stay, path: owner}}
  app.public.large: {{rows: move, path: owner}}
"""
MOVER: Final = '(SELECT "Market" = \'CA\' FROM "Über Schema"."Person" AS p WHERE lower(p."Id"::text) = lower({}::text))'
ROWS: Final = {
    '"Über Schema"."Person"': "\"Market\" = 'CA'",
    '"Values"': MOVER.format('"Owner"'),
    '"select"': MOVER.format('"from"'),
    "cycle_a": MOVER.format("owner"),
    "cycle_b": MOVER.format("(SELECT owner FROM cycle_a WHERE cycle_a.id = x.a2)"),
    LONG: MOVER.format("owner"),
    "ONLY base": MOVER.format("owner"),
    "heir": MOVER.format("owner"),
    "hangs": MOVER.format("(SELECT owner FROM ONLY base WHERE base.id = x.base)"),
    "nothing": MOVER.format("owner"),
    "large": MOVER.format("owner"),
}
DIGEST: Final = "SELECT count(*), md5(coalesce(string_agg(md5(x::text), '' ORDER BY md5(x::text)), '')) FROM {} AS x{}"


def test_p1_a_nasty_schema_moves_in_one_run(icu: Worlds) -> None:
    """Every value comes home as it was, everybody else's stays as it was, and the constraints of both sides hold."""
    made = icu(SCHEMA, RULES)
    gone = {name: made.at_source(DIGEST.format(name, f" WHERE {mover}")) for name, mover in ROWS.items()}
    kept = {name: made.at_source(DIGEST.format(name, f" WHERE ({mover}) IS NOT TRUE")) for name, mover in ROWS.items()}
    assert {name: rows[0][0] for name, rows in gone.items()} == {
        '"Über Schema"."Person"': 10, '"Values"': 26, '"select"': 60, "cycle_a": 10, "cycle_b": 10, LONG: 40,
        "ONLY base": 10, "heir": 10, "hangs": 10, "nothing": 0, "large": 1,
    }  # fmt: skip
    made.programme.clear()
    made.programme.apply(yes=True, until=Stage.ERASE)
    assert gone == {name: made.at_home(DIGEST.format(name, "")) for name in ROWS}
    assert kept == {name: made.at_source(DIGEST.format(name, "")) for name in ROWS}
    for side in (made.at_source, made.at_home):
        assert [(0,)] == side("SELECT count(*) FROM pg_constraint WHERE NOT convalidated")
        side("INSERT INTO cycle_a (owner, b) SELECT owner, b FROM cycle_a LIMIT 1")
