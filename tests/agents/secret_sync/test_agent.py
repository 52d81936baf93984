"""The agent on virtual time, with real files and a provider that is a function."""

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecars.runtime import Context, Finding, State
from sidecars.runtime.errors import Problem
from sidecars.runtime.observe.logs import configure
from sidecars.secret_sync.agent import Parts, SecretSync
from sidecars.secret_sync.core.outcome import Failure, FailureReason
from sidecars.secret_sync.core.sync import Granted, Kind, ProviderRequest, Reading
from sidecars.secret_sync.metrics import SecretSyncMetrics
from sidecars.secret_sync.publishing.targets import Targets
from sidecars.secret_sync.settings import SecretSyncSettings
from tests.core.secret_sync.test_redaction import WRAPPED
from tests.support.context import condition, context, passes
from tests.support.waiting import until_async

pytestmark = pytest.mark.looptime

Result = Granted | Reading | Failure | float | None
GONE = Failure(FailureReason.UNREACHABLE, "connection refused")
HANGS = 8.0


class Memory:
    """A provider whose answers a test says, by secret or by kind; each takes a moment."""

    def __init__(self) -> None:
        self.answers: dict[str, Result | Callable[[], Result]] = {}
        self.hanging: set[str] = set()
        self.slow: set[Kind] = set()
        self.requests: list[ProviderRequest] = []
        self.tokens: dict[int, str] = {}
        self.issued = 0
        self.revokes = True

    def close(self) -> None:
        """Nothing is open."""

    def adopt(self, generation: int, token: str = "") -> None:
        self.tokens[generation] = token or f"token-{len(self.tokens)}"

    def token(self, generation: int) -> str:
        return self.tokens.get(generation, "")

    def credentials(self) -> object:
        return ()

    def secrets_to_hide(self) -> list[str]:
        return list(self.tokens.values())

    def problems(self) -> list[Problem]:
        return []

    def findings(self) -> list[Finding]:
        return []

    async def findings_outside(self) -> list[Finding]:
        return []

    async def perform(self, request: ProviderRequest) -> Result:
        self.requests.append(request)
        await passes(0.01)
        if request.secret in self.hanging:
            await passes(HANGS)
            return Failure(FailureReason.TIMEOUT, "no answer")
        if request.kind in self.slow:
            await passes(1.0)
        for key in (request.secret, request.kind):
            if key in self.answers:
                said = self.answers[key]
                return said() if callable(said) else said
        match request.kind:
            case Kind.LOGIN | Kind.RENEW_TOKEN:
                return Granted(3600.0, renewable=True)
            case Kind.RENEW:
                return 600.0
            case Kind.READ:
                self.issued += 1
                value = {"username": f"user-{self.issued}", "password": f"password-{self.issued}"}
                return Reading(value, f"lease/{self.issued}", 600.0, renewable=True)
        return None

    def count(self, kind: Kind) -> int:
        return sum(1 for request in self.requests if request.kind is kind)


