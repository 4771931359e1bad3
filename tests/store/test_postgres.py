"""What only a store on PostgreSQL has: a server that goes and comes back, and other replicas."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from postgres import Server
from postgres import run_sql as sql
from service_table import Session
from store.test_entries import PUT
from store.test_keys import ASK
from store.test_sagas import BEGIN

from proxy.errors import StoreFailed
from proxy.store.operations import (
    ClaimEntries,
    ClaimKey,
    ClaimSagas,
    CountEntries,
    FinishKey,
    GetEntry,
    Put,
    RenewEntries,
    Settle,
)
from proxy.store.postgres.connection import PostgresConfig
from proxy.store.postgres.engine import PostgresStore
from proxy.store.records import EntryState, KeyState
from proxy.store.store import CannotOpen, StoreState

Open = Callable[..., Awaitable[PostgresStore]]


@pytest.fixture
async def open_one() -> AsyncIterator[Open]:
    opened: list[PostgresStore] = []

    async def open_it(url: str, **settings: object) -> PostgresStore:
        store = PostgresStore(replace(PostgresConfig(url, "it"), **settings))
        opened.append(store)
        await store.open(0.0)
        return store

    yield open_it
    for store in opened:
        await store.close()


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


# --- the schema -------------------------------------------------------------------------------


async def test_replicas_that_start_at_once_make_the_schema_once(
    postgres_url: str, open_one: Open
) -> None:
    stores = await asyncio.gather(*(open_one(postgres_url) for _ in range(4)))
    assert all(store.state is StoreState.OPEN for store in stores)
    assert await stores[0].do(PUT) is None
    assert await stores[3].do(GetEntry("a")) is not None


async def test_a_schema_of_a_newer_version_is_refused(postgres_url: str, open_one: Open) -> None:
    store = await open_one(postgres_url)
    await store.close()
    sql(postgres_url, "UPDATE resilience_proxy.version SET number = 99")
    with pytest.raises(CannotOpen, match=r"has version 99, and this proxy knows .* up to 1"):
        await open_one(postgres_url)


async def test_tables_of_others_are_left_alone(postgres_url: str, open_one: Open) -> None:
    sql(postgres_url, "CREATE SCHEMA resilience_proxy CREATE TABLE users (name text)")
    with pytest.raises(CannotOpen, match="has tables of another application"):
        await open_one(postgres_url)


async def test_two_stores_in_one_database_do_not_meet(postgres_url: str, open_one: Open) -> None:
    one, other = [await open_one(postgres_url, schema=name) for name in ("one", "other")]
    await one.do(PUT)
    assert await other.do(GetEntry("a")) is None
    assert await other.do(PUT) is None


async def test_an_existing_schema_is_all_the_rights_it_needs(
    postgres_url: str, open_one: Open
) -> None:
    role = "r" + postgres_url.rpartition("/")[2]
    sql(postgres_url, f"CREATE ROLE {role} LOGIN; CREATE SCHEMA promises AUTHORIZATION {role}")
    mine = postgres_url.replace("postgres@", f"{role}@")
    try:
        with pytest.raises(CannotOpen, match=r"permission denied for database .* \(42501\)"):
            await open_one(mine)
        store = await open_one(mine, schema="promises")
        assert await store.do(PUT) is None
        await store.close()
    finally:
        sql(postgres_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


# --- a server that cannot be used -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda url: url + "_none", "does not exist"),
        (lambda url: url.replace("postgres@", "nobody_here@"), "does not exist"),
    ],
    ids=["database", "role"],
)
async def test_a_mistake_in_the_url_ends_the_start(
    postgres_url: str, open_one: Open, change: Callable[[str], str], why: str
) -> None:
    with pytest.raises(CannotOpen, match=rf"the store it cannot be used: .*{why}"):
        await open_one(change(postgres_url))


async def test_a_server_that_is_away_at_the_start_is_used_when_it_is_there(
    own_postgres: Server, open_one: Open
) -> None:
    own_postgres.stop()
    store = await open_one(own_postgres.url())
    assert store.state is StoreState.OPENING
    assert "cannot be reached" in store.failure
    with pytest.raises(StoreFailed, match="cannot be used"):
        await store.do(PUT)
    own_postgres.start()
    await until(lambda: store.state is StoreState.OPEN)
    assert store.failure == ""
    assert await store.do(PUT) is None


async def test_it_is_closed_at_once_while_its_server_is_away(
    own_postgres: Server, open_one: Open
) -> None:
    own_postgres.stop()
    store = await open_one(own_postgres.url())
    await asyncio.sleep(0.3)  # some attempts: the wait for the next one grows
    async with asyncio.timeout(1.0):
        await store.close()


@pytest.mark.parametrize("how", ["stop", "kill", "end_sessions"])
async def test_a_server_that_restarts_is_used_again(
    own_postgres: Server, open_one: Open, how: str
) -> None:
    heard: list[int] = []
    store = await open_one(own_postgres.url())
    await store.do(PUT)
    if how == "end_sessions":
        own_postgres.end_sessions("postgres")
    else:
        getattr(own_postgres, how)()
        await until(lambda: store.failure != "")
        assert "was lost" in store.failure or "cannot be reached" in store.failure
        with pytest.raises(StoreFailed):
            await store.do(replace(PUT, id="b"))
        own_postgres.start()
    store.watch(lambda: heard.append(1))
    await until(lambda: bool(heard) and store.state is StoreState.OPEN)
    assert await store.do(replace(PUT, id="c")) is None
    assert await store.do(GetEntry("a")) is not None


@pytest.mark.parametrize("signal", ["stop", "kill"])
async def test_what_was_told_is_kept_by_a_server_that_ends_under_load(
    own_postgres: Server, open_one: Open, signal: str
) -> None:
    store = await open_one(own_postgres.url())
    told: list[str] = []
    unknown: list[str] = []

    async def client(number: int) -> None:
        for turn in range(100_000):
            name = f"{number}-{turn}"
            try:
                await store.do(replace(PUT, id=name, lane=str(number)))
            except StoreFailed:
                unknown.append(name)
                return
            told.append(name)

    clients = [asyncio.create_task(client(number)) for number in range(16)]
    await until(lambda: len(told) > 100)
    await asyncio.to_thread(getattr(own_postgres, signal))
    await asyncio.gather(*clients)
    own_postgres.start()
    await until(lambda: store.state is StoreState.OPEN)
    there = set(own_postgres.sql("SELECT id FROM resilience_proxy.entries").splitlines())
    assert set(told) <= there
    assert there <= {*told, *unknown}
    counted = await counts(store)
    assert counted == {EntryState.PENDING: len(there)}


async def counts(store: PostgresStore) -> dict[EntryState, int]:
    """The first answer: a connection to the former server may not have noticed its end yet."""
    async with asyncio.timeout(30):
        while True:
            try:
                return (await store.do(CountEntries()))["orders"].counts
            except StoreFailed:
                await asyncio.sleep(0.01)


async def test_a_server_that_hangs_is_given_up_in_time(
    own_postgres: Server, open_one: Open
) -> None:
    store = await open_one(own_postgres.url(), timeout=0.3)
    await store.do(PUT)
    own_postgres.freeze()
    try:
        with pytest.raises(StoreFailed, match="does not answer in time"):
            await store.do(replace(PUT, id="b"))
    finally:
        own_postgres.thaw()
    await until(lambda: store.state is StoreState.OPEN)


async def test_a_standby_takes_no_promises(own_postgres: Server, open_one: Open) -> None:
    """As after a failover to the wrong side."""
    store = await open_one(own_postgres.url())
    own_postgres.stop()
    (own_postgres.data / "standby.signal").touch()
    own_postgres.start()
    await until(lambda: "standby" in store.failure)
    with pytest.raises(StoreFailed, match="it is a standby, which takes no writes"):
        await store.do(PUT)


async def test_a_server_that_takes_no_writes_for_a_while(postgres_url: str, open_one: Open) -> None:
    store = await open_one(postgres_url)
    await store.do(PUT)
    database = postgres_url.rpartition("/")[2]
    sql(postgres_url, f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    sql(postgres_url, END_OTHERS)
    await until(lambda: "takes no writes" in store.failure)
    sql(
        postgres_url,
        "SET default_transaction_read_only = off;"
        f" ALTER DATABASE {database} RESET default_transaction_read_only",
    )
    await until(lambda: store.state is StoreState.OPEN)
    assert await store.do(replace(PUT, id="b")) is None


END_OTHERS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def test_commits_that_the_server_may_lose_are_told(
    own_postgres: Server, open_one: Open, caplog: pytest.LogCaptureFixture
) -> None:
    await open_one(own_postgres.url())
    assert "off (fsync)" in caplog.text
    own_postgres.sql("ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()")


# --- replicas ---------------------------------------------------------------------------------


async def test_it_knows_the_servers_time(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.store.postgres.server_clock.time", lambda: 12345.0)
    store = PostgresStore(PostgresConfig(postgres_url, postgres_url))
    assert abs(store.now() - 12345.0) < 1, "as long as the server has said nothing"
    await store.open(0.0)
    assert abs(store.now() - time.time()) < 1
    store._committer.clock.learn(time.time() - 60, time.monotonic())
    assert abs(store.now() - time.time() + 60) < 1
    await store.do(ClaimEntries({"none": 1}, 30.0))
    assert abs(store.now() - time.time()) < 1, "it is told with each look for work"
    await store.close()


async def test_a_key_is_claimed_by_one_of_many(postgres_url: str, open_one: Open) -> None:
    stores = [await open_one(postgres_url) for _ in range(3)]
    asks = [replace(ASK, key=bytes([n % 20]) * 32) for n in range(60)]
    found = await asyncio.gather(
        *(stores[n // 20].do(ask) for n, ask in enumerate(asks)),
        *(store.do(ask) for store in stores for ask in reversed(asks[:20])),
    )
    claimed = [record.ref.key for record in found if record.claimed]
    assert sorted(claimed) == sorted({ask.key for ask in asks})


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@pytest.mark.parametrize("way", ["direct", "pooled"])
async def test_the_databases_isolation_level_changes_nothing(
    request: pytest.FixtureRequest, postgres_url: str, open_one: Open, level: str, way: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    sql(postgres_url, f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{level}'")
    url = request.getfixturevalue("pooled_url") if way == "pooled" else postgres_url
    stores = [await open_one(url, connections=2) for _ in range(2)]
    for number in range(40):
        ask = replace(ASK, key=b"%032d" % number)
        told = await asyncio.gather(*(store.do(ask) for store in stores))
        assert sorted(record.claimed for record in told) == [False, True]


@pytest.mark.parametrize("way", ["direct", "pooled"])
async def test_what_took_too_long_was_not_done(
    request: pytest.FixtureRequest, postgres_url: str, open_one: Open, way: str
) -> None:
    """The server would go on with it, and commit a claim that nobody works on."""
    url = request.getfixturevalue("pooled_url") if way == "pooled" else postgres_url
    store = await open_one(url, timeout=1.0)
    session = Session(postgres_url)
    try:
        session.run("BEGIN; LOCK TABLE resilience_proxy.keys;")
        with pytest.raises(StoreFailed, match="did nothing"):
            await store.do(ASK)
        session.run("ROLLBACK;")
    finally:
        session.close()
    assert store.state is StoreState.OPEN
    assert (await store.do(ASK)).claimed


async def test_an_answer_of_one_replica_is_anothers(postgres_url: str, open_one: Open) -> None:
    one, other = [await open_one(postgres_url) for _ in range(2)]
    claim = await one.do(ASK)
    assert (await other.do(ASK)).state is KeyState.IN_FLIGHT
    assert await one.do(FinishKey(claim.ref, 200, b"answer"))
    assert (await other.do(ASK)).response == b"answer"


async def test_a_claim_of_a_replica_that_died_is_taken_over(
    postgres_url: str, open_one: Open
) -> None:
    one, other = [await open_one(postgres_url) for _ in range(2)]
    await one.do(PUT)
    await one.do(BEGIN)
    (old,) = (await one.do(ClaimEntries({"orders": 5}, 0.3))).entries
    (saga,) = (await one.do(ClaimSagas(["order"], 5, 0.3))).sagas
    await one.close()
    told = await other.do(ClaimEntries({"orders": 5}, 30.0))
    assert told.entries == []
    assert told.next_due_at is not None
    assert 0 < told.next_due_at - told.now <= 0.3
    await asyncio.sleep(told.next_due_at - told.now)
    (new,) = (await other.do(ClaimEntries({"orders": 5}, 30.0))).entries
    assert (new.id, new.fence) == (old.id, old.fence + 1)
    assert await other.do(RenewEntries([old.ref], 30.0)) == [old.ref]
    assert not await other.do(Settle(old.ref, EntryState.DEAD, 1, b""))
    (taken,) = (await other.do(ClaimSagas(["order"], 5, 30.0))).sagas
    assert taken.fence == saga.fence + 1


async def test_lanes_stay_in_order_however_many_deliver(postgres_url: str, open_one: Open) -> None:
    """Each claim and settle of three replicas at once, while three others accept."""
    stores = [await open_one(postgres_url) for _ in range(3)]
    lanes, each = 7, 12
    order: dict[str, list[int]] = {str(lane): [] for lane in range(lanes)}
    running: set[str] = set()

    async def accept(store: PostgresStore, lane: str) -> None:
        for number in range(each):
            await store.do(Put(f"{lane}-{number}", "q", b"", b"", lane=lane))

    async def deliver(store: PostgresStore) -> None:
        while sum(map(len, order.values())) < lanes * each:
            for entry in (await store.do(ClaimEntries({"q": 3}, 30.0))).entries:
                assert entry.lane not in running, "two of a lane at once"
                running.add(entry.lane)
                await asyncio.sleep(0)
                order[entry.lane].append(int(entry.id.partition("-")[2]))
                running.remove(entry.lane)
                assert await store.do(Settle(entry.ref, EntryState.DELIVERED, 1, b"", keep=60.0))

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for number, lane in enumerate(order):
            tasks.create_task(accept(stores[number % 3], lane))
        for store in stores * 2:
            tasks.create_task(deliver(store))
    assert order == {lane: list(range(each)) for lane in order}
    counts = (await stores[0].do(CountEntries()))["q"].counts
    assert counts == {EntryState.DELIVERED: lanes * each}


async def test_names_in_any_order_do_not_block_each_other(
    postgres_url: str, open_one: Open
) -> None:
    """Batches of several connections with the same keys and lanes, in opposite orders."""
    stores = [await open_one(postgres_url, connections=4) for _ in range(2)]
    asks: list[ClaimKey | Put] = []
    for number in range(40):
        asks.append(replace(ASK, key=bytes([number % 8]) * 32, route=str(number)))
        asks.append(replace(PUT, id=str(number), lane=str(number % 5)))
    before = [store.stats.refused_failed for store in stores]
    await asyncio.gather(
        *(stores[0].do(ask) for ask in asks),
        *(stores[1].do(ask) for ask in reversed(asks)),
    )
    assert [store.stats.refused_failed for store in stores] == before


async def test_behind_a_pooler_nothing_is_kept_in_the_session(
    pooled_url: str, open_one: Open
) -> None:
    """Six connections share three server processes, which change with each transaction."""
    stores = await asyncio.gather(*(open_one(pooled_url) for _ in range(3)))
    puts = [replace(PUT, id=str(number), lane=str(number % 9)) for number in range(90)]
    for turn in range(3):
        some = puts[turn::3]
        told = await asyncio.gather(*(stores[n % 3].do(put) for n, put in enumerate(some)))
        assert told == [None] * 30
    claimed: list[str] = []
    while len(claimed) < 90:
        found = await asyncio.gather(
            *(store.do(ClaimEntries({"orders": 5}, 30.0)) for store in stores)
        )
        entries = [entry for one in found for entry in one.entries]
        claimed += [entry.id for entry in entries]
        settles = (Settle(one.ref, EntryState.DELIVERED, 1, b"", keep=60.0) for one in entries)
        assert all(await asyncio.gather(*map(stores[0].do, settles)))
    assert sorted(claimed, key=int) == [str(number) for number in range(90)]


async def test_a_lane_may_have_any_value(postgres_url: str, open_one: Open) -> None:
    store = await open_one(postgres_url)
    for number, lane in enumerate(["\0", "'; DROP TABLE entries; --", "ä\n", "x" * 3000]):
        assert await store.do(replace(PUT, id=str(number), lane=lane)) is None
    assert len((await store.do(ClaimEntries({"orders": 9}, 30.0))).entries) == 4


# --- what is imported -------------------------------------------------------------------------

OPEN = (
    "import sys{before}\nfrom proxy.config.loading import load_text\n"
    "from proxy.store.opening import make_store\n"
    "make_store(load_text(\"store: {{url: '{url}'}}\", 'f', {{}}).config.store)\n"
    "print(sorted({{'asyncpg', 'sqlite3'}} & sys.modules.keys()))"
)


def loaded(url: str, before: str = "") -> "subprocess.CompletedProcess[str]":
    code = OPEN.format(url=url, before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_an_engine_is_imported_only_where_a_file_names_it() -> None:
    assert loaded("postgresql://h/d").stdout == "['asyncpg']\n"
    assert loaded("sqlite:/s.db").stdout == "['sqlite3']\n"


def test_without_asyncpg_it_says_what_to_install() -> None:
    ran = loaded("postgresql://h/d", before="; sys.modules['asyncpg'] = None")
    assert "pip install 'resilience-proxy[postgres]'" in ran.stderr
