"""The authorities that can be reached without an upstream."""

from proxy.config.model import EgressConfig
from proxy.config.names import split_port
from proxy.routing.matchers import HostPatterns


class EgressRules:
    """`allow`: host, *.suffix, host:port, *.suffix:port, *:443 and ``*``, compiled."""

    __slots__ = ("_any_port", "_by_port", "_connect_ports")

    def __init__(self, config: EgressConfig) -> None:
        without_port: list[str] = []
        by_port: dict[int, list[str]] = {}
        for pattern in config.allow:
            host, port = split_port(pattern)
            host = host.strip("[]")
            (without_port if port is None else by_port.setdefault(port, [])).append(host)
        self._any_port = HostPatterns(without_port)
        self._by_port = {port: HostPatterns(hosts) for port, hosts in by_port.items()}
        self._connect_ports = config.connect_ports

    def allows(self, host: str, port: int) -> bool:
        """Whether `host` (lower case, without brackets) can be reached at this port."""
        if host in self._any_port:
            return True
        patterns = self._by_port.get(port)
        return patterns is not None and host in patterns

    def connect_port_allowed(self, port: int) -> bool:
        """Whether CONNECT can open a tunnel to this port, for any host."""
        return port in self._connect_ports
