"""Advice for common mistakes: what to write instead, for keys and for values.

`suggestions` handles misspelt and foreign words. This file handles what needs a sentence: keys in
the wrong section, and single values in place of a mapping.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from proxy.config.problems import Path
from proxy.config.suggestions import did_you_mean, fold, meant
from proxy.config.traffic_advice import (
    ABSENT,
    IN_ROUTE,
    IN_UPSTREAM,
    ITEMS,
    OFF_BY_ABSENCE,
    UNKNOWN,
)
from proxy.grpc_status import WORDS

ON_WORDS = frozenset({"on", "yes", "true", "enabled"})
OFF_WORDS = frozenset({"off", "no", "false", "none", "disabled"})

_FEW = 8
"""Names that fit into one sentence."""

_COMMON = frozenset({"headers", "name", "policy"})
"""Keys of a route that other sections have too."""

_VAGUE = frozenset({"timeout", "delay", "retries", "rate"})
"""Keys of one section only that usually mean something else."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The existing keys. `sections`: the section of each key that is in one section only."""

    sections: Mapping[str, str] = field(default_factory=dict)
    policy: Collection[str] = ()
    route: Collection[str] = ()
    match: Collection[str] = ()


_OPEN_FOR = "; how long it stays open is open_for: {initial: 30s}"
_ATTEMPT = "; the time of one attempt is timeouts.attempt"
_RATE = "; failures are counted as a rate: failure_rate: 50%, from minimum_calls: 20 on"

# By the key of the mapping around it; the keys are folded.
_UNKNOWN: dict[str, dict[str, str]] = {
    **UNKNOWN,
    "circuit_breaker": {
        "timeout": f"{_OPEN_FOR}, and how long a call may take is timeouts.attempt",
        "resettimeout": _OPEN_FOR,
        "recoverytimeout": _OPEN_FOR,
        "sleepwindow": _OPEN_FOR,
        "breakduration": _OPEN_FOR,
        "consecutivefailures": _RATE,
        "maxfailures": _RATE,
        "failurethreshold": _RATE,
        "enabled": "; write mode: enforce, observe or off",
    },
    "retry": {
        "timeout": _ATTEMPT,
        "delay": "; the wait between attempts is backoff: {initial: 25ms}",
        **dict.fromkeys(("pertrytimeout", "attempttimeout", "pertryidletimeout"), _ATTEMPT),
        **dict.fromkeys(
            ("retries", "numretries", "maxretries"),
            "; did you mean 'attempts'? It includes the first attempt",
        ),
        "enabled": "; attempts: 1 turns retries off",
    },
    "headers": {
        word: f"; did you mean headers: {{request: {{{mend}: ...}}}}, or response?"
        for word, mend in (("set", "set"), ("remove", "remove"), ("add", "set"))
    },
}


def unknown_key(path: Path, known: Collection[str], value: str | None, words: Vocabulary) -> str:
    """Advice for the key at the end of `path`; "" without any.

    `known`: the keys of its mapping. `value`: its value, if it is a single one.
    """
    *around, key = map(str, path)
    return (
        _special(around, key)
        or _elsewhere(around, key, words)
        or ABSENT.get(fold(key), "")
        or _misplaced(around, key, value, words)
        or did_you_mean(key, known)
        or _section(key, words)
    )


def _special(around: list[str], key: str) -> str:
    place = next((step for step in reversed(around) if not step.isdigit()), "")
    if place == "endpoints" and "://" in key:
        return f"; did you mean {{url: '{key}', weight: ...}}?" if key.isprintable() else ""
    folded = fold(key)
    return _UNKNOWN.get(place, {}).get(folded, "")


def _elsewhere(around: list[str], key: str, words: Vocabulary) -> str:
    """A policy's or a route's key, as it is spelled, in another section."""
    if around and around[0] not in ("policies", "routes", "upstreams"):
        return ""
    if key in words.policy:
        return _of_a_policy(key)
    in_route = around and around[0] == "routes"
    return _of_a_route(key) if key in words.route and key not in _COMMON and not in_route else ""


def _of_a_policy(key: str) -> str:
    return (
        f"; it is a policy's key: write policies: {{default: {{{key}: ...}}}} for all "
        "routes, or put it into one route"
    )


