"""Byte for byte what prometheus_client's own encoders write."""

import math
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    UnknownMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from proxy.telemetry.exposition import OPENMETRICS, SAMPLES_AT_ONCE, TEXT, form_of, text

VALUES = [
    0, 1, 7, -3, 999_999, 1_000_000, 123_456_789, 2**63, 0.5, 1e-9, 1e21, 1234567.25, -0.0,
    math.inf, -math.inf, math.nan, True,
]  # fmt: skip
LABELS = ["", "plain", 'quo"te', "back\\slash", "new\nline", "grüße", "a,b={}"]


class Everything(Collector):
    """Every kind of family with every awkward value and label."""

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily("g", 'Help with "quotes", \\ and\na line.', labels=["z", "a"])
        for value in VALUES:
            for label in LABELS:
                gauge.add_metric([label, "x"], value)
        yield gauge
        counter = CounterMetricFamily("c", "Counts.", labels=["l"])
        for value in VALUES[:8]:
            counter.add_metric([str(value)], value)
        yield counter
        yield GaugeMetricFamily("bare", "No labels.", 3)
        yield GaugeMetricFamily("empty", "No samples.", labels=["l"])
        histogram = HistogramMetricFamily("h_seconds", "Times.", labels=["l"])
        example = Exemplar({"trace_id": "4bf9"}, 0.07, 1700000000.5)
        bare = Exemplar({"trace_id": 'a"b'}, 2)
        buckets = [("0.1", 3, example), ("2.5", 4, None), ("+Inf", 9, bare)]
        histogram.add_metric(["x"], buckets, 12.5)
        yield histogram
        yield InfoMetricFamily("build", "The version.", {"version": "1.2"})
        yield UnknownMetricFamily("u", "Unknown.", 1)
        with_unit = GaugeMetricFamily("w_bytes", "Bytes.", 1, unit="bytes")
        yield with_unit


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(Everything())
    return made


def test_the_text_format(registry: CollectorRegistry) -> None:
    assert "".join(text(registry.collect(), TEXT)) == generate_latest(registry).decode()


def test_openmetrics(registry: CollectorRegistry) -> None:
    expected = openmetrics.generate_latest(registry).decode()
    assert "".join(text(registry.collect(), OPENMETRICS)) == expected


def test_a_family_in_parts_has_one_header() -> None:
    parts = []
    for number in range(3):
        part = GaugeMetricFamily("g", "Help.", labels=["l"])
        part.add_metric([str(number)], number)
        parts.append(part)
    document = "".join(text(parts, TEXT))
    assert document.count("# TYPE g gauge") == 1
    assert document.count("g{") == 3


def test_no_piece_is_long() -> None:
    family = GaugeMetricFamily("g", "Help.", labels=["l"])
    for number in range(1000):
        family.add_metric([str(number)], number)
    assert max(piece.count("\n") for piece in text([family], TEXT)) == SAMPLES_AT_ONCE


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text; version=1.0.0, text/plain;q=0.5", OPENMETRICS),
        ("text/html,application/openmetrics-text", OPENMETRICS),
    ],
)
def test_the_form_that_is_asked_for(accept: str, form: object) -> None:
    assert form_of(accept) is form
