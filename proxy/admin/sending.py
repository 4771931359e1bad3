"""Sends a text in slices (`admin/slices.py`) as a response, without joining it."""

from aiohttp import hdrs, web

from proxy.admin.problems import COMMON_HEADERS


async def send(request: web.Request, text: list[bytes], content_type: str) -> web.StreamResponse:
    """Send the whole response; the client may leave meanwhile."""
    if len(text) == 1:
        return web.Response(body=text[0], headers={hdrs.CONTENT_TYPE: content_type})
    length = str(sum(map(len, text)))
    fields = COMMON_HEADERS | {hdrs.CONTENT_TYPE: content_type, hdrs.CONTENT_LENGTH: length}
    response = web.StreamResponse(headers=fields)
    try:
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            for piece in text:
                await response.write(piece)
    except ConnectionError:
        pass
    return response
