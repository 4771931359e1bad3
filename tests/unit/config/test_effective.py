"""The configuration as plain data: it means the same when it is read again, and tells no secret."""

import json
from pathlib import Path

import pytest

from proxy.config import effective, load, load_text

HERE = Path(__file__).parent
FILES = [HERE / "everything.yaml", HERE / "reference.yaml", None]


@pytest.mark.parametrize("file", FILES)
def test_what_is_shown_means_the_same_when_it_is_read_again(file):
    config = load(file, {"OTEL_SERVICE_NAME": "x"}).config
    text = json.dumps(effective(config, reveal=True), ensure_ascii=False)
    again = load_text(text, "again", {}).config
    assert again == config


@pytest.mark.parametrize("file", FILES)
def test_it_is_plain_data(file):
    shown = effective(load(file, {}).config)
    assert json.loads(json.dumps(shown)) == shown


def test_values_that_may_be_credentials_are_hidden():
    shown = json.dumps(effective(load(HERE / "everything.yaml", {}).config))
    route = effective(load(HERE / "everything.yaml", {}).config)["routes"][0]
    assert "secret" not in shown
    assert route["headers"]["request"]["set"] == {"X-S": "***"}
    assert route["match"]["headers"] == {
        "x-a": "***",
        "x-b": {"regex": "***"},
        "x-c": {"present": False},
    }
    assert route["match"]["query"]["q"] == "***"


def test_a_route_shows_its_whole_policy_and_its_name():
    route = effective(load(HERE / "everything.yaml", {}).config)["routes"][1]
    assert route["policy"] == "gold"
    assert route["retry"]["on"] == [429, "500-503", "timeout"]
    assert route["fallback"] == {"when": ["timeout", 503], "upstream": "spare"}
    assert route["circuit_breaker"]["window"] == {"type": "time", "size": "1m"}
