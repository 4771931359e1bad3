"""The keys of a policy: timeouts, retry, circuit breaker, bulkhead, fallback."""

from proxy.config.fallback_keys import FALLBACK
from proxy.config.kinds import Boolean, Choice, Duration, Integer, Number, Ratio, Size
from proxy.config.model import PolicyConfig
from proxy.config.policy_kinds import (
    JitterKindOrRatio,
    Methods,
    Outcomes,
    Window,
    WindowSize,
    check_max,
    settle_window,
)
from proxy.config.record import Field, Optional, Record
from proxy.policies.backoff import BackoffConfig
from proxy.policies.budget import BudgetConfig
from proxy.policies.bulkhead import BulkheadConfig, BulkheadScope
from proxy.policies.circuit_breaker import (
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
from proxy.policies.deadline import TimeoutsConfig
from proxy.policies.retry import RetryConfig

TIMEOUTS = Record(
    TimeoutsConfig,
    {
        "connect": Field(Duration(), "Name look-up, TCP and TLS of each new connection."),
        "attempt": Field(
            Duration(),
            "One attempt, from taking a connection to the end of the response's head; time in "
            "which the client's body flows is left out.",
        ),
        "request": Field(
            Duration(),
            "The whole exchange, queueing, attempts and waits included, until a response's head "
            "goes back; body time is left out likewise.",
        ),
        "idle": Field(Duration(), "No byte in either direction while bodies or a tunnel flow."),
        "max_duration": Field(
            Duration(zero=True), "The whole exchange, bodies included; 0: no limit."
        ),
        "propagate": Field(
            Boolean(), "Send the time that is left as X-Request-Timeout-Ms with every attempt."
        ),
    },
    definition="timeouts",
)

BACKOFF = Record(
    BackoffConfig,
    {
        "initial": Field(Duration(zero=True), "The wait before the second attempt."),
        "multiplier": Field(Number(1), "Each further wait is this many times longer."),
        "max": Field(Duration(zero=True), "The longest wait, before jitter."),
        "jitter": Field(
            JitterKindOrRatio(),
            "full: anything up to the wait; equal: half of it and up; decorrelated: up to three "
            "times the last one; none; or a ratio (20%: plus or minus a fifth).",
        ),
    },
    check=check_max,
    definition="backoff",
)

BUDGET = Record(
    BudgetConfig,
    {
        "ratio": Field(Ratio(), "Retries as a share of the requests in the window."),
        "min_per_second": Field(Number(0), "Retries each second that are free of the ratio."),
        "window": Field(Duration(), "The stretch of traffic that is looked at."),
    },
    definition="budget",
)

RETRY = Record(
    RetryConfig,
    {
        "attempts": Field(Integer(1), "In all, the first one included; 1: no retry."),
        "on": Field(
            Outcomes(),
            "What is tried again: connect-failure, refused-stream, reset, timeout, gateway-error "
            "(502-504), 5xx, statuses and ranges of them.",
        ),
        "methods": Field(
            Methods(),
            "What may be repeated once something was sent: idempotent (and any request with an "
            "Idempotency-Key or X-Idempotency-Key), any, or a list.",
        ),
        "backoff": Field(BACKOFF, "The waits between attempts."),
        "retry_after": Field(
            Duration(zero=True),
            "The longest Retry-After of a 429 or 503 that is waited for; 0s: ignore the header.",
        ),
        "budget": Field(BUDGET, "How many retries a stretch of traffic may cause."),
        "body_limit": Field(
            Size(zero=True), "The largest request body that is kept for another attempt."
        ),
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
        "mode": Field(
            Choice(BreakerMode), "observe: records and reports, but lets everything pass."
        ),
        "window": Field(WINDOW, "The calls of which the rates are taken."),
        "minimum_calls": Field(Integer(1), "With fewer calls in the window no rate is known."),
        "failure_rate": Field(Ratio(zero=False), "At or above this share of failures it opens."),
        "slow_call": Field(
            Record(
                SlowCallConfig,
                {
                    "duration": Field(Duration(), "A call that takes longer is slow."),
                    "rate": Field(
                        Ratio(zero=False), "At or above this share of slow calls it opens."
                    ),
                },
                definition="slow_call",
            ),
            "Slow calls open the breaker as failures do.",
        ),
        "failures": Field(Outcomes(), "What counts as a failure."),
        "open_for": Field(
            Record(
                OpenForConfig,
                {
                    "initial": Field(Duration(), "How long the first opening lasts."),
                    "multiplier": Field(
                        Number(1), "Each consecutive opening lasts this many times longer."
                    ),
                    "max": Field(Duration(), "The longest opening."),
                },
                check=check_max,
                definition="open_for",
            ),
            "How long everything is refused before probes are let through.",
        ),
        "half_open": Field(
            Record(
                HalfOpenConfig,
                {
                    "calls": Field(Integer(1), "Probes at once; as many successes close it."),
                    "max_wait": Field(
                        Duration(), "A probe that has not come back by then counts as failed."
                    ),
                    "failure_rate": Field(
                        Optional(Ratio(zero=False)),
                        "The share of failed probes that opens it again; none: the first one does.",
                    ),
                },
                definition="half_open",
            ),
            "Probing whether the upstream is well again.",
        ),
        "counts": Field(
            Choice(BreakerCounts),
            "attempts, or requests: what became of the whole exchange, retries included.",
        ),
        "scope": Field(
            Choice(BreakerScope),
            "route: one for each route and upstream; upstream: shared by the routes that use this "
            "policy towards it; endpoint: one for each endpoint.",
        ),
    },
    definition="circuit_breaker",
)

BULKHEAD = Record(
    BulkheadConfig,
    {
        "max_concurrent": Field(Integer(1), "Exchanges at once; a body or tunnel counts."),
        "max_queue": Field(Integer(0), "How many more may wait for a place."),
        "queue_timeout": Field(Duration(zero=True), "The longest wait in the queue."),
        "scope": Field(Choice(BulkheadScope), "One for each route, or shared by an upstream's."),
    },
    definition="bulkhead",
)

POLICY = Record(
    PolicyConfig,
    {
        "timeouts": Field(TIMEOUTS, "How long things may take."),
        "retry": Field(RETRY, "Whether and when another attempt is made."),
        "circuit_breaker": Field(CIRCUIT_BREAKER, "When an upstream is no longer asked."),
        "bulkhead": Field(BULKHEAD, "How many exchanges may be under way at once."),
        "fallback": Field(
            Optional(FALLBACK), "What the client gets instead of a failure; none removes it."
        ),
    },
    definition="policy",
)
