"""Who may call the stand-in: basic authentication and API keys, with the real server's 401.

The node that the contract tests run has no security module, so only here can a shipper meet a refused credential.
"""

import base64
from dataclasses import dataclass

from .problem import Problem

_CHALLENGE = {"header": {"WWW-Authenticate": ['Basic realm="security", charset="UTF-8"', "ApiKey"]}}


@dataclass(frozen=True)
class Access:
    """The accepted credentials: `(user, password)` pairs, and API keys as `id:secret` before their encoding."""

    users: tuple[tuple[str, str], ...] = ()
    api_keys: tuple[str, ...] = ()

    def check(self, authorization: str | None, path: str) -> None:
        """Raises Problem 401 unless the header holds an accepted credential (or none is asked for)."""
        if not self.users and not self.api_keys:
            return
        scheme, _, credential = (authorization or "").partition(" ")
        accepted = {("basic", _encoded(f"{user}:{password}")) for user, password in self.users}
        accepted |= {("apikey", _encoded(key)) for key in self.api_keys}
        if (scheme.lower(), credential.strip()) in accepted:
            return
        what = (
            "unable to authenticate with provided credentials"
            if authorization
            else "missing authentication credentials"
        )
        raise Problem(401, "security_exception", f"{what} for REST request [{path}]", _CHALLENGE)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
