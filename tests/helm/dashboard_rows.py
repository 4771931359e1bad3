"""What the Grafana dashboard shows: a row is a heading and its panels.

Queries name the selection by a word: ``@`` is the process (namespace, job, pod), ``@route`` also
the route, ``@listener`` the listener as well. `dashboard.py` spells them out.
"""

from typing import Any

from .dashboard_panel import Panel
from .dashboard_traffic import TRAFFIC

_NONE_IS_ZERO = " or vector(0)"
_STATES = {0: ("closed", "green"), 1: ("half-open", "yellow"), 2: ("open", "red"),
           3: ("forced open", "purple"), 4: ("disabled", "blue")}  # fmt: skip


def _stat(title: str, tells: str, query: str, unit: str = "short", red_from: float = 0) -> Panel:
    """A number; it turns red at `red_from`, never where that is 0."""
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if red_from:
        steps.append({"color": "red", "value": red_from})
    thresholds = {"mode": "absolute", "steps": steps}
    return Panel(
        title,
        tells,
        ((query, ""),),
        unit,
        "stat",
        width=3,
        height=4,
        more={"fieldConfig": {"defaults": {"thresholds": thresholds}}},
    )


def _quantile(quantile: str) -> tuple[str, str]:
    buckets = (
        "sum by (le) (rate(proxy_request_duration_seconds_bucket{@listener}[$__rate_interval]))"
    )
    return f"histogram_quantile({quantile}, {buckets})", f"{float(quantile):.0%}"


_FAILED = (
    'sum(rate(proxy_requests_total{@listener, code=~"5.."}[$__rate_interval])'
    ' or rate(proxy_requests_total{@listener, reason="upstream-truncated"}[$__rate_interval]))'
)
_ALL = "sum(rate(proxy_requests_total{@listener}[$__rate_interval]))"

_OVERVIEW = (
    _stat("Requests", "Finished requests per second.", _ALL + _NONE_IS_ZERO, "reqps"),
    _stat(
        "Failures",
        "Share of requests with a 5xx or truncated response: what the callers see.",
        f"({_FAILED} / {_ALL}){_NONE_IS_ZERO}",
        "percentunit",
        0.05,
    ),
    _stat(
        "99th percentile", "From a request's head to its response's end.", _quantile("0.99")[0], "s"
    ),
    _stat(
        "Breakers open",
        "Circuit breakers that are open, half-open or forced open now.",
        'sum(proxy_circuit_breaker_state{@, state=~"open|half_open|forced_open"})' + _NONE_IS_ZERO,
        red_from=1,
    ),
    _stat(
        "Refused by breakers",
        "Calls per second that circuit breakers refuse. Without calls an open one refuses none.",
        "sum(rate(proxy_circuit_breaker_refused_total{@}[$__rate_interval]))" + _NONE_IS_ZERO,
        "ops",
    ),
    _stat(
        "Bypassed",
        "Processes whose retries and circuit breakers are suspended (POST /bypass).",
        "sum(proxy_bypass{@})" + _NONE_IS_ZERO,
        red_from=1,
    ),
    _stat("In flight", "Requests in flight now.", "sum(proxy_in_flight{@})"),
    _stat(
        "Files rejected",
        "Processes that rejected the last version of their configuration file.",
        "count(proxy_config_last_reload_successful{@} == 0)" + _NONE_IS_ZERO,
        red_from=1,
    ),
)

_REQUESTS = (
    Panel(
        "Requests by status",
        "Finished requests per second, by the status that the client got.",
        (("sum by (code) (rate(proxy_requests_total{@listener}[$__rate_interval]))", "{{code}}"),),
        "reqps",
    ),
    Panel(
        "Answers made by the proxy",
        "By reason (docs/answers.md). Responses of upstreams have no reason.",
        (
            (
                'sum by (reason) (rate(proxy_requests_total{@listener, reason!=""}'
                "[$__rate_interval]))",
                "{{reason}}",
            ),
        ),
        "reqps",
    ),
    Panel(
        "Duration",
        "From a request's head to the end of its response, including retries and waits.",
        (_quantile("0.5"), _quantile("0.9"), _quantile("0.99")),
        "s",
    ),
)

