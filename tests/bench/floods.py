"""``python -m tests.bench.floods``: how long a client waits while another one floods the process.

Each flood (`hostile`) comes from a process of its own. Exit status 1 where the client's p99 is more
than 20 ms above its quiet value, an answer is lacking, a flood makes the process grow by more than
32 MiB, or scrapers take more than a tenth of a busy client's rate.

A machine that does other work adds waits, and takes none away: each flood is played three times at
most, and the best one counts. ``--steps`` measures what no other work can change: the CPU time of
the longest step of the proxy's loop (`loop_watch`). A request takes three to four steps.
"""

import argparse
import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .bed import LOAD_CORE, PEER_CORE
from .check import wait_until_right
from .loads import LOADS
from .loop_watch import ask_watch
from .measure import MemoryWatch
from .process import Process, free_port
from .steady import Seen, steady
from .upstream import start_nginx

MIB = 1024 * 1024
MAY_WAIT = 20.0
"""Milliseconds above the quiet p99."""
MAY_GROW = 32 * MIB
MAY_TAKE = 0.1
"""Share of a busy client's rate."""
ROUNDS = 3
MAY_STEP = 5.0
"""Milliseconds of CPU time for one step of the loop: a quarter of `MAY_WAIT`."""
_INTERVAL = 0.005
_SCRAPERS = 8
_UPSTREAMS = 100

FLOODS = (
    *("flood-expired", "flood-unread", "flood-connect", "flood-pipelined"),
    *("flood-chunks", "flood-download", "flood-h2-reset", "flood-h2-cancel", "flood-h2-wrong"),
    *("flood-h2-ping", "flood-h2-settings", "flood-h2-priority", "flood-h2-blocks"),
    *("flood-h2-bomb", "flood-h2-streams", "flood-h2-unread", "flood-h2-window"),
    *("flood-h2-empty", "flood-h2-stray", "flood-h2-dribble", "flood-h2-tiny"),
)

_CONFIG = """\
listeners:
  outbound: {{address: "127.0.0.1:{outbound}"}}
  inbound: {{address: "127.0.0.1:{inbound}"}}
admin: {{address: "127.0.0.1:{admin}"}}
drain: {{delay: 0s, timeout: 1s}}
egress: {{allow: [allowed.test]}}
upstreams:
  app: {{endpoints: ["http://127.0.0.1:{upstream}"]}}
  chunks: {{endpoints: ["http://127.0.0.1:{chunks}"]}}
{others}
routes:
  - {{name: chunks, match: {{prefix: /chunks}}, upstream: chunks}}
{routes}
  - {{name: rest, upstream: app}}
"""


@dataclass(frozen=True)
class Ports:
    outbound: int
    inbound: int
    admin: int
    watch: int


@dataclass(frozen=True)
class Flooded:
    """What the client saw beside a flood, and what the process grew by meanwhile."""

    seen: Seen
    grown: int


class _Chunks(asyncio.Protocol):
    """An upstream that answers each request with 500,000 chunks of one byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self._transport.write(head + b"1\r\na\r\n" * 500_000 + b"0\r\n\r\n")


@contextmanager
def _chunk_server() -> Iterator[int]:
    """Its port, while it runs in a thread."""
    loop = asyncio.new_event_loop()
    port = free_port()
    loop.run_until_complete(loop.create_server(_Chunks, "127.0.0.1", port))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()


@contextmanager
def _site(*, watched: bool = False) -> Iterator[tuple[Process, Ports, Path]]:
    """The proxy with a hundred upstreams, of which two are asked."""
    with TemporaryDirectory(prefix="proxy-floods-") as name, ExitStack() as running:
        directory = Path(name)
        upstream, upstream_port = start_nginx(directory, LOAD_CORE)
        running.enter_context(upstream)
        ports = Ports(free_port(), free_port(), free_port(), free_port())
        numbers = range(_UPSTREAMS - 2)
        others = [f"  u{n}: {{endpoints: ['http://127.0.0.1:9']}}" for n in numbers]
        routes = [f"  - {{name: r{n}, match: {{prefix: /r{n}}}, upstream: u{n}}}" for n in numbers]
        file = directory / "proxy.yaml"
        file.write_text(
            _CONFIG.format(
                outbound=ports.outbound,
                inbound=ports.inbound,
                admin=ports.admin,
                upstream=upstream_port,
                chunks=running.enter_context(_chunk_server()),
                others="\n".join(others),
                routes="\n".join(routes),
            )
        )
        watch = [str(Path(__file__).with_name("loop_watch.py")), str(ports.watch)]
        program = watch if watched else ["-m", "proxy"]
        argv = [sys.executable, "-P", *program, "run", "--config", str(file)]
        log = directory / "proxy.log"
        process = running.enter_context(Process("proxy", argv, core=PEER_CORE, log=log))
        for port in (ports.outbound, ports.inbound):
            wait_until_right(LOADS[0], port, process)
        yield process, ports, directory


@contextmanager
def _flooding(port: int, kind: str, directory: Path, seconds: float, number: int) -> Iterator[None]:
    argv = [sys.executable, str(Path(__file__).with_name("hostile.py")), str(port)]
    argv += [str(seconds + 30), f"{kind}={number}"]
    with Process(kind, argv, core=LOAD_CORE, log=directory / f"{kind}.log"):
        time.sleep(1.0)  # its interpreter starts, and the flood with it
        yield


def flooded(kind: str, listener: str, seconds: float) -> tuple[Seen, Flooded]:
    """The client's quiet minute, and the one beside the flood, in one process."""
    with _site() as (process, ports, directory):
        port = ports.outbound if listener == "outbound" else ports.inbound
        quiet = steady(port, "/1k", seconds / 2, _INTERVAL, LOAD_CORE)
        before = process.resident_kib()
        with MemoryWatch(process) as memory, _flooding(port, kind, directory, seconds, 1):
            seen = steady(port, "/1k", seconds, _INTERVAL, LOAD_CORE)
        return quiet, Flooded(seen, max(0, memory.peak_kib - before) * 1024)


