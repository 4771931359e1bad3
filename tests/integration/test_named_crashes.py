"""The real command dies at each named point: nothing acknowledged is lost, a death repeats one try
at most, and effects happen once wherever the answer did not say that it is unknown.

One proxy goes on where the one before has died, and dies at the same point again. $COMMAND_CRASHES:
how many deaths at each point.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from delivery.counting import CountingUpstream
from dying import DIED
from integration.conftest import StartProxy
from integration.raw_client import BrokenOff
from integration.running_proxy import RunningProxy, eventually
from integration.shop import open_shop
from integration.test_outbox import settings as outbox_settings
from integration.test_sagas import ended, order, place_of
from integration.test_sagas import settings as saga_settings

DRIVER = Path(__file__).with_name("crashing_proxy.py")
DEATHS = int(os.environ.get("COMMAND_CRASHES", "10"))


class Chain:
    """Proxies on one store; the present one dies at the point once `armed`."""

    def __init__(self, start: StartProxy, settings: Any, folder: Path, point: str) -> None:
        self._start = start
        self._settings = settings
        self._armed = folder / "armed"
        self._point = point

    def start(self, number: int = 1) -> RunningProxy:
        self._armed.unlink(missing_ok=True)
        return self._start(
            self._settings,
            prefix=[sys.executable, str(DRIVER)],
            CRASH_AT=self._point,
            CRASH_NUMBER=str(number),
            CRASH_WHEN=str(self._armed),
        )

    def death(self, proxy: RunningProxy, ask: Callable[[], Any]) -> Any:
        """What it answered before it died, None if it gave no answer."""
        answer = None
        self._armed.touch()
        with contextlib.suppress(BrokenOff, OSError):
            answer = ask()
        assert proxy.wait() == DIED
        proxy.process.returncode = 0  # it was meant to die
        return answer


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "effects", "status"),
    [
        pytest.param("committed ClaimKey", 0, 409, id="claim committed and unsent"),
        pytest.param("begun FinishKey", 1, 409, id="sent and unrecorded"),
        pytest.param("executed FinishKey", 1, 409, id="recorded and not committed"),
        pytest.param("committed FinishKey", 1, 200, id="recorded and unanswered"),
    ],
)
def test_a_key(
    start_proxy: StartProxy, tmp_path: Path, point: str, effects: int, status: int
) -> None:
    with CountingUpstream() as upstream:
        ours = outbox_settings(upstream, tmp_path / "store.db")
        del ours["routes"][0]["outbox"]
        ours["routes"][0]["idempotency"] = {"mode": "required"}
        chain = Chain(start_proxy, ours, tmp_path, point)
        proxy = chain.start()
        for number in range(DEATHS):
            fields = [("Host", "shop"), ("Idempotency-Key", f"k{number}")]

            def ask(fields: Any = fields) -> Any:
                return proxy.call("POST", "/o", fields, b"{}")  # noqa: B023 - called in its round

            assert chain.death(proxy, ask) is None
            assert upstream.keys.count(f"k{number}") == effects
            proxy = chain.start()
            answers = [ask() for _ in range(2)]
            assert [answer.status for answer in answers] == [status] * 2
            if status == 200:
                assert {one.header("idempotent-replayed") for one in answers} == {"true"}
            else:
                assert all(b"idempotency-unknown" in one.body for one in answers)
            assert upstream.keys.count(f"k{number}") == effects


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "tries"),
    [
        pytest.param("executed Put", 0, id="accepted and not committed"),
        pytest.param("committed Put", 1, id="accepted and not acknowledged"),
        pytest.param("delivered Put", 1, id="accepted and undelivered"),
        pytest.param("begun Settle", 2, id="delivered and unrecorded"),
        pytest.param("executed Settle", 2, id="delivered and uncommitted"),
        pytest.param("committed Settle", 1, id="delivered and committed"),
    ],
)
def test_an_entry(start_proxy: StartProxy, tmp_path: Path, point: str, tries: int) -> None:
    with CountingUpstream() as upstream:
        ours = outbox_settings(upstream, tmp_path / "store.db", persistent=True)
        chain = Chain(start_proxy, ours, tmp_path, point)
        proxy = chain.start()
        for number in range(DEATHS):
            key = f"k{number}"

            def ask(key: str = key) -> Any:
                fields = [("Host", "shop"), ("Idempotency-Key", key)]
                return proxy.call("POST", "/o", fields, b"{}")  # noqa: B023 - called in its round

            answer = chain.death(proxy, ask)
            assert answer is None or answer.status == 202
            assert answer is None or tries, "acknowledged and lost"
            proxy = chain.start()
            eventually(lambda: _pending(proxy) == 0, 10)  # noqa: B023 - called in its round
            assert upstream.keys.count(key) == tries


def _pending(proxy: RunningProxy) -> int:
    return sum(queue["pending"] for queue in proxy.state("/outbox")["queues"])


@pytest.mark.long
@pytest.mark.parametrize("end", ["done", "undone"])
@pytest.mark.parametrize(
    ("point", "most"),
    [
        pytest.param("executed BeginSaga", 1, id="begun and not committed"),
        pytest.param("committed BeginSaga", 1, id="begun and not acknowledged"),
        pytest.param("committed ClaimSagas", 1, id="claimed"),
        # Of the steps that are done or undone, each has an intent; the end is the last.
        pytest.param("begun UpdateSaga", 6, id="answered and unrecorded"),
        pytest.param("committed UpdateSaga", 6, id="intent committed and unsent"),
    ],
)
def test_an_arrow_of_a_saga(
    start_proxy: StartProxy, tmp_path: Path, point: str, most: int, end: str
) -> None:
    with open_shop() as shop:
        ours = saga_settings(shop, tmp_path / "store.db")
        if end == "undone":
            shop.script["/ship"] = [422] * 1000
        arrows = min(most, 4) if end == "done" else most
        chain = Chain(start_proxy, ours, tmp_path, point)
        proxy = chain.start()
        for number in range(DEATHS):
            name = f"o-{number}"

            def ask(name: str = name) -> Any:
                return order(proxy, {"id": name, "total": 1})  # noqa: B023 - called in its round

            chain.death(proxy, ask)
            proxy = chain.start(1 + (number + 1) % arrows)
            # The caller repeats: it gets the saga that is there, or begins it.
            assert ended(proxy, place_of(ask()), "done", "undone", "stuck")["state"] == end
            keys = [key for _, key, _ in shop.requests if key.startswith(f"{name}/")]
            assert len(keys) <= len(set(keys)) + 1, "one try more for a death"
        assert set(shop.effects.values()) == {1}
        wanted = {"reserve/do", "pay/do", "ship/do"}
        if end == "undone":
            wanted = {"reserve/do", "pay/do", "reserve/undo", "pay/undo"}
        for number in range(DEATHS):
            name = f"o-{number}/"
            made = {one.removeprefix(name) for one in shop.effects if one.startswith(name)}
            assert made - {"ship/undo"} == wanted
