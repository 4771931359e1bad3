-- The operations of version 1. `v1_run` runs a batch of calls as one statement, and so as one
-- transaction: nothing is kept in the session, and one round trip commits all that waited.
--
-- A later version adds functions under names of its own and leaves these, so that replicas of both
-- versions work side by side while one replaces the other.
--
-- Locks. A transaction first takes the advisory locks of all names that it will work on, in one
-- order, so that two never wait for each other: a key, an entry, a saga, and the lane of an entry.
-- Claims lock rows, and pass over those that are locked.

-- One operation, or a part of one. `kind` is that of asking.py, which says what the others mean.
CREATE TYPE v1_call AS (
    op integer, kind integer, a text, b text, c text, d text, x bytea, y bytea, z bytea, w bytea,
    n double precision, m double precision, f bigint, i bigint, j bigint
);

-- A row of a result. `ok`: the operation's condition is met. An entry or saga that changed its state
-- says so: `weight` of them in `counted` went from state `was` to `now`.
CREATE TYPE v1_result AS (
    ok boolean, counted text, was text, now text, weight integer,
    t1 text, t2 text, t3 text, t4 text, b1 bytea, b2 bytea, b3 bytea, b4 bytea,
    i1 bigint, i2 bigint, i3 bigint, i4 bigint, i5 bigint,
    f1 double precision, f2 double precision, f3 double precision, f4 double precision,
    f5 double precision, op integer
);

