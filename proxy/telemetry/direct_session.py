"""The HTTP session of the OTLP exporter: connects directly, and reports failures."""

from collections.abc import Callable
from typing import Any

import requests


class DirectSession(requests.Session):
    """Ignores HTTP_PROXY (and .netrc): it usually names this proxy, and exports would cause spans
    of their own. `heard` gets a text for each failure.
    """

    def __init__(self, heard: Callable[[str], None]) -> None:
        super().__init__()
        self.trust_env = False
        self._heard = heard

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        try:
            response = super().request(*args, **kwargs)
        except requests.RequestException as error:
            self._heard(str(error))
            raise
        if not response.ok:
            self._heard(f"{response.status_code} {response.reason} from {response.url}")
        return response
