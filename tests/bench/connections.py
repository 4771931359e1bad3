"""``python -m tests.bench.connections``: resident memory with 10,000 idle client connections.

Each has carried a request. Exit status 1 above the bound. This process needs as many descriptors
as there are connections, and the proxy as many again; the hard limits have to allow it.
"""

import argparse
import resource
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

from chaos.upstream import ChaosUpstream
from integration.ports import free_port
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy
from integration.settings import route

MIB = 1024 * 1024
_SPARE = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.connections", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--bound", type=float, default=150.0, help="MiB; default: 150")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < options.connections + _SPARE:
        print(f"only {hard} files may be open (ulimit -Hn)", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    upstream = ChaosUpstream(free_port()).start()
    settings = {
        "access_log": {"requests": "errors"},
        "upstreams": {"chaos": {"endpoints": [upstream.url]}},
        "routes": [route("c")],
        "limits": {"idle_timeout": "10m"},
    }
    with TemporaryDirectory(prefix="proxy-connections-") as directory:
        proxy = RunningProxy(Path(directory), settings)
        idle = proxy.memory / MIB
        with ExitStack() as stack:
            started = time.monotonic()
            for _ in range(options.connections):
                client = stack.enter_context(RawClient(proxy.outbound))
                assert client.request("GET", "/c").status == 200
            took = time.monotonic() - started
            full = proxy.memory / MIB
        proxy.stop()
    upstream.stop()
    each = (full - idle) * 1024 / options.connections
    print(f"resident, idle                           {idle:7.1f} MiB")
    print(f"resident, {options.connections:6} idle connections      {full:7.1f} MiB")
    print(f"a connection                             {each:7.1f} KiB   (opened in {took:.1f} s)")
    return 1 if full > options.bound else 0


if __name__ == "__main__":
    sys.exit(main())
