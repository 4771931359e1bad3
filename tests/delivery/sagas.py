"""A saga's bed: definitions from YAML, a store in memory, and services that answer from a list."""

import asyncio
import itertools
import json
from collections.abc import Callable
from time import time
from typing import Any

from proxy.config.loading import load_text
from proxy.config.model import Config
from proxy.delivery.saga_record import Accepted, pack
from proxy.delivery.saga_request import request_of
from proxy.delivery.saga_runner import SagaRunner
from proxy.delivery.saga_stats import SagaStats
from proxy.delivery.stored_request import StoredRequest, TryResult
from proxy.policies.outbox import ResultConfig
from proxy.policies.saga import Saga, Send
from proxy.policies.saga_rules import Phase
from proxy.routing.route import Route
from proxy.routing.saga_routes import step_route
from proxy.store.operations import BeginSaga, GetSaga, Put
from proxy.store.records import SagaRecord
from proxy.store.store import Store

ORDERS = """
store: {url: "memory:"}
upstreams:
  inventory: {endpoints: ["http://10.0.0.1:80"]}
  payment: {endpoints: ["http://10.0.0.2:80"]}
  shipping: {endpoints: ["http://10.0.0.3:80"]}
sagas:
  place-order:
    id: body:/orderId
    steps:
      - name: reserve
        request: {upstream: inventory, path: /deduct, json: {sku: "${input./sku}"}}
        undo: {upstream: inventory, path: "/release/${id}", json: {key: "${steps.reserve.key}"}}
        backoff: &fast {initial: 1ms, max: 1ms}
      - name: pay
        request: {upstream: payment, path: /pay, json: {amount: "${input./total}"}}
        undo: {upstream: payment, path: /refund, json: {id: "${steps.pay./tx/id}"}}
        backoff: *fast
        attempts: 2
      - name: ship
        request: {upstream: shipping, path: /ship, json: {tx: "${steps.pay./tx/id}"}}
        optional: true
        attempts: 1
        result: {status: DEFERRED}
    undo: {attempts: 3, backoff: *fast}
    result: {upstream: payment, path: /told}
routes:
  - {name: orders, match: {path: /orders}, saga: place-order}
"""
INPUT = {"orderId": "o-1", "sku": "A", "total": 12.5}
Answer = Callable[[Route, StoredRequest], TryResult | None]


def answer(status: int = 200, document: Any = None, **more: Any) -> TryResult:
    body = b"" if document is None else json.dumps(document).encode()
    return TryResult(status, body=body, complete=True, **more)


class Services:
    """Answers tries; `sent` has (step, path, key, body) of each."""

    def __init__(self, config: Config, answers: dict[str, list[TryResult]]) -> None:
        self.config = config
        self.answers = {step: iter(results) for step, results in answers.items()}
        self.sent: list[tuple[str, str, str, Any]] = []
        self.requests: list[StoredRequest] = []
        self.silent = False
        self.asked = asyncio.Event()

    def route(self, accepted: Accepted, send: Send) -> Route | None:
        step = accepted.saga.steps[send.step]
        return step_route(self.config, accepted.saga.name, step, request_of(accepted, send))

    def present(self, accepted: Accepted, send: Send) -> Any:
        saga = self.config.sagas.get(accepted.saga.name)
        if saga is None:
            return None
        step = saga.steps[send.step]
        return step.request if send.phase is Phase.DO else step.undo

    def address(self, route: Route) -> tuple[str, str]:
        return "service", "http"

    def send(
        self,
        route: Route,
        request: StoredRequest,
        keep: int,
        on_done: Callable[[TryResult], object],
    ) -> None:
        fields = dict(request.fields)
        key = fields[b"Idempotency-Key"].decode()
        body = json.loads(request.body) if request.body else None
        self.sent.append((route.name, request.target, key, body))
        self.requests.append(request)
        self.asked.set()
        if self.silent:
            return
        result = next(self.answers.get(request.target, iter(())), answer())
        asyncio.get_running_loop().call_soon(on_done, result)

    @property
    def keys(self) -> list[str]:
        return [key for _, _, key, _ in self.sent]


_tokens = itertools.count()


class Clock:
    """The wall clock; `ahead` moves it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time() + self.ahead


class Bed:
    def __init__(self, store: Store, text: str = ORDERS, **answers: list[TryResult]) -> None:
        self.store = store
        self.config = load_text(text, "orders.yaml", {}).config
        paths = {path.replace("_", "/"): results for path, results in answers.items()}
        self.services = Services(self.config, paths)
        self.stats = SagaStats()
        self.told: list[dict[str, Any]] = []
        self.runner = self.new_runner()

    def new_runner(self) -> SagaRunner:
        return SagaRunner(
            self.store,
            self.services,
            stats=self.stats,
            tell=self._tell,
            record_bytes=1 << 20,
            random=lambda: 0.5,
        )

    def _tell(self, token: str, target: ResultConfig, document: dict[str, Any]) -> Put:
        self.told.append(document)
        return Put(token, f"results:{target.upstream}", b"{}", json.dumps(document).encode())

    async def begin(self, saga_id: str = "o-1", given: Any = None) -> str:
        definition = self.config.sagas["place-order"]
        accepted = Accepted(saga_id, definition, given or INPUT, {})
        saga = Saga(definition.rules, self.store._clock(), lambda: 0.5)
        token = f"token-{next(_tokens)}"
        await self.store.do(
            BeginSaga(
                token,
                definition.name,
                saga_id,
                saga.state.value,
                b"f",
                pack(accepted),
                json.dumps(saga.dump()).encode(),
            )
        )
        return token

    async def record(self, token: str) -> SagaRecord:
        found = await self.store.do(GetSaga(token=token))
        assert found is not None
        return found

    async def until(self, token: str, *states: str) -> SagaRecord:
        for _ in range(2000):
            found = await self.record(token)
            if found.state in states and not found.owned:
                return found
            await asyncio.sleep(0.001)
        raise AssertionError(f"it is {found.state}")
