-- People of some markets and what they watched, the same for the same sizes. Events stand in the order of their time,
-- people in no order: as in a running service, the movers' rows lie scattered over the whole table.
CREATE TABLE person (
    id bigint PRIMARY KEY,
    username text NOT NULL,
    email text,
    country text NOT NULL
);
CREATE TABLE watch_event (
    id bigint PRIMARY KEY,
    person_id bigint NOT NULL REFERENCES person,
    video_id bigint NOT NULL,
    watched_at timestamptz NOT NULL,
    watched_ms integer NOT NULL,
    device text NOT NULL,
    finished boolean NOT NULL
);

INSERT INTO person
SELECT n, 'person_' || n, 'person_' || n || '@mail.example',
    CASE WHEN abs(hashint8(n) % 100) < current_setting('bench.share_percent')::integer THEN 'US' ELSE 'SG' END
FROM generate_series(1, current_setting('bench.people')::bigint) AS n;

INSERT INTO watch_event
SELECT n,
    1 + abs(hashint8extended(n, 1) % current_setting('bench.people')::bigint),
    1 + abs(hashint8extended(n, 2) % 100000),
    timestamptz '2020-01-01 00:00:00+00' + n * interval '1.7 seconds',
    abs(hashint8extended(n, 3) % 180000)::integer,
    (ARRAY['phone', 'phone, landscape', 'tablet', 'browser'])[1 + abs(hashint8extended(n, 4) % 4)],
    hashint8extended(n, 5) % 3 = 0
FROM generate_series(1, current_setting('bench.events')::bigint) AS n;

CREATE INDEX ON watch_event (person_id);
