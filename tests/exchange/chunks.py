"""Chunked bodies with all their data in one chunk: how a body is cut on its way tells nothing."""


def merged(data: bytes) -> bytes:
    """The messages in `data`, each chunked body with one chunk; what is not whole stays."""
    out = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return out + data
        out += head + end
        data = rest
        if b"\r\ntransfer-encoding: chunked" in head.lower():
            body, data, whole = _body(data)
            out += b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not whole:
                return out + data
            last, end, data = data.partition(b"\r\n\r\n")
            out += last + end
        else:
            size = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
            length = int(size) if size.isdigit() else 0
            out, data = out + data[:length], data[length:]


def _body(data: bytes) -> tuple[bytes, bytes, bool]:
    """The data of whole chunks, what is behind them, and whether that is the last chunk."""
    body = b""
    while True:
        size, end, rest = data.partition(b"\r\n")
        if not end or not size or size.strip(b"0123456789abcdef"):
            return body, data, False
        length = int(size, 16)
        if not length:
            return body, data, True
        if len(rest) < length + 2:
            return body, data, False
        body, data = body + rest[:length], rest[length + 2 :]
