"""Answers of the vault and of Entra, to the letter where something depends on it."""

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

JsonObject = dict[str, Any]


@dataclass
class Refusal(Exception):
    """An error answer of the vault."""

    status: int
    code: str
    message: str
    inner: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """Return it as it goes over the wire."""
        error: JsonObject = {"code": self.code, "message": self.message}
        if self.inner:
            error["innererror"] = {"code": self.inner}
        return answer({"error": error}, self.status, self.headers)


@dataclass
class NoToken(Exception):
    """An error answer of whoever gives tokens."""

    status: int
    error: str
    description: str
    number: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        """Return it as it goes over the wire."""
        body: JsonObject = {"error": self.error, "error_description": self.description}
        if self.number:
            trace = "Trace ID: 00000000-0000-4000-8000-000000000001"
            body["error_description"] = f"AADSTS{self.number}: {self.description} {trace}"
            body |= {"error_codes": [self.number], "trace_id": trace.partition(": ")[2]}
        return answer(body, self.status, self.headers)


def answer(body: JsonObject, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers or {}
    )


def not_found(kind: str, name: str) -> Refusal:
    """Return what is said of an object that never was, or that is deleted: the same."""
    text = f"A {kind.lower()} with (name/id) {name} was not found in this key vault. If you recently deleted this "
    text += f"{kind.lower()} you may be able to recover it using the correct recovery command."
    return Refusal(404, f"{kind}NotFound", text)


def bad_parameter(message: str) -> Refusal:
    """Return what is said of a request that cannot be meant."""
    return Refusal(400, "BadParameter", message)
