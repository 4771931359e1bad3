"""Metric families as text: like Prometheus' own encoder, ten times as fast and in pieces.

Two formats: the text format 0.0.4 and OpenMetrics 1.0. A family may come in several consecutive
parts; its header is written once. Neither making nor writing a family blocks the event loop for
long, however many series there are.

`tests/unit/telemetry/test_exposition.py` compares every byte with prometheus_client's encoders.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

_number: Callable[[float], str] = floatToGoString

SAMPLES_AT_ONCE = 64
"""Maximum samples in a piece of text."""

_HEADER_SUFFIX = {"counter": "_total", "info": "_info"}
_TEXT_TYPE = {"info": "gauge", "stateset": "gauge", "unknown": "untyped"}


@dataclass(frozen=True, slots=True)
class Form:
    """One of the two formats."""

    openmetrics: bool
    content_type: str


TEXT = Form(False, "text/plain; version=0.0.4; charset=utf-8")
OPENMETRICS = Form(True, "application/openmetrics-text; version=1.0.0; charset=utf-8")


def form_of(accept: str) -> Form:
    """The format that a client's Accept header asks for."""
    for offered in accept.split(","):
        if offered.partition(";")[0].strip() == "application/openmetrics-text":
            return OPENMETRICS
    return TEXT


def text(families: Iterable[Metric], form: Form) -> Iterator[str]:
    """The whole document, in pieces."""
    name = None
    for family in families:
        if family.name != name:
            name = family.name
            yield _header(family, form)
        samples = family.samples
        for start in range(0, len(samples), SAMPLES_AT_ONCE):
            part = samples[start : start + SAMPLES_AT_ONCE]
            yield "".join([_line(sample, form.openmetrics) for sample in part])
    if form.openmetrics:
        yield "# EOF\n"


def _header(family: Metric, form: Form) -> str:
    name, kind = family.name, family.type
    documentation = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    if form.openmetrics:
        documentation = documentation.replace('"', r"\"")
        unit = f"# UNIT {name} {family.unit}\n" if family.unit else ""
        return f"# HELP {name} {documentation}\n# TYPE {name} {kind}\n{unit}"
    name += _HEADER_SUFFIX.get(kind, "")
    return f"# HELP {name} {documentation}\n# TYPE {name} {_TEXT_TYPE.get(kind, kind)}\n"


def _line(sample: Sample, openmetrics: bool) -> str:
    value = sample.value
    # Most are small whole numbers, which all encoders write in the same way.
    number = f"{value}.0" if type(value) is int and value < 1_000_000 else _number(value)
    exemplar = _exemplar(sample.exemplar) if openmetrics and sample.exemplar else ""
    if not sample.labels:
        return f"{sample.name} {number}{exemplar}\n"
    labels = ",".join([f'{key}="{_escaped(text)}"' for key, text in sorted(sample.labels.items())])
    return f"{sample.name}{{{labels}}} {number}{exemplar}\n"


def _escaped(text: str) -> str:
    if '"' in text or "\\" in text or "\n" in text:
        return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text


def _exemplar(exemplar: Exemplar) -> str:
    labels = ",".join([f'{key}="{_escaped(v)}"' for key, v in sorted(exemplar.labels.items())])
    number = _number(exemplar.value)
    when = "" if exemplar.timestamp is None else f" {exemplar.timestamp}"
    return f" # {{{labels}}} {number}{when}"
