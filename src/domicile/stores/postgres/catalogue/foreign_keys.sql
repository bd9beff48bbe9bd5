-- Declared edges, each as it was declared: copies that PostgreSQL makes for partitions of either end are left out.
WITH RECURSIVE {scope}
SELECT con.conrelid::bigint AS child, con.confrelid::bigint AS parent, con.conname::text AS name,
       con.confdeltype::text AS on_delete, con.condeferrable AS deferrable,
       con.convalidated AND coalesce((pg_catalog.to_jsonb(con) ->> 'conenforced')::boolean, true) AS validated,
       coalesce((pg_catalog.to_jsonb(con) ->> 'conperiod')::boolean, false) AS temporal,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.ordinality)
        FROM pg_catalog.unnest(con.conkey) WITH ORDINALITY k (attnum, ordinality)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = k.attnum) AS columns,
       (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.ordinality)
        FROM pg_catalog.unnest(con.confkey) WITH ORDINALITY k (attnum, ordinality)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = con.confrelid AND a.attnum = k.attnum) AS parent_columns,
       -- parent = child, the operators that the constraint itself asks with
       (SELECT pg_catalog.json_agg(
                   pg_catalog.json_build_array(os.nspname, o.oprname, ls.nspname, l.typname, l.typtype = 'p',
                                               rs.nspname, r.typname, r.typtype = 'p') ORDER BY k.ordinality)
        FROM pg_catalog.unnest(con.conpfeqop) WITH ORDINALITY k (oid, ordinality)
        JOIN pg_catalog.pg_operator o ON o.oid = k.oid
        JOIN pg_catalog.pg_namespace os ON os.oid = o.oprnamespace
        JOIN pg_catalog.pg_type l ON l.oid = o.oprleft
        JOIN pg_catalog.pg_namespace ls ON ls.oid = l.typnamespace
        JOIN pg_catalog.pg_type r ON r.oid = o.oprright
        JOIN pg_catalog.pg_namespace rs ON rs.oid = r.typnamespace) AS operators
FROM pg_catalog.pg_constraint con
JOIN tree t ON t.relid = con.conrelid
WHERE con.contype = 'f' AND con.conparentid = 0
ORDER BY con.conname COLLATE "C", con.oid;
