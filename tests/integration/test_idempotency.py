"""Idempotency keys over real sockets: HTTP/1.1 and HTTP/2, restarts, certificates."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.conftest import StartProxy
from integration.http2_client import DATA, END_STREAM, Http2Client, frame, rst
from integration.pki import Pki
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings


def settings(chaos: ChaosUpstream, file: Path) -> Settings:
    return {
        "store": {"url": f"sqlite:{file}"},
        "upstreams": {"shop": {"endpoints": [chaos.url]}},
        "policies": {"default": {"idempotency": {"mode": "optional"}}},
        "routes": [{"name": "shop", "upstream": "shop"}],
    }


@pytest.fixture
def proxy(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path
) -> Iterator[RunningProxy]:
    return start_proxy(settings(shared_chaos, tmp_path / "store.db"))


def test_a_repeat_gets_the_first_answer_also_after_a_restart(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path
) -> None:
    ours = settings(shared_chaos, tmp_path / "store.db")
    proxy = start_proxy(ours)
    key = {"Idempotency-Key": "restart-1"}
    first = proxy.call("POST", "/a", key, b"{}", request_id="restart-first")
    assert first.status == 200
    proxy.process.kill()
    proxy.process.wait()
    other = start_proxy(ours)
    again = other.call("POST", "/a", key, b"{}", request_id="restart-again")
    assert (again.status, again.body) == (200, first.body)
    assert again.header("idempotent-replayed") == "true"
    assert len(shared_chaos.seen("restart-first")) == 1
    assert shared_chaos.seen("restart-again") == []
    assert other.logged("restart-again")["idempotency"] == "replayed"
    assert other.metric("proxy_idempotency_total", route="shop", result="replayed") == 1
    proxy.process.returncode = 0  # it was meant to die


def test_what_was_in_flight_when_the_process_died_is_unknown(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path
) -> None:
    ours = settings(shared_chaos, tmp_path / "store.db")
    proxy = start_proxy(ours)
    key = {"Idempotency-Key": "died-1"}
    with proxy.client() as client:
        client.send(request_bytes("POST", "/a", key, b"{}", chaos="hang", request_id="died-first"))
        shared_chaos.wait_seen("died-first")
        os.kill(proxy.process.pid, signal.SIGKILL)
        proxy.process.wait()
    other = start_proxy(ours)
    answer = other.call("POST", "/a", key, b"{}")
    assert answer.status == 409
    assert b"idempotency-unknown" in answer.body
    proxy.process.returncode = 0


def test_over_http2(shared_chaos: ChaosUpstream, proxy: RunningProxy) -> None:
    with Http2Client(proxy.outbound) as client:
        for number, stream in enumerate((1, 3)):
            asked = ("idempotency-key", "h2-1"), ("x-request-id", f"h2-{number}")
            client.send(client.head(stream, "/h2", *asked, ended=False, method="POST"))
            client.send(frame(DATA, END_STREAM, stream, b"{}"))
            answer = client.until_ended(stream)
            assert answer.status == 200
            replayed = dict(answer.fields).get("idempotent-replayed")
            assert replayed == ("true" if number else None)
    assert len(shared_chaos.seen("h2-0")) == 1
    assert shared_chaos.seen("h2-1") == []


def test_a_client_that_resets_its_stream_does_not_cancel_the_request(
    shared_chaos: ChaosUpstream, proxy: RunningProxy
) -> None:
    asked = ("idempotency-key", "h2-2"), ("x-request-id", "h2-reset"), ("x-chaos", "held")
    with Http2Client(proxy.outbound) as client:
        client.send(client.head(1, "/h2", *asked, ended=False, method="POST"))
        client.send(frame(DATA, END_STREAM, 1, b"{}"))
        shared_chaos.wait_seen("h2-reset")
        client.send(rst(1) + client.head(3, "/next"))
        assert client.until_ended(3).status == 200  # the reset has been read before
        shared_chaos.let_go("/h2")
        result = {"route": "shop", "result": "remembered"}
        eventually(lambda: proxy.metric("proxy_idempotency_total", **result) == 1, 5)
        client.send(client.head(5, "/h2", *asked[:1], ended=False, method="POST"))
        client.send(frame(DATA, END_STREAM, 5, b"{}"))
        answer = client.until_ended(5)
        assert dict(answer.fields).get("idempotent-replayed") == "true"


def test_a_client_that_closes_does_not_cancel_the_request(
    shared_chaos: ChaosUpstream, proxy: RunningProxy
) -> None:
    key = {"Idempotency-Key": "closes-1"}
    with proxy.client() as client:
        client.send(request_bytes("POST", "/a", key, b"{}", chaos="held", request_id="closes"))
        shared_chaos.wait_seen("closes")
    eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == 0)
    shared_chaos.let_go("/a")
    assert proxy.logged("closes", 5)["reason"] == "client-gone"
    again = proxy.call("POST", "/a", key, b"{}")
    assert again.header("idempotent-replayed") == "true"


def test_certificates_tell_callers_apart(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path
) -> None:
    pki = Pki(tmp_path)
    cert, key = pki.files("127.0.0.1")
    ours = settings(shared_chaos, tmp_path / "store.db")
    idempotency = {"mode": "optional", "scope": ["client-certificate"]}
    ours["listeners"] = {"inbound": {"tls": {"cert": cert, "key": key, "client_ca": pki.ca}}}
    ours["routes"] = [
        {"name": "in", "listener": "inbound", "upstream": "shop", "idempotency": idempotency}
    ]
    proxy = start_proxy(ours)
    callers = [pki.client(pki.files(name)) for name in ("a.shop", "b.shop")]
    replayed = []
    for caller in (*callers, *callers):
        with proxy.client("inbound", tls=caller) as client:
            answer = client.request("POST", "/a", {"Idempotency-Key": "cert-1"}, b"{}")
            assert answer.status == 200
            replayed.append(answer.header("idempotent-replayed"))
    assert replayed == [None, None, "true", "true"]
