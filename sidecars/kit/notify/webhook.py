"""Notify or ask by one HTTP request.

One request is one connection: certificates and credentials are read for it, and nothing of it is left when the
outcome is known, but for the rest of a body that does not end. `detail` of an outcome never holds a header or a body of
ours, nor an answer, since a server may echo the token; but for a validator's refusal, which is shown without what was
sent as a secret.
"""

import asyncio
import os
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import unquote, urlsplit

import aiohttp

from sidecars.kit import http
from sidecars.kit.files import UnusableFile, read_secret, read_small
from sidecars.kit.http_match import status_set
from sidecars.kit.tls import TlsFiles, client_context
from sidecars.runtime.clock import monotonic

from .core import request
from .core.change import Change
from .core.options import Call, Http
from .core.outcome import Outcome, Result, one_line

_UNREAD_BYTES, _FETCHED_BYTES, _SENT_BYTES = 64 << 10, 4 << 20, 16 << 20
_LISTENING_SECONDS = 2.0
_BODY_SECONDS = 1.0
"""How long the end of an answer is waited for that says all in its head."""
_SHOWN_CHARACTERS, _SECRET_CHARACTERS = 400, 4
_HUNG_UP = (aiohttp.ServerDisconnectedError, ssl.SSLEOFError, ConnectionResetError, BrokenPipeError)
_NOT_THERE_YET = frozenset({408, 425, 429, 502, 503, 504})  # something answers for an app that starts or is busy
_COULD_NOT_SAY = _NOT_THERE_YET | frozenset({*range(300, 400), 401, 403, 404, 405, 407})
"""Who answers so has not looked at the content; any other status is its verdict."""


@dataclass(frozen=True, slots=True)
class _Sending:
    """What is sent, and how much of the answer matters."""

    step: Http
    change: Change
    timeout_seconds: float
    method: str = "GET"
    body: BytesIO | str | None = None
    needs_body: bool = False
    tasks: asyncio.TaskGroup | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytearray
    secrets: frozenset[str]
    """What was sent and must not be shown, should the answer repeat it."""


async def call(step: Call, change: Change, tasks: asyncio.TaskGroup | None = None) -> Outcome:
    """Send one request. At most `timeout_seconds` from name resolution to the head of the answer. A body that does not
    end soon is read on in `tasks`, for as long: many servers give up what they are at when the client hangs up.
    """
    answer = await _send_call(step, change, tasks)
    if isinstance(answer, Outcome):
        return answer
    outcome = _judged(step, answer.status)
    waits = not outcome.ok and answer.status in _NOT_THERE_YET
    return Outcome(Result.UNREACHABLE, outcome.detail) if waits else outcome


async def ask(step: Call, change: Change) -> Outcome:
    """Ask by one request whether the content is good: REJECTED unless the answer is an expected one, or says that
    nobody looked.
    """
    answer = await _send_call(step, change)
    if isinstance(answer, Outcome):
        return answer
    outcome = _judged(step, answer.status)
    if outcome.ok or answer.status in _COULD_NOT_SAY:
        return outcome
    said = _said(answer)
    return Outcome(Result.REJECTED, outcome.detail + (f": {said}" if said else ""))


async def fetch(step: Http, change: Change, timeout_seconds: float) -> tuple[Outcome, bytes]:
    """Fetch a page by GET. The body is complete when the outcome is OK, else empty; larger than 4 MiB is FAILED."""
    answer = await _send(_Sending(step, change, timeout_seconds, needs_body=True))
    if isinstance(answer, Outcome):
        return answer, b""
    outcome = _judged(step, answer.status)
    if outcome.ok and len(answer.body) > _FETCHED_BYTES:
        outcome = Outcome(Result.FAILED, f"{_where(step)} answered more than {_FETCHED_BYTES} bytes")
    return outcome, bytes(answer.body) if outcome.ok else b""


async def listening(step: Http) -> bool:
    """Return whether somebody accepts a connection there within 2 s."""
    parts = urlsplit(step.url)
    try:
        async with asyncio.timeout(_LISTENING_SECONDS):
            if step.unix_socket:
                _, writer = await asyncio.open_unix_connection(step.unix_socket)
            else:
                port = parts.port or (443 if parts.scheme == "https" else 80)
                _, writer = await asyncio.open_connection(parts.hostname, port, happy_eyeballs_delay=0.25)
    except (OSError, ValueError):  # TimeoutError is the one, UnicodeError (no such name can be) the other
        return False
    writer.transport.abort()
    return True


async def _send_call(step: Call, change: Change, tasks: asyncio.TaskGroup | None = None) -> _Answer | Outcome:
    try:
        body: BytesIO | str | None = change.fill(step.body) or None
        if step.body_file:
            body = BytesIO(read_small("body_file", change.fill(step.body_file), _SENT_BYTES))
    except UnusableFile as error:
        return Outcome(Result.DENIED, str(error))
    return await _send(_Sending(step, change, step.timeout_seconds, step.method, body, tasks=tasks))


async def _send(sending: _Sending) -> _Answer | Outcome:
    """Return the answer, or why there is none."""
    try:
        return await _exchange(sending)
    except UnusableFile as error:
        return Outcome(Result.DENIED, str(error))
    except TimeoutError:
        detail = f"{_where(sending.step)} did not answer within {round(sending.timeout_seconds, 2):g} s"
        return Outcome(Result.TIMEOUT, detail)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return _failure(sending.step, error)


