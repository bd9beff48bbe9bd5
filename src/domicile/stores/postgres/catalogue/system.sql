-- Which cluster this is. Kept apart: a server may refuse it to this role.
SELECT system_identifier::text AS system_id FROM pg_catalog.pg_control_system();
