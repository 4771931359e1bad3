"""A caller sent `X_Forwarded_For`, `X-Forwarded-Ssl` and `Proxy` behind a chunked body.

A service that merges trailers into the head, as CGI and WSGI servers do, took them for the proxy's
own fields. In a head the proxy dropped them, in a trailer section it let them pass.
"""

from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings

from proxy.http.trailers import is_dropped

FORGED = [
    ("Proxy", "http://evil.test"),
    ("X_Forwarded_For", "192.0.2.7"),
    ("X-Forwarded_Proto", "https"),
    ("X-Forwarded-Ssl", "on"),
    ("X_Real_IP", "192.0.2.7"),
    ("Forwarded", "for=192.0.2.7"),
    ("X_Request_Id", "forged"),
    ("X_Request_Timeout_Ms", "1"),
    ("Content_Length", "7"),
]


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy({"upstreams": {"app": {"endpoints": [shared_chaos.url]}}})


def test_such_trailers_do_not_reach_it(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    trailers = "".join(f"{name}: {value}\r\n" for name, value in [*FORGED, ("Server-Timing", "db")])
    with proxy.client("inbound") as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: service.test\r\nX-Request-Id: forged-trailers\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n" + trailers.encode() + b"\r\n"
        )
        assert client.read_response().status == 200
    (seen,) = shared_chaos.seen("forged-trailers")
    assert seen.trailers == [("Server-Timing", "db")]


@pytest.mark.parametrize("name", [name for name, _ in FORGED])
def test_neither_over_http2(name: str) -> None:
    assert is_dropped(name.lower().encode())


@pytest.mark.parametrize("name", ["grpc-status", "x-request-id", "server-timing", "my_field"])
def test_other_trailers_pass(name: str) -> None:
    assert not is_dropped(name.encode())
