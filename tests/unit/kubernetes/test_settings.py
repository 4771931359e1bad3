"""What annotations and options may say."""

from dataclasses import fields

import pytest

from proxy.kubernetes.settings import SETTINGS, Settings, amount, unknown

BASE = Settings()


def overridden(**texts):
    return BASE.override({f"resilience-proxy/{k.replace('_', '-')}": v for k, v in texts.items()})


def settled(**texts):
    settings, wrong = overridden(**texts)
    assert not wrong
    return settings


def test_the_table_has_every_setting_once():
    assert [setting.attribute for setting in SETTINGS] == [field.name for field in fields(Settings)]


def test_every_default_can_be_written():
    for setting in SETTINGS:
        assert setting.read(setting.default) == getattr(BASE, setting.attribute), setting.name


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("inject", "disabled", False),
        ("legacy", "true", True),
        ("image", "shop/proxy:1", "shop/proxy:1"),
        ("image_pull_policy", "Never", "Never"),
        ("config_map", "shop.policies", "shop.policies"),
        ("config_map", "none", None),
        ("app_port", "8080", 8080),
        ("app_port", "http", "http"),
        ("app_port", "none", None),
        ("service", "Orders of the shop", "Orders of the shop"),
        ("http_proxy", "false", False),
        ("no_proxy", "a.test, .b.test,", ("a.test", ".b.test")),
        ("containers", "app,worker", ("app", "worker")),
        ("pre_stop", "false", False),
        ("drain_timeout", "1.5m", 90.0),
        ("cpu_request", "0.5", "0.5"),
        ("memory_limit", "1Gi", "1Gi"),
        ("memory_limit", "none", None),
    ],
)
def test_a_value(name, text, value):
    assert getattr(settled(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("inject", "true", "neither enabled nor disabled"),
        ("legacy", "yes", "neither true nor false"),
        ("image", "a b", "not the name of an image"),
        ("image", "", "not the name of an image"),
        ("image_pull_policy", "always", "IfNotPresent"),
        ("config_map", "Shop", "not the name of a ConfigMap"),
        ("config_map", "a" * 254, "not the name of a ConfigMap"),
        ("app_port", "0", "1 to 65535"),
        ("app_port", "65536", "1 to 65535"),
        ("app_port", "eight_thousand", "1 to 65535"),
        ("app_port", "a-name-that-is-too-long", "1 to 65535"),
        ("app_port", "٣", "1 to 65535"),
        ("service", "", "not a name"),
        ("drain_timeout", "30", "no unit"),
        ("cpu_request", "-1", "not a quantity"),
        ("cpu_request", "100 m", "not a quantity"),
        ("memory_limit", "64MiB", "not a quantity"),
    ],
)
def test_what_is_refused(name, text, told):
    settings, (wrong,) = overridden(**{name: text})
    assert told in str(wrong)
    assert wrong.annotation == f"resilience-proxy/{name.replace('_', '-')}"
    assert settings == BASE


def test_all_that_is_wrong_is_told():
    settings, wrong = overridden(legacy="yes", app_port="0", service="orders")
    assert [one.annotation.partition("/")[2] for one in wrong] == ["legacy", "app-port"]
    assert settings.service == "orders"


@pytest.mark.parametrize(
    ("quantity", "number"),
    [
        ("1", 1), ("0.5", 0.5), ("100m", 0.1), (".5", 0.5), ("1k", 1000), ("2M", 2_000_000),
        ("64Mi", 64 * 2**20), ("1Gi", 2**30), ("1G", 10**9), ("1Ei", 2**60),
    ],
)  # fmt: skip
def test_amounts(quantity, number):
    assert float(amount(quantity)) == number


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"memory_request": "256Mi"}, "memory-request: 256Mi is more than the memory-limit"),
        ({"memory_limit": "32Mi"}, "memory-request: 64Mi is more than the memory-limit"),
        ({"cpu_limit": "50m"}, "cpu-request: 100m is more than the cpu-limit, which is 50m"),
        ({"cpu_request": "2", "cpu_limit": "1500m"}, "cpu-request: 2 is more"),
        ({"memory_request": "192Mi"}, None),
        ({"memory_request": "256Mi", "memory_limit": "none"}, None),
        ({"memory_request": "200M"}, None),
    ],
)
def test_a_request_above_its_limit(texts, told):
    found = [str(one) for one in settled(**texts).contradictions()]
    assert [told in one for one in found] == ([] if told is None else [True])


def test_unknown_annotations_are_named():
    found = list(
        unknown(
            {
                "resilience-proxy/app-prot": "1",
                "resilience-proxy/injected": "0.1.0",
                "resilience-proxy/legacy": "true",
                "example.test/app-prot": "1",
            }
        )
    )
    assert found == [
        "the annotation resilience-proxy/app-prot is unknown; did you mean 'app-port'?"
    ]
