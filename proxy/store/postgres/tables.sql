-- Tables of version 1, in the schema of the store. All times are Unix seconds of the server's clock.

CREATE TABLE version (number integer NOT NULL);
INSERT INTO version VALUES (1);

CREATE SEQUENCE fences;

CREATE TABLE keys (
    route text NOT NULL,
    scope bytea NOT NULL,
    key bytea NOT NULL,
    -- 0 in flight, 1 done, 2 unreplayable, 3 unknown
    state smallint NOT NULL,
    fence bigint NOT NULL,
    lease_until double precision NOT NULL,
    created_at double precision NOT NULL,
    expires_at double precision NOT NULL,
    fingerprint bytea NOT NULL,
    status integer NOT NULL,
    response bytea,
    PRIMARY KEY (key, scope, route)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE keys ALTER COLUMN response SET STORAGE EXTERNAL;
CREATE INDEX keys_expiry ON keys (expires_at);

CREATE TABLE entries (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    queue text NOT NULL,
    lane text NOT NULL,         -- '': a lane of its own
    -- 0 pending, 1 delivering, 2 parked, 3 delivered, 4 dead, 5 cancelled
    state smallint NOT NULL,
    head boolean NOT NULL,      -- the first of its lane that is not finished
    fence bigint NOT NULL,
    lease_until double precision NOT NULL,
    attempts integer NOT NULL,
    accepted_at double precision NOT NULL,
    due_at double precision NOT NULL,
    give_up_at double precision NOT NULL,
    finished_at double precision NOT NULL,
    forget_at double precision NOT NULL,
    body_bytes integer NOT NULL,
    history bytea NOT NULL,
    meta bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE TABLE bodies (seq bigint PRIMARY KEY, body bytea NOT NULL)
    WITH (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE bodies ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE INDEX entries_due ON entries (queue, due_at, seq) WHERE head AND state = 0;
CREATE INDEX entries_lane ON entries (queue, lane, seq) WHERE lane <> '' AND state < 3;
CREATE INDEX entries_claimed ON entries (queue, lease_until) WHERE state = 1;
CREATE INDEX entries_blocked ON entries (queue, seq)
    WHERE head AND lane <> '' AND state < 3 AND (state = 2 OR attempts > 0);
CREATE INDEX entries_state ON entries (queue, state, seq);
CREATE INDEX entries_forget ON entries (forget_at) WHERE state > 2;

CREATE TABLE sagas (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token text NOT NULL UNIQUE,
    name text NOT NULL,
    id text NOT NULL,
    state text NOT NULL,
    fence bigint NOT NULL,
    lease_until double precision NOT NULL,  -- 0: not owned
    created_at double precision NOT NULL,
    due_at double precision,                -- NULL: not by time
    finished_at double precision NOT NULL,
    forget_at double precision,             -- NULL: not finished
    fingerprint bytea NOT NULL,
    input bytea NOT NULL,
    journal bytea NOT NULL,
    UNIQUE (name, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX sagas_due ON sagas (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX sagas_state ON sagas (name, state, created_at);
CREATE INDEX sagas_forget ON sagas (forget_at) WHERE forget_at IS NOT NULL;

-- How many entries (name: 'e' and the queue) and sagas ('s' and the name) are in each state: the sum
-- over all slots. A transaction holds its slot alone, so none waits for another's count.
CREATE TABLE counts (
    name text NOT NULL,
    state text NOT NULL,
    slot integer NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (name, state, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
