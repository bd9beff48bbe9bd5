-- Columns of every table and partition root. Types' further facts are in types.sql.
WITH RECURSIVE {scope}
SELECT a.attrelid::bigint AS relid, a.attname::text AS name, a.attnum::int AS position,
       a.atttypid::bigint AS typid, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, a.atttypmod AS typmod,
       a.attnotnull AS not_null, a.attgenerated <> '' AS generated, nullif(a.attidentity::text, '') AS identity,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS "default", a.attcollation <> 0 AS collatable,
       n.nspname::text AS collation_schema, c.collname::text AS collation_name,
       a.attcollation::bigint AS collation, coalesce(c.collisdeterministic, true) AS bytewise
FROM tree t
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
WHERE t.relid = t.root
ORDER BY a.attrelid, a.attnum;
