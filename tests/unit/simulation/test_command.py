"""The command: its table, JSON and page, and what it says where it can do nothing."""

import json
from xml.etree import ElementTree

import pytest
from unit.simulation.lines import attempt, line

from proxy.cli import main

FILE = """
service: simulated
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies: {default: {circuit_breaker: {mode: off}, retry: {budget: {min_per_second: 99}}}}
routes:
  - {name: gold, match: {headers: {x-tenant: gold}}, upstream: shop}
  - {name: shop, upstream: shop, retry: {attempts: %d, backoff: {jitter: none}}}
"""


@pytest.fixture
def files(tmp_path):
    log = tmp_path / "access.log"
    tried = [line(n, attempt(5.0, 503), attempt(3.0, wait=25.0)) for n in range(20)]
    log.write_text("\n".join(["started", *tried]))
    for name, attempts in (("now.yaml", 3), ("then.yaml", 1)):
        (tmp_path / name).write_text(FILE % attempts)
    return tmp_path


def simulate(files, *more):
    return main(["simulate", "--log", str(files / "access.log"), *more])


def test_the_table(files, capsys):
    given = ("--config", str(files / "now.yaml"), "--against", str(files / "then.yaml"))
    assert simulate(files, *given) == 0
    rows = [one.split() for one in capsys.readouterr().out.splitlines()]
    assert ["route", "shop", "log", "now.yaml", "then.yaml"] in rows
    assert ["answered", "20", "20", "0"] in rows
    assert ["upstream's", "503", "0", "0", "20"] in rows
    assert ["retries", "20", "20", "0"] in rows
    assert ["shop", "10.0.0.1:80", "40", "40", "20"] in rows


def test_it_says_what_it_cannot_know(files, capsys):
    simulate(files, "--config", str(files / "now.yaml"))
    said = capsys.readouterr().out
    assert "no request goes to gold: the log has no headers and no query to match." in said
    assert "40 attempts had the outcome that the log has for them; 0 (0%)" in said


def test_what_happens_in_virtual_time_is_not_logged_as_if_it_happened_now(files, caplog, capsys):
    config = files / "then.yaml"
    two = config.read_text().replace(
        '["http://10.0.0.1:80"]',
        '["http://10.0.0.1:80", "http://10.0.0.2:80"], '
        "outlier_detection: {consecutive_failures: 1}",
    )
    config.write_text(two)
    assert simulate(files, "--config", str(config)) == 0
    assert "ejections" in capsys.readouterr().out
    assert caplog.messages == []


def test_json(files, capsys):
    assert simulate(files, "--config", str(files / "then.yaml"), "--format", "json") == 0
    made = json.loads(capsys.readouterr().out)
    log, then = (one["routes"][0] for one in made["results"])
    assert (made["requests"], made["results"][1]["name"]) == (20, "then.yaml")
    assert (log["answered"], then["answered"]) == (20, 0)
    assert then["reasons"] == {"upstream's 503": 20}
    assert [one["ejections"] for one in made["results"]] == [None, {}]


def test_json_has_the_ejections(files, capsys):
    config = files / "then.yaml"
    endpoints = '["http://10.0.0.1:80", "http://10.0.0.2:80"], '
    detection = "outlier_detection: {consecutive_failures: 1}"
    text = config.read_text().replace('["http://10.0.0.1:80"]', endpoints + detection)
    config.write_text(text)
    simulate(files, "--config", str(config), "--format", "json")
    _, then = json.loads(capsys.readouterr().out)["results"]
    assert then["ejections"]["shop"] >= 1


def test_the_page_stands_alone(files, capsys):
    page = files / "page.html"
    given = ("--config", str(files / "now.yaml"), "--against", str(files / "then.yaml"))
    assert simulate(files, *given, "--html", str(page)) == 0
    text = page.read_text()
    assert "http://" not in text.replace("10.0.0.1", "")
    assert "<script" not in text
    assert text.count("<polyline") == 9
    for start in text.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + start.split("</svg>")[0] + "</svg>")


def test_names_of_files_do_not_become_markup(files, capsys):
    (files / "now.yaml").rename(files / "<b>&.yaml")
    page = files / "page.html"
    simulate(files, "--config", str(files / "<b>&.yaml"), "--html", str(page))
    assert "&lt;b&gt;&amp;.yaml" in page.read_text()
    assert "<b>" not in page.read_text()


def test_the_same_name_twice_is_told_apart(files, capsys):
    same = str(files / "now.yaml")
    assert simulate(files, "--config", same, "--against", same) == 0
    assert "now.yaml (--against)" in capsys.readouterr().out


def test_a_log_without_requests(files, capsys):
    (files / "access.log").write_text("nothing\n")
    assert simulate(files, "--config", str(files / "now.yaml")) == 1
    assert "access_log: {requests: all}" in capsys.readouterr().err


def test_a_log_of_errors_alone_is_told(files, capsys):
    simulate(files, "--config", str(files / "now.yaml"))
    assert "Each request of the log had trouble" in capsys.readouterr().out
    with (files / "access.log").open("a") as log:
        log.write("\n" + line(30.0))
    simulate(files, "--config", str(files / "now.yaml"))
    assert "had trouble" not in capsys.readouterr().out


def test_lines_that_cannot_be_read_are_told_with_the_first_ones_number(files, capsys):
    with (files / "access.log").open("ab") as log:
        log.write(b'\n\xff\xfe{"attempts"\n' + line(30.0)[:-9].encode())
    assert simulate(files, "--config", str(files / "now.yaml")) == 0
    assert "lines that could not be read: 2, the first is line 22." in capsys.readouterr().out


def test_a_log_that_is_not_there(files, capsys):
    (files / "access.log").unlink()
    assert simulate(files, "--config", str(files / "now.yaml")) == 1
    assert "access.log" in capsys.readouterr().err


def test_a_bad_file_is_refused_with_its_problems(files, capsys):
    (files / "then.yaml").write_text("routes: 1\n")
    given = ("--config", str(files / "now.yaml"), "--against", str(files / "then.yaml"))
    assert simulate(files, *given) == 2
    assert "then.yaml:1:9" in capsys.readouterr().err
