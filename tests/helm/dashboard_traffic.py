"""The dashboard's row about traffic: which endpoint, how much, and what if."""

from .dashboard_panel import Panel


def _per_second(metric: str, by: str, selected: str = "@route") -> tuple[str, str]:
    """The rate of a counter by these labels, which are the legend too."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return f"sum by ({by}) (rate({metric}{{{selected}}}[$__rate_interval]))", legend


TRAFFIC = (
    Panel(
        "Endpoints ejected",
        "In how many pods outlier detection keeps requests from the endpoint. With mode: observe, "
        "in how many it would.",
        (
            (
                "sum by (upstream, endpoint) (proxy_endpoint_ejected{@}) > 0",
                "{{upstream}} {{endpoint}}",
            ),
        ),
    ),
    Panel(
        "Ejections",
        "In five minutes, by what ejected: failures in a row, their rate, or a failed probe.",
        (
            (
                "sum by (upstream, why) (increase(proxy_ejections_total{@}[5m]))",
                "{{upstream}} {{why}}",
            ),
        ),
    ),
    Panel(
        "Failed health checks",
        "Per second, by upstream.",
        (_per_second("proxy_health_checks_total", "upstream", '@, result="failed"'),),
        "ops",
    ),
    Panel(
        "Beyond a rate limit",
        "Requests per second that a limit refused, or would have refused (observed).",
        (_per_second("proxy_rate_limit_total", "limit, result", '@route, result!="allowed"'),),
        "reqps",
    ),
    Panel(
        "Learned limits",
        "What bulkhead.limit: gradient has learned, the average of the pods.",
        (("avg by (name) (proxy_concurrency_limit{@})", "{{name}}"),),
    ),
    Panel(
        "Hedges",
        "Hedged requests per second, by what became of the hedge.",
        (_per_second("proxy_hedges_total", "result"),),
        "reqps",
    ),
    Panel(
        "Injected faults",
        "Attempts per second, by kind.",
        (_per_second("proxy_faults_total", "kind"),),
        "ops",
    ),
    Panel(
        "Mirrored requests",
        "Copies per second, by the mirror's answer.",
        (_per_second("proxy_mirrors_total", "route, result"),),
        "reqps",
    ),
    Panel(
        "Observed",
        "Requests per second that a policy in mode observe would have treated differently.",
        (_per_second("proxy_observed_total", "policy, what"),),
        "reqps",
    ),
)
