"""The keys outside policies, routes and upstreams: listeners, admin, limits, logs."""

from typing import Any, ClassVar

from proxy.config.advice import OFF_WORDS, ON_WORDS
from proxy.config.cursor import Cursor
from proxy.config.kinds import (
    ENVIRONMENT,
    Choice,
    Duration,
    Integer,
    JsonSchema,
    Kind,
    Leaf,
    Ratio,
    Size,
    Text,
)
from proxy.config.model import EgressConfig, LimitsConfig, ListenersConfig
from proxy.config.names import (
    FILE,
    Addresses,
    AddressKind,
    check_egress_pattern,
    check_network,
)
from proxy.config.record import Field, Given, ListOf, Record, SetOf
from proxy.config.server_model import (
    AccessLogConfig,
    AdminConfig,
    DrainConfig,
    ForwardedConfig,
    ListenerConfig,
    ListenerProtocol,
    ListenerTls,
    LogConfig,
    LogFormat,
    LogLevel,
    Propagation,
    RemoteAccess,
    TraceExporter,
    TracingConfig,
    Trust,
)
from proxy.config.suggestions import did_you_mean
from proxy.units import format_duration, format_ratio, parse_ratio


def _check_drain(value: DrainConfig, given: Given, at: Cursor) -> None:
    if value.delay >= value.timeout:
        (given.get("delay") or given.get("timeout") or at).error(
            f"delay ({format_duration(value.delay)}) must be less than timeout "
            f"({format_duration(value.timeout)})"
        )


LISTENER_TLS = Record(
    ListenerTls,
    {
        "cert": Field(FILE, "The certificate chain, PEM; watched and reloaded.", required=True),
        "key": Field(FILE, "Its private key, PEM.", required=True),
        "client_ca": Field(FILE, "CAs of the clients' certificates; makes TLS mutual."),
    },
    definition="listener_tls",
)


class TrustKind(Kind[Trust]):
    """``all``, ``none`` or a list of networks."""

    _networks = ListOf(Text("a network such as 10.0.0.0/8", check_network), "networks")

    def read(self, at: Cursor, base: Trust | None = None) -> Trust:
        found = at.text()
        if found is None:
            return Trust(False, self._networks.read(at))
        if found[0] in ("all", "none"):
            return Trust(found[0] == "all")
        hint = did_you_mean(found[0], ("all", "none"))
        if found[0][:1].isdigit() or ":" in found[0]:
            hint = f"; did you mean [{found[0]}]?"
        raise at.error(f"must be all, none or a list of networks, not {found[0]!r}{hint}")

    def dump(self, value: Trust, reveal: bool) -> Any:
        if value.everyone:
            return "all"
        return list(value.networks) or "none"

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"enum": ["all", "none"]}, self._networks.schema(), ENVIRONMENT]}


FORWARDED = Record(
    ForwardedConfig,
    {
        "trust": Field(
            TrustKind(),
            "Peers whose X-Forwarded-Proto, -Host and -Port are kept: all, none or a list of "
            "networks such as 10.0.0.0/8. From other peers all X-Forwarded-*, Forwarded and "
            "X-Real-IP are dropped, and the proxy writes its own.",
        ),
    },
    definition="forwarded",
)


def _listener(doc: str, **more: Field) -> Field:
    keys = {
        "address": Field(
            Addresses(),
            "HOST:PORT to listen on, or a list of them; port 0: any free one; [::]:PORT serves "
            "both families.",
            ("addresses",),
        ),
        "protocols": Field(
            SetOf(Choice(ListenerProtocol), "http1 and http2", minimum=1),
            "What clients may speak. In the clear HTTP/2 is recognized by its preface (prior "
            "knowledge), under TLS it is chosen by ALPN.",
        ),
        "tls": Field(LISTENER_TLS, "Serve TLS."),
        **more,
    }
    return Field(Record(ListenerConfig, keys), doc)


LISTENERS = Record(
    ListenersConfig,
    {
        "outbound": _listener("The service's own calls leave through here."),
        "inbound": _listener(
            "The service's callers come in here.",
            forwarded=Field(FORWARDED, "What earlier proxies say of the request."),
        ),
    },
)

ADMIN = Record(
    AdminConfig,
    {
        "address": Field(AddressKind(), "Health, metrics, status and the page."),
        "remote": Field(
            SetOf(Choice(RemoteAccess), "health, metrics and read"),
            "What other machines can request; read: everything that changes nothing.",
        ),
    },
)

