"""``python -m tests.bench.order_load``: does one dependency in trouble get more load, or less?

The order service of config/examples/order-service.yaml places 50 orders a second, with a sidecar at
each side of every call: the service's own, and one in front of each dependency. Inventory answers
every second request with 503. Exit status 1 where a dependency gets more than 1.3 requests for each
one that the service makes, or an order is left without an answer. Played twice: as the example is,
where the breaker opens, and with a breaker that only observes, where the retry budget alone holds
the load.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from aiohttp import web

from .process import Process, free_port

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "examples" / "order-service.yaml"
MAY_MULTIPLY = 1.3
_READY_WITHIN = 15.0
_STEPS = {
    "inventory": "/api/inventory/deduct",
    "payment": "/api/payments/process",
    "shipping": "/api/shipping/create",
}

_ADDRESSES = """\
listeners:
  outbound: {{address: "127.0.0.1:{outbound}"}}
  inbound: {{address: "127.0.0.1:{inbound}"}}
admin: {{address: "127.0.0.1:{admin}"}}
drain: {{delay: 0s, timeout: 2s}}
"""
_APP = """\
upstreams:
  app: {{endpoints: ["http://127.0.0.1:{port}"]}}
"""


@dataclass
class Dependency:
    """One of the three; of `share` of its requests it answers 503. It counts what arrives."""

    name: str
    share: float
    port: int = field(default_factory=free_port)
    arrived: int = 0
    failed: int = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.arrived += 1
        if self.failed < self.share * self.arrived:
            self.failed += 1
            return web.json_response({"status": "FAILED"}, status=503)
        await asyncio.sleep(0.005)
        return web.json_response({"status": "OK"})


@dataclass(frozen=True)
class Outcome:
    """Requests at each dependency, by its name, and how the orders ended, by their step."""

    orders: int
    asked: Counter[str]
    arrived: dict[str, int]
    endings: Counter[str]

    def multiplied(self, name: str) -> float:
        """Requests that a dependency got for each one that the service made of it."""
        return self.arrived[name] / max(1, self.asked[name])


@dataclass
class Sidecars:
    """Where the order service sends its calls, and every sidecar's admin port."""

    outbound: int
    admins: list[int]


@contextmanager
def _sidecars(directory: Path, dependencies: list[Dependency], breaker: str) -> Iterator[Sidecars]:
    """One in front of each dependency, with nothing configured, and the order service's own."""
    made = Sidecars(free_port(), [])
    with ExitStack() as running:
        urls = {}
        for one in dependencies:
            inbound = free_port()
            text = _addresses(made, inbound=inbound) + _APP.format(port=one.port)
            running.enter_context(_start(directory, one.name, text))
            urls[f"{one.name.upper()}_URL"] = f"http://127.0.0.1:{inbound}"
        text = EXAMPLE.read_text()
        keys = "\n    circuit_breaker:\n"
        if keys not in text:
            raise RuntimeError(f"{EXAMPLE} has another circuit breaker than this knows")
        text = text.replace(keys, f"{keys}      mode: {breaker}\n")
        text = _addresses(made, outbound=made.outbound) + text
        running.enter_context(_start(directory, "orders", text, urls))
        yield made


def _addresses(made: Sidecars, **given: int) -> str:
    ports = {name: free_port() for name in ("outbound", "inbound", "admin")} | given
    made.admins.append(ports["admin"])
    return _ADDRESSES.format(**ports)


def _start(directory: Path, name: str, text: str, env: dict[str, str] | None = None) -> Process:
    file = directory / f"{name}.yaml"
    file.write_text(text)
    argv = [sys.executable, "-P", "-m", "proxy", "run", "--config", str(file)]
    return Process(name, argv, core=0, log=directory / f"{name}.log", env=env)


