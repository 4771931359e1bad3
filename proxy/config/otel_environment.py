"""OpenTelemetry's standard variables for tracing, used if the file has no value.

A key in the file has priority over its variable. Only OTEL_SDK_DISABLED overrides the file: it
switches spans off without any other change.

    tracing.exporter   OTEL_TRACES_EXPORTER   none | otlp | console
    tracing.sample     OTEL_TRACES_SAMPLER    with OTEL_TRACES_SAMPLER_ARG, a ratio from 0 to 1

A caller's decision is always kept, so a sampler means the same with and without ``parentbased_``.
An invalid value is ignored with a warning, as OpenTelemetry requires ("Environment variable
specification", enum and numeric values). An empty variable counts as unset.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from proxy.config.model import Config
from proxy.config.problems import Mark, Path, Problems
from proxy.config.server_model import TraceExporter, TracingConfig

EXPORTER: Path = ("tracing", "exporter")
SAMPLE: Path = ("tracing", "sample")

_TOP = Mark(1, 1)
_SAMPLERS = ("always_on", "always_off", "traceidratio")


def apply_environment(
    config: Config, given: Mapping[Path, Mark], environ: Mapping[str, str], problems: Problems
) -> tuple[Config, Mapping[Path, str]]:
    """`config` with the environment's values, and for each such key its variable."""
    tracing, sources = config.tracing, dict[Path, str]()
    if EXPORTER not in given:
        exporter = _exporter(environ, problems)
        if exporter is not None:
            tracing = replace(tracing, exporter=exporter)
            sources[EXPORTER] = "OTEL_TRACES_EXPORTER"
    if SAMPLE not in given:
        sample = _sample(environ, problems)
        if sample is not None:
            tracing = replace(tracing, sample=sample)
            sources[SAMPLE] = "OTEL_TRACES_SAMPLER"
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        tracing = _disabled(tracing, given, problems)
        sources[EXPORTER] = "OTEL_SDK_DISABLED"
    return replace(config, tracing=tracing), sources


def _disabled(
    tracing: TracingConfig, given: Mapping[Path, Mark], problems: Problems
) -> TracingConfig:
    if tracing.exporter is not TraceExporter.NONE:
        message = f"{tracing.exporter.value} has no effect: OTEL_SDK_DISABLED is set"
        problems.warning(given.get(EXPORTER, _TOP), EXPORTER, message)
    return replace(tracing, exporter=TraceExporter.NONE)


def _exporter(environ: Mapping[str, str], problems: Problems) -> TraceExporter | None:
    text = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    for exporter in TraceExporter:
        if text == exporter.value:
            return exporter
    if text:
        choices = ", ".join(exporter.value for exporter in TraceExporter)
        message = f"OTEL_TRACES_EXPORTER is {text!r}, which is not one of {choices}: ignored"
        problems.warning(_TOP, EXPORTER, message)
    return None


def _sample(environ: Mapping[str, str], problems: Problems) -> float | None:
    text = environ.get("OTEL_TRACES_SAMPLER", "").strip()
    sampler = text.removeprefix("parentbased_")
    if sampler == "always_on":
        return 1.0
    if sampler == "always_off":
        return 0.0
    if sampler == "traceidratio":
        return _ratio(environ, problems)
    if text:
        choices = ", ".join(_names())
        message = f"OTEL_TRACES_SAMPLER is {text!r}, which is not one of {choices}: ignored"
        problems.warning(_TOP, SAMPLE, message)
    return None


def _names() -> Iterator[str]:
    for sampler in _SAMPLERS:
        yield sampler
        yield f"parentbased_{sampler}"


def _ratio(environ: Mapping[str, str], problems: Problems) -> float:
    """1, the specification's default, if it is missing or invalid."""
    text = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if not text:
        return 1.0
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if 0.0 <= ratio <= 1.0:
        return ratio
    message = f"OTEL_TRACES_SAMPLER_ARG is {text!r}, which is not a ratio from 0 to 1: 1 is used"
    problems.warning(_TOP, SAMPLE, message)
    return 1.0
