-- Primary and unique keys that name a row: whole, valid, immediate, over plain columns. The reader drops unique keys
-- with a nullable column, and those that tell apart what the columns' own equality does not: rows would be merged.
-- INCLUDE columns are no part of a key.
WITH RECURSIVE {scope}
SELECT i.indrelid::bigint AS relid, i.indisprimary AS is_primary, c.relname::text AS name,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.ordinality)
        FROM pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, ordinality)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE k.ordinality <= i.indnkeyatts) AS columns,
       (SELECT pg_catalog.array_agg(p.amopopr::bigint ORDER BY k.ordinality)
        FROM pg_catalog.unnest(i.indclass::oid[]) WITH ORDINALITY k (oid, ordinality)
        JOIN pg_catalog.pg_opclass o ON o.oid = k.oid
        JOIN pg_catalog.pg_amop p ON p.amopfamily = o.opcfamily AND p.amoplefttype = o.opcintype
                                 AND p.amoprighttype = o.opcintype AND p.amopstrategy = 3
        WHERE k.ordinality <= i.indnkeyatts) AS equalities,
       i.indcollation::oid[]::bigint[] AS collations
FROM tree t
JOIN pg_catalog.pg_index i ON i.indrelid = t.relid
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE t.relid = t.root AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, c.relname COLLATE "C";
