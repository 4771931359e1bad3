"""The real command on a disk that fails: what needs the store is refused, all else goes on."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.conftest import StartChaos, StartProxy
from integration.running_proxy import eventually
from integration.test_idempotency import settings
from integration.test_store import started

SOURCE = Path(__file__).parents[1] / "store" / "failing_disk.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
PAGE = 4096
"""Bytes; SQLite's default."""


@pytest.fixture(scope="session")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("there is no C compiler (Debian: gcc)")
    library = tmp_path_factory.mktemp("preloaded") / "failing_disk.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def test_a_failed_fsync_ends_the_store_until_the_next_start(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path, failing_disk: Path
) -> None:
    ours = settings(shared_chaos, tmp_path / "store.db")
    ours["routes"][0]["outbox"] = {"mode": "prefer"}
    trigger = tmp_path / "fail"
    preload = {"LD_PRELOAD": str(failing_disk), "FAIL_WHEN": str(trigger)}
    proxy = start_proxy(ours, **preload)
    first = {"Idempotency-Key": "fsync-1"}
    assert proxy.call("POST", "/a", first, b"{}").status == 200
    trigger.write_text("f")
    refused = proxy.call("POST", "/a", {"Idempotency-Key": "fsync-2"}, b"{}", request_id="f-2")
    assert refused.status == 503
    assert refused.problem["reason"] == "store-failed"
    assert shared_chaos.seen("f-2") == [], "nothing goes upstream without its claim"
    trigger.unlink()  # the disk works again: the store is still not used
    assert proxy.call("POST", "/a", first, b"{}").problem["reason"] == "store-failed"
    assert proxy.call("POST", "/a", None, b"{}").status == 200
    assert proxy.call("GET", "/a").status == 200
    assert proxy.state("/health/ready") == {"status": "ready", "store": "failed"}
    assert proxy.metric("proxy_store_failed") == 1
    status, document = proxy.ask("GET", "/outbox")
    assert (status, "until a restart" in document) == (503, True)
    eventually(lambda: "the store has failed" in proxy.errors)
    proxy.stop()
    again = start_proxy(ours).call("POST", "/a", first, b"{}")
    assert again.header("idempotent-replayed") == "true"


def test_a_deleted_file_gets_no_promise_and_what_it_kept_is_delivered(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path
) -> None:
    ours = settings(shared_chaos, tmp_path / "store.db")
    ours["routes"][0]["outbox"] = {"mode": "prefer", "backoff": {"initial": "300ms"}}
    proxy = start_proxy(ours)
    first = {"Idempotency-Key": "gone-1"}
    assert proxy.call("POST", "/a", first, b"{}").status == 200
    (tmp_path / "store.db").unlink()
    eventually(lambda: proxy.metric("proxy_store_failed") == 1, 5)
    for header in ({"Idempotency-Key": "gone-2"}, {"Prefer": "respond-async"}):
        refused = proxy.call("POST", "/a", header, b"{}", request_id="gone-2")
        assert refused.problem["reason"] == "store-failed"
        assert "store.db has been deleted" in refused.problem["detail"]
    assert shared_chaos.seen("gone-2") == [], "nothing goes upstream without its claim"
    again = proxy.call("POST", "/a", first, b"{}")
    assert again.header("idempotent-replayed") == "true"
    assert proxy.call("POST", "/a", None, b"{}").status == 200
    assert proxy.state("/health/ready") == {"status": "ready", "store": "failed"}
    store = proxy.state("/store")["store"]
    assert (store["state"], store["dies_with_pod"]) == ("failed", True)
    eventually(lambda: "what it keeps is lost when this process ends" in proxy.errors)


@pytest.mark.parametrize("upstream_returns", [True, False])
def test_what_a_deleted_file_kept_is_delivered_or_counted(
    start_chaos: StartChaos, start_proxy: StartProxy, tmp_path: Path, upstream_returns: bool
) -> None:
    chaos = start_chaos()
    ours = settings(chaos, tmp_path / "store.db")
    ours["store"]["persistent"] = True
    ours["drain"] = {"delay": "0s", "timeout": "1s"}
    ours["routes"][0]["outbox"] = {"mode": "prefer", "backoff": {"initial": "100ms", "max": "1s"}}
    proxy = start_proxy(ours)
    chaos.pause()
    accept = {"Prefer": "respond-async"}
    assert proxy.call("POST", "/a", accept, b"{}", request_id="kept").status == 202
    (tmp_path / "store.db").unlink()
    eventually(lambda: proxy.metric("proxy_store_failed") == 1, 5)
    if upstream_returns:
        chaos.resume()
        eventually(lambda: proxy.metric("proxy_outbox_pending", route="shop") == 0, 5)
    proxy.stop()
    assert proxy.process.returncode == (0 if upstream_returns else 3)
    left = "entries of the outbox are left in a store that is lost with the pod"
    assert (left in proxy.errors) is not upstream_returns


