"""A scripted fault as it is played on one HTTP request; the stand-ins of secret stores share it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from sidecars.devstack.vault.faults import Fault

HUNG_UP = web.Response(status=599)
"""What is returned when nothing was answered."""


async def early(
    request: web.Request, fault: Fault, released: asyncio.Event, refusal: Callable[[Fault], web.Response]
) -> web.Response | None:
    """Return what a fault answers in place of carrying the request out; None when it is to be carried out. What hangs
    does so until `released`. `refusal` makes the answer of a `status` fault.
    """
    match fault.kind:
        case "hang":
            await released.wait()
            return hang_up(request)
        case "cut":
            return hang_up(request)
        case "delay":
            with suppress(TimeoutError):
                await asyncio.wait_for(released.wait(), fault.delay_seconds)
            return None
        case "status":
            return refusal(fault)
        case "redirect":
            return web.Response(status=307, headers={"Location": fault.location})
        case "body":
            return web.Response(status=fault.status, body=bytes(fault.body), content_type="application/json")
    return None


def spoilt(request: web.Request, response: web.Response, fault: Fault) -> web.Response:
    """Return what is left of an answer after a fault that strikes when the request has been carried out."""
    match fault.kind:
        case "cut_after":
            return hang_up(request)
        case "garbage":
            return web.Response(status=response.status, body=b'{"data": {"half', content_type="application/json")
        case "empty":
            return web.Response(status=response.status, body=b"")
    return response


def hang_up(request: web.Request) -> web.Response:
    """Break the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return HUNG_UP
