"""Formats numbers for narrow columns: three figures and a unit."""


def rate(value: float | None) -> str:
    """Per second."""
    if value is None:
        return "-"
    if value >= 9999.5:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}"


def percent(value: float | None) -> str:
    """Of percent; negative or None means unknown. A value above 0 is never shown as 0."""
    if value is None or value < 0:
        return "-"
    if 0 < value < 0.1:
        return "<0.1%"
    return f"{value:.0f}%" if value >= 9.95 or not value else f"{value:.1f}%"


def milliseconds(value: float | None, longest: float | None = None) -> str:
    """`longest`: the highest distinguishable value; the true value may be above it."""
    if value is None:
        return "-"
    if longest is not None and value >= longest:
        return f">{longest / 1000:.0f}s"
    if value >= 9995:
        return f"{value / 1000:.1f}s"
    if value >= 999.5:
        return f"{value / 1000:.2f}s"
    return f"{value:.0f}ms" if value >= 9.95 else f"{value:.1f}ms"


def age(seconds: float) -> str:
    """Two units at most: 12s, 3m 20s, 2h 5m, 9d 3h."""
    whole = int(seconds)
    for unit, size, smaller, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "m", 60),
        ("m", 60, "s", 1),
    ):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // part}{smaller}"
    return f"{whole}s"


def size(value: int) -> str:
    """Bytes."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= one:
            return f"{value / one:.1f} {unit}"
    return f"{value} B"


def shortened(text: str, width: int) -> str:
    """`text` in `width` columns; its middle is left out, because names differ at both ends."""
    if len(text) <= width:
        return text
    if width < 8:
        return text[:width]
    tail = (width - 2) // 2
    return f"{text[: width - 2 - tail]}..{text[-tail:]}"
