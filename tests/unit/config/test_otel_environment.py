"""OpenTelemetry's variables about tracing: they fill in what the file leaves open."""

import pytest

from proxy.config import load
from proxy.config.server_model import TraceExporter
from proxy.config.sources import BUILT_IN

EXPORTER, SAMPLE = ("tracing", "exporter"), ("tracing", "sample")


@pytest.mark.parametrize(
    ("sampler", "argument", "sample"),
    [
        ("always_on", "", 1.0),
        ("always_off", "", 0.0),
        ("traceidratio", "0.25", 0.25),
        ("parentbased_always_on", "0.5", 1.0),  # an argument that it does not take
        ("parentbased_always_off", "", 0.0),
        ("parentbased_traceidratio", "0.01", 0.01),
        ("parentbased_traceidratio", "", 1.0),
        ("parentbased_traceidratio", "0", 0.0),
    ],
)
def test_samplers(config, sampler, argument, sample):
    environ = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    assert config("", **environ).tracing.sample == sample
    assert config("tracing: {sample: 30%}", **environ).tracing.sample == 0.3, "the file is first"


@pytest.mark.parametrize("exporter", TraceExporter)
def test_exporters(config, exporter):
    environ = {"OTEL_TRACES_EXPORTER": exporter.value}
    assert config("", **environ).tracing.exporter is exporter
    kept = config("tracing: {exporter: console}", **environ).tracing.exporter
    assert kept is TraceExporter.CONSOLE


def test_a_key_with_no_value_is_not_given(config):
    assert config("tracing: {sample: }", OTEL_TRACES_SAMPLER="always_on").tracing.sample == 1.0


def test_without_variables_and_with_empty_ones_the_defaults_hold(config):
    empty = dict.fromkeys(("OTEL_TRACES_SAMPLER", "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED"), "")
    for environ in ({}, empty):
        tracing = config("", **environ).tracing
        assert (tracing.sample, tracing.exporter) == (0.0, TraceExporter.NONE)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
            "tracing.sample: OTEL_TRACES_SAMPLER is 'ja",
        ),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "tracing.exporter: OTEL_TRACES_EXPORTER is 'zipkin'"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            "OTEL_TRACES_SAMPLER_ARG is '2', which is not a ratio from 0 to 1: 1 is used",
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
            "OTEL_TRACES_SAMPLER_ARG is 'nan'",
        ),
    ],
)
def test_what_cannot_be_read_is_a_warning(loaded, environ, message):
    (warning,) = loaded("{}", **environ).warnings
    assert message in str(warning)


def test_the_sdk_disabled_stands_above_the_file(loaded):
    found = loaded("tracing: {exporter: otlp, sample: 5%}", OTEL_SDK_DISABLED="True")
    assert found.config.tracing.exporter is TraceExporter.NONE
    assert found.config.tracing.sample == 0.05, "the decision still goes out in the headers"
    (warning,) = found.warnings
    assert str(warning).startswith("f.yaml:1:21: warning: tracing.exporter: otlp has no effect")
    assert loaded("tracing: {exporter: otlp}", OTEL_SDK_DISABLED="no").warnings == ()


def test_the_embedded_default_leaves_everything_to_the_environment():
    found = load(None, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "always_on"})
    assert (found.config.tracing.exporter, found.config.tracing.sample) == (TraceExporter.OTLP, 1.0)


def test_where_a_value_comes_from(loaded):
    sources = loaded("tracing: {sample: 1%}", OTEL_TRACES_EXPORTER="otlp").sources
    assert sources.of(SAMPLE) == "f.yaml:1"
    assert sources.of(EXPORTER) == "OTEL_TRACES_EXPORTER"
    assert loaded("").sources.of(EXPORTER) == BUILT_IN
    disabled = loaded("tracing: {exporter: otlp}", OTEL_SDK_DISABLED="true").sources
    assert disabled.of(EXPORTER) == "OTEL_SDK_DISABLED"


@pytest.mark.parametrize(
    ("environ", "service"),
    [
        ({"OTEL_SERVICE_NAME": "orders"}, "orders"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b, service.name=stock%20keeper ,c"}, "stock keeper"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=b", "OTEL_SERVICE_NAME": "a"}, "a"),
    ],
)
def test_the_service_has_the_name_that_the_variables_give(config, environ, service):
    assert config("", **environ).service == service
    assert config("service: file", **environ).service == "file"