LIMITS = Record(
    LimitsConfig,
    {
        "connections": Field(Integer(1), "Open connections; more are answered 503 at once."),
        "header_bytes": Field(Size(), "Size of a request's head; more is 431."),
        "url_bytes": Field(Size(), "Size of the URL; more is 414."),
        "headers": Field(Integer(1), "Number of header fields; more is 431."),
        "header_timeout": Field(
            Duration(), "From a request's first byte to the end of its head; then 408."
        ),
        "idle_timeout": Field(
            Duration(),
            "How long a client connection stays open between two requests, or with unread answers.",
        ),
        "body_bytes": Field(Size(zero=True), "Size of a request's body; more is 413. 0: no limit."),
        "body_rate": Field(
            Size(zero=True),
            "Minimum bytes per second at which a client of the inbound listener sends its body or "
            "reads its response: the average over the time in which the proxy waits for it, after "
            "5 s of that time. A slower client gets 408, or its response is cut. Not for gRPC, "
            "upgrades and tunnels. 0: no limit.",
        ),
        "streams": Field(
            Integer(1), "Requests of one HTTP/2 connection at once; more are refused unprocessed."
        ),
        "connection_age": Field(
            Duration(zero=True),
            "Age, ±10 %, at which a client connection is asked to end: HTTP/2's GOAWAY, or "
            "Connection: close. Requests in flight finish. 0s: no limit.",
        ),
    },
)

DRAIN = Record(
    DrainConfig,
    {
        "delay": Field(
            Duration(zero=True), "Continue to accept for this time after the drain began."
        ),
        "timeout": Field(Duration(), "Time from the start of the drain until the rest is cut."),
    },
    check=_check_drain,
)


class LoggedRequests(Leaf[Any]):
    """none, errors, all or a ratio: a pair of the ratio and whether errors are logged."""

    _words: ClassVar = {"none": (0.0, False), "errors": (0.0, True), "all": (1.0, True)}
    wants = "none, errors, all or a ratio such as 10%"

    def parse(self, text: str) -> Any:
        if text in self._words:
            return self._words[text]
        if not text[:1].isdigit():
            word = "all" if text.lower() in ON_WORDS else "none"
            switch = text.lower() in ON_WORDS | OFF_WORDS
            hint = f"; did you mean '{word}'?" if switch else did_you_mean(text, self._words)
            raise ValueError(f"must be {self.wants}, not {text!r}{hint}")
        return parse_ratio(text), True

    def dump(self, value: Any, reveal: bool) -> str:
        for word, meant in self._words.items():
            if value == meant:
                return word
        return format_ratio(value[0])

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"enum": list(self._words)}, *Ratio().schema()["anyOf"]]}


ACCESS_LOG = Record(
    AccessLogConfig,
    {
        "requests": Field(
            LoggedRequests(),
            "none; errors: the proxy's answers, 5xx, and requests with a second attempt; "
            "all; or a ratio: that share of the others, and every error.",
            ("ratio", "errors"),
        ),
        "format": Field(
            Choice(LogFormat), "One JSON object per line, or text; auto: text on a terminal."
        ),
    },
)

LOG = Record(
    LogConfig,
    {
        "level": Field(
            Choice(LogLevel), "The least that is logged; POST /log-level changes it at once."
        ),
    },
)

TRACING = Record(
    TracingConfig,
    {
        "propagate": Field(
            ListOf(Choice(Propagation), "tracecontext, baggage, b3 and b3multi"),
            "Formats of trace headers; the order is precedence when reading, all are written.",
        ),
        "sample": Field(
            Ratio(),
            "Ratio of new traces to sample; a caller's decision is kept. Default: "
            "$OTEL_TRACES_SAMPLER.",
        ),
        "exporter": Field(
            Choice(TraceExporter),
            "Exporter of spans. otlp: the OTEL_EXPORTER_OTLP_* variables apply; console: standard "
            "error. Default: $OTEL_TRACES_EXPORTER. See tracing.md.",
        ),
    },
)

EGRESS = Record(
    EgressConfig,
    {
        "allow": Field(
            ListOf(Text("host, *.suffix, host:port or *:443", check_egress_pattern), "authorities"),
            "Authorities that routes without an upstream, and CONNECT, can reach.",
        ),
        "connect_ports": Field(
            SetOf(Integer(1, 65535), "ports"),
            "The ports that CONNECT opens tunnels to. After a CONNECT to another port plain "
            "HTTP/1.1 must follow.",
        ),
    },
)
