"""The one form in which the proxy sends requests, written down as a grammar: a second yardstick.

llhttp is the proxy's own parser too, and what it tolerates both would. This knows no tolerance:
what it does not match byte by byte is not what the proxy means to send.
"""

import re

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = rb"%b: [\t\x20-\x7e\x80-\xff]*\r\n" % _TOKEN
_HEAD = re.compile(
    rb"%b (?:/[!\"$-~]*|\*) HTTP/1\.1\r\nHost: [0-9A-Za-z.\-_~:\[\]]*\r\n(?:%b)*\r\n"
    % (_TOKEN, _FIELD)
)
_LENGTH = re.compile(rb"\r\nContent-Length: (0|[1-9][0-9]*)\r\n")
_CHUNKED = re.compile(rb"\r\nTransfer-Encoding: chunked\r\n")
_SIZE = re.compile(rb"([1-9a-f][0-9a-f]*)\r\n")
_LAST = re.compile(rb"0\r\n(?:%b)*\r\n" % _FIELD)
_FRAMING = re.compile(rb"(?i)\r\n(?:content[-_]length|transfer[-_]encoding):")


def count_requests(sent: bytes) -> int:
    """Whole requests in what went upstream on one connection; the last may be without its end.

    Raises AssertionError where the bytes are not of the form.
    """
    at = count = 0
    while at < len(sent):
        head = _HEAD.match(sent, at)
        assert head is not None, sent[at:]
        end = _body_end(sent, head)
        if end is None:
            return count
        at = end
        count += 1
    return count


def _body_end(sent: bytes, head: re.Match[bytes]) -> int | None:
    """Where the body ends, None if it has not come yet."""
    fields = head[0]
    length, chunked = _LENGTH.findall(fields), _CHUNKED.findall(fields)
    assert len(_FRAMING.findall(fields)) == len(length) + len(chunked) <= 1, fields
    at = head.end()
    if length:
        at += int(length[0])
        return at if at <= len(sent) else None
    while chunked:
        size = _SIZE.match(sent, at)
        if size is None:
            last = _LAST.match(sent, at)
            assert last is not None or at == len(sent), sent[at:]
            return None if last is None else last.end()
        at = size.end() + int(size[1], 16) + 2
        if at > len(sent):
            return None
        assert sent[at - 2 : at] == b"\r\n", sent[size.start() :]
    return at
