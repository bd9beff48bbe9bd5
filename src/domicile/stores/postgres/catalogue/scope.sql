-- Which relations count, and the root that each partition belongs to: a WITH item that stands for `{scope}` in the
-- other files (a temporary table can't be made in a read-only transaction, a view not without rights).
-- Left out: PostgreSQL's own schemas, Domicile's, and tables that belong to an extension (they become a note).
tree (relid, root) AS (
    SELECT c.oid, c.oid
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f')
      AND NOT c.relispartition
      AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'domicile', 'domicile_directory')
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend d
          WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT i.inhrelid, t.root
    FROM tree t
    JOIN pg_catalog.pg_inherits i ON i.inhparent = t.relid
    JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid
    WHERE p.relispartition
)
