"""Logging in: which requests each method makes, and what their answers grant. Files are read again at each login."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sidecars.runtime import Permanent
from sidecars.secret_sync.core.outcome import Endpoint, Failure, Success, Trouble
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


async def log_in(auth: Auth, namespace: str, ask: Ask) -> tuple[Granted, str] | Failure:
    """Log in once, and return what is granted and the token."""
    try:
        if auth.method is Method.TOKEN:
            return await _given(_content("auth.token_file", auth.token_file), namespace, ask)
        body = await _body(auth, namespace, ask)
    except Permanent as error:
        return Failure(Trouble.UNUSABLE, str(error))
    if isinstance(body, Failure):
        return body
    path = f"auth/{auth.mounted}/login"
    outcome = await ask(VaultRequest(Endpoint.LOGIN, "POST", path, body, namespace=namespace))
    return granted(outcome.body) if isinstance(outcome, Success) else outcome


def granted(body: Mapping[str, Any]) -> tuple[Granted, str] | Failure:
    """Return what the `auth` block of an answer grants. A duration of 0 is a token that does not end."""
    block = body.get("auth")
    if not isinstance(block, dict) or not isinstance(block.get("client_token"), str) or not block["client_token"]:
        return Failure(Trouble.GARBLED, "the answer of the login holds no token")
    duration = float(block.get("lease_duration") or 0)
    renewable = bool(block.get("renewable"))
    return Granted(duration if duration > 0 else None, renewable=renewable), block["client_token"]


async def _given(token: str, namespace: str, ask: Ask) -> tuple[Granted, str] | Failure:
    outcome = await ask(VaultRequest(Endpoint.TOKEN, "GET", "auth/token/lookup-self", token=token, namespace=namespace))
    if isinstance(outcome, Failure):
        return outcome
    data = outcome.body.get("data") or {}
    left = float(data.get("ttl") or 0)
    ends = data.get("expire_time") is not None
    return Granted(max(left, 1.0) if ends else None, renewable=bool(data.get("renewable"))), token


async def _body(auth: Auth, namespace: str, ask: Ask) -> dict[str, str] | Failure:
    match auth.method:
        case Method.CERT:
            return {"name": auth.role} if auth.role else {}
        case Method.APPROLE:
            role_id = _content("auth.role_id_file", auth.role_id_file)
            secret_id: str | Failure = _content("auth.secret_id_file", auth.secret_id_file)
            if auth.wrapped:
                secret_id = await _unwrapped(auth, str(secret_id), namespace, ask)
            return secret_id if isinstance(secret_id, Failure) else {"role_id": role_id, "secret_id": secret_id}
    token = _content("auth.token_file", auth.token_file or SERVICE_ACCOUNT)
    return {"role": auth.role, "jwt": token}


async def _unwrapped(auth: Auth, wrapping: str, namespace: str, ask: Ask) -> str | Failure:
    """Return the secret-id under a wrapping token. Who wrapped it is looked up first: looking up uses nothing up."""
    looked = VaultRequest(Endpoint.LOGIN, "POST", "sys/wrapping/lookup", {"token": wrapping}, namespace=namespace)
    outcome = await ask(looked)
    if isinstance(outcome, Failure):
        return _spent(outcome)
    path = str((outcome.body.get("data") or {}).get("creation_path") or "")
    if path.strip("/") != auth.wrapped_path.strip("/"):
        text = f"the secret-id was wrapped at {path}, and not at {auth.wrapped_path}: somebody may have replaced it"
        return Failure(Trouble.REFUSED, text)
    outcome = await ask(
        VaultRequest(Endpoint.LOGIN, "POST", "sys/wrapping/unwrap", {}, token=wrapping, namespace=namespace)
    )
    if isinstance(outcome, Failure):
        return _spent(outcome)
    secret_id = (outcome.body.get("data") or {}).get("secret_id")
    return (
        secret_id if isinstance(secret_id, str) else Failure(Trouble.REFUSED, "the wrapping token holds no secret-id")
    )


def _spent(failure: Failure) -> Failure:
    if failure.trouble is not Trouble.REFUSED:
        return failure
    text = "the wrapping token is used up, has ended or never was: if nobody of yours used it, somebody else did"
    return Failure(Trouble.REFUSED, text, status=failure.status)


def _content(setting: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(1 << 20).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Permanent(
            f"cannot read {setting} {path}: {getattr(error, 'strerror', None) or 'it is no text'}"
        ) from None
    if not text:
        raise Permanent(f"cannot use {setting} {path}: it is empty")
    return text
