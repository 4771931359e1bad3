"""A pod and its sidecar: what is added, what is left alone, and that twice is the same as once."""

from copy import deepcopy

import pytest

from proxy import __version__
from proxy.kubernetes.environment import NEVER_PROXIED, PROXY
from proxy.kubernetes.pod import inject
from proxy.kubernetes.settings import Mistakes, Settings
from proxy.kubernetes.shape import Malformed
from proxy.kubernetes.sidecar import service_pre_stop

NATIVE, LEGACY = Settings(), Settings(legacy=True)


def annotate(pod, **texts):
    annotations = pod["metadata"].setdefault("annotations", {})
    annotations |= {f"resilience-proxy/{k.replace('_', '-')}": v for k, v in texts.items()}
    return pod


def main_of(pod):
    (found,) = [c for c in pod["spec"]["containers"] if c["name"] == "main"]
    return found


def variables(container):
    return {variable["name"]: variable["value"] for variable in container.get("env", [])}


# --- where it stands ----------------------------------------------------------------------------


def test_a_native_sidecar_stands_before_the_init_containers(pod):
    pod["spec"]["initContainers"] = [{"name": "migrate", "image": "m"}]
    assert inject(pod, NATIVE).skipped is None
    first, second = pod["spec"]["initContainers"]
    assert (first["name"], first["restartPolicy"]) == ("resilience-proxy", "Always")
    assert second["name"] == "migrate"
    assert [c["name"] for c in pod["spec"]["containers"]] == ["main"]
    assert pod["metadata"]["annotations"] == {"resilience-proxy/injected": __version__}


def test_a_legacy_one_before_the_containers(pod):
    inject(pod, LEGACY)
    assert [c["name"] for c in pod["spec"]["containers"]] == ["resilience-proxy", "main"]
    assert "initContainers" not in pod["spec"]
    default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"]
    assert default == "main", "kubectl logs and exec take the first container otherwise"


def test_a_config_map_is_a_volume(pod):
    pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    inject(annotate(pod, config_map="policies"), NATIVE)
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == [
        "data",
        "resilience-proxy-config",
    ]


def test_the_service_is_named_after_the_pods_label(pod):
    inject(pod, NATIVE)
    assert variables(pod["spec"]["initContainers"][0]) == {"OTEL_SERVICE_NAME": "orders"}


@pytest.mark.parametrize(
    ("labels", "settings", "name"),
    [
        ({"app": "a", "app.kubernetes.io/name": "b"}, NATIVE, "b"),
        ({"app": "a"}, Settings(service="c"), "c"),
        ({}, NATIVE, None),
        (None, NATIVE, None),
    ],
)
def test_names_of_the_service(pod, labels, settings, name):
    pod["metadata"]["labels"] = labels
    inject(pod, settings)
    assert variables(pod["spec"]["initContainers"][0]).get("OTEL_SERVICE_NAME") == name


# --- the service's containers -------------------------------------------------------------------


def test_calls_go_out_through_the_sidecar(pod):
    inject(annotate(pod, no_proxy="db.test,localhost"), NATIVE)
    found = variables(main_of(pod))
    assert found["HTTP_PROXY"] == found["http_proxy"] == PROXY
    assert found["NO_PROXY"] == found["no_proxy"]
    hosts = found["NO_PROXY"].split(",")
    assert {"localhost", "127.0.0.1", "::1", "169.254.169.254", "db.test"} <= set(hosts)
    assert "kubernetes.default.svc" in hosts
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
def test_a_proxy_of_its_own_stays(pod, name):
    own = [{"name": name, "value": "http://corporate:3128"}]
    main_of(pod)["env"] = deepcopy(own)
    inject(pod, NATIVE)
    assert main_of(pod)["env"] == own


SAFE = ",".join(NEVER_PROXIED)


@pytest.mark.parametrize("names", [["NO_PROXY"], ["no_proxy"], ["no_proxy", "NO_PROXY"]])
def test_hosts_of_its_own_get_the_safe_ones_beside_them(pod, names):
    own = [{"name": name, "value": "mine.test"} for name in names]
    main_of(pod)["env"] = deepcopy(own)
    before = deepcopy(pod)
    inject(pod, Settings(no_proxy=("too.test",)))
    found = variables(main_of(pod))
    assert found["HTTP_PROXY"] == PROXY
    assert found["NO_PROXY"] == found["no_proxy"] == f"mine.test,{SAFE},too.test"
    again = deepcopy(pod)
    inject(again, Settings(no_proxy=("too.test",)))
    assert again == pod
    inject(pod, Settings(http_proxy=False))
    assert main_of(pod)["env"] == own
    assert main_of(pod) == main_of(before) | {"lifecycle": main_of(pod)["lifecycle"]}


