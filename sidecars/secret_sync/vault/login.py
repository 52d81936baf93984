"""Logging in: which requests each method makes, and what their answers grant. Files are read again at each login."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sidecars.kit.files import UnusableFile, read_secret
from sidecars.secret_sync.core.outcome import Endpoint, Failure, FailureReason, Success
from sidecars.secret_sync.core.sync import Granted
from sidecars.secret_sync.settings import Auth, Method

from .client import VaultRequest

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount/token"
Ask = Callable[[VaultRequest], Awaitable[Success | Failure]]


def files(auth: Auth) -> tuple[str, ...]:
    """Return the files that a login reads."""
    default = SERVICE_ACCOUNT if auth.method is Method.KUBERNETES else ""
    found = (auth.token_file or default, auth.role_id_file, auth.secret_id_file)
    return tuple(path for path in found if path)


def granted(body: Mapping[str, Any]) -> tuple[Granted, str] | Failure:
    """Return what the `auth` block of an answer grants. A duration of 0 is a token that does not end."""
    block = body.get("auth")
    if not isinstance(block, dict) or not isinstance(block.get("client_token"), str) or not block["client_token"]:
        return Failure(FailureReason.GARBLED, "the answer of the login holds no token")
    duration = float(block.get("lease_duration") or 0)
    renewable = bool(block.get("renewable"))
    return Granted(duration if duration > 0 else None, renewable=renewable), block["client_token"]


class Login:
    """Logs in by one method. Remembers what it read and got: that must not be seen anywhere."""

    def __init__(self, auth: Auth, namespace: str, ask: Ask) -> None:
        self._auth = auth
        self._namespace = namespace
        self._ask = ask
        self._read: dict[str, str] = {}
        self._unwrapped: tuple[str, str] | None = None
        """A wrapping token and the secret-id that was in it: it gives it once, and logins are made again."""

    @property
    def secrets(self) -> list[str]:
        """What must not be seen."""
        return [*self._read.values(), *(self._unwrapped or ())]

    async def log_in(self) -> tuple[Granted, str] | Failure:
        """Log in once, and return what is granted and the token."""
        try:
            if self._auth.method is Method.TOKEN:
                return await self._given(self._content("token_file", self._auth.token_file))
            body = await self._body()
        except UnusableFile as error:
            return Failure(FailureReason.UNUSABLE, str(error))
        if isinstance(body, Failure):
            return body
        outcome = await self._post(f"auth/{self._auth.mounted}/login", body)
        return granted(outcome.body) if isinstance(outcome, Success) else outcome

    async def _given(self, token: str) -> tuple[Granted, str] | Failure:
        looked = VaultRequest(Endpoint.TOKEN, "GET", "auth/token/lookup-self", token=token, namespace=self._namespace)
        outcome = await self._ask(looked)
        if isinstance(outcome, Failure) and outcome.reason is FailureReason.DENIED:
            text = "the server does not know the token in auth.token_file: it has ended; put another one there"
            return Failure(FailureReason.DENIED, text, status=outcome.status)
        if isinstance(outcome, Failure):
            return outcome
        data = outcome.body.get("data") or {}
        left = float(data.get("ttl") or 0)
        ends = data.get("expire_time") is not None
        return Granted(max(left, 1.0) if ends else None, renewable=bool(data.get("renewable"))), token

    async def _body(self) -> dict[str, str] | Failure:
        auth = self._auth
        match auth.method:
            case Method.CERT:
                return {"name": auth.role} if auth.role else {}
            case Method.APPROLE:
                role_id = self._content("role_id_file", auth.role_id_file)
                secret_id: str | Failure = self._content("secret_id_file", auth.secret_id_file)
                if auth.wrapped:
                    secret_id = await self._unwrap(str(secret_id))
                return secret_id if isinstance(secret_id, Failure) else {"role_id": role_id, "secret_id": secret_id}
        return {"role": auth.role, "jwt": self._content("token_file", auth.token_file or SERVICE_ACCOUNT)}

    async def _unwrap(self, wrapping: str) -> str | Failure:
        """Return the secret-id under a wrapping token. Who wrapped it is looked up first: looking up uses nothing up.
        It is kept, for the next login with the same file.
        """
        if self._unwrapped is not None and self._unwrapped[0] == wrapping:
            return self._unwrapped[1]
        outcome = await self._post("sys/wrapping/lookup", {"token": wrapping})
        if isinstance(outcome, Failure):
            return _spent(outcome)
        path = str((outcome.body.get("data") or {}).get("creation_path") or "")
        if path.strip("/") != self._auth.wrapped_path.strip("/"):
            wanted = self._auth.wrapped_path
            text = f"the secret-id was wrapped at {path}, and not at {wanted}: somebody may have replaced it"
            return Failure(FailureReason.REFUSED, text)
        outcome = await self._post("sys/wrapping/unwrap", {}, token=wrapping)
        if isinstance(outcome, Failure):
            return _spent(outcome)
        secret_id = (outcome.body.get("data") or {}).get("secret_id")
        if not isinstance(secret_id, str):
            return Failure(FailureReason.REFUSED, "the wrapping token holds no secret-id")
        self._unwrapped = (wrapping, secret_id)
        return secret_id

    async def _post(self, path: str, body: Mapping[str, str], token: str = "") -> Success | Failure:
        request = VaultRequest(Endpoint.LOGIN, "POST", path, body, token=token, namespace=self._namespace)
        return await self._ask(request)

    def _content(self, field: str, path: str) -> str:
        self._read[field] = read_secret(f"auth.{field}", path)
        return self._read[field]


def _spent(failure: Failure) -> Failure:
    if failure.reason is not FailureReason.REFUSED:
        return failure
    text = "the wrapping token is used up, has ended or never was: if nobody of yours used it, somebody else did"
    return Failure(FailureReason.REFUSED, text, status=failure.status)
