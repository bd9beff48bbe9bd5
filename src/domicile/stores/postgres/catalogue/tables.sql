-- One row per table or partition root; sizes and estimates are summed over the leaves.
WITH RECURSIVE {scope},
sized AS (
    SELECT t.root,
           sum(CASE WHEN c.relkind = 'r' THEN pg_catalog.pg_total_relation_size(c.oid) ELSE 0 END)::bigint AS bytes,
           sum(CASE WHEN c.relkind = 'p' THEN 0
                    WHEN c.reltuples > 0 OR c.relkind = 'f' THEN greatest(c.reltuples, 0)
                    -- never analysed: fifty rows to a page, so that a full table is not called empty
                    ELSE pg_catalog.pg_relation_size(c.oid) / 8192 * 50 END)::bigint AS row_estimate,
           bool_or(c.relpersistence = 'u') AS unlogged,
           bool_or(c.relrowsecurity) AS row_security,
           bool_or(c.relkind = 'f') AS any_foreign,
           bool_and(pg_catalog.has_table_privilege(c.oid, 'SELECT')) AS readable
    FROM tree t
    JOIN pg_catalog.pg_class c ON c.oid = t.relid
    GROUP BY t.root
),
leaf AS (
    SELECT t.root,
           pg_catalog.array_agg(n.nspname::text ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C") AS schemas,
           pg_catalog.array_agg(c.relname::text ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C") AS names
    FROM tree t
    JOIN pg_catalog.pg_class c ON c.oid = t.relid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE t.relid <> t.root AND c.relkind <> 'p'
    GROUP BY t.root
)
SELECT c.oid::bigint AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
       sized.bytes, sized.row_estimate, sized.unlogged, sized.row_security, sized.any_foreign, sized.readable,
       pg_catalog.row_security_active(c.oid) AS row_security_active,
       leaf.schemas AS leaf_schemas, leaf.names AS leaf_names,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.ordinality)
        FROM pg_catalog.pg_partitioned_table p
        CROSS JOIN LATERAL pg_catalog.unnest(p.partattrs::int2[]) WITH ORDINALITY k (attnum, ordinality)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.attnum AND k.attnum > 0
        WHERE p.partrelid = c.oid) AS partition_key,
       pg_catalog.obj_description(c.oid, 'pg_class') AS comment
FROM sized
JOIN pg_catalog.pg_class c ON c.oid = sized.root
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN leaf ON leaf.root = sized.root
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C";
