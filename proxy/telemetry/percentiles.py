"""Percentiles from a histogram, for views that have no Prometheus."""

from collections.abc import Sequence


def percentile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """The value below which a `share` (0 to 1) of the counted values lies; None without values.

    `counts` has one entry for each bucket, and one more for values above the last of `bounds`.
    Within a bucket values are assumed to be spread evenly, as in Prometheus' histogram_quantile;
    for values above the last bound the result is that bound.
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
