"""``python -m tests.bench.parts``: what each part of a route's policy adds to a request.

Instructions in user space, counted as `instructions` does. One proxy has a route for each part,
which uses this part alone, and the same routes without any. The same requests with a part and
without it are counted in turns: what the proxy executes for events of connections, which is nearly
all of a request. What it does each second besides would be as much again as some parts, and is left
out. The table has the medians, and the least and most of a turn. `besides`: by how much the median
of all the rest (timers, callbacks, threads) differs. It has what a part does outside the events of
connections, and is as exact as the work of each second is even: some hundreds. The first row has no
part: it shows how exact the others are.

Before the first turn every head has come so often that the proxy remembers it, and requests with a
trace have a new one each time: heads that are remembered halfway would cost more or less in each
turn. There is one connection: with more, a turn of the loop may find one event or many, and the
counts differ by more than most parts take.

    python -m tests.bench.parts                              the installed package
    python -m tests.bench.parts --package DIRECTORY --parts "ewma" "mirror of 5 %"

A directory is what ``pip install --target DIRECTORY .`` made. The counts go to
tests/bench/results/parts-NAME.json.
"""

import contextlib
import re
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from .instructions import (
    WARM_UP,
    Callgrind,
    ClosedLoop,
    options_of,
    package_in,
    parsed,
    under_callgrind,
    write,
)
from .loads import LOADS
from .peers import Site
from .process import free_port

TURNS, REQUESTS = 5, 2_000
"""Turns, and requests in each, with a part and without it."""
USERS = 1_000
"""Different values of the header that some parts have their key from."""
_UNTIL_KNOWN = 3
"""A head is remembered when it comes again soon; with the third time the last one has."""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

_CONFIG = """\
service: bench
listeners:
  outbound: {address: "127.0.0.1:PORT"}
  inbound: {address: "127.0.0.1:INBOUND"}
admin: {address: "127.0.0.1:ADMIN"}
drain: {delay: 0s, timeout: 1s}
limits: {connections: 4096}
policies:
  default: {bulkhead: {max_concurrent: 4096}}
  inbound: {timeouts: {attempt: 1h, request: 1h, idle: 1h}}
upstreams:
  app: {endpoints: ["http://127.0.0.1:SILENT"]}
  another: {endpoints: [ONE]}
"""


@dataclass(frozen=True)
class Part:
    """A part in a route or its upstream, used alone.

    `endpoints`, `upstream`, `route`: settings. `users`: requests name one of `USERS`. `traced`:
    they have one trace id. `parent`: meanwhile an inbound request with that trace id is in flight.
    """

    name: str
    endpoints: str = "ONE"
    upstream: str = ""
    route: str = ""
    users: bool = False
    traced: bool = False
    parent: bool = False

    @property
    def host(self) -> str:
        """The host, route and upstream of its requests."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def without(self) -> "Part":
        """The same requests to the same endpoints, without the part."""
        endpoints = "ONE" if self.endpoints == "ONE" else "ONE, TWO"
        name = "one endpoint" if endpoints == "ONE" else "two endpoints"
        return Part(name, endpoints, users=self.users, traced=self.traced)

    def fields(self, number: int) -> str:
        """The lines of a request's fields."""
        fields = ""
        if self.users:
            fields += f"User-Id: user-{number * 7919 % USERS:04d}\r\n"
        if self.traced:
            fields += f"Traceparent: 00-{TRACE}-{number:016x}-00\r\n"
        return fields


def _pair(name: str, upstream: str, *, users: bool = False) -> Part:
    return Part(name, "ONE, TWO", f", {upstream}", users=users)


def _route(name: str, route: str, *, users: bool = False) -> Part:
    return Part(name, route=f", {route}", users=users)