def test_hosts_that_come_from_elsewhere_are_told(pod):
    source = {"configMapKeyRef": {"name": "hosts", "key": "no-proxy"}}
    own = {"name": "NO_PROXY", "valueFrom": source}
    main_of(pod)["env"] = [deepcopy(own)]
    (warning,) = inject(pod, NATIVE).warnings
    assert "the container main gets NO_PROXY from another object" in warning
    env = main_of(pod)["env"]
    assert env[0] == own
    assert {"name": "no_proxy", "value": f"$(NO_PROXY),{SAFE}"} in env
    inject(pod, Settings(http_proxy=False))
    assert main_of(pod)["env"] == [own]


def test_without_proxy_variables(pod):
    inject(pod, Settings(http_proxy=False))
    assert "env" not in main_of(pod)


def test_init_containers_use_a_sidecar_that_runs_before_them(pod):
    pod["spec"]["initContainers"] = [{"name": "migrate", "image": "m"}]
    other = deepcopy(pod)
    inject(pod, NATIVE)
    assert variables(pod["spec"]["initContainers"][1])["HTTP_PROXY"] == PROXY
    inject(other, LEGACY)
    assert "env" not in other["spec"]["initContainers"][0], "it would have no proxy yet"


def test_other_sidecars_are_left_alone(pod):
    others = {
        "initContainers": [{"name": "agent", "image": "a", "restartPolicy": "Always"}],
        "containers": [{"name": "istio-proxy", "image": "i"}],
    }
    pod["spec"]["initContainers"] = deepcopy(others["initContainers"])
    pod["spec"]["containers"] += deepcopy(others["containers"])
    inject(pod, NATIVE)
    assert pod["spec"]["initContainers"][1:] == others["initContainers"]
    assert pod["spec"]["containers"][1:] == others["containers"]


def test_containers_can_be_named(pod):
    pod["spec"]["containers"].append({"name": "worker", "image": "w"})
    inject(annotate(pod, containers="worker"), NATIVE)
    assert "env" not in main_of(pod)
    assert "lifecycle" not in main_of(pod)
    assert "HTTP_PROXY" in variables(pod["spec"]["containers"][1])


def test_containers_that_are_not_there(pod):
    with pytest.raises(Mistakes, match="no container nobody"):
        inject(annotate(pod, containers="main,nobody"), NATIVE)


# --- going away ---------------------------------------------------------------------------------


def test_sigterm_is_held_back_from_the_service(pod):
    inject(pod, NATIVE)
    assert main_of(pod)["lifecycle"] == {"preStop": service_pre_stop()}


def test_a_hook_of_its_own_stays(pod):
    own = {"preStop": {"exec": {"command": ["sleep", "10"]}}}
    main_of(pod)["lifecycle"] = deepcopy(own)
    inject(pod, NATIVE)
    assert main_of(pod)["lifecycle"] == own


def test_another_hook_stays_beside_it(pod):
    main_of(pod)["lifecycle"] = {"postStart": {"exec": {"command": ["true"]}}}
    inject(pod, NATIVE)
    assert set(main_of(pod)["lifecycle"]) == {"postStart", "preStop"}


def test_without_the_hook(pod):
    inject(annotate(pod, pre_stop="false"), NATIVE)
    assert "lifecycle" not in main_of(pod)


def test_what_is_meant_to_end_is_not_held_up(pod):
    pod["spec"]["restartPolicy"] = "Never"
    inject(pod, NATIVE)
    assert "lifecycle" not in main_of(pod)
    assert "HTTP_PROXY" in variables(main_of(pod))


@pytest.mark.parametrize(
    ("had", "drain", "known", "has"),
    [
        (None, "25s", 0, None),
        (10, "25s", 0, 30),
        (30, "25s", 0, 30),
        (None, "40.5s", 0, 46),
        (120, "40s", 0, 120),
        (None, "25s", 60.0, 65),
        (0, "0s", 0, 5),
    ],
)
def test_the_grace_period_is_longer_than_the_drain(pod, had, drain, known, has):
    if had is not None:
        pod["spec"]["terminationGracePeriodSeconds"] = had
    inject(annotate(pod, drain_timeout=drain), NATIVE, drain_timeout=known)
    assert pod["spec"].get("terminationGracePeriodSeconds") == has


