"""Each part of traffic, active: a restart loses no request, keeps what the file says and what is
computed from it, and forgets what was measured. docs/reload-and-drain.md tells which is which.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from integration.raw_client import RawClient, Response, request_bytes
from integration.running_proxy import RunningProxy, accepts, eventually
from integration.settings import ONCE, Settings, breaker, route

pytestmark = pytest.mark.long
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


class Service(ThreadingHTTPServer):
    """Answers with its name. The end of a request's path says how."""

    daemon_threads = True

    def __init__(self, name: str, bed: "Bed") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name, self.bed = name, bed
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a response is one write
    server: Service

    def do_GET(self) -> None:
        how, bed = self.path.rpartition("/")[2], self.server.bed
        again = bed.arrived(self.headers["x-request-id"])
        status = 200
        if how == "hold":
            assert bed.release.wait(20)
        elif how == "slow" or (how == "lag" and not again):
            bed.stopping.wait(0.3)
        elif how == "ill" and self.server.name == "one":
            status = 503
        elif how.startswith("call"):
            with RawClient(bed.outbound, timeout=20) as client:
                way = "hold" if how == "call-and-hold" else "x"
                trace = {"traceparent": self.headers["traceparent"]}
                status = client.request("GET", f"/inheritance/{way}", trace).status
        self.send_response(status)
        body = self.server.name.encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


class Bed:
    """Two services behind one proxy after the other."""

    def __init__(self) -> None:
        self.release, self.stopping = threading.Event(), threading.Event()
        self.outbound = 0
        self.proxy: RunningProxy
        self._lock = threading.Lock()
        self._arrived: Counter[str | None] = Counter()
        self.one, self.two = Service("one", self), Service("two", self)

    def arrived(self, request_id: str | None) -> int:
        """How often this request had arrived before."""
        with self._lock:
            self._arrived[request_id] += 1
            return self._arrived[request_id] - 1

    def count(self, request_id: str) -> int:
        with self._lock:
            return self._arrived[request_id]

    def get(self, path: str, user: str = "u1", **fields: str) -> Response:
        return self.proxy.call("GET", path, {"User-Id": user, **fields})

    def stop(self) -> None:
        self.stopping.set()
        self.release.set()
        for service in (self.one, self.two):
            service.stop()


@pytest.fixture
def bed() -> Iterator[Bed]:
    bed = Bed()
    yield bed
    bed.stop()


# --- what each part shows ---------------------------------------------------------------------


def servers(path: str) -> Callable[[Bed], Any]:
    """Which service answers each of twelve users."""
    return lambda bed: [bed.get(path, f"u{number}").body for number in range(12)]


def endpoints(upstream: str, member: str) -> Callable[[Bed], Any]:
    def look(bed: Bed) -> Any:
        found = bed.proxy.state("/upstreams")["upstreams"]
        (only,) = [one for one in found if one["name"] == upstream]
        return [one[member] for one in only["endpoints"]]

    return look


def statuses(path: str, **fields: str) -> Callable[[Bed], Any]:
    return lambda bed: [bed.get(path, **fields).status for _ in range(3)]


def fault(path: str) -> Callable[[Bed], Any]:
    return lambda bed: bed.get(path).header("proxy-status").rpartition("; ")[2]


def arrivals(path: str) -> Callable[[Bed], Any]:
    """How often one request arrives at the services."""
    return lambda bed: bed.count(bed.get(path).id)


def copies(bed: Bed) -> Any:
    request_id = bed.get("/mirror/x").id
    eventually(lambda: bed.count(request_id) == 2)
    return 2


def health(bed: Bed) -> Any:
    """What the checks have found, once they have."""
    look = endpoints("health-checks", "health")
    eventually(lambda: "unknown" not in look(bed))
    return look(bed)


def inherits(bed: Bed) -> Any:
    answer = bed.proxy.call("GET", "/call", {"traceparent": TRACE}, listener="inbound")
    logged: list[Any] = []
    eventually(lambda: (logged.extend(calls_for(bed.proxy, answer.id)), logged)[1])
    return answer.status, len(logged)


def calls_for(proxy: RunningProxy, request_id: str) -> list[dict[str, Any]]:
    return [line for line in proxy.log_lines() if line.get("inherited_from") == request_id]


