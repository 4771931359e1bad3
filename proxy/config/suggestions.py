"""Suggests existing words for unknown ones."""

import re
from collections.abc import Iterable

# Words of Envoy, Istio, Linkerd, Dapr, Resilience4j, Polly and nginx that have another name here,
# in lower case without separators. The first candidate that exists at the place is suggested.
_SYNONYMS = {
    "attempttimeout": ("attempt",),
    "backoffmultiplier": ("multiplier",),
    "backoffpolicy": ("backoff",),
    "baseejectiontime": ("open_for",),
    "baseinterval": ("initial",),
    "adaptive": ("gradient",),
    "aimd": ("gradient",),
    "all": ("any",),
    "bind": ("address",),
    "breaker": ("circuit_breaker",),
    "budgetpercent": ("ratio",),
    "bulkheads": ("bulkhead",),
    "cacert": ("ca",),
    "cafile": ("ca",),
    "certificate": ("cert",),
    "certfile": ("cert",),
    "circuitbreakers": ("circuit_breaker",),
    "clusters": ("upstreams",),
    "cluster": ("upstream",),
    "connectiontimeout": ("connect",),
    "connecttimeout": ("connect",),
    "consecutive5xx": ("failure_rate",),
    "destination": ("upstream",),
    "domains": ("hosts",),
    "duration": ("size", "initial", "max_duration"),
    "exponentialbackoffmultiplier": ("multiplier",),
    "factor": ("multiplier",),
    "fail": ("refuse",),
    "failureratethreshold": ("failure_rate",),
    "failurethreshold": ("failure_rate",),
    "grpc": ("http2",),
    "h2": ("http2",),
    "h2c": ("http2",),
    "host": ("hosts", "address"),
    "idletimeout": ("idle", "idle_timeout"),
    "initialinterval": ("initial",),
    "interval": ("initial", "window"),
    "ip": ("client",),
    "iphash": ("consistent_hash",),
    "keyfile": ("key",),
    "lbpolicy": ("load_balancing",),
    "leastconn": ("least_request",),
    "leastconnections": ("least_request",),
    "listen": ("address",),
    "maglev": ("consistent_hash",),
    "maxattempt": ("attempts",),
    "maxattempts": ("attempts",),
    "maxconcurrentcalls": ("max_concurrent",),
    "maxconnections": ("max", "connections", "max_concurrent"),
    "maxdelay": ("max",),
    "maxejectiontime": ("max",),
    "maxinterval": ("max",),
    "maxparallelrequests": ("max_concurrent",),
    "maxpendingrequests": ("max_queue",),
    "maxrequests": ("max_concurrent",),
    "maxrequestsperconnection": ("max_requests",),
    "maxretries": ("attempts",),
    "maxretry": ("attempts",),
    "maxwaitduration": ("queue_timeout",),
    "maxwaitdurationinhalfopenstate": ("max_wait",),
    "minimumnumberofcalls": ("minimum_calls",),
    "minimumthroughput": ("minimum_calls",),
    "numretries": ("attempts",),
    "path": ("prefix",),
    "pathprefix": ("prefix",),
    "p2c": ("least_request",),
    "peakewma": ("ewma",),
    "permittednumberofcallsinhalfopenstate": ("half_open", "calls"),
    "permittedcalls": ("calls",),
    "pertrytimeout": ("attempt",),
    "port": ("address",),
    "prefixrewrite": ("prefix", "rewrite"),
    "proxies": ("upstreams",),
    "regexp": ("regex",),
    "requesttimeout": ("request",),
    "retries": ("retry", "attempts"),
    "retriablestatuscodes": ("on",),
    "retrybudget": ("budget",),
    "retryon": ("on",),
    "retrypolicy": ("retry",),
    "ringhash": ("consistent_hash",),
    "rule": ("match",),
    "rules": ("routes",),
    "remoteaddr": ("client",),
    "servers": ("endpoints",),
    "slidingwindow": ("window",),
    "slidingwindowsize": ("window", "size"),
    "slidingwindowtype": ("window", "type"),
    "slowcalldurationthreshold": ("slow_call", "duration"),
    "slowcallratethreshold": ("slow_call", "rate"),
    "remoteip": ("client",),
    "sourceip": ("client",),
    "sni": ("server_name",),
    "statuscode": ("status",),
    "statuscodes": ("on",),
    "targets": ("endpoints",),
    "dryrun": ("observe",),
    "learned": ("gradient",),
    "log": ("observe",),
    "monitor": ("observe",),
    "panic": ("use-all",),
    "permissive": ("observe",),
    "reportonly": ("observe",),
    "shadow": ("observe",),
    "threshold": ("failure_rate", "rate"),
    "timeout": ("timeouts", "request"),
    "total": ("request",),
    "overall": ("request",),
    "tries": ("attempts",),
    "trialcalls": ("calls",),
    "url": ("endpoints",),
    "urls": ("endpoints",),
    "vegas": ("gradient",),
    "verb": ("methods",),
    "verbs": ("methods",),
    "waitduration": ("initial",),
    "waitdurationinopenstate": ("open_for", "initial"),
}


def meant(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    names = list(known)
    folded = fold(word)
    for name in names:
        if fold(name) == folded:
            return name
    for name in _SYNONYMS.get(folded, ()):
        if name in names:
            return name
    from difflib import get_close_matches  # here, because a running proxy does not need it

    close = get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'attempts'?``, or nothing."""
    name = meant(word, known)
    return f"; did you mean '{name}'?" if name else ""


def fold(word: str) -> str:
    """Without case and separators, which differ between spellings."""
    return re.sub(r"[^a-z0-9]", "", word.lower())