# --- inbound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["8080", "http"])
@pytest.mark.parametrize("settings", [NATIVE, LEGACY])
def test_a_named_port_leads_to_the_sidecar(pod, port, settings):
    main_of(pod)["readinessProbe"] = {"httpGet": {"path": "/", "port": "http"}}
    main_of(pod)["livenessProbe"] = {"httpGet": {"path": "/", "port": 8080}}
    main_of(pod)["startupProbe"] = {"tcpSocket": {"port": "http"}}
    assert inject(annotate(pod, app_port=port), settings).app_port == 8080
    made = pod["spec"]["containers" if settings.legacy else "initContainers"][0]
    assert made["ports"][0] == {"name": "http", "containerPort": 7071, "protocol": "TCP"}
    assert variables(made)["RESILIENCE_PROXY_APP_PORT"] == "8080"
    main = main_of(pod)
    assert main["ports"] == [{"name": "http-app", "containerPort": 8080}]
    assert main["readinessProbe"]["httpGet"]["port"] == "http-app"
    assert main["startupProbe"]["tcpSocket"]["port"] == "http-app"
    assert main["livenessProbe"]["httpGet"]["port"] == 8080


def test_without_it_no_inbound_traffic_is_touched(pod):
    before = deepcopy(main_of(pod)["ports"])
    assert inject(pod, NATIVE).app_port is None
    assert main_of(pod)["ports"] == before


def test_a_port_that_no_container_lists(pod):
    assert inject(annotate(pod, app_port="3000"), NATIVE).app_port == 3000
    assert pod["spec"]["initContainers"][0]["ports"][0]["name"] == "proxy-in"
    assert main_of(pod)["ports"][0]["name"] == "http"


@pytest.mark.parametrize("port", ["nobody", "7071"])
def test_a_port_that_cannot_be(pod, port):
    before = deepcopy(annotate(pod, app_port=port))
    with pytest.raises(Mistakes, match="app-port"):
        inject(pod, NATIVE)
    assert pod == before


# --- whether at all -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said", "injected"),
    [
        (NATIVE, None, True),
        (NATIVE, "enabled", True),
        (NATIVE, "disabled", False),
        (Settings(inject=False), None, False),
        (Settings(inject=False), "enabled", True),
    ],
)
def test_opting_in_and_out(pod, settings, said, injected):
    if said is not None:
        annotate(pod, inject=said)
    before = deepcopy(pod)
    done = inject(pod, settings)
    assert (done.skipped is None) == injected == (pod != before)
    assert done.warnings == []


OBSTACLES = [
    ({"hostNetwork": True}, NATIVE, "hostNetwork"),
    ({"os": {"name": "windows"}}, NATIVE, "Windows"),
    ({"nodeSelector": {"kubernetes.io/os": "windows"}}, NATIVE, "Windows"),
    ({"restartPolicy": "OnFailure"}, LEGACY, "keep it from ending"),
    ({"initContainers": [{"name": "resilience-proxy"}]}, NATIVE, "not injected"),
    ({"initContainers": [{"name": "x", "ports": [{"containerPort": 7072}]}]}, NATIVE, "port 7072"),
]


@pytest.mark.parametrize(("more", "settings", "told"), OBSTACLES)
def test_pods_that_cannot_have_one_stay_as_they_are(pod, more, settings, told):
    pod["spec"] |= deepcopy(more)
    before = deepcopy(pod)
    done = inject(pod, settings)
    assert told in done.skipped
    assert told in done.warnings[0]
    assert pod == before


@pytest.mark.parametrize(("more", "settings", "told"), OBSTACLES)
def test_that_is_an_error_where_they_ask_for_one(pod, more, settings, told):
    pod["spec"] |= deepcopy(more)
    with pytest.raises(Mistakes, match=told):
        inject(annotate(pod, inject="enabled"), settings)


def test_all_mistakes_are_told_together(pod):
    pod["spec"]["hostNetwork"] = True
    annotate(pod, inject="enabled", legacy="maybe", containers="nobody", app_port="web")
    annotate(pod, memory_request="1Gi")
    before = deepcopy(pod)
    with pytest.raises(Mistakes) as caught:
        inject(pod, NATIVE)
    told = [str(one).partition(":")[0] for one in caught.value.found]
    assert told == ["legacy", "it has hostNetwork", "memory-request", "containers", "app-port"]
    assert pod == before


def test_what_its_workload_says_counts_where_the_template_says_nothing(pod):
    above = {"resilience-proxy/service": "above", "resilience-proxy/image": "above:1"}
    inject(annotate(pod, image="own:1"), NATIVE, above=above)
    made = pod["spec"]["initContainers"][0]
    assert (made["image"], variables(made)["OTEL_SERVICE_NAME"]) == ("own:1", "above")


