"""A learned limit in whole exchanges: what teaches it, and the answer beyond it."""

import pytest
from exchange.wires import request

TEXT = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
routes:
  - name: shop
    upstream: shop
    retry: {attempts: 1}
    bulkhead: {limit: gradient, min: 2, max_concurrent: 40}
    timeouts: {attempt: 100s, request: 200s, idle: 100s}
"""


@pytest.fixture
def shop(make_stage):
    return make_stage(TEXT)


def window(stage, seconds, body_seconds=0.0, leave=False):
    """As many at once as fit, twice; each gets its head after so many seconds."""
    for _ in range(2):
        count = stage.bulkhead().limit if stage.records else 20
        clients = [stage.ask(request()) for _ in range(count)]
        while stage.connects:
            stage.accept()
        asked = [server for server in stage.servers if server.received()]
        assert len(asked) == count
        stage.pass_time(seconds)
        if leave:
            for client in clients:
                client.reset()
            continue
        for server in asked:
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx")
        stage.pass_time(body_seconds)
        for server in asked:
            server.send(b"y")
        stage.pass_time(0.6)


def test_beyond_it_a_request_is_refused(shop):
    clients = [shop.ask(request()) for _ in range(20)]
    answer = shop.ask(request()).answer()
    assert (answer.status, answer.reason, answer.get("retry-after")) == (
        503, "concurrency-limited", "1",
    )  # fmt: skip
    assert b"20 requests at once" in answer.body
    assert len(clients) == 20


def test_the_time_to_the_head_teaches_it_and_long_bodies_do_not(shop):
    for _ in range(8):
        window(shop, 0.5)
    risen = shop.bulkhead().limit
    assert risen > 20
    for _ in range(4):
        window(shop, 0.5, body_seconds=30.0)
    assert shop.bulkhead().limit >= risen
    window(shop, 2.5)
    assert shop.bulkhead().limit < risen


def test_clients_that_leave_teach_nothing(shop):
    for _ in range(8):
        window(shop, 0.5)
    risen = shop.bulkhead().limit
    for _ in range(5):
        window(shop, 50.0, leave=True)
    assert shop.bulkhead().limit == risen
    assert shop.bulkhead().in_use == 0