def _of_a_route(key: str) -> str:
    return f"; it is a route's key: write routes: [{{name: ..., {key}: ...}}]"


def _misplaced(around: list[str], key: str, value: str | None, words: Vocabulary) -> str:
    if not around:
        return _at_the_root(key, words)
    if len(around) != 2:
        return ""
    if around[0] == "upstreams":
        return IN_UPSTREAM.get(fold(key), "")
    if around[0] not in ("routes", "policies"):
        return ""
    if key in IN_ROUTE and around[1] not in words.policy:
        return IN_ROUTE[key]
    if around[0] == "routes":
        return _in_a_route(key, value, words)
    return _in_a_policy(around[1], key, value, words)


def _section(key: str, words: Vocabulary) -> str:
    section = None if key in _VAGUE else words.sections.get(key)
    if section == "upstreams":
        return f"; it is an upstream's key: write upstreams: {{NAME: {{{key}: ...}}}}"
    return f"; it belongs in '{section}'" if section else ""


def _at_the_root(key: str, words: Vocabulary) -> str:
    if key in ("apiVersion", "kind"):
        return "; of Kubernetes manifests only ConfigMaps are read, by their entries *.yaml"
    if key in ("port", "app_port", "target"):
        return (
            "; the service's port is upstreams: {app: {endpoints: ['http://127.0.0.1:8080']}}, "
            "or run --app PORT"
        )
    policy = meant(key, words.policy)
    if policy and (fold(key) in fold(policy) or fold(policy) in fold(key) or key == "retries"):
        return _of_a_policy(policy)
    if key in words.match:
        return f"; it is a route's key: write routes: [{{name: ..., match: {{{key}: ...}}}}]"
    return _of_a_route(key) if key in words.route else ""


def _in_a_route(key: str, value: str | None, words: Vocabulary) -> str:
    name = key if key in words.match else {"host": "hosts", "method": "methods"}.get(key)
    if name:
        return f"; it belongs in 'match': match: {{{name}: ...}}"
    if key in ("url", "endpoint", "endpoints", "address", "target", "backend"):
        return (
            "; a route names an upstream: upstream: NAME, and the URL is in "
            "upstreams: {NAME: {endpoints: [...]}}"
        )
    return _retries(key, value)


def _in_a_policy(name: str, key: str, value: str | None, words: Vocabulary) -> str:
    if name in words.policy:
        return (
            f"; '{name}' is read as the name of a policy: "
            f"write policies: {{default: {{{name}: {{{key}: ...}}}}}}"
        )
    return _retries(key, value)


def _retries(key: str, value: str | None) -> str:
    if key in ("retries", "max_retries") and value and value.isdigit():
        attempts = int(value[:6]) + 1
        return f"; did you mean retry: {{attempts: {attempts}}}? It includes the first attempt"
    return ""


def no_mapping(path: Path, words: Vocabulary) -> str:
    """Advice for a list in place of a mapping."""
    if len(path) != 2:
        return ""
    section, name = map(str, path)
    if section == "policies" and name in words.policy:
        return (
            f"; '{name}' is read as the name of a policy: write policies: {{default: {{{name}: "
            "...}}"
        )
    return f"; did you mean {name}: {{endpoints: [...]}}?" if section == "upstreams" else ""


def one_value(path: Path, value: str) -> str:
    """Advice for a single value in place of a mapping: the mapping that was meant, or ""."""
    if not value or not value.isprintable() or not path:
        return ""
    if isinstance(path[-1], int):
        item = ITEMS.get(str(path[-2]), _no_item)(value)
        return f"; did you mean {item}?" if item else ""
    key = str(path[-1])
    if key in OFF_BY_ABSENCE and value.lower() in OFF_WORDS:
        return f"; leave {key} out to have none"
    wrap = _WRAPS.get(key)
    if wrap is None and len(path) == 2 and path[0] == "upstreams":
        key, wrap = str(path[1]), _endpoints
    mend = wrap(value) if wrap else ""
    return f"; did you mean {key}: {mend}?" if mend else ""


def _no_item(value: str) -> str:
    return ""


def upstream_name(text: str, known: Collection[str]) -> str:
    """Advice for an unknown upstream: what was meant, or the names that exist."""
    if "://" in text or ":" in text or text.count(".") > 1:
        url = text if "://" in text else f"http://{text}"
        return f"; it is a name: write upstreams: {{NAME: {{endpoints: ['{url}']}}}}, and NAME here"
    names = f"; there are {', '.join(known)}" if len(known) <= _FEW else ""
    return did_you_mean(text, known) or names


