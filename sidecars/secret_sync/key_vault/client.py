"""One HTTP request to the vault, or to whoever gives tokens for it."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from sidecars.kit import http
from sidecars.kit.tls import TlsFiles, client_context
from sidecars.secret_sync.core.outcome import Failure, FailureReason

MOST_BYTES = 1 << 20
"""A value has at most 25 kB."""


@dataclass(frozen=True)
class HttpAnswer:
    """What came back: the decoded JSON (None when it is none), and the headers by their names in lower case."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpClient:
    """Requests with a deadline each, over connections of their own: they are rare. Certificates are read each time."""

    def __init__(self, ca_file: str, timeout_seconds: float) -> None:
        self._ca_file = ca_file
        self._timeout_seconds = timeout_seconds

    async def ask(self, url: str, headers: Mapping[str, str], form: str | None = None) -> HttpAnswer | Failure:
        """Make a request, and return what came back. Never raises for what the server or the network does; raises
        UnusableFile.
        """
        tls = client_context(TlsFiles(self._ca_file)) if url.startswith("https:") else None
        if tls is not None:
            tls.minimum_version = ssl.TLSVersion.TLSv1_2
        asked = http.Request(
            method="GET" if form is None else "POST",
            url=url,
            headers={"Accept": "application/json", **headers},
            body=form,
            tls=tls,
        )
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await _answered(asked)
        except TimeoutError:
            return Failure(FailureReason.TIMEOUT, f"no answer in {self._timeout_seconds:g} s")
        except aiohttp.ClientConnectorCertificateError as error:
            return Failure(FailureReason.UNREACHABLE, f"TLS: {error.certificate_error}")
        except (aiohttp.ClientError, OSError) as error:
            return Failure(FailureReason.UNREACHABLE, _reason(error))
        except ValueError:  # its text may show a header
            return Failure(FailureReason.UNUSABLE, "the address or the token holds characters that cannot be sent")


async def _answered(asked: http.Request) -> HttpAnswer:
    async with http.send(asked) as response:
        body = bytearray()
        await http.read_up_to(response, body, MOST_BYTES)
        headers = {name.lower(): text for name, text in response.headers.items()}
        return HttpAnswer(response.status, _json(body), headers)


def _json(body: bytearray) -> Any:
    if len(body) > MOST_BYTES:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _reason(error: BaseException) -> str:
    inner = getattr(error, "os_error", None) or error
    return (getattr(inner, "strerror", None) or str(inner) or type(inner).__name__)[:200]