-- A result without a record.
CREATE FUNCTION v1_told(ok boolean, number bigint DEFAULT NULL)
RETURNS v1_result LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(ok, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
               number, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::v1_result
$$;

-- --- keyed records ------------------------------------------------------------------------------

CREATE FUNCTION v1_key(r keys, met boolean) RETURNS v1_result LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(met, NULL, NULL, NULL, NULL, r.route, NULL, NULL, NULL,
               r.scope, r.key, r.fingerprint, r.response,
               r.state, r.fence, r.status, NULL, NULL,
               r.created_at, r.expires_at, NULL, NULL, NULL, NULL)::v1_result
$$;

CREATE FUNCTION v1_claim_key(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    r keys;
BEGIN
    SELECT * INTO r FROM keys k WHERE k.key = c.y AND k.scope = c.x AND k.route = c.a;
    IF FOUND AND r.expires_at <= at AND NOT (r.state = 0 AND r.lease_until > at) THEN
        DELETE FROM keys k WHERE k.key = c.y AND k.scope = c.x AND k.route = c.a;
        r := NULL;
    END IF;
    IF r.route IS NULL THEN
        INSERT INTO keys VALUES
            (c.a, c.x, c.y, 0, nextval('fences'), at + c.n, at, at + c.m, c.z, 0, NULL)
            RETURNING * INTO r;
        RETURN v1_key(r, true);
    END IF;
    IF r.state = 0 AND r.lease_until <= at THEN
        -- The fence rises too: the former owner of the claim may still be running.
        UPDATE keys k SET state = 3, lease_until = 0, fence = nextval('fences')
            WHERE k.key = c.y AND k.scope = c.x AND k.route = c.a RETURNING * INTO r;
    END IF;
    IF r.state = 3 AND c.i = 1 AND substr(r.fingerprint, 1, length(c.z)) = c.z THEN
        UPDATE keys k SET state = 0, lease_until = at + c.n, fence = nextval('fences')
            WHERE k.key = c.y AND k.scope = c.x AND k.route = c.a RETURNING * INTO r;
        RETURN v1_key(r, true);
    END IF;
    RETURN v1_key(r, false);
END $$;

-- Ends or extends a claim, if it is still this one.
CREATE FUNCTION v1_change_key(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
BEGIN
    IF c.kind = 2 THEN      -- renew
        UPDATE keys k SET lease_until = at + c.n
            WHERE k.key = c.y AND k.scope = c.x AND k.route = c.a AND k.fence = c.f AND k.state = 0;
        RETURN v1_told(true, FOUND::integer);
    ELSIF c.kind = 3 THEN   -- finish
        UPDATE keys k SET state = CASE WHEN c.z IS NULL THEN 2 ELSE 1 END, lease_until = 0,
                status = c.i, response = c.z, fingerprint = coalesce(c.w, k.fingerprint)
            WHERE k.key = c.y AND k.scope = c.x AND k.route = c.a AND k.fence = c.f AND k.state = 0;
    ELSIF c.kind = 4 THEN   -- release
        DELETE FROM keys k
            WHERE k.key = c.y AND k.scope = c.x AND k.route = c.a AND k.fence = c.f AND k.state = 0;
    ELSE                    -- doubt
        UPDATE keys k SET state = 3, lease_until = 0, fingerprint = coalesce(c.w, k.fingerprint)
            WHERE k.key = c.y AND k.scope = c.x AND k.route = c.a AND k.fence = c.f AND k.state = 0;
    END IF;
    RETURN v1_told(FOUND);
END $$;

CREATE FUNCTION v1_find_keys(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE plpgsql AS $$
DECLARE
    r keys;
BEGIN
    FOR r IN SELECT * FROM keys k WHERE k.key = c.y AND k.route = c.a
        AND (k.expires_at > at OR k.state = 0 AND k.lease_until > at)
        ORDER BY k.created_at DESC, k.fence DESC LIMIT c.f
    LOOP
        IF r.state = 0 AND r.lease_until <= at THEN
            r.state := 3;
        END IF;
        RETURN NEXT v1_key(r, true);
    END LOOP;
END $$;

CREATE FUNCTION v1_free_keys(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    DELETE FROM keys k WHERE k.key = c.y AND k.route = c.a
        AND NOT (k.state = 0 AND k.lease_until > at);
    GET DIAGNOSTICS number = ROW_COUNT;
    RETURN v1_told(true, number);
END $$;

-- --- entries ------------------------------------------------------------------------------------

CREATE FUNCTION v1_entry(e entries, content bytea, was integer)
RETURNS v1_result LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(true, CASE WHEN was IS NOT NULL THEN 'e' || e.queue END, was::text, e.state::text, 1,
               e.id, e.queue, e.lane, NULL, e.meta, e.history, content, NULL,
               e.seq, e.state, e.fence, e.attempts, e.body_bytes,
               e.accepted_at, e.due_at, e.give_up_at, e.finished_at, e.forget_at, NULL)::v1_result
$$;

-- An entry of `queue` went from one state to another; `known` is what the caller is told.
CREATE FUNCTION v1_moved(queue text, was integer, now integer, known bigint)
RETURNS v1_result LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(true, 'e' || queue, was::text, now::text, 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
               NULL, known, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::v1_result
$$;

-- The first of a lane is its head, instead of `present`: one may have been put back before it.
CREATE FUNCTION v1_choose_head(of_queue text, of_lane text, present bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
BEGIN
    SELECT e.seq INTO first FROM entries e
        WHERE e.queue = of_queue AND e.lane = of_lane AND e.lane <> '' AND e.state < 3
        ORDER BY e.seq LIMIT 1;
    IF FOUND AND first <> present THEN
        UPDATE entries e SET head = false WHERE e.seq = present;
        UPDATE entries e SET head = true WHERE e.seq = first AND NOT e.head;
    END IF;
END $$;

-- `unfinished`: how many of the queue are not finished.
CREATE FUNCTION v1_put(c v1_call, at double precision, unfinished bigint)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    present smallint;
    made bigint;
BEGIN
    SELECT e.state INTO present FROM entries e WHERE e.id = c.a;
    IF FOUND THEN
        RETURN v1_told(false, present);
    END IF;
    IF c.f > 0 AND unfinished >= c.f THEN
        RETURN v1_told(false, 0);
    END IF;
    INSERT INTO entries VALUES (
        DEFAULT, c.a, c.b, c.c, 0,
        c.c = '' OR NOT EXISTS (
            SELECT FROM entries e
            WHERE e.queue = c.b AND e.lane = c.c AND e.lane <> '' AND e.state < 3
        ),
        0, 0, 0, at, at + c.n, at + c.m, 0, 0, length(c.y), c.z, c.x
    ) ON CONFLICT (id) DO NOTHING RETURNING seq INTO made;
    IF made IS NULL THEN  -- by another transaction at this moment
        RETURN v1_told(false, 0);
    END IF;
    INSERT INTO bodies VALUES (made, c.y);
    RETURN v1_moved(c.b, NULL, 0, NULL);
END $$;

-- Claims in one queue: those whose claim has ended, then the heads that are due.
CREATE FUNCTION v1_claim_entries(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    RETURN QUERY
        WITH picked AS MATERIALIZED (
            SELECT e.seq FROM entries e
            WHERE e.queue = c.b AND e.state = 1 AND e.lease_until <= at
            ORDER BY e.lease_until LIMIT c.f FOR UPDATE SKIP LOCKED
        ), changed AS (
            UPDATE entries e SET fence = e.fence + 1, lease_until = at + c.n
            FROM picked WHERE e.seq = picked.seq RETURNING e
        )
        SELECT (v1_entry(changed.e, b.body, NULL)).*
        FROM changed JOIN bodies b ON b.seq = (changed.e).seq ORDER BY (changed.e).seq;
    GET DIAGNOSTICS number = ROW_COUNT;
    RETURN QUERY
        WITH picked AS MATERIALIZED (
            SELECT e.seq FROM entries e
            WHERE e.queue = c.b AND e.head AND e.state = 0 AND e.due_at <= at
            ORDER BY e.due_at, e.seq LIMIT greatest(c.f - number, 0) FOR UPDATE SKIP LOCKED
        ), changed AS (
            UPDATE entries e SET state = 1, fence = e.fence + 1, lease_until = at + c.n
            FROM picked WHERE e.seq = picked.seq RETURNING e
        )
        SELECT (v1_entry(changed.e, b.body, 0)).*
        FROM changed JOIN bodies b ON b.seq = (changed.e).seq
        ORDER BY (changed.e).due_at, (changed.e).seq;
END $$;

-- When another entry of a queue is due, or its claim ends (`f1`), and the present (`f2`).
CREATE FUNCTION v1_next_entry(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    r v1_result := v1_told(true);
BEGIN
    r.f1 := least(
        (SELECT min(e.due_at) FROM entries e WHERE e.queue = c.b AND e.head AND e.state = 0),
        (SELECT min(e.lease_until) FROM entries e WHERE e.queue = c.b AND e.state = 1)
    );
    r.f2 := at;
    RETURN r;
END $$;

CREATE FUNCTION v1_renew_entry(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
BEGIN
    UPDATE entries e SET lease_until = at + c.n WHERE e.id = c.a AND e.fence = c.f AND e.state = 1;
    RETURN v1_told(true, FOUND::integer);
END $$;

CREATE FUNCTION v1_settle(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    finished boolean := c.i > 2;
    e entries;
BEGIN
    UPDATE entries o SET state = c.i, lease_until = 0, attempts = c.j, history = c.z,
            due_at = at + c.n, meta = coalesce(c.x, o.meta), head = o.head AND NOT finished,
            finished_at = CASE WHEN finished THEN at ELSE 0 END,
            forget_at = CASE WHEN finished THEN at + c.m ELSE 0 END
        WHERE o.id = c.a AND o.fence = c.f AND o.state = 1 RETURNING * INTO e;
    IF NOT FOUND THEN
        RETURN v1_told(false);
    END IF;
    IF e.lane <> '' THEN
        PERFORM v1_choose_head(e.queue, e.lane, CASE WHEN finished THEN 0 ELSE e.seq END);
    END IF;
    RETURN v1_moved(e.queue, 1, c.i::integer, NULL);
END $$;

CREATE FUNCTION v1_cancel(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    e entries;
BEGIN
    SELECT * INTO e FROM entries o WHERE o.id = c.a FOR UPDATE;
    IF NOT FOUND OR e.state NOT IN (0, 2) THEN
        RETURN v1_told(false, e.state);
    END IF;
    UPDATE entries o SET state = 5, head = false, lease_until = 0, finished_at = at,
            forget_at = at + c.m WHERE o.seq = e.seq;
    IF e.lane <> '' THEN
        PERFORM v1_choose_head(e.queue, e.lane, 0);
    END IF;
    RETURN v1_moved(e.queue, e.state, 5, e.state);
END $$;

CREATE FUNCTION v1_redrive(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    e entries;
    present entries;
    leads boolean := true;
BEGIN
    SELECT * INTO e FROM entries o WHERE o.id = c.a FOR UPDATE;
    IF NOT FOUND OR e.state NOT IN (2, 4) THEN
        RETURN v1_told(false, e.state);
    END IF;
    IF e.lane <> '' THEN
        -- Locked: a claim of it may be under way.
        SELECT * INTO present FROM entries o WHERE o.seq = (
            SELECT h.seq FROM entries h
            WHERE h.queue = e.queue AND h.lane = e.lane AND h.lane <> '' AND h.state < 3
            ORDER BY h.seq LIMIT 1
        ) FOR UPDATE;
        IF FOUND AND present.seq <> e.seq THEN
            -- Its old place is before all that wait; one that is being delivered goes first.
            leads := present.seq > e.seq AND present.state <> 1;
            IF leads THEN
                UPDATE entries o SET head = false WHERE o.seq = present.seq;
            END IF;
        END IF;
    END IF;
    UPDATE entries o SET state = 0, head = leads, attempts = 0, due_at = at, give_up_at = at + c.m,
            finished_at = 0, forget_at = 0 WHERE o.seq = e.seq;
    RETURN v1_moved(e.queue, e.state, 0, e.state);
END $$;

CREATE FUNCTION v1_get_entry(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE sql AS $$
    SELECT (v1_entry(e, CASE WHEN c.i = 1 THEN (SELECT b.body FROM bodies b WHERE b.seq = e.seq) END,
                     NULL)).*
    FROM entries e WHERE e.id = c.a
$$;

-- A queue and a state are found in an index; for "any" each combination is asked.
CREATE FUNCTION v1_list_entries(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE sql AS $$
    SELECT (v1_entry(found.e, NULL, NULL)).* FROM (
        SELECT DISTINCT substr(k.name, 2) AS queue, k.state::integer AS state FROM counts k
        WHERE left(k.name, 1) = 'e' AND (c.b IS NULL OR k.name = 'e' || c.b)
            AND (c.i IS NULL OR k.state = c.i::text)
    ) kinds CROSS JOIN LATERAL (
        SELECT e FROM entries e
        WHERE e.queue = kinds.queue AND e.state = kinds.state AND e.seq < c.f
            AND e.accepted_at >= c.n
        ORDER BY e.seq DESC LIMIT c.j
    ) found ORDER BY (found.e).seq DESC LIMIT c.j
$$;

-- A row for each queue and state: the queue, the number, and when the oldest was accepted if it is
-- not finished.
CREATE FUNCTION v1_count_entries(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE sql AS $$
    SELECT true, NULL, NULL, NULL, NULL::integer, substr(k.name, 2), NULL, NULL, NULL,
           NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea,
           k.state::bigint, k.number, NULL::bigint, NULL::bigint, NULL::bigint,
           CASE WHEN k.state::integer < 3 THEN (
               SELECT e.accepted_at FROM entries e
               WHERE e.queue = substr(k.name, 2) AND e.state = k.state::integer
               ORDER BY e.seq LIMIT 1
           ) END, NULL::double precision, NULL::double precision, NULL::double precision,
           NULL::double precision, NULL::integer
    FROM (
        SELECT o.name, o.state, sum(o.number)::bigint AS number FROM counts o
        WHERE left(o.name, 1) = 'e' GROUP BY o.name, o.state
    ) k WHERE k.number <> 0
$$;

CREATE FUNCTION v1_blocked_lanes(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE sql AS $$
    SELECT true, NULL, NULL, NULL, NULL::integer, found.queue, found.lane, found.id, NULL,
           NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea,
           found.state::bigint, (
               SELECT count(*) - 1 FROM (
                   SELECT FROM entries e WHERE e.queue = found.queue AND e.lane = found.lane
                       AND e.lane <> '' AND e.state < 3 LIMIT c.j
               ) waiting
           ), NULL::bigint, NULL::bigint, NULL::bigint, NULL::double precision,
           NULL::double precision, NULL::double precision, NULL::double precision,
           NULL::double precision, NULL::integer
    FROM (
        SELECT DISTINCT substr(k.name, 2) AS queue FROM counts k
        WHERE left(k.name, 1) = 'e' AND (c.b IS NULL OR k.name = 'e' || c.b)
    ) queues CROSS JOIN LATERAL (
        SELECT e.* FROM entries e WHERE e.queue = queues.queue AND e.head AND e.lane <> ''
            AND e.state < 3 AND (e.state = 2 OR e.attempts > 0)
        ORDER BY e.seq LIMIT c.f
    ) found ORDER BY found.seq LIMIT c.f
$$;

-- --- sagas --------------------------------------------------------------------------------------

-- `was` NULL: its state has not changed, '': it is new.
CREATE FUNCTION v1_saga(s sagas, met boolean, was text, at double precision)
RETURNS v1_result LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW(met, CASE WHEN was <> s.state THEN 's' || s.name END, nullif(was, ''), s.state, 1,
               s.token, s.name, s.id, s.state, s.fingerprint, s.input, s.journal, NULL,
               s.fence, (s.lease_until > at)::integer, NULL, NULL, NULL,
               s.created_at, s.due_at, s.finished_at, NULL, NULL, NULL)::v1_result
$$;

CREATE FUNCTION v1_begin_saga(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    s sagas;
BEGIN
    SELECT * INTO s FROM sagas o WHERE o.name = c.b AND o.id = c.c;
    IF FOUND THEN
        RETURN v1_saga(s, false, NULL, at);
    END IF;
    INSERT INTO sagas VALUES
        (DEFAULT, c.a, c.b, c.c, c.d, 0, 0, at, at, 0, NULL, c.x, c.y, c.z) RETURNING * INTO s;
    RETURN v1_saga(s, true, '', at);
END $$;

-- `b`: the names, with line ends between them.
CREATE FUNCTION v1_claim_sagas(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY WITH picked AS MATERIALIZED (
        SELECT s.seq FROM sagas s WHERE s.due_at <= at AND s.lease_until <= at
            AND s.name = ANY (string_to_array(c.b, E'\n'))
        ORDER BY s.due_at LIMIT c.f FOR UPDATE SKIP LOCKED
    ), changed AS (
        UPDATE sagas s SET fence = s.fence + 1, lease_until = at + c.n
        FROM picked WHERE s.seq = picked.seq RETURNING s
    )
    SELECT (v1_saga(changed.s, true, NULL, at)).* FROM changed ORDER BY (changed.s).due_at;
END $$;

CREATE FUNCTION v1_next_saga(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    r v1_result := v1_told(true);
BEGIN
    r.f1 := (
        SELECT min(greatest(s.due_at, s.lease_until)) FROM sagas s
        WHERE s.due_at IS NOT NULL AND s.name = ANY (string_to_array(c.b, E'\n'))
    );
    r.f2 := at;
    RETURN r;
END $$;

-- `b`: the states, with line ends between them.
CREATE FUNCTION v1_take_saga(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE plpgsql AS $$
DECLARE
    s sagas;
BEGIN
    UPDATE sagas o SET fence = o.fence + 1, lease_until = at + c.n
        WHERE o.token = c.a AND o.lease_until <= at
            AND o.state = ANY (string_to_array(c.b, E'\n'))
        RETURNING * INTO s;
    IF FOUND THEN
        RETURN NEXT v1_saga(s, true, NULL, at);
    ELSE
        RETURN NEXT v1_told(false);
    END IF;
END $$;

CREATE FUNCTION v1_renew_saga(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sagas s SET lease_until = at + c.n
        WHERE s.token = c.a AND s.fence = c.f AND s.lease_until > 0;
    RETURN v1_told(true, FOUND::integer);
END $$;

-- `i` 1: the claim is given back. `n`: then due in (NULL: not by time); `m`: finished, kept so long.
CREATE FUNCTION v1_update_saga(c v1_call, at double precision)
RETURNS v1_result LANGUAGE plpgsql AS $$
DECLARE
    before sagas;
    r v1_result;
BEGIN
    SELECT * INTO before FROM sagas s
        WHERE s.token = c.a AND s.fence = c.f AND s.lease_until > 0 FOR UPDATE;
    IF NOT FOUND THEN
        RETURN v1_told(false);
    END IF;
    UPDATE sagas s SET state = c.d, journal = c.z,
            lease_until = CASE WHEN c.i = 1 THEN 0 ELSE s.lease_until END,
            -- Without a release: if its owner dies it is due.
            due_at = CASE WHEN c.i = 0 THEN at WHEN c.m IS NULL THEN at + c.n END,
            finished_at = CASE WHEN c.m IS NULL THEN 0 ELSE at END, forget_at = at + c.m
        WHERE s.seq = before.seq;
    r := v1_told(true);
    IF before.state <> c.d THEN
        r.counted := 's' || before.name;
        r.was := before.state;
        r.now := c.d;
        r.weight := 1;
    END IF;
    RETURN r;
END $$;

CREATE FUNCTION v1_get_saga(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE sql AS $$
    SELECT (v1_saga(s, true, NULL, at)).* FROM sagas s WHERE s.token = c.a
    UNION ALL
    SELECT (v1_saga(s, true, NULL, at)).* FROM sagas s WHERE s.name = c.b AND s.id = c.c
$$;

-- `i` 1: the oldest first.
CREATE FUNCTION v1_list_sagas(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE plpgsql AS $$
DECLARE
    kinds text[] := ARRAY(
        SELECT DISTINCT k.name || E'\n' || k.state FROM counts k
        WHERE left(k.name, 1) = 's' AND (c.b IS NULL OR k.name = 's' || c.b)
            AND (c.d IS NULL OR k.state = c.d)
    );
BEGIN
    IF c.i = 1 THEN
        RETURN QUERY SELECT (v1_saga(found.s, true, NULL, at)).*
            FROM unnest(kinds) AS kind CROSS JOIN LATERAL (
                SELECT s FROM sagas s
                WHERE s.name = substr(split_part(kind, E'\n', 1), 2)
                    AND s.state = split_part(kind, E'\n', 2) AND s.created_at < c.n
                ORDER BY s.created_at LIMIT c.f
            ) found ORDER BY (found.s).created_at, (found.s).seq LIMIT c.f;
    ELSE
        RETURN QUERY SELECT (v1_saga(found.s, true, NULL, at)).*
            FROM unnest(kinds) AS kind CROSS JOIN LATERAL (
                SELECT s FROM sagas s
                WHERE s.name = substr(split_part(kind, E'\n', 1), 2)
                    AND s.state = split_part(kind, E'\n', 2) AND s.created_at < c.n
                ORDER BY s.created_at DESC LIMIT c.f
            ) found ORDER BY (found.s).created_at DESC, (found.s).seq DESC LIMIT c.f;
    END IF;
END $$;

CREATE FUNCTION v1_count_sagas(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE sql AS $$
    SELECT true, NULL, NULL, NULL, NULL::integer, substr(k.name, 2), k.state, NULL, NULL,
           NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea,
           sum(k.number)::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
           NULL::double precision, NULL::double precision, NULL::double precision,
           NULL::double precision, NULL::double precision, NULL::integer
    FROM counts k WHERE left(k.name, 1) = 's' GROUP BY k.name, k.state HAVING sum(k.number) <> 0
$$;

-- --- what has expired ---------------------------------------------------------------------------

-- Deletes at most `f` rows of each table; `i1` of the last row says how many it found.
CREATE FUNCTION v1_expire(c v1_call, at double precision)
RETURNS SETOF v1_result LANGUAGE plpgsql AS $$
DECLARE
    gone bigint[];
    found bigint := 0;
    number bigint;
BEGIN
    DELETE FROM keys k WHERE k.ctid = ANY (ARRAY(
        SELECT o.ctid FROM keys o
        WHERE o.expires_at <= at AND NOT (o.state = 0 AND o.lease_until > at)
        ORDER BY o.expires_at LIMIT c.f FOR UPDATE SKIP LOCKED
    ));
    GET DIAGNOSTICS found = ROW_COUNT;
    gone := ARRAY(
        SELECT e.seq FROM entries e WHERE e.state > 2 AND e.forget_at <= at
        ORDER BY e.forget_at LIMIT c.f FOR UPDATE SKIP LOCKED
    );
    DELETE FROM bodies b WHERE b.seq = ANY (gone);
    RETURN QUERY
        WITH deleted AS (DELETE FROM entries e WHERE e.seq = ANY (gone) RETURNING e.queue, e.state)
        SELECT true, 'e' || d.queue, d.state::text, NULL, count(*)::integer,
               NULL, NULL, NULL, NULL, NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea,
               0::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
               NULL::double precision, NULL::double precision, NULL::double precision,
               NULL::double precision, NULL::double precision, NULL::integer
        FROM deleted d GROUP BY d.queue, d.state;
    found := greatest(found, cardinality(gone));
    gone := ARRAY(
        SELECT s.seq FROM sagas s WHERE s.forget_at IS NOT NULL AND s.forget_at <= at
        ORDER BY s.forget_at LIMIT c.f FOR UPDATE SKIP LOCKED
    );
    RETURN QUERY
        WITH deleted AS (DELETE FROM sagas s WHERE s.seq = ANY (gone) RETURNING s.name, s.state)
        SELECT true, 's' || d.name, d.state, NULL, count(*)::integer,
               NULL, NULL, NULL, NULL, NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea,
               0::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
               NULL::double precision, NULL::double precision, NULL::double precision,
               NULL::double precision, NULL::double precision, NULL::integer
        FROM deleted d GROUP BY d.name, d.state;
    RETURN NEXT v1_told(true, greatest(found, cardinality(gone)));
END $$;

-- --- a batch ------------------------------------------------------------------------------------

CREATE FUNCTION v1_do(c v1_call, at double precision, unfinished bigint)
RETURNS SETOF v1_result LANGUAGE plpgsql AS $$
BEGIN
    CASE c.kind
        WHEN 1 THEN RETURN NEXT v1_claim_key(c, at);
        WHEN 2, 3, 4, 5 THEN RETURN NEXT v1_change_key(c, at);
        WHEN 6 THEN RETURN QUERY SELECT * FROM v1_find_keys(c, at);
        WHEN 7 THEN RETURN NEXT v1_free_keys(c, at);
        WHEN 10 THEN RETURN NEXT v1_put(c, at, unfinished);
        WHEN 11 THEN RETURN QUERY SELECT * FROM v1_claim_entries(c, at);
        WHEN 12 THEN RETURN NEXT v1_next_entry(c, at);
        WHEN 13 THEN RETURN NEXT v1_renew_entry(c, at);
        WHEN 14 THEN RETURN NEXT v1_settle(c, at);
        WHEN 15 THEN RETURN NEXT v1_cancel(c, at);
        WHEN 16 THEN RETURN NEXT v1_redrive(c, at);
        WHEN 17 THEN RETURN QUERY SELECT * FROM v1_get_entry(c, at);
        WHEN 18 THEN RETURN QUERY SELECT * FROM v1_list_entries(c, at);
        WHEN 19 THEN RETURN QUERY SELECT * FROM v1_count_entries(c, at);
        WHEN 20 THEN RETURN QUERY SELECT * FROM v1_blocked_lanes(c, at);
        WHEN 30 THEN RETURN NEXT v1_begin_saga(c, at);
        WHEN 31 THEN RETURN QUERY SELECT * FROM v1_claim_sagas(c, at);
        WHEN 32 THEN RETURN NEXT v1_next_saga(c, at);
        WHEN 33 THEN RETURN QUERY SELECT * FROM v1_take_saga(c, at);
        WHEN 34 THEN RETURN NEXT v1_renew_saga(c, at);
        WHEN 35 THEN RETURN NEXT v1_update_saga(c, at);
        WHEN 36 THEN RETURN QUERY SELECT * FROM v1_get_saga(c, at);
        WHEN 37 THEN RETURN QUERY SELECT * FROM v1_list_sagas(c, at);
        WHEN 38 THEN RETURN QUERY SELECT * FROM v1_count_sagas(c, at);
        WHEN 40 THEN RETURN QUERY SELECT * FROM v1_expire(c, at);
    END CASE;
END $$;

-- The advisory locks of all names, in one order. `entry_ids`: also the lanes of these entries.
CREATE FUNCTION v1_lock(names text[], entry_ids text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(o.key) FROM (
        SELECT DISTINCT hashtextextended(current_schema() || ' ' || named.name, 0) AS key FROM (
            SELECT unnest(names)
            UNION ALL
            SELECT 'l' || e.queue || ' ' || e.lane FROM entries e
            WHERE e.id = ANY (entry_ids) AND e.lane <> ''
        ) named (name) ORDER BY key
    ) o;
END $$;

-- A slot of `counts` that no other transaction has.
CREATE FUNCTION v1_slot() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    base bigint := hashtextextended(current_schema() || ' slots', 0);
BEGIN
    FOR slot IN 0..63 LOOP
        IF pg_try_advisory_xact_lock(base + slot) THEN
            RETURN slot;
        END IF;
    END LOOP;
    PERFORM pg_advisory_xact_lock(base);
    RETURN 0;
END $$;

-- Runs the calls of one group. `together`: if the condition of one is not met, all are undone, and the
-- rows end with that one's. `unfinished` are those of each of `queues`, before the group.
CREATE FUNCTION v1_group(
    calls v1_call[], together boolean, at double precision, queues text[], unfinished bigint[]
) RETURNS SETOF v1_result LANGUAGE plpgsql AS $$
DECLARE
    c v1_call;
    r v1_result;
    claimed v1_result;
    done v1_result[] := '{}';
    undone boolean := false;
BEGIN
    IF NOT together THEN
        FOREACH c IN ARRAY calls LOOP
            FOR r IN SELECT * FROM v1_do(c, at, unfinished[array_position(queues, 'e' || c.b)]) LOOP
                r.op := c.op;
                RETURN NEXT r;
            END LOOP;
        END LOOP;
        RETURN;
    END IF;
    BEGIN
        FOREACH c IN ARRAY calls LOOP
            IF c.kind = 3 AND c.f IS NULL THEN  -- finishes the claim of this group
                c.a := claimed.t1;
                c.x := claimed.b1;
                c.y := claimed.b2;
                c.f := claimed.i2;
            END IF;
            FOR r IN SELECT * FROM v1_do(c, at, unfinished[array_position(queues, 'e' || c.b)]) LOOP
                r.op := c.op;
                done := done || r;
                IF c.kind = 1 THEN
                    claimed := r;
                END IF;
                IF NOT r.ok THEN
                    RAISE EXCEPTION SQLSTATE 'RP001';
                END IF;
            END LOOP;
        END LOOP;
    EXCEPTION WHEN SQLSTATE 'RP001' THEN
        undone := true;
    END;
    FOREACH r IN ARRAY done LOOP
        IF undone THEN
            r.counted := NULL;
        END IF;
        RETURN NEXT r;
    END LOOP;
END $$;

-- Runs groups of calls in their order; equal numbers in `groups` are one. `now`: NULL for the
-- server's clock.
CREATE FUNCTION v1_run(
    names text[], entry_ids text[], now double precision, groups integer[], together boolean[],
    ops integer[], kinds integer[], a text[], b text[], c text[], d text[],
    x bytea[], y bytea[], z bytea[], w bytea[], n double precision[], m double precision[],
    f bigint[], i bigint[], j bigint[]
) RETURNS SETOF v1_result LANGUAGE plpgsql
SET search_path FROM CURRENT
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    at double precision := now;
    g record;
    r v1_result;
    limited text;
    queues text[] := '{}';      -- whose unfinished entries are known, and how many
    unfinished bigint[] := '{}';
    place integer;
    mine integer;
    changed text[] := '{}';     -- the changes of counts
    states text[] := '{}';
    numbers integer[] := '{}';
BEGIN
    PERFORM v1_lock(names, entry_ids);
    IF at IS NULL THEN  -- after the wait for the locks
        at := extract(epoch FROM clock_timestamp());
    END IF;
    FOREACH limited IN ARRAY ARRAY(
        SELECT DISTINCT 'e' || u.b FROM unnest(kinds, b, f) AS u (kind, b, f)
        WHERE u.kind = 10 AND u.f > 0
    ) LOOP
        queues := queues || limited;
        unfinished := unfinished || (
            SELECT coalesce(sum(k.number), 0)::bigint FROM counts k
            WHERE k.name = limited AND k.state IN ('0', '1', '2')
        );
    END LOOP;
    FOR g IN
        SELECT array_agg(ROW(u.op, u.kind, u.a, u.b, u.c, u.d, u.x, u.y, u.z, u.w, u.n, u.m, u.f, u.i,
                             u.j)::v1_call ORDER BY u.number) AS calls,
               bool_or(u.together) AS together
        FROM unnest(groups, together, ops, kinds, a, b, c, d, x, y, z, w, n, m, f, i, j)
            WITH ORDINALITY AS u (grp, together, op, kind, a, b, c, d, x, y, z, w, n, m, f, i, j,
                                  number)
        GROUP BY u.grp ORDER BY u.grp
    LOOP
        FOR r IN SELECT * FROM v1_group(g.calls, g.together, at, queues, unfinished) LOOP
            RETURN NEXT r;
            CONTINUE WHEN r.counted IS NULL;
            IF r.was IS NOT NULL THEN
                changed := changed || r.counted;
                states := states || r.was;
                numbers := numbers || -r.weight;
            END IF;
            IF r.now IS NOT NULL THEN
                changed := changed || r.counted;
                states := states || r.now;
                numbers := numbers || r.weight;
            END IF;
            place := array_position(queues, r.counted);
            IF place IS NOT NULL THEN
                unfinished[place] := unfinished[place]
                    - CASE WHEN r.was < '3' THEN r.weight ELSE 0 END
                    + CASE WHEN r.now < '3' THEN r.weight ELSE 0 END;
            END IF;
        END LOOP;
    END LOOP;
    IF cardinality(changed) > 0 THEN
        mine := v1_slot();
        INSERT INTO counts AS k
            SELECT t.name, t.state, mine, sum(t.number)
            FROM unnest(changed, states, numbers) AS t (name, state, number)
            GROUP BY t.name, t.state HAVING sum(t.number) <> 0
            ON CONFLICT (name, state, slot) DO UPDATE SET number = k.number + excluded.number;
    END IF;
END $$;
