"""Settings of endpoints, splits, mirrors, limits and hedges that are valid and do nothing."""

import pytest

TWO = 'upstreams: {a: {endpoints: ["http://a:1"]}, b: {endpoints: ["http://b:1", "http://a:1"]}}\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            'upstreams: {a: {endpoints: [{url: "http://a:1", weight: 2}, "http://a:1"]}}\n'
            "routes: [{name: r, upstream: a}]",
            "upstreams.a.endpoints: http://a:1 is in this list twice: it is one endpoint, of "
            "weight 2",
        ),
        (
            TWO + "routes: [{name: r, upstream: a, mirror: {upstream: b}}]",
            "mirror.upstream: http://a:1 is an endpoint of 'a' too: it gets requests twice",
        ),
        (
            TWO + "routes: [{name: r, upstream: {a: 1, app: 9}, mirror: {upstream: b}}]",
            "mirror.upstream: http://a:1 is an endpoint of 'a' too: it gets requests twice",
        ),
        (
            "routes: [{name: r, mirror: {upstream: app, share: 0%}}]",
            "mirror.share: copies nothing: it is 0%",
        ),
        (
            "policies: {default: {bulkhead: {min: 9}}}",
            "bulkhead.min: has no effect without limit: gradient",
        ),
        (
            "policies: {default: {bulkhead: {limit: gradient, min: 9, max_concurrent: 8}}}",
            "bulkhead.min: has the effect of 8, which is max_concurrent",
        ),
        (
            "policies: {default: {hedge: {delay: 1s, max: 3}}}",
            "hedge.max: has the effect of 2: hedges count in retry.attempts, which is 3",
        ),
        (
            "policies: {default: {hedge: {delay: 1s}, retry: {mode: observe}}}",
            "hedge.delay: has no effect: hedges are attempts of the retry policy, and retry.mode "
            "is observe",
        ),
        (
            "routes: [{name: r, respond: {status: 404}, hedge: {delay: 1s}}]",
            "routes[0].hedge: has no effect: the route answers by itself (respond)",
        ),
        (
            "routes: [{name: r, respond: {}, faults: [{share: 1%, abort: 503}]}]",
            "routes[0].faults: has no effect: the route answers by itself (respond)",
        ),
        (
            "routes: [{name: r, upstream: app, listener: inbound, "
            "timeouts: {inherit: {deadline: true}}}]",
            "routes[0].timeouts.inherit: has no effect: only outbound calls inherit",
        ),
    ],
)
def test_what_has_no_effect_is_told(text, told, warned):
    (warning,) = warned(text)
    assert told in warning


@pytest.mark.parametrize(
    "text",
    [
        'upstreams: {a: {endpoints: [{url: "http://a:1", weight: 2}, "http://a:2"]}}\n'
        "routes: [{name: r, upstream: a}]",
        "routes: [{name: r, mirror: {upstream: app, share: 1%}}]",
        "policies: {default: {bulkhead: {limit: gradient, min: 9}}}",
        "policies: {default: {bulkhead: {min: 4}}}",  # the default, written down
        "policies: {default: {hedge: {delay: 1s, max: 2}}}",
        "routes: [{name: r, respond: {}, rate_limits: [{rate: 1/s}], bulkhead: {max_queue: 0}}]",
        "routes: [{name: r, upstream: app, timeouts: {inherit: {deadline: true}}}]",
    ],
)
def test_and_what_has_an_effect_is_not(text, warned):
    assert warned(text) == []
