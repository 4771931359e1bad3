"""The commands that start nothing, in this process and as users call them."""

import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from proxy import __version__, cli, commands
from proxy.command_line.parser import make_parser

ROOT = Path(__file__).parents[2]
BAD = "routes:\n  - name: a\n    retry: {max_attempt: 3}\ndrain: {delay: 5}\n"


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "proxy.yaml"
        path.write_text(text)
        return str(path)

    return write


def called(*arguments: str, **options):
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments], capture_output=True, text=True, **options
    )


def test_check_of_a_good_file_shows_its_routes(file, capsys):
    path = file(
        "routes: [{name: stock, match: {prefix: /api}}, {name: x, match: {prefix: /api/y}}]"
    )
    assert cli.main(["check", path]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{path}: valid; 2 routes, 1 upstream, 2 policies, 1 warning\n")
    assert "stock" in shown.out
    assert (
        f"{path}:1:55: warning: routes[1]: can never match: the earlier route 'stock'" in shown.err
    )


def test_check_of_a_bad_file_shows_all_problems_and_nothing_else(file, capsys):
    path = file(BAD)
    assert cli.main(["check", path]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"{path}:3:13: routes[0].retry.max_attempt: unknown key; did you mean 'attempts'?\n"
        f"{path}:4:16: drain.delay: 5 has no unit; "
        "did you mean 5us or 5ms or 5s or 5m or 5h or 5d?\n"
    )


def test_explain(file, capsys):
    path = file("routes: [{name: gold, match: {headers: {x-tenant: gold}}}]")
    assert cli.main(["explain", path, "GET", "http://a/", "-H", "X-Tenant: gold"]) == 0
    assert "> 1. gold" in capsys.readouterr().out
    assert cli.main(["explain", path, "GET", "/", "--listener", "inbound"]) == 0
    assert "> 1. default-inbound" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("get", "/"), ("GET", "x"), ("GET", "/", "-H", "x")])
def test_explain_of_no_request_is_bad_usage(arguments, file, capsys):
    assert cli.main(["explain", file(""), *arguments]) == 2
    assert capsys.readouterr().err.startswith("resilience-proxy: ")


def test_explain_of_a_bad_file_is_bad_configuration(file, capsys):
    assert cli.main(["explain", file(BAD), "GET", "/"]) == 2
    assert "unknown key" in capsys.readouterr().err


def test_schema_is_json(capsys):
    assert cli.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["routes"]


@pytest.mark.parametrize(
    "arguments",
    [(), ("nothing",), ("check",), ("run", "--nothing"), ("demo", "--duration", "30"),
     ("demo", "--duration", "0s"), ("drain", "--admin", "host"),
     ("top", "--admin", "ftp://h:1"), ("drain", "--admin", "7072"), ("run", "--outbound", "7070"),
     ("run", "--app", "localhost:8080"), ("check", "a", "--config", "b"),
     ("top", "--iterations", "0"),
     ("top", "--once", "--iterations", "2"), ("explain", "a", "GET"), ("explain", "--request-id")],
)  # fmt: skip
def test_bad_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    assert raised.value.code == 2
    assert "usage: resilience-proxy" in capsys.readouterr().err


