"""The admin API was reached through the outbound listener: by another spelling of its address.

``POST http://[::ffff:127.0.0.1]:7072/drain`` drained the proxy.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from integration.ports import free_port
from integration.running_proxy import RunningProxy


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[..., RunningProxy]) -> RunningProxy:
    """Reachable at every address of this machine, and tunnels to its own ports are allowed."""
    ports = [free_port() for _ in range(3)]
    outbound, inbound, admin = (f"0.0.0.0:{port}" for port in ports)
    return module_proxy(
        {
            "listeners": {"outbound": {"address": outbound}, "inbound": {"address": inbound}},
            "admin": {"address": admin},
            "egress": {"connect_ports": ports},
        }
    )


def machine() -> Iterator[str]:
    """What else this machine is called: its name, and the address of its way out."""
    with suppress(OSError):
        socket.getaddrinfo(socket.gethostname(), None)
        yield socket.gethostname()
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        yield probe.getsockname()[0]


HOSTS = [
    "127.0.0.1",
    "127.1",
    "127.0.0.2",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "a.localhost",
    "[::ffff:127.0.0.1]",
    "[::ffff:0:0]",
    "[::1]",
    "[::]",
    *machine(),
]


@pytest.mark.parametrize("door", ["outbound", "inbound", "admin"])
@pytest.mark.parametrize("host", HOSTS)
def test_no_spelling_leads_back(proxy: RunningProxy, host: str, door: str) -> None:
    own = f"{host}:{getattr(proxy, door)}"
    answers = [
        proxy.call("POST", f"http://{own}/drain", body=b""),
        proxy.call("POST", "/drain", {"Host": own}, b""),
        proxy.call("CONNECT", own, {"Host": own}),
    ]
    assert {(answer.status, answer.why) for answer in answers} == {(508, "loop")}


def test_none_of_them_did_anything(proxy: RunningProxy) -> None:
    assert proxy.state("/status")["draining"] is False


def test_an_upstream_of_the_file_may_be_the_own_inbound_listener(
    start_proxy: Callable[..., RunningProxy], start_chaos: Callable[..., object]
) -> None:
    service, inbound = start_chaos(), free_port()
    proxy = start_proxy(
        {
            "listeners": {"inbound": {"address": f"127.0.0.1:{inbound}"}},
            "upstreams": {
                "app": {"endpoints": [service.url]},
                "me": {"endpoints": [f"http://127.0.0.1:{inbound}"]},
            },
            "routes": [{"name": "me", "match": {"prefix": "/me"}, "upstream": "me"}],
        }
    )
    answer = proxy.call("GET", "/me")
    assert answer.status == 200
    assert len(service.seen(answer.id)) == 1
