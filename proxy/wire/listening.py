"""Opens listening sockets for code that accepts by itself.

The event loop's servers do not fit: libuv reports a used address only when it begins to accept.
"""

import asyncio
import os
import socket


async def listening_sockets(host: str, port: int, backlog: int) -> list[socket.socket]:
    """One non-blocking socket per address of `host`. Raises OSError if one cannot be bound."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            opened.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(backlog)
    except OSError as error:
        for sock in opened:
            sock.close()
        raise OSError(error.errno, os.strerror(error.errno or 0)) from None
    return opened
