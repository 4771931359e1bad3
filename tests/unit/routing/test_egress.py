import pytest

from proxy.config import load_text
from proxy.config.model import EgressConfig
from proxy.routing import EgressRules


def rules(allow: str) -> EgressRules:
    return EgressRules(load_text(f"egress: {{allow: {allow}}}", "f", {}).config.egress)


@pytest.mark.parametrize(
    ("allow", "good", "bad"),
    [
        ('["*"]', [("a", 80), ("::1", 1), ("x.y", 65535)], []),
        ("[]", [], [("a", 80)]),
        ("[a]", [("a", 80), ("a", 443)], [("b", 80), ("x.a", 80), ("", 80)]),
        ("['*.a']", [("x.a", 80), ("y.x.a", 1)], [("a", 80), ("xa", 80)]),
        ("['a:8443']", [("a", 8443)], [("a", 443), ("b", 8443)]),
        ("['*:443']", [("a", 443), ("b.c", 443)], [("a", 80)]),
        ("['*.a:443', b]", [("x.a", 443), ("b", 1)], [("x.a", 80), ("a", 443)]),
        ("['[::1]:80', '[::2]']", [("::1", 80), ("::2", 5)], [("::1", 81), ("::3", 80)]),
        ("[10.0.0.1]", [("10.0.0.1", 1)], [("10.0.0.2", 1)]),
        ("[API.Example]", [("api.example", 443)], []),
    ],
)
def test_authorities(allow, good, bad):
    made = rules(allow)
    assert [at for at in (*good, *bad) if made.allows(*at)] == good


def test_ports_of_connect():
    made = EgressRules(EgressConfig(connect_ports=frozenset({443, 8443})))
    assert [port for port in (80, 443, 8443, 0) if made.connect_port_allowed(port)] == [443, 8443]
    assert not EgressRules(EgressConfig(connect_ports=frozenset())).connect_port_allowed(443)
