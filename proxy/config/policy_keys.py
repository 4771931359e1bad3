"""The keys of a policy, and those of timeouts, retry, circuit breaker and bulkhead."""

from dataclasses import fields
from typing import Any

from proxy.config.fallback_keys import FALLBACK
from proxy.config.kinds import Boolean, Choice, Duration, Integer, Number, Ratio, Size
from proxy.config.model import PolicyConfig
from proxy.config.outbox_keys import OUTBOX
from proxy.config.policy_kinds import (
    BACKOFF,
    OUTCOME_LIST,
    BodyRate,
    Methods,
    Window,
    WindowSize,
    check_max,
    settle_window,
)
from proxy.config.record import Field, Optional, Record, Values
from proxy.config.store_keys import IDEMPOTENCY
from proxy.config.traffic_keys import FAULTS, HEDGE, RateLimitList
from proxy.policies import catalogue
from proxy.policies.budget import BudgetConfig
from proxy.policies.bulkhead import BulkheadConfig, BulkheadLimit, BulkheadScope
from proxy.policies.circuit_breaker_config import (
    BreakerCounts,
    BreakerMode,
    BreakerScope,
    CircuitBreakerConfig,
    HalfOpenConfig,
    OpenForConfig,
    SlowCallConfig,
    WindowConfig,
    WindowType,
)
from proxy.policies.deadline import InheritConfig, TimeoutsConfig
from proxy.policies.gate import Mode
from proxy.policies.retry import RetryConfig

INHERIT = Record(
    InheritConfig,
    {
        "deadline": Field(Boolean(), "What is left of the deadline that its caller gave."),
        "retries": Field(
            Boolean(),
            "A call is not retried if it is made for a request that is a repeat, "
            "or was retried below.",
        ),
    },
    definition="inherit",
)

TIMEOUTS = Record(
    TimeoutsConfig,
    {
        "mode": Field(
            Choice(Mode), "observe: cuts nothing; counts and shows what it would have cut."
        ),
        "connect": Field(Duration(), "Name look-up, TCP and TLS of each new connection."),
        "attempt": Field(
            Duration(),
            "One attempt, from taking a connection to the end of the response's head; the time in "
            "which the client's body flows does not count.",
        ),
        "request": Field(
            Duration(),
            "The whole exchange, including queueing, attempts and waits, until a response's head "
            "is sent; the body's time does not count either.",
        ),
        "idle": Field(Duration(), "No byte in either direction while bodies or a tunnel flow."),
        "max_duration": Field(
            Duration(zero=True), "The whole exchange, including bodies; 0: no limit."
        ),
        "stream_idle": Field(
            Duration(zero=True),
            "gRPC streams: the longest silence in both directions; 0s: no limit. `idle` does not "
            "apply to them.",
        ),
        "body_rate": Field(
            BodyRate(),
            "Like limits.body_rate, for these routes' clients; listener: limits.body_rate on the "
            "inbound listener, and no limit on the outbound one.",
        ),
        "inherit": Field(
            INHERIT,
            "What outbound calls take from the inbound request in flight with the same trace id.",
        ),
        "propagate": Field(
            Boolean(), "Send the remaining time as X-Request-Timeout-Ms with every attempt."
        ),
    },
    definition="timeouts",
)

BUDGET = Record(
    BudgetConfig,
    {
        "ratio": Field(Ratio(), "Maximum retries as a share of the requests in the window."),
        "min_per_second": Field(Number(0), "Retries per second that are always allowed."),
        "window": Field(Duration(), "The period whose requests and retries count."),
    },
    definition="budget",
)

RETRY = Record(
    RetryConfig,
    {
        "mode": Field(
            Choice(Mode), "observe: retries nothing; counts and shows what it would have retried."
        ),
        "attempts": Field(Integer(1), "Total attempts, including the first; 1: no retry."),
        "on": Field(
            OUTCOME_LIST,
            "What is retried: connect-failure, refused-stream, reset, timeout, gateway-error "
            "(502-504), 5xx, statuses and ranges of them; of gRPC: grpc-unavailable and the other "
            "statuses, grpc-failure.",
        ),
        "methods": Field(
            Methods(),
            "What is safe to repeat after something was sent: idempotent (and any request with an "
            "Idempotency-Key or X-Idempotency-Key), any, or a list.",
        ),
        "backoff": Field(BACKOFF, "The waits between attempts."),
        "retry_after": Field(
            Duration(zero=True),
            "The longest Retry-After of a 429 or 503 that is obeyed; 0s: ignore the header.",
        ),
        "budget": Field(BUDGET, "Limits retries relative to requests."),
        "body_limit": Field(Size(zero=True), "The largest request body that is kept for a retry."),
    },
    definition="retry",
)

WINDOW = Window(
    WindowConfig,
    {
        "type": Field(Choice(WindowType), "count: the last calls; time: the last seconds."),
        "size": Field(WindowSize(), "A number of calls, or whole seconds such as 60s."),
    },
    settle=settle_window,
    definition="window",
)

