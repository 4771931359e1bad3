"""Rows of a service's own table on a real PostgreSQL: order, claims, and what is written."""

import asyncio
from contextlib import asynccontextmanager
from time import monotonic

import asyncpg
import pytest
from delivery.table_bed import Bed, config_of
from service_table import ALL_COLUMNS, COLUMNS, MORE, TABLE, ServiceTable

from proxy.delivery.stored_request import TryResult
from proxy.delivery.tables.session import Session, Unreachable
from proxy.delivery.tables.worker import State

KEEP_ERRORS = """
CREATE TABLE errors (id serial, error text);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO errors (error) VALUES (NEW.error_message); RETURN NULL; END $$;
CREATE TRIGGER keep AFTER UPDATE ON outbox_events FOR EACH ROW
    WHEN (NEW.error_message IS DISTINCT FROM OLD.error_message AND NEW.error_message IS NOT NULL)
    EXECUTE FUNCTION keep();
"""
"""What a row says only until its next try is written to a table of its own."""

BOTH = pytest.mark.parametrize("columns", [COLUMNS, ALL_COLUMNS], ids=["few", "all"])


@pytest.fixture
def table(postgres_url):
    return ServiceTable(postgres_url, TABLE + MORE)


@BOTH
async def test_a_row_is_delivered_and_finished(table, columns):
    async with Bed(config_of(table.url, columns)) as bed:
        await bed.insert("o-1", body='{"total": 1}')
        await bed.all("PROCESSED")
        assert bed.target.sent == [("1", "o-1", 1)]
        assert await bed.column("retry_count") == 1
        assert await bed.column("processed_at IS NOT NULL AND error_message IS NULL")


@BOTH
async def test_a_failed_row_is_tried_again_and_says_why(table, columns):
    told = TryResult(0, "attempt-timeout", "No answer within 5s.")
    table.sql(KEEP_ERRORS)
    async with Bed(config_of(table.url, columns), answers=[503, told]) as bed:
        await bed.insert("o-1")
        await bed.all("PROCESSED")
        assert [attempt for _, _, attempt in bed.target.sent] == [1, 2, 3]
        assert len(set(bed.target.keys)) == 1
        errors = [row["error"] for row in await bed.sql("SELECT error FROM errors ORDER BY id")]
        assert errors == ["status 503", "attempt-timeout: No answer within 5s."]


@BOTH
async def test_a_row_without_hope_is_dead(table, columns):
    async with Bed(config_of(table.url, columns, attempts=2), answers=[400, 503, 503]) as bed:
        await bed.insert("a", "b")
        await bed.all("DEAD_LETTER")
        assert await bed.column("error_message", 1) == "status 400"
        assert await bed.column("error_message", 2) == "status 503 (attempts spent)"
        assert [await bed.column("retry_count", row) for row in (1, 2)] == [1, 2]
        assert bed.worker.hand.outcomes == {"dead": 2, "again": 1}


async def test_rows_of_a_key_are_delivered_one_at_a_time_in_their_order(table):
    async with Bed(config_of(table.url, COLUMNS), workers=2, answers=[503] * 3) as bed:
        await bed.insert(*("abc"[number % 3] for number in range(30)))
        await bed.all("PROCESSED")
        for target in bed.targets:
            assert target.overlaps == []
        rows = await bed.sql(
            "SELECT aggregate_id, array_agg(id ORDER BY processed_at, id) AS ids "
            "FROM outbox_events GROUP BY 1"
        )
        for row in rows:
            assert row["ids"] == sorted(row["ids"])


async def test_no_two_proxies_have_a_row_or_a_key_at_once(table):
    config = config_of(table.url, COLUMNS)
    async with Bed(config, workers=3) as bed:
        hold = asyncio.Event()
        for target in bed.targets:
            target.hold = hold
        await bed.insert(*"abcd" * 5)
        await bed.until(lambda: sum(len(one.sent) for one in bed.targets) == 4)
        await asyncio.sleep(0.1)
        sent = [key for target in bed.targets for _, key, _ in target.sent]
        assert sorted(sent) == ["a", "b", "c", "d"]
        hold.set()
        await bed.all("PROCESSED")
        ids = [row for target in bed.targets for row in target.ids]
        assert sorted(map(int, ids)) == list(range(1, 21))


