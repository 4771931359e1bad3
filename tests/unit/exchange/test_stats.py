"""What is counted about one route."""

from proxy.exchange.stats import DURATION_BUCKETS, Count, RouteStats


def test_everything_counts_from_nothing():
    stats = RouteStats("outbound", "shop")
    for _ in range(2):
        stats.count_answer(200, "", 0.003)
        outcomes = stats.attempts_at("shop")
        outcomes.setdefault("2xx", Count()).number += 1
        stats.count_retry("reset")
        stats.count_refused("budget")
    stats.count_answer(503, "draining", 100.0)
    stats.count_answer(200, "", 0.001)
    assert stats.answers == {(200, ""): 3, (503, "draining"): 1}
    assert stats.attempts == {("shop", "2xx"): 2}
    assert (stats.retries, stats.refused) == ({"reset": 2}, {"budget": 2})
    assert stats.duration_sum == 100.007
    assert sum(stats.duration_buckets) == 4
    assert stats.duration_buckets[0] == 1  # a bound belongs to its own bucket
    assert stats.duration_buckets[DURATION_BUCKETS.index(0.005)] == 2
    assert stats.duration_buckets[-1] == 1


def test_results_are_told_by_kind():
    stats = RouteStats("outbound", "shop")
    for failed, retried, times in ((False, False, 4), (False, True, 3), (True, False, 2)):
        for _ in range(times):
            stats.count_result(failed, retried)
    stats.count_result(True, True)
    assert stats.results_by_kind == {
        "successful_without_retry": 4,
        "successful_with_retry": 3,
        "failed_without_retry": 2,
        "failed_with_retry": 1,
    }
