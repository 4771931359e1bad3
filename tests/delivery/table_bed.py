"""One or more workers of a real PostgreSQL table, whose rows go to a target that a test scripts."""

import asyncio
from collections import deque

import asyncpg
from service_table import COUNTED

from proxy.config.loading import load_text
from proxy.delivery.stored_request import TryResult
from proxy.delivery.tables.targets import key_of
from proxy.delivery.tables.worker import State, TableWorker
from proxy.policies.outbox import judge

FILE = """
upstreams: {{shop: {{endpoints: ["http://127.0.0.1:1"]}}}}
outbox_tables:
  events:
    url: {url}
    table: {table}
    columns: {{{columns}}}
    poll: 20ms
    reclaim: {reclaim}
    {more}
    to: {{upstream: shop, path: /events}}
    outbox: {{{outbox}}}
"""
OUTBOX = "order_by: key, backoff: {initial: 10ms, multiplier: 1, jitter: none}"


def config_of(
    url, columns, outbox=OUTBOX, *, table="outbox_events", reclaim="5m", more="", attempts=0
):
    told = ", ".join(f"{use}: {name}" for use, name in columns.items())
    if attempts:
        outbox = f"{outbox}, attempts: {attempts}"
    text = FILE.format(
        url=url, table=table, columns=told, outbox=outbox, reclaim=reclaim, more=more
    )
    return load_text(text, "f.yaml", {}).config.outbox_tables["events"]


class Target:
    """Answers each row with what `answers` holds, then with 200, when `hold` is set or None.

    `sent` has the rows as (id, key, attempt), `times` when that was, by the loop's clock; `bodies`
    what was in them; `keys` their idempotency keys; `overlaps` those sent beside one of their key.
    """

    def __init__(self, config, answers=()):
        self.config = config
        self.answers = deque(answers)
        self.hold = None
        self.sent = []
        self.times = []
        self.bodies = []
        self.keys = []
        self.now = []
        self.overlaps = []
        self.tasks = set()

    def send(self, row, shape, on_done):
        self.sent.append((row.id, row.key, row.attempts + 1))
        self.times.append(asyncio.get_running_loop().time())
        self.bodies.append(row.body)
        self.keys.append(key_of(shape, row.id))
        if row.key is not None and row.key in self.now:
            self.overlaps.append(row.id)
        self.now.append(row.key)
        task = asyncio.get_running_loop().create_task(self.answer(row, on_done))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, row, on_done):
        answer = self.answers.popleft() if self.answers else 200
        if self.hold is not None:
            await self.hold.wait()
        else:
            await asyncio.sleep(0)
        self.now.remove(row.key)
        result = answer if isinstance(answer, TryResult) else TryResult(answer)
        dead_on = self.config.outbox.dead_on
        fate = judge(
            dead_on,
            result.status,
            reason=result.reason,
            retry_after=result.retry_after,
            postponed=result.postponed,
        )
        on_done(result, fate)

    def cut(self):
        if self.hold is not None:
            self.hold.set()

    @property
    def ids(self):
        return [row for row, _, _ in self.sent]


class Bed:
    """Workers on a table. `connection` is the service's own."""

    def __init__(self, config, *, workers=1, answers=()):
        self.config = config
        self.targets = [Target(config, answers if at == 0 else ()) for at in range(workers)]
        self.workers = [TableWorker(config, config.url, target, 1 << 20) for target in self.targets]

    @property
    def target(self):
        return self.targets[0]

    @property
    def worker(self):
        return self.workers[0]

    async def __aenter__(self):
        self.connection = await asyncpg.connect(self.config.url)
        for worker in self.workers:
            worker.start()
        return self

    async def __aexit__(self, *_):
        for worker in self.workers:
            await worker.stop()
        await self.connection.close()

    async def sql(self, statement, *values):
        return await self.connection.fetch(statement, *values)

    async def insert(self, *keys, body="{}"):
        for key in keys:
            await self.sql(
                "INSERT INTO outbox_events (aggregate_id, payload) VALUES ($1, $2)", key, body
            )

    async def column(self, name, row=1):
        return await self.connection.fetchval(
            f"SELECT {name} FROM outbox_events WHERE id = $1", row
        )

    async def statuses(self):
        rows = await self.sql("SELECT status FROM outbox_events ORDER BY id")
        return [row["status"] for row in rows]

    async def until(self, condition):
        end = asyncio.get_running_loop().time() + COUNTED
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            assert asyncio.get_running_loop().time() < end, self.told()
            await asyncio.sleep(0.01)

    async def all(self, *statuses):
        """Until every row has one of these."""

        async def there():
            return all(one in statuses for one in await self.statuses())

        await self.until(there)

    def renew(self):
        """What the workers have is renewed now, and not after a third of `reclaim`."""
        for worker in self.workers:
            worker._renew_at = 0.0
            worker._wake.set()

    async def ready(self):
        await self.until(lambda: all(one.state is State.READY for one in self.workers))

    def told(self):
        pairs = zip(self.workers, self.targets, strict=True)
        return [(one.state, one.why, target.sent) for one, target in pairs]
