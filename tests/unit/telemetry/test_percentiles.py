"""Percentiles out of buckets."""

import pytest

from proxy.telemetry.percentiles import percentile

BOUNDS = (1.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((10, 0, 0, 0), 0.5, 0.5),
        ((0, 10, 0, 0), 0.5, 1.5),
        ((5, 0, 5, 0), 0.5, 1.0),
        ((5, 0, 5, 0), 0.6, 2.4),
        ((98, 0, 2, 0), 0.99, 3.0),
        ((0, 0, 0, 3), 0.5, 4.0),  # somewhere above it
        ((9, 0, 0, 1), 0.99, 4.0),
        ((0, 0, 8, 0), 1.0, 4.0),
    ],
)
def test_percentile(counts: tuple[int, ...], share: float, expected: float | None) -> None:
    assert percentile(BOUNDS, counts, share) == (
        None if expected is None else pytest.approx(expected)
    )


def test_it_never_falls_as_the_share_grows() -> None:
    counts = (3, 0, 7, 2)
    found = [percentile(BOUNDS, counts, share / 100) or 0.0 for share in range(1, 101)]
    assert found == sorted(found)
