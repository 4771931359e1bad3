"""One look as plain data."""

import json

from unit.top.documents import breaker, endpoint, route, status

from proxy.top.document import document
from proxy.top.rates import Window
from proxy.top.reading import read


def test_a_look_for_programs():
    def look(at, requests, errors):
        counts = [0, requests, 0, 0, 0]
        durations = {"le_ms": [1.0, 10.0, 100.0, 60000.0], "counts": counts}
        return read(
            status(
                routes=[route("stock", requests=requests, errors=errors, durations=durations)],
                circuit_breakers=[breaker("stock", "open", next_probe_in_s=2.5)],
                upstreams=[{"name": "u", "endpoints": [endpoint("10.0.0.7:80")]}],
            ),
            None,
            at,
        )

    window = Window()
    window.add(look(100, 0, 0))
    window.add(look(104, 20, 5))
    found = json.loads(json.dumps(document(window)))
    assert found["span_s"] == 4
    assert (found["service"], found["uptime_s"], found["ready"]) == ("orders", 100, True)
    assert found["in_flight"] == {"inbound": 0, "outbound": 0}
    (stock,) = found["routes"]
    assert (stock["requests_per_s"], stock["error_share"], stock["total"]) == (5, 0.25, 20)
    assert stock["p50_ms"] == 5.5
    assert found["breakers"][0]["state"] == "open"
    assert found["breakers"][0]["next_probe"] == 2.5
    assert found["endpoints"][0]["address"] == "10.0.0.7:80"
    assert not {"at", "flying", "uptime"} & found.keys()