async def test_a_row_that_is_committed_later_is_not_overtaken(table):
    """Its transaction had begun to write before the later row's, and is still open."""
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.ready()
        other = await asyncpg.connect(table.url)
        late = other.transaction()
        await late.start()
        await other.execute("INSERT INTO outbox_events (aggregate_id, payload) VALUES ('a', '{}')")
        await bed.insert("a")
        await bed.until(lambda: bed.worker.counts.get("PENDING", {}).get("held") == 1)
        assert bed.target.sent == []
        await late.commit()
        await other.close()
        await bed.all("PROCESSED")
        assert bed.target.ids == ["1", "2"]


async def test_rows_without_a_key_have_no_order_and_wait_for_nobody(table):
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.ready()
        other = await asyncpg.connect(table.url)
        async with other.transaction():
            await other.execute("INSERT INTO outbox_events (payload) VALUES ('{}')")
            await bed.insert(None, None)
            await bed.until(lambda: len(bed.target.sent) == 2)
        await other.close()
        await bed.all("PROCESSED")


async def test_a_waiting_head_blocks_its_lane_alone(table):
    outbox = "order_by: key, backoff: {initial: 1h, max: 1h, jitter: none}"
    async with Bed(config_of(table.url, COLUMNS, outbox), answers=[503]) as bed:
        await bed.insert("a")
        await bed.until(lambda: len(bed.target.sent) == 1)
        await bed.insert("a", "b")
        await bed.until(lambda: "3" in bed.target.ids)
        await bed.until(lambda: not bed.worker.busy)
        assert bed.target.ids == ["1", "3"]
        await bed.sql("UPDATE outbox_events SET status = 'PENDING' WHERE id = 1")
        await bed.all("PROCESSED")
        assert bed.target.ids == ["1", "3", "1", "2"]


@BOTH
async def test_a_row_of_a_dead_worker_is_taken_back(table, columns):
    """Without the column `claimed` too: then a row is watched."""
    async with Bed(config_of(table.url, columns, reclaim="200ms")) as bed:
        began = asyncio.get_running_loop().time()
        await bed.sql(
            "INSERT INTO outbox_events (aggregate_id, payload, status, claimed_at)"
            " VALUES ('a', '{}', 'PROCESSING', now())"
        )
        await bed.insert("a")
        await bed.all("PROCESSED")
        assert bed.target.ids == ["1", "2"]
        assert bed.target.times[0] - began >= 0.2


@BOTH
async def test_a_try_that_lasts_keeps_its_claim(table, columns):
    config = config_of(table.url, columns, reclaim="900ms")
    async with Bed(config, workers=2) as bed:
        hold = asyncio.Event()
        for target in bed.targets:
            target.hold = hold
        await bed.insert("a")
        await bed.until(lambda: any(target.sent for target in bed.targets))
        versions = set()

        async def renewed_four_times():
            versions.add(await bed.column("xmin::text"))
            return len(versions) == 5

        await bed.until(renewed_four_times)  # every 300 ms: for longer than `reclaim`
        assert sum(len(target.sent) for target in bed.targets) == 1
        hold.set()
        await bed.all("PROCESSED")


async def test_nothing_is_written_over_a_claim_that_was_lost(table):
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        bed.target.hold = asyncio.Event()
        await bed.insert("a")
        await bed.until(lambda: bed.target.sent)
        await bed.sql("UPDATE outbox_events SET status = 'PROCESSING', error_message = 'mine'")
        bed.target.hold.set()
        await bed.until(lambda: not bed.worker.busy)
        assert await bed.statuses() == ["PROCESSING"]
        assert await bed.column("error_message") == "mine"


