"""gRPC calls under every order of events: nothing is lost, told twice, or held back for ever."""

import pytest
from exchange.calls import Caller, Session
from exchange.stage import staged
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import ConnectRefused

pytestmark = pytest.mark.interpreted

CONFIG = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies:
  default:
    timeouts: {attempt: 2s, request: 5s, idle: 8s, stream_idle: 20s}
    retry: {backoff: {initial: 100ms, jitter: none}, methods: any, attempts: 3,
            on: [connect-failure, reset, timeout, grpc-unavailable]}
    circuit_breaker: {minimum_calls: 100, counts: COUNTS}
routes: [{name: shop, upstream: shop}]
"""
CODES = st.sampled_from([None, 0, 5, 14, 13])
EVENTS = st.one_of(
    st.tuples(st.just("connect"), st.booleans()),
    st.tuples(st.just("head"), st.sampled_from([200, 503])),
    st.tuples(st.just("only"), CODES),
    st.tuples(st.just("piece"), st.just(0)),
    st.tuples(st.just("end"), CODES),
    st.tuples(st.just("lose"), st.just(0)),
    st.tuples(st.just("time"), st.sampled_from([0.02, 0.06, 0.11, 2.1, 25.0])),
    st.tuples(st.just("say"), st.just(0)),
    st.tuples(st.just("said"), st.just(0)),
    st.tuples(st.just("full"), st.booleans()),
    st.tuples(st.just("leave"), st.just(0)),
    st.tuples(st.just("cut"), st.just(0)),
)


class Play:
    """One call, and the connections and events around it."""

    def __init__(self, stage, ended, deadline):
        self.stage = stage
        self.session = None
        fields = ["grpc-timeout: 1500m"] if deadline else []
        self.caller = Caller(stage, *fields, ended=ended)
        self.headed = set()

    @property
    def call(self):
        """The present attempt, while the proxy listens to it."""
        calls = self.session.calls if self.session is not None else []
        return calls[-1] if calls and calls[-1].handler is not None else None

    def do(self, event, value):
        caller, call = self.caller, self.call
        if event == "connect" and self.stage.connects:
            _, _, on_done = self.stage.connector.pending.pop(0)
            if value:
                self.session = self.session or Session(self.stage.loop)
                on_done(self.session)
            else:
                on_done(ConnectRefused("no"))
            self.stage.loop.run()
        elif event == "time":
            self.stage.pass_time(value)
        elif event == "say" and caller.receiving and not caller.finished:
            caller.send(b"more")
        elif event == "said" and caller.receiving and not caller.finished:
            caller.end_sending()
        elif event == "full" and not caller.finished and caller.write_paused != value:
            if caller.status:
                caller.stop_reading() if value else caller.read_on()
        elif event == "leave":
            caller.leave()
        elif event == "cut":
            for exchange in list(self.stage.gate().exchanges):
                exchange.cut()
            self.stage.loop.run()
        elif call is not None:
            self.upstream(call, event, value)

    def upstream(self, call, event, value):
        began = call in self.headed
        if event == "head" and not began:
            self.headed.add(call)
            call.answer(status=value)
        elif event == "only" and not began:
            fields = () if value is None else (("grpc-status", str(value)),)
            call.answer(*fields, trailers=())
        elif event == "piece" and began:
            call.send(b"piece")
        elif event == "end" and began:
            call.end_with(value)
        elif event == "lose":
            call.lose()


@pytest.mark.parametrize("counts", ["attempts", "requests"])
@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.booleans(), st.lists(EVENTS, max_size=14))
def test_every_call_ends_once_and_gives_everything_back(counts, ended, deadline, events):
    with staged(CONFIG.replace("COUNTS", counts)) as stage:
        play = Play(stage, ended, deadline)
        caller = play.caller
        for event in events:
            play.do(*event)
            whole = caller.ended and (caller.code is not None or caller.status != 200)
            # What the client got is a status, or an honest break, never a silent end.
            assert not caller.ended or whole, (caller.status, caller.fields, caller.trailers)
            assert not (caller.ended and caller.broken == "soft")
            assert stage.snapshot().calls <= 3
        caller.leave()
        assert caller.finished
        stage.assert_at_rest()
        assert all(one.released for one in (play.session.calls if play.session else ()))
        (record,) = stage.records
        if record.status == 200 and not record.reason:
            assert caller.ended
            assert stage.stats().errors <= 1
        assert sum(stage.stats().requests.values()) == 1
