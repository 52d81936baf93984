"""The agent against Key Vault on virtual time: no fault makes it ask more than once a second, nor touches the files,
and soon after its end everything is as it was.
"""

import asyncio
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec
import pytest

from sidecars.runtime import State
from sidecars.runtime.observe.logs import configure
from sidecars.secret_sync.agent import Parts, SecretSync
from sidecars.secret_sync.core.outcome import Failure, FailureReason
from sidecars.secret_sync.key_vault.client import HttpAnswer, HttpClient
from sidecars.secret_sync.key_vault.provider import KeyVaultProvider
from sidecars.secret_sync.publishing.targets import Targets
from sidecars.secret_sync.settings import SecretSyncSettings
from tests.support.context import condition, context, passes

pytestmark = pytest.mark.looptime

ADDRESS, LOGIN = "https://shop.vault.azure.net", "https://login.microsoftonline.com"
NAMES = [f"s{number}" for number in range(20)]
CHALLENGE = {"www-authenticate": f'Bearer authorization="{LOGIN}/t", resource="https://vault.azure.net"'}
TIMEOUT_SECONDS = 5.0

REFUSED = Failure(FailureReason.UNREACHABLE, "connection refused")
HANGS = Failure(FailureReason.TIMEOUT, "no answer")
THROTTLED = HttpAnswer(429, {"error": {"code": "Throttled"}})
PATIENT = HttpAnswer(429, {"error": {"code": "Throttled"}}, {"retry-after": "7"})
BROKEN = HttpAnswer(500, None)
BUSY = HttpAnswer(503, None)
GARBAGE = HttpAnswer(200, None)
PASSING = {
    "refused": REFUSED,
    "hangs": HANGS,
    "429": THROTTLED,
    "429 for 7 s": PATIENT,
    "500": BROKEN,
    "503": BUSY,
    "garbage": GARBAGE,
}
LASTS_ON = {20.0: 5.0, 600.0: 62.0}
"""How long it may take to be well again: what failed for ten minutes is tried again once a minute at least."""
WAITS = {id(HANGS): TIMEOUT_SECONDS, id(PATIENT): 7.5}
"""And what is waited for, since the provider has not answered yet, or has asked for it."""


class Azure(HttpClient):
    """A vault and its Entra; `faults` are answered to what a part of the address says, if they are there."""

    def __init__(self) -> None:
        super().__init__("", TIMEOUT_SECONDS)
        self.value = "first-value"
        self.lasts_seconds = 3600.0
        self.faults: dict[str, HttpAnswer | Failure] = {}
        self.asked: list[tuple[float, str]] = []
        self.token_ends = 0.0
        self.logins = 0

    async def ask(self, url: str, headers: Mapping[str, str], form: str | None = None) -> HttpAnswer | Failure:
        now = asyncio.get_running_loop().time()
        self.asked.append((now, url))
        fault = next((fault for part, fault in self.faults.items() if part in url), None)
        await passes(TIMEOUT_SECONDS if fault is HANGS else 0.02)
        if fault is not None:
            return fault
        if form is not None:
            self.logins += 1
            self.token_ends = now + self.lasts_seconds
            return HttpAnswer(200, {"access_token": f"token-{self.logins}", "expires_in": self.lasts_seconds})
        if LOGIN in url:
            return HttpAnswer(200, {})
        if headers.get("Authorization") != f"Bearer token-{self.logins}" or now > self.token_ends:
            return HttpAnswer(401, {"error": {"code": "Unauthorized"}}, CHALLENGE)
        return HttpAnswer(200, {"value": self.value, "id": f"{ADDRESS}/secrets/a/1", "attributes": {"enabled": True}})

    def between(self, since: float, until: float) -> int:
        return sum(1 for at, _ in self.asked if since <= at < until)


class Pod:
    """An agent that is at work, and its folder."""

    def __init__(self, folder: Path) -> None:
        self.azure = Azure()
        self.volume = folder / "volume"
        (folder / "token").write_text("e30.e30.c2ln")
        key_vault = {"address": ADDRESS, "tenant_id": "t", "client_id": "c", "token_file": str(folder / "token")}
        secrets = [
            {"name": name, "path": name, "poll_seconds": 10, "files": [{"path": name, "format": "raw"}]}
            for name in NAMES
        ]
        given = {"key_vault": key_vault, "targets": [{"path": str(self.volume)}], "secrets": secrets}
        self.settings = msgspec.convert(given, SecretSyncSettings)
        self.ctx = context(name="secret-sync")

    async def __aenter__(self) -> Self:
        configure()
        provider = KeyVaultProvider(self.settings, self.azure)
        self.agent = SecretSync(
            self.settings, self.ctx, Parts(provider, Targets(self.settings), random.Random(3).random)
        )
        self._task = asyncio.create_task(self.agent.run())
        await passes(15.0)
        assert self.read() == ["first-value"] * len(NAMES)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ctx.stop.request("test")
        await self._task

    def read(self) -> list[str]:
        return [(self.volume / name).read_text() for name in NAMES]


@pytest.mark.parametrize("fault", PASSING.values(), ids=list(PASSING))
@pytest.mark.parametrize("lasts", [20.0, 600.0])
@pytest.mark.parametrize("where", ["/secrets", LOGIN, ""], ids=["vault", "entra", "both"])
async def test_a_fault_is_ridden_through(tmp_path: Path, fault: HttpAnswer | Failure, lasts: float, where: str) -> None:
    pod = Pod(tmp_path)
    pod.azure.lasts_seconds = 20.0 if where != "/secrets" else 3600.0  # so that a login comes while it lasts
    async with pod:
        now = asyncio.get_running_loop().time
        generation = (pod.volume / "..data").readlink()
        began = now()
        pod.azure.faults = {where: fault}
        await passes(lasts)
        ended = now()
        assert (pod.volume / "..data").readlink() == generation
        assert condition(pod.ctx, "secrets").state is State.OK
        for since in range(10, int(lasts) - 10):
            assert pod.azure.between(began + since, began + since + 10) <= 11, f"{since} s after it began"
        if fault is PATIENT and where == "/secrets":
            assert pod.azure.between(began, ended) <= 3 * (lasts / 7 + 2), "then it is left alone"
        pod.azure.faults, pod.azure.value = {}, "second-value"
        while pod.read() != ["second-value"] * len(NAMES):
            await passes(0.1)
            assert now() - ended <= LASTS_ON[lasts] + WAITS.get(id(fault), 0.0), pod.azure.asked[-30:]


async def test_secrets_that_are_missing_cost_one_request_for_each_try(tmp_path: Path) -> None:
    pod = Pod(tmp_path)
    async with pod:
        began = asyncio.get_running_loop().time()
        pod.azure.faults = {"secrets": HttpAnswer(404, {"error": {"code": "SecretNotFound"}})}
        await passes(600.0)
        for since in range(60, 590):
            assert pod.azure.between(began + since, began + since + 10) <= 11, f"{since} s after it began"
        assert pod.read() == ["first-value"] * len(NAMES)
        pod.azure.faults, pod.azure.value = {}, "second-value"
        await passes(70.0)
        assert pod.read() == ["second-value"] * len(NAMES)