def _word(text: str, on: str, off: str) -> str:
    if text.lower() in ON_WORDS:
        return on
    return off if text.lower() in OFF_WORDS else ""


def _endpoints(text: str) -> str:
    return f"{{endpoints: ['{text if '://' in text else f'http://{text}'}']}}"


def _retry(text: str) -> str:
    if text.isdigit():
        return f"{{attempts: {text}}}"
    return _mode(text) or _word(text, "{attempts: 3}", "{attempts: 1}")


def _address(text: str) -> str:
    return f"{{address: {f'127.0.0.1:{text}' if text.isdigit() else text}}}"


def _breaker(text: str) -> str:
    return _mode(text) or _word(text, "{mode: enforce}", "{mode: off}")


def _mode(text: str) -> str:
    return f"{{mode: {text}}}" if text in ("observe", "enforce") else ""


def _starting_with(key: str, is_one: Callable[[str], bool]) -> Callable[[str], str]:
    return lambda text: f"{{{key}: {text}}}" if is_one(text) else ""


def _limit(key: str) -> Callable[[str], str]:
    """An amount, or a mode."""
    amount = _starting_with(key, _is_amount)
    return lambda text: _mode(text) or amount(text)


def _is_amount(text: str) -> bool:
    return text[:1].isdigit()


def _window(text: str) -> str:
    if text.isdigit():
        return f"{{size: {text}}}"
    return f"{{type: time, size: {text}}}" if _is_amount(text) else ""


def _hedge(text: str) -> str:
    if _is_amount(text) or text == "p95":
        return f"{{delay: {text}}}"
    return _word(text, "{delay: p95}", "{delay: 0s}")


def _inherit(text: str) -> str:
    both = "{{deadline: {0}, retries: {0}}}".format
    return _word(text, both("true"), both("false"))


def _failure_rate(text: str) -> str:
    return f"{{rate: {text}}}" if _is_amount(text) else _word(text, "", "none")


def _grpc(text: str) -> str:
    """Of a match or of a fixed answer."""
    if "." in text and not text.startswith("/"):
        return f"{{service: {text}}}"
    word = fold(text)
    return next((f"{{status: {one}}}" for one in WORDS if fold(one) == word), "")


def _health_check(text: str) -> str:
    path = _starting_with("path", _is_path)
    return path(text) or _word(text, "{path: /health}", "")


def _is_path(text: str) -> bool:
    return text.startswith("/")


_WRAPS: dict[str, Callable[[str], str]] = {
    "access_log": lambda text: (
        _word(text, "{requests: all}", "{requests: none}")
        or (f"{{requests: {text}}}" if text in ("all", "errors") else "")
    ),
    "admin": _address,
    "backoff": _starting_with("initial", _is_amount),
    "budget": _starting_with("ratio", _is_amount),
    "bulkhead": _limit("max_concurrent"),
    "circuit_breaker": _breaker,
    "connections": _starting_with("max", _is_amount),
    "drain": _starting_with("timeout", _is_amount),
    "eject_for": _starting_with("initial", _is_amount),
    "failure_rate": _failure_rate,
    "fallback": lambda text: _word(text, "", "none"),
    "grpc": _grpc,
    "half_open": _starting_with("calls", _is_amount),
    "health_check": _health_check,
    "hedge": _hedge,
    "inbound": _address,
    "inherit": _inherit,
    "keepalive": _starting_with("interval", _is_amount),
    "log": lambda text: f"{{level: {text}}}",
    "match": _starting_with("prefix", _is_path),
    "mirror": lambda text: f"{{upstream: {text}}}",
    "open_for": _starting_with("initial", _is_amount),
    "outbound": _address,
    "outlier_detection": lambda text: _mode(text) or _word(text, "{}", ""),
    "respond": _starting_with("status", _is_amount),
    "retry": _retry,
    "rewrite": _starting_with("prefix", _is_path),
    "slow_call": _starting_with("duration", _is_amount),
    "timeouts": _limit("request"),
    "tracing": lambda text: _word(text, "{exporter: otlp}", "{exporter: none}"),
    "window": _window,
}
