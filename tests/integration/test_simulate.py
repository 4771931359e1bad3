"""Held to truth: a log of the real command, played against the file that it ran with."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route

from proxy.config.loading import Origin, load
from proxy.simulation.recorded import Recording, read_log
from proxy.simulation.tally import Tally, tally, told_by
from proxy.simulation.world import play

CALLERS = 12


@pytest.fixture
def urls(start_chaos: Callable[..., ChaosUpstream]) -> list[str]:
    return [start_chaos().url for _ in range(3)]


def _script(chance: random.Random) -> str:
    """What the attempts of one request come to."""
    return " | ".join(_step(chance) for _ in range(3))


def _step(chance: random.Random) -> str:
    if chance.random() < 0.05:
        return "reset-before-head"
    status = 503 if chance.random() < 0.15 else 200
    return f"{status} delay={min(0.2, chance.expovariate(150)):.4f}"


def _settings(urls: list[str]) -> Settings:
    policy = {
        "timeouts": {"connect": "20ms", "attempt": "50ms", "request": "400ms"},
        "retry": {
            "on": ["connect-failure", "reset", "timeout", "gateway-error"],
            "budget": {"ratio": "50%", "min_per_second": 100},
        },
        "circuit_breaker": {"mode": "off"},
        "rate_limits": [{"name": "all", "key": "route", "rate": "150/s", "burst": 30}],
    }
    return {
        "access_log": {"requests": "all", "format": "json"},
        "upstreams": {"shop": {"endpoints": urls}},
        "policies": {"default": policy},
        "routes": [
            route("read", "shop", match={"methods": ["GET"]}),
            route("write", "shop", match={"methods": ["POST"]}),
        ],
    }


def _with(urls: list[str], policy: Settings, **route_keys: Any) -> Settings:
    """One route to one upstream under this policy, without a circuit breaker."""
    default = {"circuit_breaker": {"mode": "off"}, **policy}
    return {
        "access_log": {"requests": "all", "format": "json"},
        "upstreams": {"shop": {"endpoints": urls[:2]}, "spare": {"endpoints": urls[2:]}},
        "policies": {"default": default},
        "routes": [route("read", "shop", match={"prefix": "/"}, **route_keys)],
    }


def _many_parts(urls: list[str]) -> dict[str, Settings]:
    wide = {"budget": {"ratio": "50%", "min_per_second": 100}}
    queue = {"max_concurrent": 6, "max_queue": 6, "queue_timeout": "50ms"}
    by_user = {"name": "user", "key": "header:x-user", "rate": "20/s", "burst": 5}
    faults = [{"share": "10%", "delay": "20ms"}, {"share": "5%", "abort": 503}]
    split = _with(urls, {"retry": wide})
    split["routes"][0]["upstream"] = {"shop": 80, "spare": 20}
    return {
        "queue": _with(urls, {"retry": wide, "bulkhead": queue}),
        "limit by header": _with(urls, {"retry": wide, "rate_limits": [by_user]}),
        "faults": _with(urls, {"retry": wide, "faults": faults}),
        "fallback": _with(
            urls, {"retry": {"attempts": 1}}, fallback={"when": [503], "upstream": "spare"}
        ),
        "split": split,
        "hedges": _with(urls, {"retry": wide, "hedge": {"delay": "50ms"}}),
    }


PARTS = ["queue", "limit by header", "faults", "fallback", "split", "hedges"]


def _refusing(urls: list[str]) -> dict[str, Settings]:
    """What refuses hundreds of requests because of one event, if its clients never pause."""
    breaker = {
        "mode": "enforce",
        "window": {"type": "count", "size": 20},
        "minimum_calls": 10,
        "open_for": {"initial": "300ms"},
        "half_open": {"calls": 2},
    }
    seconds = {"window": {"type": "time", "size": "2s"}, "counts": "requests"}
    queue = {"max_concurrent": 4, "max_queue": 4, "queue_timeout": "15ms"}
    outliers = {"consecutive_failures": 5, "eject_for": {"initial": "1s"}}
    ejection = _with(urls, {})
    ejection["upstreams"]["shop"] = {"endpoints": urls, "outlier_detection": outliers}
    spare = {"when": ["circuit-open", 503], "upstream": "spare"}
    return {
        "breaker": _with(urls, {"circuit_breaker": breaker}),
        "breaker by time": _with(urls, {"circuit_breaker": breaker | seconds}),
        "breaker by endpoint": _with(urls, {"circuit_breaker": breaker | {"scope": "endpoint"}}),
        "bulkhead": _with(urls, {"bulkhead": {"max_concurrent": 6}}),
        "queue": _with(urls, {"bulkhead": queue}),
        "ejection": ejection,
        "breaker and queue": _with(urls, {"circuit_breaker": breaker, "bulkhead": queue}),
        "breaker and fallback": _with(urls, {"circuit_breaker": breaker}, fallback=spare),
    }


REFUSING = [
    "breaker",
    "breaker by time",
    "breaker by endpoint",
    "bulkhead",
    "queue",
    "ejection",
    "breaker and queue",
    "breaker and fallback",
]


def _call(proxy: RunningProxy, seed: int, requests: int, *, pauses: bool = True) -> None:
    """Without pauses, most attempts of the middle third fail."""
    chance = random.Random(seed)
    connection = HTTPConnection("127.0.0.1", proxy.outbound, timeout=5)
    for number in range(requests):
        if pauses:
            time.sleep(chance.expovariate(100))
        try:
            method = "POST" if chance.random() < 0.4 else "GET"
            outage = not pauses and requests < 3 * number < 2 * requests
            script = "503 | 503 | 503" if outage and chance.random() < 0.9 else _script(chance)
            fields = {"X-Chaos": script, "X-User": str(number % 7)}
            if number % 4 and method == "POST":
                fields["Idempotency-Key"] = f"{seed}-{number}"
            connection.request(method, f"/{seed}/{number}", headers=fields)
            connection.getresponse().read()
        except (OSError, HTTPException):
            connection.close()
    connection.close()


def _recorded(proxy: RunningProxy, requests: int, *, pauses: bool = True) -> Recording:
    callers = [
        threading.Thread(target=_call, args=(proxy, seed, requests), kwargs={"pauses": pauses})
        for seed in range(CALLERS)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    eventually(lambda: len(proxy.log_lines()) >= CALLERS * requests)
    return read_log(proxy.output.splitlines())


def _both(proxy: RunningProxy, requests: int, *, pauses: bool = True) -> tuple[Tally, Tally]:
    recording = _recorded(proxy, requests, pauses=pauses)
    world = play(load(Origin((proxy.file,)), {}).config, recording, seed=1)
    since, seconds = recording.requests[0].at, recording.seconds
    log = tally("log", seconds, (told_by(one, since) for one in recording.requests))
    return log, tally("played", seconds, world.told)


def _apart(log: Tally, played: Tally) -> dict[str, float]:
    """By route and count: how far apart the two are, as a share of the route's requests."""
    found = {}
    for name, recorded in log.routes.items():
        simulated = played.routes[name]
        assert simulated.requests == recorded.requests
        for what in ("answered", "failed", "limited", "retries", "attempts"):
            apart = abs(getattr(simulated, what) - getattr(recorded, what))
            found[f"{name} {what}"] = apart / recorded.requests
        for what in ("reasons", "load"):
            counts: Counter[str] = Counter(getattr(simulated, what))
            counts.subtract(getattr(recorded, what))
            most = max((abs(n) for n in counts.values()), default=0)
            found[f"{name} {what}"] = most / recorded.requests
    return found