async def test_refusals_spend_no_attempt_and_give_all_back(table):
    refused = TryResult(503, "circuit-open", "", retry_after=30.0, sent=False, postponed=True)
    outbox = "order_by: key, concurrency: 1"
    async with Bed(config_of(table.url, COLUMNS, outbox), answers=[refused]) as bed:
        await bed.insert("a", "b")
        await bed.until(lambda: bed.target.sent)
        await bed.until(lambda: not bed.worker.busy)
        assert await bed.statuses() == ["PENDING", "PENDING"]
        assert await bed.column("retry_count") == 0
        hand = bed.worker.hand
        assert 20.0 < hand.paused_until - monotonic() <= 30.0
        hand.paused_until = 0.0
        bed.worker._wake.set()
        await bed.all("PROCESSED")
        assert await bed.column("retry_count") == 1


async def test_on_dead_block_stops_the_lane(table):
    outbox = "order_by: key, on_dead: block"
    async with Bed(config_of(table.url, COLUMNS, outbox), answers=[400]) as bed:
        await bed.insert("a", "a", "b")

        async def others_are_done():
            return await bed.statuses() == ["DEAD_LETTER", "PENDING", "PROCESSED"]

        await bed.until(others_are_done)
        await asyncio.sleep(0.1)
        assert "2" not in bed.target.ids
        await bed.sql("UPDATE outbox_events SET status = 'PENDING' WHERE id = 1")
        await bed.all("PROCESSED")
        assert bed.target.ids[-2:] == ["1", "2"]


async def test_a_notification_ends_the_wait(table):
    text = config_of(table.url, COLUMNS, more="notify: Events")
    slow = type(text)(**{f: getattr(text, f) for f in text.__slots__} | {"poll": 60.0})
    async with Bed(slow) as bed:
        await bed.ready()
        await asyncio.sleep(0.1)
        await bed.insert("a")
        await asyncio.sleep(0.1)
        assert bed.target.sent == []
        await bed.sql("""NOTIFY "Events" """)
        await bed.all("PROCESSED")


async def test_a_due_time_of_the_service_is_kept(table):
    async with Bed(config_of(table.url, ALL_COLUMNS)) as bed:
        began = asyncio.get_running_loop().time()
        await bed.sql(
            "INSERT INTO outbox_events (payload, next_at)"
            " VALUES ('{}', now() + interval '300 milliseconds')"
        )
        await bed.all("PROCESSED")
        assert bed.target.times[0] - began >= 0.3


async def test_an_old_row_is_dead_after_its_first_failure(table):
    outbox = "max_age: 1h, backoff: {initial: 10ms, multiplier: 1}"
    async with Bed(config_of(table.url, COLUMNS, outbox), answers=[503]) as bed:
        await bed.sql(
            "INSERT INTO outbox_events (payload, created_at)"
            " VALUES ('{}', now() - interval '2 hours')"
        )
        await bed.all("DEAD_LETTER")
        assert await bed.column("error_message") == "status 503 (max_age spent)"


async def test_only_select_and_update_on_the_table_are_needed(table):
    table.sql(
        "DROP ROLE IF EXISTS relay_tables; CREATE ROLE relay_tables LOGIN;"
        "REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO relay_tables;"
        "GRANT SELECT, UPDATE ON outbox_events TO relay_tables"
    )
    try:
        url = table.url.replace("postgres@", "relay_tables@")
        async with Bed(config_of(url, ALL_COLUMNS), answers=[503]) as bed:
            table.insert("a")
            await bed.until(lambda: table.states() == ["PROCESSED"])
            assert len(bed.target.sent) == 2
    finally:
        table.sql("DROP OWNED BY relay_tables; DROP ROLE relay_tables")


