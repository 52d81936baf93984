"""The stand-in's replies, whole ones and spoilt ones."""

from typing import Any

import msgspec
from aiohttp import web

from .bulk import BulkResult
from .faults import Dice
from .problem import Problem

_encode = msgspec.json.Encoder().encode


def bulk_reply(request: web.Request, result: BulkResult, dice: Dice) -> web.StreamResponse:
    """The reply to a bulk request that was carried out, spoilt by whichever fault strikes."""
    if dice.strikes("cut_after_store_odds"):
        return cut(request)
    if dice.strikes("cut_reply_odds"):
        return cut(request, result.reply)
    reply = result.reply
    if dice.strikes("garbage_reply_odds"):
        reply = b"<html>not the reply you are looking for</html>"
    elif dice.strikes("empty_reply_odds"):
        reply = b""
    elif dice.strikes("wrong_item_count_odds"):
        items = msgspec.json.decode(reply)
        reply = _encode(items | {"items": items.get("items", [])[:-1]})
    return web.Response(body=reply, content_type="application/json")


def cut(request: web.Request, reply: bytes = b"") -> web.Response:
    """Breaks the connection; with a reply given, after the first half of it."""
    transport = request.transport
    if transport is not None and reply:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}\r\n\r\n"
        transport.write(head.encode() + reply[: len(reply) // 2])
        transport.close()
    elif transport is not None:
        transport.abort()
    return web.Response()


def refusal(problem: Problem) -> web.Response:
    if problem.status == 413:
        response = web.Response(status=413)
        response.force_close()
        return response
    response = json_reply(problem.body(), problem.status)
    if problem.status == 401:
        response.headers.extend({"WWW-Authenticate": 'Basic realm="security", charset="UTF-8"'})
        response.headers.add("WWW-Authenticate", "ApiKey")
    return response


def json_reply(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=_encode(value), status=status, content_type="application/json")
