"""What OpenTelemetry's standard variables say about tracing, where the file says nothing.

The file comes first: a key that it gives stands, whatever the environment says. OTEL_SDK_DISABLED
alone is above it, for it is there to switch spans off without touching anything else.

    tracing.exporter   OTEL_TRACES_EXPORTER   none | otlp | console
    tracing.sample     OTEL_TRACES_SAMPLER    with OTEL_TRACES_SAMPLER_ARG, a share from 0 to 1

A caller's decision is always kept, so a sampler means the same with and without ``parentbased_``.
What cannot be read is left alone, with a warning, as OpenTelemetry wants it ("Environment variable
specification", enum and numeric values). An empty variable is as good as none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from proxy.config.model import Config, TraceExporter, TracingConfig
from proxy.config.problems import Mark, Path, Problems

EXPORTER: Path = ("tracing", "exporter")
SAMPLE: Path = ("tracing", "sample")

_TOP = Mark(1, 1)
_SAMPLERS = ("always_on", "always_off", "traceidratio")


def apply_environment(
    config: Config, given: Mapping[Path, Mark], environ: Mapping[str, str], problems: Problems
) -> tuple[Config, Mapping[Path, str]]:
    """`config` with what the environment says, and for each key taken from it the variable."""
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
        message = f"OTEL_TRACES_EXPORTER is {text!r}, which is none of {choices}: left alone"
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
        message = f"OTEL_TRACES_SAMPLER is {text!r}, which is none of {choices}: left alone"
        problems.warning(_TOP, SAMPLE, message)
    return None


def _names() -> Iterator[str]:
    for sampler in _SAMPLERS:
        yield sampler
        yield f"parentbased_{sampler}"


def _ratio(environ: Mapping[str, str], problems: Problems) -> float:
    """1 where it is left out or cannot be read: the specification's default."""
    text = environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip()
    if not text:
        return 1.0
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if 0.0 <= ratio <= 1.0:
        return ratio
    message = f"OTEL_TRACES_SAMPLER_ARG is {text!r}, which is no share from 0 to 1: taken as 1"
    problems.warning(_TOP, SAMPLE, message)
    return 1.0
