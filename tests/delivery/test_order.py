"""For every history of failures: within a lane one try at a time, in the order of acceptance."""

import asyncio
import json
from collections import defaultdict

from delivery.bed import Bed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CONFIG = """
service: bed
store: {url: "memory:"}
upstreams: {shop: {endpoints: [UPSTREAM]}}
policies:
  default:
    retry: {attempts: 1}
    circuit_breaker: {mode: "off"}
    outbox:
      mode: always
      order_by: header:x-lane
      concurrency: 4
      attempts: 5
      backoff: {initial: 1ms, multiplier: 1, jitter: none}
routes:
  - {name: shop, upstream: shop}
"""

ANSWERS = st.sampled_from([200, 200, 503, 500, 400, None, (429, ("Retry-After: 0",))])
LANES = st.lists(st.sampled_from("abc"), min_size=1, max_size=12)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lanes=LANES, answers=st.lists(ANSWERS, max_size=30))
def test_lanes_keep_their_order_whatever_fails(lanes, answers):
    asyncio.run(check(lanes, answers))


async def check(lanes, answers):
    async with Bed(CONFIG) as bed:
        bed.upstream.answers.extend(answers)
        accepted = defaultdict(list)
        for number, lane in enumerate(lanes):
            answer = await bed.ask("POST", f"/{number}", b"", f"X-Lane: {lane}")
            accepted[lane].append(json.loads(answer.body)["id"])
        await bed.until(lambda: all_over(bed, len(lanes)))
        tried = defaultdict(list)
        for request in bed.upstream.requests:
            lane = next(key for key, ids in accepted.items() if request.get("x-outbox-id") in ids)
            tried[lane].append(request.get("x-outbox-id"))
        for lane, ids in accepted.items():
            assert list(dict.fromkeys(tried[lane])) == ids  # the first tries are in order
            runs = [
                one for at, one in enumerate(tried[lane]) if not at or tried[lane][at - 1] != one
            ]
            assert runs == ids  # and none begins before the one before it is over
        for ids in accepted.values():
            for entry in ids:
                states = (await bed.outbox.entry(entry))["state"]
                assert states in ("delivered", "dead")


async def all_over(bed, count):
    entries = await bed.outbox.entries(limit=1000)
    return len(entries) == count and all(one["finished_at"] for one in entries)