_RETRIES = (
    Panel(
        "Attempts by outcome",
        "A status class, or the reason of a failure. More attempts than requests means retries.",
        (
            (
                "sum by (outcome) (rate(proxy_attempts_total{@route}[$__rate_interval]))",
                "{{outcome}}",
            ),
        ),
        "ops",
    ),
    Panel(
        "Retries by condition",
        "Retries, by the condition that caused them.",
        (
            (
                "sum by (condition) (rate(proxy_retries_total{@route}[$__rate_interval]))",
                "{{condition}}",
            ),
        ),
        "ops",
    ),
    Panel(
        "Retries refused",
        "Failures without a retry, by reason; budget means that too many calls fail.",
        (
            (
                "sum by (why) (rate(proxy_retries_refused_total{@route}[$__rate_interval]))",
                "{{why}}",
            ),
        ),
        "ops",
    ),
    Panel(
        "Fallbacks",
        "Responses that a fallback replaced.",
        (("sum by (route) (rate(proxy_fallbacks_total{@route}[$__rate_interval]))", "{{route}}"),),
        "reqps",
    ),
    Panel(
        "Failed attempts by upstream",
        "Share of attempts that ended with 5xx or with no response.",
        (
            (
                "sum by (upstream) (rate(proxy_attempts_total"
                '{@route, outcome!~"[1-4]xx"}[$__rate_interval]))'
                " / sum by (upstream) (rate(proxy_attempts_total{@route}[$__rate_interval]))",
                "{{upstream}}",
            ),
        ),
        "percentunit",
    ),
    Panel(
        "Bulkheads",
        "Share of the permits in use. At 100% requests queue, or are refused.",
        (
            (
                "max by (name) (proxy_bulkhead_in_use{@} / proxy_bulkhead_limit{@})",
                "{{name}}",
            ),
            ("sum by (name) (proxy_bulkhead_queued{@}) > 0", "{{name}} queued"),
        ),
        "percentunit",
        more={
            "fieldConfig": {
                "overrides": [
                    {
                        "matcher": {"id": "byRegexp", "options": "/ queued$/"},
                        "properties": [
                            {"id": "unit", "value": "short"},
                            {"id": "custom.axisPlacement", "value": "right"},
                        ],
                    }
                ]
            }
        },
    ),
)

_BREAKERS = (
    Panel(
        "Circuit breakers",
        "The worst state among the pods.",
        (
            (
                'max by (job, name) (proxy_circuit_breaker_state{@, state="half_open"}'
                ' or 2 * proxy_circuit_breaker_state{@, state="open"}'
                ' or 3 * proxy_circuit_breaker_state{@, state="forced_open"}'
                ' or 4 * proxy_circuit_breaker_state{@, state="disabled"})',
                "{{job}} {{name}}",
            ),
        ),
        kind="state-timeline",
        width=16,
        more={
            "fieldConfig": {
                "defaults": {
                    "mappings": [
                        {
                            "type": "value",
                            "options": {
                                str(number): {"text": text, "color": color}
                                for number, (text, color) in _STATES.items()
                            },
                        }
                    ]
                }
            },
            "options": {"mergeValues": True, "showValue": "auto", "rowHeight": 0.9},
        },
    ),
    Panel(
        "Transitions",
        "How often circuit breakers changed to a state, in five minutes.",
        (("sum by (to) (increase(proxy_circuit_breaker_transitions_total{@}[5m]))", "{{to}}"),),
    ),
)

_CONNECTIONS = (
    Panel(
        "In flight",
        "Requests in flight, by listener.",
        (("sum by (listener) (proxy_in_flight{@})", "{{listener}}"),),
    ),
    Panel(
        "Client connections",
        "Open connections, including idle ones, by listener.",
        (("sum by (listener) (proxy_connections{@})", "{{listener}}"),),
    ),
    Panel(
        "Upstream connections",
        "By upstream and state.",
        (
            (
                "sum by (upstream, state) (proxy_upstream_connections{@})",
                "{{upstream}} {{state}}",
            ),
        ),
    ),
)

