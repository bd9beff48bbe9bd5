-- The application's triggers; clones on partitions are folded into their parent's.
WITH RECURSIVE {scope}
SELECT t.root::bigint AS relid, g.tgname::text AS name, g.tgtype::int AS bits, g.tgenabled::text AS enabled,
       n.nspname::text AS function_schema, p.proname::text AS function_name
FROM tree t
JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.relid AND NOT g.tgisinternal AND g.tgparentid = 0
JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
ORDER BY g.tgname COLLATE "C", g.oid;
