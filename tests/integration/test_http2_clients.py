"""Clients that people use over HTTP/2, unchanged: curl, Node, nghttp2; and a drain under them."""

import hashlib
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route
from integration.tools import curl

from proxy.http.h2.frames import PREFACE, SETTINGS_ACK

NODE = """
const http2 = require('http2');
const [url, ...scripts] = process.argv.slice(1);
const session = http2.connect(url);
const told = {answers: [], goaways: []};
session.on('goaway', (code, last) => told.goaways.push([code, last]));
session.on('error', error => { told.error = error.message; });
let left = scripts.length;
scripts.forEach((script, at) => {
  const answer = told.answers[at] = {size: 0};
  const stream = session.request({':path': '/c', 'x-chaos': script, ':method': 'POST'});
  stream.on('response', head => { answer.status = head[':status']; console.log('head'); });
  stream.on('trailers', fields => { answer.trailer = fields['x-sum']; });
  stream.on('data', piece => { answer.size += piece.length; });
  stream.on('error', error => { answer.error = error.code; });
  stream.on('close', () => { if (--left === 0) session.close(); });
  stream.end('x'.repeat(1000 * at));
});
session.on('close', () => console.log(JSON.stringify(told)));
"""


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy({"upstreams": {"chaos": chaos, "app": chaos}, "routes": [route("c")]})


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def _run(*words: str, data: bytes = b"") -> bytes:
    done = subprocess.run(words, input=data, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-500:])
    return done.stdout


def _node(port: int, *scripts: str) -> list[str]:
    return [_program("node"), "-e", NODE, f"http://127.0.0.1:{port}", *scripts]


def _streams(proxy: RunningProxy) -> float:
    return proxy.metric("proxy_streams", listener="outbound")


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
@pytest.mark.parametrize("framing", ["", "chunked"])
def test_curl_with_prior_knowledge(proxy: RunningProxy, size: int, framing: str) -> None:
    url = f"http://127.0.0.1:{proxy.outbound}/c"
    script = f"X-Chaos: size={size} {framing}".strip()
    assert _run(curl(), "-s", "--http2-prior-knowledge", "-H", script, url) == pattern(size)


@pytest.mark.parametrize("how", [("--data-binary", "@-", "-H", "Expect:"), ("-T", "-")])
def test_curl_uploads(proxy: RunningProxy, shared_chaos: ChaosUpstream, how: tuple[str]) -> None:
    """With its length, and without."""
    url = f"http://127.0.0.1:{proxy.outbound}/c"
    body = pattern(2_000_000)
    words = (curl(), "-s", "--http2-prior-knowledge", "-H", f"X-Request-Id: {how[0]}", *how, url)
    _run(*words, data=body)
    (seen,) = shared_chaos.seen(how[0])
    assert seen.digest == hashlib.sha256(body).hexdigest()


def test_curl_and_both_protocols_by_alpn(
    tmp_path: Path, shared_chaos: ChaosUpstream, start_proxy: Callable[..., RunningProxy]
) -> None:
    pki = Pki(tmp_path)
    cert, key = pki.files("127.0.0.1")
    tls = {"cert": cert, "key": key}
    server = start_proxy(
        {
            "listeners": {"inbound": {"tls": tls}},
            "upstreams": {"app": {"endpoints": [shared_chaos.url]}},
        }
    )
    url = f"https://127.0.0.1:{server.inbound}/c"
    for option, version in (("--http2", b"2"), ("--http1.1", b"1.1")):
        words = (curl(), "-s", option, "--cacert", pki.ca, "-w", "%{http_version}", url)
        assert _run(*words) == b"ok" + version
    upload = (curl(), "-s", "--http2", "--cacert", pki.ca, "-H", "X-Chaos: echo", "-T", "-", url)
    assert _run(*upload, data=pattern(60_000)) == pattern(60_000)


def test_node_with_many_streams(proxy: RunningProxy) -> None:
    scripts = ["size=5 chunked trailer=X-Sum:7", "503 | size=70000", "204", "size=300000"] * 15
    told = json.loads(_run(*_node(proxy.outbound, *scripts)).splitlines()[-1])
    assert "error" not in told
    found = [(one.get("status"), one["size"], one.get("trailer")) for one in told["answers"]]
    assert found[:4] == [
        (200, 5, "7"),
        (200, 70000, None),
        (204, 0, None),
        (200, 300000, None),
    ] or (
        found[1][0] == 503  # a POST is not sent twice
    )
    assert found == found[:4] * 15
    eventually(lambda: _streams(proxy) == 0)


