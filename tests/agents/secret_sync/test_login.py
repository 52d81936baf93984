"""What logs in, with a server that is a function."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecars.secret_sync.core.outcome import Failure, FailureReason, Success
from sidecars.secret_sync.core.sync import Granted
from sidecars.secret_sync.settings import Auth, Method
from sidecars.secret_sync.vault.client import VaultRequest
from sidecars.secret_sync.vault.login import Login

PATH = "auth/approle/role/app/secret-id"
GRANTED = Success({"auth": {"client_token": "s.token", "lease_duration": 60, "renewable": True}})


class Server:
    """Unwraps each wrapping token once, and keeps what was sent."""

    def __init__(self) -> None:
        self.wrapped = {"wrapping-1": "secret-1", "wrapping-2": "secret-2"}
        self.logins: list[dict[str, str]] = []
        self.away = False

    async def ask(self, request: VaultRequest) -> Success | Failure:
        match request.path:
            case "sys/wrapping/lookup":
                known = request.body is not None and request.body["token"] in self.wrapped
                return (
                    Success({"data": {"creation_path": PATH}}) if known else Failure(FailureReason.REFUSED, "not valid")
                )
            case "sys/wrapping/unwrap":
                return Success({"data": {"secret_id": self.wrapped.pop(request.token)}})
        self.logins.append(dict(request.body or {}))
        return Failure(FailureReason.SEALED, "sealed") if self.away else GRANTED


def approle(folder: Path) -> Auth:
    (folder / "role-id").write_text("role\n")
    (folder / "secret-id").write_text("wrapping-1\n")
    names = {"role_id_file": str(folder / "role-id"), "secret_id_file": str(folder / "secret-id")}
    return Auth(method=Method.APPROLE, wrapped=True, wrapped_path=PATH, **names)


async def test_a_wrapped_secret_id_serves_each_login_until_there_is_another_one(tmp_path: Path) -> None:
    server = Server()
    login = Login(approle(tmp_path), "", server.ask)
    server.away = True
    assert isinstance(await login.log_in(), Failure)
    server.away = False
    for _ in range(2):
        assert await login.log_in() == (Granted(60.0, renewable=True), "s.token")
    await asyncio.to_thread((tmp_path / "secret-id").write_text, "wrapping-2")
    await login.log_in()
    assert [sent["secret_id"] for sent in server.logins] == ["secret-1", "secret-1", "secret-1", "secret-2"]
    assert {"role", "wrapping-2", "secret-2"} <= set(login.secrets)


async def test_a_file_that_cannot_be_used_is_named_with_its_setting(tmp_path: Path) -> None:
    auth = approle(tmp_path)
    (tmp_path / "secret-id").write_text("two\nlines")
    made = await Login(auth, "", Server().ask).log_in()
    assert isinstance(made, Failure)
    assert "auth.secret_id_file" in made.text
    assert "two" not in made.text


def replaced(path: Path, text: str) -> None:
    """By another file, as kubelets do it."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


ROTATED = [
    (Auth(method=Method.KUBERNETES, role="app", token_file="a"), "jwt"),
    (Auth(method=Method.JWT, role="app", token_file="a"), "jwt"),
    (Auth(method=Method.APPROLE, role_id_file="a", secret_id_file="b"), "role_id"),
    (Auth(method=Method.APPROLE, role_id_file="b", secret_id_file="a"), "secret_id"),
    (Auth(method=Method.TOKEN, token_file="a"), "token"),
]


@pytest.mark.parametrize("write", [Path.write_text, replaced], ids=["in place", "replaced"])
@pytest.mark.parametrize(("auth", "sent"), ROTATED, ids=[f"{auth.method}-{sent}" for auth, sent in ROTATED])
async def test_what_is_rotated_is_used_by_the_next_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: Auth, sent: str, write: Callable[[Path, str], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").write_text("other")
    seen: list[str] = []

    async def ask(request: VaultRequest) -> Success | Failure:
        seen.append(str((request.body or {"token": request.token})[sent]))
        return GRANTED

    login = Login(auth, "", ask)
    for value in ("first", "second", "third"):
        write(tmp_path / "a", f"{value}\n")
        assert not isinstance(await login.log_in(), Failure)
        assert value in login.secrets
    assert seen == ["first", "second", "third"]
