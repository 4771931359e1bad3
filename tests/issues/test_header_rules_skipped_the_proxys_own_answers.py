"""`headers.response` of a route changed its upstream's responses, and no answer of the proxy.

A browser that needs `access-control-allow-origin` could not read one problem document, fallback or
fixed answer.
"""

from collections.abc import Callable

from integration.running_proxy import RunningProxy
from integration.settings import route

CORS = {
    "set": {"access-control-allow-origin": "*", "content-type": "text/html"},
    "remove": ["proxy-status"],
}


def test_they_apply_to_refusals_fallbacks_and_fixed_answers(
    reload_proxy: Callable[..., RunningProxy], refusing_port: int
) -> None:
    headers = {"response": CORS}
    answer = {"status": 203, "body": "spare"}
    proxy = reload_proxy(
        {
            "upstreams": {"gone": {"endpoints": [f"http://127.0.0.1:{refusing_port}"]}},
            "routes": [
                route("failed", "gone", headers=headers),
                route(
                    "spare",
                    "gone",
                    headers=headers,
                    fallback={"when": ["connect-failure"], "response": answer},
                ),
                {
                    "name": "fixed",
                    "match": {"prefix": "/fixed"},
                    "respond": answer,
                    "headers": headers,
                },
                route("plain", "gone"),
            ],
        }
    )
    for path, status in (("/failed", 502), ("/spare", 203), ("/fixed", 203)):
        got = proxy.call("GET", path)
        assert got.status == status
        assert got.header("access-control-allow-origin") == "*"
        assert not [name for name, _ in got.headers if name.lower() == "proxy-status"]
        assert got.header("x-request-id")
        problem = got.status == 502
        described = "application/problem+json" if problem else "text/html"
        assert got.header("content-type") == described, "a problem document is no page"
    assert proxy.call("GET", "/plain").header("proxy-status")