async def _exchange(sending: _Sending) -> _Answer:
    deadline = monotonic() + sending.timeout_seconds
    authorization = _authorization(sending.step)
    secrets = request.secrets(sending.step, sending.change, authorization)
    async with AsyncExitStack() as open_ends:
        async with asyncio.timeout_at(deadline):
            response = await open_ends.enter_async_context(http.send(_request(sending, authorization)))
        answer = _Answer(response.status, bytearray(), secrets)
        if sending.needs_body:
            async with asyncio.timeout_at(deadline):
                await http.read_up_to(response, answer.body, _FETCHED_BYTES)
            return answer
        try:
            async with asyncio.timeout_at(min(deadline, monotonic() + _BODY_SECONDS)):
                await http.read_up_to(response, answer.body, _UNREAD_BYTES)
        except TimeoutError:
            if sending.tasks:
                sending.tasks.create_task(_read_on(response, deadline, open_ends.pop_all()), name="body")
        except (aiohttp.ClientError, OSError):
            pass  # its head has said all
        return answer


async def _read_on(response: aiohttp.ClientResponse, deadline: float, open_ends: AsyncExitStack) -> None:
    """Read what nobody wants, for the sake of who sends it."""
    async with open_ends:
        with suppress(aiohttp.ClientError, OSError):  # TimeoutError is one
            async with asyncio.timeout_at(deadline):
                await http.read_up_to(response, bytearray(), _UNREAD_BYTES)


def _request(sending: _Sending, authorization: str) -> http.Request:
    """Return what is sent; files are read now. Raises UnusableFile."""
    step, change = sending.step, sending.change
    headers = {name: change.fill(value) for name, value in step.headers.items()}
    files = TlsFiles(step.ca_file, step.client_certificate_file, step.client_key_file)
    return http.Request(
        method=sending.method,
        url=request.address(step.url, change),
        headers=headers | ({"Authorization": authorization} if authorization else {}),
        body=sending.body,
        tls=client_context(files) if urlsplit(step.url).scheme == "https" else None,
        server_name=step.server_name,
        unix_socket=step.unix_socket,
    )


def _authorization(step: Http) -> str:
    """Return the value of the header Authorization, or "". Raises UnusableFile."""
    if step.bearer_token_file:
        return http.bearer("bearer_token_file", step.bearer_token_file)
    if step.username:
        return http.basic(step.username, read_secret("password_file", step.password_file) if step.password_file else "")
    parts = urlsplit(step.url)  # as users of configmap-reload have it
    return "" if parts.username is None else http.basic(unquote(parts.username), unquote(parts.password or ""))


def _judged(step: Http, status: int) -> Outcome:
    expected = status_set(step.expect_status)
    if status in expected:
        return Outcome(Result.OK, f"{_where(step)} answered {status}")
    hint = "; redirects are not followed" if 300 <= status < 400 else ""
    return Outcome(Result.FAILED, f"{_where(step)} answered {status}, expected {expected}{hint}")


def _said(answer: _Answer) -> str:
    """Return the beginning of the answer on one line, without the secrets that we sent."""
    text = answer.body.decode(errors="replace")
    for secret in sorted(answer.secrets, key=len, reverse=True):
        if len(secret) >= _SECRET_CHARACTERS:
            text = text.replace(secret, "...")
    return one_line(text)[:_SHOWN_CHARACTERS]


def _where(step: Http) -> str:
    return request.shown(step.url) + (f" (socket {step.unix_socket})" if step.unix_socket else "")


def _failure(step: Http, error: Exception) -> Outcome:
    """Say what went wrong between us and an answer. Only words of our own and of the system: an error of the HTTP
    library may quote the answer.
    """
    where = _where(step)
    nameless = urlsplit(step.url).scheme == "https" and not step.client_certificate_file
    hint = " (it may want a client certificate)" if nameless else ""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Outcome(Result.FAILED, f"cannot trust {where}: {cause.verify_message}; see ca_file and server_name")
    if isinstance(cause, _HUNG_UP):
        return Outcome(Result.UNREACHABLE, f"{where} closed the connection before it answered{hint}")
    if isinstance(cause, ssl.SSLError):
        return Outcome(Result.FAILED, f"cannot speak TLS with {where}: {cause.reason or 'it failed'}")
    if isinstance(cause, PermissionError) and step.unix_socket:
        return Outcome(Result.DENIED, f"cannot connect to {where}: permission denied; run with a user that may")
    if isinstance(cause, OSError):
        system = os.strerror(cause.errno) if cause.errno else "none of its addresses takes a connection"
        reason = cause.strerror if isinstance(cause, socket.gaierror) else system
        return Outcome(Result.UNREACHABLE, f"cannot reach {where}: {reason}")
    if isinstance(cause, aiohttp.ClientError) and not isinstance(cause, ValueError):  # aiohttp.InvalidURL is both
        return Outcome(Result.FAILED, f"cannot understand {where}: its answer is not valid HTTP, or broke off")
    return Outcome(Result.FAILED, f"cannot ask {where}: the address or a header cannot be sent")
