"""``HTTP_PROXY`` and ``NO_PROXY`` of a container, in both spellings that programs look for."""

from collections.abc import Sequence

from proxy.kubernetes.shape import items_of
from proxy.kubernetes.sidecar import OUTBOUND_PORT, Object

PROXY = f"http://127.0.0.1:{OUTBOUND_PORT}"

NEVER_PROXIED = (
    "localhost",
    "127.0.0.1",
    "::1",
    "169.254.169.254",  # the metadata service of most clouds
    "metadata.google.internal",
    "kubernetes.default.svc",  # the API server has its own TLS and its own retries
    "kubernetes.default.svc.cluster.local",
)

_PROXY_NAMES = ("HTTP_PROXY", "http_proxy")
_NO_PROXY_NAMES = ("NO_PROXY", "no_proxy")


def set_proxy(container: Object, no_proxy: Sequence[str]) -> str | None:
    """Send the container's calls through the sidecar, unless it names a proxy of its own.

    `no_proxy` and what is never sent through it are added to the hosts that the container excludes
    itself. Returns a sentence where they cannot be: its list comes from somewhere else.
    """
    variables = items_of(container, "env")
    if any(variable.get("name") in _PROXY_NAMES for variable in variables):
        return None
    hosts = ",".join(dict.fromkeys((*NEVER_PROXIED, *no_proxy)))
    added = [{"name": name, "value": PROXY} for name in _PROXY_NAMES]
    own = [variable for variable in variables if variable.get("name") in _NO_PROXY_NAMES]
    if not own:
        added += [{"name": name, "value": hosts} for name in _NO_PROXY_NAMES]
        container["env"] = [*variables, *added]
        return None
    for variable in own:
        if isinstance(variable.get("value"), str):
            variable["value"] = _joined(variable["value"], hosts)
    if len(own) == 1:
        (missing,) = (name for name in _NO_PROXY_NAMES if name != own[0]["name"])
        text = own[0].get("value")
        # Of what comes from elsewhere Kubernetes itself makes the text.
        value = text if isinstance(text, str) else _joined(f"$({own[0]['name']})", hosts)
        added.append({"name": missing, "value": value})
    container["env"] = [*variables, *added]
    taken = [variable["name"] for variable in own if not isinstance(variable.get("value"), str)]
    if not taken:
        return None
    return (
        f"the container {container.get('name')} has its {' and '.join(taken)} from elsewhere; "
        f"it should exclude {hosts} too"
    )


def _joined(own: str, hosts: str) -> str:
    return f"{own},{hosts}" if own.strip(", ") else hosts


def unset_proxy(container: Object) -> None:
    """Undo `set_proxy`."""
    variables = items_of(container, "env")
    ours = [index for index, variable in enumerate(variables) if _is_ours(variable)]
    if not ours:
        return
    kept = []
    for index, variable in enumerate(variables):
        if _is_ours(variable):
            continue
        if variable.get("name") in _NO_PROXY_NAMES and isinstance(variable.get("value"), str):
            own = _without_added(variable["value"])
            # What was added stands behind the proxy.
            if own is not None and (index > ours[0] or not own):
                continue
            if own is not None:
                variable["value"] = own
        kept.append(variable)
    container["env"] = kept
    if not kept:
        del container["env"]


def _without_added(value: str) -> str | None:
    """A list of hosts without those that were added to it; None where none were."""
    start = value.rfind(",".join(NEVER_PROXIED[:3]))
    return None if start < 0 else value[:start].removesuffix(",")


def _is_ours(variable: Object) -> bool:
    return variable.get("name") in _PROXY_NAMES and variable.get("value") == PROXY