CIRCUIT_BREAKER = Record(
    CircuitBreakerConfig,
    {
        "mode": Field(Choice(BreakerMode), "observe: records and reports, but refuses nothing."),
        "window": Field(WINDOW, "The calls that the rates are computed from."),
        "minimum_calls": Field(Integer(1), "With fewer calls in the window the rates are unknown."),
        "failure_rate": Field(
            Ratio(zero=False), "The breaker opens at this share of failures or above."
        ),
        "slow_call": Field(
            Record(
                SlowCallConfig,
                {
                    "duration": Field(Duration(), "A call that takes longer is slow."),
                    "rate": Field(
                        Ratio(zero=False), "The breaker opens at this share of slow calls or above."
                    ),
                },
                definition="slow_call",
            ),
            "Slow calls can open the breaker too.",
        ),
        "failures": Field(
            OUTCOME_LIST,
            "What counts as a failure. grpc-failure: the statuses unknown, deadline-exceeded, "
            "internal, unavailable and data-loss.",
        ),
        "open_for": Field(
            Record(
                OpenForConfig,
                {
                    "initial": Field(
                        Duration(), "The time that the breaker stays open the first time."
                    ),
                    "multiplier": Field(
                        Number(1),
                        "The factor from one opening to the next, until the breaker closes.",
                    ),
                    "max": Field(Duration(), "The longest time that the breaker stays open."),
                },
                check=check_max,
                definition="open_for",
            ),
            "How long all calls are refused before probes are allowed.",
        ),
        "half_open": Field(
            Record(
                HalfOpenConfig,
                {
                    "calls": Field(
                        Integer(1), "Concurrent probes; as many successes close the breaker."
                    ),
                    "max_wait": Field(
                        Duration(), "A probe without a result by then counts as failed."
                    ),
                    "failure_rate": Field(
                        Optional(Ratio(zero=False)),
                        "The share of failed probes that opens it again; none: the first failure.",
                    ),
                },
                definition="half_open",
            ),
            "Testing whether the upstream has recovered.",
        ),
        "counts": Field(
            Choice(BreakerCounts),
            "attempts, or requests: the result of the whole exchange including retries.",
        ),
        "scope": Field(
            Choice(BreakerScope),
            "route: one for each route and upstream; upstream: shared by the routes that use this "
            "policy towards it; endpoint: one for each endpoint.",
        ),
    },
    definition="circuit_breaker",
)


class _LimitKind(Choice[BulkheadLimit]):
    """How the limit is found, which is not the limit itself."""

    def parse(self, text: str) -> BulkheadLimit:
        if text.isascii() and text.isdigit():
            raise ValueError(f"must be {self.wants}; did you mean max_concurrent: {text}?")
        return super().parse(text)


BULKHEAD = Record(
    BulkheadConfig,
    {
        "mode": Field(
            Choice(Mode),
            "observe: everything passes at once; counts and shows what would have waited or been "
            "refused.",
        ),
        "max_concurrent": Field(
            Integer(1), "Maximum concurrent exchanges, until the end of the body or tunnel."
        ),
        "limit": Field(
            _LimitKind(BulkheadLimit),
            "fixed: max_concurrent; gradient: learned from the upstream's response times, between "
            "min and max_concurrent.",
        ),
        "min": Field(Integer(1), "The least that gradient allows."),
        "max_queue": Field(Integer(0), "Maximum exchanges that wait for a permit."),
        "queue_timeout": Field(Duration(zero=True), "The longest wait in the queue."),
        "scope": Field(
            Choice(BulkheadScope),
            "route: one for each route; upstream: shared by the routes to an upstream.",
        ),
    },
    definition="bulkhead",
)

_OWN = frozenset(field.name for field in fields(PolicyConfig)) - {"more"}


def _policy(**values: Any) -> PolicyConfig:
    own = {name: values.pop(name) for name in _OWN}
    # A default is not kept: a policy that states it equals one that leaves it out.
    defaults = {kind.key: kind.default for kind in catalogue.kinds()}
    more = tuple((key, found) for key, found in values.items() if found != defaults.get(key))
    return PolicyConfig(**own, more=more)


class _PolicyKeys(Record[PolicyConfig]):
    """A gate that has no attribute of `PolicyConfig` keeps its settings in `more`: all that it
    needs here is its key."""

    @property
    def _defaults(self) -> Values:
        return self._values_of(PolicyConfig())

    def _values_of(self, value: PolicyConfig) -> Values:
        return {name: getattr(value, name) for name in _OWN} | {
            kind.key: value.settings(kind)
            for kind in catalogue.kinds()
            if kind.setting[0] not in _OWN
        }

    def _member(self, value: PolicyConfig, field: Field) -> Any:
        (name,) = field.attributes
        return getattr(value, name) if name in _OWN else self._values_of(value)[name]


POLICY = _PolicyKeys(
    _policy,
    {
        "timeouts": Field(TIMEOUTS, "Deadlines and idle times."),
        "retry": Field(RETRY, "Whether and when to make another attempt."),
        "circuit_breaker": Field(CIRCUIT_BREAKER, "When to stop calling an upstream."),
        "bulkhead": Field(BULKHEAD, "The limit of concurrent exchanges."),
        "hedge": Field(
            HEDGE, "Another attempt while the first one takes long; what retry.methods allows."
        ),
        "faults": Field(
            FAULTS, "Failures to inject where the upstream stands, for tests; a list replaces."
        ),
        "idempotency": Field(
            IDEMPOTENCY, "Repeats of a request with an idempotency key get the first answer."
        ),
        "rate_limits": Field(
            RateLimitList(),
            "How many requests are admitted per time, by route, client or header; a list replaces "
            "an inherited one.",
        ),
        "outbox": Field(
            OUTBOX, "Accept a request now and deliver it later, although everything may fail."
        ),
        "fallback": Field(
            Optional(FALLBACK), "What the client gets instead of a failure; none removes it."
        ),
    },
    definition="policy",
)
