"""The kinds of values that options take. Each raises ArgumentTypeError with what is wrong."""

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

from proxy.units import UnitError, parse_duration

if TYPE_CHECKING:
    from proxy.config.server_model import Address

DEFAULT_ADMIN = "http://127.0.0.1:7072"


def address(text: str) -> "Address":
    from proxy.config.names import AddressKind

    try:
        return AddressKind().parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def address_text(text: str) -> str:
    return str(address(text))


def port(text: str) -> str:
    from proxy.config.overrides import check_port

    try:
        return str(check_port(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except UnitError as error:
        raise ArgumentTypeError(str(error)) from None
    if not seconds:
        raise ArgumentTypeError("must be more than 0s")
    return seconds


def count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def admin_url(text: str) -> str:
    """``host:port`` or a URL; a listener's wildcard address means this machine."""
    from urllib.parse import urlsplit

    if text.isdigit():
        raise ArgumentTypeError(f"{text!r} has no host; write 127.0.0.1:{text}")
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port
    except ValueError:
        good = False
    if not good or parts.path.strip("/"):
        raise ArgumentTypeError(f"{text!r} is not HOST:PORT or a URL such as {DEFAULT_ADMIN}")
    for wildcard in ("0.0.0.0", "[::]"):
        if parts.netloc.startswith(f"{wildcard}:"):
            url = url.replace(wildcard, "127.0.0.1", 1)
    return url.rstrip("/")
