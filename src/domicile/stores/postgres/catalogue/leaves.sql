-- Every member of every tree: which root a relation folds into, and whether it is a leaf that holds rows.
WITH RECURSIVE {scope},
above (relid, ancestor) AS (
    SELECT relid, relid FROM tree
    UNION ALL
    SELECT a.relid, i.inhparent
    FROM above a
    JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.ancestor
    JOIN pg_catalog.pg_class c ON c.oid = a.ancestor AND c.relispartition
)
SELECT t.relid::bigint AS relid, t.root::bigint AS root, c.relkind <> 'p' AS leaf,
       n.nspname::text AS schema, c.relname::text AS name,
       (SELECT pg_catalog.array_agg(a.ancestor::bigint) FROM above a WHERE a.relid = t.relid) AS ancestors
FROM tree t
JOIN pg_catalog.pg_class c ON c.oid = t.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace;