def longest_step(kind: str, listener: str, seconds: float) -> float:
    """Milliseconds of CPU time, while a client asks and the flood runs."""
    with _site(watched=True) as (_, ports, directory):
        port = ports.outbound if listener == "outbound" else ports.inbound
        steady(port, "/1k", 1.0, _INTERVAL, LOAD_CORE)
        ask_watch(ports.watch)
        with _flooding(port, kind, directory, seconds, 1):
            steady(port, "/1k", seconds, _INTERVAL, LOAD_CORE)
        return ask_watch(ports.watch)


def scraped(seconds: float) -> tuple[float, float]:
    """A busy client's answers a second: alone, and beside eight scrapers of /metrics."""
    with _site() as (_, ports, directory):
        alone = steady(ports.outbound, "/1k", seconds, 0, LOAD_CORE)
        with _flooding(ports.admin, "flood-metrics", directory, seconds, _SCRAPERS):
            beside = steady(ports.outbound, "/1k", seconds, 0, LOAD_CORE)
        return alone.answers / seconds, beside.answers / seconds


def _complaints(quiet: Seen, found: Flooded) -> list[str]:
    seen, complaints = found.seen, []
    if seen.answers < seen.requests:
        complaints.append(f"{seen.requests - seen.answers} answers lacking: {seen.wrong}")
    if seen.p99 > quiet.p99 + MAY_WAIT:
        complaints.append(f"p99 of {seen.p99:.1f} ms, quiet {quiet.p99:.1f}")
    if found.grown > MAY_GROW:
        complaints.append(f"grew by {found.grown / MIB:.0f} MiB")
    return complaints


def _play(kind: str, listener: str, seconds: float, rounds: int) -> list[str]:
    """One flood until it is borne, `rounds` times at most; what was wrong with the last one."""
    complaints: list[str] = []
    for _ in range(rounds):
        quiet, found = flooded(kind, listener, seconds)
        seen = found.seen
        print(
            f"{kind:<16} {listener:<9} quiet p99 {quiet.p99:6.1f} ms, "
            f"flooded p50 {seen.p50:6.1f} ms p99 {seen.p99:7.1f} ms worst {seen.worst:7.1f} ms, "
            f"+{found.grown / MIB:.1f} MiB",
            flush=True,
        )
        complaints = _complaints(quiet, found)
        if not complaints:
            break
    return [f"{kind}, {listener}: {complaint}" for complaint in complaints]


def _step(kind: str, listener: str, seconds: float) -> list[str]:
    """The longest step beside one flood, and whether it is too long."""
    step = longest_step(kind, listener, seconds)
    print(f"{kind:<16} {listener:<9} longest step {step:6.2f} ms", flush=True)
    return [f"{kind}, {listener}: a step of {step:.1f} ms"] if step > MAY_STEP else []


def _scrape(seconds: float, rounds: int) -> list[str]:
    for _ in range(rounds):
        alone, beside = scraped(seconds)
        print(
            f"scrapers         outbound  {alone:,.0f}/s alone, {beside:,.0f}/s beside", flush=True
        )
        if beside >= (1 - MAY_TAKE) * alone:
            return []
    return [f"{_SCRAPERS} scrapers took a client from {alone:,.0f}/s to {beside:,.0f}/s"]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.floods", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each flood; default: 5")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--floods", nargs="+", choices=[*FLOODS, "scrapers"])
    parser.add_argument("--listener", choices=["outbound", "inbound"], help="default: both")
    parser.add_argument("--steps", action="store_true", help="the loop's steps, instead of waits")
    options = parser.parse_args(arguments)
    chosen = options.floods or [*FLOODS, "scrapers"]
    complaints: list[str] = []
    for kind in FLOODS:
        if kind in chosen:
            listeners = [options.listener] if options.listener else ["outbound", "inbound"]
            if kind in ("flood-connect", "flood-download"):
                listeners = ["outbound"]
            for listener in listeners:
                if options.steps:
                    complaints += _step(kind, listener, options.seconds)
                else:
                    complaints += _play(kind, listener, options.seconds, options.rounds)
    if "scrapers" in chosen and not options.steps:
        complaints += _scrape(options.seconds, options.rounds)
    for complaint in complaints:
        print(f"BROKEN  {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
