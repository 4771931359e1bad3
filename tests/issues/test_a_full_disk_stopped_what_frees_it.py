"""A disk that was full stopped the deliveries of what had been accepted.

Each delivery has to be recorded, and that needed room in the log: entries were neither tried nor
forgotten until somebody else made room, although their bodies were what filled the disk. What frees
room must go on; only new promises are refused.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from delivery.counting import CountingUpstream
from integration.running_proxy import RunningProxy, eventually

ENTRIES = 20
OWN_DISK = ("unshare", "-m", "sh", "-c")


@pytest.fixture
def upstream() -> Iterator[CountingUpstream]:
    with CountingUpstream() as upstream:
        yield upstream


def has_own_disks(folder: Path) -> bool:
    mount = f"mount -t tmpfs -o size=1m tmpfs {folder}"
    return subprocess.run([*OWN_DISK, mount], capture_output=True).returncode == 0


def fill(disk: Path) -> None:
    for size in (65536, 512):
        try:
            with (disk / f"fill{size}").open("wb", 0) as file:
                while True:
                    file.write(b"x" * size)
        except OSError:
            continue


@pytest.mark.parametrize("mib", [6, 64])
def test_deliveries_go_on(
    tmp_path: Path,
    upstream: CountingUpstream,
    start_proxy: Callable[..., RunningProxy],
    mib: int,
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    if not has_own_disks(folder):
        pytest.skip("a file system of its own needs root")
    mount = f'mount -t tmpfs -o size={mib}m tmpfs {folder} && exec "$@"'
    outbox = {"mode": "always", "keep_done": "0s", "backoff": {"initial": "20ms", "max": "50ms"}}
    proxy = start_proxy(
        {
            "store": {"url": f"sqlite:{folder}/store.db", "persistent": True},
            "upstreams": {"shop": {"endpoints": [f"http://127.0.0.1:{upstream.port}"]}},
            "routes": [
                {"name": "shop", "match": {"hosts": ["shop"]}, "upstream": "shop", "outbox": outbox}
            ],
        },
        prefix=[*OWN_DISK, mount, "sh"],
    )
    disk = Path(f"/proc/{proxy.process.pid}/root{folder}")

    def post(size: int) -> int:
        return proxy.call("POST", "/o", [("Host", "shop")], b"x" * size).status

    upstream.status = 503
    assert {post(5000) for _ in range(ENTRIES)} == {202}
    fill(disk)
    eventually(lambda: post(50_000) == 503)
    assert proxy.metric("proxy_store_full") == 1

    upstream.status, upstream.keys[:] = 200, []
    eventually(lambda: not proxy.state("/outbox")["queues"][0]["pending"], 10)
    assert len(set(upstream.keys)) >= ENTRIES
    assert proxy.metric("proxy_store_failed") == 0

    for one in disk.glob("fill*"):
        os.remove(one)
    eventually(lambda: post(50_000) == 202, 5)
