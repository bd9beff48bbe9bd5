-- The database itself, and what stands beside its tables.
SELECT pg_catalog.current_setting('server_version_num')::int AS version,
       pg_catalog.current_database()::text AS database,
       pg_catalog.current_setting('server_encoding') AS encoding,
       ARRAY(SELECT extname::text FROM pg_catalog.pg_extension ORDER BY extname COLLATE "C") AS extensions,
       ARRAY(SELECT pubname::text FROM pg_catalog.pg_publication ORDER BY pubname COLLATE "C") AS publications,
       ARRAY(SELECT subname::text FROM pg_catalog.pg_subscription
             WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
             ORDER BY subname COLLATE "C") AS subscriptions,
       ARRAY(SELECT slot_name::text FROM pg_catalog.pg_replication_slots ORDER BY slot_name COLLATE "C") AS slots,
       ARRAY(SELECT evtname::text FROM pg_catalog.pg_event_trigger
             WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                               WHERE d.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
                                 AND d.objid = pg_event_trigger.oid AND d.deptype = 'e')
             ORDER BY evtname COLLATE "C") AS event_triggers,
       (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS large_objects,
       ARRAY(SELECT n.nspname || '.' || c.relname || ' (' || e.extname || ')'
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                                        AND d.objid = c.oid AND d.deptype = 'e'
             JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
             WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname !~ '^pg_'
             ORDER BY 1) AS extension_tables;
