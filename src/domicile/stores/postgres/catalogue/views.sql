-- Views and the tables they read, also through other views. What a view reads through a function is invisible here.
WITH RECURSIVE {scope},
seen AS (
    SELECT c.oid, c.relkind, n.nspname::text AS schema, c.relname::text AS name
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('v', 'm')
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'domicile', 'domicile_directory')
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
),
direct AS (
    SELECT DISTINCT r.ev_class AS view, d.refobjid AS relid
    FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
                               AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
    WHERE d.refobjid <> r.ev_class
),
reach (view, relid) AS (
    SELECT view, relid FROM direct
    UNION
    SELECT reach.view, direct.relid
    FROM reach
    JOIN direct ON direct.view = reach.relid
)
SELECT s.schema, s.name, s.relkind = 'm' AS materialised,
       CASE WHEN s.relkind = 'm' THEN pg_catalog.pg_total_relation_size(s.oid) ELSE 0 END AS bytes,
       (SELECT pg_catalog.array_agg(DISTINCT t.root::bigint)
        FROM reach
        JOIN tree t ON t.relid = reach.relid
        WHERE reach.view = s.oid) AS reads
FROM seen s
ORDER BY s.schema COLLATE "C", s.name COLLATE "C";
