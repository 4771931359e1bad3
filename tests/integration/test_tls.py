"""TLS at both doors: upstreams verified, certificates shown, a listener that speaks it."""

import ssl
from collections.abc import Callable

import pytest
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.conftest import LoadProxy
from integration.pki import Pki
from integration.raw_client import BrokenOff, RawClient
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, route

StartChaos = Callable[..., ChaosUpstream]
StartProxy = Callable[..., RunningProxy]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def _settings(chaos: ChaosUpstream, **tls: object) -> Settings:
    upstream = {"endpoints": [chaos.url], "tls": tls} if tls else {"endpoints": [chaos.url]}
    return {"upstreams": {"secure": upstream}, "routes": [route("s", "secure", retry=ONCE)]}


def test_an_https_upstream(pki: Pki, start_chaos: StartChaos, reload_proxy: LoadProxy) -> None:
    chaos = start_chaos(tls=pki.server())
    proxy = reload_proxy(_settings(chaos, ca=pki.ca))
    with proxy.client() as client:
        for size in (10, 300_000):
            response = client.request("POST", "/s", body=b"x" * size, chaos=f"size={size} chunked")
            assert (response.status, response.body) == (200, pattern(size))
            assert chaos.seen(response.id)[0].length == size
    assert chaos.connections_opened == 1


def test_a_certificate_that_nobody_vouches_for(
    pki: Pki, start_chaos: StartChaos, reload_proxy: LoadProxy
) -> None:
    chaos = start_chaos(tls=pki.server())
    response = reload_proxy(_settings(chaos)).call("POST", "/s", body=b"x")
    assert (response.status, response.why) == (502, "tls-failure")
    assert "error=tls_certificate_error" in (response.header("proxy-status") or "")
    assert chaos.seen(response.id) == []


def test_a_certificate_for_another_name(
    pki: Pki, start_chaos: StartChaos, reload_proxy: LoadProxy
) -> None:
    chaos = start_chaos(tls=pki.server("inventory.shop"))
    refused = reload_proxy(_settings(chaos, ca=pki.ca)).call("GET", "/s")
    assert (refused.status, refused.why) == (502, "tls-failure")
    named = reload_proxy(_settings(chaos, ca=pki.ca, server_name="inventory.shop"))
    assert named.call("GET", "/s").status == 200


def test_a_truncated_response_over_tls(
    pki: Pki, start_chaos: StartChaos, reload_proxy: LoadProxy
) -> None:
    chaos = start_chaos(tls=pki.server())
    proxy = reload_proxy(_settings(chaos, ca=pki.ca))
    with proxy.client() as client, pytest.raises(Exception, match=r"."):
        client.request("GET", "/s", chaos="size=9000 truncate=100", request_id="tls-cut")
    assert proxy.logged("tls-cut")["reason"] == "upstream-truncated"


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_connection_that_ends_without_a_word_ends_no_body(
    pki: Pki, start_chaos: StartChaos, reload_proxy: LoadProxy, version: str
) -> None:
    """Under TLS anybody on the way could have cut it (RFC 9112 section 9.8)."""
    chaos = start_chaos(tls=pki.server())
    proxy = reload_proxy(_settings(chaos, ca=pki.ca))
    whole = proxy.call("GET", "/s", chaos="size=9000 until-close", version=version)
    assert whole.body == pattern(9000)
    script = "size=9000 until-close truncate=100 ragged"
    with proxy.client() as client, pytest.raises((BrokenOff, ConnectionError)):
        client.request("GET", "/s", chaos=script, request_id="ragged", version=version)
    assert proxy.logged("ragged")["reason"] == "upstream-truncated"


def test_the_client_certificate_is_shown(
    pki: Pki, start_chaos: StartChaos, reload_proxy: LoadProxy
) -> None:
    chaos = start_chaos(tls=pki.server(mutual=True))
    cert, key = pki.files("orders.shop")
    shown = reload_proxy(_settings(chaos, ca=pki.ca, cert=cert, key=key))
    assert shown.call("GET", "/s").status == 200
    without = reload_proxy(_settings(chaos, ca=pki.ca)).call("POST", "/s", body=b"x")
    assert without.status == 502
    assert without.why in ("tls-failure", "connect-failed", "upstream-reset")


def test_a_listener_with_tls(
    pki: Pki, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    cert, key = pki.files("127.0.0.1")
    proxy = start_proxy(
        {
            "listeners": {"inbound": {"tls": {"cert": cert, "key": key}}},
            "upstreams": {"app": {"endpoints": [shared_chaos.url]}},
        }
    )
    with RawClient(proxy.inbound, tls=pki.client()) as client:
        response = client.request("POST", "/x", body=b"y" * 200_000, chaos="echo chunked")
        assert response.body == b"y" * 200_000
    (seen,) = shared_chaos.seen(response.id)
    assert seen.header("x-forwarded-proto") == "https"
    with RawClient(proxy.inbound) as plain:
        plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not plain.read_rest().startswith(b"HTTP/1.1 200")
    assert proxy.call("GET", "/", {"Host": shared_chaos.authority}).status == 200


def test_mutual_tls_and_a_certificate_that_is_renewed(
    pki: Pki, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    cert, key = pki.files("127.0.0.1")
    proxy = start_proxy(
        {
            "listeners": {"inbound": {"tls": {"cert": cert, "key": key, "client_ca": pki.ca}}},
            "upstreams": {"app": {"endpoints": [shared_chaos.url]}},
        }
    )
    known = pki.client(pki.files("caller.shop"))
    with RawClient(proxy.inbound, tls=known) as client:
        assert client.request("GET", "/").status == 200
    assert _answer_to_a_stranger(proxy, pki) == b""
    before = _serial(proxy, known)
    pki.files("127.0.0.1")
    eventually(lambda: _serial(proxy, known) != before, timeout=10)


def _answer_to_a_stranger(proxy: RunningProxy, pki: Pki) -> bytes:
    """Of a client without a certificate; TLS 1.3 tells it only when it reads."""
    try:
        with RawClient(proxy.inbound, tls=pki.client()) as stranger:
            stranger.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            return stranger.read_rest()
    except OSError:
        return b""


def _serial(proxy: RunningProxy, context: ssl.SSLContext) -> object:
    with RawClient(proxy.inbound, tls=context) as client:
        return client.certificate["serialNumber"]
