"""Who may ask the admin API.

    health, metrics   from other machines as `admin.remote` says, with any Host
    reading           from loopback, and with `read` from other machines
    changing          only from loopback, and not from a page of another origin

A web page in a browser on this machine must not be able to send requests, although they come from
loopback too. Outside the first group, a request whose Host is a name other than localhost is
refused (DNS rebinding), and so is a POST with the Origin of another page.
"""

from ipaddress import IPv6Address, ip_address

from aiohttp import hdrs, web

from proxy.config.server_model import RemoteAccess

_READING = (hdrs.METH_GET, hdrs.METH_HEAD)

PUBLIC = {
    "/health/live": RemoteAccess.HEALTH,
    "/health/ready": RemoteAccess.HEALTH,
    "/health/inbound-drained": RemoteAccess.HEALTH,  # the kubelet sends it from outside the pod
    "/metrics": RemoteAccess.METRICS,
}
"""Paths of routes, not of requests: compared with the route that the router matched."""


def refusal(request: web.Request, remote: frozenset[RemoteAccess]) -> str | None:
    """Why the request is refused, as a sentence; None if it is allowed."""
    needed = _needed(request)
    if not is_loopback(request.remote) and not _open_to_others(needed, remote):
        return (
            "Only this machine may request this; from elsewhere use kubectl port-forward, or "
            "see admin.remote in the configuration."
        )
    if needed in (RemoteAccess.HEALTH, RemoteAccess.METRICS):
        return None
    hosts = request.headers.getall(hdrs.HOST, [])
    if not all(names_this_machine(host) for host in hosts):
        return "The Host of a request must be an IP address or localhost."
    if request.method not in _READING and not all(
        same_origin(origin, hosts) for origin in request.headers.getall(hdrs.ORIGIN, [])
    ):
        return "A page of another origin cannot change anything here."
    return None


def _needed(request: web.Request) -> RemoteAccess | None:
    """The access that another machine needs; None: never allowed."""
    if request.method not in _READING:
        return None
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    return PUBLIC.get(path, RemoteAccess.READ)


def _open_to_others(needed: RemoteAccess | None, remote: frozenset[RemoteAccess]) -> bool:
    return needed is not None and (needed in remote or RemoteAccess.READ in remote)


def is_loopback(peer: str | None) -> bool:
    """Whether a peer's address is in 127.0.0.0/8 (also IPv4-mapped) or ::1."""
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def names_this_machine(host: str) -> bool:
    """Whether a Host field holds an IP address or localhost, with or without a port."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or (port and not _is_port(port)):
            return False
    else:
        name, colon, number = host.partition(":")
        if colon and not _is_port(colon + number):
            return False
        if name.lower() in ("localhost", "localhost."):
            return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_port(text: str) -> bool:
    return text.startswith(":") and (text[1:].isdecimal() or text == ":") and text.isascii()


def same_origin(origin: str, hosts: list[str]) -> bool:
    """Whether `origin` is that of this server, as the browser addresses it."""
    scheme, separator, authority = origin.lower().partition("://")
    return (
        scheme in ("http", "https")
        and bool(separator)
        and authority in (host.lower() for host in hosts)
    )
