"""Two replicas on one PostgreSQL, the clock of one an hour off: the server's clock counts."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.shop import SLOW, Shop
from integration.test_postgres_store import shop, start  # noqa: F401 - fixtures
from integration.test_sagas import ended, order, place_of
from integration.test_sagas import settings as saga_settings

SOURCE = Path(__file__).parents[1] / "store" / "skewed_clock.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")
AN_HOUR = 3600
SKEWS = pytest.mark.parametrize("skew", [AN_HOUR, -AN_HOUR], ids=["ahead", "behind"])


@pytest.fixture(scope="session")
def skewed_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None:
        pytest.skip("there is no C compiler (Debian: gcc)")
    library = tmp_path_factory.mktemp("preloaded") / "skewed_clock.so"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@pytest.fixture
def settings(shop: Shop, postgres_url: str) -> dict[str, Any]:  # noqa: F811
    settings = saga_settings(shop, Path("unused"), timeout="5m")
    settings["store"] = {"url": postgres_url}
    timeouts = {"attempt": "1m", "request": "1m"}
    patient = {"retry": {"attempts": 1}, "timeouts": timeouts}
    settings["policies"] = {"default": patient, "once": patient}
    quick = {"initial": "10ms", "multiplier": 1, "jitter": "none"}
    settings["routes"] += [
        {"name": "late", "match": {"path": "/late"}, "upstream": "shop",
         "outbox": {"mode": "always", "max_age": "30m", "backoff": quick}},
        {"name": "keyed", "match": {"path": "/keyed"}, "upstream": "shop",
         "idempotency": {"mode": "required"}},
    ]  # fmt: skip
    return settings


@pytest.fixture
def start_skewed(
    start: Callable[..., RunningProxy],  # noqa: F811
    settings: dict[str, Any],
    skewed_clock: Path,
    skew: int,
) -> Callable[[], RunningProxy]:
    return lambda: start(settings, LD_PRELOAD=str(skewed_clock), SKEW=str(skew))


def late(proxy: RunningProxy, key: str = "late-1") -> dict[str, Any]:
    answer = proxy.call("POST", "/late", {"Host": "shop", "Idempotency-Key": key}, b"{}")
    assert answer.status == 202
    told: dict[str, Any] = json.loads(answer.body)
    return told


def off(instant: str) -> float:
    """Seconds between a time that a proxy told and the present."""
    return abs(datetime.fromisoformat(instant).timestamp() - time.time())


@SKEWS
def test_its_own_promises_keep_their_times(
    start_skewed: Callable[[], RunningProxy],
    shop: Shop,  # noqa: F811
) -> None:
    """An entry with a failed try is not given up, and a saga is not timed out."""
    proxy = start_skewed()
    shop.script = {"/late": [500, 500], "/pay": [500]}
    accepted = late(proxy)
    assert off(accepted["accepted_at"]) < 60
    saga = ended(proxy, place_of(order(proxy)), "done", "undone")
    assert saga["state"] == "done"
    assert off(saga["accepted_at"]) < 60
    assert off(saga["finished_at"]) < 60
    shop.wait_for("/late", 3)

    def delivered() -> Any:
        return proxy.state(f"/outbox/{accepted['id']}")["state"] == "delivered"

    eventually(delivered, 5)
    shown = proxy.state(f"/outbox/{accepted['id']}")
    assert [one["status"] for one in shown["outcomes"]] == [500, 500, 200]
    assert all(off(one["at"]) < 60 for one in shown["outcomes"])
    oldest = proxy.metric("proxy_outbox_oldest_seconds", route="late")
    assert 0 <= oldest < 60


@pytest.mark.long
@SKEWS
def test_it_leaves_what_the_other_has_and_the_other_leaves_its(
    start: Callable[..., RunningProxy],  # noqa: F811
    start_skewed: Callable[[], RunningProxy],
    settings: dict[str, Any],
    shop: Shop,  # noqa: F811
) -> None:
    one, other = start(settings), start_skewed()
    shop.script = {"/late": [SLOW, SLOW], "/pay": [SLOW, SLOW], "/keyed": [SLOW, SLOW]}
    clients = []
    for number, (proxy, neighbour) in enumerate([(one, other), (other, one)], 1):
        late(proxy, f"late-{number}")
        place_of(order(proxy, {"id": f"o-{number}", "total": 1}))
        client = proxy.client()
        clients.append(client)
        asked = {"Host": "shop", "Idempotency-Key": f"k-{number}"}
        client.send(request_bytes("POST", "/keyed", asked, b"{}"))
        for path in ("/late", "/pay", "/keyed"):
            shop.wait_for(path, number)
        repeat = neighbour.call("POST", "/keyed", asked, b"{}")
        assert b"idempotency-in-progress" in repeat.body
    time.sleep(2.5)  # each looks for work of the other once a second
    assert [len(shop.keys(path)) for path in ("/late", "/pay", "/keyed")] == [2, 2, 2]
    shop.slow.set()
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    assert set(shop.effects.values()) == {1}
