-- Every type that a column of the user's has: what lies under its domains, and whether its binary form is portable.
-- Not portable: forms that hold object numbers (reg*, composites, arrays of anything not built in), that depend on
-- settings (money, xml), and types of the user or of an extension, whose form may differ between two versions.
WITH RECURSIVE under (oid, base, typmod, not_null) AS (
    SELECT t.oid, t.oid, -1, false
    FROM pg_catalog.pg_type t
    WHERE t.typtype <> 'd'
    UNION ALL
    SELECT d.oid, u.base, CASE WHEN d.typtypmod <> -1 THEN d.typtypmod ELSE u.typmod END, d.typnotnull OR u.not_null
    FROM under u
    JOIN pg_catalog.pg_type d ON d.typtype = 'd' AND d.typbasetype = u.oid
),
portable (oid) AS (
    SELECT t.oid
    FROM pg_catalog.pg_type t
    WHERE t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
      AND t.typname IN (
          'bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'text', 'varchar', 'bpchar', 'bytea',
          'date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'uuid', 'json', 'jsonb',
          'inet', 'cidr', 'macaddr', 'macaddr8', 'bit', 'varbit', 'tsvector',
          'point', 'line', 'lseg', 'box', 'path', 'polygon', 'circle',
          'int4range', 'int8range', 'numrange', 'daterange', 'tsrange', 'tstzrange',
          'int4multirange', 'int8multirange', 'nummultirange', 'datemultirange', 'tsmultirange', 'tstzmultirange')
    UNION
    -- a range of the user's own over a built-in type: its binary form holds the bounds only
    SELECT r.rngtypid
    FROM pg_catalog.pg_range r
    JOIN pg_catalog.pg_type s ON s.oid = r.rngsubtype
    WHERE s.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
      AND s.typname IN ('int4', 'int8', 'numeric', 'float8', 'text', 'date', 'time', 'timestamp', 'timestamptz',
                        'uuid', 'inet')
),
arrays (oid) AS (
    SELECT e.typarray
    FROM pg_catalog.pg_type e
    JOIN portable p ON p.oid = e.oid
    WHERE e.typarray <> 0 AND e.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
),
-- Every default class that says what equality is; read once, not for each type.
classes AS MATERIALIZED (
    SELECT p.amopopr::bigint AS equality, os.nspname::text AS operator_schema, o.oprname::text AS operator_name,
           ts.nspname::text AS operand_schema, i.typname::text AS operand_name, i.typtype = 'p' AS operand_any,
           i.oid AS operand, i.typispreferred AS preferred, m.amname AS method,
           i.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AS built_in
    FROM pg_catalog.pg_opclass c
    JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod AND m.amname IN ('btree', 'hash')
    JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amoplefttype = c.opcintype
                             AND p.amoprighttype = c.opcintype
                             AND p.amopstrategy = CASE m.amname WHEN 'btree' THEN 3 ELSE 1 END
    JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr
    JOIN pg_catalog.pg_namespace os ON os.oid = o.oprnamespace
    JOIN pg_catalog.pg_type i ON i.oid = c.opcintype
    JOIN pg_catalog.pg_namespace ts ON ts.oid = i.typnamespace
    WHERE c.opcdefault
)
SELECT u.oid::bigint AS oid, pg_catalog.format_type(u.base, NULL) AS base, u.typmod, u.not_null,
       b.typcategory::text AS category,
       EXISTS (SELECT FROM portable p WHERE p.oid = u.base) OR EXISTS (SELECT FROM arrays a WHERE a.oid = u.base)
           AS portable,
       (SELECT pg_catalog.array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
        FROM pg_catalog.pg_enum e
        WHERE e.enumtypid = u.base) AS labels,
       b.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AS built_in, equality.*
FROM under u
JOIN pg_catalog.pg_type b ON b.oid = u.base
-- The equality that GROUP BY, DISTINCT and a key use for the type: of its default B-tree class, else of its hash class
-- (typcache.c, lookup_type_cache; GetDefaultOpClass for types that only pass as another one).
LEFT JOIN LATERAL (
    SELECT c.equality, c.operator_schema, c.operator_name, c.operand_schema, c.operand_name, c.operand_any
    FROM classes c
    WHERE c.operand = b.oid
       OR c.built_in AND c.operand_name = CASE WHEN b.typtype = 'e' THEN 'anyenum'
                                               WHEN b.typtype = 'r' THEN 'anyrange'
                                               WHEN b.typtype = 'm' THEN 'anymultirange'
                                               WHEN b.typtype = 'c' THEN 'record'
                                               WHEN b.typcategory = 'A' THEN 'anyarray' END
       OR EXISTS (SELECT FROM pg_catalog.pg_cast k
                  WHERE k.castsource = b.oid AND k.casttarget = c.operand AND k.castmethod = 'b'
                    AND k.castcontext = 'i')
    ORDER BY c.method, c.operand = b.oid DESC, c.preferred DESC, c.operand
    LIMIT 1
) equality ON true
WHERE u.oid IN (SELECT a.atttypid
                FROM pg_catalog.pg_attribute a
                JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema');