def calls(*paths: str) -> Callable[[Bed], None]:
    def use(bed: Bed) -> None:
        for path in paths:
            bed.get(path)

    return use


def learn_a_limit(bed: Bed) -> None:
    """Most of the limit is in use, and the service is as fast as ever: the limit rises."""
    before = learned(bed)

    def has_risen() -> bool:
        clients = [bed.proxy.client() for _ in range(15)]
        for client in clients:
            client.send(request_bytes("GET", "/learned-limit/slow"))
        for client in clients:
            with client:
                assert client.read_response().status == 200
        return learned(bed) > before

    eventually(has_risen, 15)


def learn_a_delay(bed: Bed) -> None:
    def is_hedged() -> bool:
        calls(*["/learned-hedge/x"] * 40)(bed)
        return arrivals("/learned-hedge/lag")(bed) == 2

    eventually(is_hedged, 5)


def learned(bed: Bed) -> Any:
    bed.get("/learned-limit/x")
    return bed.proxy.bulkhead("learned-limit")["learned"]


def state(bed: Bed) -> Any:
    bed.get("/circuit-breaker/x")
    return bed.proxy.breaker("circuit-breaker")["state"]


def nothing(bed: Bed) -> None:
    pass


# --- the parts --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """A part, alone in its route. `look`: what it shows. `use` makes it remember something;
    `kept`: after a restart it shows the same, else what it showed at the start.
    `load`: the statuses of its requests under load.
    """

    look: Callable[[Bed], Any]
    kept: bool
    use: Callable[[Bed], None] = nothing
    upstream: Settings = field(default_factory=dict)
    route: Settings = field(default_factory=dict)
    load: frozenset[int] = frozenset({200})


HEADER = {"header": "user-id"}
CHECK = {"path": "/ill", "interval": "1s", "timeout": "1s", "unhealthy": 1}
PARTS = {
    "weights": Part(
        lambda bed: Counter(servers("/weights/x")(bed)),
        kept=True,
        upstream={"load_balancing": "round_robin"},
    ),
    "ewma": Part(
        lambda bed: [one is None for one in endpoints("ewma", "latency_ms")(bed)],
        kept=False,
        use=calls(*["/ewma/x"] * 8),
        upstream={"load_balancing": "ewma"},
    ),
    "hash": Part(
        servers("/hash/x"),
        kept=True,
        upstream={"load_balancing": "consistent_hash", "hash": HEADER},
    ),
    "slow-start": Part(endpoints("slow-start", "weight"), kept=True, upstream={"slow_start": "1h"}),
    "ejection": Part(
        endpoints("ejection", "ejected"),
        kept=False,
        use=calls(*["/ejection/ill"] * 2),
        upstream={
            "load_balancing": "round_robin",
            "outlier_detection": {"consecutive_failures": 1, "eject_for": {"initial": "5m"}},
        },
    ),
    "health-checks": Part(
        health,
        kept=True,
        upstream={
            "health_check": {"path": "/ill", "interval": "1s", "timeout": "1s", "unhealthy": 1}
        },
    ),
    "rate-limit": Part(
        statuses("/rate-limit/x"),
        kept=False,
        route={"rate_limits": [{"rate": "4/h"}]},
        load=frozenset({429}),
    ),
    "rate-limit-by-header": Part(
        statuses("/rate-limit-by-header/x"),
        kept=False,
        route={"rate_limits": [{"key": "header:user-id", "rate": "4/h"}]},
        load=frozenset({429}),
    ),
    "learned-limit": Part(
        learned, kept=False, use=learn_a_limit, route={"bulkhead": {"limit": "gradient"}}
    ),
    "hedge": Part(arrivals("/hedge/lag"), kept=True, route={"hedge": {"delay": "50ms"}}),
    "learned-hedge": Part(
        arrivals("/learned-hedge/lag"),
        kept=False,
        use=learn_a_delay,
        route={"hedge": {"delay": "p95"}},
    ),
    "split": Part(servers("/split/x"), kept=True, route={"split_by": HEADER}),
    "mirror": Part(copies, kept=True, route={"mirror": {"upstream": "copy"}}),
    "delay": Part(
        fault("/delay/x"), kept=True, route={"faults": [{"share": "100%", "delay": "20ms"}]}
    ),
    "throttle": Part(
        fault("/throttle/x"), kept=True, route={"faults": [{"share": "100%", "throttle": "1KiB"}]}
    ),
    "abort": Part(
        statuses("/abort/x", **{"x-fault-abort": "503"}),
        kept=True,
        route={"faults": [{"headers": True, "share": "100%"}], "retry": ONCE},
    ),
    "circuit-breaker": Part(
        state,
        kept=False,
        use=calls(*["/circuit-breaker/ill"] * 8),
        upstream={"load_balancing": "round_robin"},
        route={"circuit_breaker": breaker(open_for="5m"), "retry": ONCE},
        load=frozenset({503}),
    ),
    "inheritance": Part(inherits, kept=True),
}


def settings(bed: Bed) -> Settings:
    urls: list[Any] = [bed.one.url, bed.two.url]
    upstreams: Settings = {"app": {"endpoints": urls}, "copy": {"endpoints": [bed.two.url]}}
    routes = []
    for name, part in PARTS.items():
        upstreams[name] = {"endpoints": urls, **part.upstream}
        routes.append(route(name, name, **part.route))
    upstreams["weights"]["endpoints"] = [{"url": bed.one.url, "weight": 3}, bed.two.url]
    upstreams["split"]["endpoints"] = [bed.one.url]
    routes[list(PARTS).index("split")]["upstream"] = {"split": 50, "copy": 50}
    once = {"retry": {"attempts": 2, "on": ["connect-failure"]}}
    return {
        "upstreams": upstreams,
        "routes": routes,
        "policies": {"default": once},
        "drain": {"timeout": "20s"},
    }


class Load(threading.Thread):
    """Asks for every part in turn, on one connection, until it is told to stop."""

    def __init__(self, bed: Bed) -> None:
        super().__init__()
        self.port = bed.outbound
        self.stop = threading.Event()
        self.rounds = 0
        self.seen: dict[str, set[int]] = {name: set() for name in PARTS}

    def run(self) -> None:
        with RawClient(self.port) as client:
            while not self.stop.is_set():
                for name in PARTS:
                    answer = client.request("GET", f"/{name}/x", {"User-Id": "u1"})
                    self.seen[name].add(answer.status)
                self.rounds += 1

    def go_on(self) -> None:
        """Wait until a whole round has been made from now."""
        rounds = self.rounds
        eventually(lambda: self.rounds >= rounds + 2, 10)


def test_a_restart_loses_nothing_and_remembers_what_it_should(
    start_proxy: Callable[..., RunningProxy], bed: Bed
) -> None:
    bed.proxy = start_proxy(settings(bed))
    bed.outbound = bed.proxy.outbound
    fresh = {name: part.look(bed) for name, part in PARTS.items()}
    held = {name: hold(bed, name) for name in PARTS}
    for part in PARTS.values():
        part.use(bed)
    used = {name: part.look(bed) for name, part in PARTS.items()}
    for name, part in PARTS.items():
        assert (used[name] == fresh[name]) is part.kept, (name, fresh[name], used[name])

    load = Load(bed)
    load.start()
    load.go_on()
    bed.proxy.signal()
    eventually(lambda: not accepts(bed.proxy.inbound))
    load.go_on()
    bed.release.set()
    for name, client in held.items():
        with client:
            assert client.read_response().status == 200, name
    load.stop.set()
    load.join()
    assert load.seen == {name: set(part.load) for name, part in PARTS.items()}
    assert bed.proxy.wait(20) == 0

    bed.proxy = start_proxy(bed.proxy.config)
    assert {name: part.look(bed) for name, part in PARTS.items()} == fresh


def hold(bed: Bed, name: str) -> RawClient:
    """A request in flight, which its service answers when it is released."""
    inbound = name == "inheritance"
    client = bed.proxy.client("inbound" if inbound else "outbound", timeout=20)
    path = "/call-and-hold" if inbound else f"/{name}/hold"
    fields = {"User-Id": "u1", "traceparent": TRACE, "X-Request-Timeout-Ms": "20000"}
    client.send(request_bytes("GET", path, fields, request_id=f"held-{name}"))
    eventually(lambda: bed.count(f"held-{name}"))
    return client
