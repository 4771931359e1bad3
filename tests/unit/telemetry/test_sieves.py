"""Records that an observer keeps reach it, and no others."""

import pytest

from proxy.config.model import Config, Listener
from proxy.exchange.record import Record
from proxy.http.tracing import Sampling, TraceContext
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.sieves import Notable, Sampled


def settled(*, status=200, reason="", duration=0.1, flags=0):
    trace = TraceContext("a" * 32, None, flags, Sampling.DEFER)
    record = Record(Listener.OUTBOUND, "127.0.0.1", None, b"id", trace, 0.0)
    record.status, record.reason, record.duration = status, reason, duration
    return record


@pytest.mark.parametrize(("flags", "kept"), [(0, False), (1, True), (2, False), (3, True)])
def test_sampled(flags, kept):
    found = []
    record = settled(flags=flags)
    Sampled(found.append).record(record)
    assert found == ([record] if kept else [])


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (settled(), False),
        (settled(status=503), True),
        (settled(reason="circuit-open"), True),
        (settled(duration=1.0), False),
        (settled(duration=1.001), True),
    ],
)
def test_notable(record, kept):
    found = []
    notable = Notable(found.append)
    notable.slow_from = 1.0
    notable.record(record)
    assert found == ([record] if kept else [])


def test_the_recorder_gets_slow_exchanges_by_its_present_configuration():
    recorder = FlightRecorder(Config("s"), lambda: 0.0)
    recorder.observer(settled())
    recorder.observer(settled(reason="circuit-open"))
    assert [one.reason for one in recorder.recent()] == ["circuit-open"]
