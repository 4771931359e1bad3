"""Tables, servers and moments that a newcomer does not think of, on a real PostgreSQL."""

import asyncio

import pytest
from delivery.table_bed import OUTBOX, Bed, config_of
from service_table import ALL_COLUMNS, COLUMNS, MORE, TABLE, ServiceTable

from proxy.delivery.tables.worker import State


@pytest.fixture
def table(postgres_url):
    return ServiceTable(postgres_url, TABLE + MORE)


async def test_columns_of_a_fixed_length_are_written_whole(postgres_url):
    """`character` alone is one character wide."""
    table = ServiceTable(
        postgres_url,
        """
        CREATE TABLE outbox_events (
            id char(36) PRIMARY KEY DEFAULT gen_random_uuid(), aggregate_id char(10),
            payload char(40), status char(12) DEFAULT 'PENDING', error char(20)
        );
        INSERT INTO outbox_events (aggregate_id, payload) VALUES ('a', '{}'), ('a', '{}');
        """,
    )
    columns = {"id": "id", "key": "aggregate_id", "body": "payload", "status": "status"}
    async with Bed(config_of(table.url, columns | {"error": "error"}), answers=[503]) as bed:
        await bed.until(lambda: table.sql("SELECT status FROM outbox_events").split() == [
            "PROCESSED", "PROCESSED"])  # fmt: skip
        assert len(bed.target.sent) == 3
        assert {key for _, key, _ in bed.target.sent} == {"a"}


