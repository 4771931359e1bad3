"""Requests that a service still sends when its proxy ends are cut in order, without an internal
error: their connections were closed first, and the answers written to them afterwards.
"""

import http.client
import threading
from contextlib import suppress
from pathlib import Path

from chaos.upstream import ChaosUpstream
from integration.conftest import StartProxy
from integration.running_proxy import RunningProxy
from integration.test_idempotency import settings


def test_requests_with_keys_until_the_end(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path
) -> None:
    ours = settings(shared_chaos, tmp_path / "store.db")
    ours["drain"] = {"delay": "0s", "timeout": "200ms"}
    proxy = start_proxy(ours)
    ended = threading.Event()
    clients = [threading.Thread(target=ask, args=(proxy, n, ended)) for n in range(8)]
    for client in clients:
        client.start()
    try:
        proxy.signal()
        proxy.wait(10)
    finally:
        ended.set()
        for client in clients:
            client.join()
    proxy.assert_sound()


def ask(proxy: RunningProxy, number: int, ended: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.outbound)
    count = 0
    with suppress(OSError, http.client.HTTPException):
        while not ended.is_set():
            count += 1
            key = {"Idempotency-Key": f"end-{number}-{count}", "Host": "shop"}
            connection.request("POST", "/a", b"{}", key)
            connection.getresponse().read()
    connection.close()
