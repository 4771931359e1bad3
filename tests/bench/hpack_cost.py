"""``python -m tests.bench.hpack_cost``: CPU time of HPACK for one proxied exchange.

Decoded are a request and a response, and both are encoded for the other side: 10 request fields, 7
response fields. The peer puts every field into its table, as nghttp2, Go and Envoy do. Three kinds
of traffic: the same fields in each exchange, new ids (x-request-id and traceparent), and a new path
as well. Beside it the same work by the ``hpack`` package. The least of several rounds counts.

    python -m tests.bench.hpack_cost             the proxy package that is first on the path
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import hpack

from proxy.http.h2 import decoder as decoder_module
from proxy.http.h2.decoder import Decoder
from proxy.http.h2.encoder import Encoder
from proxy.http.h2.fields import FieldStore
from proxy.http.message import Field, FieldName, Shared, make_field

OWN = frozenset({b":path", b"x-request-id", b"traceparent", b"content-length", b"date"})
KINDS = ("same fields", "new ids", "new ids and path")
EXCHANGES = 2_000
ROUNDS = 7
MAX_BYTES, MAX_FIELDS = 65_536, 128

Pairs = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Traffic:
    """The messages of a connection: blocks as their peers sent them, and the fields in them."""

    requests: list[bytes]
    responses: list[bytes]
    request_fields: list[Pairs]
    response_fields: list[Pairs]


def traffic(kind: str) -> Traffic:
    random = Random(7)
    made = Traffic([], [], [], [])
    client, upstream = hpack.Encoder(), hpack.Encoder()
    path = ids = ""
    for number in range(EXCHANGES):
        if not number or kind != "same fields":
            ids = f"{random.getrandbits(128):032x}"
        if not number or kind == "new ids and path":
            path = f"/api/items/{random.getrandbits(40)}?page={number}"
        request_id = f"{ids[:8]}-{ids[8:12]}-{ids[12:16]}-{ids[16:20]}-{ids[20:]}".encode()
        request = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"inventory.shop.svc.cluster.local:8080"),
            (b"user-agent", b"okhttp/4.12.0"),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"gzip"),
            (b"accept-language", b"en-GB,en;q=0.9"),
            (b"x-tenant", b"acme-retail"),
            (b"x-request-id", request_id),
            (b"traceparent", f"00-{ids}-{ids[:16]}-01".encode()),
        ]
        response = [
            (b":status", b"200"),
            (b"server", b"inventory/3.1"),
            (b"content-type", b"application/json"),
            (b"content-length", b"1024"),
            (b"cache-control", b"no-store"),
            (b"vary", b"accept-encoding"),
            (b"x-request-id", request_id),
        ]
        made.requests.append(client.encode(request))
        made.responses.append(upstream.encode(response))
        made.request_fields.append(request)
        made.response_fields.append(response)
    return made


class Ours:
    """The four codecs of the two connections of a proxy."""

    def __init__(self, store: FieldStore) -> None:
        self.requests_in, self.responses_in = Decoder(store), Decoder(store)
        self.requests_out, self.responses_out = Encoder(), Encoder()
        self.path, self.request_id = FieldName(b":path"), FieldName(b"x-request-id")
        self.traceparent, self.length = FieldName(b"traceparent"), FieldName(b"content-length")
        self.lead = [
            make_field(b":method", b"GET"),
            make_field(b":scheme", b"http"),
            make_field(b":authority", b"inventory.shop.svc.cluster.local:8080"),
        ]
        self.front = Shared([self.lead[0], self.lead[1], None, self.lead[2]], {})
        self.status = make_field(b":status", b"200")

    def learn(self, traffic: Traffic) -> None:
        """What the connections would have judged: the stable fields of both heads."""
        request = self.requests_in.decode(traffic.requests[0], MAX_BYTES, MAX_FIELDS).fields
        response = self.responses_in.decode(traffic.responses[0], MAX_BYTES, MAX_FIELDS).fields
        self.shared_request = Shared([*(f for f in request[4:] if f.name.text not in OWN)], {})
        self.shared_response = Shared([*(f for f in response[1:] if f.name.text not in OWN)], {})

    def run(self, traffic: Traffic, first: int) -> None:
        none: list[Field] = []
        for number in range(first, len(traffic.requests)):
            fields = self.requests_in.decode(traffic.requests[number], MAX_BYTES, MAX_FIELDS).fields
            out = self.requests_out.begin()
            self.requests_out.add_head(out, self.front, [fields[2]])
            self.requests_out.add_head(out, self.shared_request, none)
            self.requests_out.add_own(out, self.request_id, fields[9].value)
            self.requests_out.add_own(out, self.traceparent, fields[10].value)
            b"".join(out)
            fields = self.responses_in.decode(
                traffic.responses[number], MAX_BYTES, MAX_FIELDS
            ).fields
            out = self.responses_out.begin()
            self.responses_out.add_field(out, self.status)
            self.responses_out.add_head(out, self.shared_response, none)
            self.responses_out.add_own(out, self.request_id, fields[6].value)
            self.responses_out.add_own(out, self.length, fields[3].value)
            b"".join(out)


def ours(kind: str) -> float:
    """Microseconds of CPU for an exchange."""
    made = traffic(kind)
    store = FieldStore(OWN)

    def once() -> float:
        codecs = Ours(store)
        codecs.learn(made)
        return _seconds(lambda: codecs.run(made, 1))

    return min(once() for _ in range(ROUNDS)) / (EXCHANGES - 1) * 1e6


def theirs(kind: str) -> float:
    made = traffic(kind)

    def once() -> float:
        decoders, encoders = (hpack.Decoder(), hpack.Decoder()), (hpack.Encoder(), hpack.Encoder())

        def run() -> None:
            for number in range(EXCHANGES // 10):
                decoders[0].decode(made.requests[number], raw=True)
                decoders[1].decode(made.responses[number], raw=True)
                encoders[0].encode(made.request_fields[number])
                encoders[1].encode(made.response_fields[number])

        return _seconds(run)

    return min(once() for _ in range(3)) / (EXCHANGES // 10) * 1e6


def _seconds(run: Callable[[], None]) -> float:
    gc.collect()
    gc.disable()
    begin = time.process_time()
    run()
    taken = time.process_time() - begin
    gc.enable()
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.bench.hpack_cost", description=__doc__)
    parser.add_argument("--alone", action="store_true", help="without the hpack package")
    options = parser.parse_args(arguments)
    kind = "interpreted" if str(decoder_module.__file__).endswith(".py") else "compiled"
    print(f"µs of CPU for the field blocks of one exchange, {kind}")
    for name in KINDS:
        beside = "" if options.alone else f"   hpack {theirs(name):6.1f}"
        print(f"{name:18} {ours(name):6.2f}{beside}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
