"""Started without a standard stream, the proxy ended in SIGABRT instead of in a drain."""

import signal
from pathlib import Path

import pytest
from issues.bare_process import Bare


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_it_drains_with_status_0(tmp_path: Path, closed: str) -> None:
    proxy = Bare(tmp_path)
    with proxy.running(closed) as process:
        proxy.wait_until_ready()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
