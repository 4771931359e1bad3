"""A route with `headers: {host: …}` took HTTP/1.1 requests only, and `explain` denied even that.

`:authority` of HTTP/2 is the same field (RFC 9113 section 8.3.1). A route by `content-length` took
no request at all, although `explain` named it.
"""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO

import pytest
from chaos.upstream import ChaosUpstream
from integration.http2_client import Http2Client
from integration.running_proxy import RunningProxy
from integration.settings import Settings

from proxy import cli

Match = dict[str, object]


def route(name: str, path: str, headers: Match) -> Settings:
    return {"name": name, "match": {"path": path, "headers": headers}, "upstream": "chaos"}


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    routes = [
        route("host", "/host", {"host": "shop"}),
        route("empty", "/length", {"content-length": "0"}),
        route("long", "/length", {"content-length": {"regex": "[0-9]{2,}"}}),
        route("none", "/length", {"content-length": {"present": False}}),
        {"name": "rest", "match": {"prefix": "/"}, "upstream": "chaos"},
    ]
    return module_proxy(
        {"upstreams": {"chaos": {"endpoints": [shared_chaos.url]}}, "routes": routes}
    )


def taken(proxy: RunningProxy, method: str, path: str, host: str, body: bytes | None) -> str:
    request_id = f"{method}{path}{host}{body!r}".replace(" ", "")
    fields = {} if body is None else {"Content-Length": str(len(body))}
    with proxy.client("outbound") as client:
        client.request(method, path, fields, body, host=host, request_id=request_id)
    return str(proxy.logged(request_id)["route"])


def test_a_route_by_host_over_http2(proxy: RunningProxy) -> None:
    with Http2Client(proxy.outbound) as client:  # its authority is "shop"
        client.send(client.head(1, "/host", ("x-request-id", "over-http2")))
        assert client.until_ended(1).status == 200
    assert proxy.logged("over-http2")["route"] == "host"


def explained(proxy: RunningProxy, *arguments: str) -> str:
    with redirect_stdout(StringIO()) as out:
        assert cli.main(["explain", str(proxy.file), *arguments]) == 0
    (line,) = [line for line in out.getvalue().splitlines() if line.startswith("> ")]
    return line.split()[2]


@pytest.mark.parametrize(("host", "name"), [("shop", "host"), ("other", "rest")])
def test_a_route_by_host(proxy: RunningProxy, host: str, name: str) -> None:
    assert taken(proxy, "GET", "/host", host, None) == name
    assert explained(proxy, "GET", f"http://{host}/host") == name
    assert explained(proxy, "GET", "/host", "-H", f"Host: {host}") == name


@pytest.mark.parametrize(
    ("body", "name"), [(None, "none"), (b"", "empty"), (b"7 bytes", "rest"), (b"x" * 12, "long")]
)
def test_a_route_by_content_length(proxy: RunningProxy, body: bytes | None, name: str) -> None:
    assert taken(proxy, "POST", "/length", "a", body) == name
    given = [] if body is None else ["-H", f"Content-Length: {len(body)}"]
    assert explained(proxy, "POST", "http://a/length", *given) == name
