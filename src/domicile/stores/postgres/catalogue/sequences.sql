-- Sequences with their owner: the column that owns one, else the column whose default draws from it.
WITH RECURSIVE {scope},
drawn AS (
    SELECT DISTINCT ON (d.seq) d.seq, d.root, d.attname, d.identity
    FROM (
        SELECT d.objid AS seq, t.root, a.attname::text AS attname, d.deptype = 'i' AS identity, 0 AS rank
        FROM pg_catalog.pg_depend d
        JOIN tree t ON t.relid = d.refobjid
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')
          AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
        UNION ALL
        SELECT d.refobjid, t.root, a.attname::text, false, 1
        FROM pg_catalog.pg_attrdef f
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = f.oid
                                   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
        JOIN tree t ON t.relid = f.adrelid
        JOIN pg_catalog.pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    ) d
    ORDER BY d.seq, d.rank, d.root, d.attname COLLATE "C"
)
SELECT n.nspname::text AS schema, c.relname::text AS name, s.seqincrement AS increment, s.seqmin AS minimum,
       s.seqmax AS maximum, s.seqcycle AS cycles, drawn.root::bigint AS owner, drawn.attname AS owner_column,
       coalesce(drawn.identity, false) AS identity,
       pg_catalog.has_sequence_privilege(c.oid, 'USAGE') OR pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
           AS readable,
       CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'USAGE, SELECT')
            THEN pg_catalog.pg_sequence_last_value(c.oid) END AS last_value
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid
LEFT JOIN drawn ON drawn.seq = c.oid
WHERE c.relkind = 'S' AND n.nspname !~ '^pg_'
  AND n.nspname NOT IN ('information_schema', 'domicile', 'domicile_directory')
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";