_FAST = "rate: 1000000/s, burst: 1000000"
_BUSY = "rate: 1/h, burst: 1000000"
"""Of each user. The burst is never whole again during a count: the user is known."""
_RARE = "rate: 1000000/s, burst: 1000000"
"""The burst is always whole again: the user has been forgotten."""
_FILLERS = 8
"""Routes that no request takes: of more than a few routes the proxy has an index."""
PARTS = (
    Part("none"),
    Part("weights", "{url: ONE, weight: 3}, TWO"),
    _pair("round_robin", "load_balancing: round_robin"),
    _pair("ewma", "load_balancing: ewma"),
    _pair("consistent_hash by client", "load_balancing: consistent_hash, hash: client"),
    _pair(
        "consistent_hash by header",
        "load_balancing: consistent_hash, hash: {header: user-id}",
        users=True,
    ),
    _pair("slow start", "slow_start: 10s"),
    Part("ejection of one endpoint", upstream=", outlier_detection: {}"),
    _pair("ejection", "outlier_detection: {}"),
    _pair("health checks", "health_check: {path: /1k, interval: 1h}"),
    _route("rate limit of the route", f"rate_limits: [{{name: all, {_FAST}}}]"),
    _route("rate limit by client", f"rate_limits: [{{name: all, key: client, {_FAST}}}]"),
    *(
        _route(
            f"rate limit by header, {users} users",
            f'rate_limits: [{{name: all, key: "header:user-id", {each}}}]',
            users=True,
        )
        for users, each in (("busy", _BUSY), ("rare", _RARE))
    ),
    _route("gradient limit", "bulkhead: {max_concurrent: 4096, limit: gradient, min: 64}"),
    _route("hedge after a delay", "hedge: {delay: 4s}"),
    _route("split", "upstream: {split: 95, another: 5}"),
    _route("split by client", "upstream: {split-by-client: 95, another: 5}, split_by: client"),
    _route(
        "split by header",
        "upstream: {split-by-header: 95, another: 5}, split_by: {header: user-id}",
        users=True,
    ),
    _route("mirror of 0.1 %", "mirror: {upstream: another, share: 0.1%}"),
    _route("mirror of 5 %", "mirror: {upstream: another, share: 5%}"),
    _route("mirror of 100 %", "mirror: {upstream: another, share: 100%, max_in_flight: 64}"),
    _route("fault: delay for 0.1 %", "faults: [{share: 0.1%, delay: 1ms}]"),
    _route("fault: throttle for 0.1 %", "faults: [{share: 0.1%, throttle: 1MiB}]"),
    _route("faults by header", "faults: [{headers: true, share: 5%, delay: 2s}]"),
    Part("inheritance", traced=True, parent=True),
)
"""None, and every part of a route or an upstream that acts on requests."""


@dataclass(frozen=True)
class Price:
    """Instructions of a request in each turn, with a part and without it.

    `rest`, `rest_without`: those that are not for events of connections.
    """

    part: str
    counts: list[float]
    without: list[float]
    rest: list[float]
    rest_without: list[float]

    @property
    def shares(self) -> list[float]:
        """What the part adds in each turn, as a share of the request without it."""
        return [one / other - 1 for one, other in zip(self.counts, self.without, strict=True)]

    @property
    def row(self) -> str:
        without, counts = median(self.without), median(self.counts)
        more, shares = median(self.shares), self.shares
        besides = median(self.rest) - median(self.rest_without)
        return (
            f"| {self.part} | {without:,.0f} | {counts:,.0f} | {more:+.1%} "
            f"| {min(shares):+.1%} … {max(shares):+.1%} | {besides:+,.0f} |"
        )


def configuration(parts: Sequence[Part], site: Site, inbound: int, silent: int) -> str:
    """A file with a route and an upstream for each part, and for requests without one."""
    every = {part.host: part for one in parts for part in (one.without, one)}.values()
    lines = [f"  {one.host}: {{endpoints: [{one.endpoints}]{one.upstream}}}\n" for one in every] + [
        "routes:\n"
    ]
    for one in every:
        upstream = "" if "upstream: {" in one.route[:13] else f", upstream: {one.host}"
        lines.append(
            f"  - {{name: {one.host}, match: {{hosts: [{one.host}]}}{upstream}{one.route}}}\n"
        )
    for number in range(_FILLERS):
        match = f"match: {{hosts: [filler-{number}]}}"
        lines.append(f"  - {{name: filler-{number}, {match}, upstream: another}}\n")
    lines.append("  - {name: rest, upstream: another}\n")
    text = _CONFIG + "".join(lines)
    values = {
        "INBOUND": str(inbound),
        "ADMIN": str(free_port()),
        "SILENT": str(silent),
        "PORT": str(site.port),
        "ONE": f'"http://127.0.0.1:{site.upstream_port}"',
        "TWO": f'"http://[::ffff:127.0.0.1]:{site.upstream_port}"',
    }
    return re.sub("|".join(values), lambda found: values[found[0]], text)


