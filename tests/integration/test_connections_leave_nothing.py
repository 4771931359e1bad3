"""Closed client connections leave nothing for the cycle collector, in the clear and under TLS."""

import asyncio
import gc
import socket
import ssl
import threading
from collections import Counter

import pytest
import uvloop
from unit.pki import Pki

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.exchange.bindings import Bindings
from proxy.exchange.gateway import Gateway
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.upstream.registry import Upstreams
from proxy.wire.acceptor import Acceptor
from proxy.wire.h1.downstream import Downstream
from proxy.wire.h1.upstream import UpstreamConnection
from proxy.wire.handshakes import Handshakes

CONFIG = """
upstreams: {a: {endpoints: ["http://127.0.0.1:1"]}}
routes: [{name: a, upstream: a}]
"""
ASKED = b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Timeout-Ms: 0\r\nConnection: close\r\n\r\n"


def talk(port, context, count):
    """So many connections, one after the other; each is answered and closed."""
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            client = plain
            if context is not None:
                client = context.wrap_socket(plain, server_hostname="orders.shop")
            client.sendall(ASKED)
            came = b""
            while data := client.recv(65536):
                came += data
            assert came.startswith(b"HTTP/1.1 504 ")
            client.close()


async def all_closed(gate):
    while gate.connections:
        await asyncio.sleep(0.01)


async def left_by(count, server_tls, client_tls):
    """What the collector finds after so many connections, by its type."""
    config = load_text(CONFIG, "test.yaml", {}).config
    upstreams = Upstreams(config.upstreams, UpstreamConnection)
    gateway = Gateway(
        config,
        table=RouteTable(config),
        upstreams=upstreams,
        bindings=Bindings(config, upstreams, lambda: 0.5),
        own_addresses=OwnAddresses(lambda address: False),
        random=lambda: 0.5,
    )
    gate = gateway.gates[Listener.OUTBOUND]

    def factory():
        return Downstream(gate)

    handshakes = None
    if server_tls is not None:
        handshakes = Handshakes(
            factory, server_tls, room=lambda: 1000, timeout=lambda: 10.0, close_timeout=1.0
        )
    acceptor = Acceptor("test", factory, handshakes=handshakes, backlog=100)
    await acceptor.open("127.0.0.1", 0)
    port = acceptor.address[1]
    await asyncio.to_thread(talk, port, client_tls, 20)
    await all_closed(gate)
    gc.collect()
    gc.disable()
    try:
        await asyncio.to_thread(talk, port, client_tls, count)
        await all_closed(gate)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(type(one).__name__ for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        acceptor.close()
        upstreams.close()
        await upstreams.wait_closed()


@pytest.mark.parametrize(
    "count", [100, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.alone])]
)
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
def test_connections_leave_nothing(tmp_path, tls, count):
    server_tls = client_tls = None
    if tls:
        pki = Pki(tmp_path)
        server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_tls.load_cert_chain(*pki.files("orders.shop"))
        client_tls = pki.client()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        left = runner.run(left_by(count, server_tls, client_tls))
    assert sum(left.values()) < count, left.most_common(12)
    assert threading.active_count() < 50
