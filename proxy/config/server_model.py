"""The configuration of the process: its addresses, drain, logs and tracing.

As in `proxy.config.model`, values are typed and immutable, and durations are seconds.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on: an IP address or name, and a port (0: any free one).

    The host ``::`` serves both families: every address of this machine.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


@dataclass(frozen=True, slots=True)
class ListenerTls:
    cert: str
    key: str
    client_ca: str | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Peers: everyone, or those in `networks`, in CIDR notation."""

    everyone: bool = True
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ForwardedConfig:
    """Of the inbound listener: whose X-Forwarded-Proto, -Host and -Port stay."""

    trust: Trust = Trust()


class ListenerProtocol(Enum):
    """A version of HTTP that clients may speak."""

    HTTP1 = "http1"
    HTTP2 = "http2"


ALL_PROTOCOLS: Final = frozenset(ListenerProtocol)


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """At least one address."""

    addresses: tuple[Address, ...]
    protocols: frozenset[ListenerProtocol] = ALL_PROTOCOLS
    tls: ListenerTls | None = None
    forwarded: ForwardedConfig = ForwardedConfig()

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return all(address.local for address in self.addresses)


class RemoteAccess(Enum):
    """What other machines may request from the admin address."""

    HEALTH = "health"
    METRICS = "metrics"
    READ = "read"


@dataclass(frozen=True, slots=True)
class AdminConfig:
    address: Address = Address("0.0.0.0", 7072)
    remote: frozenset[RemoteAccess] = frozenset({RemoteAccess.HEALTH, RemoteAccess.METRICS})


@dataclass(frozen=True, slots=True)
class DrainConfig:
    delay: float = 5.0
    timeout: float = 25.0


class LogFormat(Enum):
    JSON = "json"
    TEXT = "text"
    AUTO = "auto"
    """Text where it goes to a terminal, else JSON."""


@dataclass(frozen=True, slots=True)
class AccessLogConfig:
    """`ratio` of the exchanges without trouble are logged; `errors`: all with trouble are.

    none: (0, False); errors: (0, True); all: (1, True); a ratio: (ratio, True).
    """

    ratio: float = 0.0
    errors: bool = True
    format: LogFormat = LogFormat.JSON


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The proxy's own log."""

    level: LogLevel = LogLevel.INFO


class Propagation(Enum):
    TRACECONTEXT = "tracecontext"
    BAGGAGE = "baggage"
    B3 = "b3"
    B3MULTI = "b3multi"


class TraceExporter(Enum):
    NONE = "none"
    OTLP = "otlp"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True)
class TracingConfig:
    propagate: tuple[Propagation, ...] = (Propagation.TRACECONTEXT, Propagation.BAGGAGE)
    sample: float = 0.0
    exporter: TraceExporter = TraceExporter.NONE
