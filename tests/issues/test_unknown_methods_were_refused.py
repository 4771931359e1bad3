"""`LIST` (Vault), `VERSION-CONTROL` (WebDAV) and other methods of APIs were answered 400.

A method is any token (RFC 9110 §9.1). One that is not known to be idempotent is not repeated.
"""

import uuid
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route

METHODS = ["LIST", "VERSION-CONTROL", "BASELINE-CONTROL", "X!#$%&'*+.^_`|~9", "get", "QUERY"]


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy({"upstreams": {"chaos": chaos, "app": chaos}, "routes": [route("v1")]})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_they_pass(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, method: str, listener: str
) -> None:
    request_id = uuid.uuid4().hex
    with proxy.client(listener) as client:
        answer = client.request(method, "/v1/x", body=b"why", chaos="echo", request_id=request_id)
        assert (answer.status, answer.body) == (200, b"why")
        assert client.request("GET", "/v1/y").status == 200
    (seen,) = shared_chaos.seen(request_id)
    assert (seen.method, seen.target, bytes(seen.body)) == (method, "/v1/x", b"why")


@pytest.mark.parametrize("method", METHODS)
def test_they_are_not_repeated(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, method: str
) -> None:
    request_id = uuid.uuid4().hex
    assert proxy.call(method, "/v1/x", chaos="503 | 200", request_id=request_id).status == 503
    assert len(shared_chaos.seen(request_id)) == 1


@pytest.mark.parametrize("method", ["", "LI ST", "LI(ST", "LIST:", "LÏST", "LI\x00ST"])
def test_what_is_no_token_is_refused(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, method: str
) -> None:
    request_id = uuid.uuid4().hex
    assert proxy.call(method, "/v1/x", request_id=request_id).status == 400
    assert not shared_chaos.seen(request_id)
