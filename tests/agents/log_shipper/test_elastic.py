"""What comes back from whatever listens at the address: redirects, http for https, gateways that echo."""

import asyncio
import ssl
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import web

from sidecars.log_shipper.core.batch import Payload
from sidecars.log_shipper.core.bulk import Answer
from sidecars.log_shipper.sending.elastic import Elastic
from sidecars.runtime import Secret
from tests.support.context import settings

PAYLOAD = Payload(b'{"create":{}}\n{}\n', 1, array("Q", [10]))
AUTHORITY = trustme.CA()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(handle: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server for every path; its port."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def certified() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def answer_of(url: str, **given: object) -> Answer:
    elastic = Elastic(settings(elasticsearch_url=(url,), **given))
    try:
        return await elastic.send(PAYLOAD)
    finally:
        await elastic.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_that_says_where_to_and_is_not_followed(status: int) -> None:
    asked: list[tuple[str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append((request.method, request.path))
        return web.Response(status=status, headers={"location": "https://u:secret@sso.invalid/login?state=secret"})

    async with listening(handle) as port:
        answer = await answer_of(f"http://127.0.0.1:{port}", index="logs")
    assert asked == [("POST", "/logs/_bulk")]
    assert (answer.status, answer.location) == (status, "https://sso.invalid/login")
    assert answer.url == f"http://127.0.0.1:{port}/logs/_bulk"


async def test_a_redirect_to_a_path_is_told_as_an_address() -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=308, headers={"location": "/es/logs/_bulk?x=1"})

    async with listening(handle) as port:
        answer = await answer_of(f"http://127.0.0.1:{port}")
        assert answer.location == f"http://127.0.0.1:{port}/es/logs/_bulk"


async def nothing(_: web.Request) -> web.Response:
    return web.Response(text="{}")


async def test_https_to_a_port_that_speaks_http_is_called_that() -> None:
    async with listening(nothing) as port:
        answer = await answer_of(f"https://127.0.0.1:{port}")
    assert (answer.status, answer.reason) == (0, "tls")
    assert f"https://127.0.0.1:{port}: this port speaks http and not https" in answer.detail


@pytest.mark.parametrize("mutual", [False, True])
async def test_http_to_a_port_that_speaks_https_is_called_that(mutual: bool) -> None:
    context = certified()
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        AUTHORITY.configure_trust(context)
    async with listening(nothing, context) as port:
        answer = await answer_of(f"http://127.0.0.1:{port}")
    assert (answer.status, answer.reason) == (0, "tls")
    assert f"http://127.0.0.1:{port}: this port speaks https and not http" in answer.detail


async def test_a_port_that_hangs_up_on_everybody_is_not_called_anything() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        answer = await answer_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert (answer.status, answer.reason) == (0, "connection")
    assert "speaks" not in answer.detail


async def test_a_gateway_that_answers_with_our_headers_is_quoted_without_the_credential() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=403, text=f'{{"message":"no rule for {request.headers["authorization"]}"}}')

    async with listening(echo) as port:
        answer = await answer_of(f"http://127.0.0.1:{port}", api_key=Secret("cGxhbnRlZDprZXk="))
    assert answer.body == b'{"message":"no rule for ApiKey ..."}'


@pytest.mark.parametrize(("compression", "packed"), [("gzip", True), ("none", False)])
async def test_a_body_goes_out_as_configured_and_its_records_can_be_found_in_it_again(
    compression: str, packed: bool
) -> None:
    sent: list[tuple[str | None, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        sent.append((request.headers.get("content-encoding"), await request.read()))  # aiohttp unpacks it
        return web.Response(text="{}")

    async with listening(take) as port:
        elastic = Elastic(settings(elasticsearch_url=(f"http://127.0.0.1:{port}",), compression=compression))
        body = elastic.pack([PAYLOAD.body[:9], PAYLOAD.body[9:]])
        assert elastic.unpack(body) == PAYLOAD.body
        await elastic.send(Payload(body, 1, PAYLOAD.spans))
        await elastic.close()
    assert sent == [("gzip" if packed else None, PAYLOAD.body)]