COMMANDS = re.findall(r"^    ([a-z]+)(?: |$)", make_parser().format_help(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main([command, "-h"])
    assert raised.value.code == 0
    assert f"usage: resilience-proxy {command}" in capsys.readouterr().out


def test_the_help_names_every_command_and_the_exit_statuses(capsys):
    with pytest.raises(SystemExit):
        cli.main(["-h"])
    shown = capsys.readouterr().out
    assert len(COMMANDS) >= 13
    for word in ("run", "check", "explain", "demo", "drain", "top", "schema", "Exit status"):
        assert word in shown


def test_a_command_does_not_load_what_others_need():
    code = (
        "import sys; from proxy import cli; cli.main(['schema']);"
        "others = {'proxy.kubernetes', 'proxy.completion', 'urllib.request'};"
        "sys.exit(bool(others & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0


@pytest.fixture
def started(monkeypatch):
    """A stand-in for the application: what `run` was called with."""
    calls = []
    app = types.ModuleType("proxy.app")
    app.run = lambda loaded: calls.append(loaded) or 3
    monkeypatch.setitem(sys.modules, "proxy.app", app)
    monkeypatch.setattr("proxy.app", app, raising=False)
    return calls


def test_run_takes_the_file_it_is_given_first(started, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(commands.CONFIG_VARIABLE, raising=False)
    assert cli.main(["run"]) == 3
    (tmp_path / "config").mkdir()
    (tmp_path / "config/proxy.yaml").write_text("service: usual")
    assert cli.main(["run"]) == 3
    monkeypatch.setenv(commands.CONFIG_VARIABLE, file("service: named"))
    assert cli.main(["run"]) == 3
    given = tmp_path / "given.yaml"
    given.write_text("service: given")
    assert cli.main(["run", "--config", str(given)]) == 3
    assert [loaded.filename for loaded in started] == [
        None,
        "config/proxy.yaml",
        str(tmp_path / "proxy.yaml"),
        str(given),
    ]
    assert [loaded.config.service for loaded in started][1:] == ["usual", "named", "given"]


def test_run_prints_warnings_and_goes_on(started, file, capsys):
    assert cli.main(["run", "--config", file("policies: {gold: {}}")]) == 3
    assert "warning: policies.gold: no route uses it" in capsys.readouterr().err


def test_run_does_not_start_with_a_bad_file(started, file, monkeypatch, capsys):
    assert cli.main(["run", "--config", file(BAD)]) == 2
    monkeypatch.setenv(commands.CONFIG_VARIABLE, "/no/such/file.yaml")
    assert cli.main(["run"]) == 2
    assert "/no/such/file.yaml:1:1: cannot be read: No such file" in capsys.readouterr().err
    assert started == []


def test_drain_and_demo_are_called_with_their_options(monkeypatch):
    from proxy import admin, demo

    client = types.ModuleType("proxy.admin.client")
    client.drain = lambda url: {"http://127.0.0.1:7072": 0, "http://h:1": 3}[url]
    monkeypatch.setitem(sys.modules, "proxy.admin.client", client)
    monkeypatch.setattr(admin, "client", client, raising=False)
    assert cli.main(["drain"]) == 0
    assert cli.main(["drain", "--admin", "http://h:1/"]) == 3
    runs = []
    monkeypatch.setattr(demo, "run", lambda seconds, **which: runs.append((seconds, which)) or 0)
    assert cli.main(["demo"]) == cli.main(["demo", "--duration", "1.5s", "--faults"]) == 0
    assert cli.main(["demo", "--saga"]) == 0
    with pytest.raises(SystemExit):
        cli.main(["demo", "--saga", "--faults"])
    assert runs == [
        (30.0, {"faults": False, "saga": False}),
        (1.5, {"faults": True, "saga": False}),
        (30.0, {"faults": False, "saga": True}),
    ]


def test_top_is_called_with_its_options(monkeypatch):
    from proxy import top

    calls = []
    monkeypatch.setattr(top, "run", lambda *given, as_json: calls.append((*given, as_json)) or 0)
    assert cli.main(["top"]) == cli.main(["top", "--once", "--interval", "500ms"]) == 0
    assert cli.main(["top", "--iterations", "3", "--admin", "http://h:1/", "--format=json"]) == 0
    here = "http://127.0.0.1:7072"
    assert calls == [
        (here, 1.0, None, False),
        (here, 0.5, 1, False),
        ("http://h:1", 1.0, 3, True),
    ]


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("h:1", "http://h:1"),
        ("https://h:1/", "https://h:1"),
        ("0.0.0.0:7072", "http://127.0.0.1:7072"),
        ("[::]:7072", "http://127.0.0.1:7072"),
        ("[::1]:7072", "http://[::1]:7072"),
    ],
)
def test_the_admin_address_by_flag_or_environment(given, asked, monkeypatch):
    from proxy.admin import past

    calls = []
    monkeypatch.setattr(past, "explain_request", lambda *given: calls.append(given[0]) or 0)
    assert cli.main(["explain", "--request-id", "a", "--admin", given]) == 0
    monkeypatch.setenv("RESILIENCE_PROXY_ADMIN", given)
    assert cli.main(["explain", "--request-id", "a"]) == 0
    assert cli.main(["explain", "--request-id", "a", "--admin", "other:1"]) == 0
    assert calls == [asked, asked, "http://other:1"]


def test_a_wrong_admin_address_of_the_environment_is_named(monkeypatch, capsys):
    monkeypatch.setenv("RESILIENCE_PROXY_ADMIN", "7072")
    with pytest.raises(SystemExit) as raised:
        cli.main(["drain"])
    assert raised.value.code == 2
    told = "$RESILIENCE_PROXY_ADMIN: '7072' has no host; write 127.0.0.1:7072"
    assert told in capsys.readouterr().err


def test_check_judges_each_file_alone_or_all_as_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("policies: {slow: {timeouts: {request: 9s}}}")
    Path("b.yaml").write_text("routes: [{name: r, policy: slow}]")
    assert cli.main(["check", "--config", "a.yaml", "--config=b.yaml"]) == 0
    assert capsys.readouterr().out.startswith("a.yaml:b.yaml: valid; 1 route")
    assert cli.main(["check", "a.yaml", "b.yaml"]) == 2
    shown = capsys.readouterr()
    assert shown.out.startswith("a.yaml: valid")
    assert "b.yaml:1:28: routes[0].policy: there is no policy 'slow'" in shown.err
    assert cli.main(["explain", "--config", "a.yaml", "--config", "b.yaml", "GET", "/"]) == 0
    assert "9s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["check", "a.yaml", "--strict", "b.yaml"],
        ["check", "a.yaml", "--format", "text", "b.yaml", "--strict"],
        ["check", "--strict", "a.yaml", "--format=text", "b.yaml"],
    ],
)
def test_files_may_stand_on_both_sides_of_an_option(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("{}")
    Path("b.yaml").write_text("{}")
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert re.findall(r"^(\S+): valid", out, re.M) == ["a.yaml", "b.yaml"]
    assert not err


def test_manifests_may_stand_on_both_sides_of_an_option(tmp_path, monkeypatch, capsysbinary):
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        Path(name).write_text(f"kind: Service\nmetadata: {{name: {name}}}\n")
    assert cli.main(["inject", "a", "-f", "b", "--legacy", "c"]) == 0
    assert capsysbinary.readouterr().out.count(b"kind: Service") == 3


def test_check_strict_fails_for_a_warning(file, capsys):
    path = file("policies: {gold: {}}")
    assert cli.main(["check", path]) == 0
    assert cli.main(["check", "--strict", path]) == 2
    assert "resilience-proxy: 1 warning (--strict)" in capsys.readouterr().err
    assert cli.main(["check", "--strict", file("{}")]) == 0


def test_check_for_programs(file, capsys):
    path = file(BAD)
    assert cli.main(["check", path, "--format", "json"]) == 2
    shown = capsys.readouterr()
    assert shown.err == ""
    document = json.loads(shown.out)
    assert document["valid"] is False
    (one,) = document["configurations"]
    assert (one["file"], one["valid"]) == (path, False)
    assert one["problems"][0] == {
        "file": path,
        "line": 3,
        "column": 13,
        "severity": "error",
        "path": "routes[0].retry.max_attempt",
        "message": "unknown key; did you mean 'attempts'?",
    }
    assert cli.main(["check", file("{}"), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["configurations"][0]["problems"] == []


def test_check_for_github(file, capsys, monkeypatch):
    path = file('policies: {gold: {}}\nservice: "a\\nb%"\n')
    monkeypatch.setenv("RESILIENCE_PROXY_APP", "x")
    assert cli.main(["check", path, "--format", "github"]) == 2
    shown = capsys.readouterr()
    assert shown.err == ""
    assert (
        shown.out == "::error file=$RESILIENCE_PROXY_APP::'x' is not a port such as 8080: the "
        "service is on this machine\n"
    )
    monkeypatch.delenv("RESILIENCE_PROXY_APP")
    assert cli.main(["check", path, "--format", "github"]) == 2
    line, *_ = capsys.readouterr().out.splitlines()
    assert line.startswith(f"::error file={path},line=2,col=10::service: ")
    assert cli.main(["check", file("{}"), "--format", "github"]) == 0
    assert capsys.readouterr().out == ""


def test_run_takes_several_files_and_flags(started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("service: a\ndrain: {delay: 1s}")
    Path("b.yaml").write_text("service: b")
    assert cli.main(["run", "--config", "a.yaml", "--config", "b.yaml", "--app", "9000"]) == 3
    monkeypatch.setenv(commands.CONFIG_VARIABLE, "b.yaml:a.yaml")
    assert cli.main(["run"]) == 3
    assert [loaded.config.service for loaded in started] == ["b", "a"]
    assert started[0].filename == "a.yaml:b.yaml"
    assert started[0].config.upstreams["app"].endpoints[0].port == 9000


def test_run_takes_no_standard_input(started, capsys):
    assert cli.main(["run", "--config", "-"]) == 2
    assert "give a file, not -" in capsys.readouterr().err
    assert started == []


def test_explain_of_a_request_id_needs_no_file_and_takes_none(monkeypatch, file, capsys):
    from proxy.admin import past

    calls = []
    monkeypatch.setattr(past, "explain_request", lambda *given: calls.append(given) or 1)
    assert cli.main(["explain", "--request-id", "a"]) == 1
    assert cli.main(["explain", "--admin", "http://h:1", "--request-id", "b"]) == 1
    assert calls == [("http://127.0.0.1:7072", "a"), ("http://h:1", "b")]
    assert cli.main(["explain", file(""), "GET", "/", "--request-id", "a"]) == 2
    assert "not both" in capsys.readouterr().err


def test_explain_takes_its_options_anywhere(file, capsys):
    assert cli.main(["explain", file(""), "-H", "a: b", "GET", "--listener", "inbound", "/"]) == 0
    assert "> 1. default-inbound" in capsys.readouterr().out


def test_an_interrupt_or_an_error_of_the_system_is_no_traceback(started, monkeypatch, file, capsys):
    def interrupted(loaded):
        raise KeyboardInterrupt

    def refused(loaded):
        raise OSError(98, "Address already in use")

    path = file("{}")
    monkeypatch.setattr(sys.modules["proxy.app"], "run", interrupted)
    assert cli.main(["run", "--config", path]) == 1
    monkeypatch.setattr(sys.modules["proxy.app"], "run", refused)
    assert cli.main(["run", "--config", path]) == 1
    assert capsys.readouterr().err == "resilience-proxy: [Errno 98] Address already in use\n"


def test_as_a_process(file):
    done = called("check", file(BAD))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 2
    assert called("check", str(ROOT / "config/proxy.yaml")).returncode == 0
    assert called("--version").stdout == f"resilience-proxy {__version__}\n"


def test_a_reader_that_has_gone_is_no_traceback():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "schema"], stdout=gone, stderr=subprocess.PIPE
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_full_disk_is_no_traceback():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "schema"], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_names_that_are_no_text_are_shown_all_the_same(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.yaml"
    Path(os.fsdecode(path)).write_text("service: a")
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "check", path], capture_output=True, check=True
    )
    assert b"valid" in done.stdout


def test_check_needs_neither_an_event_loop_nor_aiohttp(file):
    code = (
        "import sys; from proxy.cli import main; main(sys.argv[1:]);"
        "print({'asyncio', 'aiohttp', 'uvloop', 'rich'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", file("{}")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("set()\n")


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (("run", "--port", "8080"), "did you mean --app PORT for the service's port; --outbound"),
        (("run", "proxy.yaml"), "did you mean --config proxy.yaml?"),
        (("run", "-f", "proxy.yaml"), "did you mean --config FILE?"),
        (("run", "--outbound", "7070"), "write HOST:PORT such as 127.0.0.1:7070"),
        (("run", "--outbound", ":7070"), "127.0.0.1:7070 is for this machine only"),
        (("run", "--app", "localhost:80"), "write 80: the service is on this machine"),
        (("drain", "--admin", "7072"), "write 127.0.0.1:7072"),
        (("demo", "--duration", "30"), "did you mean 30"),
    ],
)
def test_a_mistake_in_a_flag_names_the_mend(arguments, mend, capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    assert raised.value.code == 2
    assert mend in capsys.readouterr().err


def test_a_missing_file_names_one_beside_it_and_who_asked_for_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "proxy.yaml").write_text("{}")
    monkeypatch.setenv(commands.CONFIG_VARIABLE, str(tmp_path / "proxy.yml"))
    assert cli.main(["run"]) == 2
    shown = capsys.readouterr().err
    assert (
        "proxy.yml:1:1: cannot be read: No such file or directory; did you mean 'proxy.yaml'?"
        in shown
    )
    assert "resilience-proxy: $RESILIENCE_PROXY_CONFIG names this file" in shown


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "access.log cannot be used: No such file or directory"),
        ("", "access.log has no request: simulate reads an access log in JSON"),
    ],
)
def test_a_log_that_simulate_cannot_use(
    content: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, file = tmp_path / "access.log", tmp_path / "proxy.yaml"
    file.write_text("{}")
    if content is not None:
        log.write_text(content)
    assert cli.main(["simulate", "--log", str(log), "--config", str(file)]) == 1
    assert told in capsys.readouterr().err
