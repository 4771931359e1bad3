"""The test bed: an upstream, one peer in front of it on its own core, and a load generator."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from .certificates import issue
from .check import wait_until_right
from .generator import LoadGenerator
from .loads import Load
from .peers import MAX_CONNECTIONS, Peer, Site
from .process import Process, free_port
from .upstream import start_nginx, start_sink

PEER_CORE = 0
LOAD_CORE = 1


@dataclass(frozen=True)
class Bed:
    """`process` is the peer's; None where clients go straight upstream.

    `ready_seconds`: from the start of the process to its first right answer.
    """

    generator: LoadGenerator
    process: Process | None
    ready_seconds: float | None


@contextmanager
def bed(peer: Peer, load: Load, connections: int = MAX_CONNECTIONS) -> Iterator[Bed]:
    """Everything runs and answers `load` right; raises WrongAnswer where that cannot be had.

    `connections`: the limit of the peer.
    """
    with TemporaryDirectory(prefix="proxy-bench-") as name, ExitStack() as running:
        directory = Path(name)
        start_upstream = start_sink if load.sink else start_nginx
        upstream, port = start_upstream(directory, LOAD_CORE)
        running.enter_context(upstream)
        # The upstream serves in the clear, whatever the peer in front of it serves.
        wait_until_right(replace(load, tls=False), port, upstream)
        certificate = issue(directory) if load.tls else None
        process = ready_seconds = None
        if peer.command is not None:
            site = Site(directory, free_port(), port, certificate, connections)
            argv, log = peer.command(site), directory / "peer.log"
            started = time.monotonic()
            process = Process(peer.name, argv, core=PEER_CORE, log=log, env=peer.env)
            running.enter_context(process)
            wait_until_right(load, site.port, process, certificate)
            ready_seconds = time.monotonic() - started
            port = site.port
        generator = LoadGenerator(load, port, LOAD_CORE, directory, certificate)
        yield Bed(generator, process, ready_seconds)
