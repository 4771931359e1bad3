"""Line plots as SVG, for a document that stands alone: no script, no font, no address."""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 640, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 8, 22

Points = Sequence[tuple[float, float]]
"""Seconds and a value; seconds rise."""


def plot(lines: Sequence[tuple[str, Points]], *, seconds: float, unit: str) -> str:
    """One plot of `seconds`, more than 0. `lines` are named; the first has the class ``line0``."""
    highest = max((value for _, points in lines for _, value in points), default=0.0)
    top = _round_up(highest) or 1.0
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(", ".join(name for name, _ in lines))}">'
    ]
    for share in (0.0, 0.5, 1.0):
        y = _TOP + high * (1 - share)
        ends = f'x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        parts.append(f'<line class="grid" {ends}/>')
        parts.append(_text(_LEFT - 6, y + 4, "end", _short(top * share) + unit))
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(
            _text(_LEFT + wide * share, HEIGHT - 6, anchor, f"{_short(seconds * share)} s")
        )
    for number, (_, points) in enumerate(lines):
        if points:
            drawn = " ".join(
                f"{_LEFT + wide * at / seconds:.1f},{_TOP + high * (1 - value / top):.1f}"
                for at, value in points
            )
            parts.append(f'<polyline class="line{number}" points="{drawn}"/>')
    parts.append("</svg>")
    return "".join(parts)


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _round_up(value: float) -> float:
    """The next of 1, 2 or 5 times a power of ten."""
    if value <= 0:
        return 0.0
    power = 1.0
    while power < value:
        power *= 10
    while power / 10 >= value:
        power /= 10
    return next(power * share for share in (0.1, 0.2, 0.5, 1.0) if power * share >= value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"
