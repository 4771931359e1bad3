"""``python -m tests.bench.connections``: resident memory with 10,000 idle client connections.

Each has carried a request, through each peer in turn. Exit status 1 where the proxy is above its
bound. This process needs as many descriptors as there are connections, and a peer as many again;
the hard limits have to allow it.
"""

import argparse
import resource
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from .bed import bed
from .check import WrongAnswer
from .instructions import request_bytes
from .loads import LOADS
from .peers import PEERS, RESILIENCE_PROXY, Peer

MB = 1_000_000
_SPARE = 300
_BATCH = 100


@dataclass(frozen=True)
class Memory:
    """Resident bytes of one peer: before its first request but one, and with the connections."""

    peer: str
    idle: int
    full: int
    seconds: float


def measure(peer: Peer, connections: int) -> Memory:
    """Raises WrongAnswer where the peer does not serve."""
    load = LOADS[0]
    with bed(peer, load, connections + _SPARE) as ready, ExitStack() as stack:
        assert ready.process is not None
        idle = ready.process.resident_kib() * 1024
        started = time.monotonic()
        opened = 0
        while opened < connections:
            number = min(_BATCH, connections - opened)
            stack.enter_context(_asked(ready.generator.port, number, request_bytes(load, 1)))
            opened += number
        time.sleep(0.5)  # what was put off until the loop is idle has been done
        full = ready.process.resident_kib() * 1024
        return Memory(peer.name, idle, full, time.monotonic() - started)


@contextmanager
def _asked(port: int, number: int, request: bytes) -> Iterator[None]:
    """So many connections that have had an answer, open while the block runs."""
    with ExitStack() as stack:
        batch = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            for _ in range(number)
        ]
        for one in batch:
            one.sendall(request)
        for one in batch:
            received = b""
            while len(received) < 1024:
                data = one.recv(16 * 1024)
                if not data:
                    raise WrongAnswer(f"closed after {received[:100]!r}")
                received += data
            if not received.startswith(b"HTTP/1.1 200 "):
                raise WrongAnswer(repr(received[:100]))
        yield


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.connections", description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="default: 10000")
    parser.add_argument("--bound", type=float, default=80.0, help="the proxy's, MB; default: 80")
    parser.add_argument("--peers", nargs="+", default=[RESILIENCE_PROXY.name], metavar="PEER")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < options.connections + _SPARE:
        print(f"only {hard} files may be open (ulimit -Hn)", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{'peer':<28} {'idle':>9} {'connected':>11} {'each':>9}   {options.connections} idle")
    too_much = False
    for peer in PEERS:
        if peer.name not in options.peers or peer.command is None:
            continue
        if why := peer.missing():
            print(f"{peer.name:<28} {why}")
            continue
        try:
            found = measure(peer, options.connections)
        except (OSError, WrongAnswer) as problem:
            print(f"{peer.name:<28} left out: {problem}")
            continue
        each = (found.full - found.idle) / options.connections / 1000
        print(
            f"{peer.name:<28} {found.idle / MB:6.1f} MB {found.full / MB:8.1f} MB {each:6.2f} kB"
            f"   opened in {found.seconds:.1f} s"
        )
        too_much |= peer is RESILIENCE_PROXY and found.full > options.bound * MB
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
