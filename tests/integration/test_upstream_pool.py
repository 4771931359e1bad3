"""Upstreams over real sockets: connecting, its failures one by one, TLS, and what idles."""

import asyncio
import contextlib
import datetime
import gc
import os
import resource
import socket
import ssl

import pytest
import trustme
import uvloop

from proxy.config.model import ConnectionsConfig, EndpointConfig, UpstreamConfig, UpstreamTls
from proxy.errors import (
    ConnectError,
    ConnectFailed,
    ConnectRefused,
    ConnectTimeout,
    DnsFailure,
    TlsFailure,
)
from proxy.upstream.registry import Upstreams
from proxy.upstream.shortages import ConnectStoodStill
from proxy.wire.h1.upstream import UpstreamConnection

SOON = 5.0
"""Seconds in which what must happen has happened on any machine."""


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine on each kind of loop; what it leaves open shows up as a warning."""

    async def limited(scenario):
        async with asyncio.timeout(4 * SOON):
            await scenario

    def run(scenario):
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(limited(scenario))
        gc.collect()

    return run


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


class Peer(asyncio.Protocol):
    """The server's side of a connection: it accepts, keeps quiet, and can be made to do things."""

    def __init__(self, peers):
        self._peers = peers
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self._peers.append(self)


@contextlib.asynccontextmanager
async def listening(tls=None, host="127.0.0.1"):
    """A server; gives its port, and the peers as they come in."""
    peers = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(peers), host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], peers
    finally:
        server.close()
        for peer in peers:
            peer.transport.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def registry(*configs, **options):
    upstreams = Upstreams({each.name: each for each in configs}, UpstreamConnection, **options)
    try:
        yield upstreams
    finally:
        upstreams.close()
        await upstreams.wait_closed()
        for upstream in upstreams:
            await until(lambda upstream=upstream: not upstream.connections().idle)
        await asyncio.sleep(0.01)  # transports close in the loop's next turns


def local(port, scheme="http", host="127.0.0.1", **settings):
    return UpstreamConfig("local", (EndpointConfig(scheme, host, port),), **settings)


async def until(condition):
    """Wait for something that comes without a callback."""
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.001)


async def connect(endpoint, seconds=SOON):
    """What a request for a new connection is answered with."""
    answer = asyncio.get_running_loop().create_future()
    endpoint.pool.request(answer.set_result, seconds)
    return await answer


async def resolve(upstream, seconds=SOON):
    answer = asyncio.get_running_loop().create_future()
    upstream.resolve(answer.set_result, seconds)
    return await answer


async def failure(config, seconds=SOON):
    """How connecting to the only endpoint of an upstream fails."""
    async with registry(config) as upstreams:
        endpoint = upstreams["local"].pick((), None)
        error = await connect(endpoint, seconds)
        assert isinstance(error, ConnectError), error
        assert endpoint.label in error.detail
        assert endpoint.active == endpoint.pool.open == endpoint.pool.connecting == 0
        return error


def test_a_connection_is_opened_once_and_used_again(run):
    async def scenario():
        async with listening() as (port, peers), registry(local(port)) as upstreams:
            endpoint = upstreams["local"].pick((), None)
            assert endpoint.pool.take() is None
            connection = await connect(endpoint)
            sock = connection._channel.transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            endpoint.pool.give_back(connection, reusable=True)
            assert endpoint.pool.take() is connection
            endpoint.pool.give_back(connection, reusable=False)
            await until(lambda: peers and peers[0].transport.is_closing())
            assert len(peers) == 1

    run(scenario())


def test_ipv6(run):
    async def scenario():
        async with (
            listening(host="::1") as (port, _),
            registry(local(port, host="[::1]")) as upstreams,
        ):
            endpoint = upstreams["local"].pick((), None)
            connection = await connect(endpoint)
            assert connection.usable
            endpoint.pool.give_back(connection, reusable=True)

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    run(scenario())