async def test_names_and_values_are_quoted(postgres_url):
    ServiceTable(
        postgres_url,
        """
        CREATE SCHEMA "My Shop";
        CREATE TYPE "My Shop"."the ""State"" " AS ENUM ('it''s new', 'taken', 'ok', 'bad', 'gone');
        CREATE TABLE "My Shop"."Out""box" (
            "Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "select" text, "from" bytea,
            "Status" "My Shop"."the ""State"" " NOT NULL DEFAULT 'it''s new'
        );
        INSERT INTO "My Shop"."Out""box" ("select", "from") VALUES ('k', '\\x00ff'), ('k', NULL);
        """,
    )
    columns = {"id": "Id", "key": "select", "body": "from", "status": "Status"}
    states = "states: {pending: it's new, delivering: taken, done: ok, failed: bad, dead: gone}"
    config = config_of(postgres_url, columns, table="""'My Shop.Out"box'""", more=states)
    async with Bed(config, answers=[503]) as bed:

        async def done():
            rows = await bed.sql("""SELECT "Status"::text AS s FROM "My Shop"."Out""box" """)
            return all(row["s"] == "ok" for row in rows)

        await bed.until(done)
        assert len(bed.target.sent) == 3


@pytest.mark.parametrize(
    ("ddl", "told"),
    [
        ("DROP TABLE outbox_events", "there is no table outbox_events in database test_"),
        (
            "ALTER TABLE outbox_events DROP retry_count",
            "the table outbox_events in database test_{} has no column 'retry_count' "
            "(columns.attempts)",
        ),
        (
            "ALTER TABLE outbox_events ALTER retry_count DROP DEFAULT, ALTER retry_count TYPE text",
            "column 'retry_count' of outbox_events in database test_{} has the type text and "
            "needs integer (columns.attempts)",
        ),
        (
            "ALTER TABLE outbox_events DROP CONSTRAINT outbox_events_pkey",
            "needs a primary key or a unique index (columns.id)",
        ),
        (
            "ALTER TABLE outbox_events ALTER status TYPE varchar(10)",
            "takes 10 characters, and 'DEAD_LETTER' has more (states.dead)",
        ),
        (
            "CREATE TYPE st AS ENUM ('PENDING'); ALTER TABLE outbox_events ALTER status DROP "
            "DEFAULT, ALTER status TYPE st USING status::st",
            "is the enum st without the value 'PROCESSING' (states.delivering)",
        ),
        (
            "ALTER TABLE outbox_events RENAME TO t; CREATE VIEW outbox_events AS SELECT * FROM t",
            "is a view; rows can only be claimed in a table",
        ),
        (
            "ALTER TABLE outbox_events ALTER payload DROP DEFAULT, ALTER payload TYPE xml "
            "USING '<a/>'::xml",
            "column 'payload' of outbox_events in database test_{} has the type xml and needs json",
        ),
    ],
)
async def test_a_table_that_cannot_be_used_is_named(table, ddl, told):
    table.sql(ddl)
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.until(lambda: bed.worker.state is State.UNUSABLE)
        name = table.url.rpartition("_")[2]
        number = table.url.rpartition("test_")[2]
        assert name
        assert told.format(number) in bed.worker.why


async def test_missing_rights_are_named(table):
    table.sql("DROP ROLE IF EXISTS reader_tables; CREATE ROLE reader_tables LOGIN")
    try:
        url = table.url.replace("postgres@", "reader_tables@")
        async with Bed(config_of(url, COLUMNS)) as bed:
            grant = "GRANT SELECT, UPDATE ON outbox_events"
            await bed.until(lambda: bed.worker.state is State.UNUSABLE)
            assert bed.worker.why == f"reader_tables may not read it: {grant}"
        table.sql("GRANT SELECT ON outbox_events TO reader_tables")
        async with Bed(config_of(url, COLUMNS)) as bed:
            await bed.until(lambda: bed.worker.state is State.UNUSABLE)
            assert bed.worker.why == f"reader_tables may not write its column 'status': {grant}"
    finally:
        table.sql("DROP OWNED BY reader_tables; DROP ROLE reader_tables")


