"""An address that an endpoint is reached at, and the version of HTTP that is spoken there."""

from proxy.config.model import UpstreamProtocol

_HTTP1 = UpstreamProtocol.HTTP1


class Address:
    """A configured `scheme://host:port` at one of the IP addresses of its host.

    `protocol`: of the connections to it; AUTO lets TLS decide (ALPN). Tunnels have HTTP1, because
    nothing is sent before the tunnel.
    """

    __slots__ = ("host", "ip", "label", "port", "protocol", "scheme", "six", "where")

    def __init__(
        self, scheme: str, host: str, port: int, ip: str, protocol: UpstreamProtocol = _HTTP1
    ) -> None:
        """`host` as configured, without brackets; `ip` equals it where it is a literal."""
        self.scheme = scheme
        self.host = host
        self.port = port
        self.ip = ip
        self.protocol = protocol
        self.six = ":" in ip
        self.label = f"[{ip}]:{port}" if self.six else f"{ip}:{port}"
        self.where = self.label if host == ip else f"{self.label} ({host})"

    def speaking(self, protocol: UpstreamProtocol) -> "Address":
        """The same address with another protocol."""
        return Address(self.scheme, self.host, self.port, self.ip, protocol)