@pytest.mark.parametrize("what", ["end", "reset", "stray bytes"])
def test_trouble_while_idle_takes_the_connection_out_of_the_pool(run, what):
    async def scenario():
        async with listening() as (port, peers), registry(local(port)) as upstreams:
            endpoint = upstreams["local"].pick((), None)
            endpoint.pool.give_back(await connect(endpoint), reusable=True)
            await until(lambda: peers)
            if what == "end":
                peers[0].transport.close()
            elif what == "reset":
                sock = peers[0].transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                peers[0].transport.abort()
            else:
                peers[0].transport.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
            await until(lambda: endpoint.pool.open == 0)
            assert endpoint.pool.take() is None

    run(scenario())


def test_idle_connections_expire(run):
    async def scenario():
        async with listening() as (port, peers):
            config = local(port, connections=ConnectionsConfig(idle_timeout=0.05))
            async with registry(config) as upstreams:
                endpoint = upstreams["local"].pick((), None)
                endpoint.pool.give_back(await connect(endpoint), reusable=True)
                await until(lambda: endpoint.pool.open == 0)
                await until(lambda: peers and peers[0].transport.is_closing())

    run(scenario())


def test_refused(run):
    async def scenario():
        with socket.socket() as bound:  # bound, and not listening
            bound.bind(("127.0.0.1", 0))
            error = await failure(local(bound.getsockname()[1]))
        assert isinstance(error, ConnectRefused)
        assert "refused the connection" in error.detail

    run(scenario())


def fill_backlog(listener):
    """Connect until the kernel takes no more: the next SYN goes unanswered."""
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect(listener.getsockname())
        fillers.append(filler)
    return fillers


def test_a_blackhole_is_a_connect_timeout(run):
    async def scenario():
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for filler in fill_backlog(listener):
                stack.enter_context(filler)
            loop = asyncio.get_running_loop()
            error = None
            while error is None or isinstance(error, ConnectStoodStill):  # a busy machine: again
                begun = loop.time()
                error = await failure(local(listener.getsockname()[1]), seconds=0.2)
            assert isinstance(error, ConnectTimeout)
            assert "within 0.2s" in error.detail
            assert 0.2 <= loop.time() - begun < SOON

    run(scenario())


def test_no_file_descriptor_left(run):
    async def scenario():
        async with listening() as (port, _):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            with socket.socket() as spare:
                lowest_free = spare.fileno()
            held = []
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 8, hard))
                with contextlib.suppress(OSError):
                    while True:
                        held.append(os.open(os.devnull, os.O_RDONLY))
                error = await failure(local(port))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for descriptor in held:
                    os.close(descriptor)
            assert isinstance(error, ConnectFailed)
            assert "No file descriptor is left" in error.detail
            assert error.condition is None  # so no breaker counts it

    run(scenario())


def test_an_address_that_cannot_be_reached(run):
    async def scenario():
        # A multicast address: the kernel refuses a TCP connection to it without a packet.
        error = await failure(local(80, host="224.0.0.1"))
        assert type(error) is ConnectFailed
        assert "no route" in error.detail

    run(scenario())


# --- names ----------------------------------------------------------------------------------


def test_localhost_is_found_and_reached(run):
    async def scenario():
        async with (
            listening() as (port, _),
            registry(local(port, host="localhost")) as upstreams,
        ):
            upstream = upstreams["local"]
            assert await resolve(upstream) is None
            endpoint = next(each for each in upstream.endpoints if each.ip == "127.0.0.1")
            connection = await connect(endpoint)
            assert not isinstance(connection, ConnectError)
            endpoint.pool.give_back(connection, reusable=True)

    run(scenario())


def test_what_is_no_name_fails_without_a_packet(run):
    async def scenario():
        label = "a" * 70
        async with registry(local(80, host=label)) as upstreams:
            error = await resolve(upstreams["local"])
            assert isinstance(error, DnsFailure)
            assert label in error.detail

    run(scenario())