async def _play(
    sidecars: Sidecars, dependencies: list[Dependency], rate: float, seconds: float
) -> Outcome:
    """Orders at an even pace, whether or not earlier ones have ended."""
    asked: Counter[str] = Counter()
    endings: Counter[str] = Counter()
    runners = [await _serve(one) for one in dependencies]
    connector = aiohttp.TCPConnector(limit=0)
    base = f"http://127.0.0.1:{sidecars.outbound}"
    async with aiohttp.ClientSession(base, connector=connector) as session:
        await _wait_until_ready(session, sidecars.admins)
        started = time.monotonic()
        orders = round(rate * seconds)
        async with asyncio.TaskGroup() as group:
            for number in range(orders):
                await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
                group.create_task(_order(session, number, asked, endings))
    for runner in runners:
        await runner.cleanup()
    arrived = {one.name: one.arrived for one in dependencies}
    return Outcome(orders, asked, arrived, endings)


async def _serve(one: Dependency) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", one.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", one.port).start()
    return runner


async def _wait_until_ready(session: aiohttp.ClientSession, admins: list[int]) -> None:
    """Until every sidecar says that it is; a call too early would be a breaker's first failure."""
    end = time.monotonic() + _READY_WITHIN
    for port in admins:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/health/ready") as answer:
                    if answer.status == 200:
                        break
            if time.monotonic() > end:
                raise RuntimeError(f"not ready within {_READY_WITHIN} s: port {port}")
            await asyncio.sleep(0.05)


async def _order(
    session: aiohttp.ClientSession, number: int, asked: Counter[str], endings: Counter[str]
) -> None:
    """Reserve, pay, ship; the first step that fails ends it."""
    for step, path in _STEPS.items():
        asked[step] += 1
        try:
            async with session.post(
                path, headers={"X-Idempotency-Key": f"order-{number}"}, json={"order": number}
            ) as answer:
                await answer.read()
                if answer.status != 200:
                    endings[f"{step} {answer.status}"] += 1
                    return
        except aiohttp.ClientError as problem:
            endings[f"{step} no answer: {problem!r}"] += 1
            return
    endings["placed"] += 1


def complaints(found: Outcome) -> list[str]:
    wrong = []
    for name in _STEPS:
        if found.multiplied(name) > MAY_MULTIPLY:
            wrong.append(f"{name} got {found.multiplied(name):.2f} requests for each one made")
    wrong += [f"{count} x {what}" for what, count in found.endings.items() if "no answer" in what]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.order_load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="default: 60")
    parser.add_argument("--rate", type=float, default=50.0, help="orders a second; default: 50")
    parser.add_argument("--share", type=float, default=0.5, help="of failures; default: 0.5")
    parser.add_argument("--of", default="inventory", choices=list(_STEPS), help="who fails")
    options = parser.parse_args()
    wrong = []
    for breaker in ("enforce", "observe"):
        found = play(breaker, options)
        print(f"{found.orders} orders, {options.of} fails {options.share:.0%}, breaker: {breaker}")
        for name in _STEPS:
            print(
                f"  {name:<10} asked {found.asked[name]:6}, arrived {found.arrived[name]:6}"
                f"  × {found.multiplied(name):.2f}"
            )
        for ending, count in found.endings.most_common():
            print(f"  {count:6} {ending}", flush=True)
        wrong += [f"breaker {breaker}: {complaint}" for complaint in complaints(found)]
    for complaint in wrong:
        print(f"BROKEN  {complaint}")
    return 1 if wrong else 0


def play(breaker: str, options: argparse.Namespace) -> Outcome:
    """All of it once, with fresh sidecars."""
    dependencies = [
        Dependency(name, options.share if name == options.of else 0.0) for name in _STEPS
    ]
    with (
        TemporaryDirectory(prefix="proxy-orders-") as name,
        _sidecars(Path(name), dependencies, breaker) as sidecars,
    ):
        return asyncio.run(_play(sidecars, dependencies, options.rate, options.seconds))


if __name__ == "__main__":
    sys.exit(main())
