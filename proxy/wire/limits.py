"""Failures for exceeded `limits`, which name the limit."""

from proxy.config.model import LimitsConfig
from proxy.errors import BodyTooLarge, HeadersTooLarge, UrlTooLong


def body_too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request's body is larger than {limit} bytes (limits.body_bytes).")


def head_too_large(data: bytes, limits: LimitsConfig) -> UrlTooLong | HeadersTooLarge:
    """The failure for a URL or head that is too long."""
    line = data[: limits.url_bytes + 32].partition(b"\r\n")
    if not line[1]:
        return UrlTooLong(f"The URL is longer than {limits.url_bytes} bytes.")
    return HeadersTooLarge(f"The request's head is larger than {limits.header_bytes} bytes.")
