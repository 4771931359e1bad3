"""Percentiles out of a histogram, for what shows them without a Prometheus beside it."""

from collections.abc import Sequence


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value below which `share` (0 to 1) of what was counted lies; None: nothing was counted.

    `counts` are those of each bucket, with one more than there are `bounds` for what lies above
    the last one. Within a bucket all values are taken as evenly spread, as Prometheus'
    histogram_quantile does; of those above the last bound no more than that bound is known.
    """
    rank = share * sum(counts)
    if not rank:
        return None
    lower = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and rank <= count:
            return lower + (bound - lower) * rank / count
        rank -= count
        lower = bound
    return lower
