"""What Vault's HTTP interface says: answers with all eight keys, errors with one, and durations as Go writes them."""

import json
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

JsonObject = dict[str, Any]

DENIED = "permission denied"
DENIED_BY_POLICY = "1 error occurred:\n\t* permission denied\n\n"


class VaultError(Exception):
    """A refusal: its status, its texts, and headers such as Retry-After."""

    def __init__(self, status: int, *errors: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {errors}")
        self.status = status
        self.errors = list(errors)
        self.headers = headers or {}


def denied() -> VaultError:
    """Return the 403 of a token that is dead, missing or unknown."""
    return VaultError(403, DENIED)


def denied_by_policy() -> VaultError:
    """Return the 403 of a good token whose policies do not allow the call."""
    return VaultError(403, DENIED_BY_POLICY)


def missing() -> VaultError:
    """Return the 404 of a path under which nothing stands."""
    return VaultError(404)


@dataclass(frozen=True)
class Answer:
    """A success. `empty`: no body, status 204. `status` differs from 200 for deleted KV versions only."""

    data: JsonObject | None = None
    auth: JsonObject | None = None
    lease_id: str = ""
    renewable: bool = False
    lease_duration: int = 0
    warnings: list[str] | None = None
    wrap_info: JsonObject | None = None
    status: int = 200
    empty: bool = False
    plain: JsonObject | None = None
    """A body outside of the usual shape (sys/health, sys/seal-status)."""
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> JsonObject:
        """Return the body in the usual shape."""
        if self.plain is not None:
            return self.plain
        return {
            "request_id": "" if self.wrap_info else str(uuid.uuid4()),
            "lease_id": self.lease_id,
            "renewable": self.renewable,
            "lease_duration": self.lease_duration,
            "data": self.data,
            "wrap_info": self.wrap_info,
            "warnings": self.warnings,
            "auth": self.auth,
        }

    def with_headers(self, headers: dict[str, str]) -> "Answer":
        """Return this answer with more headers."""
        return replace(self, headers={**self.headers, **headers})


NO_CONTENT = Answer(empty=True)


def reply(answer: Answer) -> web.Response:
    """Return the HTTP response of an answer."""
    if answer.empty:
        return web.Response(status=204, headers=answer.headers)
    text = json.dumps(answer.body()) + "\n"
    return web.Response(
        status=answer.status, body=text.encode(), content_type="application/json", headers=answer.headers
    )


def refusal(error: VaultError) -> web.Response:
    """Return the HTTP response of a refusal."""
    text = json.dumps({"errors": error.errors}) + "\n"
    return web.Response(status=error.status, body=text.encode(), content_type="application/json", headers=error.headers)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(value: Any, default: float = 0) -> float:
    """Return a duration as Vault takes it: a number of seconds, or a text such as `30s`, `1h30m`, `15`.

    Raises ValueError for any other text.
    """
    if value is None or value == "":
        return default
    if isinstance(value, int | float):
        return float(value)
    total, number = 0.0, ""
    for character in str(value).strip():
        if character.isdigit() or character == ".":
            number += character
        else:
            total += float(number) * _UNITS[character] if character in _UNITS and number else _raise(value)
            number = ""
    return total + (float(number) if number else 0.0)


def _raise(value: Any) -> float:
    raise ValueError(f'time: invalid duration "{value}"')


def go_duration(value: float, *, short: bool = False) -> str:
    """Return seconds as Go prints a duration: `1h0m0s`; short: `1h`."""
    whole = int(value)
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    if short:
        parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{second}s" if second else ""]
        return "".join(parts) or "0s"
    if hours:
        return f"{hours}h{minutes}m{second}s"
    return f"{minutes}m{second}s" if minutes else f"{second}s"


def capped_warning(asked: float, rest: float) -> str:
    """Return the warning of a TTL that was shortened to what is left."""
    return (
        f'TTL of "{go_duration(asked, short=True)}" exceeded the effective max_ttl of '
        f'"{go_duration(rest, short=True)}"; TTL value is capped accordingly'
    )
