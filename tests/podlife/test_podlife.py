"""One rollover of each order, and a Job: nothing is lost, nothing has to be killed.

Ten of each, with the real pauses, and what happens without the hooks: ``make podlife``.
"""

import asyncio
from pathlib import Path

import pytest

from podlife.kubelet import Order
from podlife.rollover import Timing, roll_over, run_job

QUICK = Timing(late=0.6, delay=0.8, timeout=15.0)


@pytest.mark.long
@pytest.mark.parametrize("order", [Order.NATIVE, Order.AT_ONCE], ids=lambda order: order.value)
def test_a_rollover_loses_nothing(tmp_path: Path, order: Order) -> None:
    report = asyncio.run(roll_over(tmp_path, order, 1, QUICK, workers=4))
    assert report.sound, str(report)
    assert report.requests > 20
    assert report.calls > report.requests, "the services called on after their last request"


@pytest.mark.long
def test_a_rollover_loses_no_stream(tmp_path: Path) -> None:
    """Each pod has 50 open ones when it is told to end, and calls beside them."""
    report = asyncio.run(roll_over(tmp_path, Order.AT_ONCE, 1, QUICK, workers=4, streams=100))
    assert report.sound, str(report)
    assert report.requests > 200


@pytest.mark.long
def test_a_job_ends_with_its_sidecar(tmp_path: Path) -> None:
    report = asyncio.run(run_job(tmp_path, QUICK))
    assert report.sound, str(report)
    assert report.calls > 3