def test_a_full_disk_refuses_new_keys_and_works_again_with_room(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path, failing_disk: Path
) -> None:
    ours = settings(shared_chaos, tmp_path / "store.db")
    trigger = tmp_path / "fail"
    proxy = start_proxy(ours, LD_PRELOAD=str(failing_disk), FAIL_WHEN=str(trigger))
    first = {"Idempotency-Key": "space-1"}
    assert proxy.call("POST", "/a", first, b"{}").status == 200
    trigger.write_text("s")
    for number in (2, 3):
        key = {"Idempotency-Key": f"space-{number}"}
        refused = proxy.call("POST", "/a", key, b"{}", request_id=f"space-{number}")
        assert refused.problem["reason"] == "store-full"
        assert shared_chaos.seen(f"space-{number}") == []
    assert proxy.metric("proxy_store_full") == 1
    again = proxy.call("POST", "/a", first, b"{}")
    assert again.header("idempotent-replayed") == "true"
    assert proxy.call("POST", "/a", None, b"{}").status == 200
    trigger.unlink()

    def works() -> bool:
        return proxy.call("POST", "/a", {"Idempotency-Key": "space-4"}, b"{}").status == 200

    eventually(works, 5)
    assert proxy.metric("proxy_store_failed") == 0
    eventually(lambda: proxy.metric("proxy_store_full") == 0, 5)


def test_a_read_only_disk_ends_the_start(tmp_path: Path, failing_disk: Path) -> None:
    trigger = tmp_path / "fail"
    trigger.write_text("r")
    preload = {"LD_PRELOAD": str(failing_disk), "FAIL_WHEN": str(trigger)}
    with started(tmp_path, tmp_path / "data" / "store.db", **preload) as proxy:
        assert proxy.wait(10) == 2
        assert proxy.stderr is not None
        assert "Read-only file system" in proxy.stderr.read()


def test_a_disk_that_becomes_read_only_ends_the_store(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path, failing_disk: Path
) -> None:
    trigger = tmp_path / "fail"
    ours = settings(shared_chaos, tmp_path / "store.db")
    proxy = start_proxy(ours, LD_PRELOAD=str(failing_disk), FAIL_WHEN=str(trigger))
    first = {"Idempotency-Key": "only-1"}
    assert proxy.call("POST", "/a", first, b"{}").status == 200
    trigger.write_text("r")
    refused = proxy.call("POST", "/a", {"Idempotency-Key": "only-2"}, b"{}", request_id="only-2")
    assert refused.problem["reason"] == "store-failed"
    assert shared_chaos.seen("only-2") == []
    assert proxy.call("POST", "/a", None, b"{}").status == 200
    trigger.unlink()
    proxy.stop()
    again = start_proxy(ours).call("POST", "/a", first, b"{}")
    assert again.header("idempotent-replayed") == "true"


def test_a_file_that_is_no_store_ends_the_start_and_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    content = b"not a database, but long enough to look at" * 200
    file.write_bytes(content)
    with started(tmp_path, file) as proxy:
        assert proxy.wait(10) == 2
        assert proxy.stderr is not None
        assert "file is not a database" in proxy.stderr.read()
    assert file.read_bytes() == content


def test_a_damaged_file_is_not_used(
    shared_chaos: ChaosUpstream, start_proxy: StartProxy, tmp_path: Path
) -> None:
    """Its first page is whole: what is wrong shows when a record is looked for."""
    file = tmp_path / "store.db"
    ours = settings(shared_chaos, file)
    proxy = start_proxy(ours)
    for number in range(40):
        key = {"Idempotency-Key": f"hurt-{number}"}
        assert proxy.call("POST", "/a", key, b"x" * 2000).status == 200
    proxy.stop()
    with file.open("r+b") as raw:
        raw.seek(PAGE)
        while raw.tell() < file.stat().st_size:
            raw.write(b"\xff" * 64)
            raw.seek(PAGE - 64, os.SEEK_CUR)
    with started(tmp_path, file, timeout="1s") as again:
        assert again.wait(10) == 2
        assert again.stderr is not None
        assert "malformed" in again.stderr.read()
