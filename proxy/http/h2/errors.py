"""What ends an HTTP/2 connection."""


class HpackError(Exception):
    """A field block cannot be decoded: a connection error of type COMPRESSION_ERROR.

    Its text says why. The state of the decoder is lost (RFC 9113 section 4.3).
    """
