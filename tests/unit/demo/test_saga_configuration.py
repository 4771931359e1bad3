"""The demo of the asynchronous order service has the saga and the policies of the example."""

from dataclasses import replace
from pathlib import Path

import pytest

from proxy.config import Loaded, load, load_text
from proxy.config.saga_model import SagaConfig
from proxy.demo.configuration import Ports, as_text
from proxy.demo.saga_configuration import SAGA, SERVICES, document
from proxy.demo.scene import Tempo
from proxy.policies.saga_rules import BACKOFF

EXAMPLE = Path(__file__).parents[3] / "config" / "examples" / "order-service-async.yaml"


def demo(duration: float) -> Loaded:
    ports = Ports(outbound=7070, inbound=7071, admin=7072)
    endpoints = {name: 8081 + number for number, name in enumerate(SERVICES)}
    told = document(Tempo(duration), ports, endpoints, Path("/tmp/store.db"))
    return load_text(as_text(told), "demo.yaml", {})


def without_waits(saga: SagaConfig) -> SagaConfig:
    """The demo's waits between tries are shorter."""
    steps = tuple(replace(step, backoff=BACKOFF) for step in saga.steps)
    return replace(saga, steps=steps, undo=replace(saga.undo, backoff=BACKOFF))


def test_at_full_tempo_the_demo_has_the_saga_of_the_example() -> None:
    mine, theirs = demo(450).config, load(EXAMPLE, {}).config
    assert without_waits(mine.sagas[SAGA]) == without_waits(theirs.sagas[SAGA])
    for name in ("default", "inventory", "payment", "shipping"):
        assert mine.policies[name] == theirs.policies[name], name
    (route,) = mine.routes
    (other,) = theirs.routes
    assert (route.match, route.saga, route.listener) == (other.match, other.saga, other.listener)


@pytest.mark.parametrize("duration", [5.0, 8.0, 30.0, 450.0])
def test_none_gives_a_warning(duration: float) -> None:
    assert demo(duration).warnings == ()


def test_a_short_run_has_the_same_saga_in_less_time() -> None:
    saga = demo(30).config.sagas[SAGA]
    assert saga.steps[0].backoff.initial == pytest.approx(0.2)
    assert saga.steps[0].backoff.max == pytest.approx(5.0)