def test_a_small_log(start_proxy: Callable[[Settings], RunningProxy], urls: list[str]) -> None:
    log, played = _both(start_proxy(_settings(urls)), 60)
    assert set(log.routes) == {"read", "write"}
    assert max(_apart(log, played).values()) < 0.06, _apart(log, played)


@pytest.mark.alone
@pytest.mark.long
def test_the_same_file_gives_the_same_counts(
    start_proxy: Callable[[Settings], RunningProxy], urls: list[str]
) -> None:
    log, played = _both(start_proxy(_settings(urls)), 1500)
    apart = {what: share for what, share in _apart(log, played).items() if "load" not in what}
    assert max(apart.values()) < 0.02, apart


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize("part", PARTS)
def test_each_part_gives_the_same_counts(
    start_proxy: Callable[[Settings], RunningProxy], urls: list[str], part: str
) -> None:
    log, played = _both(start_proxy(_many_parts(urls)[part]), 200)
    assert max(_apart(log, played).values()) < 0.03, _apart(log, played)


@pytest.mark.alone
@pytest.mark.long
@pytest.mark.parametrize("part", REFUSING)
def test_clients_that_never_pause_give_the_same_counts(
    start_proxy: Callable[[Settings], RunningProxy], urls: list[str], part: str
) -> None:
    log, played = _both(start_proxy(_refusing(urls)[part]), 250, pauses=False)
    assert max(_apart(log, played).values()) < 0.02, _apart(log, played)


@pytest.mark.long
def test_the_command(
    start_proxy: Callable[[Settings], RunningProxy], urls: list[str], tmp_path: Path
) -> None:
    from proxy.cli import main

    proxy = start_proxy(_settings(urls))
    _recorded(proxy, 5)
    log = tmp_path / "access.log"
    log.write_text(proxy.output)
    assert main(["simulate", "--log", str(log), "--config", str(proxy.file)]) == 0
