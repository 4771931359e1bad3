"""What is wrong with TLS is told apart in `detail`, and nothing below TLS 1.2 is spoken."""

import contextlib
import datetime
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator

import pytest
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, route


class TlsServer(threading.Thread):
    """Shakes hands with a blocking socket: that way OpenSSL sends its alerts, as servers do."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        """`context` None: accepts, and says nothing."""
        super().__init__(daemon=True)
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._accepted: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self._accepted.append(plain)
                if self._context is not None:
                    threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        assert self._context is not None
        with contextlib.suppress(OSError), self._context.wrap_socket(plain, True) as secure:
            secure.recv(4096)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._accepted:
            one.close()


def _dated(pki: Pki, first: int, last: int) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pki.authority.issue_cert(
        "127.0.0.1",
        not_before=datetime.datetime(first, 1, 1),
        not_after=datetime.datetime(last, 1, 1),
    ).configure_cert(context)
    return context


def _outdated(context: ssl.SSLContext) -> ssl.SSLContext:
    """TLS 1.1 at most, and allowed to by OpenSSL's security level."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


WORDS = {
    "expired": ("tls-failure", "has expired"),
    "early": ("tls-failure", "is not valid yet"),
    "misnamed": ("tls-failure", "is not for 127.0.0.1: set tls.server_name"),
    "unknown": ("tls-failure", "comes from a CA that is not trusted here"),
    "outdated": ("tls-failure", "supports no TLS version that is allowed here"),
    "silent": ("connect-timeout", "did not complete a connection and its TLS handshake"),
    "plain": ("tls-failure", "does not speak TLS on this port"),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def servers(authority: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """URLs by what is wrong with them."""
    contexts = {
        "expired": _dated(authority, 2020, 2021),
        "early": _dated(authority, 2090, 2091),
        "misnamed": authority.server("other.shop"),
        "unknown": Pki(tmp_path_factory.mktemp("other")).server(),
        "outdated": _outdated(authority.server()),
        "silent": None,
        "stranger": authority.server(mutual=True),
    }
    started = {name: TlsServer(context) for name, context in contexts.items()}
    for server in started.values():
        server.start()
    yield {name: f"https://127.0.0.1:{server.port}" for name, server in started.items()}
    for server in started.values():
        server.stop()


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy],
    servers: dict[str, str],
    authority: Pki,
    shared_chaos: ChaosUpstream,
) -> RunningProxy:
    cert, key = authority.files("127.0.0.1")
    urls = servers | {"plain": shared_chaos.url.replace("http:", "https:")}
    secure = {name: {"endpoints": [url], "tls": {"ca": authority.ca}} for name, url in urls.items()}
    mistaken = {"endpoints": [servers["expired"].replace("https:", "http:")]}
    return module_proxy(
        {
            "listeners": {"inbound": {"tls": {"cert": cert, "key": key}}},
            "upstreams": {
                **secure,
                "mistaken": mistaken,
                "app": {"endpoints": [shared_chaos.url]},
            },
            "routes": [route(name, name, retry=ONCE) for name in (*secure, "mistaken")],
            "policies": {"default": {"timeouts": {"connect": "2s"}}},
        }
    )


@pytest.mark.parametrize("what", WORDS)
def test_failures_are_told_apart(proxy: RunningProxy, what: str) -> None:
    reason, words = WORDS[what]
    answer = proxy.call("POST", f"/{what}", body=b"x")
    assert answer.status in (502, 504)
    assert answer.why == reason
    assert words in answer.problem["detail"]


def test_a_server_that_wants_a_certificate(proxy: RunningProxy) -> None:
    """It says so when the handshake is over for us: as an alert, or with the connection's end."""
    answer = proxy.call("POST", "/stranger", body=b"x")
    assert answer.status == 502
    assert answer.why in ("tls-failure", "upstream-reset")
    assert "requires another client certificate" in answer.problem["detail"]


def test_plain_http_to_a_port_that_speaks_tls(proxy: RunningProxy) -> None:
    answer = proxy.call("POST", "/mistaken", body=b"x")
    assert (answer.status, answer.why) == (502, "upstream-reset")


def test_tls_to_a_listener_that_speaks_plain_http(proxy: RunningProxy, authority: Pki) -> None:
    with pytest.raises(ssl.SSLError):
        RawClient(proxy.outbound, tls=authority.client())
    assert proxy.call("POST", "/plain").why == "tls-failure", "and nobody else is disturbed"


def test_a_client_of_tls_1_1_is_turned_away(proxy: RunningProxy, authority: Pki) -> None:
    with pytest.raises(ssl.SSLError):
        RawClient(proxy.inbound, tls=_outdated(authority.client()))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_resume_their_sessions(
    proxy: RunningProxy, authority: Pki, version: ssl.TLSVersion
) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    sessions: list[ssl.SSLSession | None] = [None]
    resumed = []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", proxy.inbound), 5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1", session=sessions[-1]) as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")  # TLS 1.3's ticket came before
            sessions.append(client.session)
            resumed.append(client.session_reused)
    assert resumed == [False, True]
    eventually(lambda: proxy.in_flight() == 0)


def test_server_names_are_sent(authority: Pki, start_proxy: Callable[..., RunningProxy]) -> None:
    """The name of the endpoint, or the one that is configured for it."""
    asked = []
    context = authority.server("inventory.shop")
    context.sni_callback = lambda _, name, __: asked.append(name)
    server = TlsServer(context)
    server.start()
    url = f"https://127.0.0.1:{server.port}"
    named = {"ca": authority.ca, "server_name": "inventory.shop"}
    other = start_proxy(
        {
            "upstreams": {
                "named": {"endpoints": [url], "tls": named},
                "local": {"endpoints": [url.replace("127.0.0.1", "localhost")]},
            },
            "routes": [
                route("named", retry=ONCE, upstream="named"),
                route("local", "local", retry=ONCE),
            ],
        }
    )
    other.call("POST", "/named", body=b"x")
    other.call("POST", "/local", body=b"x")
    server.stop()
    assert asked == ["inventory.shop", "localhost"]
