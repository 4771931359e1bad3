"""`store`: what its keys mean, and which files are mistakes."""

import pytest

from proxy.config import effective
from proxy.config.loading import load_text
from proxy.config.model import Config, StoreConfig, StoreEngine, StoreSync, StoreUrl
from proxy.config.problems import ConfigError
from proxy.config.summary import summary


def load(text: str) -> Config:
    return load_text(text, "f.yaml", {}).config


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(text)
    return [str(problem) for problem in raised.value.problems]


def test_without_the_key_there_is_no_store() -> None:
    assert load("{}").store is None


def test_a_url_is_enough() -> None:
    store = load("store: {url: sqlite:/var/lib/p/store.db}").store
    assert store == StoreConfig(StoreUrl(StoreEngine.SQLITE, "sqlite:/var/lib/p/store.db"))
    assert store.url.path == "/var/lib/p/store.db"
    assert store.dies_with_pod
    assert not store.shared


def test_all_keys() -> None:
    text = (
        "store: {url: sqlite:///data/s.db, sync: normal, persistent: true, max_bytes: 2GiB, "
        "record_bytes: 64KiB}"
    )
    store = load(text).store
    url = StoreUrl(StoreEngine.SQLITE, "sqlite:/data/s.db")
    assert store == StoreConfig(url, StoreSync.NORMAL, True, 2 << 30, 64 << 10)
    assert not store.dies_with_pod
    assert effective(load(text))["store"] == {
        "url": "sqlite:/data/s.db",
        "sync": "normal",
        "persistent": True,
        "max_bytes": "2GiB",
        "record_bytes": "64KiB",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store: {}", "'url' is missing"),
        ("store: {url: redis://x}", "must be sqlite:/path/to/store.db or memory:"),
        ("store: {url: 'sqllite:/x'}", "did you mean 'sqlite'?"),
        ("store: {url: 'sqlite:/x/'}", "does not name a file"),
        ("store: {url: 'memory:', max_bytes: 1KiB}", "must be at least 1MiB"),
        ("store: {url: 'memory:', record_bytes: 100MiB}", "a sixteenth of max_bytes"),
        ("store: {url: 'memory:', sync: off}", "must be one of full, normal"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    assert any(said in one for one in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store: {url: 'memory:'}", "gone when the process ends"),
        ("store: {url: 'memory:', persistent: true}", "has no effect: the store is in memory"),
    ],
)
def test_warnings(text: str, said: str) -> None:
    found = [str(one) for one in load_text(text, "f.yaml", {}).warnings]
    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store: {url: sqlite:/s.db}", "store  sqlite:/s.db, sync full, at most 1GiB, gone with"),
        ("store: {url: 'memory:'}", "store  memory:, at most 1GiB"),
    ],
)
def test_the_summary_says_it(text: str, said: str) -> None:
    assert said in summary(load_text(text, "f.yaml", {}))
