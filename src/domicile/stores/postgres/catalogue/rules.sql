-- Rewrite rules on tables (a view's own SELECT rule is not one of them).
WITH RECURSIVE {scope}
SELECT t.root::bigint AS relid, r.rulename::text AS name, r.ev_type::text AS event, r.is_instead AS instead,
       r.ev_enabled::text AS enabled
FROM tree t
JOIN pg_catalog.pg_rewrite r ON r.ev_class = t.relid
ORDER BY r.rulename COLLATE "C", r.oid;
