"""Every error of the admin API as a problem document (RFC 9457), never with a traceback."""

import json
from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.telemetry import process_log


def problem(status: int, detail: str, problems: Sequence[str] = ()) -> web.Response:
    """`type` about:blank: `title` is the status's phrase (section 4.2.1).

    `problems`, if there are any, are a separate member.
    """
    document = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **({"problems": list(problems)} if problems else {}),
    }
    return web.Response(
        status=status, text=json.dumps(document) + "\n", content_type="application/problem+json"
    )


_BUG = "A bug of the proxy; its log has the details."

COMMON_HEADERS = {
    "Server": "resilience-proxy",  # without versions of libraries
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every answer; a stream must set them itself before it begins."""


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The outermost middleware: turns every exception into a document."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = problem(error.status, _detail(request, error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        # aiohttp keeps the error of an unknown path in the request: with its frames it is a cycle.
        error.__traceback__ = None
    except Exception as error:  # noqa: BLE001 - the last handler of the admin API
        process_log.bug("an admin request failed", error, method=request.method, path=request.path)
        response = problem(500, _BUG)
    response.headers.update(COMMON_HEADERS)
    return response


async def left_over(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: covers answers that aiohttp makes before middleware (417)."""
    if isinstance(response, web.HTTPException):
        document = problem(response.status, _detail(request, response))
        response.body = document.body
        response.content_type = document.content_type
        response.headers.update(COMMON_HEADERS)


class Protocol(web.RequestHandler):
    """A connection whose errors below the application (invalid HTTP) are documents too."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer; the connection is closed after it."""
        super().handle_error(request, status, exc, message)  # it logs, and closes
        detail = _BUG if status >= 500 else "This is not a valid HTTP request."
        response = problem(status, detail)
        response.headers.update(COMMON_HEADERS)
        response.force_close()
        return response


def _detail(request: web.Request, error: web.HTTPException) -> str:
    if isinstance(error, web.HTTPNotFound):
        return "There is no such endpoint; GET / lists all endpoints."
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = " or ".join(sorted(error.allowed_methods))
        return f"This endpoint does not support {request.method}, only {allowed}."
    return error.text or error.reason
