-- One of each thing that a catalogue can hold, on every major.
CREATE SCHEMA shop;
CREATE SCHEMA "Odd ""Names"".x";
CREATE SCHEMA domicile;
CREATE TABLE domicile.ours (id int);

CREATE DOMAIN shop.cents AS bigint NOT NULL;
CREATE DOMAIN shop.price AS shop.cents CHECK (VALUE >= 0);
CREATE DOMAIN shop.short AS varchar(12);
CREATE TYPE shop.state AS ENUM ('open', 'it''s, paid', 'shut');
CREATE TYPE shop.pair AS (a int, b text);
CREATE TYPE shop.span AS RANGE (subtype = float8);

CREATE TABLE shop.person (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    nick text NOT NULL UNIQUE,
    tax varchar(20) UNIQUE,
    boss int REFERENCES shop.person ON DELETE SET NULL,
    born date DEFAULT '2000-01-01',
    loud text GENERATED ALWAYS AS (upper(nick)) STORED
);
COMMENT ON TABLE shop.person IS 'somebody';
CREATE UNIQUE INDEX person_lower ON shop.person (lower(nick));
CREATE UNIQUE INDEX person_some ON shop.person (born) WHERE born IS NOT NULL;
ALTER TABLE shop.person ENABLE ROW LEVEL SECURITY;

CREATE TABLE shop.types (
    k1 int NOT NULL, k2 uuid NOT NULL,
    price shop.price, short shop.short, state shop.state, states shop.state[], pair shop.pair, span shop.span,
    n numeric(9, 2), r int4range, rs int4range[], j jsonb, x xml, m money, rc regclass, o oid, ia int[], b bit(5),
    pa shop.price[], ts timestamptz(3), v varchar(7), c char(3), tv tsvector, mac macaddr8, iv interval, q "char",
    PRIMARY KEY (k1, k2) DEFERRABLE,
    UNIQUE (k2, k1)
);
CREATE TABLE shop.child (
    id serial PRIMARY KEY,
    a int, b uuid,
    person int NOT NULL REFERENCES shop.person ON DELETE CASCADE DEFERRABLE
);
ALTER TABLE shop.types ADD CONSTRAINT real_key UNIQUE (k1, k2);
ALTER TABLE shop.child ADD CONSTRAINT composite FOREIGN KEY (b, a) REFERENCES shop.types (k2, k1) NOT VALID;

-- Partitions of partitions, in another schema, with keys on some leaves only.
CREATE TABLE shop.event (at date NOT NULL, id bigint NOT NULL, person int, note text, PRIMARY KEY (at, id))
    PARTITION BY RANGE (at);
CREATE TABLE shop.event_old PARTITION OF shop.event FOR VALUES FROM ('2019-01-01') TO ('2020-01-01');
CREATE TABLE "Odd ""Names"".x"."Event 2020" PARTITION OF shop.event FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')
    PARTITION BY HASH (id);
CREATE TABLE shop.event_a PARTITION OF "Odd ""Names"".x"."Event 2020" FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.event_b PARTITION OF "Odd ""Names"".x"."Event 2020" FOR VALUES WITH (MODULUS 2, REMAINDER 1);
ALTER TABLE shop.event_old ADD CONSTRAINT by_one FOREIGN KEY (person) REFERENCES shop.person;
ALTER TABLE shop.event_a ADD CONSTRAINT by_two FOREIGN KEY (person) REFERENCES shop.person ON DELETE CASCADE;
INSERT INTO shop.event SELECT '2020-01-01', n, NULL, 'x' FROM generate_series(1, 300) n;

CREATE TABLE shop.base (id int PRIMARY KEY, kind text);
CREATE TABLE shop.derived (extra text) INHERITS (shop.base);
CREATE UNLOGGED TABLE shop.scratch (line text);
CREATE TABLE "Odd ""Names"".x"."camelCase.Ünï" ("Key" text PRIMARY KEY, "größe" numeric, "a,b" int);

CREATE FUNCTION shop.hook() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER on_event AFTER INSERT OR DELETE ON shop.event FOR EACH ROW EXECUTE FUNCTION shop.hook();
CREATE TRIGGER on_leaf AFTER UPDATE ON shop.event_a FOR EACH STATEMENT EXECUTE FUNCTION shop.hook();
CREATE TRIGGER before_base BEFORE TRUNCATE ON shop.base FOR EACH STATEMENT EXECUTE FUNCTION shop.hook();
ALTER TABLE shop.base DISABLE TRIGGER before_base;
CREATE RULE keep AS ON DELETE TO shop.base DO INSTEAD NOTHING;

CREATE VIEW shop.seen AS SELECT e.id, p.nick FROM shop.event e JOIN shop.person p ON p.id = e.person;
CREATE VIEW shop.leaf_only AS SELECT * FROM shop.event_a;
CREATE MATERIALIZED VIEW shop.twice AS SELECT nick, count(*) FROM shop.seen GROUP BY nick;
CREATE VIEW shop.nothing AS SELECT 1 AS one;

CREATE SEQUENCE shop.free INCREMENT 5 MINVALUE 10 MAXVALUE 90 CYCLE;
SELECT nextval('shop.free'), nextval('shop.free');
CREATE SEQUENCE shop.drawn;
ALTER TABLE shop.base ALTER COLUMN id SET DEFAULT nextval('shop.drawn');
CREATE PUBLICATION everything FOR ALL TABLES;
SELECT lo_from_bytea(0, 'x'), lo_from_bytea(0, 'y');
