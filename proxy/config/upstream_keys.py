"""The keys of upstreams."""

from proxy.config.cursor import Cursor
from proxy.config.endpoint_keys import (
    HEALTH_CHECK,
    OUTLIERS,
    WeightedEndpoint,
    check_endpoints,
)
from proxy.config.hash_kinds import HashKeyKind
from proxy.config.kinds import Boolean, Choice, Duration, Integer, Text
from proxy.config.model import (
    APP_UPSTREAM,
    ConnectionsConfig,
    KeepaliveConfig,
    LoadBalancing,
    UpstreamConfig,
    UpstreamProtocol,
    UpstreamTls,
)
from proxy.config.names import FILE, NAME, check_host
from proxy.config.record import Field, Given, ListOf, NamedRecords, Record


def _check_upstream_tls(value: UpstreamTls, given: Given, at: Cursor) -> None:
    if (value.cert is None) != (value.key is None):
        missing = "key" if value.key is None else "cert"
        at.error(f"'{missing}' is missing: a client certificate is 'cert' and 'key' together")


KEEPALIVE = Record(
    KeepaliveConfig,
    {
        "interval": Field(
            Duration(zero=True),
            "Time without a byte; 0s: no PING. gRPC servers refuse more than one in 5 minutes.",
        ),
        "timeout": Field(Duration(), "A connection whose PING is not answered by then is lost."),
    },
    definition="keepalive",
)

_UPSTREAM_KEYS = {
    "endpoints": Field(
        ListOf(WeightedEndpoint(), "URLs such as http://inventory:8080", minimum=1),
        "scheme://host[:port], or {url: …, weight: 3}; a name with several addresses is several "
        "endpoints of that weight.",
        required=True,
    ),
    "protocol": Field(
        Choice(UpstreamProtocol),
        "auto: https as TLS agrees (ALPN); http: gRPC as HTTP/2, all else as HTTP/1.1.",
    ),
    "load_balancing": Field(
        Choice(LoadBalancing),
        "least_request: the less busy of two random endpoints; ewma: the faster one; "
        "consistent_hash: one key, one endpoint.",
    ),
    "hash": Field(
        HashKeyKind(), "The key of consistent_hash; a request without one: as least_request."
    ),
    "slow_start": Field(
        Duration(zero=True), "The time in which the weight of a new or returned endpoint rises."
    ),
    "outlier_detection": Field(OUTLIERS, "Ejects endpoints that fail; off unless it is written."),
    "health_check": Field(HEALTH_CHECK, "Asks endpoints for their health; off unless written."),
    "dns_refresh": Field(Duration(), "How often names are looked up again."),
    "connections": Field(
        Record(
            ConnectionsConfig,
            {
                "max": Field(Integer(1), "Maximum to one endpoint; further exchanges wait."),
                "idle_timeout": Field(
                    Duration(zero=True), "Keep it below the server's own, often 5s."
                ),
                "max_requests": Field(
                    Integer(0), "Maximum requests on one connection; 0: no limit."
                ),
                "max_streams": Field(
                    Integer(1, 10000),
                    "Maximum at once on one HTTP/2 connection; further ones open another.",
                ),
                "keepalive": Field(
                    KEEPALIVE, "PING on an HTTP/2 connection while requests are open on it."
                ),
            },
            definition="connections",
        ),
        "Connections to one endpoint.",
    ),
    "tls": Field(
        Record(
            UpstreamTls,
            {
                "ca": Field(FILE, "CAs of the endpoints' certificates; default: the system's."),
                "cert": Field(FILE, "A client certificate, PEM."),
                "key": Field(FILE, "Its private key, PEM."),
                "server_name": Field(
                    Text("a host name", check_host),
                    "The expected name, instead of the endpoint's host.",
                ),
                "verify": Field(Boolean(), "false: accept any certificate."),
            },
            check=_check_upstream_tls,
            definition="upstream_tls",
        ),
        "For https endpoints.",
    ),
}


def _check_upstream(value: UpstreamConfig, given: Given, at: Cursor) -> None:
    check_endpoints(value, given, at)
    if "tls" in given and not any(endpoint.scheme == "https" for endpoint in value.endpoints):
        given["tls"].warning("has no effect: none of the endpoints is https")
    elif value.tls is not None and not value.tls.verify:
        given["tls"].warning("verify is false: any certificate is accepted")


UPSTREAM = Record(UpstreamConfig, _UPSTREAM_KEYS, check=_check_upstream, definition="upstream")


class Upstreams(NamedRecords[UpstreamConfig]):
    """Upstreams by name. ``app`` always exists."""

    def __init__(self) -> None:
        super().__init__(NAME, UPSTREAM)

    def read(
        self, at: Cursor, base: dict[str, UpstreamConfig] | None = None
    ) -> dict[str, UpstreamConfig]:
        return super().read(at, base or {APP_UPSTREAM.name: APP_UPSTREAM})

    def _announce(self, at: Cursor, names: tuple[str, ...]) -> None:
        at.reading.upstreams = (*names, *({APP_UPSTREAM.name} - set(names)))
