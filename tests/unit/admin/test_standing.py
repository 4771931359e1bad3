"""`explain FILE METHOD URL --admin`: with what a running proxy says of the endpoints."""

import json

import pytest
from unit.admin.test_asking import Server, server  # noqa: F401 - a fixture

from proxy import cli

FILE = """\
upstreams:
  inventory:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]
    load_balancing: consistent_hash
    hash: {header: user-id}
    outlier_detection: {}
routes:
  - {name: stock, upstream: inventory}
"""
OUT = {
    "ejected": True,
    "ejected_for_s": 12.5,
    "ejected_why": "failure-rate",
    "ejections_in_a_row": 1,
}
ROWS = [
    {"address": f"10.0.0.{number}:80", "scheme": "http", "host": f"10.0.0.{number}",
     "weight": 1.0, "health": None, "last_check": None,
     "ejected": False, "avoided": False, **({} if number == 1 else OUT)}
    for number in (1, 2)
]  # fmt: skip


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text(FILE)
    return str(file)


def said(server: Server, document: object) -> str:  # noqa: F811
    server.answers = {"/upstreams": (200, json.dumps(document))}
    return f"http://127.0.0.1:{server.server_port}"


def test_it_is_told_behind_the_destination(server, file, capsys):  # noqa: F811
    url = said(server, {"upstreams": [{"name": "inventory", "endpoints": ROWS}]})
    asked = ["explain", file, "GET", "http://shop/", "-H", "user-id: u1", "--admin", url]
    assert cli.main(asked) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index(f"upstream inventory now, says {url}")
    assert lines[at + 1 : at + 4] == [
        "  10.0.0.1:80  in use; takes this request (hash)",
        "  10.0.0.2:80  ejected for 12.5 s more, then one request decides: failure_rate",
        "",
    ]
    assert cli.main([*asked, "--format", "json"]) == 0
    now = json.loads(capsys.readouterr().out)["now"]
    assert now == {"inventory": {"endpoints": ROWS, "hash": "10.0.0.1:80"}}


def test_an_upstream_that_the_proxy_does_not_have(server, file, capsys):  # noqa: F811
    url = said(server, {"upstreams": []})
    assert cli.main(["explain", file, "GET", "http://shop/", "--admin", url]) == 0
    told = f"{url} has no upstream inventory: it runs with another configuration"
    assert told in capsys.readouterr().out
    assert cli.main(["explain", file, "GET", "http://shop/", "--admin", url, "--format=json"]) == 0
    assert json.loads(capsys.readouterr().out)["now"] == {"inventory": None}


@pytest.mark.parametrize("document", [{}, {"upstreams": 1}, {"upstreams": [{"name": "inventory"}]}])
def test_what_is_no_proxy(server, file, capsys, document):  # noqa: F811
    url = said(server, document)
    assert cli.main(["explain", file, "GET", "http://shop/", "--admin", url]) == 1
    assert f"{url} answers, but is not a resilience proxy" in capsys.readouterr().err


def test_without_a_named_address_no_proxy_is_asked(file, capsys, monkeypatch):
    monkeypatch.setenv("RESILIENCE_PROXY_ADMIN", "127.0.0.1:1")
    assert cli.main(["explain", file, "GET", "http://shop/"]) == 0
    assert "now, says" not in capsys.readouterr().out


def test_no_proxy_answers(file, capsys):
    asked = ["explain", file, "GET", "http://shop/", "--admin", "127.0.0.1:1"]
    assert cli.main(asked) == 1
    assert "no proxy answers at http://127.0.0.1:1" in capsys.readouterr().err
