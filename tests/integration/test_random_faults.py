"""Whatever the upstream does: the client sees the whole right body or an honest error."""

import random
import threading
import time
from collections.abc import Callable

import pytest
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.raw_client import BrokenOff, RawClient, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, breaker, route

FAULTS = [
    "503", "502", "500", "reset-before-body", "reset-before-head", "reset-in-head",
    "reset-before-head rst", "malformed", "503 early close", "hang", "close-silently", "close",
    "size=3000 truncate=100", "size=3000 chunked truncate=1500", "size=90000 truncate=70000 rst",
    "size=3000 stall=10", "twice", "idle-close=0.001", "until-close",
]  # fmt: skip
GOOD = ["size={size}", "size={size} chunked", "size={size} chunked pieces=3 interval=0.005"]
HONEST = {500, 502, 503, 504}


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    quick = {"attempt": "150ms", "request": "1s", "idle": "300ms"}
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [
                route("chaos", timeouts=quick),
                route(
                    "crowded",
                    timeouts=quick,
                    circuit_breaker=breaker(calls=10, open_for="30ms", probes=2),
                    bulkhead={"max_concurrent": 3, "max_queue": 3, "queue_timeout": "50ms"},
                ),
            ],
        }
    )


class Caller(threading.Thread):
    """Sends requests on a connection that it keeps as long as it lasts; keeps what is wrong."""

    def __init__(self, proxy: RunningProxy, seed: int, until: float, path: str = "/chaos") -> None:
        super().__init__()
        self.path = path
        self.proxy = proxy
        self.random = random.Random(seed)
        self.until = until
        self.wrong: list[str] = []
        self.whole = self.honest = self.broken = 0

    def run(self) -> None:
        while time.monotonic() < self.until:
            with self.proxy.client() as client:
                try:
                    while time.monotonic() < self.until:
                        self._one(client)
                except (BrokenOff, ConnectionError):
                    self.broken += 1
                except Exception as error:  # noqa: BLE001 - a thread's error belongs in the report
                    self.wrong.append(repr(error))
                    return

    def _one(self, client: RawClient) -> None:
        size = self.random.choice([0, 1, 500, 70_000])
        steps = [self.random.choice(FAULTS) for _ in range(self.random.randint(0, 2))]
        steps.append(self.random.choice(GOOD).format(size=size))
        script = " | ".join(steps)
        method = self.random.choice(["GET", "POST", "PUT"])
        body = None if method == "GET" else pattern(self.random.choice([0, 10, 5000]))
        response = client.request(method, self.path, body=body, chaos=script)
        if response.status in HONEST:
            self.honest += 1
        elif response.status != 200:
            self.wrong.append(f"{script}: {response.status}")
        elif response.body == pattern(size) or response.body == b"ok":
            self.whole += 1
        else:
            self.wrong.append(f"{method} {script}: {len(response.body)} bytes")


@pytest.mark.parametrize("seed", [1, 2])
def test_the_whole_right_body_or_an_honest_error(proxy: RunningProxy, seed: int) -> None:
    until = time.monotonic() + 2.5
    callers = [Caller(proxy, seed * 100 + number, until) for number in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(15)
        assert not caller.is_alive()
    assert [wrong for caller in callers for wrong in caller.wrong] == []
    assert sum(caller.whole for caller in callers) > 50
    eventually(lambda: proxy.in_flight() == 0)
    proxy.assert_sound()


def test_permits_come_back_whatever_happens(proxy: RunningProxy) -> None:
    """Faults, refusals, queues, and clients that leave at any moment, all at once."""
    until = time.monotonic() + 2
    callers: list[threading.Thread] = [Caller(proxy, n, until, "/crowded") for n in range(5)]
    callers += [threading.Thread(target=_leave_early, args=(proxy, n, until)) for n in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(15)
        assert not caller.is_alive()
    eventually(lambda: proxy.in_flight() == 0)
    assert [wrong for one in callers if isinstance(one, Caller) for wrong in one.wrong] == []
    state = proxy.bulkhead("crowded")
    assert (state["in_use"], state["queued"]) == (0, 0)
    proxy.ask("POST", "/circuit-breakers/crowded/reset")
    statuses = [proxy.call("GET", "/crowded", chaos="200").status for _ in range(10)]
    assert statuses == [200] * 10
    proxy.assert_sound()


def _leave_early(proxy: RunningProxy, seed: int, until: float) -> None:
    source = random.Random(seed)
    while time.monotonic() < until:
        client = proxy.client()
        script = source.choice(["hang", "503", "size=100000 pieces=4 interval=0.01", "delay=0.03"])
        client.send(request_bytes("GET", "/crowded", chaos=script))
        time.sleep(source.random() * 0.04)
        client.close() if source.random() < 0.5 else client.reset()


def test_posts_without_a_key_arrive_at_most_once(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    source = random.Random(7)
    faults = [one for one in FAULTS if one != "hang"]
    for number in range(60):
        request_id = f"once-{number}"
        script = f"{source.choice(faults)} | size=5"
        with proxy.client() as client:
            try:
                client.request("POST", "/chaos", body=b"pay", chaos=script, request_id=request_id)
            except (BrokenOff, ConnectionError):
                continue
            finally:
                assert len(shared_chaos.seen(request_id)) <= 1
