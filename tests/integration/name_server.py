"""A name server of the tests' own on port 53 of a loopback address, and a proxy that asks it."""

import contextlib
import ipaddress
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

A, AAAA = 1, 28
TTL = 30
UDP_BYTES = 512


class NameServer:
    """Answers over UDP, and over TCP what is too long for it.

    `records` are the addresses by name; what is not there does not exist. A name that begins with
    ``hang`` gets no answer, one with ``held`` from `let_go` on. `asked` counts the questions by
    name.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.records: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self._held: list[tuple[bytes, Any]] | None = []
        self._lock = threading.Lock()
        self._datagrams = socket.socket(type=socket.SOCK_DGRAM)
        self._datagrams.bind((address, 53))
        self._listener = socket.create_server((address, 53))
        self._threads = [
            threading.Thread(target=serve, daemon=True)
            for serve in (self._serve_datagrams, self._serve_streams)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        with socket.socket(type=socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.address, 53))
        for thread in self._threads:
            thread.join(5)
        self._listener.close()
        self._datagrams.close()

    def _serve_datagrams(self) -> None:
        while True:
            query, peer = self._datagrams.recvfrom(4096)
            if not query:
                return
            name, answer = self._answer(query, UDP_BYTES)
            if name.startswith("held") and self._hold(answer, peer):
                continue
            if not name.startswith("hang"):
                self._send(answer, peer)

    def _hold(self, answer: bytes, peer: Any) -> bool:
        with self._lock:
            if self._held is not None:
                self._held.append((answer, peer))
            return self._held is not None

    def let_go(self) -> None:
        """Answer all questions for names that begin with ``held``."""
        with self._lock:
            held, self._held = self._held or [], None
        for answer, peer in held:
            self._send(answer, peer)

    def _send(self, answer: bytes, peer: Any) -> None:
        with contextlib.suppress(OSError):  # the test is over
            self._datagrams.sendto(answer, peer)

    def _serve_streams(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                while length := stream.read(2):
                    query = stream.read(struct.unpack("!H", length)[0])
                    _, answer = self._answer(query, 65535)
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, query: bytes, longest: int) -> tuple[str, bytes]:
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += query[at] + 1
        (kind,) = struct.unpack_from("!H", query, at + 1)
        question = query[12 : at + 5]
        name = ".".join(labels).lower()
        self.asked[name] += 1
        found = [packed for one in self.records.get(name, ()) if (packed := _packed(one, kind))]
        records = b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, TTL, len(packed)) + packed
            for packed in found
        )
        flags = 0x8180 if name in self.records else 0x8183
        if 12 + len(question) + len(records) > longest:
            flags, found, records = flags | 0x0200, [], b""
        head = query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
        return name, head + question + records


def _packed(address: str, kind: int) -> bytes:
    parsed = ipaddress.ip_address(address)
    return parsed.packed if (parsed.version == 4) == (kind == A) else b""


@contextlib.contextmanager
def name_server() -> Iterator[NameServer]:
    """One on an address of its own."""
    server = NameServer(f"127.53.{os.getpid() % 256}.{random.randrange(1, 255)}")
    try:
        yield server
    finally:
        server.stop()


@cache
def can_serve_names() -> bool:
    """Whether port 53 may be bound here, and a process may have an /etc/resolv.conf of its own."""
    try:
        with socket.socket(type=socket.SOCK_DGRAM) as probe:
            probe.bind(("127.53.0.1", 53))
    except OSError:
        return False
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


def asking(server: NameServer, directory: Path, *lines: str, hosts: str = "") -> list[str]:
    """What to put before a command so that it asks this server. `lines`: more of resolv.conf."""
    resolv, hosts_file = directory / "resolv.conf", directory / "hosts"
    resolv.write_text("\n".join((f"nameserver {server.address}", *lines, "")))
    hosts_file.write_text(f"127.0.0.1 localhost\n{hosts}\n")
    mount = 'mount --bind "$0" /etc/resolv.conf && mount --bind "$1" /etc/hosts && shift'
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'{mount} && exec "$@"',
        str(resolv),
        str(hosts_file),
    ]
