"""The checks of a node, by kind: each asks once, in its time, and returns what it has seen."""

import asyncio
from collections.abc import Awaitable, Callable

from sidecars.ambassador.connecting.dial import Dialler, NodeTarget
from sidecars.ambassador.connecting.failure import ConnectFailed, broken
from sidecars.ambassador.connecting.postgres import ask_for_tls
from sidecars.ambassador.core.causes import Cause
from sidecars.ambassador.core.postgres import BrokenServer
from sidecars.ambassador.core.redis import NotRedis, RedisError, command, reply, role_of
from sidecars.ambassador.core.upstream import CheckResult, NodeRole
from sidecars.ambassador.settings import CheckKind, ListenerPlan, Protocol
from sidecars.kit.files import UnusableFile, read_secret
from sidecars.kit.net.leg import Leg, LegBroken

from .sql import CheckLogin, NotReady, SqlCheck

_LONGEST_ANSWER_BYTES = 64 << 10
Look = Callable[[NodeTarget], Awaitable[CheckResult]]


class NodeCheck:
    """The checks of one node. `dialler` goes the way of the data; `plain` the same way without its protocol's TLS."""

    def __init__(self, plan: ListenerPlan, dialler: Dialler) -> None:
        self._settings = plan.check
        self._kind = plan.check_kind
        self._dialler = dialler
        self._sql = SqlCheck(dialler, self._credentials, plan.check.timeout_seconds)
        self._looks: dict[CheckKind, Look] = {
            CheckKind.SQL: self._sql.look,
            CheckKind.POSTGRES: self._postgres,
            CheckKind.REDIS: self._redis,
            CheckKind.PATRONI: self._patroni,
            CheckKind.HTTP: self._http,
        }

    async def check(self, target: NodeTarget, special: NodeTarget | None) -> CheckResult:
        """Check a node. `special`: where it is checked, if not at its address. Never raises."""
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                if self._kind is CheckKind.PATRONI and special is not None:
                    await self._postgres(target)  # Patroni may say 200 of a server that is down
                return await self._looks.get(self._kind, self._connects)(special or target)
        except TimeoutError:
            self._sql.close()
            text = f"no answer within {self._settings.timeout_seconds:g} s"
            return CheckResult(ok=False, detail=text, cause=Cause.TIMED_OUT)
        except ConnectFailed as error:
            return CheckResult(ok=False, detail=str(error), cause=error.cause)
        except LegBroken as error:
            failed = broken(error)
            return CheckResult(ok=False, detail=str(failed), cause=failed.cause)
        except (BrokenServer, NotRedis, _NotHttp) as error:
            return CheckResult(ok=False, detail=str(error), cause=Cause.BROKEN_UPSTREAM)
        except (NotReady, UnusableFile) as error:
            return CheckResult(ok=False, detail=str(error))

    def close(self) -> None:
        """End what is kept between two checks."""
        self._sql.close()

    def _credentials(self) -> CheckLogin:
        check = self._settings
        user = read_secret("check.user_file", check.user_file) if check.user_file else check.user
        password = read_secret("check.password_file", check.password_file) if check.password_file else ""
        return CheckLogin(user, password, check.database)

    async def _connects(self, target: NodeTarget) -> CheckResult:
        dialler = self._dialler
        if self._kind is CheckKind.TCP:
            dialler = Dialler(dialler.poller, Protocol.TCP, None)
        (await dialler.dial(target, self._settings.timeout_seconds)).leg.close()
        return CheckResult(ok=True)

    async def _postgres(self, target: NodeTarget) -> CheckResult:
        """Ask for TLS, as pg_isready's first step: needs no user, and leaves no line in the server's log."""
        dialled = await self._dialler.dial(target, self._settings.timeout_seconds)
        try:
            if self._dialler.security is None and self._dialler.protocol is Protocol.POSTGRES:
                try:
                    await ask_for_tls(dialled.leg)
                except ConnectFailed as error:
                    if (
                        error.cause is not Cause.TLS_REFUSED
                    ):  # where there is no TLS, that is the answer of one who works
                        raise
        finally:
            dialled.leg.close()
        return CheckResult(ok=True)

    async def _redis(self, target: NodeTarget) -> CheckResult:
        who = self._credentials()
        dialled = await self._dialler.dial(target, self._settings.timeout_seconds)
        try:
            words = [who.user, who.password] if who.user else [who.password]
            if who.password:
                answer = await _ask_redis(dialled.leg, command("AUTH", *words))
                if isinstance(answer, RedisError):
                    raise NotReady(f"it does not take the login: {answer.text}")
            answer = await _ask_redis(dialled.leg, command("ROLE"))
        finally:
            dialled.leg.close()
        if isinstance(answer, RedisError):
            if answer.word == "NOAUTH" and not who.password:  # alive; it tells its role to those who log in
                return CheckResult(ok=True, detail="its role is unknown: set check.password_file")
            raise NotReady(f"it does not tell its role: {answer.text}")
        return CheckResult(ok=True, role=NodeRole.PRIMARY if role_of(answer) == "master" else NodeRole.REPLICA)

    async def _patroni(self, target: NodeTarget) -> CheckResult:
        status = await self._get(target, "/primary")
        if status == 200:
            return CheckResult(ok=True, role=NodeRole.PRIMARY)
        lag = f"?lag={self._settings.lag}" if self._settings.lag else ""
        status = await self._get(target, f"/replica{lag}")
        if status != 200:
            raise NotReady(f"Patroni says that it is neither the primary nor a usable replica ({status})")
        return CheckResult(ok=True, role=NodeRole.REPLICA)

    async def _http(self, target: NodeTarget) -> CheckResult:
        status = await self._get(target, self._settings.path)
        if status != 200:
            raise NotReady(f"{self._settings.path} answers {status}")
        return CheckResult(ok=True)

    async def _get(self, target: NodeTarget, path: str) -> int:
        """Return the status of a GET."""
        security = self._dialler.security if self._settings.https else None
        dialler = Dialler(self._dialler.poller, Protocol.TCP, security)
        dialled = await dialler.dial(target, self._settings.timeout_seconds)
        try:
            request = (
                f"GET {path} HTTP/1.0\r\nHost: {target.host}\r\nUser-Agent: ambassador\r\nConnection: close\r\n\r\n"
            )
            await dialled.leg.send(request.encode())
            received = b""
            while b"\n" not in received and len(received) < _LONGEST_ANSWER_BYTES:
                if not (data := await dialled.leg.receive()):
                    break
                received += data
        finally:
            dialled.leg.close()
        words = received.partition(b"\n")[0].split()
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or len(words[1]) != 3 or not words[1].isdigit():
            raise _NotHttp
        return int(words[1])


class _NotHttp(Exception):
    """What answered does not speak HTTP."""

    def __init__(self) -> None:
        super().__init__("it answered something that is not HTTP")


async def _ask_redis(leg: Leg, words: bytes) -> object:
    await leg.send(words)
    received = b""
    while (found := reply(received)) is None:
        data = await leg.receive()
        if not data:
            raise ConnectFailed(Cause.REFUSED, "it closed the connection")
        received += data
    return found[0]
