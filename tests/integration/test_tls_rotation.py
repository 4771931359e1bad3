"""Two sidecars with mutual TLS under steady load, while all that they are built of is swapped."""

import os
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, route

StartProxy = Callable[..., RunningProxy]
CALLERS = 4
BETWEEN_FILES = 0.05
"""Seconds in which only one of two files is new."""


class Load:
    """Requests through the caller's sidecar, one after the other on each connection."""

    def __init__(self, proxy: RunningProxy) -> None:
        self._proxy = proxy
        self._stop = threading.Event()
        self.seen: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def _call(self) -> None:
        try:
            with self._proxy.client() as client:
                while not self._stop.is_set():
                    response = client.request("POST", "/p", body=b"x" * 1000, chaos="echo")
                    whole = response.body == b"x" * 1000
                    self.seen["right" if whole else f"{response.status} {response.body!r}"] += 1
                    time.sleep(0.003)
        except Exception as error:  # noqa: BLE001 - a thread's error belongs in the report
            self.seen[repr(error)] += 1


class Files:
    """What both sidecars read: a CA file, and a certificate with its key for each of them."""

    def __init__(self, directory: Path) -> None:
        self.ca = directory / "ca.pem"
        self.names = {"127.0.0.1": "server", "orders.shop": "caller"}
        self._directory = directory

    def paths(self, name: str) -> dict[str, str]:
        stem = self._directory / self.names[name]
        return {"cert": f"{stem}.crt", "key": f"{stem}.key"}

    def trust(self, *authorities: Pki) -> None:
        fresh = self.ca.with_suffix(".new")
        fresh.write_text("".join(Path(one.ca).read_text() for one in authorities))
        fresh.replace(self.ca)

    def issue(self, authority: Pki) -> None:
        for name in self.names:
            ours = self.paths(name)
            for new, old in zip(authority.files(name), (ours["cert"], ours["key"]), strict=True):
                os.replace(new, old)
                time.sleep(BETWEEN_FILES)


@pytest.fixture
def authorities(tmp_path: Path) -> tuple[Pki, Pki]:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    return Pki(tmp_path / "old"), Pki(tmp_path / "new")


def _settings(files: Files, chaos: ChaosUpstream, inbound: int | None) -> Settings:
    """`inbound` None: of the one that is called, else of the one that calls it."""
    if inbound is None:
        tls = {**files.paths("127.0.0.1"), "client_ca": str(files.ca)}
        return {
            "listeners": {"inbound": {"tls": tls}},
            "upstreams": {"app": {"endpoints": [chaos.url]}},
        }
    peer = {
        "endpoints": [f"https://127.0.0.1:{inbound}"],
        "tls": {**files.paths("orders.shop"), "ca": str(files.ca)},
        "connections": {"max_requests": 5},  # so that there are handshakes all the time
    }
    return {"upstreams": {"peer": peer}, "routes": [route("p", "peer", retry=ONCE)]}


def _reloaded(proxy: RunningProxy, times: int) -> None:
    eventually(lambda: proxy.errors.count("new files, in use from") >= times, timeout=8)


@pytest.mark.long
def test_no_request_is_lost_while_certificates_and_ca_are_swapped(
    tmp_path: Path,
    authorities: tuple[Pki, Pki],
    shared_chaos: ChaosUpstream,
    start_proxy: StartProxy,
) -> None:
    old, new = authorities
    files = Files(tmp_path)
    files.trust(old)
    files.issue(old)
    server = start_proxy(_settings(files, shared_chaos, None))
    caller = start_proxy(_settings(files, shared_chaos, server.inbound))
    with Load(caller) as load:
        eventually(lambda: load.seen.total() > 50)
        files.trust(old, new)
        _reloaded(server, 1), _reloaded(caller, 1)
        files.issue(new)
        eventually(lambda: _shows_one_of(server, new, files), timeout=8)
        _reloaded(caller, 2)
        files.trust(new)
        _reloaded(server, 3), _reloaded(caller, 3)
        so_far = load.seen.total()
        eventually(lambda: load.seen.total() > so_far + 50)
    assert set(load.seen) == {"right"}, load.seen
    assert caller.metric("proxy_attempts_total", outcome="2xx") == load.seen.total()


def _shows_one_of(server: RunningProxy, authority: Pki, files: Files) -> bool:
    """Whether the server shows a certificate of this authority."""
    caller = files.paths("orders.shop")
    try:
        with RawClient(server.inbound, tls=authority.client((caller["cert"], caller["key"]))):
            return True
    except ssl.SSLError:
        return False
