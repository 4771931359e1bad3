"""Active health checks of an upstream's endpoints: HTTP, or gRPC's health service.

    wait ──interval ± jitter──▶ lease ──▶ request ──▶ response ──▶ passed ─┐
      ▲                           └─────────┴── timeout, loss ──▶ failed ──┤
      └────────────────────────────────────────────────────────────────────┘

Rules:

- a check does not count as traffic: it has connections of its own, opened as the upstream's are
  (TLS, HTTP/2), and no metric, log or policy of requests sees it;
- `unhealthy` failures in a row make an endpoint unhealthy, `healthy` passes in a row healthy again.
  Until then it is used;
- what this process did to itself says nothing: a shortage of descriptors, a time in which it stood
  still;
- a response has to be complete within the timeout, unless it is longer than `MOST_BYTES`.
"""

import logging
from collections.abc import Callable
from typing import Final

from proxy.clock import Random
from proxy.config.model import ConnectionsConfig, HealthCheckConfig, UpstreamProtocol
from proxy.errors import ConnectError, ProxyError
from proxy.grpc_status import NAMES
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.http.grpc import STATUS_FIELD, status_in, trailer_values
from proxy.http.grpc_health import PATH, question, serving_status
from proxy.http.h1.request import RequestParser
from proxy.http.message import RequestHead, ResponseHead
from proxy.outcome import OutcomeSet
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.leases import Connects, Scheduler, Ticket
from proxy.upstream.pool import Pool
from proxy.upstream.standings import StandingCounts
from proxy.wire.alarm import FINEST, HELD_UP, LATE
from proxy.wire.streams import NO_TRAILERS, StreamHandler, Trailers, UpstreamStream

MOST_BYTES: Final = 64 * 1024
"""Of a response; what is longer is judged by its status, and its connection closed."""
SPREAD_SECONDS: Final = 1.0
"""The first checks begin within this time, at random."""

_HTTP2: Final = UpstreamProtocol.HTTP2
_log = logging.getLogger("proxy.upstream")


