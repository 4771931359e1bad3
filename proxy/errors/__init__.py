"""Every failure of a request, as one tree by phase.

    ProxyError
    ├── AcceptError    the client's bytes are not a valid request
    ├── AdmitError     a policy or the drain refused it
    ├── ConnectError   no connection to an endpoint: nothing was sent
    ├── ReceiveError   the request was sent, no usable response head came back
    └── RelayError     the response was truncated after its head went to the client

Each class has all facts of its failure: the reason, its one name in problem body, Proxy-Status,
metric and log; its status, and the code that a gRPC caller gets; its RFC 9209 section 2.3 error
type; the party at fault; the part of the proxy that decided; whether a fallback may replace it. No
other package lists failures. The detail of an instance is a sentence that says what to look at.

A file holds a phase; the refusals of idempotency, store, outbox and sagas, which are of the second
phase, stand in `promises`.
"""

from proxy.errors.accept import *
from proxy.errors.admit import *
from proxy.errors.base import *
from proxy.errors.connect import *
from proxy.errors.promises import *
from proxy.errors.receive import *
from proxy.errors.relay import *