@contextlib.contextmanager
def _parent(inbound: int) -> Iterator[None]:
    """An inbound request is in flight: its service does not answer."""
    with socket.create_connection(("127.0.0.1", inbound), 60) as connection:
        trace = f"Traceparent: 00-{TRACE}-00f067aa0ba902b7-00"
        limit = "X-Request-Timeout-Ms: 3000000"
        head = f"GET / HTTP/1.1\r\nHost: app\r\n{trace}\r\n{limit}\r\n\r\n"
        connection.sendall(head.encode())
        yield


class Counter:
    """One proxy with all parts, under callgrind."""

    def __init__(
        self, callgrind: Callgrind, port: int, inbound: int, turns: int, requests: int
    ) -> None:
        self._callgrind, self._port, self._inbound = callgrind, port, inbound
        self._turns, self._requests = turns, requests

    def price(self, part: Part) -> Price:
        """Count requests with a part and without it, in turns."""
        found: dict[Part, list[tuple[float, float]]] = {part.without: [], part: []}
        loops = {one: self._loop(one) for one in found}
        for loop in loops.values():
            loop.run(_UNTIL_KNOWN * USERS if part.users else WARM_UP)
        for _ in range(self._turns):
            for one, counts in found.items():
                with _parent(self._inbound) if one.parent else contextlib.nullcontext():
                    events, rest = self._callgrind.divided(loops[one], self._requests)
                    counts.append((events / self._requests, rest / self._requests))
        (counts, rest), (without, rest_without) = (
            [list(each) for each in zip(*found[one], strict=True)] for one in (part, part.without)
        )
        return Price(part.name, counts, without, rest, rest_without)

    def _loop(self, part: Part) -> ClosedLoop:
        load = next(load for load in LOADS if load.name == "GET 1 KiB")
        return ClosedLoop(load, self._port, part.fields, part.host, connections=1)


def prices(
    package: str, parts: Sequence[Part], tell: Callable[[Price], None], turns: int, requests: int
) -> list[Price]:
    """Count each part."""
    inbound, found = free_port(), []
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def command(site: Site) -> list[str]:
            text = configuration(parts, site, inbound, silent.getsockname()[1])
            file = site.write("proxy.yaml", text)
            return [sys.executable, "-P", "-m", "proxy", "run", "--config", file]

        with under_callgrind(package, command) as (callgrind, port):
            print(f"Each second: {callgrind.listen():,.0f} instructions, left out below.\n")
            print("| part | without | with | more | in one turn | besides |", flush=True)
            print("| --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
            counter = Counter(callgrind, port, inbound, turns, requests)
            for part in parts:
                found.append(counter.price(part))
                tell(found[-1])
    return found


def main() -> int:
    parser = options_of("parts", __doc__)
    parser.add_argument("--package", type=package_in, default="", metavar="DIR")
    parser.add_argument("--parts", nargs="+", choices=[part.name for part in PARTS])
    parser.add_argument("--turns", type=int, default=TURNS, help=f"default: {TURNS}")
    parser.add_argument("--requests", type=int, default=REQUESTS, help=f"default: {REQUESTS}")
    options = parsed(parser)
    parts = [part for part in PARTS if not options.parts or part.name in options.parts]
    found = prices(
        options.package,
        parts,
        lambda price: print(price.row, flush=True),
        options.turns,
        options.requests,
    )
    write(options, "parts", prices=found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
