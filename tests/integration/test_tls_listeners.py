"""Listeners that serve TLS: sidecar to sidecar, endings, tunnels, renewal, files of no use."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.raw_client import BrokenOff, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, merged, route

from proxy.wire.h1.closing import LINGER_SECONDS
from proxy.wire.tls import CLOSE_TIMEOUT

StartProxy = Callable[..., RunningProxy]
StartChaos = Callable[..., ChaosUpstream]


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    directory = tmp_path / "pki"
    directory.mkdir()
    return Pki(directory)


def _inbound(pki: Pki, chaos: ChaosUpstream, *, mutual: bool = False) -> Settings:
    cert, key = pki.files("127.0.0.1")
    tls = {"cert": cert, "key": key} | ({"client_ca": pki.ca} if mutual else {})
    return {
        "listeners": {"inbound": {"tls": tls}},
        "upstreams": {"app": {"endpoints": [chaos.url]}},
    }


def _caller(pki: Pki, server: RunningProxy, certificate: tuple[str, str]) -> Settings:
    cert, key = certificate
    peer = {
        "endpoints": [f"https://127.0.0.1:{server.inbound}"],
        "tls": {"ca": pki.ca, "cert": cert, "key": key},
        "connections": {"max_requests": 1},
    }
    return {"upstreams": {"peer": peer}, "routes": [route("p", "peer", retry=ONCE)]}


def test_two_sidecars_with_mutual_tls_carry_a_request(
    pki: Pki, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    server = start_proxy(_inbound(pki, shared_chaos, mutual=True))
    caller = start_proxy(_caller(pki, server, pki.files("web.shop")))
    with caller.client() as client:
        for size in (3, 400_000):
            response = client.request("POST", "/p", body=b"y" * size, chaos="echo chunked")
            assert (response.status, response.body) == (200, b"y" * size)
            (seen,) = shared_chaos.seen(response.id)
            assert seen.header("x-forwarded-proto") == "https"
            assert seen.header("via") == "1.1 orders, 2.0 orders"  # ALPN chose it


def test_a_caller_whose_certificate_is_renewed(
    pki: Pki, tmp_path: Path, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    """At first it shows one from a CA that the other side does not know."""
    (tmp_path / "old").mkdir()
    cert, key = Pki(tmp_path / "old").files("web.shop")
    server = start_proxy(_inbound(pki, shared_chaos, mutual=True))
    caller = start_proxy(_caller(pki, server, (cert, key)))
    assert caller.call("GET", "/p").status == 502
    fresh = pki.files("web.shop")
    for path, new in zip((cert, key), fresh, strict=True):
        os.replace(new, path)
    eventually(lambda: caller.call("GET", "/p").status == 200, timeout=10)


def test_the_callers_ca_is_replaced(
    pki: Pki, tmp_path: Path, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    (tmp_path / "new").mkdir()
    new = Pki(tmp_path / "new")
    proxy = start_proxy(_inbound(pki, shared_chaos, mutual=True))
    before, after = pki.client(pki.files("web.shop")), pki.client(new.files("web.shop"))
    with proxy.client("inbound", tls=before) as kept:
        assert kept.request("GET", "/").status == 200
        os.replace(new.ca, pki.ca)
        eventually(lambda: _status(proxy, after) == 200, timeout=10)
        assert _status(proxy, before) == 0
        assert kept.request("GET", "/").status == 200, "what is connected stays connected"


def _status(proxy: RunningProxy, tls: ssl.SSLContext) -> int:
    """0: turned away. In TLS 1.3 a client hears of that when it reads."""
    try:
        with proxy.client("inbound", tls=tls) as client:
            status: int = client.request("GET", "/").status
            return status
    except (OSError, BrokenOff):
        return 0


def test_a_reload_names_other_files(
    pki: Pki, tmp_path: Path, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    (tmp_path / "new").mkdir()
    new = Pki(tmp_path / "new")
    proxy = start_proxy(_inbound(pki, shared_chaos))
    tls = proxy.config["listeners"]["inbound"]["tls"]
    tls["client_ca"] = pki.ca
    proxy.write()
    status, why = proxy.ask("POST", "/reload")
    assert status == 409
    assert "listeners.inbound.tls: on cannot become mutual without a restart" in why
    del tls["client_ca"]
    tls["cert"], tls["key"] = new.files("127.0.0.1")
    proxy.write()
    assert proxy.ask("POST", "/reload")[0] == 200
    eventually(lambda: _status(proxy, new.client()) == 200, timeout=10)


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_a_response_that_ends_with_its_connection(
    pki: Pki, shared_chaos: ChaosUpstream, start_proxy: StartProxy, size: int
) -> None:
    """Its end is close_notify, and comes at once: else it would look cut off, or late."""
    proxy = start_proxy(_inbound(pki, shared_chaos))
    raw = request_bytes("GET", "/", version="HTTP/1.0", chaos=f"size={size} until-close")
    started = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", proxy.inbound), 10) as plain,
        pki.client().wrap_socket(
            plain, server_hostname="127.0.0.1", suppress_ragged_eofs=False
        ) as client,
    ):
        client.sendall(raw)
        received = bytearray()
        while piece := client.recv(65536):
            received += piece
    assert bytes(received).partition(b"\r\n\r\n")[2] == pattern(size)
    assert time.monotonic() - started < 0.9 * LINGER_SECONDS + size / 10_000_000


def test_an_answer_to_a_client_that_still_sends(
    pki: Pki, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    settings = merged(_inbound(pki, shared_chaos), {"limits": {"body_bytes": "1000B"}})
    proxy = start_proxy(settings)
    with proxy.client("inbound", tls=pki.client()) as client:
        client.send(request_bytes("POST", "/", {"Content-Length": "3000000"}))
        with contextlib.suppress(OSError):
            client.send(b"x" * 500_000)
        assert client.read_response("POST").status == 413


def test_an_upgrade_through_tls_on_both_sides(
    pki: Pki, start_chaos: StartChaos, start_proxy: StartProxy
) -> None:
    chaos = start_chaos(tls=pki.server())
    secure = {"app": {"tls": {"ca": pki.ca}}}
    proxy = start_proxy(merged(_inbound(pki, chaos), {"upstreams": secure}))
    client = proxy.client("inbound", tls=pki.client())
    with client:
        fields = {"Connection": "Upgrade", "Upgrade": "echo"}
        response = client.request("GET", "/", fields, chaos="upgrade", request_id="tls-up")
        assert response.status == 101
        for data in (b"hello", b"z" * 300_000):
            client.send(data)
            assert client.read_some(len(data)) == data
    eventually(lambda: proxy.in_flight() == 0)
    assert proxy.logged("tls-up")["status"] == 101


def test_connect_through_a_tls_listener(
    pki: Pki, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    cert, key = pki.files("127.0.0.1")
    port = int(shared_chaos.url.rpartition(":")[2])
    proxy = start_proxy(
        {
            "listeners": {"outbound": {"tls": {"cert": cert, "key": key}}},
            "egress": {"connect_ports": [port]},
        }
    )
    with proxy.client(tls=pki.client()) as client:
        client.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert client.read_head().status == 200
        assert client.request("GET", "/", chaos="close size=7").body == pattern(7)
        assert client.closed(), "the end of one half ends a tunnel whose other half is TLS"
    eventually(lambda: proxy.in_flight() == 0)


def test_what_is_no_handshake_disturbs_nobody(
    pki: Pki, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    """No traceback, no word in the log; a silent one is closed after limits.header_timeout."""
    settings = merged(_inbound(pki, shared_chaos), {"limits": {"header_timeout": "500ms"}})
    proxy = start_proxy(settings)
    with proxy.client("inbound") as silent:
        for garbage in (b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", os.urandom(3000), b""):
            with proxy.client("inbound") as client:
                client.send(garbage)
                client.reset()
        started = time.monotonic()
        assert silent.closed()
        assert time.monotonic() - started < 3
    said = [line for line in proxy.errors.splitlines() if line.startswith("{")]
    assert not [line for line in said if "WARNING" in line.upper() or "error" in line]
    assert _status(proxy, pki.client()) == 200


def test_a_drain_does_not_wait_for_clients_that_sleep(
    pki: Pki, shared_chaos: ChaosUpstream, start_proxy: StartProxy
) -> None:
    """They never answer close_notify."""
    settings = merged(_inbound(pki, shared_chaos), {"drain": {"timeout": "20s"}})
    proxy = start_proxy(settings)
    with proxy.client("inbound", tls=pki.client()) as client:
        assert client.request("GET", "/").status == 200
        started = time.monotonic()
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
        assert time.monotonic() - started < CLOSE_TIMEOUT * 0.6


@pytest.mark.parametrize("wrong", ["cert", "key", "client_ca"])
def test_files_that_cannot_be_used_are_named_at_the_start(
    pki: Pki, tmp_path: Path, wrong: str
) -> None:
    cert, key = pki.files("127.0.0.1")
    missing = str(tmp_path / "missing.pem")
    tls = {"cert": cert, "key": key, "client_ca": pki.ca, wrong: missing}
    address = {"address": "127.0.0.1:0"}
    settings = {
        "admin": address,
        "listeners": {"outbound": address, "inbound": address | {"tls": tls}},
    }
    file = tmp_path / "proxy.yaml"
    file.write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "proxy", "run", "--config", str(file)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert "resilience-proxy: listeners.inbound.tls" in ended.stderr
    assert missing in ended.stderr
    assert "No such file or directory" in ended.stderr
    assert "Traceback" not in ended.stderr
