"""The webhook's endpoints."""

import asyncio
import io
import json
import time

import pytest
from unit.kubernetes.reviews import annotated, review

from proxy.admin.problems import problems
from proxy.kubernetes import webhook
from proxy.kubernetes.settings import Settings


class Bench:
    ready = True

    def __init__(self):
        self.webhook = webhook.Webhook(Settings(), lambda: self.ready)
        self.application = self.webhook.application()
        self.application.middlewares.append(problems)

    def count(self, result):
        return self.webhook.registry.get_sample_value(
            "proxy_webhook_reviews_total", {"result": result}
        )


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
async def client(bench, aiohttp_client):
    return await aiohttp_client(bench.application)


async def test_a_review_is_answered_and_counted(bench, client):
    answer = await client.post("/inject", json=review())
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert (await answer.json())["response"]["allowed"] is True
    await client.post("/inject", json=review(annotated(inject="disabled")))
    await client.post("/inject", json=review(annotated(legacy="x")))
    await client.post("/inject", data=b"{}")
    counts = [bench.count(r) for r in ("injected", "unchanged", "refused", "malformed")]
    assert counts == [1, 1, 1, 1]


async def test_what_is_no_review_is_a_problem(client):
    answer = await client.post("/inject", data=b"hello")
    assert answer.status == 400
    assert answer.content_type == "application/problem+json"
    assert "not JSON" in (await answer.json())["detail"]


async def test_too_much_is_a_problem(client):
    answer = await client.post("/inject", data=io.BytesIO(b" " * (webhook.MAX_BODY + 1)))
    assert answer.status == 413
    assert (await answer.json())["status"] == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/inject", 405), ("POST", "/", 405), ("GET", "/status", 404), ("GET", "/", 200)],
)
async def test_other_endpoints(client, method, path, status):
    assert (await client.request(method, path)).status == status


async def test_health(bench, client):
    assert (await client.get("/health/live")).status == 200
    assert (await client.get("/health/ready")).status == 200
    bench.ready = False
    assert (await client.get("/health/ready")).status == 503
    assert (await client.get("/health/live")).status == 200


async def test_metrics(client):
    text = await (await client.get("/metrics")).text()
    assert 'proxy_webhook_reviews_total{result="refused"} 0.0' in text
    assert "proxy_webhook_review_duration_seconds_bucket" in text
    assert "proxy_build_info" in text


async def test_a_bug_is_no_answer(client, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(webhook, "review", fail)
    answer = await client.post("/inject", data=json.dumps(review()))
    assert answer.status == 500, "the API server goes by failurePolicy then"


# --- bounds -------------------------------------------------------------------------------------


async def test_a_body_that_does_not_come_whole_ends(client, monkeypatch):
    monkeypatch.setattr(webhook, "BODY_WITHIN", 0.05)

    async def half():
        yield b"{"
        await asyncio.sleep(0.3)

    answer = await client.post("/inject", data=half())
    assert answer.status == 408
    assert "did not arrive completely" in (await answer.json())["detail"]


async def test_a_small_review_waits_for_no_large_one(client, monkeypatch):
    monkeypatch.setattr(webhook, "BODY_WITHIN", 5)
    ended = asyncio.Event()

    async def slow():
        yield b"{"
        await ended.wait()

    sizes = {"Content-Length": str(3 * 2**20)}
    slow_ones = [
        asyncio.create_task(client.post("/inject", data=slow(), headers=sizes)) for _ in range(5)
    ]
    await asyncio.sleep(0.05)
    answer = await client.post("/inject", json=review())
    assert (await answer.json())["response"]["allowed"]
    assert not any(one.done() for one in slow_ones)
    ended.set()
    await asyncio.gather(*slow_ones, return_exceptions=True)


async def test_large_reviews_leave_half_of_the_time(monkeypatch):
    """An object of 100,000 values takes a tenth of a second."""
    hook = webhook.Webhook(Settings(), lambda: True)
    monkeypatch.setattr(hook, "_review", lambda body: time.sleep(0.01))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(hook._large_review(b"{}") for _ in range(5)))
    assert loop.time() - began >= 5 * (0.01 + 0.01)


async def test_bodies_are_read_while_there_is_room():
    room = webhook.Room(10)
    first, second, third = room.take(6), room.take(6), room.take(1)
    await first.__aenter__()
    waiting = asyncio.create_task(second.__aenter__())
    behind = asyncio.create_task(third.__aenter__())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not behind.done(), "first come, first served"
    await first.__aexit__(None, None, None)
    await asyncio.gather(waiting, behind)
    await second.__aexit__(None, None, None)
    await third.__aexit__(None, None, None)
    async with room.take(10):
        pass


async def test_all_who_give_up_at_once_take_no_room():
    room = webhook.Room(10)
    read = asyncio.Event()

    async def body(size):
        async with room.take(size):
            await read.wait()

    bodies = [asyncio.create_task(body(5)) for _ in range(10)]
    await asyncio.sleep(0)
    for one in bodies:
        one.cancel()
    ended = await asyncio.gather(*bodies, return_exceptions=True)
    assert {type(one) for one in ended} == {asyncio.CancelledError}
    read.set()
    async with asyncio.timeout(1):
        await body(10)


async def test_who_gives_up_waiting_takes_no_room():
    room = webhook.Room(10)
    async with room.take(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), room.take(5):
                pass
    async with room.take(10):
        pass