class Scene:
    """A folder, a provider, and runs of the agent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.volume = folder / "volume"
        self.provider = Memory()
        self.more: dict[str, Any] = {}
        self.secrets: list[dict[str, Any]] = []
        self.ctx: Context = context(name="secret-sync")

    def secret(self, name: str, **more: Any) -> "Scene":
        usual = {"name": name, "engine": "dynamic", "path": f"creds/{name}", "files": [{"path": f"{name}.json"}]}
        self.secrets.append(usual | more)
        return self

    def settings(self) -> SecretSyncSettings:
        given = {
            "vault": {"address": "https://vault.invalid"},
            "auth": {"role": "app"},
            "targets": [{"name": "main", "path": str(self.volume)}],
            "secrets": self.secrets,
        }
        return msgspec.convert(given | self.more, SecretSyncSettings)

    @asynccontextmanager
    async def running(self, *, killed: bool = False) -> AsyncIterator[SecretSync]:
        settings, self.ctx = self.settings(), context(name="secret-sync")
        parts = Parts(self.provider, Targets(settings), random.Random(1).random)
        agent = SecretSync(settings, self.ctx, parts, SecretSyncMetrics(self.ctx.metrics))
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            if killed:
                task.cancel()
            self.ctx.stop.request("test")
            await asyncio.wait([task])
        if not killed:
            await task

    def read(self, name: str) -> Any:
        try:
            return json.loads((self.volume / name).read_text())
        except FileNotFoundError:
            return None


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    configure()
    return Scene(tmp_path)


async def test_an_optional_secret_that_hangs_holds_up_no_required_one(scene: Scene) -> None:
    scene.secret("slow-1", required=False).secret("slow-2", required=False).secret("db")
    scene.provider.hanging = {"slow-1", "slow-2"}
    async with scene.running():
        await passes(2.0)
        assert scene.read("db.json")
        assert scene.ctx.health.started


async def test_files_of_a_former_run_stay_while_their_secret_cannot_be_read(scene: Scene) -> None:
    scene.secret("db").secret("broken")
    async with scene.running():
        await passes(1.0)
    former = scene.read("broken.json")
    scene.provider.answers["broken"] = Failure(FailureReason.DENIED, "permission denied")
    async with scene.running():
        await passes(5.0)
        assert scene.read("db.json")["username"] == "user-3"
        assert scene.read("broken.json") == former
        assert "broken" in condition(scene.ctx, "secrets").reason


async def test_a_restart_while_the_provider_is_away_goes_on_with_what_there_is(scene: Scene) -> None:
    scene.secret("db").more = {"handover_file": str(scene.folder / "leases")}
    async with scene.running(killed=True):
        await passes(1.0)
    scene.provider.answers |= dict.fromkeys(Kind, GONE)
    async with scene.running():
        await passes(30.0)
        assert scene.ctx.health.started
        assert condition(scene.ctx, "secrets").state is State.OK
        scene.provider.answers.clear()
        await passes(900.0)
    assert (scene.provider.count(Kind.LOGIN), scene.provider.issued) == (1, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda data: data[: len(data) // 2],
        lambda _: b"\xff\x00",
        lambda _: b'["a"]',
        lambda data: data.replace(b'"value": {', b'"value": 5, "other": {'),
        lambda data: data.replace(b'"version": 1', b'"version": 2'),
        lambda data: re.sub(rb'"fingerprint": "\w+"', b'"fingerprint": "of others"', data),
    ],
)
async def test_a_hand_over_that_is_no_use_is_a_start_like_any_other(
    scene: Scene, spoil: Callable[[bytes], bytes]
) -> None:
    leases = scene.folder / "leases"
    scene.secret("db").more = {"handover_file": str(leases)}
    async with scene.running(killed=True):
        await passes(1.0)
    leases.write_bytes(spoil(leases.read_bytes()))
    async with scene.running():
        await passes(2.0)
    assert scene.read("db.json")["username"] == "user-2"


async def test_a_folder_that_cannot_be_written_is_told_of_and_written_as_soon_as_it_can_be(scene: Scene) -> None:
    told = scene.folder / "told"
    notify = {"exec": {"command": ["sh", "-c", f"echo >> {told}"], "timeout_seconds": 5}}
    scene.secret("db").more = {"notify": [notify]}
    scene.volume.mkdir()
    foreign = scene.volume / "db.json"
    foreign.write_text("foreign")
    async with scene.running() as agent:
        await passes(5.0)
        assert "db.json" in condition(scene.ctx, "secrets").reason
        assert agent.status()["files"]["fault"]
        assert agent.why_not()[0] == 4
        assert "db.json" in agent.why_not()[1]
        foreign.unlink()
        await passes(2.0)
        assert scene.read("db.json")
        assert condition(scene.ctx, "secrets").state is State.OK
        assert agent.status()["files"]["fault"] is None


async def test_a_notification_that_fails_for_ever_touches_no_lease_and_no_token(scene: Scene) -> None:
    scene.secret("db").more = {"notify": [{"exec": {"command": ["/nowhere"], "timeout_seconds": 5}}]}
    scene.provider.answers[Kind.LOGIN] = Granted(100.0, renewable=False)
    async with scene.running():
        await passes(1000.0)
        assert condition(scene.ctx, "secrets").state is State.OK
    logins = scene.provider.count(Kind.LOGIN)
    assert logins >= 9
    # A notification takes real time, and the tokens live on virtual time: some are replaced before their turn.
    assert scene.provider.count(Kind.REVOKE_TOKEN) >= logins // 2


@pytest.mark.parametrize("gets_through", [False, True], ids=["killed before the notification", "and after it"])
async def test_a_generation_is_told_of_after_a_kill_unless_it_was_before(scene: Scene, gets_through: bool) -> None:
    told, listens = scene.folder / "told", scene.folder / "listens"
    notify = {"exec": {"command": ["sh", "-c", f"test -e {listens} && echo >> {told}"], "timeout_seconds": 5}}
    scene.secret("app").more = {"notify": [notify]}
    scene.provider.answers["app"] = lambda: Reading({"version": version}, again=10.0)
    version = 1
    if gets_through:
        listens.touch()
    async with scene.running(killed=True):
        await passes(5.0)
        version = 2
        await until_async(lambda: scene.read("app.json") == {"version": 2}, "the second generation")
        if gets_through:
            await until_async(told.exists, "the app to be notified")
            await until_async(lambda: not (scene.volume / "..untold").is_symlink(), "the mark to go")
    assert told.exists() == gets_through
    listens.touch()
    async with scene.running():
        await until_async(told.exists, "the app to be notified")
        await passes(60.0)
    assert told.read_text() == "\n"
    assert not (scene.volume / "..untold").is_symlink()


async def test_steps_are_tried_again_as_their_settings_say_and_hold_up_those_after_them(scene: Scene) -> None:
    told = scene.folder / "told"

    def says(word: str, status: int, **more: object) -> dict[str, Any]:
        return {"exec": {"command": ["sh", "-c", f"echo {word} >> {told}; exit {status}"]} | more}

    optional, twice = {"on_failure": "continue", "retries": 0}, {"retries": 1}
    scene.secret("app").more = {"notify": [says("a", 1, **optional), says("b", 1, **twice), says("c", 0)]}
    scene.provider.answers["app"] = lambda: Reading({"version": version}, again=10.0)
    version = 1
    async with scene.running():
        await passes(5.0)
        version = 2
        await until_async(lambda: told.exists() and "c" in told.read_text(), "the last step")
        await until_async(lambda: not (scene.volume / "..untold").is_symlink(), "the mark to go")
    assert told.read_text().split() == ["a", "b", "b", "c"]


WAYS: dict[str, Result] = {
    "denied": Failure(FailureReason.DENIED, "permission denied"),
    "missing": Failure(FailureReason.MISSING, "nothing is there"),
    "garbled": Failure(FailureReason.GARBLED, "the answer is no JSON object"),
    "server error": Failure(FailureReason.SERVER_ERROR, "internal error"),
    "throttled": Failure(FailureReason.THROTTLED, "quota", retry_after=1.0),
    "unwritable": Reading({"no such key": "x"}, again=30.0),
    "hangs": None,
}


@pytest.mark.parametrize("way", WAYS)
async def test_one_of_twenty_secrets_that_is_broken_changes_nothing_for_the_others(tmp_path: Path, way: str) -> None:
    configure()
    runs = []
    for broken in (False, True):
        scene = Scene(tmp_path / str(broken))
        scene.folder.mkdir()
        for number in range(20):
            scene.secret(f"s{number}", files=[{"path": f"s{number}.txt", "format": "raw", "key": "password"}])
        for number in range(20):
            scene.provider.answers[f"s{number}"] = lambda: Reading({"password": "good"}, again=30.0)
        if broken and way == "hangs":
            scene.provider.hanging = {"s7"}
        elif broken:
            scene.provider.answers["s7"] = WAYS[way]
        async with scene.running():
            await passes(5.0)
            first = len(scene.provider.requests)
            await passes(600.0)
            files = {f"s{number}": (scene.volume / f"s{number}.txt").exists() for number in range(20)}
            reasons = condition(scene.ctx, "secrets").reason
        runs.append((Counter(one.secret for one in scene.provider.requests[first:]), files, reasons))
    (healthy, _, _), (troubled, files, reasons) = runs
    others = {f"s{number}" for number in range(20)} - {"s7"}
    assert all(abs(troubled[name] - healthy[name]) <= 1 for name in others)
    assert [name for name, there in files.items() if not there] == ["s7"]
    assert "s7" in reasons
    assert not any(f"{name} " in reasons for name in others)
    if way in ("denied", "missing"):
        assert troubled["s7"] <= 11


@pytest.mark.parametrize("lifecycle", ["native", "ordinary"])
async def test_a_login_in_flight_at_the_stop_leaves_no_token_behind(scene: Scene, lifecycle: str) -> None:
    scene.secret("db").more = {"lifecycle": lifecycle}
    scene.provider.slow = {Kind.LOGIN}
    async with scene.running() as agent:
        await passes(0.5)
    await agent.end()
    assert scene.provider.count(Kind.LOGIN) == 1
    assert scene.provider.count(Kind.REVOKE_TOKEN) == 1


async def test_a_token_that_was_given_is_left_and_its_leases_are_revoked(scene: Scene) -> None:
    scene.secret("db").secret("queue")
    scene.provider.revokes = False
    async with scene.running() as agent:
        await passes(1.0)
    await agent.end()
    revoked = [one.lease for one in scene.provider.requests if one.kind is Kind.REVOKE]
    assert sorted(revoked) == ["lease/1", "lease/2"]
    assert scene.provider.count(Kind.REVOKE_TOKEN) == 0


async def test_the_former_token_is_revoked_at_the_end_too(scene: Scene) -> None:
    scene.secret("db").more = {"lifecycle": "native"}
    scene.provider.answers[Kind.LOGIN] = Granted(100.0, renewable=False)
    async with scene.running() as agent:
        await passes(5.0)
        scene.provider.answers["db"] = Failure(FailureReason.SERVER_ERROR, "broken")
        await until_async(lambda: scene.provider.count(Kind.LOGIN) == 2, "the second login")
        await passes(2.0)
    await agent.end()
    assert sorted(one.token for one in scene.provider.requests if one.kind is Kind.REVOKE_TOKEN) == [1, 2]


async def test_what_was_issued_is_taken_back_at_the_end_of_a_native_sidecar_alone(scene: Scene) -> None:
    scene.secret("db").more = {"lifecycle": "native"}
    async with scene.running() as agent:
        await passes(1.0)
    assert scene.provider.count(Kind.REVOKE_TOKEN) == 0
    scene.provider.hanging = {""}
    began = asyncio.get_running_loop().time()
    await agent.end()
    assert asyncio.get_running_loop().time() - began < 2
    assert scene.provider.count(Kind.REVOKE_TOKEN) == 1


async def test_no_error_shows_a_value(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    rng, shown = random.Random(5), []
    canary = "c4nary" + "".join(rng.choices("abcXYZ0189+/=_-\"'\\ äß", k=40))
    scene.secret("db").secret("other", required=False)
    scene.provider.answers["db"] = Reading({"password": canary}, again=30.0)

    def fails() -> Failure:
        wrapped = rng.choice(list(WRAPPED.values()))(canary)
        cut = rng.randint(20, len(wrapped))
        return Failure(rng.choice(list(FailureReason)), "x" * rng.choice([0, 5, 250, 290]) + wrapped[:cut])

    async with scene.running() as agent:
        await passes(2.0)
        scene.provider.answers["other"] = fails
        for _ in range(1000):
            await agent.refresh()
            await passes(1.1)
            shown += [str(agent.status()), str(scene.ctx.health.conditions)]
        scene.ctx.log.error("crashed", action="x", error=ValueError(f"cannot use {canary}"))
    seen = "\n".join([*shown, capfd.readouterr().err])
    assert "[redacted]" in seen
    assert canary not in seen
    for wrap in WRAPPED.values():
        assert wrap(canary)[14:30] not in seen


async def test_a_stop_while_everything_hangs_is_quick(scene: Scene) -> None:
    scene.secret("db")
    scene.provider.hanging = {"db", ""}
    async with scene.running():
        await passes(1.0)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 2  # of which a moment for the login


async def test_each_secret_that_fails_is_in_the_log_at_once_and_by_its_name(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.secret("one").secret("two")
    for name in ("one", "two"):
        scene.provider.answers[name] = Failure(FailureReason.MISSING, "nothing is there")
    async with scene.running() as agent:
        await passes(1)
        assert agent.why_not()[1] == "one: nothing is there (missing); two: nothing is there (missing)"
    said = [record.getMessage() for record in caplog.records]
    assert sorted(text for text in said if text.startswith("cannot read")) == [
        "cannot read one: nothing is there",
        "cannot read two: nothing is there",
    ]


async def test_each_secret_that_cannot_be_written_is_in_the_log_at_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ["{{ nothing }}", "{% if %}", "{{ 'x' * 10 ** 15 }}", "{{ range(10 ** 9) | list }}", "{{ secret.a.b() }}"]
    for number, template in enumerate(broken):
        scene.secret(f"s{number}", files=[{"path": f"f{number}", "format": "template", "template": template}])
    scene.secret("good")
    async with scene.running():
        await passes(2)
        assert scene.read("good.json")
        await passes(25)
    said = [record.getMessage() for record in caplog.records if "cannot write" in record.getMessage()]
    assert sorted(text.partition(":")[0] for text in said) == [f"cannot write s{number}" for number in range(5)]


async def test_what_changes_together_is_one_generation(scene: Scene) -> None:
    names = [f"s{number}" for number in range(10)]
    for name in names:
        scene.secret(name)
        scene.provider.answers[name] = lambda: Reading({"version": version}, again=600.0)
    version = 1
    async with scene.running() as agent:
        await passes(5.0)
        first = os.readlink(scene.volume / "..data")
        version = 2
        await agent.refresh()
        await until_async(lambda: os.readlink(scene.volume / "..data") != first, "the next generation")
        assert [scene.read(f"{name}.json") for name in names] == [{"version": 2}] * 10