def test_of_two_addresses_the_dead_one_is_left_alone(run):
    async def scenario():
        async def lookup(host):
            return ["127.0.0.2", "127.0.0.1"]  # nobody listens on the first

        async with (
            listening() as (port, _),
            registry(local(port, host="inventory"), lookup=lookup) as upstreams,
        ):
            upstream = upstreams["local"]
            assert await resolve(upstream) is None
            dead, alive = upstream.endpoints
            assert isinstance(await connect(dead), ConnectRefused)
            for _ in range(20):
                assert upstream.pick((), None) is alive

    run(scenario())


def test_closing_answers_who_is_connecting_and_leaves_no_task(run, ca_file):
    async def scenario():
        async with listening() as (port, peers):
            config = local(port, "https", tls=UpstreamTls(ca=ca_file))
            async with registry(config) as upstreams:
                endpoint = upstreams["local"].pick((), None)
                answers = []
                endpoint.pool.request(answers.append, SOON)
                await until(lambda: peers)  # and its side of the handshake never comes
                upstreams.close()
                await upstreams.wait_closed()
                await until(lambda: answers)
            assert isinstance(answers[0], ConnectFailed)
            assert "shutting down" in answers[0].detail
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


# --- TLS ------------------------------------------------------------------------------------


def server_context(ca, *names, client_ca=None, **validity):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names, **validity).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_with_an_own_ca(run, ca, ca_file):
    async def scenario():
        async with listening(server_context(ca, "127.0.0.1")) as (port, _):
            config = local(port, "https", tls=UpstreamTls(ca=ca_file))
            async with registry(config) as upstreams:
                endpoint = upstreams["local"].pick((), None)
                connection = await connect(endpoint)
                assert not isinstance(connection, ConnectError), connection
                session = connection._channel.transport.get_extra_info("ssl_object")
                assert session.selected_alpn_protocol() == "http/1.1"
                assert session.version() in ("TLSv1.2", "TLSv1.3")
                endpoint.pool.give_back(connection, reusable=True)
                assert endpoint.pool.take() is connection
                endpoint.pool.give_back(connection, reusable=False)

    run(scenario())


def test_server_name_is_sent_and_verified(run, ca, ca_file):
    async def scenario():
        names = []
        tls = server_context(ca, "inventory.shop")
        tls.sni_callback = lambda _, name, __: names.append(name)
        async with listening(tls) as (port, _):
            settings = UpstreamTls(ca=ca_file, server_name="inventory.shop")
            async with registry(local(port, "https", tls=settings)) as upstreams:
                endpoint = upstreams["local"].pick((), None)
                connection = await connect(endpoint)
                assert not isinstance(connection, ConnectError), connection
                endpoint.pool.give_back(connection, reusable=False)
        assert names == ["inventory.shop"]

    run(scenario())


def test_verification_can_be_turned_off(run, ca):
    async def scenario():
        async with (
            listening(server_context(ca, "elsewhere.example")) as (port, _),
            registry(local(port, "https", tls=UpstreamTls(verify=False))) as upstreams,
        ):
            endpoint = upstreams["local"].pick((), None)
            connection = await connect(endpoint)
            assert not isinstance(connection, ConnectError), connection
            endpoint.pool.give_back(connection, reusable=False)

    run(scenario())


def test_a_client_certificate_is_shown(run, ca, ca_file, tmp_path):
    async def scenario():
        client = ca.issue_cert("orders.shop")
        client.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
        client.private_key_pem.write_to_path(tmp_path / "tls.key")
        settings = UpstreamTls(
            ca=ca_file, cert=str(tmp_path / "tls.crt"), key=str(tmp_path / "tls.key")
        )
        async with (
            listening(server_context(ca, "127.0.0.1", client_ca=ca)) as (port, peers),
            registry(local(port, "https", tls=settings)) as upstreams,
        ):
            endpoint = upstreams["local"].pick((), None)
            connection = await connect(endpoint)
            await until(lambda: peers)
            shown = peers[0].transport.get_extra_info("peercert")
            assert ("DNS", "orders.shop") in shown["subjectAltName"]
            endpoint.pool.give_back(connection, reusable=False)

    run(scenario())