def test_node_is_told_of_a_truncated_response(proxy: RunningProxy) -> None:
    told = json.loads(_run(*_node(proxy.outbound, "size=1000 truncate=10")).splitlines()[-1])
    assert told["answers"][0]["error"] == "ERR_HTTP2_STREAM_ERROR"


def test_nghttp_and_h2load(proxy: RunningProxy) -> None:
    url = f"http://127.0.0.1:{proxy.outbound}/c"
    assert _run(_program("nghttp"), url) == b"ok"
    told = _run(_program("h2load"), "-n", "600", "-c", "3", "-m", "20", url).decode()
    assert "600 succeeded, 0 failed, 0 errored" in told
    eventually(lambda: _streams(proxy) == 0)
    eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == 0)


def test_http1_stays_possible_on_the_port(proxy: RunningProxy) -> None:
    url = f"http://127.0.0.1:{proxy.outbound}/c"
    assert _run(curl(), "-s", "--http1.1", "-w", "%{http_version}", url) == b"ok1.1"


def test_a_listener_of_http1_alone(
    shared_chaos: ChaosUpstream, start_proxy: Callable[..., RunningProxy]
) -> None:
    listening = {"protocols": ["http1"]}
    proxy = start_proxy({"listeners": {"inbound": listening}})
    words = (curl(), "-s", "--http2-prior-knowledge", f"http://127.0.0.1:{proxy.inbound}/")
    assert subprocess.run(words, capture_output=True, timeout=10, check=False).returncode != 0


def test_a_listener_of_http2_alone(
    shared_chaos: ChaosUpstream, start_proxy: Callable[..., RunningProxy]
) -> None:
    app = {"app": {"endpoints": [shared_chaos.url]}}
    proxy = start_proxy({"listeners": {"inbound": {"protocols": ["http2"]}}, "upstreams": app})
    url = f"http://127.0.0.1:{proxy.inbound}/c"
    assert _run(curl(), "-s", "--http2-prior-knowledge", url) == b"ok"
    assert b"speaks only HTTP/2" in _run(curl(), "-s", url)


def test_one_connection_too_many(start_proxy: Callable[..., RunningProxy]) -> None:
    """A client of HTTP/2 is told so in HTTP/2, if it was quick enough to say what it speaks."""
    proxy = start_proxy({"limits": {"connections": 1}})
    address = ("127.0.0.1", proxy.outbound)
    with socket.create_connection(address), socket.socket() as second:
        eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == 1)
        proxy.process.send_signal(signal.SIGSTOP)
        try:
            second.connect(address)
            second.sendall(PREFACE + SETTINGS_ACK)
        finally:
            proxy.process.send_signal(signal.SIGCONT)
        second.settimeout(5)
        answer = b"".join(iter(lambda: second.recv(4096), b""))
    assert b"limits.connections" in answer
    assert b"HTTP/1.1" not in answer


def test_a_drain_loses_no_stream(
    start_chaos: Callable[..., ChaosUpstream], start_proxy: Callable[..., RunningProxy]
) -> None:
    chaos = start_chaos()
    proxy = start_proxy(
        {
            "upstreams": {"app": {"endpoints": [chaos.url]}},
            "drain": {"delay": "100ms", "timeout": "10s"},
        }
    )
    scripts = ["size=1000 pieces=10 interval=0.15"] * 20
    with subprocess.Popen(_node(proxy.inbound, *scripts), stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        for _ in scripts:
            assert client.stdout.readline() == b"head\n"
        proxy.process.send_signal(signal.SIGTERM)
        told = json.loads(client.stdout.readlines()[-1])
    assert [(one["status"], one["size"]) for one in told["answers"]] == [(200, 1000)] * 20
    assert told["goaways"][0] == [0, 2**31 - 1]
    assert told["goaways"][1] == [0, 39]
    assert proxy.process.wait(5) == 0
