"""No proxy: what client and upstream take by themselves on their core."""

from .base import Peer

DIRECT = Peer("direct", version=lambda: "", missing=lambda: None, command=None)
