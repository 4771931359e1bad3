"""One exemplar for each bucket: the last sampled exchange that fell into it."""

from unit.telemetry.fakes import FakeExchange

from proxy.config.model import Listener
from proxy.exchange.stats import DURATION_BUCKETS
from proxy.telemetry.exemplars import Exemplars

BUCKETS = len(DURATION_BUCKETS) + 1


def test_nothing_of_what_is_not_sampled() -> None:
    exemplars = Exemplars(lambda: 1000.0)
    exemplars.record(FakeExchange(sampled=False))
    assert list(exemplars.of("outbound", "stock")) == [None] * BUCKETS


def test_the_last_one_of_each_bucket_of_its_own_histogram() -> None:
    now = [1000.0]
    exemplars = Exemplars(lambda: now[0])
    for trace, duration in (("a", 0.001), ("b", 0.2), ("c", 0.25), ("d", 99.0)):
        exemplars.record(FakeExchange(sampled=True, trace_id=trace, duration=duration))
        now[0] += 1
    exemplars.record(FakeExchange(Listener.INBOUND, sampled=True, trace_id="other"))
    row = exemplars.of("outbound", "stock")
    kept = {
        index: (one.labels["trace_id"], one.value, one.timestamp)
        for index, one in enumerate(row)
        if one is not None
    }
    of_quarter = DURATION_BUCKETS.index(0.25)
    assert kept == {
        0: ("a", 0.001, 1000.0),
        of_quarter: ("c", 0.25, 1002.0),
        BUCKETS - 1: ("d", 99.0, 1003.0),
    }