async def test_a_value_that_the_table_refuses_is_told(table):
    table.sql("ALTER TABLE outbox_events ADD CHECK (status <> 'PROCESSING')")
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.insert("a")
        await bed.until(lambda: bed.worker.state is State.UNUSABLE)
        assert "violates check constraint" in bed.worker.why
        assert bed.target.sent == []


async def test_a_connection_that_ends_is_opened_again(table, shared_postgres):
    """Until then the database takes no other, so that the worker stays without one."""
    server, name = shared_postgres.server, table.url.rpartition("/")[2]
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        bed.target.hold = asyncio.Event()
        await bed.insert("a")
        await bed.until(lambda: bed.target.sent)
        server.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await bed.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'resilience-proxy' AND datname = current_database()"
        )
        await bed.until(lambda: bed.worker.state is State.UNREACHABLE)
        bed.target.hold.set()
        await bed.until(lambda: bed.worker.hand.finished)
        assert await bed.statuses() == ["PROCESSING"]
        server.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        bed.worker._wake.set()
        await bed.all("PROCESSED")
        assert bed.worker.state is State.READY
        assert bed.target.ids == ["1"], "its result was kept until the database was back"


async def test_a_large_body_is_never_read(table):
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.sql("INSERT INTO outbox_events (payload) VALUES (to_jsonb(repeat('x', 2000000)))")
        await bed.all("DEAD_LETTER")
        assert "more than 1048576" in await bed.column("error_message")
        assert bed.target.sent == []


async def test_a_long_lane_does_not_slow_claims_down(table):
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.sql(
            "INSERT INTO outbox_events (aggregate_id, payload)"
            " SELECT 'a', '{}' FROM generate_series(1, 20000)"
        )
        await bed.until(lambda: len(bed.target.sent) > 20)
        assert bed.target.ids == [str(number + 1) for number in range(len(bed.target.sent))]


async def test_rows_behind_many_that_wait_are_found(table):
    outbox = "order_by: key, backoff: {initial: 1h, max: 1h, jitter: none}"
    async with Bed(config_of(table.url, COLUMNS, outbox), answers=[503]) as bed:
        await bed.sql(
            "INSERT INTO outbox_events (aggregate_id, payload, created_at)"
            " SELECT 'a', '{}', now() - interval '1 minute' FROM generate_series(1, 3000)"
        )
        await bed.until(lambda: len(bed.target.sent) == 1)
        await bed.insert("b")
        await bed.until(lambda: ("3001", "b", 1) in bed.target.sent)
        assert bed.target.ids == ["1", "3001"]


async def test_a_locked_row_holds_up_no_other(table):
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        bed.target.hold = asyncio.Event()
        await bed.insert("a", "b")
        await bed.until(lambda: len(bed.target.sent) == 2)
        other = await asyncpg.connect(table.url)
        async with other.transaction():
            await other.fetch("SELECT id FROM outbox_events WHERE id = 1 FOR UPDATE")
            bed.target.hold.set()

            async def done():
                return await bed.statuses() == ["PROCESSING", "PROCESSED"]

            await bed.until(done)
        await other.close()
        await bed.all("PROCESSED")
        assert bed.target.ids == ["1", "2"]


async def test_a_commit_whose_answer_is_lost_costs_no_reclaim(table, monkeypatch):
    """The claim is there, and its answer is not: its rows are taken again at once."""
    real = Session.transaction
    lost = []

    @asynccontextmanager
    async def transaction(self):
        async with real(self):
            yield
        sent = await self.rows(
            "SELECT count(*) AS n FROM outbox_events WHERE status = 'PROCESSING'"
        )
        if sent[0]["n"] and not lost:
            lost.append(True)
            raise Unreachable("the answer was lost")

    monkeypatch.setattr(Session, "transaction", transaction)
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.insert("a", "a")
        await bed.all("PROCESSED")
        assert lost
        assert bed.target.ids == ["1", "2"]