def test_annotations_that_mean_nothing_are_told(pod):
    assert "app-prot" in inject(annotate(pod, app_prot="1"), NATIVE).warnings[0]


ANNOTATED = {"annotations": {"resilience-proxy/injected": "0.1.0"}}


@pytest.mark.parametrize(
    "pod",
    [
        {"metadata": {}, "spec": {}},
        {"metadata": {}, "spec": {"containers": []}},
        {"metadata": {}, "spec": {"containers": "main"}},
        {"metadata": {}, "spec": {"containers": ["main"]}},
        {"metadata": [], "spec": {"containers": [{}]}},
        {"metadata": {"annotations": {"a": True}}, "spec": {"containers": [{}]}},
        {"metadata": {}, "spec": {"containers": [{"ports": 1}]}},
        {"metadata": {}, "spec": {"containers": [{"env": {}}]}},
        {"metadata": {}, "spec": {"containers": [{"lifecycle": []}]}},
        {"metadata": {}, "spec": {"containers": [{}], "volumes": {}}},
        {"metadata": {}, "spec": {"containers": [{}], "terminationGracePeriodSeconds": "30"}},
        {"metadata": {}, "spec": {"containers": [{"name": ["main"]}]}},
        {"metadata": {}, "spec": {"containers": [{"name": {}}]}},
        {"metadata": {}, "spec": {"containers": [{}], "initContainers": [{"env": "x"}]}},
        {"metadata": {}, "spec": {"containers": [{"env": [{"name": 1}]}]}},
        {"metadata": {}, "spec": {"containers": [{"ports": [{"containerPort": [7070]}]}]}},
        {"metadata": {}, "spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}},
        {
            "metadata": {},
            "spec": {"containers": [{"ports": [{"containerPort": 80, "name": "p"}, {"name": []}]}]},
        },
        {"metadata": ANNOTATED, "spec": {"containers": [{"lifecycle": "x"}]}},
        {"metadata": ANNOTATED, "spec": {"containers": [{"name": "resilience-proxy"}]}},
    ],
)
@pytest.mark.parametrize("settings", [Settings(config_map="x", app_port=80), LEGACY])
def test_what_is_no_pod(pod, settings):
    before = deepcopy(pod)
    with pytest.raises(Malformed):
        inject(pod, settings)
    assert pod == before


@pytest.mark.parametrize("legacy", [True, False])
def test_null_is_kubernetes_default(legacy):
    pod = {
        "metadata": {},
        "spec": {
            "restartPolicy": None,
            "containers": [
                {"name": "main", "ports": [{"name": "p", "containerPort": 80, "protocol": None}]}
            ],
        },
    }
    done = inject(pod, Settings(app_port="p", legacy=legacy))
    assert (done.skipped, done.app_port) == (None, 80)
    main = pod["spec"]["containers"][-1]
    assert "preStop" in main["lifecycle"]
    assert main["ports"][0]["name"] == "p-app"


# --- twice --------------------------------------------------------------------------------------

VARIED = [
    NATIVE,
    LEGACY,
    Settings(config_map="a", app_port="http", no_proxy=("x.test",)),
    Settings(config_map="b", app_port=8080, legacy=True),
    Settings(http_proxy=False, pre_stop=False, image="other:2"),
]


@pytest.mark.parametrize("settings", VARIED)
def test_twice_is_the_same_as_once(pod, settings):
    main_of(pod)["readinessProbe"] = {"httpGet": {"path": "/", "port": "http"}}
    main_of(pod)["env"] = [{"name": "A", "value": "1"}]
    inject(pod, settings)
    once = deepcopy(pod)
    inject(pod, settings)
    assert pod == once


@pytest.mark.parametrize("before", VARIED)
@pytest.mark.parametrize("after", VARIED)
def test_an_older_injection_is_replaced_without_a_trace(pod, before, after):
    # The settings of the second run decide, whatever the first had made.
    main_of(pod)["readinessProbe"] = {"httpGet": {"path": "/", "port": "http"}}
    fresh = deepcopy(pod)
    inject(pod, before)
    pod["metadata"]["annotations"]["resilience-proxy/injected"] = "0.0.1"
    inject(pod, after)
    inject(fresh, after)
    pod["metadata"]["annotations"].pop("kubectl.kubernetes.io/default-container", None)
    fresh["metadata"]["annotations"].pop("kubectl.kubernetes.io/default-container", None)
    assert pod == fresh
