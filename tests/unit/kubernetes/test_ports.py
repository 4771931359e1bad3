"""Names of ports: who has them, and what they are called when they had to go."""

import pytest

from proxy.kubernetes.ports import Ports


def taken(*names, name="http"):
    ports = [{"name": other, "containerPort": 9000 + n} for n, other in enumerate(names)]
    spec = {"containers": [{"ports": [{"name": name, "containerPort": 80}, *ports]}]}
    assert Ports(spec).take_over(80) == name
    return spec["containers"][0]["ports"][0]["name"]


def test_the_port_gets_another_name():
    assert taken() == "http-app"


def test_a_name_that_is_taken_gets_a_number():
    assert taken("http-app") == "http-app2"
    assert taken("http-app", "http-app2") == "http-app3"


@pytest.mark.parametrize("name", ["a-long-name-web", "eleven-char", "abcdefghij-klmn"])
def test_names_stay_within_fifteen_characters(name):
    made = taken(name=name)
    assert len(made) <= 15
    assert made.endswith("-app")
    assert "--" not in made


def test_the_protocol_counts():
    spec = {"containers": [{"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}
    assert Ports(spec).take_over(53) is None


def test_probes_of_other_containers_mean_their_own_ports():
    probe = {"httpGet": {"port": "http"}}
    spec = {
        "containers": [
            {"ports": [{"name": "http", "containerPort": 80}]},
            {"readinessProbe": probe, "ports": [{"name": "other", "containerPort": 81}]},
        ]
    }
    Ports(spec).take_over(80)
    assert probe == {"httpGet": {"port": "http"}}


def test_hooks_follow():
    hook = {"httpGet": {"port": "http"}}
    spec = {
        "containers": [
            {"ports": [{"name": "http", "containerPort": 80}], "lifecycle": {"preStop": hook}}
        ]
    }
    Ports(spec).take_over(80)
    assert hook == {"httpGet": {"port": "http-app"}}
