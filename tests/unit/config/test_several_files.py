"""A platform's file, a team's over it, flags and environment over both."""

from pathlib import Path

import pytest

from proxy.config import ConfigError, load, provenance
from proxy.config.loading import Origin
from proxy.config.model import Listener
from proxy.routing.explain import describe_request, explain

PLATFORM = """\
x-slow: &slow {attempt: 9s}
service: platform
drain: {delay: 1s, timeout: 20s}
policies:
  default:
    timeouts: {request: 10s, attempt: 2s}
    retry: {attempts: 4, on: [reset, timeout]}
  slow: {timeouts: *slow}
routes:
  - {name: health, match: {path: /health}}
  - {name: stock, match: {prefix: /stock}, policy: slow}
"""
TEAM = """\
service: orders
drain: {delay: null}
policies:
  default:
    retry: {on: [connect-failure]}
routes:
  - name: stock
    match: {prefix: /api/stock}
  - {name: pay, match: {prefix: /pay}}
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("platform.yaml").write_text(PLATFORM)
    Path("team.yaml").write_text(TEAM)
    return Path("platform.yaml"), Path("team.yaml")


def both(files, environ=None, **flags):
    return load(Origin(files, flags), environ or {})


def problems(files, environ=None, **flags):
    with pytest.raises(ConfigError) as raised:
        both(files, environ, **flags)
    return list(map(str, raised.value.problems))


def test_maps_are_merged_and_lists_replaced(files):
    config = both(files).config
    assert config.service == "orders"
    default = config.policies["default"]
    assert default.retry.attempts == 4
    assert default.retry.on.terms == ("connect-failure",)
    assert config.policies["slow"].timeouts.attempt == 9
    assert config.drain.timeout == 20


def test_null_gives_the_default_back(files):
    assert both(files).config.drain.delay == 5
    Path("team.yaml").write_text("policies: ~\ndrain: ${NOTHING:-}\nroutes: null\n")
    config = both(files).config
    assert config.policies.keys() == {"default", "inbound"}
    assert config.policies["default"].retry.attempts == 3
    assert (config.drain.delay, config.routes) == (5, ())


def test_routes_are_joined_and_the_later_of_a_name_replaces(files):
    config = both(files).config
    assert [route.name for route in config.routes] == ["stock", "pay", "health"]
    assert config.routes[0].match.prefix == "/api/stock"
    assert config.routes[0].policy == "default"


def test_every_value_names_its_own_file(files):
    loaded = both(files)
    shown = dict(provenance(loaded.config, loaded.sources))
    assert shown["service"] == "team.yaml:1"
    assert shown["drain.timeout"] == "platform.yaml:3"
    assert shown["drain.delay"] == "built-in default"
    assert shown["routes[0].retry.on"] == "team.yaml:5 (policy default)"
    assert shown["routes[0].retry.attempts"] == "platform.yaml:7 (policy default)"
    text = explain(loaded, Listener.OUTBOUND, describe_request("GET", "http://a/health", [])).text()
    assert "platform.yaml:10" in text
    assert "team.yaml:7" in text


def test_problems_stand_in_the_file_that_made_them(files):
    Path("team.yaml").write_text("retry: {attempts: 2}\n")
    (found,) = problems(files)
    assert found.startswith("team.yaml:1:1: retry: ")
    Path("platform.yaml").write_text("drain: {timeout: 5}\n")
    assert [line.partition(":")[0] for line in problems(files)] == ["platform.yaml", "team.yaml"]
    Path("team.yaml").unlink()
    assert problems(files)[-1].startswith("team.yaml:1:1: cannot be read: No such file")


@pytest.mark.parametrize("wrong", ["platform.yaml", "team.yaml"])
def test_routes_that_are_no_list_are_told_in_either_file(files, wrong):
    Path(wrong).write_text("routes: {a: b}\n")
    (found,) = problems(files)
    assert found.startswith(f"{wrong}:1:9: routes: must be a list of routes")


def test_a_folder_is_its_yaml_files_by_name(files, tmp_path):
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "20-team.yaml").write_text(TEAM)
    (folder / "10-platform.yaml").write_text(PLATFORM)
    (folder / "notes.txt").write_text("{")
    assert load(folder, {}).config == both(files).config
    assert load(folder, {}).sources.of(("service",)) == f"{folder}/20-team.yaml:1"


def test_the_watch_sees_every_file_and_new_ones_in_a_folder(files, tmp_path):
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "a.yaml").write_text("{}")
    watch = load(Origin((*files, folder)), {}).watch
    assert not watch.changed()
    for path in (*files, folder / "a.yaml", folder / "b.yaml"):
        path.write_text("service: another\n")
        assert watch.changed(), path
    (folder / "b.yaml").unlink()
    assert watch.changed()


def test_keys_for_anchors_mean_nothing_at_the_root_and_there_alone(config, errors):
    assert config("x-a: {b: [1]}\nx-c: &c {attempts: 2}\nroutes: [{name: a, retry: *c}]").routes
    assert errors("drain: {x-a: 1}") == ["1:9: drain.x-a: unknown key"]


def test_an_empty_file_is_a_warning_and_braces_are_not(loaded, warned):
    for text in ("", "# nothing\n", "~\n"):
        assert warned(text) == ["1:1: warning: the file is empty; write {} if that is intended"]
        assert loaded(text).empty == ("f.yaml",)
    assert loaded("{}").empty == loaded("x-a: 1").empty == ()


# --- above the files ------------------------------------------------------------------------------

ENVIRON = {
    "RESILIENCE_PROXY_OUTBOUND": "127.0.0.2:1",
    "RESILIENCE_PROXY_INBOUND": "127.0.0.2:2",
    "RESILIENCE_PROXY_APP": "9000",
    "RESILIENCE_PROXY_ADMIN": "http://127.0.0.2:3",
}


@pytest.mark.parametrize("given", [True, False])
def test_the_environment_stands_above_files_and_flags_above_it(files, given):
    Path("team.yaml").write_text(
        "listeners: {outbound: {address: 127.0.0.9:9}}\nadmin: {address: 127.0.0.9:8}\n"
        "upstreams: {app: {endpoints: ['http://127.0.0.9:7'], dns_refresh: 9s}}\n"
    )
    origin = Origin(files if given else (), {"inbound": "127.0.0.3:4", "app": "9001"})
    loaded = load(origin, ENVIRON | {"RESILIENCE_PROXY_APP_PORT": "1"})
    listeners, app = loaded.config.listeners, loaded.config.upstreams["app"]
    assert str(listeners.outbound.addresses[0]) == "127.0.0.2:1"
    assert str(listeners.inbound.addresses[0]) == "127.0.0.3:4"
    assert str(loaded.config.admin.address) == "127.0.0.2:3"
    assert list(map(str, app.endpoints)) == ["http://127.0.0.1:9001"]
    assert app.dns_refresh == (9 if given else 5)
    shown = dict(provenance(loaded.config, loaded.sources))
    assert shown["listeners.outbound.address"] == "$RESILIENCE_PROXY_OUTBOUND"
    assert shown["listeners.inbound.address"] == "--inbound"
    assert shown["upstreams.app.endpoints"] == "--app"
    assert shown["drain.timeout"] == ("platform.yaml:3" if given else "built-in default")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OUTBOUND", "7070", "'7070' is not an address; write HOST:PORT such as 127.0.0.1:7070"),
        ("APP", "127.0.0.1:80", "'127.0.0.1:80' is not a port; write 80: the service is on this"),
        ("APP", "http", "'http' is not a port such as 8080"),
    ],
)
def test_a_wrong_variable_is_named(files, name, value, told):
    (found,) = problems(files, {f"RESILIENCE_PROXY_{name}": value})
    assert found.startswith(f"$RESILIENCE_PROXY_{name}: ")
    assert told in found


def test_an_address_of_the_environment_that_clashes_is_named(files):
    (found,) = problems(files, {"RESILIENCE_PROXY_ADMIN": "127.0.0.1:7070"})
    assert found == (
        "$RESILIENCE_PROXY_ADMIN: admin.address: conflicts with listeners.outbound.address, "
        "which is 127.0.0.1:7070"
    )


@pytest.mark.parametrize(
    ("upper", "told"),
    [
        (
            "hash: {cookie: sid}",
            "team.yaml:1:23: upstreams.a.hash: must be {header: NAME}, {cookie: NAME}, "
            "{query: NAME} or client, not header and cookie; header: null removes that of the "
            "other file",
        ),
        (
            "health_check: {grpc: shop.Stock}",
            "team.yaml:1:38: upstreams.a.health_check.grpc: is another kind of check than path: "
            "leave one of them out; path: null removes that of the other file",
        ),
    ],
)
def test_one_of_several_keys_in_each_file_is_one_too_many(files, upper, told):
    base = "endpoints: ['http://a'], load_balancing: consistent_hash, hash: {header: user}"
    platform, team = files
    platform.write_text(f"upstreams: {{a: {{{base}, health_check: {{path: /health}}}}}}")
    team.write_text(f"upstreams: {{a: {{{upper}}}}}")
    assert problems(files) == [told]
    lower = "header" if "hash" in upper else "path"
    team.write_text(f"upstreams: {{a: {{{upper[:-1]}, {lower}: null}}}}}}")
    assert both(files).config.upstreams["a"]
