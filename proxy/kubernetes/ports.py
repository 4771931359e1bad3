"""Takes over a service's port: the sidecar gets its name, and the port another one.

A Service whose `targetPort` is a name finds the port by that name in any container. The sidecar's
inbound port takes the name, so no Service needs a change. Hooks and probes of the service that use
the name get the new one.
"""

from collections.abc import Iterator

from proxy.kubernetes.settings import InvalidSetting
from proxy.kubernetes.shape import items_of, mapping_of
from proxy.kubernetes.sidecar import INBOUND_PORT, INBOUND_PORT_NAME, PORTS, Object

MAX_NAME = 15
"""Maximum characters of a port's name (RFC 6335, section 5.1)."""

_SUFFIX = "-app"
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_HOOKS = ("postStart", "preStop")
_APP_PORT_VARIABLE = "RESILIENCE_PROXY_APP_PORT"


class Ports:
    """The TCP ports of a pod's containers."""

    def __init__(self, spec: Object) -> None:
        self._containers = items_of(spec, "containers")

    def number_of(self, port: int | str) -> int:
        """The number of a port given by number or name. Raises InvalidSetting."""
        number = port
        if isinstance(port, str):
            named = [p.get("containerPort") for _, p in self._tcp() if p.get("name") == port]
            if len(named) != 1 or not isinstance(named[0], int):
                raise InvalidSetting("app-port", f"no container has one port named {port!r}")
            number = named[0]
        if number in PORTS or not isinstance(number, int):
            raise InvalidSetting("app-port", f"{port} is one of the sidecar's own ports")
        return number

    def take_over(self, number: int) -> str | None:
        """Rename the port with that number; returns its previous name or None."""
        for container, port in self._tcp():
            name = port.get("name")
            if port.get("containerPort") == number and isinstance(name, str) and name:
                self._rename(container, port, self._free_name(name))
                return name
        return None

    def give_back(self, sidecar: Object) -> None:
        """Undo the renaming for `sidecar`, which was injected before."""
        names = [
            port.get("name")
            for port in items_of(sidecar, "ports")
            if port.get("containerPort") == INBOUND_PORT
        ]
        numbers = [
            variable.get("value")
            for variable in items_of(sidecar, "env")
            if variable.get("name") == _APP_PORT_VARIABLE
        ]
        if not names or not numbers or names[0] in (None, INBOUND_PORT_NAME):
            return
        for container, port in self._tcp():
            if str(port.get("containerPort")) == numbers[0] and port.get("name"):
                self._rename(container, port, str(names[0]))
                return

    def _tcp(self) -> Iterator[tuple[Object, Object]]:
        for container in self._containers:
            for port in items_of(container, "ports"):
                if (port.get("protocol") or "TCP") == "TCP":
                    yield container, port

    def _free_name(self, name: str) -> str:
        """``http-app``, shortened if necessary, with a number if it is taken."""
        taken = {port.get("name") for _, port in self._tcp()}
        number = 1
        while True:
            suffix = _SUFFIX if number == 1 else f"{_SUFFIX}{number}"
            made = name[: MAX_NAME - len(suffix)].rstrip("-") + suffix
            if made not in taken:
                return made
            number += 1

    def _rename(self, container: Object, port: Object, new: str) -> None:
        old = port["name"]
        port["name"] = new
        for action in _actions(container):
            # A name in a probe or hook refers to the same container's ports.
            for kind in ("httpGet", "tcpSocket"):
                asked = mapping_of(action, kind)
                if asked.get("port") == old:
                    asked["port"] = new


def _actions(container: Object) -> Iterator[Object]:
    for key in _PROBES:
        yield mapping_of(container, key)
    lifecycle = mapping_of(container, "lifecycle")
    for key in _HOOKS:
        yield mapping_of(lifecycle, key)
