"""One peer under one load: started, checked, warmed up, measured, stopped."""

import threading
import time
from dataclasses import dataclass

from .bed import bed
from .generator import FIXED_RATE_CONNECTIONS
from .loads import Load
from .peers import Peer
from .process import Process

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
    it used: far below 1, the limit was elsewhere. `ready`: seconds from its start to its first
    right answer. None for the direct call, like its memory.
    """

    peer: str
    load: str
    connections: int
    rate: float
    p50: float
    p99: float
    errors: int
    cpu: float | None
    ready: float | None
    busy: float | None
    idle_kib: int | None
    loaded_kib: int | None
    fixed_p50: float | None
    fixed_p99: float | None


def measure(peer: Peer, load: Load, connections: int, durations: Durations) -> Sample:
    """Raises WrongAnswer or LoadFailed where there is nothing to measure."""
    with bed(peer, load) as ready:
        generator, process = ready.generator, ready.process
        idle_kib = process.resident_kib() if process else None
        generator.saturate(connections, durations.warm_up)
        with MemoryWatch(process) as memory:
            cpu_before, started = process.cpu_microseconds() if process else 0, time.monotonic()
            saturated = generator.saturate(connections, durations.saturation)
            elapsed = time.monotonic() - started
            cpu = process.cpu_microseconds() - cpu_before if process else 0
        fixed = None
        if load.fixed_rate and connections == FIXED_RATE_CONNECTIONS:
            fixed = generator.at_fixed_rate(durations.fixed_rate)
    return Sample(
        peer=peer.name,
        load=load.name,
        connections=connections,
        rate=saturated.rate,
        p50=saturated.p50,
        p99=saturated.p99,
        errors=saturated.errors + (fixed.errors if fixed else 0),
        cpu=cpu / saturated.requests if process else None,
        ready=ready.ready_seconds,
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
