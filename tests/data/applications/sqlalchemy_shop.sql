CREATE TABLE people (nr int PRIMARY KEY, m varchar(200) NOT NULL, n text NOT NULL, country text NOT NULL, brought_by int);
CREATE TABLE product (nr int PRIMARY KEY, title text NOT NULL);
CREATE TABLE likes (who int, what int, PRIMARY KEY (who, what));
CREATE TABLE purchase (nr int PRIMARY KEY, p int NOT NULL);
CREATE TABLE line (o int, pos int, product int NOT NULL, PRIMARY KEY (o, pos));
CREATE TABLE parcel (nr int PRIMARY KEY, o int NOT NULL, pos int NOT NULL);
CREATE TABLE note (nr int PRIMARY KEY, kind text NOT NULL, about int NOT NULL, body text NOT NULL);
CREATE TABLE visit (nr int PRIMARY KEY, by int NOT NULL, w varchar(20) NOT NULL);
INSERT INTO people SELECT i, 'm' || i || '@example.com', 'Name ' || i, (ARRAY['CA','DE'])[i % 2 + 1], NULLIF(i - 1, 0)
FROM generate_series(1, 40) i;
INSERT INTO product SELECT i, 'product ' || i FROM generate_series(1, 10) i;
INSERT INTO likes SELECT i, i % 10 + 1 FROM generate_series(1, 40) i;
INSERT INTO purchase SELECT i, i % 40 + 1 FROM generate_series(1, 100) i;
INSERT INTO line SELECT i, 1, i % 10 + 1 FROM generate_series(1, 100) i;
INSERT INTO parcel SELECT i, i, 1 FROM generate_series(1, 100) i;
INSERT INTO note SELECT i, (ARRAY['p','o'])[i % 2 + 1], (i / 2) % 40 + 1, 'body' FROM generate_series(1, 60) i;
INSERT INTO visit SELECT i, i % 40 + 1, (i % 40 + 1)::text FROM generate_series(1, 50) i;
ANALYZE;
