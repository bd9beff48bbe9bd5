-- Rows for schema.sql: made up, the same for the same settings, set by set (about 50 rows for each person).
--
--     PGOPTIONS='-c shortvideo.users=6000 -c shortvideo.seed=1' psql -d shortvideo -f seed.sql
--
-- Settings (all may be left out):
--     shortvideo.users      people, 6000 (about 300,000 rows); 200000 gives ten million
--     shortvideo.seed       another number, another world
--     shortvideo.canaries   words of letters and digits, joined by commas, that nobody can guess. Each gets an
--                           account of its own, in turn in US, CA, AU and NZ, and stands in every private place
--
-- People, numbers and addresses are invented: reserved domains (RFC 2606, 6761), documentation networks
-- (RFC 5737, 3849), telephone numbers 555-01…. Needs a superuser: triggers and foreign keys rest meanwhile
-- (tests/example counts that every key is met).

SET session_replication_role = replica;
SET timezone = 'UTC';
SELECT set_config('shortvideo.users', coalesce(nullif(current_setting('shortvideo.users', true), ''), '6000'), false),
       set_config('shortvideo.seed', coalesce(nullif(current_setting('shortvideo.seed', true), ''), '1'), false),
       set_config('shortvideo.canaries', coalesce(current_setting('shortvideo.canaries', true), ''), false);

-- ------------------------------------------------------------------------------------------- chance from numbers

-- From 0 up to, but not, 1: the same for the same number, salt and seed on every server.
CREATE FUNCTION pg_temp.unit(n bigint, salt bigint) RETURNS double precision LANGUAGE sql STABLE AS $$
    SELECT (hashint8extended(n, salt + 1000 * current_setting('shortvideo.seed')::bigint) & 9007199254740991)
           / 9007199254740992::double precision
