-- A store of version 3, which was never released: the tables as the program of those days made them, with the rows as it
-- wrote them. Not its own file (see README.md). Moments are milliseconds; 1795348800000 is 2026-11-22T12:00:00Z.

-- The tables.
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE outbox (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    topic       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    qos         INTEGER NOT NULL,
    retain      INTEGER NOT NULL,
    properties  TEXT,
    size        INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    expires_at  INTEGER
) STRICT;
CREATE INDEX outbox_age ON outbox (accepted_at);
CREATE INDEX outbox_expiry ON outbox (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE journal (
    device   TEXT NOT NULL,
    id       TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    outcome  TEXT,
    PRIMARY KEY (device, id)
) STRICT;
CREATE INDEX journal_age ON journal (begun_at);
CREATE TABLE retained (
    topic      TEXT PRIMARY KEY,
    payload    BLOB NOT NULL,
    qos        INTEGER NOT NULL,
    properties TEXT
) STRICT;
CREATE TABLE session (client TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT;
CREATE TABLE state (device TEXT PRIMARY KEY, fields TEXT NOT NULL, taken_at INTEGER NOT NULL) STRICT;
ALTER TABLE retained ADD COLUMN expires_at INTEGER;
ALTER TABLE session ADD COLUMN ends_at INTEGER;
CREATE TABLE session_message (
    client      TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    topic       TEXT NOT NULL,
    payload     BLOB NOT NULL,
    qos         INTEGER NOT NULL,
    retain      INTEGER NOT NULL,
    properties  TEXT,
    identifiers TEXT,
    is_released INTEGER NOT NULL,
    expires_at  INTEGER,
    PRIMARY KEY (client, sequence)
) STRICT;
DROP INDEX outbox_age;
ALTER TABLE outbox ADD COLUMN born INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN is_unsure INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN stamp TEXT;
ALTER TABLE outbox ADD COLUMN lane INTEGER;
ALTER TABLE outbox ADD COLUMN is_live INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN is_folded INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET born = accepted_at;
CREATE INDEX outbox_lane ON outbox (lane, sequence) WHERE lane IS NOT NULL;
CREATE INDEX outbox_topic ON outbox (topic, sequence) WHERE is_folded = 1;
CREATE TABLE lane (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
DROP INDEX journal_age;
PRAGMA user_version = 3;

-- What waits for the cloud: 1, 2 and 5 are gone, and 4 is good for an hour.
INSERT INTO meta VALUES ('store', '0123456789ab');
-- The store's own time is 1,000 s ahead of the wall clock.
INSERT INTO meta VALUES ('anchor', '1795349800000 1795348800000');
INSERT INTO lane VALUES (1, 'sensors/cellar');
INSERT INTO outbox (sequence, topic, payload, qos, retain, properties, size, accepted_at, expires_at, born, is_unsure, stamp, lane, is_live, is_folded)
    VALUES (3, 'hearthlink/home/sensors/attic', x'32312e35', 1, 0, NULL, 33, 1795348740000, NULL, 1795349740000, 0, NULL, NULL, 0, 0);
INSERT INTO outbox (sequence, topic, payload, qos, retain, properties, size, accepted_at, expires_at, born, is_unsure, stamp, lane, is_live, is_folded)
    VALUES (4, 'hearthlink/home/sensors/attic', x'32312e37', 1, 0, '{"expiry":{"secs":3600,"nanos":0},"is_text":null,"content_type":null,"response_topic":null,"correlation_data":null,"user":[["unit","C"]]}', 42, 1795348770000, 1795353370000, 1795349770000, 0, NULL, NULL, 0, 0);
INSERT INTO outbox (sequence, topic, payload, qos, retain, properties, size, accepted_at, expires_at, born, is_unsure, stamp, lane, is_live, is_folded)
    VALUES (6, 'hearthlink/home/sensors/cellar', x'3132', 1, 0, NULL, 32, 1795348799000, NULL, 1795349799000, 0, NULL, 1, 0, 0);

-- A command that is finished, and one that is not.
INSERT INTO journal (device, id, begun_at, outcome)
    VALUES ('plug', 'c1', 1795348779000,
        '{"id":"c1","device":"plug","status":"applied","at":"2026-11-22T11:59:40Z"}');
INSERT INTO journal (device, id, begun_at) VALUES ('plug', 'c2', 1795348795000);

-- What the house remembers.
INSERT INTO retained (topic, payload, qos) VALUES ('porch/lamp', x'6f6e', 1);
INSERT INTO retained (topic, payload, qos, properties, expires_at)
    VALUES ('porch/brief', x'6f6e', 1, '{"expiry":{"secs":7200,"nanos":0},"is_text":null,"content_type":null,"response_topic":null,"correlation_data":null,"user":[]}', 1795352400000);
INSERT INTO session (client, state, ends_at)
    VALUES ('visitor', CAST('{"version":2,"expiry_seconds":86400,"user":null,"subscriptions":[["notes/door",{"qos":1,"no_local":false,"retain_as_published":false,"retain_handling":"Send","identifier":null}]],"sent":0,"reserved":16386,"arrived":[],"replays":[]}' AS BLOB), 1795435200000);
INSERT INTO session_message (client, sequence, topic, payload, qos, retain, is_released)
    VALUES ('visitor', 1, 'notes/door', x'6669727374', 1, 0, 0);
INSERT INTO session_message (client, sequence, topic, payload, qos, retain, is_released)
    VALUES ('visitor', 2, 'notes/door', x'7365636f6e64', 1, 0, 0);
INSERT INTO state VALUES ('plug', '{"state":"ON"}', 1795348780000);
