"""One peer under one load: started, checked, warmed up, measured, stopped."""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .check import wait_until_right
from .loads import Burst, Load, at_fixed_rate, saturate
from .peers import Peer, Site
from .process import Process, free_port
from .upstream import start_nginx, start_sink

PEER_CORE = 0
LOAD_CORE = 1
SAMPLE_MEMORY_EVERY = 0.25


@dataclass(frozen=True)
class Durations:
    """Seconds of warming up, of saturation and of the fixed rate."""

    warm_up: float
    saturation: float
    fixed_rate: float


@dataclass(frozen=True)
class Sample:
    """One measurement. Latencies in microseconds, memory in KiB.

    `cpu` is the peer's microseconds per request at saturation, `busy` the share of its core that
    it used: far below 1, the limit was elsewhere. All three are None for the direct call.
    """

    peer: str
    load: str
    connections: int
    rate: float
    p50: float
    p99: float
    errors: int
    cpu: float | None
    busy: float | None
    idle_kib: int | None
    loaded_kib: int | None
    fixed_p50: float | None
    fixed_p99: float | None


def measure(peer: Peer, load: Load, connections: int, durations: Durations) -> Sample:
    """Raises WrongAnswer or LoadFailed where there is nothing to measure."""
    with TemporaryDirectory(prefix="proxy-bench-") as name, ExitStack() as running:
        directory = Path(name)
        start_upstream = start_sink if load.sink else start_nginx
        upstream, upstream_port = start_upstream(directory, LOAD_CORE)
        running.enter_context(upstream)
        wait_until_right(load, upstream_port, upstream)
        port, process = upstream_port, None
        if peer.command is not None:
            port = free_port()
            process = start_peer(peer, Site(directory, port, upstream_port))
            running.enter_context(process)
            wait_until_right(load, port, process)
        return _measured(peer, load, connections, durations, port, process, directory)


def start_peer(peer: Peer, site: Site) -> Process:
    """The peer's process, on its core; not yet listening. `peer.command` must not be None."""
    if peer.command is None:
        raise ValueError(f"{peer.name} has no process")
    return Process(
        peer.name,
        peer.command(site),
        core=PEER_CORE,
        log=site.directory / "peer.log",
        env=peer.env,
    )


def _measured(
    peer: Peer,
    load: Load,
    connections: int,
    durations: Durations,
    port: int,
    process: Process | None,
    directory: Path,
) -> Sample:
    idle_kib = process.resident_kib() if process else None

    def burst(seconds: float) -> Burst:
        return saturate(
            load,
            port,
            connections=connections,
            seconds=seconds,
            core=LOAD_CORE,
            directory=directory,
        )

    burst(durations.warm_up)
    with MemoryWatch(process) as memory:
        cpu_before, started = process.cpu_microseconds() if process else 0, time.monotonic()
        saturated = burst(durations.saturation)
        elapsed = time.monotonic() - started
        cpu = process.cpu_microseconds() - cpu_before if process else 0
    fixed = None
    if load.fixed_rate:
        fixed = at_fixed_rate(
            load, port, seconds=durations.fixed_rate, core=LOAD_CORE, directory=directory
        )
    return Sample(
        peer=peer.name,
        load=load.name,
        connections=connections,
        rate=saturated.rate,
        p50=saturated.p50,
        p99=saturated.p99,
        errors=saturated.errors + (fixed.errors if fixed else 0),
        cpu=cpu / saturated.requests if process else None,
        busy=cpu / 1e6 / elapsed if process else None,
        idle_kib=idle_kib,
        loaded_kib=memory.peak_kib if process else None,
        fixed_p50=fixed.p50 if fixed else None,
        fixed_p99=fixed.p99 if fixed else None,
    )


class MemoryWatch:
    """The highest resident memory of a process while the ``with`` block runs."""

    def __init__(self, process: Process | None) -> None:
        self.peak_kib = 0
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while self._process is not None and not self._over.wait(SAMPLE_MEMORY_EVERY):
            self.peak_kib = max(self.peak_kib, self._process.resident_kib())