class Check(StreamHandler):
    """The checks of one endpoint, one after the other."""

    __slots__ = (
        "_bad",
        "_body",
        "_checks",
        "_due",
        "_good",
        "_head",
        "_lease",
        "_missed",
        "_pool",
        "_postponed",
        "_request",
        "_stream",
        "_timer",
        "endpoint",
    )

    def __init__(self, checks: "HealthChecks", endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._checks = checks
        self._request = checks.request_to(endpoint)
        self._pool = checks.pool_for(endpoint)
        self._good = self._bad = 0
        self._due = 0.0
        self._postponed = self._missed = False
        self._lease: Ticket | None = None
        self._stream: UpstreamStream | None = None
        self._head: ResponseHead | None = None
        self._body = b""
        first = min(checks.config.interval, SPREAD_SECONDS) * checks.random()
        self._timer: Ticket | None = checks.loop.call_later(first, self._begin)

    def close(self) -> None:
        """Stop, and cancel a check in flight."""
        self._stop()
        self._pool.close()

    # --- one check ------------------------------------------------------------------------------

    def _begin(self) -> None:
        checks = self._checks
        timeout = checks.config.timeout
        self._postponed = self._missed = False
        self._head = None
        self._body = b""
        self._due = checks.loop.time() + timeout
        self._timer = checks.loop.call_later(timeout, self._time_out)
        stream = self._pool.take()
        if stream is None:
            self._lease = self._pool.request(self._leased, timeout)
        else:
            self._send(stream)

    def _leased(self, answer: UpstreamStream | ConnectError) -> None:
        self._lease = None
        if isinstance(answer, UpstreamStream):
            self._send(answer)
        elif answer.condition is None:
            self._end()
        else:
            self._failed(answer.reason, answer.detail)

    def _send(self, stream: UpstreamStream) -> None:
        self._stream = stream
        stream.send_head(self, self._request, [], self._checks.body, True, NO_TRAILERS)

    def _time_out(self) -> None:
        """The timeout is over; first read what had already arrived if this process stood still."""
        loop = self._checks.loop
        behind = loop.time() - self._due
        if behind > HELD_UP and not self._postponed:
            self._postponed = True
            self._missed = behind > LATE
            self._timer = loop.call_later(FINEST, self._time_out)
        elif self._missed:
            self._end()
        else:
            self._failed("timeout")

    # --- the stream's events --------------------------------------------------------------------

    def on_head(self, head: ResponseHead, piece: bytes, ended: bool, trailers: Trailers) -> None:
        self._head = head
        self._body = piece
        if ended:
            self._judge(trailers, reusable=True)

    def on_piece(self, piece: bytes) -> None:
        self._body += piece
        if len(self._body) > MOST_BYTES:
            self._judge(NO_TRAILERS, reusable=False)

    def on_end(self, trailers: Trailers) -> None:
        self._judge(trailers, reusable=True)

    def on_lost(self, error: ProxyError) -> None:
        if self._stream is not None:
            self._failed(error.reason, error.detail)

    def _judge(self, trailers: Trailers, *, reusable: bool) -> None:
        head = self._head
        assert head is not None
        self._give_back(reusable=reusable)
        if self._checks.config.grpc is None:
            said = str(head.status)
            passed = head.status in self._checks.expected
        else:
            said = _grpc_answer(head, self._body, trailers)
            passed = said == "SERVING"
        if passed:
            self._passed(said)
        else:
            self._failed(said)

    # --- its result -----------------------------------------------------------------------------

    def _passed(self, said: str) -> None:
        checks, endpoint = self._checks, self.endpoint
        checks.counts.checks["passed"] += 1
        self._bad = 0
        self._good += 1
        self._end()
        endpoint.check = said
        member = endpoint.member
        if member is None:
            return
        if self._good >= checks.config.healthy and (member.unhealthy or not member.checked):
            if member.unhealthy:
                _log.info("endpoint %s of %s is healthy again", endpoint.label, checks.name)
            member.mark(unhealthy=False)
        if not member.unhealthy:
            member.passed_check(checks.loop.time())

    def _failed(self, said: str, detail: str = "") -> None:
        checks, endpoint = self._checks, self.endpoint
        checks.counts.checks["failed"] += 1
        self._good = 0
        self._bad += 1
        self._end()
        endpoint.check = said
        member = endpoint.member
        if member is not None and not member.unhealthy and self._bad >= checks.config.unhealthy:
            _log.warning(
                "endpoint %s of %s is unhealthy: %d health checks in a row failed, the last one: "
                "%s",
                endpoint.label,
                checks.name,
                self._bad,
                f"{said}: {detail}" if detail else said,
            )
            member.mark(unhealthy=True)

    def _end(self) -> None:
        """This check is over; the next one follows."""
        self._stop()
        checks = self._checks
        jitter = checks.config.jitter
        wait = checks.config.interval * (1.0 + jitter * (2.0 * checks.random() - 1.0))
        self._timer = checks.loop.call_later(wait, self._begin)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None
        self._give_back(reusable=False)

    def _give_back(self, *, reusable: bool) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.detach()
            self._pool.give_back(stream, reusable)


class HealthChecks:
    """The checks of one upstream: `renew` says which endpoints there are."""

    __slots__ = (
        "_checks",
        "_connections",
        "_connector",
        "_on_round",
        "_parser",
        "_timer",
        "body",
        "config",
        "counts",
        "expected",
        "loop",
        "name",
        "random",
    )

    def __init__(
        self,
        name: str,
        config: HealthCheckConfig,
        connections: ConnectionsConfig,
        connector: Connects,
        loop: Scheduler,
        random: Random,
        counts: StandingCounts,
        on_round: Callable[[], None] | None,
    ) -> None:
        """`on_round` is called in each interval: names are looked up without traffic too."""
        self.name = name
        self.config = config
        self.loop = loop
        self.random = random
        self.counts = counts
        self.expected = OutcomeSet(config.expect).statuses
        self.body = b"" if config.grpc is None else question(config.grpc)
        self._connections = ConnectionsConfig(
            max=2, idle_timeout=connections.idle_timeout, keepalive=connections.keepalive
        )
        self._connector = connector
        self._parser = RequestParser((), max_url=16 * 1024, max_fields=64)
        self._checks: dict[Endpoint, Check] = {}
        self._on_round = on_round
        self._timer: Ticket | None = None
        if on_round is not None:
            self._round()

    def renew(self, endpoints: list[Endpoint]) -> None:
        """Check these endpoints, and no others."""
        present = set(endpoints)
        for endpoint in [one for one in self._checks if one not in present]:
            self._checks.pop(endpoint).close()
        for endpoint in endpoints:
            if endpoint not in self._checks:
                self._checks[endpoint] = Check(self, endpoint)

    def close(self) -> None:
        """Stop all checks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for check in self._checks.values():
            check.close()
        self._checks.clear()

    def _round(self) -> None:
        assert self._on_round is not None
        self._timer = self.loop.call_later(self.config.interval, self._round)
        self._on_round()

    # --- for its checks -------------------------------------------------------------------------

    def pool_for(self, endpoint: Endpoint) -> Pool:
        """Connections that carry nothing but checks."""
        address = endpoint.address
        if self.config.grpc is not None:
            address = address.speaking(_HTTP2)
        return Pool(address, self._connections, self._connector, self.loop)

    def request_to(self, endpoint: Endpoint) -> RequestHead:
        """The head of every check of an endpoint."""
        usual = endpoint.port == DEFAULT_PORTS.get(endpoint.scheme)
        host = str(Authority(endpoint.host, None if usual else endpoint.port))
        if self.config.grpc is None:
            line, fields = f"GET {self.config.path}", ""
        else:
            line = f"POST {PATH}"
            fields = (
                f"Content-Type: application/grpc\r\nContent-Length: {len(self.body)}\r\n"
                "TE: trailers\r\nConnection: TE\r\n"
            )
        agent = "User-Agent: resilience-proxy health-check\r\n"
        return self._parser.parse(
            f"{line} HTTP/1.1\r\nHost: {host}\r\n{agent}{fields}\r\n".encode()
        )


def _grpc_answer(head: ResponseHead, body: bytes, trailers: Trailers) -> str:
    """SERVING, or what else the service said: a status of health, of gRPC or of HTTP."""
    code = status_in(head.values(STATUS_FIELD) or trailer_values(trailers, STATUS_FIELD))
    if code < 0:
        return str(head.status) if head.status != 200 else "no grpc-status"
    if code > 0:
        return NAMES[code]
    return serving_status(body) or "malformed"
