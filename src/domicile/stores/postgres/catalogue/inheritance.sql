-- Old-style inheritance (not partitions): child and parent are tables of their own.
WITH RECURSIVE {scope}
SELECT i.inhrelid::bigint AS child, i.inhparent::bigint AS parent
FROM pg_catalog.pg_inherits i
JOIN tree c ON c.relid = i.inhrelid AND c.root = c.relid
JOIN tree p ON p.relid = i.inhparent AND p.root = p.relid
ORDER BY i.inhrelid, i.inhseqno;
