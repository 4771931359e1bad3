"""An address that an endpoint is reached at."""


class Address:
    """A configured `scheme://host:port` at one of the IP addresses of its host."""

    __slots__ = ("host", "ip", "label", "port", "scheme", "six", "where")

    def __init__(self, scheme: str, host: str, port: int, ip: str) -> None:
        """`host` as configured, without brackets; `ip` equals it where it is a literal."""
        self.scheme = scheme
        self.host = host
        self.port = port
        self.ip = ip
        self.six = ":" in ip
        self.label = f"[{ip}]:{port}" if self.six else f"{ip}:{port}"
        self.where = self.label if host == ip else f"{self.label} ({host})"
