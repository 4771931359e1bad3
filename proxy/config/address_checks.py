"""Checks of addresses: two listeners at one address, this proxy as an upstream, an open proxy."""

from collections.abc import Iterator

from proxy.config.model import Config, Listener
from proxy.config.problems import Mark, Marks, Path, Problems, format_path
from proxy.config.server_model import Address


def check_addresses(config: Config, given: Marks, problems: Problems) -> None:
    """Two listeners at one address are an error, reported at the later one in the file."""
    places: list[tuple[Path, Address]] = [
        (("listeners", listener.value, "address"), address)
        for listener in Listener
        for address in config.listeners.of(listener).addresses
    ]
    places.append((("admin", "address"), config.admin.address))
    for index, (path, address) in enumerate(places):
        for other_path, other in places[:index]:
            if path == other_path or not _clash(address, other):
                continue
            if path in given:
                _report_clash(path, other_path, other, given, problems)
            else:
                _report_clash(other_path, path, address, given, problems)


def warn_of_addresses(config: Config, given: Marks, problems: Problems) -> None:
    _warn_loops(config, given, problems)
    _warn_open_proxy(config, given, problems)


def _report_clash(
    path: Path, taken_path: Path, taken: Address, given: Marks, problems: Problems
) -> None:
    mark = given.get(path, Mark(1, 1))
    problems.error(mark, path, f"conflicts with {format_path(taken_path)}, which is {taken}")


def _clash(first: Address, second: Address) -> bool:
    if first.port != second.port or first.port == 0:
        return False
    hosts = {"127.0.0.1" if host == "localhost" else host for host in (first.host, second.host)}
    if len(hosts) == 1:
        return True
    # :: covers both families, 0.0.0.0 only IPv4; localhost is in both.
    one_family = len({":" in host for host in hosts}) == 1
    localhost = "localhost" in (first.host, second.host)
    return "::" in hosts or ("0.0.0.0" in hosts and (one_family or localhost))


def _warn_loops(config: Config, given: Marks, problems: Problems) -> None:
    """Report an upstream that is this proxy itself."""
    own = list(_own_addresses(config))
    for name, upstream in config.upstreams.items():
        for endpoint in upstream.endpoints:
            for label, address in own:
                if _clash(Address(endpoint.host, endpoint.port), address) and (
                    endpoint.host in ("localhost", "127.0.0.1", "::1")
                ):
                    path = ("upstreams", name, "endpoints")
                    mark = given.get(path, Mark(1, 1))
                    problems.warning(mark, path, f"{endpoint} is this proxy's own {label} address")


def _warn_open_proxy(config: Config, given: Marks, problems: Problems) -> None:
    path = ("listeners", "outbound", "address")
    if path in given and not config.listeners.outbound.local and "*" in config.egress.allow:
        problems.warning(
            given[path],
            path,
            "every client that reaches it can reach anything through it: egress.allow is *",
        )


def _own_addresses(config: Config) -> Iterator[tuple[str, Address]]:
    for listener in Listener:
        for address in config.listeners.of(listener).addresses:
            yield listener.value, address
    yield "admin", config.admin.address