_PROMISES = (
    Panel(
        "Outbox: pending",
        "Entries that wait or are tried now, by route.",
        (("sum by (route) (proxy_outbox_pending{@})", "{{route}}"),),
    ),
    Panel(
        "Outbox: oldest",
        "Age of the oldest entry that is not finished, by route.",
        (("max by (route) (proxy_outbox_oldest_seconds{@})", "{{route}}"),),
        "s",
    ),
    Panel(
        "Outbox: dead",
        "Dead and parked entries: they wait for an operator.",
        (("sum by (route) (proxy_outbox_dead{@})", "{{route}}"),),
    ),
    Panel(
        "Outbox: tries",
        "Per second, by what became of them.",
        (
            (
                "sum by (outcome) (rate(proxy_outbox_deliveries_total{@}[$__rate_interval]))",
                "{{outcome}}",
            ),
        ),
        "ops",
    ),
    Panel(
        "Sagas",
        "Those that have not ended, by state.",
        (
            (
                'sum by (saga, state) (proxy_sagas{@, state=~"running|undoing|stuck"})',
                "{{saga}} {{state}}",
            ),
        ),
    ),
    Panel(
        "Idempotency keys",
        "Requests per second, by what their key led to.",
        (
            (
                "sum by (result) (rate(proxy_idempotency_total{@}[$__rate_interval]))",
                "{{result}}",
            ),
        ),
        "ops",
    ),
    Panel(
        "Store: commits",
        "Per second.",
        (("sum(rate(proxy_store_commits_total{@}[$__rate_interval]))", "commits"),),
        "ops",
    ),
    Panel(
        "Store: time of a commit",
        "The 99th percentile. Each promise waits for one.",
        (
            (
                "histogram_quantile(0.99, sum by (le)"
                " (rate(proxy_store_commit_seconds_bucket{@}[$__rate_interval])))",
                "p99",
            ),
        ),
        "s",
    ),
    Panel(
        "Store: size",
        "Bytes that it uses; and stores that are full or failed.",
        (
            ("sum(proxy_store_bytes{@})", "bytes"),
            ("sum(proxy_store_full{@})", "full"),
            ("sum(proxy_store_failed{@})", "failed"),
        ),
        "bytes",
    ),
)

_PROCESSES = (
    Panel(
        "CPU",
        "Cores; one process uses at most one.",
        (("rate(process_cpu_seconds_total{@}[$__rate_interval])", "{{pod}} {{instance}}"),),
    ),
    Panel(
        "Memory",
        "Resident.",
        (("process_resident_memory_bytes{@}", "{{pod}} {{instance}}"),),
        "bytes",
    ),
    Panel(
        "File descriptors",
        "Share of the process's limit.",
        (("process_open_fds{@} / process_max_fds{@}", "{{pod}} {{instance}}"),),
        "percentunit",
    ),
    Panel(
        "Reloads",
        "Of the configuration, in five minutes.",
        (("sum by (result) (increase(proxy_config_reloads_total{@}[5m]))", "{{result}}"),),
    ),
    Panel(
        "Lost",
        "Requests cut by a drain, and log lines dropped, in ten minutes.",
        (
            ("sum(max_over_time(proxy_drain_cut_total{@}[10m]))", "requests cut"),
            ("sum(increase(proxy_log_dropped_total{@}[10m]))", "log lines dropped"),
        ),
    ),
    Panel(
        "Versions",
        "Processes by version.",
        (("count by (version) (proxy_build_info{@})", "{{version}}"),),
    ),
)

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("Now", _OVERVIEW),
    ("Requests", _REQUESTS),
    ("Circuit breakers", _BREAKERS),
    ("Attempts, retries, bulkheads", _RETRIES),
    ("Endpoints, limits, hedges, faults", TRAFFIC),
    ("Connections", _CONNECTIONS),
    ("Store, outbox, sagas", _PROMISES),
    ("Processes", _PROCESSES),
)
