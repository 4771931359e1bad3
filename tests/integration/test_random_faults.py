"""Whatever the upstream does: the client sees the whole right body or an honest error.

For minutes instead of seconds: ``make chaos``.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.bad_clients import bad_clients, held_against_the_upstream, with_calm_route
from chaos.random_faults import Caller, run_callers, settings
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.raw_client import BrokenOff, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings

FAULTS = [
    "503", "reset-before-body", "reset-before-head", "reset-in-head", "reset-before-head rst",
    "malformed", "503 early close", "size=3000 truncate=100", "size=3000 chunked truncate=1500",
    "size=90000 truncate=70000 rst", "size=3000 stall=10", "twice", "until-close", "cut=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy(settings(shared_chaos.url))


def _judge(proxy: RunningProxy, callers: list[Caller]) -> None:
    assert [wrong for caller in callers for wrong in caller.wrong] == []
    seen = sum((caller.seen for caller in callers), Counter[str]())
    # Each happened; how often is a matter of how busy the machine is.
    assert all(seen[what] for what in ("whole", "honest", "broken off")), seen
    eventually(lambda: proxy.in_flight() == 0)
    proxy.assert_sound()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_the_whole_right_body_or_an_honest_error(proxy: RunningProxy, seed: int) -> None:
    _judge(proxy, run_callers(proxy, seed, 2.5))


@pytest.mark.long
def test_over_tls_and_connections_that_end_as_they_are_accepted(
    start_chaos: Callable[..., ChaosUpstream],
    start_proxy: Callable[..., RunningProxy],
    tmp_path: Path,
) -> None:
    (tmp_path / "pki").mkdir()
    pki = Pki(tmp_path / "pki")
    chaos = start_chaos(tls=pki.server())
    chaos.greeting, chaos.greet_every = "rst", 7
    proxy = start_proxy(settings(chaos.url, ca=pki.ca))
    _judge(proxy, run_callers(proxy, 3, 2.0))


@pytest.mark.long
def test_while_the_upstream_restarts(
    start_chaos: Callable[..., ChaosUpstream], start_proxy: Callable[..., RunningProxy]
) -> None:
    chaos = start_chaos()
    proxy = start_proxy(settings(chaos.url))
    over = threading.Event()

    def restart() -> None:
        while not over.wait(0.3):
            chaos.pause(rst=True)
            time.sleep(0.05)
            chaos.resume()

    restarting = threading.Thread(target=restart)
    restarting.start()
    try:
        callers = run_callers(proxy, 4, 1.5)
    finally:
        over.set()
        restarting.join(5)
    _judge(proxy, callers)


@pytest.mark.long
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


def test_what_clients_do_is_held_against_no_upstream(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    proxy = start_proxy(with_calm_route(settings(shared_chaos.url), shared_chaos.url))
    clients = bad_clients(proxy, seed=1, seconds=1.2, number=8)
    for client in clients:
        client.join(15)
        assert not client.is_alive()
    assert [wrong for client in clients for wrong in client.wrong] == []
    assert len(sum((client.seen for client in clients), Counter[str]())) > 5, "ways to misbehave"
    assert held_against_the_upstream(proxy) == []
    eventually(lambda: proxy.in_flight() == 0)
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
    for number in range(60):
        request_id = f"once-{number}"
        script = f"{source.choice(FAULTS)} | size=5"
        with proxy.client() as client:
            try:
                client.request("POST", "/chaos", body=b"pay", chaos=script, request_id=request_id)
            except (BrokenOff, ConnectionError):
                continue
            finally:
                assert len(shared_chaos.seen(request_id)) <= 1