$$;
CREATE FUNCTION pg_temp.pick(n bigint, salt bigint, size bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT 1 + floor(pg_temp.unit(n, salt) * size)::bigint
$$;
-- As pick, but a few are picked most of the time.
CREATE FUNCTION pg_temp.popular(n bigint, salt bigint, size bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT 1 + floor(power(pg_temp.unit(n, salt), 3) * size)::bigint
$$;
CREATE FUNCTION pg_temp.one_of(n bigint, salt bigint, words text[]) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT words[1 + floor(pg_temp.unit(n, salt) * cardinality(words))::integer]
$$;
-- One in a hundred lies before the first monthly partition.
CREATE FUNCTION pg_temp.moment(n bigint, salt bigint) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT timestamptz '2020-05-01 00:00:00+00' + (pg_temp.unit(n, salt) * 1.01 - 0.01) * interval '122 days'
$$;
-- The networks that documentation uses; every fifth speaks IPv6.
CREATE FUNCTION pg_temp.address(n bigint, salt bigint) RETURNS inet LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN n % 5 = 0 THEN inet '2001:db8::' + (n * 65536 + salt)
                ELSE inet '198.51.100.0' + pg_temp.pick(n, salt, 254) END
$$;

CREATE TEMPORARY TABLE canary AS
SELECT current_setting('shortvideo.users')::bigint + place AS user_id, place, word,
       (ARRAY['US', 'CA', 'AU', 'NZ'])[1 + (place - 1) % 4] AS country
FROM unnest(string_to_array(nullif(current_setting('shortvideo.canaries'), ''), ',')) WITH ORDINALITY AS c (word, place);

CREATE TEMPORARY TABLE size AS
SELECT u AS users, u * 6 / 5 AS devices, u * 3 / 2 AS sessions, u * 4 AS follows, u * 3 / 5 AS videos,
       u / 4 AS drafts, u * 8 AS likes, u * 5 / 2 AS comments, u * 25 AS watch_events, u * 3 AS messages,
       u * 4 AS notifications, u / 20 AS reports
FROM (SELECT current_setting('shortvideo.users')::bigint + (SELECT count(*) FROM canary) AS u) AS people;

CREATE TEMPORARY TABLE market (country, low, high, given, family) AS VALUES
    ('US', 0.00, 0.22, '{Avery,Jordan,Riley,Morgan,Quinn,Harper}'::text[], '{Vale,Ashdown,Ferris,Okoro,Delmar}'::text[]),
    ('CA', 0.22, 0.27, '{Noémie,Logan,Élodie,Parker,Maëlle}', '{Tremblor,Gagnard,MacAllan,Sóley}'),
    ('AU', 0.27, 0.31, '{Matilda,Darcy,Banjo,Lachie,Tully}', '{Wattle,Coorong,Barrow,Quoll}'),
    ('NZ', 0.31, 0.33, '{Aroha,Nikau,Maia,Tāne}', '{Rimu,Kōwhai,Weka}'),
    ('SG', 0.33, 0.40, '{Jia Hui,Wei Ming,Nurul,Arjun,小雨}', '{Tanwood,Limfield,Rahmat,林田}'),
    ('JP', 0.40, 0.52, '{さくら,はると,ゆい,蓮}', '{青波,星川,風見,雪谷}'),
    ('FR', 0.52, 0.61, '{Océane,Loïc,Zoé,Bastien}', '{Delorage,Pontclair,Vauban-Lys}'),
    ('BR', 0.61, 0.75, '{Thaís,João,Luíza,Caíque}', '{Serrão,Campolindo,Várzea}'),
    ('IN', 0.75, 0.92, '{अनिका,Kabir,Meera,विवान}', '{Nadkeri,सागरवाला,Thorath}'),
    ('EG', 0.92, 1.00, '{ليلى,يوسف,Salma,كريم}', '{النجار,Bahrawi,الزهري}');

CREATE TEMPORARY TABLE phrase AS
SELECT '{"so good 😂","first!","サウンド最高 🎶","ما أجمل هذا","who else is watching at 3 am","ça déchire 🔥",
"pure gold ✨","part two, please","कमाल कर दिया","the cat stole the show 🐈","demais!","tutorial when?","👏👏👏"}'::text[] AS words;

-- ------------------------------------------------------------------------------------------- people

INSERT INTO app.countries VALUES
    ('US', 'United States', '+1'), ('CA', 'Canada', '+1'), ('AU', 'Australia', '+61'), ('NZ', 'New Zealand', '+64'),
    ('SG', 'Singapore', '+65'), ('JP', 'Japan', '+81'), ('FR', 'France', '+33'), ('BR', 'Brazil', '+55'),
    ('IN', 'India', '+91'), ('EG', 'Egypt', '+20'), ('ZZ', 'Elsewhere', '');

INSERT INTO app.locations VALUES
    ('sg', '{}', true), ('us', '{US}', false), ('ca', '{CA}', false), ('au', '{AU,NZ}', false);

INSERT INTO app.users (id, username, display_name, avatar_url, bio, state, email, phone, birth_date, password_hash,
                       country, signup_ip, last_seen, settings, created_at, updated_at)
SELECT n,
       pg_temp.one_of(n, 2, '{pixel,loop,mango,comet,tempo,luna,echo,paper}') || '_' || n,
       pg_temp.one_of(n, 3, m.given) || ' ' || pg_temp.one_of(n, 4, m.family),
       CASE WHEN n % 11 > 0 THEN 'https://cdn.shortvideo.example/avatar/' || n || '.webp' END,
       CASE n % 7 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE pg_temp.one_of(n, 5, phrase.words) END,
       (CASE n % 97 WHEN 0 THEN 'suspended' WHEN 1 THEN 'closing' ELSE 'active' END)::app.account_state,
       CASE WHEN c.word IS NOT NULL THEN c.word || '@canary.example'
            WHEN n % 33 > 0 THEN 'box' || n || '.' || substr(md5(n::text), 1, 6) || '@'
                                 || pg_temp.one_of(n, 6, '{mail.example,post.example,inbox.invalid}') END,
       CASE WHEN n % 10 > 0 THEN countries.dial_code || '55501' || lpad(n::text, 9, '0') END,
       date '1950-01-01' + pg_temp.pick(n, 7, 20000)::integer,
       'scrypt$' || md5(n || 'salt') || '$' || md5(n || 'hash'),
       m.country, pg_temp.address(n, 8), pg_temp.moment(n, 9),
       jsonb_build_object('autoplay', n % 2 = 0, 'lang', lower(m.country),
                          'recovery', coalesce(c.word, md5(n || 'recovery'))),
       timestamptz '2019-01-01 00:00:00+00' + pg_temp.unit(n, 10) * interval '480 days',
       pg_temp.moment(n, 11)
FROM size, phrase, generate_series(1, size.users) AS n
LEFT JOIN canary c ON c.user_id = n
JOIN market m ON CASE WHEN c.country IS NULL THEN pg_temp.unit(n, 1) >= m.low AND pg_temp.unit(n, 1) < m.high
                      ELSE m.country = c.country END
JOIN app.countries ON countries.code = m.country;

INSERT INTO app.devices
SELECT n, 1 + (n - 1) % users, pg_temp.one_of(n, 20, '{Tin 4,Slate X,Pebble Mini,Quartz 9}'),
       coalesce(c.word || ':', '') || md5(n || 'push'), decode(md5(n || 'key') || md5(n || 'more'), 'hex'),
       pg_temp.address(n, 21), pg_temp.moment(n, 22)
FROM size, generate_series(1, devices) AS n LEFT JOIN canary c ON c.user_id = n;

-- The first device of a person has the person's number.
INSERT INTO app.sessions
SELECT md5(n || 'session' || current_setting('shortvideo.seed'))::uuid, 1 + (n - 1) % users,
       CASE WHEN n % 7 > 0 THEN 1 + (n - 1) % users END, pg_temp.address(n, 30),
       CASE WHEN n % 13 > 0 THEN 'ShortVideo/' || n % 9 || ' (' || coalesce(c.word, md5(n || 'agent')) || ')' END,
       -- Most are still open, so that traffic may come with them; not those of accounts that are not active.
       CASE WHEN n % 50 = 0 THEN 'empty'::tstzrange
            ELSE tstzrange(pg_temp.moment(n, 31),
                           CASE WHEN n % 7 = 0 OR (1 + (n - 1) % users) % 97 < 2 THEN pg_temp.moment(n, 31) + interval '30 days' END) END
FROM size, generate_series(1, sessions) AS n LEFT JOIN canary c ON c.user_id = n;

INSERT INTO app.follows
SELECT follower, followee, pg_temp.moment(n, 41)
FROM (SELECT n, 1 + (n - 1) % users AS follower, pg_temp.popular(n, 40, users) AS followee
      FROM size, generate_series(1, follows) AS n) AS pair
WHERE follower <> followee
ON CONFLICT DO NOTHING;

UPDATE app.users SET follower_count = f.followers
FROM (SELECT followee_id, count(*) AS followers FROM app.follows GROUP BY followee_id) AS f WHERE f.followee_id = users.id;

INSERT INTO app.blocks
SELECT blocker, blocked, pg_temp.moment(n, 43)
FROM (SELECT n, 1 + (n * 7) % users AS blocker, pg_temp.pick(n, 42, users) AS blocked
      FROM size, generate_series(1, users / 20) AS n) AS pair
WHERE blocker <> blocked
ON CONFLICT DO NOTHING;

-- ------------------------------------------------------------------------------------------- videos

-- Likes come before the videos, so that each video is written once, with its count.
INSERT INTO app.likes
SELECT 1 + (n - 1) % users, pg_temp.popular(n, 50, videos), pg_temp.moment(n, 51)
FROM size, generate_series(1, likes) AS n
ON CONFLICT DO NOTHING;

INSERT INTO app.videos (id, author_id, caption, tags, object_key, duration_s, "aspectRatio", "soundId", like_count,
                        mentioned_ids, transcript, upload_ip, geo, published_at, updated_at)
OVERRIDING SYSTEM VALUE
SELECT n, coalesce(c.user_id, pg_temp.pick(n, 60, users)),
       CASE n % 50 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE pg_temp.one_of(n, 61, phrase.words) || ' #' || n % 100 END,
       CASE n % 5 WHEN 0 THEN '{}' WHEN 1 THEN ARRAY['dance', NULL] ELSE ARRAY['fyp', pg_temp.one_of(n, 62, phrase.words)] END,
       'public/' || md5(n || 'video') || '.mp4', round((3 + pg_temp.unit(n, 63) * 57)::numeric, 3),
       CASE n % 200 WHEN 0 THEN 'NaN' WHEN 1 THEN NULL ELSE 0.5625 END,
       CASE WHEN n % 400 = 0 THEN 999999999 WHEN n % 3 > 0 THEN pg_temp.pick(n, 64, 500) END,
       coalesce(l.likes, 0),
       CASE WHEN n % 9 = 0 THEN ARRAY[pg_temp.pick(n, 600, users), pg_temp.pick(n, 601, users)] ELSE '{}' END,
       CASE WHEN n % 30 = 0 THEN repeat(pg_temp.one_of(n, 65, phrase.words) || ' … ' || n || E'\n', 400) END,
       pg_temp.address(n, 66),
       CASE WHEN n % 5 < 2 THEN point(round((pg_temp.unit(n, 67) * 360 - 180)::numeric, 5)::double precision,
                                      round((pg_temp.unit(n, 68) * 170 - 85)::numeric, 5)::double precision) END,
       pg_temp.moment(n, 69), pg_temp.moment(n, 69)
FROM size, phrase, generate_series(1, videos) AS n
LEFT JOIN canary c ON c.place = n
LEFT JOIN (SELECT video_id, count(*) AS likes FROM app.likes GROUP BY video_id) AS l ON l.video_id = n;

-- Every twentieth script is long: one half packs well, the other lies in many pieces.
INSERT INTO app.drafts (id, author_id, answers_video_id, caption, script, object_key, upload_ip, saved_at)
OVERRIDING SYSTEM VALUE
SELECT n, author.id,
       CASE WHEN n % 3 = 0 THEN pg_temp.popular(n, 71, videos) END,
       pg_temp.one_of(n, 72, phrase.words) || coalesce(' ' || c.word, ''),
       CASE WHEN n % 2 = 0 AND (n % 20 = 0 OR c.word IS NOT NULL)
                THEN repeat('scene: ' || pg_temp.one_of(n, 73, phrase.words) || E'\n', 300) || coalesce(c.word, '')
                     || repeat('cut to: ' || pg_temp.one_of(n, 74, phrase.words) || E'\n', 300)
            WHEN n % 20 = 1 OR c.word IS NOT NULL
                THEN (SELECT string_agg(md5(n || '/' || line), ' ') FROM generate_series(1, 300) AS line) || coalesce(' ' || c.word, '')
            WHEN n % 4 > 0 THEN pg_temp.one_of(n, 75, phrase.words) END,
       'u/' || author.id || '/drafts/' || md5(n || 'draft') || '.mp4', pg_temp.address(n, 76), pg_temp.moment(n, 77)
FROM size, phrase, generate_series(1, drafts) AS n
LEFT JOIN canary c ON c.place = n
CROSS JOIN LATERAL (SELECT coalesce(c.user_id, pg_temp.pick(n, 70, users)) AS id) AS author;

-- Every third comment answers the one before it; three in thirty stand on a profile.
INSERT INTO app.comments (id, target_type, target_id, author_id, parent_id, body, client_ip, written_at)
SELECT n, CASE WHEN (n + 2) / 3 % 10 = 0 THEN 'user' ELSE 'video' END, pg_temp.popular(n - (n % 3 = 0)::integer, 80, videos),
       CASE WHEN n % 100 > 0 THEN pg_temp.pick(n, 81, users) END,
       CASE WHEN n % 3 = 0 THEN n - 1 END,
       pg_temp.one_of(n, 82, phrase.words) || ' ' || n % 1000, pg_temp.address(n, 83), pg_temp.moment(n, 84)
FROM size, phrase, generate_series(1, comments) AS n;

UPDATE app.videos SET comment_count = c.comments
FROM (SELECT target_id, count(*) AS comments FROM app.comments WHERE target_type = 'video' GROUP BY target_id) AS c
WHERE c.target_id = videos.id;

INSERT INTO app.watch_events
SELECT n, coalesce(c.user_id, CASE WHEN n % 16 > 0 THEN pg_temp.pick(n, 90, users) END),
       pg_temp.popular(n, 91, videos), pg_temp.moment(n, 92),
       CASE n % 1000 WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN NULL ELSE 1::real END,
       jsonb_build_object('ms', pg_temp.pick(n, 93, 60000), 'from', pg_temp.one_of(n, 94, '{feed,search,profile}'),
                          'search', coalesce(c.word, CASE WHEN n % 9 = 0 THEN pg_temp.one_of(n, 95, phrase.words) END),
                          'net', host(pg_temp.address(n, 96)))
FROM size, phrase, generate_series(1, watch_events) AS n LEFT JOIN canary c ON c.place = n;

UPDATE app.videos SET view_count = w.views
FROM (SELECT video_id, count(*) AS views FROM app.watch_events GROUP BY video_id) AS w WHERE w.video_id = videos.id;

-- ------------------------------------------------------------------------------------------- between people

-- Every fourth message answers the one before; one in fifty carries on what its sender was told by somebody else.
CREATE TEMPORARY TABLE line AS
SELECT n, 1 + (n - 1) % users AS sender, 1 + ((n - 1) % users + pg_temp.pick(n, 100, users - 1)) % users AS recipient
FROM size, generate_series(1, messages) AS n;
CREATE UNIQUE INDEX ON line (n);
UPDATE line SET sender = heard.recipient, recipient = 1 + (heard.recipient - 1 + pg_temp.pick(line.n, 101, users - 1)) % users
FROM line AS heard, size WHERE line.n % 50 = 1 AND heard.n = line.n - 2;
UPDATE line SET sender = asked.recipient, recipient = asked.sender
FROM line AS asked WHERE line.n % 4 = 0 AND asked.n = line.n - 1;

INSERT INTO app.direct_messages (id, sender_id, recipient_id, reply_to_id, "forwardedFromId", body, attachments, sent_at, read_at)
SELECT n, sender, recipient, CASE WHEN n % 4 = 0 THEN n - 1 END, CASE WHEN n % 50 = 1 AND n > 2 THEN n - 2 END,
       pg_temp.one_of(n, 102, phrase.words) || ' — ' || md5(n || 'body'),
       CASE n % 40 WHEN 0 THEN 'null'::jsonb WHEN 1 THEN '[]'::jsonb
                   WHEN 2 THEN jsonb_build_array(jsonb_build_object('key', 'dm/' || md5(n || 'file'), 'bytes', 1e3 * n)) END,
       pg_temp.moment(n, 103), CASE WHEN n % 6 > 0 THEN 'infinity'::timestamptz END
FROM line, phrase;

-- Notes that people send to themselves: nobody else may hold what they say.
INSERT INTO app.direct_messages (id, sender_id, recipient_id, body, sent_at)
SELECT messages + place, user_id, user_id, 'remember ' || word, pg_temp.moment(place, 104) FROM canary, size;

INSERT INTO app.notifications
SELECT n, 1 + (n - 1) % users, CASE WHEN n % 5 > 0 THEN pg_temp.pick(n, 110, users) END,
       (CASE WHEN n % 5 = 0 THEN 'system' ELSE pg_temp.one_of(n, 111, '{like,comment,follow,message}') END)::app.notification_kind,
       CASE WHEN n % 2 = 0 THEN pg_temp.popular(n, 112, videos) END, pg_temp.moment(n, 113),
       CASE WHEN n % 4 > 0 THEN pg_temp.moment(n, 114) END
FROM size, generate_series(1, notifications) AS n;

INSERT INTO app.reports
SELECT n, CASE WHEN n % 10 > 0 THEN pg_temp.pick(n, 120, users) END,
       (ARRAY['video', 'comment', 'user'])[1 + n % 3],
       CASE WHEN n % 20 = 0 THEN 1000000000000 + n ELSE pg_temp.pick(n, 121, videos) END,
       pg_temp.one_of(n, 122, '{spam,harm,copyright}'), CASE WHEN n % 2 = 0 THEN 'see ' || md5(n || 'detail') END,
       pg_temp.moment(n, 123)
FROM size, generate_series(1, reports) AS n;

-- What the trigger wrote in earlier months; one in ten stands there twice, as a retried job writes it.
INSERT INTO app.audit_log
SELECT u.updated_at, 'users', u.id, 'UPDATE', to_jsonb(u) - 'password_hash'
FROM app.users u LEFT JOIN canary c ON c.user_id = u.id
CROSS JOIN generate_series(1, CASE WHEN u.id % 150 = 0 THEN 2 ELSE 1 END)
WHERE u.id % 15 = 0 OR c.user_id IS NOT NULL;
-- Accounts that were closed long ago.
INSERT INTO app.audit_log
SELECT timestamptz '2019-06-01 00:00:00+00', 'users', 1000000000000 + n, 'DELETE', '{"state": "closing"}'
FROM generate_series(1, 5) AS n;

-- The summary of the last days; the last jobs, done and not yet cleared away, and one that failed and will be tried again.
INSERT INTO app.daily_activity
SELECT watched_at::date, user_id, sum((payload ->> 'ms')::bigint), 0, 0, 0
FROM app.watch_events
WHERE user_id IS NOT NULL AND watched_at >= '2020-08-30 00:00:00+00'
GROUP BY 1, 2;

INSERT INTO app.jobs (id, kind, payload, run_after, attempts, last_error, done_at)
SELECT n, 'count', jsonb_build_object('counter', 'views', 'ids', jsonb_build_array(pg_temp.popular(n, 150, videos)), 'by', 1,
                                      'user_id', pg_temp.pick(n, 151, users)),
       pg_temp.moment(n, 152), 1, CASE WHEN n % 10 = 0 THEN 'DeadlockDetected' END, pg_temp.moment(n, 152)
FROM size, generate_series(1, users / 20) AS n;

-- ------------------------------------------------------------------------------------------- money

INSERT INTO billing.payout_accounts
SELECT u.id, coalesce(c.word || ' ', '') || u.display_name || ' ' || substr(md5(u.id || 'holder'), 1, 8),
       'ZZ68' || lpad(u.id::text, 18, '0'), CASE WHEN u.id % 3 > 0 THEN 'TX' || md5(u.id || 'tax') END
FROM app.users u LEFT JOIN canary c ON c.user_id = u.id
WHERE u.id % 20 = 0 OR c.user_id IS NOT NULL;

INSERT INTO billing.payouts
SELECT row_number() OVER (ORDER BY user_id, month), user_id,
       daterange((date '2020-05-01' + month * interval '1 month')::date, (date '2020-06-01' + month * interval '1 month')::date),
       CASE WHEN user_id % 500 = 0 THEN 'NaN' ELSE round((pg_temp.unit(user_id, 130 + month) * 900)::numeric, 4) END,
       'USD', CASE month WHEN 0 THEN 1.2345678901234567890 WHEN 1 THEN NULL ELSE 'NaN' END,
       (CASE month WHEN 2 THEN 'planned' ELSE 'paid' END)::billing.payout_state,
       CASE month WHEN 2 THEN 'infinity'::timestamptz ELSE pg_temp.moment(user_id, 133) END
FROM billing.payout_accounts, generate_series(0, 2) AS month;

INSERT INTO billing.payout_lines
SELECT p.id, line, CASE WHEN line = 1 THEN pg_temp.pick(p.id, 140, videos) END, pg_temp.pick(p.id, 140 + line, 100000), p.amount / 2
FROM billing.payouts p, size, generate_series(1, 2) AS line;

-- ------------------------------------------------------------------------------------------- after loading

SELECT setval(pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname), top.highest)
FROM (SELECT 'app.users'::regclass AS relation, max(id) AS highest FROM app.users
      UNION ALL SELECT 'app.devices', max(id) FROM app.devices
      UNION ALL SELECT 'app.videos', max(id) FROM app.videos
      UNION ALL SELECT 'app.drafts', max(id) FROM app.drafts
      UNION ALL SELECT 'app.comments', max(id) FROM app.comments
      UNION ALL SELECT 'app.watch_events', max(id) FROM app.watch_events
      UNION ALL SELECT 'app.direct_messages', max(id) FROM app.direct_messages
      UNION ALL SELECT 'app.notifications', max(id) FROM app.notifications
      UNION ALL SELECT 'app.reports', max(id) FROM app.reports
      UNION ALL SELECT 'app.jobs', max(id) FROM app.jobs
      UNION ALL SELECT 'billing.payouts', max(id) FROM billing.payouts) AS top
JOIN pg_class c ON c.oid = top.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'id'
WHERE top.highest IS NOT NULL;

REFRESH MATERIALIZED VIEW app.video_stats;
REFRESH MATERIALIZED VIEW billing.creator_contacts;
RESET session_replication_role;
ANALYZE;
