"""The stage as a fixture: everything is settled at the end of every test, or it fails."""

import pytest
from exchange.hand_loop import turned_by_hand
from exchange.stage import CONFIG, Stage


@pytest.fixture
def loop():
    with turned_by_hand() as loop:
        yield loop


@pytest.fixture
def make_stage(loop):
    """Makes a stage from a configuration's text."""
    stages = []

    def make(text=CONFIG):
        stages.append(Stage(loop, text))
        return stages[-1]

    yield make
    for stage in stages:
        for client in stage.clients:
            client.reset()
        stage.assert_at_rest()
        stage.end()


@pytest.fixture
def stage(make_stage):
    """One route, `shop`, to one endpoint, with the default policy and waits of 100, 200, … ms."""
    return make_stage()
