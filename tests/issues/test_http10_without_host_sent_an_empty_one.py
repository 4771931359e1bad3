"""`GET / HTTP/1.0` without Host went to the service as HTTP/1.1 with an empty Host: 400.

Host is then the upstream's authority (RFC 9112 §3.2), and Via names the version that was received.
"""

from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings


@pytest.mark.parametrize("listener", ["inbound", "outbound"])
def test_host_is_the_upstreams_authority(
    reload_proxy: Callable[..., RunningProxy],
    start_chaos: Callable[..., ChaosUpstream],
    listener: str,
) -> None:
    chaos = start_chaos()
    one: Settings = {"name": "a", "listener": listener, "upstream": "app"}
    proxy = reload_proxy({"upstreams": {"app": {"endpoints": [chaos.url]}}, "routes": [one]})
    with proxy.client(listener) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read_response().status == 200
    (seen,) = chaos.records
    assert seen.version == "HTTP/1.1"
    assert seen.values("host") == [chaos.authority]
    assert (seen.header("via") or "").startswith("1.0 ")


def test_an_absolute_target_names_it(
    reload_proxy: Callable[..., RunningProxy], start_chaos: Callable[..., ChaosUpstream]
) -> None:
    chaos = start_chaos()
    proxy = reload_proxy({})
    with proxy.client() as client:
        client.send(f"GET http://{chaos.authority}/x HTTP/1.0\r\n\r\n".encode())
        assert client.read_response().status == 200
    (seen,) = chaos.records
    assert (seen.target, seen.values("host")) == ("/x", [chaos.authority])
