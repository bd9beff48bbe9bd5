CREATE TABLE address (id int PRIMARY KEY, street text NOT NULL);
CREATE TABLE customer (id int PRIMARY KEY, email text NOT NULL, address_id int, id_of_first_order int, country text NOT NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL);
CREATE TABLE event (id int PRIMARY KEY, payload jsonb NOT NULL, members int[], log json, key text);
CREATE TABLE comments (id int PRIMARY KEY, t text NOT NULL, about int NOT NULL);
INSERT INTO address SELECT i, 'Street ' || i FROM generate_series(1, 40) i;
INSERT INTO customer SELECT i, 'm' || i || '@example.com', i, i, (ARRAY['CA','DE'])[i % 2 + 1] FROM generate_series(1, 40) i;
INSERT INTO orders SELECT i, i % 40 + 1 FROM generate_series(1, 80) i;
INSERT INTO event SELECT i, jsonb_build_object('actor', jsonb_build_object('id', i % 40 + 1), 'items', '[]'::jsonb), ARRAY[i % 40 + 1], '{}', 'user:' || i
FROM generate_series(1, 50) i;
INSERT INTO comments SELECT i, (ARRAY['order','customer'])[i % 2 + 1], i % 40 + 1 FROM generate_series(1, 50) i;
ANALYZE;
