"""``python -m tests.bench.untouched``: what a store costs the routes that promise nothing.

The same proxy with a file without `store`, and with one that has a store, and idempotency and an
outbox on the route before the measured one: instructions of a request under callgrind (without what
the proxy does each second anyway), resident memory once it serves, and the time of a processor
until it answers (the best of several starts).

    python -m tests.bench.untouched [--package DIRECTORY] [--starts 10]
"""

import argparse
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from .bed import LOAD_CORE, PEER_CORE
from .check import wait_until_right
from .instructions import ClosedLoop, under_callgrind
from .loads import LOADS
from .peers import RESILIENCE_PROXY, Site
from .process import Process, free_port
from .upstream import start_nginx

LOAD = next(load for load in LOADS if load.name == "GET 1 KiB")
WARM_UP, REQUESTS = 300, 3_000
_ROUTES = "routes:\n"
_OTHER = "  - {name: other, match: {hosts: [other]}, upstream: bench%s}\n"
_PROMISES = ", idempotency: {mode: optional}, outbox: {mode: prefer}"

Command = Callable[[Site], list[str]]


def without_store(site: Site) -> list[str]:
    return _command(site, "", "")


def with_store(site: Site) -> list[str]:
    store = f'store: {{url: "sqlite:{site.directory}/store.db", persistent: true}}\n'
    return _command(site, store, _PROMISES)


def _command(site: Site, more: str, promises: str) -> list[str]:
    assert RESILIENCE_PROXY.command is not None
    command = list(RESILIENCE_PROXY.command(site))
    file = Path(command[-1])
    file.write_text(more + file.read_text().replace(_ROUTES, _ROUTES + _OTHER % promises))
    return command


FILES: dict[str, Command] = {"without store": without_store, "with a store": with_store}


def instructions(package: str, command: Command) -> float:
    """Of one request; the smallest of three counts."""
    with under_callgrind(package, command) as (callgrind, port):
        requests = ClosedLoop(LOAD, port)
        requests.run(WARM_UP)
        counts = []
        for _ in range(3):
            callgrind.listen()
            counts.append(callgrind.count(requests, REQUESTS) / REQUESTS)
    return min(counts)


def start(package: str, command: Command) -> tuple[float, float]:
    """Seconds of a processor until it answers a request, and MiB of resident memory then."""
    with TemporaryDirectory(prefix="proxy-untouched-") as name:
        directory = Path(name)
        upstream, upstream_port = start_nginx(directory, LOAD_CORE)
        site = Site(directory, free_port(), upstream_port)
        env = {"PYTHONPATH": package} if package else {}
        argv = command(site)
        with upstream:
            log = directory / "proxy.log"
            with Process("proxy", argv, core=PEER_CORE, log=log, env=env) as process:
                while not _answers(site.port):
                    time.sleep(0.001)
                took = _cpu_seconds(process.pid)
                wait_until_right(LOAD, site.port, process)
                return took, _resident(process.pid)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{LOAD.path}", timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def _cpu_seconds(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in threads) / 1e9


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.untouched", description=__doc__)
    parser.add_argument("--package", default="", help="a directory; default: the installed one")
    parser.add_argument("--starts", type=int, default=10, help="of each file; default: 10")
    options = parser.parse_args()
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in FILES}
    for _ in range(options.starts):
        for name, command in FILES.items():
            starts[name].append(start(options.package, command))
    for name, command in FILES.items():
        seconds = min(took for took, _ in starts[name])
        memory = sorted(resident for _, resident in starts[name])[options.starts // 2]
        counted = instructions(options.package, command)
        print(
            f"{name:14} {counted:9,.0f} instructions  {memory:6.2f} MiB  {seconds * 1e3:6.0f} ms",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
