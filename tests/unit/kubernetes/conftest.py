"""Pods to inject into."""

from copy import deepcopy
from typing import Any

import pytest

POD = {
    "metadata": {"labels": {"app": "orders"}},
    "spec": {
        "containers": [
            {
                "name": "main",
                "image": "orders:1",
                "ports": [{"name": "http", "containerPort": 8080}],
            }
        ]
    },
}


@pytest.fixture
def pod() -> dict[str, Any]:
    return deepcopy(POD)
