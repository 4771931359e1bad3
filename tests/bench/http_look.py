"""One look at an HTTP address: how long the answer took."""

import http.client
import time


def look(port: int, path: str, patience: float = 10.0) -> float:
    """Seconds until the whole answer was there; `patience` where it was not, or was no 200."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return patience
    finally:
        connection.close()
    return time.monotonic() - started if answer.status == 200 else patience
