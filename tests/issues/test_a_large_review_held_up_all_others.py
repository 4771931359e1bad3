"""A review of a pod with 8,000 variables took 4.5 s, and one of 3 MiB of brackets 284 MiB."""

import base64
import json
import time
import tracemalloc

import jsonpatch
import pytest
from unit.kubernetes.reviews import POD, review

from proxy.kubernetes.admission import NoReview
from proxy.kubernetes.admission import review as answer
from proxy.kubernetes.settings import PREFIX, Settings


def test_8000_variables_take_less_than_100_ms() -> None:
    container = {
        "name": "main",
        "image": "a",
        "env": [{"name": f"NAME_{number}", "value": "x" * 20} for number in range(8000)],
    }
    pod = {**POD, "spec": {**POD["spec"], "containers": [container]}}
    body = json.dumps(review(pod)).encode()
    took = []
    for _ in range(5):
        began = time.process_time()
        found = answer(body, Settings())
        took.append(time.process_time() - began)
    assert min(took) < 0.1
    patch = json.loads(base64.b64decode(found.document["response"]["patch"]))
    after = jsonpatch.apply_patch(pod, patch)
    env = after["spec"]["containers"][0]["env"]
    assert env[:8000] == container["env"]
    assert {"name": "HTTP_PROXY", "value": "http://127.0.0.1:7070"} in env


@pytest.mark.parametrize("piece", [b"[],", b"{},", b"1,", b'"",', b'[{"a":[]}],'])
def test_many_values_are_refused_within_bounds(piece: bytes) -> None:
    body = b"[" + piece * (3 * 2**20 // len(piece)) + b"0]"
    tracemalloc.start()
    try:
        with pytest.raises(NoReview, match="values"):
            answer(body, Settings())
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_commas_in_texts_are_no_values() -> None:
    metadata = {**POD["metadata"], "annotations": {"list": 'a,"[{' * 50_000}}
    body = json.dumps(review({**POD, "metadata": metadata})).encode()
    assert answer(body, Settings()).document["response"]["allowed"] is True


def test_as_many_values_as_are_taken_stay_within_64_mib() -> None:
    pod = {**POD, "metadata": {**POD["metadata"], "more": [[] for _ in range(70_000)]}}
    body = json.dumps(review(pod)).encode()
    tracemalloc.start()
    try:
        answer(body, Settings())
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["zz{}", "x" * 500 + "{}", "imge{}"])
def test_thousands_of_unknown_annotations_take_no_time(name: str) -> None:
    annotations = {f"{PREFIX}{name.format(number)}": "x" for number in range(3000)}
    pod = {**POD, "metadata": {**POD["metadata"], "annotations": annotations}}
    body = json.dumps(review(pod)).encode()
    took = []
    for _ in range(3):
        began = time.process_time()
        found = answer(body, Settings())
        took.append(time.process_time() - began)
    assert min(took) < 0.1
    warnings = found.document["response"]["warnings"]
    assert len(warnings) < 20
    assert "2990 more annotations are unknown" in warnings[-1]
