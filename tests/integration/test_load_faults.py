"""Load while the upstream answers 503 now and then and restarts: nothing is lost, nothing stays.

The same for half a minute and without rests: ``python -m tests.bench.load_faults``.
"""

from pathlib import Path

import pytest
from load.faults import Plan, load_faults


@pytest.mark.long
def test_nothing_is_lost_and_nothing_stays_behind(tmp_path: Path) -> None:
    outcome = load_faults(tmp_path, Plan(seconds=3.0, pause=0.03))
    assert outcome.complaints == []
