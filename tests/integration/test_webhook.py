"""`resilience-proxy webhook` over real TLS: what the API server, the kubelet and Prometheus ask."""

import base64
import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from integration.pki import Pki
from integration.ports import free_port
from integration.running_proxy import eventually
from unit.kubernetes.reviews import POD, review

from proxy.kubernetes.command_line import injected
from proxy.kubernetes.settings import Settings


class RunningWebhook:
    """The real command with a certificate of its own authority."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.pki = Pki(directory)
        self.port = free_port()
        self.cert, self.key = self.pki.files("127.0.0.1")
        self._errors = directory / "stderr"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "proxy", "webhook"),
                    *("--tls-cert", self.cert, "--tls-key", self.key),
                    *("--address", f"127.0.0.1:{self.port}"),
                    *options,
                ],
                stderr=errors,
            )

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        context = self.pki.client()
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=context)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.errors
        try:
            return self.ask("GET", "/health/ready")[0] == 200
        except OSError:
            return False

    def certificate(self) -> bytes:
        """What it shows in a handshake."""
        return ssl.get_server_certificate(("127.0.0.1", self.port)).encode()


@pytest.fixture
def webhook(tmp_path: Path) -> Iterator[RunningWebhook]:
    running = RunningWebhook(tmp_path, "--app-port", "8080", "--drain-delay", "1500ms")
    try:
        eventually(running.ready, timeout=60)
        yield running
    finally:
        running.process.kill()
        running.process.wait(5)
    assert "Traceback" not in running.errors


def test_a_review_is_patched_to_what_inject_gives(webhook: RunningWebhook) -> None:
    jsonpatch = pytest.importorskip("jsonpatch", reason="needs jsonpatch, of the extra test")
    status, body = webhook.ask("POST", "/inject", review())
    response = json.loads(body)["response"]
    assert (status, response["allowed"]) == (200, True)
    patch = json.loads(base64.b64decode(response["patch"]))
    made = jsonpatch.JsonPatch(patch).apply(deepcopy(POD))
    text, failed = injected([("pod", json.dumps(POD))], Settings(app_port=8080), {})
    assert not failed
    assert made == json.loads(text)


def test_it_answers_within_a_tenth_of_a_second(webhook: RunningWebhook) -> None:
    """The best of several: what the machine does meanwhile is not the webhook's time."""
    taken = []
    for _ in range(5):
        started = time.monotonic()
        assert webhook.ask("POST", "/inject", review())[0] == 200
        taken.append(time.monotonic() - started)
    assert min(taken) < 0.1, taken
    _, metrics = webhook.ask("GET", "/metrics")
    assert 'proxy_webhook_reviews_total{result="injected"} 5.0' in metrics


def test_a_new_certificate_is_taken_over(webhook: RunningWebhook) -> None:
    before = webhook.certificate()
    webhook.pki.files("127.0.0.1")
    eventually(lambda: webhook.certificate() != before, timeout=8)
    assert webhook.ask("POST", "/inject", review())[0] == 200


def test_its_end(webhook: RunningWebhook) -> None:
    """Not ready at once, still answering for a while, and then gone without a fault."""
    started = time.monotonic()
    webhook.process.send_signal(signal.SIGTERM)
    eventually(lambda: webhook.ask("GET", "/health/ready")[0] == 503)
    assert webhook.ask("POST", "/inject", review())[0] == 200
    assert webhook.process.wait(10) == 0
    assert time.monotonic() - started >= 1.5


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text(yaml.safe_dump({"no": "certificate"}))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "proxy", "webhook", "--address", "127.0.0.1:0"),
            *("--tls-cert", str(tmp_path / "x.pem"), "--tls-key", str(tmp_path / "x.pem")),
        ],
        capture_output=True,
        text=True,
        timeout=15,
    )
    assert done.returncode == 2
    assert "x.pem" in done.stderr
    assert "Traceback" not in done.stderr
