"""The real command is killed while its sagas run: each effect is made, and undone, once."""

import random
import time
from pathlib import Path

import pytest
from integration.running_proxy import RunningProxy
from integration.shop import LOST, open_shop
from integration.test_sagas import ended, order, place_of, settings


@pytest.mark.long
@pytest.mark.parametrize("end", ["done", "undone"])
def test_ten_kills_at_any_time(tmp_path: Path, end: str) -> None:
    chance = random.Random(end)
    with open_shop() as shop:
        given = settings(shop, tmp_path / "store.db")
        for step in given["sagas"]["order"]["steps"]:
            step["attempts"] = 20
        given["sagas"]["order"]["undo"]["attempts"] = 20
        places = []
        for number in range(10):
            folder = tmp_path / f"proxy{number}"
            folder.mkdir()
            proxy = RunningProxy(folder, given)
            for _ in range(5):
                if end == "undone":
                    shop.script["/ship"] = [422] * 1000
                elif chance.random() < 0.5:
                    shop.script["/pay"] = [LOST]
                name = f"o-{len(places)}"
                places.append((name, place_of(order(proxy, {"id": name, "total": 1}))))
            time.sleep(chance.random() * 0.08)
            proxy.kill()
        (tmp_path / "last").mkdir()
        last = RunningProxy(tmp_path / "last", given)
        for name, place in places:
            document = ended(last, place, "done", "undone", "stuck")
            assert (name, document["state"]) == (name, end)
        last.stop()
        assert set(shop.effects.values()) == {1}
        for name, _ in places:
            made = {
                key.removeprefix(f"{name}/") for key in shop.effects if key.startswith(f"{name}/")
            }
            if end == "done":
                assert made == {"reserve/do", "pay/do", "ship/do"}
            else:
                undone = made - {"ship/undo"}  # of a try that a kill interrupted
                assert undone == {"reserve/do", "pay/do", "reserve/undo", "pay/undo"}, name
