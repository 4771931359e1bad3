"""Header fields, the same in both directions: collected by llhttp, sorted, and made into lines."""

import httptools

PERSISTENCE = frozenset({b"close", b"keep-alive"})


class FieldSink:
    """What llhttp calls for the fields of a head; a callback that is not there costs nothing."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def feed_head(
    parser: "httptools.HttpRequestParser | httptools.HttpResponseParser", raw: bytes
) -> str | None:
    """Let llhttp read one head; what is wrong with it, or None. The sink has its fields."""
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        return None  # CONNECT, Upgrade or a 101: the head is whole, what follows is not llhttp's
    except httptools.HttpParserError as error:
        return str(error)
    return None


def sort_fields(
    fields: list[tuple[bytes, bytes]], held_back: frozenset[bytes]
) -> tuple[list[bytes], dict[bytes, list[bytes]]]:
    """Lines of the fields that go on, in their order and spelling, and the values, by lower-case
    name, of those in `held_back`."""
    held: dict[bytes, list[bytes]] = {}
    lines: list[bytes] = []
    for name, value in fields:
        lower = name.lower()
        if lower in held_back:
            held.setdefault(lower, []).append(value)
        else:
            lines.append(b"%b: %b\r\n" % (name, value))
    return lines, held


def connection_options(values: list[bytes]) -> frozenset[bytes]:
    """The lower-case options of Connection fields (RFC 9110 section 7.6.1)."""
    if len(values) == 1 and b"," not in values[0]:
        return frozenset((values[0].strip().lower(),))
    joined = b",".join(values).lower()
    return frozenset(option.strip() for option in joined.split(b",")) - {b""}


def persistent(options: frozenset[bytes], minor: int) -> bool:
    """Whether the connection may carry another message (RFC 9112 section 9.3)."""
    return b"close" not in options and (minor == 1 or b"keep-alive" in options)


def without(lines: list[bytes], names: frozenset[bytes]) -> list[bytes]:
    """The lines of fields whose lower-case name is none of `names`."""
    return [line for line in lines if line[: line.find(b":")].lower() not in names]
