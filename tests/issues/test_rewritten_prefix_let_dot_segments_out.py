"""`/public/../../admin` under a rewritten prefix became `/api/public/../../admin`: the admin page.

Where a prefix is rewritten, a path with dot segments is refused, however they are spelled.
"""

import uuid
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings


def _settings(chaos: ChaosUpstream, rewrite: Settings) -> Settings:
    return {
        "upstreams": {"chaos": {"endpoints": [chaos.url]}},
        "routes": [
            {"name": "a", "match": {"prefix": "/public"}, "upstream": "chaos", **rewrite},
        ],
    }


@pytest.mark.parametrize(
    "path",
    [
        "/public/../../admin",
        "/public/%2e%2e/%2E%2E/admin",
        "/public/.%2e/admin",
        "/public/./admin",
        "/public/..",
        "/public/..?q=1",
        "/public/%2e",
        "/public/x/..;v=1/admin",
        "/public/..\\..\\admin",
        "/public/..%2fadmin",
        "/public/..%5Cadmin",
    ],
)
def test_dot_segments_are_refused(
    reload_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream, path: str
) -> None:
    proxy = reload_proxy(_settings(shared_chaos, {"rewrite": {"prefix": "/api/public"}}))
    request_id = uuid.uuid4().hex
    answer = proxy.call("GET", path, request_id=request_id)
    assert (answer.status, answer.why) == (400, "bad-request")
    assert not shared_chaos.seen(request_id)


@pytest.mark.parametrize(
    ("path", "rewritten"),
    [
        ("/public/a..b/...", "/api/public/a..b/..."),
        ("/public?x=/../..", "/api/public?x=/../.."),
        ("/public/.well-known/x", "/api/public/.well-known/x"),
    ],
)
def test_dots_that_are_no_segments_pass(
    reload_proxy: Callable[..., RunningProxy],
    shared_chaos: ChaosUpstream,
    path: str,
    rewritten: str,
) -> None:
    proxy = reload_proxy(_settings(shared_chaos, {"rewrite": {"prefix": "/api/public"}}))
    answer = proxy.call("GET", path)
    assert answer.status == 200
    assert [one.target for one in shared_chaos.seen(answer.id)] == [rewritten]