def day(number):
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=number)


@pytest.mark.parametrize(
    ("names", "validity", "trusted", "said"),
    [
        (["127.0.0.1"], {"not_before": day(-9), "not_after": day(-2)}, True, "has expired"),
        (["127.0.0.1"], {"not_before": day(2), "not_after": day(9)}, True, "is not valid yet"),
        (["elsewhere.example"], {}, True, "is not for 127.0.0.1"),
        (["127.0.0.1"], {}, False, "comes from a CA that is not trusted"),
    ],
    ids=["expired", "not yet valid", "wrong name", "unknown CA"],
)
def test_a_refused_certificate(run, ca, ca_file, names, validity, trusted, said):
    async def scenario():
        async with listening(server_context(ca, *names, **validity)) as (port, _):
            tls = UpstreamTls(ca=ca_file) if trusted else None
            error = await failure(local(port, "https", tls=tls))
        assert isinstance(error, TlsFailure)
        assert error.proxy_error == "tls_certificate_error"
        assert said in error.detail

    run(scenario())


def test_a_port_without_tls(run, ca_file):
    async def scenario():
        async with listening() as (port, peers):
            failing = asyncio.create_task(failure(local(port, "https")))
            await until(lambda: peers)
            peers[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            error = await failing
        assert isinstance(error, TlsFailure)
        assert error.proxy_error == "tls_protocol_error"
        assert "does not speak TLS on this port" in error.detail

    run(scenario())


def test_a_handshake_that_is_cut(run):
    async def scenario():
        async with listening() as (port, peers):
            failing = asyncio.create_task(failure(local(port, "https")))
            await until(lambda: peers)
            peers[0].transport.close()
            error = await failing
        assert isinstance(error, TlsFailure)
        assert error.proxy_error == "tls_protocol_error"
        assert "during the TLS handshake" in error.detail

    run(scenario())


@pytest.mark.parametrize(
    ("alert", "said", "advice"),
    [
        (40, "handshake failure", "a cipher in common"),
        (70, "protocol version", "TLS 1.2 or 1.3"),
        (116, "certificate required", "asks for a client certificate"),
    ],
)
def test_a_handshake_that_the_server_refuses(run, alert, said, advice):
    async def scenario():
        async with listening() as (port, peers):
            failing = asyncio.create_task(failure(local(port, "https")))
            await until(lambda: peers)
            peers[0].transport.write(bytes([21, 3, 3, 0, 2, 2, alert]))  # RFC 8446 section 6
            error = await failing
        assert isinstance(error, TlsFailure)
        assert error.proxy_error == "tls_protocol_error"
        assert said in error.detail
        assert advice in error.detail

    run(scenario())


def test_a_handshake_that_never_ends_is_a_connect_timeout(run):
    async def scenario():
        async with listening() as (port, peers):
            while not peers:  # the time may be over before it has connected
                error = await failure(local(port, "https"), seconds=0.2)
                assert isinstance(error, ConnectTimeout)
                await asyncio.sleep(0.01)
            # No socket is left behind.
            await until(lambda: peers[0].transport.is_closing())

    run(scenario())


def test_a_ca_file_that_is_not_there_is_named_and_tried_again(run, ca, tmp_path):
    async def scenario():
        path = tmp_path / "late.pem"
        async with listening(server_context(ca, "127.0.0.1")) as (port, _):
            config = local(port, "https", tls=UpstreamTls(ca=str(path)))
            async with registry(config) as upstreams:
                endpoint = upstreams["local"].pick((), None)
                error = await connect(endpoint)
                assert isinstance(error, TlsFailure)
                assert f"The CA file {path} cannot be used: No such file" in error.detail
                ca.cert_pem.write_to_path(path)
                connection = await connect(endpoint)
                assert not isinstance(connection, ConnectError), connection
                endpoint.pool.give_back(connection, reusable=True)
                path.unlink()

    run(scenario())
