"""CONNECT in every respect: rules, breaker, bulkhead, clocks, half-closing, the drain."""

import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.conftest import LoadProxy
from integration.ports import free_port
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, breaker, merged

StartProxy = Callable[..., RunningProxy]
MIB = 1024 * 1024


class HalfCloser(threading.Thread):
    """Reads to the end of what comes, and only then answers with how much that was."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", port))

    def run(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer:
                size = 0
                while data := peer.recv(65536):
                    size += len(data)
                peer.sendall(b"%d " % size + pattern(MIB))

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.join(5)


@pytest.fixture(scope="module")
def port() -> int:
    """Where `proxy` lets tunnels lead, and a test listens."""
    return free_port()


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], port: int, shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy(_settings(port, shared_chaos.port))


@pytest.fixture
def half_closer(port: int) -> Iterator[HalfCloser]:
    server = HalfCloser(port)
    server.start()
    yield server
    server.stop()


def _settings(*ports: int, **policy: object) -> Settings:
    return {
        "egress": {"connect_ports": list(ports)},
        "policies": {"default": {"retry": ONCE, **policy}},
    }


def connect(proxy: RunningProxy, port: int) -> RawClient:
    """A client that has asked for a tunnel, and has not read the answer."""
    client = proxy.client()
    client.send(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return client


def test_what_is_sent_after_the_clients_end_still_comes(
    proxy: RunningProxy, port: int, half_closer: HalfCloser
) -> None:
    with connect(proxy, port) as client:
        assert client.read_head().status == 200
        client.send(b"x" * (3 * MIB))
        client.half_close()
        assert client.read_rest() == b"%d " % (3 * MIB) + pattern(MIB)
    eventually(lambda: proxy.in_flight() == 0)


def test_what_the_client_sends_after_the_upstreams_end_still_goes(
    proxy: RunningProxy, port: int
) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener, connect(proxy, port) as client:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(5)
            assert client.read_head().status == 200
            peer.sendall(b"last words")
            peer.shutdown(socket.SHUT_WR)
            assert client.read_rest() == b"last words"
            client.send(b"y" * MIB)
            client.half_close()
            came = 0
            while data := peer.recv(65536):
                came += len(data)
            assert came == MIB
    eventually(lambda: proxy.in_flight() == 0)


@pytest.mark.parametrize("sent", [b"", b"half of it"])
def test_a_reset_passes_through_either_way(proxy: RunningProxy, port: int, sent: bytes) -> None:
    """As an end it would make what was sent before it look whole."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        with connect(proxy, port) as client:
            peer, _ = listener.accept()
            assert client.read_head().status == 200
            peer.sendall(sent)
            assert client.read_some(len(sent)) == sent
            _reset(peer)
            with pytest.raises(ConnectionResetError):
                client.read_rest()
        with connect(proxy, port) as client:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(5)
                assert client.read_head().status == 200
                client.send(sent)
                assert len(peer.recv(100)) == len(sent) if sent else True
                client.reset()
                with pytest.raises(ConnectionResetError):
                    peer.recv(100)
    eventually(lambda: proxy.in_flight() == 0)


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def test_each_authority_has_a_breaker_and_a_bulkhead(
    reload_proxy: LoadProxy, start_chaos: Callable[..., ChaosUpstream]
) -> None:
    ports = [start_chaos().port, start_chaos().port]
    refusing = free_port()
    proxy = reload_proxy(
        _settings(
            *ports,
            refusing,
            bulkhead={"max_concurrent": 1},
            circuit_breaker=breaker(calls=2, open_for="10s"),
        )
    )
    with connect(proxy, ports[0]) as held:
        assert held.read_head().status == 200
        with connect(proxy, ports[0]) as second:
            answer = second.read_response("GET")
            assert (answer.status, answer.why) == (503, "bulkhead-full")
        with connect(proxy, ports[1]) as elsewhere:
            assert elsewhere.read_head().status == 200
    reasons = []
    for _ in range(3):
        with connect(proxy, refusing) as client:
            reasons.append(client.read_response("GET").why)
    assert reasons == ["connect-refused", "connect-refused", "circuit-open"]
    assert proxy.breaker(f"default-outbound:127.0.0.1:{refusing}")["state"] == "open"
    eventually(lambda: proxy.in_flight() == 0)
    with connect(proxy, ports[0]) as again:
        assert again.read_head().status == 200


def test_connecting_has_its_deadline(reload_proxy: LoadProxy) -> None:
    """A queue that is full drops what else comes, as a host that is down does."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", free_port()))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        proxy = reload_proxy(_settings(port, timeouts={"connect": "300ms"}))
        started = time.monotonic()
        with connect(proxy, port) as client:
            answer = client.read_response("GET")
            assert (answer.status, answer.why) == (504, "connect-timeout")
        assert 0.25 < time.monotonic() - started < 3
        for one in waiting:
            one.close()


def test_idle_ends_a_tunnel_and_traffic_either_way_keeps_it(
    reload_proxy: LoadProxy, start_chaos: Callable[..., ChaosUpstream]
) -> None:
    chaos = start_chaos()
    proxy = reload_proxy(_settings(chaos.port, timeouts={"idle": "800ms"}))
    with connect(proxy, chaos.port) as silent, connect(proxy, chaos.port) as busy:
        assert (silent.read_head().status, busy.read_head().status) == (200, 200)
        started = time.monotonic()
        for _ in range(8):  # down, and now and then up
            assert busy.request("GET", "/", chaos="size=10 pieces=3 interval=0.1").status == 200
        assert silent.closed()
        assert time.monotonic() - started < 4
        last = time.monotonic()
        assert busy.request("GET", "/").status == 200
        assert busy.closed()
        assert 0.8 <= time.monotonic() - last < 4


def test_a_tunnel_under_pressure_is_bounded(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    with connect(proxy, shared_chaos.port) as client:
        assert client.read_head().status == 200
        before = proxy.memory
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Chaos: endless chunked\r\n\r\n")
        time.sleep(0.5)
        assert proxy.memory - before < 8 * MIB
        assert len(client.read_some(20 * MIB)) == 20 * MIB
        assert proxy.memory - before < 8 * MIB
    eventually(lambda: proxy.in_flight() == 0)


def test_a_tunnel_is_cut_and_counted_at_the_drains_timeout(
    start_proxy: StartProxy, start_chaos: Callable[..., ChaosUpstream]
) -> None:
    chaos = start_chaos()
    drain = {"drain": {"timeout": "500ms"}}
    proxy = start_proxy(merged(_settings(chaos.port), drain))
    with connect(proxy, chaos.port) as client:
        assert client.read_head().status == 200
        assert proxy.state("/in-flight")["outbound"] == 1
        proxy.signal(signal.SIGTERM)
        assert client.request("GET", "/").status == 200, "it works on while the drain waits"
        assert client.closed()
        assert proxy.wait() == 3
    assert "request cut at the end of the drain" in proxy.errors
    line = proxy.log_lines()[-1]
    assert (line["method"], line["reason"]) == ("CONNECT", "drain-cut")
