"""TCP connections that say nothing to a TLS listener stood outside `limits.connections`, at 50 KiB
each.
"""

import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.running_proxy import RunningProxy, eventually


def test_no_more_of_them_stand_than_the_limit_and_a_client_gets_through(
    tmp_path: Path, start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    pki = Pki(tmp_path)
    cert, key = pki.files("127.0.0.1")
    proxy = start_proxy(
        {
            "listeners": {"inbound": {"tls": {"cert": cert, "key": key}}},
            "upstreams": {"app": {"endpoints": [shared_chaos.url]}},
            "limits": {"connections": 50},
        }
    )
    before, files = proxy.memory, proxy.open_files
    with ExitStack() as opened:
        for _ in range(400):
            one = socket.create_connection(("127.0.0.1", proxy.inbound))
            opened.enter_context(one)
        eventually(lambda: proxy.open_files <= files + 50)
        assert proxy.memory - before < 8 * 2**20
        with proxy.client("inbound", tls=pki.client()) as client:
            assert client.request("GET", "/").status == 200
        assert proxy.open_files <= files + 52


def test_a_full_listener_says_so_over_tls(
    tmp_path: Path, start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    pki = Pki(tmp_path)
    cert, key = pki.files("127.0.0.1")
    proxy = start_proxy(
        {
            "listeners": {"inbound": {"tls": {"cert": cert, "key": key}}},
            "upstreams": {"app": {"endpoints": [shared_chaos.url]}},
            "limits": {"connections": 1},
        }
    )
    with proxy.client("inbound", tls=pki.client()) as first:
        assert first.request("GET", "/").status == 200
        context: ssl.SSLContext = pki.client()
        with proxy.client("inbound", tls=context) as second:
            assert second.request("GET", "/").status == 503
