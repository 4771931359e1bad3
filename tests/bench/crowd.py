"""``python -m tests.bench.crowd``: 10,000 hostile connections of six kinds beside one client.

The crowd (`hostile`) runs in processes of its own for a minute, through the inbound listener with
nothing configured, and through nginx in the same run. Exit status 1 where the normal client lacks
an answer, its p99 is above twice nginx's and 20 ms, the process takes more than 150 MiB, or
``/health/live`` more than a second.
"""

import argparse
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .bed import LOAD_CORE, PEER_CORE
from .check import wait_until_right
from .hostile import CROWD
from .http_look import look
from .loads import LOADS
from .measure import MemoryWatch
from .peers import NGINX, Site
from .process import Process, free_port
from .steady import Seen, steady
from .upstream import start_nginx

MIB = 1024 * 1024
MAY_ADD = 20.0
"""Milliseconds that the client's p99 may be above twice nginx's."""
MAY_TAKE = 150 * MIB
LIVE_WITHIN = 1.0
_CROWDS = 2
_INTERVAL = 0.02
_SETTLE = 8.0
"""Seconds until the crowd is there."""

_CONFIG = """\
listeners:
  outbound: {{address: "127.0.0.1:{outbound}"}}
  inbound: {{address: "127.0.0.1:{port}"}}
admin: {{address: "127.0.0.1:{admin}"}}
drain: {{delay: 0s, timeout: 1s}}
upstreams:
  app: {{endpoints: ["http://127.0.0.1:{upstream}"]}}
"""


@dataclass(frozen=True)
class Outcome:
    """What the normal client saw, and what the process took.

    `live`: the slowest /health/live. `files`: open at the end, so whether the crowd was there.
    """

    peer: str
    client: Seen
    resident: int
    files: int
    live: float


@contextmanager
def _proxy(directory: Path, upstream_port: int) -> Iterator[tuple[Process, int, int]]:
    """The proxy with nothing but addresses; its inbound and its admin port."""
    port, admin, outbound = free_port(), free_port(), free_port()
    file = directory / "proxy.yaml"
    file.write_text(
        _CONFIG.format(port=port, admin=admin, outbound=outbound, upstream=upstream_port)
    )
    argv = [sys.executable, "-P", "-m", "proxy", "run", "--config", str(file)]
    with Process("proxy", argv, core=PEER_CORE, log=directory / "proxy.log") as process:
        yield process, port, admin


@contextmanager
def _nginx(directory: Path, upstream_port: int) -> Iterator[tuple[Process, int, int]]:
    port = free_port()
    assert NGINX.command is not None
    argv = NGINX.command(Site(directory, port, upstream_port, connections=12_000))
    with Process("nginx", argv, core=PEER_CORE, log=directory / "nginx.log") as process:
        yield process, port, 0


def besieged(name: str, connections: int, seconds: float) -> Outcome:
    """One peer with the crowd around it, and what a normal client makes of it."""
    with TemporaryDirectory(prefix="proxy-crowd-") as scratch, ExitStack() as running:
        directory = Path(scratch)
        upstream, upstream_port = start_nginx(directory, LOAD_CORE)
        running.enter_context(upstream)
        start = _nginx if name == NGINX.name else _proxy
        process, port, admin = running.enter_context(start(directory, upstream_port))
        wait_until_right(LOADS[0], port, process)
        for number in range(_CROWDS):
            share = connections // len(CROWD) // _CROWDS
            kinds = [f"{kind}={share}" for kind in CROWD]
            argv = [sys.executable, str(Path(__file__).with_name("hostile.py")), str(port)]
            argv += [str(seconds + _SETTLE + 30), *kinds]
            log = directory / f"crowd{number}.log"
            running.enter_context(Process("crowd", argv, core=LOAD_CORE, log=log))
        time.sleep(_SETTLE)
        with MemoryWatch(process) as memory, _Health(admin) as health:
            client = steady(port, "/1k", seconds, _INTERVAL)
            files = len(os.listdir(f"/proc/{process.pid}/fd"))
        return Outcome(name, client, memory.peak_kib * 1024, files, health.slowest)


class _Health:
    """The slowest answer of /health/live while the block runs; no port, no questions."""

    def __init__(self, port: int) -> None:
        self.slowest = 0.0
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> "_Health":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(15)

    def _ask(self) -> None:
        while self._port and not self._over.wait(0.5):
            self.slowest = max(self.slowest, look(self._port, "/health/live"))


def complaints(mine: Outcome, nginx: Outcome) -> list[str]:
    """What of the promises did not hold."""
    found = []
    client = mine.client
    if client.answers < client.requests:
        lacking = client.requests - client.answers
        found.append(f"{lacking} answers lacking, the first: {client.wrong}")
    allowed = 2 * nginx.client.p99 + MAY_ADD
    if client.p99 > allowed:
        found.append(f"p99 of {client.p99:.1f} ms, with {allowed:.1f} allowed")
    if mine.resident > MAY_TAKE:
        found.append(f"{mine.resident / MIB:.0f} MiB resident")
    if mine.live > LIVE_WITHIN:
        found.append(f"/health/live took {mine.live:.2f} s")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.crowd", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--seconds", type=float, default=60.0, help="default: 60")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    outcomes = []
    print("peer              answers            p50      p99     worst   resident   files     live")
    for name in (NGINX.name, "resilience-proxy"):
        one = besieged(name, options.connections, options.seconds)
        outcomes.append(one)
        client = one.client
        print(
            f"{one.peer:<17} {client.answers:6} of {client.requests:6} {client.p50:6.1f} ms"
            f" {client.p99:6.1f} ms {client.worst:6.1f} ms {one.resident / MIB:6.1f} MiB"
            f" {one.files:7} {one.live:6.3f} s",
            flush=True,
        )
    found = complaints(outcomes[1], outcomes[0])
    for complaint in found:
        print(f"BROKEN  {complaint}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