async def test_rows_of_no_age_hold_up_no_other(table):
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.sql(
            "INSERT INTO outbox_events (aggregate_id, payload, created_at) VALUES"
            " ('a', '{}', 'infinity'), ('b', '{}', '-infinity'), ('c', '{}', now())"
        )
        await bed.all("PROCESSED")
        assert sorted(bed.target.ids) == ["1", "2", "3"]


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_the_databases_isolation_level_changes_nothing(table, level, caplog):
    """A snapshot from before the lock does not show what another proxy has just claimed."""
    name = table.url.rpartition("/")[2]
    table.sql(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{level}'")
    async with Bed(config_of(table.url, COLUMNS), workers=3) as bed:
        for target in bed.targets:
            target.now = bed.target.now
        for _ in range(20):
            await bed.insert("a", "b")
        await bed.all("PROCESSED")
        assert [target.overlaps for target in bed.targets] == [[], [], []]
        sent = sum(len(target.sent) for target in bed.targets)
        assert sent == 40
    assert [one.getMessage() for one in caplog.records] == []


@pytest.mark.parametrize("columns", [COLUMNS, ALL_COLUMNS], ids=["few", "all"])
async def test_a_try_whose_row_another_proxy_has_is_ended(table, columns):
    config = config_of(table.url, columns, "order_by: key")
    async with Bed(config) as bed:
        bed.target.hold = asyncio.Event()
        await bed.sql("INSERT INTO outbox_events (aggregate_id, payload) VALUES ('a', '{}')")
        await bed.until(lambda: bed.target.sent)
        (row,) = bed.worker.hand.rows.values()
        ended = asyncio.Event()
        row.lease.on_end = ended.set
        version = row.version
        bed.renew()
        await bed.until(lambda: row.version != version)
        assert not row.lease.over, "it is renewed"
        await bed.sql("UPDATE outbox_events SET status = 'PROCESSED' WHERE id = 1")
        bed.renew()
        await asyncio.wait_for(ended.wait(), 5)
        bed.target.hold.set()
        await bed.until(lambda: not bed.worker.busy)
        assert bed.target.ids == ["1"]


@pytest.mark.parametrize("columns", [COLUMNS, ALL_COLUMNS], ids=["few", "all"])
async def test_a_waiting_row_whose_claim_was_lost_is_not_sent(table, columns):
    """The service has withdrawn it; or this proxy was paused, and another one has delivered it."""
    outbox = "order_by: key, concurrency: 1"
    config = config_of(table.url, columns, outbox)
    async with Bed(config) as bed:
        bed.target.hold = asyncio.Event()
        await bed.sql(
            "INSERT INTO outbox_events (aggregate_id, payload) VALUES ('a', '{}'), ('b', '{}')"
        )
        await bed.until(lambda: bed.target.sent)
        assert await bed.statuses() == ["PROCESSING", "PROCESSING"]
        await bed.sql("UPDATE outbox_events SET status = 'PROCESSED' WHERE id = 2")
        bed.renew()
        await bed.until(lambda: len(bed.worker.hand.rows) == 1)
        bed.target.hold.set()
        await bed.until(lambda: not bed.worker.busy)
        assert bed.target.ids == ["1"]


async def test_a_table_partitioned_by_its_status(postgres_url):
    table = ServiceTable(
        postgres_url,
        """
        CREATE TABLE outbox_events (
            id bigserial, aggregate_id text, payload jsonb NOT NULL,
            status text NOT NULL DEFAULT 'PENDING', PRIMARY KEY (id, status)
        ) PARTITION BY LIST (status);
        CREATE TABLE done PARTITION OF outbox_events FOR VALUES IN ('PROCESSED');
        CREATE TABLE other PARTITION OF outbox_events DEFAULT;
        """,
    )
    columns = {"id": "id", "key": "aggregate_id", "body": "payload", "status": "status"}
    async with Bed(config_of(table.url, columns)) as bed:
        await bed.insert("a", "a")
        await bed.all("PROCESSED")
        assert bed.target.ids == ["1", "2"]


async def test_a_result_is_kept_while_the_table_is_changed(table):
    """A migration that renames a column, and its proxy that is not told."""
    config = config_of(table.url, COLUMNS)
    async with Bed(config) as bed:
        bed.target.hold = asyncio.Event()
        await bed.insert("a")
        await bed.until(lambda: bed.target.sent)
        await bed.sql("ALTER TABLE outbox_events RENAME retry_count TO tries")
        bed.target.hold.set()
        await bed.until(lambda: bed.worker.state is State.UNUSABLE)
        await bed.sql("ALTER TABLE outbox_events RENAME tries TO retry_count")
        bed.worker._wake.set()
        await bed.all("PROCESSED")
        assert bed.target.ids == ["1"]


SWAPS = pytest.mark.parametrize(
    "swap",
    [f"DROP TABLE outbox_events; {TABLE}", f"ALTER TABLE outbox_events RENAME TO former; {TABLE}"],
    ids=["made again", "renamed"],
)


def times_changed(caplog):
    return [one.getMessage() for one in caplog.records].count(
        "the outbox table has been changed: it is looked at again"
    )


@SWAPS
async def test_a_table_that_was_made_again_is_claimed_by_its_own_lock(table, caplog, swap):
    """Two proxies that lock different tables would have rows of one key at once."""
    async with Bed(config_of(table.url, COLUMNS), workers=2) as bed:
        await bed.insert("a")
        await bed.all("PROCESSED")
        before = sum(len(target.sent) for target in bed.targets)
        await bed.connection.execute(f"BEGIN; {swap} COMMIT")
        oid = await bed.connection.fetchval("SELECT 'outbox_events'::regclass::oid::int")
        await bed.connection.fetch("SELECT pg_advisory_lock($1, $2)", 0x7270_6F74, oid)
        await bed.insert("a", "a", "b")
        await bed.until(lambda: times_changed(caplog) == 2)
        await asyncio.sleep(0.1)
        assert sum(len(target.sent) for target in bed.targets) == before
        await bed.connection.fetch("SELECT pg_advisory_unlock($1, $2)", 0x7270_6F74, oid)
        await bed.all("PROCESSED")
        assert sum(len(target.sent) for target in bed.targets) == before + 3
        assert [one.overlaps for one in bed.targets] == [[], []]
        assert [one.state for one in bed.workers] == [State.READY] * 2
        assert times_changed(caplog) == 2, "told once by each"


async def test_rows_in_hand_of_a_table_that_was_made_again_are_left_alone(table, caplog):
    config = config_of(table.url, COLUMNS, OUTBOX + ", concurrency: 1")
    async with Bed(config) as bed:
        bed.target.hold = asyncio.Event()
        values = "('a', '{}'), ('b', '{}'), ('c', '{}')"
        await bed.sql(f"INSERT INTO outbox_events (aggregate_id, payload) VALUES {values}")
        await bed.until(lambda: bed.target.sent and len(bed.worker.hand.rows) == 3)
        await bed.connection.execute(f"BEGIN; DROP TABLE outbox_events; {TABLE} COMMIT")
        await bed.until(lambda: times_changed(caplog) == 1)
        await bed.insert("d")
        bed.target.hold.set()
        await bed.all("PROCESSED")
        assert [key for _, key, _ in bed.target.sent] == ["a", "d"]
        await bed.until(lambda: not bed.worker.busy)


async def test_a_body_whose_type_changes_is_delivered_as_it_is(table, caplog):
    async with Bed(config_of(table.url, COLUMNS)) as bed:
        await bed.insert("a", body='{"n": 1}')
        await bed.all("PROCESSED")
        change = "ALTER TABLE outbox_events ALTER payload TYPE"
        await bed.sql(f"{change} bytea USING convert_to(payload::text, 'UTF8')")
        as_bytes = "convert_to('{\"n\": 2}', 'UTF8')"
        await bed.sql(f"INSERT INTO outbox_events (aggregate_id, payload) VALUES ('b', {as_bytes})")
        await bed.all("PROCESSED")
        await bed.sql(f"{change} jsonb USING convert_from(payload, 'UTF8')::jsonb")
        await bed.insert("c", body='{"n": 3}')
        await bed.all("PROCESSED")
        assert bed.target.bodies == [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']


async def test_a_table_that_is_away_for_a_while(table, caplog):
    caplog.set_level("INFO")
    async with Bed(config_of(table.url, COLUMNS), workers=2) as bed:
        await bed.ready()
        await bed.sql("ALTER TABLE outbox_events RENAME TO former")
        await bed.until(lambda: all(one.state is State.UNUSABLE for one in bed.workers))
        assert "there is no table outbox_events" in bed.worker.why
        await bed.sql("ALTER TABLE former RENAME TO outbox_events")
        await bed.insert("a")
        for worker in bed.workers:
            worker._wake.set()
        await bed.all("PROCESSED")
        await bed.ready()
        assert "rows of the outbox table are delivered again" in caplog.text


async def test_a_table_that_was_removed_from_the_file_is_left(table):
    config = config_of(table.url, COLUMNS)
    async with Bed(config) as bed:
        bed.target.hold = asyncio.Event()
        await bed.insert("a")
        await bed.until(lambda: bed.target.sent)
        await bed.sql("ALTER TABLE outbox_events RENAME retry_count TO tries")
        bed.worker.retire()
        bed.target.hold.set()
        await bed.until(lambda: not bed.worker.busy)
        bed.worker._wake.set()
        await bed.until(lambda: bed.worker.ended)
