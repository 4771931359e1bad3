"""A configuration file that was emptied for a moment (an editor, a full disk, ``> proxy.yaml``) was
taken for a valid one: every route and policy was gone, and traffic went where callers asked.
"""

from collections.abc import Callable

from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually


def test_the_routes_stay_until_something_is_written(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    proxy = start_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [{"name": "shop", "match": {"hosts": ["shop.test"]}, "upstream": "chaos"}],
        }
    )
    written = proxy.file.read_text()
    for text in ("", "# nothing but a comment\n"):
        proxy.file.write_text(text)
        assert proxy.ask("POST", "/reload")[0] == 422
        last = proxy.state("/status")["config"]["last_reload"]
        assert last["result"] == "rejected"
        (problem,) = last["problems"]
        assert problem.startswith(f"{proxy.file}: the file is empty; write {{}}")
        assert proxy.call("GET", "http://shop.test/plain").status == 200
    proxy.file.write_text(written)
    assert proxy.ask("POST", "/reload")[0] == 200
    eventually(lambda: "configuration reloaded" in proxy.errors)


def test_braces_say_that_nothing_is_meant(start_proxy: Callable[..., RunningProxy]) -> None:
    """Nothing but the addresses, which only a restart can change."""
    proxy = start_proxy({})
    text = proxy.file.read_text()
    assert proxy.ask("POST", "/reload")[0] == 200, text
    proxy.file.write_text("{}\n")
    status, body = proxy.ask("POST", "/reload")
    assert status == 409
    assert "without a restart" in body
    assert "is empty" not in body
